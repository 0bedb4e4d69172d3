//! What is ours in a namespace, found by its own marks: when the daemon that made it is gone, this
//! is how it is seen and undone.
//!
//! | what | known by |
//! |---|---|
//! | filters on NICs | kind, handle and cookie |
//! | a `clsact` qdisc of our making | our filters' cookies |
//! | TAPs, with the addresses and routes on them | the note (alias) on the TAP |
//! | reserved ports | the note on the uplink's TAP |
//! | host's sides of endpoints: ends of veths, TAPs | the note on them |
//! | ports taken off a bridge | the note on them |

use crate::note::{Note, PortOf};
use crate::reserved::{PortSet, reserve};
use crate::traffic_control::{Filter, QdiscOrigin};
use crate::{Error, Links, sysctl};
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
    remedy: Remedy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    Filter {
        ifname: String,
        filter: Filter,
    },
    Qdisc {
        ifname: String,
        index: u32,
    },
    ReservedPorts(PortSet),
    Interface(String),
    /// A port goes back to its bridge.
    GiveBack(String),
    /// The host reaches a bridge's containers by the bridge again.
    Route {
        ifname: String,
        gateway: IpNet,
    },
    /// It goes with its interface.
    WithInterface,
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
        if state.endpoint().is_some() {
            continue;
        }
        findings.extend(on_nic(
            ifname,
            &links.our_filters(ifname, state.index)?,
            state.index,
        ));
    }
    let noted = |alias: &Option<String>| alias.as_deref().and_then(Note::parse);
    let taps = all
        .iter()
        .filter_map(|(ifname, state)| Some((ifname, noted(&state.alias)?)));
    let taps: Vec<_> = taps.collect();
    findings.extend(reserved_ports(taps.iter().map(|(_, note)| note))?);
    for (ifname, note) in taps {
        if let Note::Adopted(from) = &note {
            findings.push(adopted(ifname, from));
            continue;
        }
        findings.extend(on_tap(links, ifname)?);
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
    let is_of_bridge = |finding: &Finding| match &finding.remedy {
        Remedy::Filter { ifname, .. } | Remedy::Qdisc { ifname, .. } | Remedy::GiveBack(ifname) => {
            from.contains(ifname)
        }
        Remedy::WithInterface
        | Remedy::ReservedPorts(_)
        | Remedy::Interface(_)
        | Remedy::Route { .. } => false,
    };
    let mut findings = inspect(links)?;
    findings.retain(is_of_bridge);
    for (ifname, state) in links.all()? {
        if state.alias.as_deref().and_then(Note::parse) != Some(Note::Host) {
            continue;
        }
        findings.extend(subnets.iter().map(|net| in_front(&ifname, *net)));
    }
    Ok(findings)
}

/// Undoes what [`inspect`] found and lists what could not be undone.
#[must_use = "what could not be undone is still there"]
pub fn clean(links: &Links, findings: &[Finding]) -> Vec<Error> {
    let undone = findings.iter().map(|finding| match &finding.remedy {
        Remedy::Filter { ifname, filter } => links.remove_filter(ifname, filter),
        Remedy::Qdisc { ifname, index } => links.remove_empty_clsact(ifname, *index),
        Remedy::ReservedPorts(ports) => {
            let none = PortSet::default();
            reserve(&none, ports, &none).map(drop)
        }
        Remedy::Interface(ifname) => links.remove(ifname),
        Remedy::GiveBack(ifname) => links.give_back(ifname),
        Remedy::Route { ifname, gateway } => {
            let route = links.remove_route(ifname, gateway.trunc());
            let address = links.remove_address(ifname, IpNet::from(gateway.addr()));
            route.and(address)
        }
        Remedy::WithInterface => Ok(()),
    });
    undone.filter_map(Result::err).collect()
}

/// The filters of an interface, and the qdisc if it is ours.
fn on_nic(ifname: &str, filters: &[Filter], index: u32) -> Vec<Finding> {
    let mut findings: Vec<_> = filters
        .iter()
        .map(|filter| Finding {
            what: format!("filter: {}", filter.kind.purpose()),
            at: ifname.to_owned(),
            undo: filter.removing_command(ifname),
            remedy: Remedy::Filter {
                ifname: ifname.to_owned(),
                filter: filter.clone(),
            },
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
            remedy: Remedy::Qdisc {
                ifname: ifname.to_owned(),
                index,
            },
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
        remedy: Remedy::ReservedPorts(ours),
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
        remedy: Remedy::WithInterface,
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
        remedy: Remedy::GiveBack(ifname.to_owned()),
    }
}

/// A route of ours to a bridge's subnet.
fn in_front(ifname: &str, gateway: IpNet) -> Finding {
    let subnet = gateway.trunc();
    Finding {
        what: format!("route {subnet}"),
        at: ifname.to_owned(),
        undo: format!("ip route delete {subnet} dev {ifname}"),
        remedy: Remedy::Route {
            ifname: ifname.to_owned(),
            gateway,
        },
    }
}

fn tap(ifname: &str, note: &Note) -> Finding {
    Finding {
        what: format!("interface: {note}"),
        at: ifname.to_owned(),
        undo: format!("ip link delete {ifname}"),
        remedy: Remedy::Interface(ifname.to_owned()),
    }
}
