//! Connections that the NAT follows, and their events.

use crate::{IpProtocol, Mac, Name, NatChange, NatState, NeighbourState};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use utoipa::ToSchema;

/// A connection. Of an ICMP query the port is its identifier on the side that asked, 0 on the
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NatEntry {
    /// The network of the container in it.
    pub network: Name,
    /// The container's endpoint, if it has one.
    pub endpoint: Option<Name>,
    /// The protocol.
    pub protocol: IpProtocol,
    /// How far it has come.
    pub state: NatState,
    /// As its first packet came.
    pub original: NatTuple,
    /// As its first packet left.
    pub translated: NatTuple,
    /// Traffic in the first packet's direction.
    pub sent: NatCount,
    /// Traffic in the other direction.
    pub received: NatCount,
    /// Seconds until it is forgotten if it stays silent.
    pub expires_seconds: u64,
    /// Whether the kernel repeats its packets, of one direction or of both.
    pub leased: bool,
}

/// Source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct NatTuple {
    /// The source, address and port.
    #[schema(value_type = String, example = "10.1.0.2:40000")]
    pub src: SocketAddr,
    /// The destination, address and port.
    #[schema(value_type = String, example = "198.51.100.7:443")]
    pub dst: SocketAddr,
}

/// Traffic in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct NatCount {
    /// Packets.
    pub packets: u64,
    /// Their bytes from the IP header on.
    pub bytes: u64,
}

/// A neighbour of the router: a host on one of its links, found by ARP or NDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbour {
    /// The network or the uplink that it is on.
    pub network: Name,
    /// Its address.
    #[schema(value_type = String, example = "10.1.0.2")]
    pub address: IpAddr,
    /// Its MAC address; `null` while it is not known.
    pub mac: Option<Mac>,
    /// How sure that is.
    pub state: NeighbourState,
    /// Seconds in this state.
    pub age_seconds: u64,
}

/// Something that happened to a connection: one line of the watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NatEvent {
    /// The change.
    pub event: NatChange,
    /// The connection, as it was then.
    pub entry: NatEntry,
    /// Events before this one that there was no room for.
    #[serde(default)]
    pub lost: u64,
}
