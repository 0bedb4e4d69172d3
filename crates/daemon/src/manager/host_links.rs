//! The router's links that are no networks of containers: uplinks, the host's stack, our servers.
//!
//! ```text
//!   the state wants      the kernel has           arrange() makes them agree
//!   uplink eth0      --  TAP, filters, ports      and says what the host told of itself
//!   host access      --  TAP, addresses, routes   (UplinkFacts), which the router is made of
//!   a gateway        --  TAP in a namespace of our own, with our servers
//! ```
//! Arranging is idempotent and may be asked for at any time: after a change of the state, when the
//! host's network changed, after a crash. What cannot be had is noted for `status` and tried again;
//! a NIC that is pulled out takes its uplink down and nothing else.

use super::open::{Opened, open_tap, reopen_tap};
use super::writer::Writer;
use crate::listeners::Listeners;
use api::ApiError;
use control::{
    Attachment, Change, Hidden, LinkFacts, Listener, Network, Publication, Uplink, UplinkFacts,
};
use host::{
    Captures, Gateway, GatewayPort, Inside, Links, Monitor, NamespaceRef, Netns, Ports, Stack,
};
use ipnet::IpNet;
use pipeline::PortId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr};

/// What there is of it.
#[derive(Debug, Default)]
pub(super) struct HostLinks {
    uplinks: BTreeMap<String, OpenUplink>,
    /// Why the others are down.
    down: BTreeMap<String, String>,
    host: Option<OpenStack>,
    services: Option<OpenServices>,
    /// What was noted last, so that a trouble that stays is told once.
    troubles: Vec<String>,
    /// Tells that the host's network has changed.
    monitor: Option<Monitor>,
}

#[derive(Debug)]
struct OpenUplink {
    link: host::Uplink,
    captures: Captures,
    port: PortId,
}

#[derive(Debug)]
struct OpenStack {
    link: GatewayPort,
    gateways: Vec<Way>,
    port: PortId,
}

/// How a network is reached from a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    gateway: Gateway,
    /// The bridge whose own routes are behind it.
    bridge: Option<String>,
}

#[derive(Debug)]
struct OpenServices {
    netns: host::Private,
    stack: OpenStack,
}

/// The MTU of links to stacks of our own: the largest a TAP can have, since no wire is there.
const STACK_MTU: u16 = control::TAP_MTU_MAX;

impl HostLinks {
    /// Why uplinks are down, by name.
    pub(super) fn down(&self) -> &BTreeMap<String, String> {
        &self.down
    }
}

impl Writer {
    /// Makes uplinks, the host's port and the servers' be as the state wants them.
    pub(super) fn arrange(&mut self) -> Result<(), ApiError> {
        let before = self.facts.clone();
        let mut troubles = Vec::new();
        self.make_places()?;
        self.close_unwanted();
        self.facts = self.arrange_all(&mut troubles);
        self.arrange_listeners(&mut troubles);
        for trouble in &troubles {
            if !self.host_links.troubles.contains(trouble) {
                self.warn(trouble.clone());
            }
        }
        self.host_links.troubles = troubles;
        if self.facts == before && self.survivors.connections.is_empty() {
            return Ok(());
        }
        self.publish_state()
    }

    /// Arranges anew when the host's network has changed, or something could not be had.
    pub(super) fn follow_host(&mut self) {
        let changed = match &mut self.host_links.monitor {
            Some(monitor) => monitor.has_changed().unwrap_or(true),
            None => {
                self.host_links.monitor = listen();
                false
            }
        };
        if changed {
            self.keep_taken();
        }
        if (changed || !self.host_links.troubles.is_empty())
            && let Err(error) = self.arrange()
        {
            self.warn(error.message);
        }
    }

    /// Takes everything of it away that is outside our own namespace: for a clean end.
    pub(super) fn leave_host(&mut self) {
        let names: Vec<String> = self.host_links.uplinks.keys().cloned().collect();
        for name in names {
            self.close_uplink(&name);
        }
        self.close_host();
    }

