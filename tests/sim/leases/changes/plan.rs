//! The things that may change of a site, at random, and the configuration that comes of it.

use crate::site::{A, B, C, DB, GUESTS, Guest, OURS, Site, UP, WEB, bare_network};
use nat::config::{EndpointRules, InsideRole};
use nat::{Inside, Policy, PortRange, Preset, Publication, TransportAddr};
use pipeline::{NetworkId, PortId};
use sim::Rng;
use std::collections::BTreeMap;
use switch::{Limiter, Lock, Mirror, Network, Port, VlanMode};
use wire::{IpProtocol, VlanId};

/// A port that gets copies.
pub(super) const SPY: PortId = PortId(5);
/// Those whose ports and settings change.
pub(super) const CONTAINERS: [Guest; 3] = [A, B, C];
pub(super) const V10: VlanId = VlanId::new(10).unwrap();

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Set(Setting),
    /// Packets a second that a port may send, and receive.
    Limits(PortId, [Option<u32>; 2]),
    Detach(PortId),
    Attach(PortId),
    /// The containers A and C are moved to each other's port, or back.
    Swap(bool),
    /// A station is written into the table, at the port where it is; or its entry is removed.
    Pin(Guest),
    Forget(Guest),
    Flush,
}

/// One thing in the configuration.
#[derive(Debug, Clone)]
pub(super) enum Setting {
    /// Whether a port is up.
    Up(PortId, bool),
    Isolated(PortId, bool),
    Vlan(PortId, VlanMode),
    /// Whether a port is locked to the addresses of its container.
    Lock(PortId, Option<Lock>),
    Mirror(PortId, Option<Mirror>),
    /// The network that a port is in.
    Network(PortId, NetworkId),
    Mtu(NetworkId, u16),
    /// Whether the first network has a gateway.
    Gateway(bool),
    /// The container that a published port leads to.
    Publish(Option<Guest>),
    Rules(Guest, Option<&'static str>),
    Peers(bool),
    /// Whether we have our usual address at the uplink, or another one.
    Address(bool),
    Uplink(bool),
    Preset(Preset),
    HostAccess(bool),
    Internal(bool),
}

const RULES: [&str; 5] = [
    "deny out any",
    "deny in udp",
    "deny out tcp 198.51.100.0/24:80",
    "allow in tcp :80",
    "deny in any",
];

/// One of them.
pub(super) fn pick<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    let at = rng.below(all.len() as u64);
    all[usize::try_from(at).unwrap()]
}

impl Change {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let guest = pick(rng, &CONTAINERS);
        let port = guest.port;
        match rng.below(25) {
            0 => Self::Limits(port, [(); 2].map(|()| rng.chance(50).then_some(20))),
            1 if rng.chance(300) => Self::Detach(port),
            1..=4 => Self::Attach(port),
            5 | 6 => Self::Swap(rng.chance(70)),
            7 if rng.chance(300) => Self::Pin(guest),
            7 | 8 => Self::Forget(guest),
            9 => Self::Flush,
            _ => Self::Set(Setting::draw(rng, guest)),
        }
    }
}

impl Setting {
    /// Most settings are mostly as usual, so that most frames pass.
    fn draw(rng: &mut Rng, guest: Guest) -> Self {
        let (port, usual) = (guest.port, rng.chance(930));
        match rng.below(16) {
            0 => Self::Up(port, usual),
            1 => Self::Isolated(port, !usual),
            2 => Self::Vlan(port, vlan(rng, usual)),
            3 => Self::Lock(port, rng.chance(200).then(|| lock(guest))),
            4 => Self::Mirror(port, (!usual).then(|| mirror(rng))),
            5 if usual => Self::Network(port, guest.network),
            5 => Self::Network(port, pick(rng, &[WEB, DB])),
            6 => Self::Mtu(pick(rng, &[WEB, DB, UP]), if usual { 1500 } else { 600 }),
            7 => Self::Gateway(usual),
            8 => Self::Publish(pick(rng, &[None, Some(A), Some(A), Some(A), Some(C)])),
            9 => Self::Rules(guest, (!usual).then(|| pick(rng, &RULES))),
            10 => Self::Peers(usual),
            11 => Self::Address(usual),
            12 => Self::Uplink(usual),
            13 => Self::Preset(pick(rng, &[Preset::Rfc, Preset::Linux, Preset::Corporate])),
            14 => Self::HostAccess(usual),
            _ => Self::Internal(!usual),
        }
    }
}

fn vlan(rng: &mut Rng, usual: bool) -> VlanMode {
    let default = VlanId::DEFAULT;
    match rng.below(3) {
        _ if usual => VlanMode::Access { vid: default },
        0 => VlanMode::Access { vid: V10 },
        1 => VlanMode::Dot1qTunnel { vid: default },
        _ => VlanMode::Trunk {
            allowed: vec![default, V10].into(),
            native: rng.chance(700).then_some(default),
            native_tagged: rng.chance(300),
        },
    }
}

fn lock(guest: Guest) -> Lock {
    Lock {
        mac: guest.mac,
        ipv4: vec![guest.v4],
        ipv6: vec![guest.v6],
    }
}

fn mirror(rng: &mut Rng) -> Mirror {
    Mirror {
        to: SPY,
        ingress: rng.chance(500),
        egress: rng.chance(500),
    }
}

/// The configuration.
pub(super) struct Plan {
    pub(super) site: Site,
    ports: BTreeMap<PortId, Port>,
    networks: BTreeMap<NetworkId, (u16, bool)>,
    /// Ports that are not there.
    pub(super) detached: Vec<PortId>,
    /// Whether A and C are at each other's port.
    pub(super) is_swapped: bool,
}

