//! A look at the kernel, and at what this process holds: what the state is compared with.

use super::host_links::{HostLinks, OpenStack, mac_of};
use super::writer::Writer;
use control::reconcile::{self, Held, Nic, OpenUplink, Way, is_link_local};
use control::{Hidden, Observed, State};
use host::{Error, LinkState, Links, Netns};
use offload::Interfaces;
use pipeline::PortId;
use std::collections::{BTreeMap, BTreeSet};
use wire::IpProtocol;

impl Writer {
    /// Looks at everything that the state says something about.
    pub(super) fn observe(&self) -> Result<Observed, Error> {
        let [host, services] = [Hidden::Host, Hidden::Services]
            .map(|which| self.host_links.stack(which).map(OpenStack::observe));
        let before = Observed {
            held: self.held(),
            names: self.servers.serving.clone(),
            host,
            services,
            ..Observed::default()
        };
        let before = Observed {
            bare: self.bare(),
            ..before
        };
        let (state, open, programmed) = (&*self.state, &self.host_links, self.programmed());
        Netns::with_own_links(|links| {
            let all = links.all()?;
            Ok(Observed {
                made: made(state, &all),
                parted: parted(&programmed, &all),
                returned: returned(state, &all),
                nics: nics(state, links)?,
                bridges: bridges(state, links)?,
                addresses: match before.host {
                    Some(_) => links.all_addresses()?,
                    None => Vec::new(),
                },
                uplinks: open.observe_uplinks(links),
                ..before
            })
        })
    }

    /// Ports that have programs in the kernel.
    fn programmed(&self) -> BTreeMap<PortId, Interfaces> {
        let open = self.open.iter();
        open.filter_map(|(id, open)| Some((*id, open.programs?)))
            .collect()
    }

    /// Those whose programs are not where they were put. Each is asked about by two requests, so only
    /// when something has changed in the host's network.
    fn bare(&self) -> BTreeSet<PortId> {
        if !self.host_links.changed {
            return BTreeSet::new();
        }
        let is_bare = |at| {
            let offload = self.kernel.get();
            offload.is_ok_and(|offload| !offload.is_attached(at).unwrap_or(true))
        };
        let programmed = self.programmed().into_iter();
        let bare = programmed.filter(|(_, at)| is_bare(*at));
        bare.map(|(id, _)| id).collect()
    }

    /// Returns what this process holds; for this alone the kernel is not asked.
    pub(super) fn held(&self) -> Held {
        let links: BTreeSet<PortId> = self.host_links.ports().collect();
        let ports = self.open.iter().filter(|(id, _)| !links.contains(id));
        Held {
            ports: ports.map(|(id, open)| (*id, open.held())).collect(),
            listeners: self.listeners.keys().copied().collect(),
        }
    }
}

impl HostLinks {
    fn observe_uplinks(&self, links: &Links) -> BTreeMap<String, OpenUplink> {
        let open = self.uplinks.iter().map(|(name, open)| {
            let observed = OpenUplink {
                uplink: open.uplink.clone(),
                captures: open.captures.clone(),
                in_place: open.link.is_in_place(links).unwrap_or(false),
                spared: spared(open.link.spared()),
            };
            (name.clone(), observed)
        });
        open.collect()
    }
}

impl OpenStack {
    /// An address that somebody removed is missing.
    fn observe(&self) -> reconcile::OpenStack {
        let ifname = self.link.ifname();
        let seen = self.run(|links| {
            let Some(state) = links.state(ifname)? else {
                return Ok(None);
            };
            Ok(Some((state, self.link.addresses(links)?)))
        });
        let (mac, addresses) = match seen {
            Ok(Some((state, addresses))) => (mac_of(&state.mac), addresses),
            Ok(None) | Err(_) => (None, Vec::new()),
        };
        let there = |way: &&Way| addresses.contains(&way.address);
        reconcile::OpenStack {
            place: self.place,
            ways: self.ways.iter().filter(there).cloned().collect(),
            mac,
        }
    }
}

/// Interfaces that were made for endpoints, by this daemon or one before it.
fn made(state: &State, all: &[(String, LinkState)]) -> BTreeSet<String> {
    let prefix = state.own_prefix();
    let ours = all
        .iter()
        .filter(|(ifname, link)| ifname.starts_with(&prefix) && link.endpoint().is_some());
    ours.map(|(ifname, _)| ifname.clone()).collect()
}

/// Ports whose veth's end is no longer there.
fn parted(
    programmed: &BTreeMap<PortId, Interfaces>,
    all: &[(String, LinkState)],
) -> BTreeSet<PortId> {
    let there: BTreeSet<u32> = all.iter().map(|(_, link)| link.index).collect();
    let parted = programmed
        .iter()
        .filter(|(_, at)| at.tap.is_some() && !there.contains(&at.host));
    parted.map(|(id, _)| *id).collect()
}

/// Interfaces that are ports of a bridge, where an endpoint's veth may be one.
fn returned(state: &State, all: &[(String, LinkState)]) -> BTreeSet<String> {
    if state.endpoints().all(|e| e.veth().is_none()) {
        return BTreeSet::new();
    }
    let ports = all.iter().filter(|(_, state)| state.master.is_some());
    ports.map(|(ifname, _)| ifname.clone()).collect()
}

/// The interfaces of uplinks.
fn nics(state: &State, links: &Links) -> Result<BTreeMap<String, Nic>, Error> {
    let mut nics = BTreeMap::new();
    for uplink in state.uplinks() {
        if let Some(told) = links.facts(&uplink.dev)? {
            nics.insert(uplink.dev.clone(), nic(told));
        }
    }
    Ok(nics)
}

/// The bridges that networks stand in for.
fn bridges(state: &State, links: &Links) -> Result<BTreeSet<String>, Error> {
    let mut there = BTreeSet::new();
    for bridge in state.networks().filter_map(|n| n.place.bridge.as_ref()) {
        if links.state(&bridge.ifname)?.is_some() {
            there.insert(bridge.ifname.clone());
        }
    }
    Ok(there)
}

fn nic(told: host::Facts) -> Nic {
    let addresses = told.addresses.into_iter();
    Nic {
        up: told.link.up,
        mac: mac_of(&told.link.mac),
        addresses: addresses.filter(|net| !is_link_local(net.addr())).collect(),
        gateways: told.gateways,
        mtu: u16::try_from(told.link.mtu).unwrap_or(u16::MAX),
    }
}

fn spared(ports: &host::Ports) -> BTreeSet<(IpProtocol, u16)> {
    let host::Ports {
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