    /// Gives the host's stack and the servers a place in the state while a network wants them.
    fn make_places(&mut self) -> Result<(), ApiError> {
        let wants_host = self.state.networks().any(wants_host);
        let wants_servers = self.state.networks().any(Network::has_gateway);
        for (which, wanted) in [
            (Hidden::Host, wants_host),
            (Hidden::Services, wants_servers),
        ] {
            let change = match (wanted, self.state.place_of(which)) {
                (true, None) => self.state.add_place(which).1,
                (true, Some(_)) | (false, None) => continue,
                (false, Some(_)) => {
                    match which {
                        Hidden::Host => self.close_host(),
                        Hidden::Services => self.close_services(),
                    }
                    self.state.remove_place(which)
                }
            };
            self.place_change(change)?;
        }
        Ok(())
    }

    fn place_change(&mut self, change: Change) -> Result<(), ApiError> {
        let begun = self.begin(change)?;
        self.publish(begun);
        self.dataplane.sync();
        Ok(())
    }

    fn close_unwanted(&mut self) {
        let gone: Vec<String> = self
            .host_links
            .uplinks
            .keys()
            .filter(|name| self.state.uplink_named(name).is_none())
            .cloned()
            .collect();
        for name in gone {
            self.close_uplink(&name);
        }
    }

    fn arrange_all(&mut self, troubles: &mut Vec<String>) -> UplinkFacts {
        let mut facts = UplinkFacts::default();
        let own = match Netns::find(NamespaceRef::Own) {
            Ok(own) => own,
            Err(error) => {
                troubles.push(error.to_string());
                return facts;
            }
        };
        let arranged = own.run(|inside| {
            let links = inside.links()?;
            self.arrange_uplinks(&links, &mut facts, troubles);
            facts.host = self.arrange_host(&links, &facts, troubles);
            Ok::<_, host::Error>(())
        });
        if let Err(error) = arranged {
            troubles.push(error.to_string());
        }
        facts.services = self.arrange_services(troubles);
        facts
    }

    /// Listens at the host's own published ports.
    ///
    /// # Errors
    /// Another program has one of them.
    pub(super) fn listen(&self, publication: &Publication) -> Result<Listeners, ApiError> {
        let expanded = match publication.listener {
            Listener::Ours => self.state.expanded(publication),
            Listener::Another => Vec::new(),
        };
        Listeners::open(&tokio::runtime::Handle::current(), &expanded)
            .map_err(|taken| ApiError::already_exists(taken.to_string()))
    }

    /// Frees the host's ports that nothing is published at any more.
    pub(super) fn close_listeners(&mut self) {
        let ids: BTreeSet<_> = self.state.publications().map(|p| p.id).collect();
        self.listeners.retain(|id, _| ids.contains(id));
    }

    fn arrange_listeners(&mut self, troubles: &mut Vec<String>) {
        let published: Vec<Publication> = self.state.publications().cloned().collect();
        for publication in published {
            if self.listeners.contains_key(&publication.id) {
                continue;
            }
            match self.listen(&publication) {
                Ok(listeners) => {
                    self.listeners.insert(publication.id, listeners);
                }
                Err(error) => troubles.push(error.message),
            }
        }
    }

    fn arrange_uplinks(
        &mut self,
        links: &Links,
        facts: &mut UplinkFacts,
        troubles: &mut Vec<String>,
    ) {
        let uplinks: Vec<Uplink> = self.state.uplinks().cloned().collect();
        self.host_links.down.clear();
        for uplink in &uplinks {
            match self.arrange_uplink(links, uplink) {
                Ok(link) => {
                    facts.uplinks.insert(uplink.name.clone(), link);
                }
                Err(why) => {
                    self.close_uplink(&uplink.name);
                    troubles.push(format!("uplink {} is down: {why}", uplink.name));
                    self.host_links.down.insert(uplink.name.clone(), why);
                }
            }
        }
    }

    fn arrange_uplink(&mut self, links: &Links, uplink: &Uplink) -> Result<LinkFacts, String> {
        let told = links.facts(&uplink.dev).map_err(|e| e.to_string())?;
        let told = told.ok_or_else(|| format!("there is no interface {}", uplink.dev))?;
        if !told.link.up {
            return Err(format!("{} is set down", uplink.dev));
        }
        let mac = mac_of(&told.link.mac).ok_or_else(|| format!("{} is no Ethernet", uplink.dev))?;
        let addresses: Vec<IpNet> = told
            .addresses
            .into_iter()
            .filter(|net| !is_link_local(net.addr()))
            .collect();
        let captures = self.captures(uplink, &addresses, mac);
        let spared = self.open_uplink(links, uplink, captures)?;
        Ok(LinkFacts {
            spared,
            mac,
            addresses,
            gateways: told.gateways,
            mtu: u16::try_from(told.link.mtu).unwrap_or(u16::MAX),
            neighbours: BTreeMap::new(),
            peer: None,
        })
    }

