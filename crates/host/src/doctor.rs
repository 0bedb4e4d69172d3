//! Things of ours in a namespace, found by their marks when the daemon that made them is gone.

use crate::note::{Note, PortOf};
use crate::reserved::{PortSet, reserve};
use crate::traffic_control::{Filter, FilterKind, QdiscOrigin};
use crate::{Error, LinkState, Links, sysctl};
use ipnet::IpNet;

/// One thing of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// The interface or setting where it is.
    pub at: String,
    /// The command that undoes it.
    pub undo: String,
    /// Its mark.
    pub mark: Mark,
}

/// The mark by which a thing is known to be ours, [`Finding::at`] the interface that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A filter's kind, handle and cookie.
    Filter,
    /// The cookies of our filters on a qdisc of our making.
    Qdisc,
    /// The note on an uplink's TAP: ports of a setting, on no interface.
    ReservedPorts,
    /// The note on an interface that we made: a TAP, or an end of a veth.
    Interface,
    /// An address or a route on such a TAP.
    OnTap,
    /// The note on a port that was taken off its bridge.
    TakenPort,
    /// A route on the host's TAP to a subnet of a bridge, which has this address there.
    Route(IpNet),
}

/// Everything of ours in the namespace, in the order in which it is best undone.
///
/// # Errors
/// [`Error::Link`], [`Error::Sysctl`].
pub fn inspect(links: &Links) -> Result<Vec<Finding>, Error> {
    let all = links.all()?;
    let mut findings = Vec::new();
    for (ifname, state) in &all {
        // What is on the host's side of an endpoint goes with it.
        if state.endpoint().is_none() {
            findings.extend(on_nic(ifname, &links.our_filters(ifname, state.index)?));
        }
    }
    let taps = all.iter();
    let taps = taps.filter_map(|(ifname, state)| Some((ifname, note_on(state)?)));
    let taps: Vec<_> = taps.collect();
    findings.extend(reserved_ports(taps.iter().map(|(_, note)| note))?);
    for (ifname, note) in taps {
        if let Note::Adopted(from) = &note {
            findings.push(adopted(ifname, from));
            continue;
        }
        match on_tap(links, ifname) {
            Ok(on_it) => findings.extend(on_it),
            // A TAP that is not persistent goes with its last descriptor.
            Err(_) if links.state(ifname)?.is_none() => continue,
            Err(error) => return Err(error),
        }
        findings.push(tap(ifname, &note));
    }
    Ok(findings)
}

/// Returns what of it is of a bridge: the ports that were taken off it, and our routes in front of its own.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_bridge(links: &Links, bridge: &str) -> Result<Vec<Finding>, Error> {
    let from = links.taken_ports(bridge)?;
    let subnets: Vec<IpNet> = match links.state(bridge)? {
        Some(_) => links.addresses(bridge)?,
        None => Vec::new(),
    };
    let is_of_bridge = |finding: &Finding| match finding.mark {
        Mark::Filter | Mark::Qdisc | Mark::TakenPort => from.contains(&finding.at),
        Mark::ReservedPorts | Mark::Interface | Mark::OnTap | Mark::Route(_) => false,
    };
    let mut findings = inspect(links)?;
    findings.retain(is_of_bridge);
    for (ifname, state) in links.all()? {
        if note_on(&state) == Some(Note::Host) {
            findings.extend(subnets.iter().map(|net| in_front(&ifname, *net)));
        }
    }
    Ok(findings)
}

/// Takes all our filters off an interface, and the qdisc if we made it for them.
///
/// # Errors
/// [`Error::Link`].
pub fn unfilter(links: &Links, ifname: &str) -> Result<(), Error> {
    links.remove_filters(ifname, &FilterKind::ALL)
}

/// Takes the ports that the notes on uplinks' TAPs name off the list of reserved ones.
///
/// # Errors
/// As [`inspect`].
pub fn unreserve(links: &Links) -> Result<(), Error> {
    let all = links.all()?;
    let notes: Vec<_> = all.iter().filter_map(|(_, state)| note_on(state)).collect();
    let none = PortSet::default();
    reserve(&none, &Note::reserved(notes.iter()), &none).map(drop)
}

fn note_on(state: &LinkState) -> Option<Note> {
    Note::parse(state.alias.as_deref()?)
}

/// The filters of an interface, and the qdisc if it is ours.
fn on_nic(ifname: &str, filters: &[Filter]) -> Vec<Finding> {
    let mut findings: Vec<_> = filters
        .iter()
        .map(|filter| Finding {
            what: format!("filter: {}", filter.kind.purpose()),
            at: ifname.to_owned(),
            undo: filter.removing_command(ifname),
            mark: Mark::Filter,
        })
        .collect();
    if filters
        .iter()
        .any(|filter| filter.qdisc == QdiscOrigin::Ours)
    {
        findings.push(Finding {
            what: "qdisc clsact".to_owned(),
            at: ifname.to_owned(),
            undo: format!("tc qdisc delete dev {ifname} clsact"),
            mark: Mark::Qdisc,
        });
    }
    findings
}

fn reserved_ports<'a>(notes: impl Iterator<Item = &'a Note>) -> Result<Option<Finding>, Error> {
    let ours = Note::reserved(notes);
    if ours.is_empty() {
        return Ok(None);
    }
    let listed = PortSet::parse(&sysctl::read(sysctl::RESERVED_PORTS)?);
    let left = listed.minus(&ours);
    Ok(Some(Finding {
        what: format!("reserved ports {ours}"),
        at: sysctl::RESERVED_PORTS.replace('/', "."),
        undo: format!("sysctl -w net.ipv4.ip_local_reserved_ports={left}"),
        mark: Mark::ReservedPorts,
    }))
}

/// The routes to a TAP of ours and the addresses on it: a route from an address goes with it, and
/// the command that is to undo it finds nothing then.
fn on_tap(links: &Links, ifname: &str) -> Result<Vec<Finding>, Error> {
    let addresses = links.addresses(ifname)?;
    let addresses = addresses.iter().map(|address| {
        let undo = format!("ip address delete {address} dev {ifname}");
        (format!("address {address}"), undo)
    });
    let routes = links.routes()?;
    let routes = routes
        .iter()
        .filter(|route| route.ifname == ifname && route.table == crate::Route::MAIN)
        .map(|route| (format!("route {route}"), format!("ip route delete {route}")));
    let found = routes.chain(addresses).map(|(what, undo)| Finding {
        what,
        at: ifname.to_owned(),
        undo,
        mark: Mark::OnTap,
    });
    Ok(found.collect())
}

fn adopted(ifname: &str, from: &PortOf) -> Finding {
    let bridge = &from.bridge;
    let hairpin = if from.hairpin {
        format!(" && bridge link set dev {ifname} hairpin on")
    } else {
        String::new()
    };
    Finding {
        what: format!("port taken off {bridge}"),
        at: ifname.to_owned(),
        undo: format!("ip link set {ifname} master {bridge} alias ''{hairpin}"),
        mark: Mark::TakenPort,
    }
}

/// A route of ours to a bridge's subnet.
fn in_front(ifname: &str, gateway: IpNet) -> Finding {
    let subnet = gateway.trunc();
    Finding {
        what: format!("route {subnet}"),
        at: ifname.to_owned(),
        undo: format!("ip route delete {subnet} dev {ifname}"),
        mark: Mark::Route(gateway),
    }
}

fn tap(ifname: &str, note: &Note) -> Finding {
    Finding {
        what: format!("interface: {note}"),
        at: ifname.to_owned(),
        undo: format!("ip link delete {ifname}"),
        mark: Mark::Interface,
    }
}
