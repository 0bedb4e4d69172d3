//! The router's configuration: interfaces, publications, rules.
//!
//! Everything the router is attached to is a network of the switch, and an [`InterfaceConfig`] is the
//! router's place in one:
//!
//! ```text
//!    containers ── network "web" ──┐  Role::Inside         10.1.0.1, the gateway's own MAC
//!    containers ── network "db" ───┤  Role::Inside
//!                                  ├── router
//!    NIC ── uplink TAP ── "up0" ───┤  Role::Uplink         the host's address, the NIC's MAC
//!    host's stack ── host TAP ─────┤  Role::Host
//!    DNS ── service TAP ───────────┘  Role::Services
//! ```
//! These are plain records; [`crate::Router::new`] checks them and makes the tables for the hot
//! path of them.

use crate::Inside;
use ipnet::IpNet;
use model::{Policy, PortRange, Routing};
use pipeline::NetworkId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr};

/// Everything the router is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Its interfaces, one a network at most.
    pub interfaces: Vec<InterfaceConfig>,
    /// Published ports.
    pub publications: Vec<Publication>,
    /// The rules of endpoints, by network and address.
    pub rules: Vec<EndpointRules>,
}

/// The router's place in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// The network.
    pub network: NetworkId,
    /// The network's role.
    pub role: Role,
    /// The MAC address the router has there: an uplink's is the NIC's.
    pub mac: MacAddr,
    /// The router's addresses there, each with its subnet's length. An uplink's are the host's.
    pub addresses: Vec<IpNet>,
    /// The largest IP packet of the link, in bytes.
    pub mtu: u16,
    /// Neighbours whose MAC addresses are known without asking.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// The MAC of the one neighbour there is, on a link that leads to a single stack (the host's,
    /// the servers'): whatever is sent there goes to it.
    pub peer: Option<MacAddr>,
}

/// The role of a network to the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A network of containers.
    Inside(InsideRole),
    /// The way to the world, through a NIC the host keeps using.
    Uplink(UplinkRole),
    /// The host's own stack.
    Host(HostRole),
    /// The daemon's own servers (DNS), which answer at every gateway address.
    Services,
}

/// The host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostRole {
    /// Its own addresses, beside those of the gateways: what is sent to them is for its stack.
    pub addresses: Vec<IpAddr>,
}

/// How a network of containers is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsideRole {
    /// The network's settings, as they apply: the names in them are resolved in the other fields.
    pub settings: Routing,
    /// Other networks may have the same addresses: nobody finds an address of it by routing, and no
    /// answer of a server would find its way back. What is left is the way out and what it opens.
    pub overlapping: bool,
    /// Networks it may exchange packets with; both must name each other.
    pub peers: Vec<NetworkId>,
    /// Where packets for the world leave; `None` for nowhere.
    pub uplink: Option<NetworkId>,
    /// The leases that DHCP gives, by MAC address.
    pub leases: BTreeMap<MacAddr, Lease>,
}

/// As whom a packet leaves for the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As the uplink.
    Masqueraded,
    /// As its own address in the world's prefix.
    Prefixed,
    /// As itself.
    Routed,
}

impl InsideRole {
    /// As whom packets from `ip` leave.
    pub(crate) const fn exit(&self, ip: IpAddr) -> Exit {
        match (ip, self.settings.nptv6.get()) {
            (IpAddr::V6(_), Some(_)) => Exit::Prefixed,
            _ if self.settings.masquerade.covers(ip) => Exit::Masqueraded,
            _ => Exit::Routed,
        }
    }
}

/// The addresses and the name that DHCP tells an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Its addresses, each with its subnet's length.
    pub addresses: Vec<IpNet>,
    /// Its name.
    pub hostname: Option<String>,
}

/// The way to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkRole {
    /// The next hops: one a family at most. What is on the link itself goes straight there.
    pub gateways: Vec<IpAddr>,
    /// The external ports that mappings are made of. The host's own sockets keep out of them.
    pub ports: PortRange,
    /// Those of them that sockets of the host have all the same: what arrives there is the host's.
    pub spared: BTreeSet<(IpProtocol, u16)>,
}

/// A range of external ports that leads to an endpoint: as many ports there, from `to` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The external address; `None` for every address of every uplink.
    pub host: Option<IpAddr>,
    /// The external ports.
    pub ports: PortRange,
    /// The endpoint's address and first port.
    pub to: Inside,
}

/// The rules of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRules {
    /// Its network.
    pub network: NetworkId,
    /// Its address.
    pub ip: IpAddr,
    /// Its rules.
    pub policy: Policy,
}