    fn open_uplink(
        &mut self,
        links: &Links,
        uplink: &Uplink,
        captures: Captures,
    ) -> Result<BTreeSet<(IpProtocol, u16)>, String> {
        if let Some(open) = self.host_links.uplinks.get_mut(&uplink.name) {
            let in_place = open.link.is_in_place(links).unwrap_or(false);
            if in_place {
                if open.captures != captures {
                    open.link
                        .update(links, &captures)
                        .map_err(|e| e.to_string())?;
                    open.captures = captures;
                }
                return Ok(spared(open.link.spared()));
            }
            self.close_uplink(&uplink.name);
        }
        let tap = self.tap_name("up", uplink.place);
        self.open_stack_tap(&tap, uplink.place.port)?;
        let range = uplink.ports.first..=uplink.ports.last;
        let config = host::UplinkConfig {
            nic: &uplink.dev,
            tap: &tap,
            captures: &captures,
            reserve: std::slice::from_ref(&range),
        };
        let link = host::Uplink::open(links, &config).map_err(|e| e.to_string())?;
        let port = uplink.place.port;
        let spared = spared(link.spared());
        let open = OpenUplink {
            link,
            captures,
            port,
        };
        self.host_links.uplinks.insert(uplink.name.clone(), open);
        tracing::info!(uplink = %uplink.name, dev = %uplink.dev, "open");
        Ok(spared)
    }

    fn close_uplink(&mut self, name: &str) {
        let place = self.state.uplink_named(name).map(|u| u.place.port);
        let Some(open) = self.host_links.uplinks.remove(name) else {
            // A TAP may be open although the rest of it never was.
            if let Some(port) = place {
                self.close_for_good(port);
            }
            return;
        };
        let closed = Netns::with_own_links(|links| Ok::<_, host::Error>(open.link.close(links)));
        for error in closed.unwrap_or_else(|error| vec![error]) {
            self.warn(format!("closing uplink {name}: {error}"));
        }
        self.close_for_good(open.port);
    }

    /// What belongs to containers of what arrives at an uplink's addresses.
    fn captures(&self, uplink: &Uplink, addresses: &[IpNet], mac: MacAddr) -> Captures {
        let own = uplink.ports.first..=uplink.ports.last;
        let every: Vec<_> = self
            .state
            .publications()
            .flat_map(|p| self.state.expanded(p))
            .collect();
        let ports_at = |ip: IpAddr| {
            let published = |protocol: IpProtocol| {
                let there = every.iter().filter(move |p| {
                    p.protocol == protocol
                        && p.host.is_none_or(|host| host == ip)
                        && p.to.addr.ip.is_ipv4() == ip.is_ipv4()
                });
                there
                    .map(|p| p.ports.first..=p.ports.last)
                    .chain([own.clone()])
                    .collect()
            };
            Ports {
                tcp: published(IpProtocol::TCP),
                udp: published(IpProtocol::UDP),
                sctp: published(IpProtocol::SCTP),
                echo: vec![own.clone()],
            }
        };
        let link_local = (IpAddr::V6(mac.link_local()), Ports::default());
        let at = |net: &IpNet| (net.addr(), ports_at(net.addr()));
        Captures {
            addresses: addresses.iter().map(at).chain([link_local]).collect(),
            networks: self.known_networks(uplink),
        }
    }

    /// Where the containers behind an uplink have addresses that the world knows.
    fn known_networks(&self, uplink: &Uplink) -> Vec<IpNet> {
        let behind = self.state.networks().filter(|network| {
            let own = self.state.uplink_of(network);
            let routed = network.has_gateway() && !network.routing.internal;
            routed && own.is_some_and(|own| own.name == uplink.name)
        });
        behind.flat_map(Network::known_to_the_world).collect()
    }

