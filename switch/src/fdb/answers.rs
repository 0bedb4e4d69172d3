//! Questions to the forwarding database, and its answers.

use model::FdbLimits;
use pipeline::{Location, PortId};
use std::time::Duration;
use wire::{MacAddr, VlanId};

/// How large a forwarding database is and how long it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdbConfig {
    /// Entries at most, static ones included, within [`FdbLimits::ENTRIES`].
    pub max_entries: u32,
    /// Learned entries of one port at most; 0 for no limit but the table's.
    pub max_per_port: u32,
    /// How long an address is remembered after its last frame, in whole seconds (rounded up);
    /// zero for ever.
    pub ageing: Duration,
}

impl From<FdbLimits> for FdbConfig {
    fn from(limits: FdbLimits) -> Self {
        Self {
            max_entries: limits.max_entries,
            max_per_port: limits.max_per_port,
            ageing: Duration::from_secs(limits.ageing_secs.into()),
        }
    }
}

impl Default for FdbConfig {
    fn default() -> Self {
        Self {
            max_entries: 8192,
            max_per_port: 0,
            ageing: Duration::from_secs(300),
        }
    }
}

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the answer says where the frame goes"]
pub enum Lookup {
    /// There.
    Found {
        /// The place.
        at: Location,
        /// How it is known.
        kind: Kind,
    },
    /// Nobody knows, or the entry is older than the ageing time.
    Unknown,
}

/// How an address became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A frame came from it.
    Learned,
    /// It was configured: it never ages, never moves and is never evicted.
    Static,
}

/// The result of learning an address from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an address with a static entry elsewhere is a reason to drop"]
pub enum Learning {
    /// Nothing: the address is there, and was heard in this very second or is static.
    Known,
    /// The address is there; its age starts anew.
    Refresh,
    /// The address is new here, or its entry had aged.
    New {
        /// The entry that had to make room.
        evicted: Option<Evicted>,
    },
    /// The address was behind another port, or another far end of this one. At the limit of a port
    /// that is new to it that port's stalest entry makes room, which [`FdbStats::evicted`] counts.
    Moved {
        /// Where it was.
        from: Location,
    },
    /// The address has a static entry elsewhere, which stays.
    StaticElsewhere {
        /// The place it has.
        on: Location,
    },
    /// There is no room that may be taken: static entries fill the table, or (so rare that four
    /// million addresses did not meet it in a full table) every place where it could stand is held.
    NoRoom,
}

/// A learned entry that made room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its address.
    pub mac: MacAddr,
    /// The place it had.
    pub at: Location,
}

/// One line of the table, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The VLAN.
    pub vlan: VlanId,
    /// The address.
    pub mac: MacAddr,
    /// The place it has.
    pub at: Location,
    /// How it is known.
    pub kind: Kind,
    /// Time since its last frame, in whole seconds; zero for a static entry.
    pub age: Duration,
}

/// The outcome of [`Fdb::remove`](super::Fdb::remove).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The entry is gone.
    Removed {
        /// The place it had.
        at: Location,
        /// How it was known.
        kind: Kind,
    },
    /// There was none.
    Absent,
}

/// Which entries [`Fdb::flush`](super::Fdb::flush) removes: those that meet every condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushFilter {
    /// Only of this port.
    pub port: Option<PortId>,
    /// Only of this VLAN.
    pub vlan: Option<VlanId>,
    /// Static entries too.
    pub statics: bool,
}

/// Counts of events since the table was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FdbStats {
    /// Addresses learned: [`Learning::New`].
    pub learned: u64,
    /// Addresses that changed place: [`Learning::Moved`].
    pub moved: u64,
    /// Entries that made room for others before they aged.
    pub evicted: u64,
    /// Entries removed because they aged.
    pub expired: u64,
    /// Frames that taught nothing: [`Learning::StaticElsewhere`] and [`Learning::NoRoom`].
    pub refused: u64,
}

/// Why an entry cannot be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FdbError {
    /// No frame may come from that address, so no port can hold it.
    #[error(
        "{mac} cannot be behind a port: an individual address (even first byte) that is not all zeros can"
    )]
    NotIndividual {
        /// The address.
        mac: MacAddr,
    },
    /// It is configured elsewhere already.
    #[error("{mac} in VLAN {vlan} is already static on {on}: remove that entry first")]
    StaticElsewhere {
        /// The VLAN.
        vlan: VlanId,
        /// The address.
        mac: MacAddr,
        /// The place it has.
        on: Location,
    },
    /// Static entries fill the table, or every place where this one could stand.
    #[error("no room for a static entry: the table holds {max} entries at most")]
    Full {
        /// The table's limit.
        max: u32,
    },
}
