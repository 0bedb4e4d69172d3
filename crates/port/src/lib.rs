//! Ports: where frames enter and leave the process.
//!
//! A [`Port`] is a receiving half per queue, each owned by one worker, and one sending half that
//! any worker may use. Kinds are modules of this crate (`tap`, `packet`, `pcap`, `memory`); a
//! tracer or a fault injector is a port that wraps a port. All `unsafe` of the crate is in `sys`.
//!
//! A frame of exactly [`pipeline::MAX_FRAME`] bytes is one that was cut off: no interface that
//! obeys its own limits makes one, and the kernel does not say how long it was. Whoever parses
//! frames drops it as too long.

mod error;
mod lost;
pub mod memory;
mod name;
pub mod packet;
pub mod pcap;
#[allow(unsafe_code)]
mod sys;
pub mod tap;

pub use error::PortError;
pub use name::InterfaceName;

use pipeline::{Batch, Destination, DropReason, Frame};
use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// The receiving half of one queue of a port. A worker owns it.
pub trait Rx: Send + Debug {
    /// Readable (epoll, level-triggered) whenever [`Rx::receive`] would find a frame.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Moves waiting frames into `batch` until it is full or none waits. Never blocks. Frames
    /// already in the batch stay when an error is answered.
    ///
    /// # Errors
    /// [`Gone`] when this half will never receive again; the worker retires the port.
    fn receive(&mut self, batch: &mut Batch) -> Result<(), Gone>;
}

/// The sending half of a port. Any worker may call it at any time.
pub trait Tx: Send + Sync + Debug {
    /// Returns what may be left undone in a frame given to [`Tx::transmit`].
    fn offloads(&self) -> Offloads;

    /// Sends one frame, which must need no more than [`Tx::offloads`] allows, to
    /// those of its far ends that `to` names; a port that has one ignores that. Never blocks; may
    /// scribble over the room before the frame.
    ///
    /// # Errors
    /// Why the frame was not sent: one of the `Tx…` reasons.
    fn transmit(&self, frame: &mut Frame<'_>, to: Destination) -> Result<(), DropReason>;
}

/// Why a port will never receive again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The interface was removed, or its namespace was.
    #[error("the interface no longer exists")]
    Removed,
    /// The interface was set down under a packet port.
    #[error("the interface was set down")]
    Down,
    /// A capture file was read to its end.
    #[error("the capture file ended")]
    EndOfFile,
    /// The kernel answered something that was not expected.
    #[error("the kernel answered: {0}")]
    Io(String),
}

/// What the interface behind a port finishes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Takes frames whose transport checksum is unfinished.
    pub csum: bool,
    /// Takes TCP superframes.
    pub tso: bool,
    /// Takes UDP superframes.
    pub uso: bool,
}

impl Offloads {
    /// Everything is finished for us: a TAP with a vnet header.
    pub const ALL: Self = Self {
        csum: true,
        tso: true,
        uso: true,
    };
    /// Only finished frames: a capture file, a TAP without a vnet header.
    pub const NONE: Self = Self {
        csum: false,
        tso: false,
        uso: false,
    };
}

/// An open port.
#[derive(Debug)]
pub struct Port {
    /// One receiving half per queue; none for a port that only sends.
    pub queues: Vec<Box<dyn Rx>>,
    /// The sending half.
    pub tx: Arc<dyn Tx>,
}