impl Plan {
    pub(super) fn new() -> Self {
        let guests = GUESTS.map(|guest| Port::plain(guest.port, guest.network));
        let ports = guests.into_iter().chain([Port::plain(SPY, WEB)]);
        let mut plan = Self {
            site: Site::new(),
            ports: ports.map(|port| (port.id, port)).collect(),
            networks: GUESTS.map(|guest| (guest.network, (1500, true))).into(),
            detached: Vec::new(),
            is_swapped: false,
        };
        plan.set(Setting::Peers(true));
        plan.set(Setting::Publish(Some(A)));
        plan
    }

    /// The tables of one switch.
    pub(super) fn tables(&self) -> Vec<Network> {
        self.networks.keys().map(|&id| bare_network(id)).collect()
    }

    /// The port where a guest is.
    pub(super) fn seat(&self, guest: Guest) -> PortId {
        match (self.is_swapped, guest) {
            (true, A) => C.port,
            (true, C) => A.port,
            _ => guest.port,
        }
    }

    /// The networks with these tables, and the ports with these limits.
    pub(super) fn topology(
        &self,
        tables: &[Network],
        limits: &BTreeMap<PortId, [Limiter; 2]>,
    ) -> (Vec<Network>, Vec<Port>) {
        let network = |table: &Network| {
            let (mtu, has_gateway) = self.networks[&table.id];
            Network {
                mtu,
                gateway: table.gateway.filter(|_| has_gateway),
                ..table.clone()
            }
        };
        let there = (self.ports.values()).filter(|port| !self.detached.contains(&port.id));
        let port = |port: &Port| {
            let [sends, receives] = limits.get(&port.id).cloned().unwrap_or_default();
            Port {
                sends,
                receives,
                ..port.clone()
            }
        };
        (
            tables.iter().map(network).collect(),
            there.map(port).collect(),
        )
    }

    /// Makes a change. Of the limits' levels and of the tables each switch has its own.
    pub(super) fn take(&mut self, change: &Change) {
        match change {
            Change::Set(setting) => self.set(setting.clone()),
            Change::Detach(port) => self.detached.push(*port),
            Change::Attach(port) => self.detached.retain(|it| it != port),
            Change::Swap(swapped) => self.is_swapped = *swapped,
            Change::Limits(..) | Change::Pin(_) | Change::Forget(_) | Change::Flush => {}
        }
    }

    fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Up(port, up) => self.port(port).up = up,
            Setting::Isolated(port, isolated) => self.port(port).isolated = isolated,
            Setting::Vlan(port, vlan) => self.port(port).vlan = vlan,
            Setting::Lock(port, lock) => self.port(port).lock = lock,
            Setting::Mirror(port, mirror) => self.port(port).mirror = mirror,
            Setting::Network(port, network) => {
                self.port(port).membership = Some(network).into();
            }
            Setting::Mtu(network, mtu) => {
                self.networks.get_mut(&network).unwrap().0 = mtu;
                self.site(|site| site.interface(network, |it| it.mtu = mtu));
            }
            Setting::Gateway(is_there) => self.networks.get_mut(&WEB).unwrap().1 = is_there,
            Setting::Publish(to) => self.site(|site| {
                site.configured(|config| {
                    config.publications = to.map(published).into_iter().flatten().collect();
                })
            }),
            Setting::Rules(guest, rule) => self.site(|site| {
                site.configured(|config| {
                    config.rules.retain(|it| it.ip != guest.v4);
                    config.rules.extend(rule.map(|rule| rules(guest, rule)));
                })
            }),
            Setting::Peers(both) => {
                self.inside(WEB, |role| role.peers = vec![DB]);
                self.inside(DB, |role| {
                    role.peers = if both { vec![WEB] } else { Vec::new() }
                });
            }
            Setting::Address(usual) => self.site(|site| {
                let v4 = if usual {
                    OURS
                } else {
                    [198, 51, 100, 3].into()
                };
                let net = format!("{v4}/28").parse().unwrap();
                site.interface(UP, |it| it.addresses[0] = net)
            }),
            Setting::Uplink(is_there) => {
                self.inside(WEB, |role| role.uplink = is_there.then_some(UP));
            }
            Setting::Preset(preset) => self.inside(WEB, |role| role.settings.nat.preset = preset),
            Setting::HostAccess(on) => self.inside(WEB, |role| role.settings.host_access = on),
            Setting::Internal(on) => self.inside(DB, |role| role.settings.internal = on),
        }
    }

    fn port(&mut self, port: PortId) -> &mut Port {
        self.ports.get_mut(&port).unwrap()
    }

    fn site(&mut self, change: impl FnOnce(Site) -> Site) {
        self.site = change(std::mem::replace(&mut self.site, Site::new()));
    }

    fn inside(&mut self, network: NetworkId, change: impl FnOnce(&mut InsideRole)) {
        self.site(|site| site.inside(network, change));
    }
}

fn published(to: Guest) -> [Publication; 2] {
    [IpProtocol::TCP, IpProtocol::UDP].map(|protocol| Publication {
        protocol,
        host: None,
        ports: PortRange::new(8080, 8080).unwrap(),
        to: Inside {
            network: to.network,
            addr: TransportAddr::new(to.v4.into(), 80),
        },
    })
}

fn rules(guest: Guest, rule: &str) -> EndpointRules {
    EndpointRules {
        network: guest.network,
        ip: guest.v4.into(),
        policy: Policy {
            rules: vec![rule.parse().unwrap()],
            ..Policy::default()
        },
    }
}
