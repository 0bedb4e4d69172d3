//! Identities, each its own type, so that mixing them does not compile.

use std::fmt;

/// A port of the switch. Ids are dense small numbers: they index tables directly and are used
/// again only after the port that held one is gone from every snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

impl PortId {
    /// No port: stands for a network's gateway where a frame's origin is asked for.
    pub const GATEWAY: Self = Self(u16::MAX);
}

/// One far end of a port that has many, as hosts share an overlay's socket. The port numbers them
/// from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerId(pub u16);

impl PeerId {
    /// The far end of a port that has but one.
    pub const NONE: Self = Self(0);
}

/// A network (bridge domain): ports of different networks never exchange frames at layer 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u32);

/// A worker thread of the dataplane, counted from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// The place of a station: behind a port, and behind which of its far ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The port.
    pub port: PortId,
    /// The far end.
    pub peer: PeerId,
}

impl From<PortId> for Location {
    fn from(port: PortId) -> Self {
        Self {
            port,
            peer: PeerId::NONE,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self {
                port,
                peer: PeerId::NONE,
            } => port.fmt(f),
            Self { port, peer } => write!(f, "{peer} of {port}"),
        }
    }
}

/// A packet, from its arrival on: the same wherever it appears, translated, cut, mirrored or held.
/// The number of the worker it arrived at in the lowest 8 bits, a count above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketId(pub u64);

impl PacketId {
    /// The `count`th packet that arrived at `worker`.
    #[must_use]
    pub const fn new(worker: WorkerId, count: u64) -> Self {
        Self(count << 8 | (worker.0 & 0xff) as u64)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

macro_rules! dense_id {
    ($($id:ident $prefix:literal),+) => {$(
        impl $id {
            /// The id as a table index.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )+};
}

dense_id!(PortId "port", PeerId "peer", NetworkId "network", WorkerId "worker");
