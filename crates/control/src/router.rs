//! From the desired state, and what the host says of its uplinks, to the router's configuration.
//!
//! What the host says is no part of the state: a NIC's addresses, next hops and MAC address change
//! under a running daemon, and are given again with every configuration.

use crate::attachment::{Attachment, Hidden, Uplink};
use crate::desired::Network;
use crate::facts::{LinkFacts, UplinkFacts};
use crate::hash::hashed_mac;
use crate::model::Endpoint;
use crate::placed::PlacedNetwork;
use crate::{Live, State};
use ipnet::IpNet;
use model::{Masquerade, Policy, Routing};
use nat::InterfaceConfig;
use nat::config::{EndpointRules, HostRole, InsideRole, Lease, Role, UplinkRole};
use pipeline::NetworkId;
use wire::MacAddr;

impl Live {
    /// The router that `state` describes, on a host that is as `facts` say.
    #[must_use]
    pub fn router_config(state: &State, facts: &UplinkFacts) -> nat::Config {
        let inside = state
            .networks()
            .filter(|n| n.has_gateway())
            .map(|network| inside(state, facts, network));
        let uplinks = state.uplinks().filter_map(|uplink| {
            let link = facts.uplinks.get(&uplink.name)?;
            Some(uplink_interface(uplink, link))
        });
        let host = facts.host.as_ref().and_then(|link| {
            let addresses = link.addresses.iter().map(IpNet::addr).collect();
            let role = Role::Host(HostRole { addresses });
            Some(stack(state.place_of(Hidden::Host)?, link, role))
        });
        let services = facts.services.as_ref().and_then(|link| {
            let place = state.place_of(Hidden::Services)?;
            Some(stack(place, link, Role::Services))
        });
        nat::Config {
            interfaces: inside.chain(uplinks).chain(host).chain(services).collect(),
            publications: state.published_to_the_world().collect(),
            rules: state.endpoints().flat_map(rules).collect(),
        }
    }
}

impl State {
    /// The MAC address of the gateway of the network `id`: that of the bridge it stands in for, or a
    /// locally administered one. It is the same as long as the state file is.
    #[must_use]
    pub fn gateway_mac(&self, id: NetworkId) -> MacAddr {
        let bridge = self.network(id).and_then(|n| n.place.bridge.as_ref());
        if let Some(bridge) = bridge {
            return bridge.mac;
        }
        hashed_mac(self.placed.seed, GATEWAYS | u64::from(id.0))
    }

    /// The MAC addresses that the router has in hidden networks.
    pub(crate) fn hidden_mac(&self, network: NetworkId, facts: &UplinkFacts) -> Option<MacAddr> {
        let link = if self
            .placed
            .host
            .is_some_and(|place| place.network == network)
        {
            facts.host.as_ref()
        } else if self
            .placed
            .services
            .is_some_and(|place| place.network == network)
        {
            facts.services.as_ref()
        } else {
            let uplink = self.uplinks().find(|u| u.place.network == network)?;
            facts.uplinks.get(&uplink.name)
        };
        link.map(|link| link.mac)
    }
}

impl Network {
    /// Returns whether the host and its containers reach each other. The host has one way to an address.
    #[must_use]
    pub fn reaches_host(&self) -> bool {
        self.routing.host_access && !self.overlapping
    }

    /// Returns whether the router has an address in it.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.subnets.iter().any(|s| s.gateway.is_some())
    }

    /// Returns where its endpoints have addresses that the world knows: its subnets, or the prefix that
    /// stands for one, unless all of them hide behind the uplink's address.
    #[must_use]
    pub fn known_to_the_world(&self) -> Vec<IpNet> {
        let masquerade = self.routing.masquerade;
        let prefix = self.routing.nptv6.get();
        let subnets = self.subnets.iter().map(|s| s.net);
        let routed = subnets.filter(|net| {
            let is_prefixed = prefix.is_some() && net.addr().is_ipv6();
            !masquerade.covers(net.addr()) && !is_prefixed
        });
        let routed = routed.filter(|_| !self.overlapping);
        routed.chain(prefix.map(IpNet::V6)).collect()
    }

    /// The gateway's addresses, each with its subnet's length.
    #[must_use]
    pub fn gateways(&self) -> Vec<IpNet> {
        let gateway = |s: &crate::Subnet| {
            let length = s.net.prefix_len();
            s.gateway
                .and_then(|gateway| IpNet::new(gateway, length).ok())
        };
        self.subnets.iter().filter_map(gateway).collect()
    }
}

fn inside(state: &State, facts: &UplinkFacts, network: PlacedNetwork<'_>) -> InterfaceConfig {
    let routing = &network.routing;
    let members = || state.endpoints().filter(|e| e.network == network.id);
    let addresses = |e: &Endpoint| -> Vec<_> {
        let mac = e.mac;
        e.addresses.iter().map(|net| (net.addr(), mac)).collect()
    };
    let known = |uplink: &&Uplink| facts.uplinks.contains_key(&uplink.name);
    let peers = routing
        .peers
        .iter()
        .filter_map(|name| state.network_named(name.as_str()).ok());
    let role = InsideRole {
        settings: Routing {
            masquerade: if network.overlapping {
                Masquerade::On
            } else {
                routing.masquerade
            },
            host_access: network.reaches_host(),
            ..routing.clone()
        },
        overlapping: network.overlapping,
        peers: peers
            .filter(|_| !network.overlapping)
            .map(|n| n.id)
            .collect(),
        uplink: state
            .uplink_of(&network)
            .filter(known)
            .map(|u| u.place.network),
        leases: members().map(|e| (e.mac, lease(e))).collect(),
    };
    InterfaceConfig {
        network: network.id,
        role: Role::Inside(role),
        mac: state.gateway_mac(network.id),
        addresses: network.gateways(),
        mtu: network.mtu,
        neighbours: members().flat_map(addresses).collect(),
        peer: None,
    }
}

fn lease(endpoint: &Endpoint) -> Lease {
    Lease {
        addresses: endpoint.addresses.clone(),
        hostname: endpoint.name.as_ref().map(ToString::to_string),
    }
}

fn uplink_interface(uplink: &Uplink, link: &LinkFacts) -> InterfaceConfig {
    let role = Role::Uplink(UplinkRole {
        gateways: link.gateways.clone(),
        ports: uplink.ports,
        spared: link.spared.clone(),
    });
    attached(uplink.place, link, role)
}

/// A stack has its own addresses on its link, the router none.
fn stack(place: Attachment, link: &LinkFacts, role: Role) -> InterfaceConfig {
    InterfaceConfig {
        addresses: Vec::new(),
        ..attached(place, link, role)
    }
}

fn attached(place: Attachment, link: &LinkFacts, role: Role) -> InterfaceConfig {
    InterfaceConfig {
        network: place.network,
        role,
        mac: link.mac,
        addresses: link.addresses.clone(),
        mtu: link.mtu,
        neighbours: link.neighbours.clone(),
        peer: link.peer,
    }
}

/// An endpoint that may do everything needs no rules.
fn rules(endpoint: &Endpoint) -> Vec<EndpointRules> {
    if endpoint.policy == Policy::default() {
        return Vec::new();
    }
    let of = |net: &IpNet| EndpointRules {
        network: endpoint.network,
        ip: net.addr(),
        policy: endpoint.policy.clone(),
    };
    endpoint.addresses.iter().map(of).collect()
}

/// Sets the numbers of gateways apart from those of endpoints, whose ids stand in the upper half
/// and never get so far.
const GATEWAYS: u64 = 0xffff_ffff << 32;
