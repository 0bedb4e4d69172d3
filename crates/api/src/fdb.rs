//! The table of MAC addresses: which port each is behind.

use crate::{Invalid, Mac, Name, VlanId};
use model::check_host_mac;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FdbEntry {
    /// The network.
    pub network: Name,
    /// The VLAN.
    pub vlan: VlanId,
    /// The MAC address.
    pub mac: Mac,
    /// The port it is behind.
    pub port: Name,
    /// How it came into the table.
    pub kind: FdbKind,
    /// Seconds since a frame came from it; `null` for a static entry.
    pub age_seconds: Option<u64>,
    /// Decisions about its frames, and about frames to it, that the kernel repeats.
    pub leases: u64,
}

/// How an address came into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FdbKind {
    /// A frame came from it; it ages.
    Learned,
    /// Somebody wrote it there; it stays until it is removed.
    Static,
}

/// A static entry to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbAdd {
    /// The network.
    pub network: Name,
    /// The VLAN. `null`: the network's default.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// The MAC address, an individual one.
    pub mac: Mac,
    /// The port it is behind, in the same network.
    pub port: Name,
}

impl FdbAdd {
    /// Refuses a MAC address no host can have.
    ///
    /// # Errors
    /// [`Invalid`] names the address.
    pub fn check(&self) -> Result<(), Invalid> {
        check_host_mac("mac", self.mac)
    }
}

/// The entry to be removed, learned or static.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbKey {
    /// The network.
    pub network: Name,
    /// The VLAN. `null`: the network's default.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// The MAC address.
    pub mac: Mac,
}

/// Which entries to forget; absent is any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbFlush {
    /// Of this network.
    #[serde(default)]
    pub network: Option<Name>,
    /// Of this VLAN.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Behind this port.
    #[serde(default)]
    pub port: Option<Name>,
    /// Static entries as well.
    #[serde(default)]
    pub include_static: bool,
}

/// The result of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flushed {
    /// Entries forgotten.
    pub removed: u64,
}
