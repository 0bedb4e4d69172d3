//! The router the target asks, and the switch around it.

use nat::config::{EndpointRules, HostRole, InsideRole, UplinkRole};
use nat::{
    Config, Inside, InterfaceConfig, Live, Nat, Policy, PortRange, Preset, Publication, Role,
    Router, Routing, TransportAddr,
};
use pipeline::{NetworkId, PortId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Gateway, Network, Port, Topology};
use wire::{IpProtocol, MacAddr, VlanId};

/// The networks of containers.
pub(super) const INSIDE: [NetworkId; 2] = [NetworkId(0), NetworkId(1)];
/// The network of the way to the world.
pub(super) const UPLINK: NetworkId = NetworkId(2);
const HOST: NetworkId = NetworkId(3);
const NETWORKS: [NetworkId; 4] = [INSIDE[0], INSIDE[1], UPLINK, HOST];
/// What is at each port: its network and the last byte of its addresses.
const GUESTS: [(NetworkId, u8); PORTS as usize] = [
    (INSIDE[0], 2),
    (INSIDE[1], 2),
    (UPLINK, 1),
    (HOST, 9),
    (INSIDE[0], 3),
];
/// How many ports there are.
pub(crate) const PORTS: u8 = 5;
/// The connections there is room for.
pub(super) const PLACES: u32 = 64;
/// The ports that mappings are made of: two of either parity in each of 16 shards.
const DYNAMIC: PortRange = PortRange::new(50_000, 50_063).expect("they run forwards");
/// The connections that an address may hold.
pub(super) const QUOTA: u32 = 24;
/// The addresses the world knows us by.
const OURS: [&str; 2] = ["198.51.100.2/28", "2001:db8:f::2/64"];

/// The router's MAC in a network.
pub(crate) const fn gateway(network: NetworkId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, 0xf0 | network.0.to_be_bytes()[3]])
}

/// The MAC of what is at a port.
pub(crate) const fn mac(port: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, port])
}

/// The network of a port.
pub(crate) fn network_of(port: PortId) -> Option<NetworkId> {
    GUESTS.get(port.index()).map(|(network, _)| *network)
}

/// Returns whether `ip` is in the subnet of a network of containers.
pub(super) fn holds(network: NetworkId, ip: IpAddr) -> bool {
    subnets(network)
        .into_iter()
        .any(|net| parse(&net).contains(&ip))
}

/// Returns whether `ip` is one the world knows us by.
pub(super) fn is_ours(ip: IpAddr) -> bool {
    OURS.iter().any(|net| parse(net).addr() == ip)
}

/// Returns whether mappings are made of `port`.
pub(super) const fn is_dynamic(port: u16) -> bool {
    DYNAMIC.contains(port)
}

/// Whom a published port leads to.
pub(super) fn published(protocol: IpProtocol, at: TransportAddr) -> Option<Inside> {
    let all = publications().into_iter();
    let mut here = all.filter(|p| p.protocol == protocol && p.ports.contains(at.port));
    let found = here.find(|p| p.to.addr.ip.is_ipv4() == at.ip.is_ipv4())?;
    let mut to = found.to;
    to.addr.port += at.port - found.ports.first();
    Some(to)
}

fn subnets(network: NetworkId) -> [String; 2] {
    let number = network.0 + 1;
    [
        format!("10.{number}.0.1/24"),
        format!("2001:db8:{number}::1/64"),
    ]
}

fn addresses((network, last): (NetworkId, u8)) -> [IpAddr; 2] {
    let texts = match network {
        UPLINK => [format!("198.51.100.{last}"), format!("2001:db8:f::{last}")],
        HOST => [format!("198.51.101.{last}"), format!("2001:db8:e::{last}")],
        NetworkId(other) => {
            let number = other + 1;
            [
                format!("10.{number}.0.{last}"),
                format!("2001:db8:{number}::{last}"),
            ]
        }
    };
    texts.map(|text| text.parse().expect("an address"))
}

