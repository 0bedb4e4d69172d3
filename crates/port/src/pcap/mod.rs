//! Capture files as ports: a file that is played back arrives like traffic, a file that is
//! written takes what is sent.
//!
//! * [`replay`] reads pcap and pcapng, at the speed it was recorded or as fast as it goes, and is
//!   gone at the end of the file. What is sent to it is refused, unless it was opened with
//!   [`replay_and_record`].
//! * [`record`] writes pcapng with nanoseconds. It receives nothing: it has no queues.
//!
//! Reading and writing happen on the worker's thread. A file system answers from memory nearly
//! always, but where it does not the worker waits: record to a disk that keeps up.

mod recorder;
mod replay;

pub use recorder::Recording;
pub use replay::Speed;

use crate::{Offloads, Port, PortError, Rx, Tx};
use pipeline::{Destination, DropReason, Frame};
use recorder::Recorder;
use replay::Replay;
use std::path::Path;
use std::sync::Arc;

/// Plays a capture file back.
///
/// # Errors
/// [`PortError::Capture`] when the file cannot be read, is not a capture, or is not of Ethernet;
/// [`PortError::Event`] when the process has no descriptors left.
pub fn replay(path: &Path, speed: Speed) -> Result<Port, PortError> {
    Ok(Port {
        queues: vec![replaying(path, speed)?],
        tx: Arc::new(Refusing),
    })
}

/// Plays one capture file back and writes what is sent to another.
///
/// # Errors
/// As [`replay`] and [`record`].
pub fn replay_and_record(
    path: &Path,
    speed: Speed,
    recording: &Recording,
) -> Result<Port, PortError> {
    let queues = vec![replaying(path, speed)?];
    Ok(Port {
        queues,
        ..record(recording)?
    })
}

/// Writes what is sent to a capture file, which is made anew.
///
/// # Errors
/// [`PortError::Capture`] when the file cannot be written.
pub fn record(recording: &Recording) -> Result<Port, PortError> {
    Ok(Port {
        queues: Vec::new(),
        tx: Arc::new(Recorder::create(recording)?),
    })
}

fn replaying(path: &Path, speed: Speed) -> Result<Box<dyn Rx>, PortError> {
    Ok(Box::new(Replay::open(path, speed)?))
}

/// The sending half of a port that only receives.
#[derive(Debug)]
struct Refusing;

impl Tx for Refusing {
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn transmit(&self, _: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        Err(DropReason::TxRefused)
    }
}

#[cfg(test)]
mod tests;
