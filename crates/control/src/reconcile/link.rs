//! Links that are no containers': uplinks, the host's stack, the daemon's servers.

use super::{Action, Observed, Plan};
use crate::attachment::{Attachment, Hidden, Uplink};
use crate::facts::{LinkFacts, UplinkFacts};
use crate::{Network, PlacedNetwork, State, Subnet, TAP_MTU_MAX};
use ipnet::IpNet;
use model::PortRange;
use pipeline::NetworkId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr};

/// An interface of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Whether it is set up.
    pub up: bool,
    /// Its MAC address; `None` when it is no Ethernet.
    pub mac: Option<MacAddr>,
    /// Its addresses, each with its subnet's length; those of the link alone are left out.
    pub addresses: Vec<IpNet>,
    /// The next hops of the host's default routes through it.
    pub gateways: Vec<IpAddr>,
    /// Its MTU.
    pub mtu: u16,
}

/// An uplink that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUplink {
    /// The uplink as it was opened.
    pub uplink: Uplink,
    /// The packets of the NIC that it takes.
    pub captures: Captures,
    /// Whether the kernel still has all of it.
    pub in_place: bool,
    /// Ports of its range that sockets of the host have.
    pub spared: BTreeSet<(IpProtocol, u16)>,
}

/// A link to a stack that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStack {
    /// Its place in the switch.
    pub place: Attachment,
    /// How networks are reached from the stack.
    pub ways: BTreeSet<Way>,
    /// The stack's MAC address there; `None` when the interface is gone.
    pub mac: Option<MacAddr>,
}

/// How a network is reached from a stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The gateway's address, which the stack has.
    pub address: IpAddr,
    /// The network's subnet.
    pub subnet: IpNet,
    /// The bridge whose own routes are behind it.
    pub bridge: Option<String>,
}

/// The packets that arrive at a NIC and are for containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures {
    /// By the NIC's address that they are sent to.
    pub addresses: Vec<(IpAddr, Ports)>,
    /// Whatever is sent to these networks.
    pub networks: Vec<IpNet>,
}

/// The ports and identifiers of one address that belong to containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Ports. Ranges may overlap.
    pub ports: Vec<(IpProtocol, PortRange)>,
    /// Identifiers of echo requests that leave for containers.
    pub echo: Option<PortRange>,
}

/// Returns what the router is to know of the links that are open.
#[must_use]
pub fn facts(state: &State, observed: &Observed) -> UplinkFacts {
    let uplinks: BTreeMap<String, LinkFacts> = state
        .uplinks()
        .filter_map(|uplink| {
            let open = observed.uplinks.get(&uplink.name)?;
            let (nic, mac) = usable(observed, uplink).ok()?;
            Some((uplink.name.clone(), nic.facts(mac, open)))
        })
        .collect();
    let stack = |which, addresses| {
        let (place, open) = (state.place_of(which)?, observed.stack(which)?);
        (open.place == place).then_some(())?;
        Some(stack_facts(state, place, open.mac?, addresses))
    };
    let known: BTreeSet<IpAddr> = uplinks
        .values()
        .flat_map(|link| link.addresses.iter().map(IpNet::addr))
        .chain(ways(state, observed, Hidden::Host).map(|way| way.address))
        .collect();
    let is_own = |net: &&IpNet| {
        let ip = net.addr();
        !ip.is_loopback() && !is_link_local(ip) && !known.contains(&ip)
    };
    let addresses = observed.addresses.iter().filter(is_own).copied().collect();
    UplinkFacts {
        host: stack(Hidden::Host, addresses),
        services: stack(Hidden::Services, Vec::new()),
        uplinks,
    }
}

