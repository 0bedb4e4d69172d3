//! The placed state: what this host gave to what is wanted, and what is of this host alone.
//!
//! ```text
//!   desired                              placed
//!   network  uuid, name, subnets, ..  <- its place: dense id, bridge, configured entries
//!                                        endpoints, ports, publications, uplinks
//! ```
//! Ids in here index tables of the switch and the router. They are small, given again after their
//! owner is gone, and mean nothing on another host.

use crate::attachment::{Attachment, Uplink};
use crate::desired::Network;
use crate::model::{Endpoint, EndpointId, Port};
use crate::publication::{Publication, PublicationId};
use crate::stored::{self, Record};
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;
use uuid::Uuid;
use wire::{MacAddr, VlanId};

/// Everything that is this host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// Makes derived MAC addresses and uuids differ between daemons. Chosen once, by whoever has
    /// randomness.
    pub(crate) seed: u64,
    /// The number of the next network that is made here.
    pub(crate) next_network: u32,
    #[serde(with = "stored::table")]
    pub(crate) networks: BTreeMap<NetworkId, NetworkPlace>,
    /// The id of the next endpoint.
    pub(crate) next_endpoint: u32,
    #[serde(with = "stored::table")]
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    #[serde(with = "stored::table")]
    pub(crate) ports: BTreeMap<PortId, Port>,
    /// The id of the next publication.
    #[serde(default = "one")]
    pub(crate) next_publication: u32,
    #[serde(default, with = "stored::table")]
    pub(crate) publications: BTreeMap<PublicationId, Publication>,
    /// In the order they were added.
    #[serde(default)]
    pub(crate) uplinks: Vec<Uplink>,
    /// The place of the host's stack.
    #[serde(default)]
    pub(crate) host: Option<Attachment>,
    /// The place of the daemon's own servers.
    #[serde(default)]
    pub(crate) services: Option<Attachment>,
}

const fn one() -> u32 {
    1
}

impl Placed {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            next_network: FIRST_NUMBER,
            networks: BTreeMap::new(),
            next_endpoint: 1,
            endpoints: BTreeMap::new(),
            ports: BTreeMap::new(),
            next_publication: one(),
            publications: BTreeMap::new(),
            uplinks: Vec::new(),
            host: None,
            services: None,
        }
    }
}

/// The number of the first network that a daemon makes. Those below are the ids of networks in
/// files that knew no uuid: each got the uuid of the number that its id is.
pub(crate) const FIRST_NUMBER: u32 = 1 << 16;

/// The place of a network on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlace {
    /// Its number here.
    #[serde(with = "stored::form")]
    pub id: NetworkId,
    /// The network.
    pub network: Uuid,
    /// The number of which this host made the network's uuid.
    pub number: u32,
    /// The host's bridge that it stands in for.
    #[serde(default)]
    pub bridge: Option<Bridge>,
    /// Addresses whose port was configured, beside those of endpoints.
    pub statics: Vec<StaticEntry>,
}

/// A bridge of the host's, whose containers a network has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Its name.
    pub ifname: String,
    /// Its MAC address. The gateway has it as well: containers know it already, and go on knowing it
    /// when the bridge has them back.
    pub mac: MacAddr,
}

/// A configured entry of a forwarding database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticEntry {
    /// The VLAN.
    pub vlan: VlanId,
    /// The address.
    pub mac: MacAddr,
    /// The port it is behind.
    #[serde(with = "stored::form")]
    pub port: PortId,
}

/// A network with its place on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedNetwork<'s> {
    /// Its number here.
    pub id: NetworkId,
    /// The network, as all hosts have it.
    pub network: &'s Network,
    /// Its place.
    pub place: &'s NetworkPlace,
}

impl Deref for PlacedNetwork<'_> {
    type Target = Network;

    fn deref(&self) -> &Network {
        self.network
    }
}

impl Record for NetworkPlace {
    type Id = NetworkId;
    fn id(&self) -> NetworkId {
        self.id
    }
}
