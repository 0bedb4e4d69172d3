//! Admission by an external port, and its holder: the mappings of a shard (`mapping.rs`), as time and
//! the behaviour of the network that holds the port have it.
//!
//! A mapping whose sessions are all over is as absent, swept or not: who looks takes the dead ones
//! from the front, each paid for when it was added.

use super::events::Ending;
use super::key::Addr;
use super::mapping::{Owned, pool_of, siblings};
use super::session::{External, Hold, Session};
use super::shard::{Shard, View};
use crate::Dependence;
use crate::ports::Holder;
use pipeline::{DropReason, Instant};
use wire::IpProtocol;

/// The admission of a packet by an external port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The port is nobody's.
    Nobody,
    /// Not this peer.
    Shut,
    /// This peer, into the mapping of this session.
    Open(u32),
}

/// Sessions of a mapping looked at for one that the inside wants.
const LOOKS: usize = 64;

impl Shard {
    /// The first session of the mapping of `owned`, over or not.
    pub(super) fn mapping(&self, owned: &Owned) -> Option<u32> {
        self.mappings.find(&self.sessions, &self.externals, owned)
    }

    /// Returns who holds a port, as if what is over had been swept.
    pub(super) fn holder(
        &mut self,
        external: &External,
        protocol: IpProtocol,
        port: u16,
        view: &View<'_>,
    ) -> Holder {
        let Some(place) = self.externals.find(external) else {
            return Holder::Free;
        };
        match self.mappings.pool(place, protocol).holder(port) {
            Holder::Mapping(first) => self
                .first_alive(first, view)
                .map_or(Holder::Free, Holder::Mapping),
            holder @ (Holder::Free | Holder::Shared(_)) => holder,
        }
    }

    /// The first session of the mapping that holds a port.
    pub(crate) fn tenant(
        &mut self,
        external: &External,
        protocol: IpProtocol,
        port: u16,
        view: &View<'_>,
    ) -> Result<u32, DropReason> {
        match self.holder(external, protocol, port, view) {
            Holder::Free => Err(DropReason::NoMapping),
            Holder::Shared(_) => Err(DropReason::Filtered),
            Holder::Mapping(first) => Ok(first),
        }
    }

    /// Returns whether `peer` may come in by a port nobody publishes (RFC 4787, 5).
    pub(crate) fn gate(
        &mut self,
        external: &External,
        protocol: IpProtocol,
        port: u16,
        peer: Addr,
        view: &View<'_>,
    ) -> Admission {
        let first = match self.holder(external, protocol, port, view) {
            Holder::Free => return Admission::Nobody,
            Holder::Shared(_) => return Admission::Shut,
            Holder::Mapping(first) => first,
        };
        let (Some(session), Some(place)) = (self.get(first), self.externals.find(external)) else {
            return Admission::Nobody;
        };
        let is_peer = |session: &Session| session.peer().seen(&self.externals).ip == peer.ip;
        let alive = |at: &u32| {
            self.get(*at)
                .is_some_and(|session| session.is_wanted() && !view.is_over(session))
        };
        let mut siblings = self.siblings(first);
        let opens = match view.rules(session).behaviour.filtering {
            // A mapping of one peer's address is never anybody else's.
            _ if session.hold == Hold::Address && !is_peer(session) => false,
            Dependence::EndpointIndependent => siblings.take(LOOKS).any(|at| alive(&at)),
            Dependence::AddressDependent => {
                self.mappings.permits(place, port, protocol, peer.ip)
                    && siblings.any(|at| alive(&at) && self.get(at).is_some_and(is_peer))
            }
            Dependence::AddressAndPortDependent => false,
        };
        if opens {
            Admission::Open(first)
        } else {
            Admission::Shut
        }
    }

    /// Returns whether a session that comes from elsewhere may hold what it says it does.
    pub(super) fn may_hold(&self, session: &Session) -> bool {
        let end = session.holder();
        let (Some(place), Some(_)) = (end.seen_as, pool_of(session.protocol)) else {
            return session.hold == Hold::Nothing && !session.is_translated();
        };
        let holder = self
            .mappings
            .pool(place, session.protocol)
            .holder(end.seen_port);
        let known = Owned::of(session, &self.externals).and_then(|owned| self.mapping(&owned));
        match (session.hold, holder) {
            (Hold::Nothing, _) | (Hold::Shared, Holder::Free | Holder::Shared(_)) => true,
            (Hold::Endpoint | Hold::Address | Hold::Alone, Holder::Free) => known.is_none(),
            (Hold::Endpoint | Hold::Address, Holder::Mapping(first)) => known == Some(first),
            (Hold::Alone, Holder::Mapping(first)) => self.get(first).is_some_and(|other| {
                let same = *other.holder();
                other.hold == Hold::Alone && same.own() == end.own() && same.network == end.network
            }),
            (Hold::Shared, Holder::Mapping(_)) | (_, Holder::Shared(_)) => false,
        }
    }

    /// Ends every session of the mapping whose first session is `first`.
    pub(super) fn end_mapping(&mut self, first: u32, ending: Ending, now: Instant) {
        let mut at = first;
        while let Some(session) = self.sessions.get(at) {
            let next = session.siblings.next;
            self.remove(at, ending, now);
            at = next;
        }
    }

    /// The sessions of a mapping, from its first on.
    pub(super) fn siblings(&self, first: u32) -> impl Iterator<Item = u32> {
        siblings(&self.sessions, first)
    }

    /// The first session of a mapping that is not over; those before it go.
    pub(super) fn first_alive(&mut self, first: u32, view: &View<'_>) -> Option<u32> {
        let mut at = first;
        while let Some(session) = self.sessions.get(at) {
            if !view.is_over(session) {
                return Some(at);
            }
            let next = session.siblings.next;
            if view.is_live() {
                self.remove(at, Ending::Expired, view.now);
            }
            at = next;
        }
        None
    }
}
