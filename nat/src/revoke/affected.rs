//! Which connections a change of the configuration can touch.
//!
//! ```text
//!   what changed                                    whose connections
//!   rules of an endpoint                            that endpoint's
//!   peers, internal, uplink, masquerade, prefix,    the network's
//!     access to the host; a network came or went
//!   publications, an uplink's addresses or ports    those seen as a port that leads elsewhere now
//!   anything else                                   none
//! ```

use crate::config::{InsideRole, Role};
use crate::interface::Interface;
use crate::router::Router;
use crate::table::{Ends, Party};
use hashbrown::HashSet;
use model::PortRange;
use pipeline::NetworkId;
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::IpProtocol;

/// The connections that are judged differently by two routers, and maybe some that are not.
#[derive(Debug)]
pub(super) struct Affected<'a> {
    before: &'a Router,
    after: &'a Router,
    /// Those with an end in one of these networks.
    networks: HashSet<NetworkId>,
    /// Those with one of these endpoints at an end.
    endpoints: HashSet<(NetworkId, IpAddr)>,
    /// Whether external ports may lead elsewhere.
    ways: bool,
}

impl<'a> Affected<'a> {
    pub(super) fn between(before: &'a Router, after: &'a Router) -> Self {
        Self {
            before,
            after,
            networks: before
                .interfaces()
                .chain(after.interfaces())
                .map(|interface| interface.network)
                .filter(|&id| !join_alike(before.interface(id), after.interface(id)))
                .collect(),
            endpoints: before.policy.changed(&after.policy).collect(),
            ways: !lead_alike(before, after),
        }
    }

    /// Returns whether no connection is among them.
    pub(super) fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.endpoints.is_empty() && !self.ways
    }

    /// Returns whether a connection is among them.
    pub(super) fn touches(&self, ends: &Ends) -> bool {
        [&ends.initiator, &ends.responder]
            .into_iter()
            .any(|party| self.touches_party(ends, party))
    }

    fn touches_party(&self, ends: &Ends, party: &Party) -> bool {
        let leads_elsewhere = || {
            party.seen_as.is_some_and(|seen| {
                self.before.way(ends.protocol, party, seen)
                    != self.after.way(ends.protocol, party, seen)
            })
        };
        self.networks.contains(&party.network)
            || self.endpoints.contains(&(party.network, party.addr.ip))
            || self.ways && leads_elsewhere()
    }
}

/// Returns whether [`Router::joins`] reads the same of both.
fn join_alike(before: Option<&Interface>, after: Option<&Interface>) -> bool {
    match (before.map(|f| &f.role), after.map(|f| &f.role)) {
        (Some(Role::Inside(a)), Some(Role::Inside(b))) => reach(a) == reach(b),
        (Some(Role::Uplink(_)), Some(Role::Uplink(_)))
        | (Some(Role::Host(_)), Some(Role::Host(_)))
        | (Some(Role::Services), Some(Role::Services))
        | (None, None) => true,
        _ => false,
    }
}

/// The part of a network's configuration that decides whom it reaches.
fn reach(role: &InsideRole) -> impl PartialEq + use<'_> {
    let settings = &role.settings;
    (
        settings.internal,
        settings.host_access,
        &role.peers,
        role.uplink,
        settings.masquerade,
        settings.nptv6,
    )
}

/// Returns whether [`Router::way`] reads the same of both.
fn lead_alike(before: &Router, after: &Router) -> bool {
    before.external == after.external
        && mapped_ports(before).eq(mapped_ports(after))
        && before.published.leads_as(&after.published)
}

/// The ports that mappings are made of, by uplink.
fn mapped_ports(
    router: &Router,
) -> impl Iterator<Item = (NetworkId, PortRange, &BTreeSet<(IpProtocol, u16)>)> {
    let uplinks = router
        .interfaces()
        .filter_map(|f| Some((f.network, f.uplink()?)));
    uplinks.map(|(id, role)| (id, role.ports, &role.spared))
}