/// Adds the actions that a link to a stack needs.
pub(super) fn stack(
    state: &State,
    observed: &Observed,
    which: Hidden,
    taking: &mut Vec<Action>,
    making: &mut Vec<Action>,
) {
    let kept = kept(state, observed, which);
    if observed.stack(which).is_some() && kept.is_none() {
        taking.push(Action::CloseStack(which));
    }
    let Some(place) = state.place_of(which) else {
        return;
    };
    let wanted: BTreeSet<Way> = ways(state, observed, which).collect();
    let none = BTreeSet::new();
    let there = kept.map_or(&none, |open| &open.ways);
    let stale = there.difference(&wanted).cloned();
    taking.extend(stale.map(|way| Action::RemoveWay(which, way)));
    if kept.is_none() {
        making.push(Action::OpenStack(which, place));
    }
    let missing = wanted.difference(there).cloned();
    making.extend(missing.map(|way| Action::AddWay(which, way)));
}

/// The link to a stack that is open and can stay so.
fn kept<'a>(state: &State, observed: &'a Observed, which: Hidden) -> Option<&'a OpenStack> {
    let place = state.place_of(which)?;
    let open = observed.stack(which)?;
    (open.place == place && open.mac.is_some()).then_some(open)
}

/// Adds the actions by which questions for names are answered where they are to be.
pub(super) fn names(
    state: &State,
    observed: &Observed,
    taking: &mut Vec<Action>,
    making: &mut Vec<Action>,
) {
    let answered = state.networks().filter(|network| !network.overlapping);
    let wanted: BTreeSet<(NetworkId, IpAddr)> = answered
        .flat_map(|n| {
            n.network
                .subnets
                .iter()
                .filter_map(move |s| Some((n.id, s.gateway?)))
        })
        .collect();
    // Sockets end with the stack that they are in.
    let there = match kept(state, observed, Hidden::Services) {
        Some(_) => observed.names.clone(),
        None => BTreeSet::new(),
    };
    // A network's sockets are closed together, and those that stay are opened again.
    let stale = there.difference(&wanted);
    let stale: BTreeSet<NetworkId> = stale.map(|(id, _)| *id).collect();
    let stays = |at: &(NetworkId, IpAddr)| there.contains(at) && !stale.contains(&at.0);
    let missing = wanted.iter().filter(|at| !stays(at));
    making.extend(missing.map(|(id, ip)| Action::Serve(*id, *ip)));
    taking.extend(stale.into_iter().map(Action::Unserve));
}

/// Adds the actions that uplinks need; those that cannot be had are noted with the reason.
pub(super) fn uplinks(
    state: &State,
    observed: &Observed,
    plan: &mut Plan,
    making: &mut Vec<Action>,
) {
    let stays = |open: &OpenUplink| {
        let wanted = state.uplink_named(&open.uplink.name);
        wanted == Some(&open.uplink) && open.in_place && usable(observed, &open.uplink).is_ok()
    };
    let unusable = observed.uplinks.iter().filter(|(_, open)| !stays(open));
    let close = unusable.map(|(name, _)| Action::CloseUplink(name.clone()));
    plan.actions.extend(close);
    for uplink in state.uplinks() {
        let (nic, mac) = match usable(observed, uplink) {
            Ok(usable) => usable,
            Err(why) => {
                plan.down.insert(uplink.name.clone(), why);
                continue;
            }
        };
        let captures = captures(state, uplink, nic, mac);
        match observed
            .uplinks
            .get(&uplink.name)
            .filter(|open| stays(open))
        {
            None => making.push(Action::OpenUplink(uplink.clone(), captures)),
            Some(open) if open.captures != captures => {
                making.push(Action::Capture(uplink.name.clone(), captures));
            }
            Some(_) => {}
        }
    }
}

impl Observed {
    fn stack(&self, which: Hidden) -> Option<&OpenStack> {
        match which {
            Hidden::Host => self.host.as_ref(),
            Hidden::Services => self.services.as_ref(),
        }
    }
}

/// An uplink's NIC with its MAC address, or why it cannot be used.
fn usable<'a>(observed: &'a Observed, uplink: &Uplink) -> Result<(&'a Nic, MacAddr), String> {
    let dev = &uplink.dev;
    let nic = observed.nics.get(dev);
    let nic = nic.ok_or_else(|| format!("there is no interface {dev}"))?;
    if !nic.up {
        return Err(format!("{dev} is set down"));
    }
    let mac = nic.mac.ok_or_else(|| format!("{dev} is no Ethernet"))?;
    Ok((nic, mac))
}

