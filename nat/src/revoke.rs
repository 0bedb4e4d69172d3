//! Ends the connections that could not begin any more.
//!
//! Who may talk to whom is asked when a connection begins. When the answer changes (a rule, a peer,
//! a publication, an address of the host), the connections that the new one forbids are found here
//! and forgotten; the others go on.
//!
//! # What a change costs
//! Only connections that the change can touch are judged again: [`Affected`] compares the router of
//! before with the router of now. Nothing it reads has changed: no connection is looked at. Otherwise
//! the table is walked, a short slice of one shard at a time, and what the change cannot touch is
//! passed over.

mod affected;
#[cfg(test)]
mod tests;

use self::affected::Affected;
use crate::config::{Exit, InsideRole, Role, UplinkRole};
use crate::interface::Interface;
use crate::router::Router;
use crate::table::{Ends, Party};
use crate::{TransportAddr, Tuple};
use model::RuleDirection;
use pipeline::{Instant, NoTrace};
use wire::IpProtocol;

/// Whether the address that a party is known by leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Whether mappings are made of this port; `None` when the address is not ours.
    mapped: Option<bool>,
    /// Whether the party is one of those that the port is published for; `None` when it is published
    /// for nobody.
    published: Option<bool>,
}

impl Router {
    /// Forgets the connections that this configuration would not let begin. Returns how many they
    /// were.
    pub fn revoke(&self, now: Instant) -> usize {
        self.live.tables.retain_ends(now, |ends| self.permits(ends))
    }

    /// Forgets the connections that this configuration would not let begin and that of `before`
    /// would. Returns how many they were.
    ///
    /// With no connection in the table that `before` would not let begin, this is [`Self::revoke`],
    /// only faster.
    pub fn revoke_since(&self, before: &Self, now: Instant) -> usize {
        if std::ptr::eq(before, self) {
            return 0;
        }
        let affected = Affected::between(before, self);
        if affected.is_empty() {
            return 0;
        }
        self.live
            .tables
            .retain_ends(now, |ends| !affected.touches(ends) || self.permits(ends))
    }

    fn permits(&self, ends: &Ends) -> bool {
        let Ends {
            protocol,
            initiator,
            responder,
        } = ends;
        self.admits(*protocol, initiator, responder)
            && self.joins(initiator, responder)
            && [initiator, responder]
                .iter()
                .all(|party| self.is_known(*protocol, party))
            && self.leads(*protocol, responder)
    }

    /// Returns whether the rules of both ends let it begin.
    fn admits(&self, protocol: IpProtocol, initiator: &Party, responder: &Party) -> bool {
        let tuple = |dst| Tuple {
            protocol,
            src: initiator.addr,
            dst,
        };
        let called = responder.seen_as.unwrap_or(responder.addr);
        let ends = [
            (initiator, RuleDirection::Out, tuple(called)),
            (responder, RuleDirection::In, tuple(responder.addr)),
        ];
        ends.iter().all(|(party, direction, tuple)| {
            let (network, ip) = (party.network, party.addr.ip);
            self.policy
                .allows(network, ip, *direction, tuple, &mut NoTrace)
                .is_ok()
        })
    }

    /// Returns whether the networks of both ends may exchange packets at all.
    fn joins(&self, initiator: &Party, responder: &Party) -> bool {
        if initiator.network == responder.network {
            return true;
        }
        let (Some(from), Some(to)) = (
            self.interface(initiator.network),
            self.interface(responder.network),
        ) else {
            return false;
        };
        let hairpin = responder.seen_as.is_some();
        match (&from.role, &to.role) {
            (Role::Inside(a), Role::Inside(b)) => {
                let peers = a.peers.contains(&to.network) && b.peers.contains(&from.network);
                !a.settings.internal && !b.settings.internal && (peers || hairpin)
            }
            (Role::Inside(inside), Role::Host(_)) | (Role::Host(_), Role::Inside(inside)) => {
                inside.settings.host_access && !inside.settings.internal
            }
            (Role::Inside(inside), Role::Uplink(_)) => {
                !inside.settings.internal
                    && inside.uplink == Some(to.network)
                    && masqueraded(inside, initiator) == initiator.seen_as.is_some()
            }
            (Role::Uplink(_), Role::Inside(inside)) => {
                let reached =
                    inside.uplink == Some(from.network) && !masqueraded(inside, responder);
                !inside.settings.internal && (reached || responder.seen_as.is_some())
            }
            (Role::Services, _) | (_, Role::Services) => true,
            (Role::Uplink(_) | Role::Host(_), Role::Uplink(_) | Role::Host(_)) => false,
        }
    }

    /// Returns whether the address that the other end knows the party by is still ours.
    fn is_known(&self, protocol: IpProtocol, party: &Party) -> bool {
        party
            .seen_as
            .is_none_or(|seen| self.way(protocol, party, seen).mapped.is_some())
    }

    /// Returns whether the port that was called still leads to who answered.
    fn leads(&self, protocol: IpProtocol, responder: &Party) -> bool {
        let Some(seen) = responder.seen_as else {
            return true;
        };
        let way = self.way(protocol, responder, seen);
        way.published.or(way.mapped).unwrap_or(false)
    }

    fn way(&self, protocol: IpProtocol, party: &Party, seen: TransportAddr) -> Way {
        let uplink = self.external.get(&seen.ip);
        let role = uplink.and_then(|network| self.interface(*network)?.uplink());
        let is_mapped = |role: &UplinkRole| {
            role.ports.contains(seen.port) && !role.spared.contains(&(protocol, seen.port))
        };
        Way {
            mapped: role.map(is_mapped),
            published: self.published.leads_inside(protocol, seen).then(|| {
                let mut backends = self.published.backends_of(protocol, seen);
                backends.any(|to| (to.network, to.addr) == (party.network, party.addr))
            }),
        }
    }
}

impl Interface {
    fn uplink(&self) -> Option<&UplinkRole> {
        match &self.role {
            Role::Uplink(role) => Some(role),
            Role::Inside(_) | Role::Host(_) | Role::Services => None,
        }
    }
}

fn masqueraded(inside: &InsideRole, party: &Party) -> bool {
    inside.exit(party.addr.ip) == Exit::Masqueraded
}
