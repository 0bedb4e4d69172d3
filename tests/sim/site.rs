//! A router between two networks of containers, the world and the host, one port a stack: what
//! scenarios of the router begin with.
//!
//! ```text
//!   web  10.1.0.0/24     2001:db8:1::/64    0 A .2    4 C .3      gateway .1
//!   db   10.2.0.0/24     2001:db8:2::/64    1 B .2                gateway .1
//!   up   198.51.100.0/28 2001:db8:f::/64    2 HOP .1, to all the world     ours .2
//!   host                                    3 STACK
//! ```
//! Every neighbour is known, and every MAC has a static entry: nothing is flooded or asked for.

use crate::rig::Rig;
use nat::config::{HostRole, InsideRole, UplinkRole};
use nat::{
    Config, Inside, InterfaceConfig, Live, Nat, PortRange, Publication, Role, Router, Routing,
    TransportAddr,
};
use pipeline::{NetworkId, PortId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Gateway, Network, Port};
use wire::craft::{Link, Packet};
use wire::{IpProtocol, MacAddr, VlanId};

pub(crate) const WEB: NetworkId = NetworkId(0);
pub(crate) const DB: NetworkId = NetworkId(1);
pub(crate) const UP: NetworkId = NetworkId(2);
pub(crate) const HOST: NetworkId = NetworkId(3);

/// A stack at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) port: PortId,
    pub(crate) network: NetworkId,
    pub(crate) mac: MacAddr,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

pub(crate) const A: Guest = guest(0, WEB, [10, 1, 0, 2], 1);
pub(crate) const B: Guest = guest(1, DB, [10, 2, 0, 2], 2);
pub(crate) const C: Guest = guest(4, WEB, [10, 1, 0, 3], 1);
pub(crate) const HOP: Guest = guest(2, UP, [198, 51, 100, 1], 0xf);
pub(crate) const STACK: Guest = guest(3, HOST, [198, 51, 100, 2], 0xf);
pub(crate) const GUESTS: [Guest; 5] = [A, B, C, HOP, STACK];

/// The address the world knows us by.
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The same over IPv6.
pub(crate) const OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2);
/// Somebody in the world, behind the next hop.
pub(crate) const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
/// Somebody else there.
pub(crate) const WORLD2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
/// Somebody there over IPv6.
pub(crate) const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x100);

const fn guest(port: u16, network: NetworkId, v4: [u8; 4], subnet: u16) -> Guest {
    let [a, b, c, d] = v4;
    Guest {
        port: PortId(port),
        network,
        mac: MacAddr([2, 0, 0, 0, 1, port.to_be_bytes()[1]]),
        v4: Ipv4Addr::new(a, b, c, d),
        v6: Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, d as u16),
    }
}

/// The router's MAC in a network.
pub(crate) const fn gateway(network: NetworkId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, 0xf0 | network.0.to_be_bytes()[3]])
}

/// A packet that `from` sends to its gateway.
pub(crate) fn packet(from: Guest, src: IpAddr, dst: IpAddr) -> Packet {
    let link = Link::new(from.mac, gateway(from.network));
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => link.ipv4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => link.ipv6(src, dst),
        _ => panic!("{src} and {dst} are of two families"),
    }
}

/// A configuration to be spoilt, and then a rig of it.
pub(crate) struct Site {
    config: Config,
    capacity: u32,
}

impl Site {
    /// Both networks masquerade behind the uplink; nothing is published, and nobody is anybody's
    /// peer.
    pub(crate) fn new() -> Self {
        let inside =
            |network, v4: &str, v6: &str| interface(network, Role::Inside(role()), &[v4, v6]);
        let uplink = UplinkRole {
            gateways: vec![HOP.v4.into(), HOP.v6.into()],
            ports: PortRange::DYNAMIC,
            spared: BTreeSet::new(),
        };
        let host = InterfaceConfig {
            peer: Some(STACK.mac),
            ..interface(HOST, Role::Host(HostRole::default()), &[])
        };
        let interfaces = vec![
            inside(WEB, "10.1.0.1/24", "2001:db8:1::1/64"),
            inside(DB, "10.2.0.1/24", "2001:db8:2::1/64"),
            interface(
                UP,
                Role::Uplink(uplink),
                &["198.51.100.2/28", "2001:db8:f::2/64"],
            ),
            host,
        ];
        let config = Config {
            interfaces,
            ..Config::default()
        };
        Self {
            config,
            capacity: 1 << 16,
        }
    }

    /// With another whole configuration.
    pub(crate) fn configured(mut self, spoil: impl FnOnce(&mut Config)) -> Self {
        spoil(&mut self.config);
        self
    }

