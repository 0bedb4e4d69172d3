//! A look at the kernel, and at what this process holds: what the state is compared with.

use super::host_links::{HostLinks, OpenStack, mac_of};
use super::writer::Writer;
use control::reconcile::{self, Held, Nic, OpenUplink, Way, is_link_local};
use control::{Hidden, Observed, State};
use host::{Error, Links, Netns};
use ipnet::IpNet;
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
        let (state, open) = (&*self.state, &self.host_links);
        Netns::with_own_links(|links| {
            Ok(Observed {
                returned: returned(state, links)?,
                nics: nics(state, links)?,
                bridges: bridges(state, links)?,
                addresses: match before.host {
                    Some(_) => addresses(links)?,
                    None => Vec::new(),
                },
                uplinks: open.observe_uplinks(links),
                ..before
            })
        })
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

/// Interfaces that are ports of a bridge, where an endpoint's veth may be one.
fn returned(state: &State, links: &Links) -> Result<BTreeSet<String>, Error> {
    if state.endpoints().all(|e| e.veth().is_none()) {
        return Ok(BTreeSet::new());
    }
    let all = links.all()?.into_iter();
    let ports = all.filter(|(_, state)| state.master.is_some());
    Ok(ports.map(|(ifname, _)| ifname).collect())
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

/// All addresses of this namespace.
fn addresses(links: &Links) -> Result<Vec<IpNet>, Error> {
    let all = links.all()?;
    let each = all.iter().map(|(ifname, _)| {
        // It may be gone by now.
        links.addresses(ifname).unwrap_or_default()
    });
    Ok(each.flatten().collect())
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
