//! Requests to the kernel, or to whoever stands for it in a test.

use crate::{Key, Lease};
use std::fmt::Debug;

/// Counters of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Frames. A superframe is one.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The time of the last one, as the kernel's clock has it; 0 before the first.
    pub last: u64,
}

/// The maps of the [`program`](crate::program::program). Any thread may call.
pub trait Kernel: Debug + Send + Sync {
    /// Fills a closed slot and opens it.
    fn fill(&self, slot: u32, lease: &Lease);

    /// Closes a slot: its lease is taken back at once. Its counters stay.
    fn close(&self, slot: u32);

    /// Returns what the lease in a slot carried.
    fn carried(&self, slot: u32) -> Carried;

    /// Leads a key to a slot. Returns false where there is no room.
    fn insert(&self, key: &Key, slot: u32) -> bool;

    /// Forgets a key.
    fn remove(&self, key: &Key);

    /// Says whether the port at an interface is locked to its addresses. While that differs from what a
    /// lease was lent by, the lease is not found.
    fn lock(&self, interface: u32, locked: bool);

    /// Takes back the leases of all other generations.
    fn begin(&self, generation: u32);

    /// Returns once no run of the program that began before can still hold a slot.
    fn wait(&self);
}