    fn arrange_host(
        &mut self,
        links: &Links,
        facts: &UplinkFacts,
        troubles: &mut Vec<String>,
    ) -> Option<LinkFacts> {
        let place = self.state.place_of(Hidden::Host)?;
        // While there is no bridge, its subnet is left free: dockerd, which makes it anew after a
        // reboot, would choose another one.
        let is_there = |network: &Network| {
            let bridge = network.bridge.as_ref();
            bridge.is_none_or(|b| links.state(&b.ifname).is_ok_and(|state| state.is_some()))
        };
        let wanted = self.gateways(|network| wants_host(network) && is_there(network));
        if self.host_links.host.is_none() {
            let ifname = self.tap_name("host", place);
            let opened = self.open_stack_tap(&ifname, place.port).and_then(|()| {
                GatewayPort::open(links, &ifname, Stack::Host, STACK_MTU)
                    .map_err(|error| error.to_string())
            });
            match opened {
                Ok(link) => self.host_links.host = Some(OpenStack::new(link, place)),
                Err(why) => {
                    // The TAP may be there although the rest of it never was.
                    self.close_for_good(place.port);
                    troubles.push(format!("containers and the host are parted: {why}"));
                    return None;
                }
            }
        }
        let open = self.host_links.host.as_mut()?;
        open.settle(links, &wanted, troubles);
        let uplinks: Vec<IpAddr> = facts
            .uplinks
            .values()
            .flat_map(|link| link.addresses.iter().map(IpNet::addr))
            .collect();
        let own = |net: &IpNet| {
            let ip = net.addr();
            !ip.is_loopback()
                && !is_link_local(ip)
                && !uplinks.contains(&ip)
                && !wanted.iter().any(|way| way.gateway.address == ip)
        };
        let addresses = host_addresses(links).into_iter().filter(own).collect();
        self.stack_facts(links, place, addresses, |s| s.host.as_ref())
    }

    fn arrange_services(&mut self, troubles: &mut Vec<String>) -> Option<LinkFacts> {
        let place = self.state.place_of(Hidden::Services)?;
        let wanted = self.gateways(Network::has_gateway);
        if self.host_links.services.is_none()
            && let Err(why) = self.open_services(place)
        {
            troubles.push(format!("the name server is not there: {why}"));
            return None;
        }
        let mut open = self.host_links.services.take()?;
        let facts = open.netns.run(|inside| {
            let links = inside.links()?;
            open.stack.settle(&links, &wanted, troubles);
            let state = links.state(open.stack.link.ifname())?;
            Ok::<_, host::Error>(state)
        });
        let peer = facts.ok().flatten().and_then(|state| mac_of(&state.mac));
        self.serve_names(&open.netns, troubles);
        self.host_links.services = Some(open);
        Some(self.facts_of_stack(place, peer?, Vec::new()))
    }

    fn open_services(&mut self, place: Attachment) -> Result<(), String> {
        let netns = host::Private::new().map_err(|error| error.to_string())?;
        let made = netns.run(Self::make_services);
        let (opened, link) = made.map_err(|error: Trouble| error.0)?;
        self.take_in(place.port, None, opened)
            .map_err(|error| error.message)?;
        self.host_links.services = Some(OpenServices {
            netns,
            stack: OpenStack::new(link, place),
        });
        Ok(())
    }

    fn make_services(inside: &Inside) -> Result<(Opened, GatewayPort), Trouble> {
        let tap = open_tap(SERVICES, 1, false).map_err(|error| Trouble(error.to_string()))?;
        let links = inside.links()?;
        let link = GatewayPort::open(&links, SERVICES, Stack::Services, STACK_MTU)?;
        Ok((Opened::from(tap), link))
    }

    fn close_host(&mut self) {
        if let Some(open) = self.host_links.host.take() {
            self.close_for_good(open.port);
        }
    }

    fn close_services(&mut self) {
        if let Some(open) = self.host_links.services.take() {
            self.close_for_good(open.stack.port);
        }
    }

    /// Makes a TAP in the daemon's namespace, or takes up the one an earlier daemon left.
    fn open_stack_tap(&mut self, ifname: &str, port: PortId) -> Result<(), String> {
        if self.open.contains_key(&port) {
            self.close_for_good(port);
        }
        let tap = reopen_tap(ifname, 1).map_err(|error| error.to_string())?;
        self.take_in(port, None, Opened::from(tap))
            .map_err(|error| error.message)
    }