    /// With another interface in a network.
    pub(crate) fn interface(
        self,
        network: NetworkId,
        spoil: impl FnOnce(&mut InterfaceConfig),
    ) -> Self {
        self.configured(|config| {
            let mut all = config.interfaces.iter_mut();
            spoil(all.find(|i| i.network == network).unwrap());
        })
    }

    /// With another treatment of a network of containers.
    pub(crate) fn inside(self, network: NetworkId, spoil: impl FnOnce(&mut InsideRole)) -> Self {
        self.interface(network, |interface| match &mut interface.role {
            Role::Inside(role) => spoil(role),
            Role::Uplink(_) | Role::Host(_) | Role::Services => {
                panic!("{network} has no containers")
            }
        })
    }

    /// With these external ports.
    pub(crate) fn ports(self, first: u16, last: u16) -> Self {
        self.interface(UP, |interface| match &mut interface.role {
            Role::Uplink(role) => role.ports = PortRange::new(first, last).expect("a range"),
            Role::Inside(_) | Role::Host(_) | Role::Services => panic!("{UP} is the uplink"),
        })
    }

    /// With so many connections at most, in each of 16 shards a sixteenth.
    pub(crate) fn capacity(self, capacity: u32) -> Self {
        Self { capacity, ..self }
    }

    /// With `port` of every external address leading to a guest's `own` port, over IPv4.
    pub(crate) fn publish(self, protocol: IpProtocol, port: u16, to: Guest, own: u16) -> Self {
        self.configured(|config| {
            config.publications.push(Publication {
                protocol,
                host: None,
                ports: PortRange::new(port, port).expect("a range"),
                to: Inside {
                    network: to.network,
                    addr: TransportAddr::new(to.v4.into(), own),
                },
            });
        })
    }

    pub(crate) fn router(&self) -> Router {
        self.router_on(&Arc::new(Live::new(self.capacity, 7)))
    }

    /// The router that goes on with what another one knew.
    pub(crate) fn router_on(&self, live: &Arc<Live>) -> Router {
        Router::new(self.config.clone(), Arc::clone(live)).unwrap()
    }

    pub(crate) fn rig(&self) -> Rig {
        self.rig_with(|_| {})
    }

    /// A rig with a kernel in front of its ports.
    pub(crate) fn repeating(&self) -> Rig {
        self.fit(Rig::repeating(), |_| {})
    }

    /// A rig whose ports are spoilt.
    pub(crate) fn rig_with(&self, spoil: impl FnOnce(&mut [Port])) -> Rig {
        self.fit(Rig::new(), spoil)
    }

    fn fit(&self, mut rig: Rig, spoil: impl FnOnce(&mut [Port])) -> Rig {
        let networks = [WEB, DB, UP, HOST].map(network).into();
        let mut ports = GUESTS.map(|guest| Port::plain(guest.port, guest.network));
        spoil(&mut ports);
        rig.open_all(networks, ports.into());
        rig.route(self.router());
        rig
    }
}

/// A network that masquerades, as a configuration says nothing else.
fn role() -> InsideRole {
    InsideRole {
        settings: Routing {
            nat: Nat {
                quota: 10_000,
                ..Nat::default()
            },
            ..Routing::default()
        },
        overlapping: false,
        peers: Vec::new(),
        uplink: Some(UP),
        leases: BTreeMap::new(),
    }
}

fn interface(network: NetworkId, role: Role, addresses: &[&str]) -> InterfaceConfig {
    let here = GUESTS.iter().filter(|guest| guest.network == network);
    InterfaceConfig {
        network,
        role,
        mac: gateway(network),
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        mtu: 1500,
        neighbours: here
            .flat_map(|guest| [(guest.v4.into(), guest.mac), (guest.v6.into(), guest.mac)])
            .collect(),
        peer: None,
    }
}

fn network(id: NetworkId) -> Network {
    let network = bare_network(id);
    for guest in GUESTS.iter().filter(|guest| guest.network == id) {
        let (mac, port) = (guest.mac, guest.port.into());
        network.fdb.add_static(VlanId::DEFAULT, mac, port).unwrap();
    }
    network
}

/// The same without static entries.
pub(crate) fn bare_network(id: NetworkId) -> Network {
    Network {
        id,
        mtu: 1500,
        forward_reserved: false,
        fdb: Arc::new(Fdb::new(FdbConfig::default(), 1)),
        key: None,
        gateway: Some(Gateway {
            mac: gateway(id),
            vlan: VlanId::DEFAULT,
        }),
    }
}
