//! The interface's words and the state's. Pure.

use api::{AdminState, Name, Netns, PortAdd};
use control::{Endpoint, Isolation, Network, Port, PortKind, State};
use host::NamespaceRef;
use pipeline::{DropReason, PortId};
use std::net::IpAddr;
use wire::VlanId;

mod gateway;

pub(super) use gateway::publication;

/// A name of the state's: what is a name there is one here.
pub(super) fn name(text: &str) -> Name {
    text.parse()
        .expect("the state's names obey the interface's rule")
}

pub(super) fn place(netns: &Netns) -> NamespaceRef {
    match netns {
        Netns::Name(name) => NamespaceRef::Name(name.as_str().to_owned()),
        Netns::Path(path) => NamespaceRef::Path(path.clone()),
        Netns::Pid(pid) => NamespaceRef::Pid(*pid),
    }
}

/// Returns what a network was made with.
pub(super) fn network_spec(network: &Network) -> api::NetworkCreate {
    api::NetworkCreate {
        name: name(&network.name),
        subnets: network.subnets.iter().map(|s| s.net).collect(),
        gateways: gateways(network),
        reserved: network.reserved.clone(),
        allow_overlap: false,
        overlapping: network.overlapping,
        mtu: network.mtu,
        default_vlan: network.default_vlan,
        forward_reserved: network.forward_reserved,
        ageing_seconds: network.fdb.ageing_secs,
        max_macs: network.fdb.max_entries,
        max_macs_per_port: network.fdb.max_per_port,
        storm: network.storm,
        routing: network.routing.clone(),
        labels: network.labels.clone(),
    }
}

/// An endpoint as it is. `None` when its port or network is not there, which the state excludes.
pub(super) fn endpoint(state: &State, endpoint: &Endpoint) -> Option<api::Endpoint> {
    let port = state.port(endpoint.port)?;
    Some(api::Endpoint {
        id: name(&port.name),
        name: endpoint.name.clone(),
        aliases: endpoint.aliases.clone(),
        network: name(&state.network(endpoint.network)?.name),
        netns: endpoint.sandbox.as_ref().map(|s| s.namespace.clone()),
        ifname: endpoint.ifname.clone(),
        via: endpoint.via.clone(),
        datapath: endpoint.sandbox.as_ref().map(|_| endpoint.datapath),
        mac: endpoint.mac,
        addresses: endpoint.addresses.clone(),
        gateways: endpoint.gateways.clone(),
        vlan: state.vlan_of(port).untagged().unwrap_or(VlanId::DEFAULT),
        mtu: endpoint.mtu,
        locked: port.settings.lock.is_some(),
        port: name(&port.name),
        labels: endpoint.labels.clone(),
    })
}

/// The gateways that were asked for: nothing said where each subnet's is its first address.
fn gateways(network: &Network) -> Option<Vec<IpAddr>> {
    let usual = network
        .subnets
        .iter()
        .all(|s| s.gateway == Some(s.first_host()));
    let own = || network.subnets.iter().filter_map(|s| s.gateway).collect();
    (!usual).then(own)
}

/// Returns what a port was added with, and changed to since.
pub(super) fn port_spec(state: &State, port: &Port) -> PortAdd {
    let port_name = |id: &PortId| state.port(*id).map(|p| name(&p.name));
    let settings = &port.settings;
    PortAdd {
        name: name(&port.name),
        kind: api_kind(state, port),
        network: port
            .network
            .and_then(|id| state.network(id))
            .map(|n| name(&n.name)),
        admin: if settings.up {
            AdminState::Up
        } else {
            AdminState::Down
        },
        vlan: settings.vlan.clone(),
        isolated: match settings.isolated {
            Isolation::AsNetwork => None,
            Isolation::On => Some(true),
            Isolation::Off => Some(false),
        },
        lock: settings.lock.clone(),
        max_macs: settings.max_macs,
        storm: settings.storm,
        rate: settings.rate,
        mirror: settings.mirror.as_ref().map(|m| api::Mirror {
            of: m.of.iter().filter_map(port_name).collect(),
            direction: m.direction,
        }),
    }
}

fn api_kind(state: &State, port: &Port) -> api::PortKind {
    match &port.kind {
        PortKind::Own { kind, .. } => kind.clone(),
        PortKind::Endpoint(_) => {
            let endpoint = state.endpoint_of(port);
            let sandbox = endpoint.and_then(|e| e.sandbox.as_ref());
            match endpoint.and_then(Endpoint::veth) {
                Some(host) => api::PortKind::Packet {
                    netns: None,
                    interface: host.to_owned(),
                },
                None => api::PortKind::Tap {
                    netns: sandbox.map(|s| s.namespace.clone()),
                    ifname: endpoint.map_or_else(String::new, |e| e.ifname.clone()),
                    queues: endpoint.map_or(1, |e| e.queues),
                },
            }
        }
    }
}

/// A reason for which a frame is dropped.
pub(super) fn drop_info(reason: DropReason) -> api::DropInfo {
    api::DropInfo {
        code: reason.code(),
        label: reason.label().to_owned(),
        sentence: reason.describe().to_owned(),
    }
}

/// The endpoint of a network that has an address.
pub(super) fn owner(
    state: &State,
    network: pipeline::NetworkId,
    address: IpAddr,
) -> Option<&Endpoint> {
    state
        .endpoints()
        .filter(|e| e.network == network)
        .find(|e| e.addresses.iter().any(|net| net.addr() == address))
}