fn parse(net: &str) -> ipnet::IpNet {
    net.parse().expect("an address and its prefix")
}

fn publications() -> Vec<Publication> {
    let lead = |protocol, first, count: u16, guest, own| {
        addresses(guest).map(|ip| Publication {
            protocol,
            host: None,
            ports: PortRange::new(first, first + count - 1).expect("they run forwards"),
            to: Inside {
                network: guest.0,
                addr: TransportAddr::new(ip, own),
            },
        })
    };
    [
        lead(IpProtocol::TCP, 80, 1, GUESTS[0], 8080),
        lead(IpProtocol::UDP, 53, 4, GUESTS[1], 5300),
    ]
    .concat()
}

/// The switch: a network for each of the router's interfaces.
pub(super) fn topology() -> Topology {
    let few = FdbConfig {
        max_entries: 16,
        ..FdbConfig::default()
    };
    let network = |id| Network {
        id,
        mtu: 1500,
        forward_reserved: false,
        fdb: Arc::new(Fdb::new(few, 1)),
        key: None,
        gateway: Some(Gateway {
            mac: gateway(id),
            vlan: VlanId::DEFAULT,
        }),
    };
    let ports = (0..).zip(GUESTS);
    let ports = ports.map(|(id, (network, _))| Port::plain(PortId(id), network));
    Topology::new(NETWORKS.map(network).into(), ports.collect())
        .expect("the ports and networks above agree")
}

/// The router, with few ports, places and rules, so that all of them are used up.
pub(super) fn router() -> Router {
    let policy = Policy {
        rules: vec!["deny in udp :100-200".parse().expect("a rule")],
        ..Policy::default()
    };
    let rules = addresses(GUESTS[4]).map(|ip| EndpointRules {
        network: INSIDE[0],
        ip,
        policy: policy.clone(),
    });
    let config = Config {
        interfaces: NETWORKS.map(interface).into(),
        publications: publications(),
        rules: rules.into(),
    };
    let live = Arc::new(Live::new(PLACES, 1));
    Router::new(config, live).expect("nothing contradicts itself")
}

fn interface(network: NetworkId) -> InterfaceConfig {
    let (role, nets) = match network {
        UPLINK => {
            let role = UplinkRole {
                gateways: addresses(GUESTS[2]).into(),
                ports: DYNAMIC,
                spared: std::collections::BTreeSet::new(),
            };
            (Role::Uplink(role), OURS.map(str::to_owned).into())
        }
        HOST => (Role::Host(HostRole::default()), Vec::new()),
        inside => (Role::Inside(role(inside)), subnets(inside).into()),
    };
    // Whoever has a port is known; others, whom a frame may name, are asked for.
    let known = (0..).zip(GUESTS).filter(|(_, (at, _))| *at == network);
    let neighbours = known.flat_map(|(port, guest)| addresses(guest).map(|ip| (ip, mac(port))));
    InterfaceConfig {
        network,
        role,
        mac: gateway(network),
        addresses: nets.iter().map(|net| parse(net)).collect(),
        mtu: if network == UPLINK { 1400 } else { 1500 },
        neighbours: neighbours.collect(),
        peer: (network == HOST).then_some(mac(3)),
    }
}

fn role(network: NetworkId) -> InsideRole {
    // One network's mappings are each endpoint's own, the other's are shared by peers.
    let preset = if network == INSIDE[0] {
        Preset::Rfc
    } else {
        Preset::Linux
    };
    InsideRole {
        settings: Routing {
            nat: Nat {
                preset,
                quota: QUOTA,
                ..Nat::default()
            },
            slaac: network == INSIDE[0],
            dhcp: network == INSIDE[1],
            ..Routing::default()
        },
        overlapping: false,
        peers: INSIDE
            .into_iter()
            .filter(|other| *other != network)
            .collect(),
        uplink: Some(UPLINK),
        leases: BTreeMap::new(),
    }
}
