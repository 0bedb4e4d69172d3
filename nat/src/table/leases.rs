//! Leases as a shard knows of them: who keeps them, and which are to be taken back. What they do to its sessions is
//! in `settle.rs`.

use crate::tcp::{Said, Side};
use pipeline::Instant;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Packets that passed by a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeated {
    /// Packets, a superframe being one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// The time of the last one.
    pub last: Instant,
    /// The figures that its sender has said by now, if it is TCP and has said any.
    pub said: Option<Said>,
}

/// Whoever keeps the leases.
pub trait Ledger: Debug + Send + Sync {
    /// Takes what passed by the lease in `slot` since the last time. Called while a shard is locked: it must
    /// neither wait nor call the table.
    fn take(&self, slot: u32) -> Repeated;

    /// Notes what the sender of the lease in `slot`, which is of TCP, has said by now: it said some of it in a
    /// packet that passed here. Called as [`Ledger::take`] is.
    fn say(&self, slot: u32, said: Said);
}

/// A session, as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(super) shard: u32,
    pub(super) at: u32,
    pub(super) serial: u32,
}

impl SessionId {
    /// The identity of no session.
    pub const NONE: Self = Self {
        shard: 0,
        at: u32::MAX,
        serial: 0,
    };
}

/// A lease that is to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Its slot.
    pub slot: u32,
    /// The session that it was for.
    pub session: SessionId,
    /// The side that sends.
    pub side: Side,
}

/// The leases that a shard knows of.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    /// Whether any shard has something in `over`.
    any: Arc<AtomicBool>,
    pub(super) over: Vec<Over>,
    /// The serial of the session that was added last.
    serial: u32,
}

/// A slot that is none.
pub(super) const NONE: u32 = u32::MAX;
/// A session without leases.
pub(crate) const UNLEASED: [u32; 2] = [NONE; 2];

impl Leases {
    pub(super) fn new(any: Arc<AtomicBool>) -> Self {
        Self {
            any,
            ..Self::default()
        }
    }

    pub(super) const fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub(super) fn tell(&mut self, over: Over) {
        self.over.push(over);
        self.any.store(true, Relaxed);
    }
}