    /// Names differ between daemons that share a namespace, and stay over restarts.
    fn tap_name(&self, kind: &str, place: Attachment) -> String {
        format!(
            "cw{:04x}{kind}{}",
            self.state.seed() & 0xffff,
            place.network.0
        )
    }

    fn gateways(&self, of: impl Fn(&Network) -> bool) -> Vec<Way> {
        let each = |network: &Network| -> Vec<Way> {
            let subnets = network.subnets.iter();
            let way = |s: &control::Subnet| {
                let gateway = Gateway {
                    address: s.gateway?,
                    subnet: s.net,
                };
                let bridge = network.bridge.as_ref().map(|b| b.ifname.clone());
                Some(Way { gateway, bridge })
            };
            subnets.filter_map(way).collect()
        };
        self.state
            .networks()
            .filter(|n| of(n))
            .flat_map(each)
            .collect()
    }

    fn stack_facts(
        &self,
        links: &Links,
        place: Attachment,
        addresses: Vec<IpNet>,
        which: impl Fn(&HostLinks) -> Option<&OpenStack>,
    ) -> Option<LinkFacts> {
        let ifname = which(&self.host_links)?.link.ifname();
        let state = links.state(ifname).ok().flatten()?;
        Some(self.facts_of_stack(place, mac_of(&state.mac)?, addresses))
    }

    fn facts_of_stack(&self, place: Attachment, peer: MacAddr, addresses: Vec<IpNet>) -> LinkFacts {
        LinkFacts {
            mac: self.state.gateway_mac(place.network),
            addresses,
            gateways: Vec::new(),
            mtu: STACK_MTU,
            neighbours: BTreeMap::new(),
            peer: Some(peer),
            spared: BTreeSet::new(),
        }
    }
}

/// The interface in our own namespace; nobody else is there.
const SERVICES: &str = "gateway";

impl OpenStack {
    const fn new(link: GatewayPort, place: Attachment) -> Self {
        Self {
            link,
            gateways: Vec::new(),
            port: place.port,
        }
    }

    /// Makes the gateways' addresses there be `wanted`.
    fn settle(&mut self, links: &Links, wanted: &[Way], troubles: &mut Vec<String>) {
        let Self { link, gateways, .. } = self;
        gateways.retain(|way| {
            let stays = wanted.contains(way);
            if !stays {
                for error in link.remove(links, way.gateway) {
                    troubles.push(error.to_string());
                }
            }
            stays
        });
        for way in wanted {
            if gateways.contains(way) {
                continue;
            }
            let Way { gateway, bridge } = way;
            let added = match bridge {
                Some(bridge) => link.add_in_front_of(links, *gateway, bridge),
                None => link.add(links, *gateway),
            };
            match added {
                Ok(()) => gateways.push(way.clone()),
                Err(error) => troubles.push(error.to_string()),
            }
        }
    }
}

/// Why something is not there, in words.
struct Trouble(String);

impl From<host::Error> for Trouble {
    fn from(error: host::Error) -> Self {
        Self(error.to_string())
    }
}

fn wants_host(network: &Network) -> bool {
    network.has_gateway() && network.reaches_host() && !network.routing.internal
}

fn spared(ports: &Ports) -> BTreeSet<(IpProtocol, u16)> {
    let Ports {
        tcp,
        udp,
        sctp,
        echo: _,
    } = ports;
    let each = [
        (IpProtocol::TCP, tcp),
        (IpProtocol::UDP, udp),
        (IpProtocol::SCTP, sctp),
    ];
    each.into_iter()
        .flat_map(|(protocol, ranges)| ranges.iter().cloned().flatten().map(move |p| (protocol, p)))
        .collect()
}

fn host_addresses(links: &Links) -> Vec<IpNet> {
    let all = links.all().unwrap_or_default();
    all.iter()
        .flat_map(|(ifname, _)| links.addresses(ifname).unwrap_or_default())
        .collect()
}

fn listen() -> Option<Monitor> {
    let runtime = tokio::runtime::Handle::current();
    let own = Netns::find(NamespaceRef::Own).ok()?;
    own.run(|inside| Monitor::open(inside, &runtime)).ok()
}

fn mac_of(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

pub(super) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
