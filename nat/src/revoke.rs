//! Connections that could not begin any more.
//!
//! Who may talk to whom is asked when a connection begins. When the answer changes (a rule, a peer,
//! a publication, an address of the host), the connections that the new one forbids are found here
//! and forgotten; the others go on.

use crate::config::{Direction, Exit, InsideRole, Role};
use crate::interface::Face;
use crate::router::Router;
use crate::table::{Entry, Party};
use crate::{TransportAddr, Tuple};
use pipeline::{Instant, NoTrace};
use wire::IpProtocol;

impl Router {
    /// Forgets the connections that this configuration would not let begin, and answers how many
    /// they were.
    pub fn revoke(&self, now: Instant) -> usize {
        self.retain_connections(now, |entry| self.permits(entry))
    }

    fn permits(&self, entry: &Entry) -> bool {
        let Entry {
            initiator,
            responder,
            protocol,
            ..
        } = entry;
        self.admits(*protocol, initiator, responder)
            && self.joins(initiator, responder)
            && [initiator, responder]
                .iter()
                .all(|party| self.is_known(party))
            && self.leads(*protocol, responder)
    }

    /// Whether the rules of both ends let it begin.
    fn admits(&self, protocol: IpProtocol, initiator: &Party, responder: &Party) -> bool {
        let tuple = |dst| Tuple {
            protocol,
            src: initiator.addr,
            dst,
        };
        let called = responder.seen_as.unwrap_or(responder.addr);
        let ends = [
            (initiator, Direction::Out, tuple(called)),
            (responder, Direction::In, tuple(responder.addr)),
        ];
        ends.iter().all(|(party, direction, tuple)| {
            let (network, ip) = (party.network, party.addr.ip);
            self.policy
                .allows(network, ip, *direction, tuple, &mut NoTrace)
                .is_ok()
        })
    }

    /// Whether the networks of both ends may exchange packets at all.
    fn joins(&self, initiator: &Party, responder: &Party) -> bool {
        if initiator.network == responder.network {
            return true;
        }
        let (Some(from), Some(to)) = (self.face(initiator.network), self.face(responder.network))
        else {
            return false;
        };
        let hairpin = responder.seen_as.is_some();
        match (&from.role, &to.role) {
            (Role::Inside(a), Role::Inside(b)) => {
                let peers = a.peers.contains(&to.network) && b.peers.contains(&from.network);
                !a.internal && !b.internal && (peers || hairpin)
            }
            (Role::Inside(inside), Role::Host(_)) | (Role::Host(_), Role::Inside(inside)) => {
                inside.host_access && !inside.internal
            }
            (Role::Inside(inside), Role::Uplink(_)) => {
                !inside.internal
                    && inside.uplink == Some(to.network)
                    && masqueraded(inside, initiator) == initiator.seen_as.is_some()
            }
            (Role::Uplink(_), Role::Inside(inside)) => {
                let reached =
                    inside.uplink == Some(from.network) && !masqueraded(inside, responder);
                !inside.internal && (reached || responder.seen_as.is_some())
            }
            (Role::Services, _) | (_, Role::Services) => true,
            (Role::Uplink(_) | Role::Host(_), Role::Uplink(_) | Role::Host(_)) => false,
        }
    }

    /// Whether the address that the other end knows the party by is still ours.
    fn is_known(&self, party: &Party) -> bool {
        party
            .seen_as
            .is_none_or(|seen| self.uplink_at(seen).is_some())
    }

    /// Whether the port that was called still leads to who answered.
    fn leads(&self, protocol: IpProtocol, responder: &Party) -> bool {
        let Some(seen) = responder.seen_as else {
            return true;
        };
        let mapped = self.uplink_at(seen).and_then(|face| match &face.role {
            Role::Uplink(role) => Some(
                role.ports.contains(seen.port) && !role.spared.contains(&(protocol, seen.port)),
            ),
            Role::Inside(_) | Role::Host(_) | Role::Services => None,
        });
        let published = self.published_at(protocol, seen);
        published.map_or_else(
            || mapped.unwrap_or(false),
            |to| to.network == responder.network && to.addr == responder.addr,
        )
    }

    fn uplink_at(&self, seen: TransportAddr) -> Option<&Face> {
        self.external
            .get(&seen.ip)
            .and_then(|network| self.face(*network))
    }
}

fn masqueraded(inside: &InsideRole, party: &Party) -> bool {
    inside.exit(party.addr.ip) == Exit::Masqueraded
}
