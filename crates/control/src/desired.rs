//! The desired state: what all hosts would share.
//!
//! Nothing in it means something on one host only: a network has its uuid and its name, and names
//! other networks and uplinks by theirs. What one host gave to it stands in `placed.rs`.
//!
//! An [`Operation`] is all that can happen to it. The store that remembers operations gives each a
//! revision, and refuses one that was checked against an older state.

use crate::hash::mix;
use crate::stored::{self, Record};
use ipnet::IpNet;
use model::{AddressRange, FdbLimits, Routing, StormLimits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use uuid::{Builder, Uuid};
use wire::VlanId;

/// The networks that are wanted.
///
/// Endpoints are not among them: one lives on one host, which alone knows when it comes and goes.
/// Nor are publications, which take ports of a host's addresses to its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Desired {
    #[serde(with = "stored::table")]
    pub(crate) networks: BTreeMap<Uuid, Network>,
}

/// A network: a bridge domain with its address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identity: never used again, on no host.
    pub uuid: Uuid,
    /// Its name, unique among networks.
    pub name: String,
    /// Where its addresses come from; none for a network that only switches.
    pub subnets: Vec<Subnet>,
    /// The largest IP packet carried, in bytes.
    pub mtu: u16,
    /// Whether frames to 01:80:C2:00:00:0x are carried.
    pub forward_reserved: bool,
    /// The VLAN of ports that were told no other.
    pub default_vlan: VlanId,
    /// Bounds of its forwarding database.
    pub fdb: FdbLimits,
    /// The limits of floods from each port that has none of its own.
    #[serde(with = "stored::form")]
    pub storm: StormLimits,
    /// Addresses that are given to nobody who does not ask for them.
    #[serde(default, with = "stored::form")]
    pub reserved: Vec<AddressRange>,
    /// Whether other networks may have the same addresses.
    #[serde(default)]
    pub overlapping: bool,
    /// Settings of its gateway, and of who reaches whom.
    #[serde(default)]
    pub routing: Routing,
    /// Free words of whoever made it.
    pub labels: BTreeMap<String, String>,
}

/// A range of addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The range; its host bits are zero.
    pub net: IpNet,
    /// The address of the network's gateway there. Without one endpoints get no default route, and
    /// the first address is kept free all the same.
    pub gateway: Option<IpAddr>,
}

/// A change to the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Add a network, or replace the one that has its uuid.
    PutNetwork(Box<Network>),
    /// Remove a network.
    DropNetwork(Uuid),
}

impl Desired {
    /// Makes the change. Returns what takes it back, if it changed something.
    pub(crate) fn apply(&mut self, operation: Operation) -> Option<Operation> {
        match operation {
            Operation::PutNetwork(network) => {
                let uuid = network.uuid;
                let old = self.networks.insert(uuid, *network);
                Some(old.map_or(Operation::DropNetwork(uuid), Operation::put))
            }
            Operation::DropNetwork(uuid) => self.networks.remove(&uuid).map(Operation::put),
        }
    }
}

impl Operation {
    pub(crate) fn put(network: Network) -> Self {
        Self::PutNetwork(Box::new(network))
    }
}

/// Returns the uuid of the network that the host with `seed` makes as its `number`th.
pub(crate) fn network_uuid(seed: u64, number: u32) -> Uuid {
    let half = |which: u64| mix(mix(mix(seed) ^ which) ^ u64::from(number));
    let bits = (u128::from(half(1)) << 64) | u128::from(half(2));
    Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

impl Record for Network {
    type Id = Uuid;
    fn id(&self) -> Uuid {
        self.uuid
    }
}
