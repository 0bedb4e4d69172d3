//! Requests to the kernel, or to whoever stands for it in a test.

use crate::{Begun, FlowKey, FlowLease, Grant, Key, Lease, Said};
use std::fmt::Debug;
use std::hash::Hash;
use wire::MacAddr;
use zerocopy::FromZeros;

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

/// The key of a kind of lease.
pub trait LentKey: Debug + Copy + Eq + Hash {
    /// The generation of decisions that it is of.
    fn generation(&self) -> u32;
}

impl LentKey for Key {
    fn generation(&self) -> u32 {
        self.generation
    }
}

impl LentKey for FlowKey {
    fn generation(&self) -> u32 {
        self.generation
    }
}

/// A kind of lease: what fills a slot. All zeroes are a closed one.
pub trait Lent: Debug + Copy + FromZeros {
    /// That by which it is found.
    type Key: LentKey;

    /// Its key.
    fn key(&self) -> &Self::Key;

    /// The generation of decisions that it is of.
    fn generation(&self) -> u32 {
        self.key().generation()
    }

    /// Returns whether a frame goes the same way by both.
    fn is_same_way(&self, other: &Self) -> bool;
}

impl Lent for Lease {
    type Key = Key;

    fn key(&self) -> &Key {
        &self.key
    }

    fn is_same_way(&self, other: &Self) -> bool {
        [self.out, self.way, self.mtu] == [other.out, other.way, other.mtu]
    }
}

impl Lent for FlowLease {
    type Key = FlowKey;

    fn key(&self) -> &FlowKey {
        &self.key
    }

    fn is_same_way(&self, other: &Self) -> bool {
        [self.out, self.way, self.mtu] == [other.out, other.way, other.mtu]
            && [self.to, self.from] == [other.to, other.from]
            && self.ends == other.ends
            && self.changes == other.changes
    }
}

impl Lent for Grant {
    type Key = FlowKey;

    fn key(&self) -> &FlowKey {
        &self.key
    }

    fn is_same_way(&self, other: &Self) -> bool {
        let mut both = self.flows.iter().zip(&other.flows);
        self.mss == other.mss && both.all(|(a, b)| a.key == b.key && a.is_same_way(b))
    }
}

/// The slots of a kind of lease, and the keys that lead to them. Any thread may call.
pub trait Slots<L: Lent>: Debug + Send + Sync {
    /// Fills a closed slot, which opens with the lease.
    fn fill(&self, slot: u32, lease: &L);

    /// Closes a slot: its lease is taken back at once. Its counters stay.
    fn close(&self, slot: u32);

    /// Returns what the lease in a slot carried; a grant's frames are flows, without bytes.
    fn carried(&self, slot: u32) -> Carried;

    /// Returns the lease in a slot as it is now.
    fn read(&self, slot: u32) -> L;

    /// Leads a key to a slot. Returns false where there is no room.
    fn insert(&self, key: &L::Key, slot: u32) -> bool;

    /// Forgets a key, if it is there.
    fn remove(&self, key: &L::Key);
}

/// The terms of a port: what the program has to know of it beside its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortTerms {
    /// Whether it is locked to its addresses.
    pub locked: bool,
    /// The MAC address of the router there; zeroes where there is none.
    pub gateway: MacAddr,
    /// Whether its network has rules about connections.
    pub flows: bool,
}

/// The maps of the [`program`](crate::program::program). Any thread may call.
pub trait Kernel: Slots<Lease> + Slots<FlowLease> + Slots<Grant> {
    /// Returns the figures that the sender of a flow of TCP has said, and its [`scale`](FlowLease::scale); `None`
    /// where it is none.
    fn said(&self, slot: u32) -> Option<(Said, u32)>;

    /// Notes figures that the sender of a flow of TCP has said in a packet that was not repeated.
    fn say(&self, slot: u32, said: Said);

    /// Adds the slots of flows whose sender finished since the last call.
    fn finished(&self, slots: &mut Vec<u32>);

    /// Sets pairs of slots aside for flows that the program begins, until `next` has no more or there is no place.
    fn set_aside(&self, next: &mut dyn FnMut() -> Option<[u32; 2]>);

    /// Returns whether the program has begun flows of which [`Kernel::begun`] has not told. To be asked for each
    /// batch.
    fn has_begun(&self) -> bool;

    /// Adds the flows that the program has begun since the last call, in their order.
    fn begun(&self, flows: &mut Vec<Begun>);

    /// Says what the port at an interface is like. While that differs from what a lease was lent by, the lease
    /// is not found.
    fn set_port(&self, interface: u32, terms: PortTerms);

    /// Takes back the leases of all other generations.
    fn begin(&self, generation: u32);

    /// Returns once no run of the program that began before can still hold a slot.
    fn wait(&self);
}
