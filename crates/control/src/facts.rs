//! The host's side of links: no part of the state, since a NIC's addresses, next hops and MAC address
//! change under a running daemon, and are given again with every configuration.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr};

/// The host's links at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UplinkFacts {
    /// Of uplinks, by name. One that is not here (its NIC is gone) carries nothing.
    pub uplinks: BTreeMap<String, LinkFacts>,
    /// Of the host's stack. `mac` is the router's there.
    pub host: Option<LinkFacts>,
    /// Of the services. `mac` is the router's there.
    pub services: Option<LinkFacts>,
}

/// The host's side of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// The router's MAC address there: an uplink's is the NIC's.
    pub mac: MacAddr,
    /// The host's addresses there, each with its subnet's length: an uplink's are those that the
    /// world knows us by; the host stack's are all it has that are no uplink's.
    pub addresses: Vec<IpNet>,
    /// The next hops, one a family at most.
    pub gateways: Vec<IpAddr>,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// Ports of an uplink's that sockets of the host have: no mapping is made of them.
    pub spared: BTreeSet<(IpProtocol, u16)>,
    /// The neighbours whose MAC addresses are known without asking.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// The MAC address of the one stack that is there: not an uplink's.
    pub peer: Option<MacAddr>,
}