impl Nic {
    fn facts(&self, mac: MacAddr, open: &OpenUplink) -> LinkFacts {
        LinkFacts {
            mac,
            addresses: self.addresses.clone(),
            gateways: self.gateways.clone(),
            mtu: self.mtu,
            spared: open.spared.clone(),
            neighbours: BTreeMap::new(),
            peer: None,
        }
    }
}

fn stack_facts(
    state: &State,
    place: Attachment,
    peer: MacAddr,
    addresses: Vec<IpNet>,
) -> LinkFacts {
    LinkFacts {
        mac: state.gateway_mac(place.network),
        addresses,
        gateways: Vec::new(),
        mtu: STACK_MTU,
        neighbours: BTreeMap::new(),
        peer: Some(peer),
        spared: BTreeSet::new(),
    }
}

/// The MTU of links to stacks: the largest a TAP can have, since no wire is there.
pub const STACK_MTU: u16 = TAP_MTU_MAX;

/// Returns what belongs to containers of what arrives at an uplink's addresses.
fn captures(state: &State, uplink: &Uplink, nic: &Nic, mac: MacAddr) -> Captures {
    let published: Vec<nat::Publication> = state
        .publications()
        .flat_map(|publication| state.expanded(publication))
        .collect();
    let mapped = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP]
        .map(|protocol| (protocol, uplink.ports));
    let ports_at = |ip: IpAddr| {
        let there = published.iter().filter(|p| {
            p.host.is_none_or(|host| host == ip) && p.to.addr.ip.is_ipv4() == ip.is_ipv4()
        });
        Ports {
            ports: there.map(|p| (p.protocol, p.ports)).chain(mapped).collect(),
            echo: Some(uplink.ports),
        }
    };
    let link_local = (IpAddr::V6(mac.link_local()), Ports::default());
    let own = nic.addresses.iter().map(IpNet::addr);
    let own = own.map(|ip| (ip, ports_at(ip)));
    Captures {
        addresses: own.chain([link_local]).collect(),
        networks: known_networks(state, uplink),
    }
}

/// Returns where the containers behind an uplink have addresses that the world knows.
fn known_networks(state: &State, uplink: &Uplink) -> Vec<IpNet> {
    let behind = state.networks().filter(|network| {
        let own = state.uplink_of(network);
        let routed = network.has_gateway() && !network.routing.internal;
        routed && own.is_some_and(|own| own.name == uplink.name)
    });
    behind
        .flat_map(|network| network.known_to_the_world())
        .collect()
}

/// How networks are to be reached from a stack.
fn ways<'a>(
    state: &'a State,
    observed: &'a Observed,
    which: Hidden,
) -> impl Iterator<Item = Way> + use<'a> {
    // While there is no bridge, its subnet is left free: dockerd, which makes it anew after a
    // reboot, would choose another one.
    let is_there = |network: &PlacedNetwork<'_>| {
        let bridge = network.place.bridge.as_ref();
        bridge.is_none_or(|bridge| observed.bridges.contains(&bridge.ifname))
    };
    let wanted = state.networks().filter(move |network| match which {
        Hidden::Host => network.wants_host() && is_there(network),
        Hidden::Services => network.has_gateway(),
    });
    wanted.flat_map(|network| {
        let bridge = network.place.bridge.as_ref().map(|b| b.ifname.clone());
        let way = move |subnet: &Subnet| {
            Some(Way {
                address: subnet.gateway?,
                subnet: subnet.net,
                bridge: bridge.clone(),
            })
        };
        network.network.subnets.iter().filter_map(way)
    })
}

impl Network {
    /// Returns whether the host's stack is to have a way to it.
    pub(super) fn wants_host(&self) -> bool {
        self.has_gateway() && self.reaches_host() && !self.routing.internal
    }
}

/// Returns whether an address is of its link alone.
#[must_use]
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
