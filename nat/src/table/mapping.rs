//! Mappings: which external port is whose.
//!
//! A mapping is the list of its sessions. It has no record of its own: the port's holder and the
//! index of mappings name the list's first session, and what a mapping needs to know stands there.
//!
//! ```text
//!   A:a ---- index ----+
//!                      v
//!                   session <-> session <-> session        all from A:a, seen as E:x
//!                      ^
//!   E:x ---- pool -----+
//! ```
//! It ends with its last session. A mapping whose sessions are all over is as absent, swept or
//! not: who looks takes the dead ones from the front, each paid for when it was added.

use super::events::Ending;
use super::key::{Addr, IndexEntry, Ip, hash_of};
use super::session::{External, Hold, Link, NIL, Session};
use super::shard::{Shard, View};
use crate::Dependence;
use crate::ports::{Holder, Pool};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use pipeline::{DropReason, Instant, NetworkId};
use std::num::{NonZeroU16, NonZeroU32};
use wire::IpProtocol;

/// The mappings of a shard.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    index: HashTable<IndexEntry>,
    /// By the external address's place, less one.
    pools: Vec<[Pool; POOLS]>,
    /// Sessions of each peer's address, where filtering depends on it.
    permits: HashMap<Permit, u32, FixedState>,
}

/// Whose a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owned {
    pub(crate) network: NetworkId,
    pub(crate) addr: Addr,
    pub(crate) protocol: IpProtocol,
    pub(crate) v6: bool,
    pub(crate) uplink: NetworkId,
    /// The peer's address, where the mapping depends on it.
    pub(crate) peer: Option<Ip>,
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Permit {
    place: NonZeroU16,
    port: u16,
    protocol: IpProtocol,
    peer: Ip,
}

/// TCP, UDP, SCTP, ICMP, ICMPv6.
const POOLS: usize = 5;
/// Sessions of a mapping looked at for one that the inside wants.
const LOOKS: usize = 64;

/// Which pool a protocol's ports are in; `None` for a protocol that cannot be translated.
pub(crate) const fn pool_of(protocol: IpProtocol) -> Option<usize> {
    match protocol {
        IpProtocol::TCP => Some(0),
        IpProtocol::UDP => Some(1),
        IpProtocol::SCTP => Some(2),
        IpProtocol::ICMP => Some(3),
        IpProtocol::ICMPV6 => Some(4),
        _ => None,
    }
}

impl Mappings {
    pub(super) fn pool(&self, place: NonZeroU16, protocol: IpProtocol) -> &Pool {
        pool_of(protocol)
            .and_then(|pool| Some(&self.pools.get(usize::from(place.get()) - 1)?[pool]))
            .unwrap_or(Pool::EMPTY)
    }

    fn set(&mut self, place: NonZeroU16, protocol: IpProtocol, port: u16, holder: Holder) {
        let (at, Some(pool)) = (usize::from(place.get()), pool_of(protocol)) else {
            return;
        };
        if self.pools.len() < at {
            self.pools.resize_with(at, Default::default);
        }
        self.pools[at - 1][pool].set(port, holder);
    }

    pub(super) fn bytes(&self) -> usize {
        let pools = self.pools.iter().flatten().map(Pool::bytes).sum::<usize>();
        pools
            + self.pools.capacity() * size_of::<[Pool; POOLS]>()
            + self.index.allocation_size()
            + self.permits.allocation_size()
    }
}

impl Shard {
    /// The first session of the mapping of `owned`, over or not.
    pub(super) fn mapping(&self, owned: &Owned) -> Option<u32> {
        let hash = hash_of(&self.state, owned);
        let place = self
            .mappings
            .index
            .find(IndexEntry::spread(hash), |place| {
                place.hash == hash && self.owned(place.at).as_ref() == Some(owned)
            })?;
        Some(place.at)
    }

    /// Who holds a port, as if what is over had been swept.
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

    /// Whether `peer` may come in by a port nobody publishes (RFC 4787, 5).
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
                let permit = Permit {
                    place,
                    port,
                    protocol,
                    peer: peer.ip,
                };
                self.mappings.permits.contains_key(&permit)
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

    /// Whether a session that comes from elsewhere may hold what it says it does.
    pub(super) fn may_hold(&self, session: &Session) -> bool {
        let end = session.holder();
        let (Some(place), Some(_)) = (end.seen_as, pool_of(session.protocol)) else {
            return session.hold == Hold::Nothing && !session.is_translated();
        };
        let holder = self
            .mappings
            .pool(place, session.protocol)
            .holder(end.seen_port);
        let known = self
            .owned_by(session)
            .and_then(|owned| self.mapping(&owned));
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

    /// Takes the port for a session that was added.
    pub(super) fn hold(&mut self, at: u32) {
        let Some(&session) = self.sessions.get(at) else {
            return;
        };
        let end = *session.holder();
        let (Some(place), protocol) = (end.seen_as, session.protocol) else {
            return;
        };
        let before = self.mappings.pool(place, protocol).holder(end.seen_port);
        let held = match (session.hold, before) {
            (Hold::Nothing, _) => return,
            (Hold::Shared, Holder::Free) => Holder::Shared(NonZeroU32::MIN),
            (Hold::Shared, Holder::Shared(count)) => Holder::Shared(count.saturating_add(1)),
            (Hold::Endpoint | Hold::Address | Hold::Alone, Holder::Free) => {
                self.index_mapping(at);
                Holder::Mapping(at)
            }
            (Hold::Endpoint | Hold::Address | Hold::Alone, Holder::Mapping(first)) => {
                self.join(first, at);
                Holder::Mapping(first)
            }
            // Nobody claims such a port; a session that did would hold nothing.
            (Hold::Shared, Holder::Mapping(_)) | (_, Holder::Shared(_)) => {
                if let Some(session) = self.sessions.get_mut(at) {
                    session.hold = Hold::Nothing;
                    session.permits = false;
                }
                return;
            }
        };
        self.mappings.set(place, protocol, end.seen_port, held);
        if let Some(permit) = self.permit(&session) {
            *self.mappings.permits.entry(permit).or_default() += 1;
        }
    }

    /// Gives the port back before a session is removed.
    pub(super) fn release(&mut self, at: u32) {
        let Some(&session) = self.sessions.get(at) else {
            return;
        };
        let end = *session.holder();
        let (Some(place), protocol) = (end.seen_as, session.protocol) else {
            return;
        };
        let left = match session.hold {
            Hold::Nothing => return,
            Hold::Shared => match self.mappings.pool(place, protocol).holder(end.seen_port) {
                Holder::Shared(count) => {
                    NonZeroU32::new(count.get() - 1).map_or(Holder::Free, Holder::Shared)
                }
                holder @ (Holder::Free | Holder::Mapping(_)) => holder,
            },
            Hold::Endpoint | Hold::Address | Hold::Alone => self.leave(at, &session),
        };
        self.mappings.set(place, protocol, end.seen_port, left);
        if let Some(permit) = self.permit(&session)
            && let Some(count) = self.mappings.permits.get_mut(&permit)
        {
            *count -= 1;
            if *count == 0 {
                self.mappings.permits.remove(&permit);
            }
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
        let exists = |at: u32| self.get(at).map(|_| at);
        std::iter::successors(exists(first), move |&at| {
            exists(self.get(at)?.siblings.next)
        })
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

    fn owned(&self, at: u32) -> Option<Owned> {
        self.owned_by(self.sessions.get(at)?)
    }

    fn owned_by(&self, session: &Session) -> Option<Owned> {
        let end = session.holder();
        Some(Owned {
            network: end.network,
            addr: end.own(),
            protocol: session.protocol,
            v6: session.v6,
            uplink: self.externals.get(end.seen_as?).network,
            peer: match session.hold {
                Hold::Address => Some(session.peer().seen(&self.externals).ip),
                Hold::Endpoint => None,
                Hold::Nothing | Hold::Alone | Hold::Shared => return None,
            },
        })
    }

    fn permit(&self, session: &Session) -> Option<Permit> {
        let end = session.holder();
        Some(Permit {
            place: end.seen_as.filter(|_| session.permits)?,
            port: end.seen_port,
            protocol: session.protocol,
            peer: session.peer().seen(&self.externals).ip,
        })
    }

    fn index_mapping(&mut self, at: u32) {
        if let Some(owned) = self.owned(at) {
            let hash = hash_of(&self.state, &owned);
            let place = IndexEntry { hash, at };
            self.mappings
                .index
                .insert_unique(IndexEntry::spread(hash), place, |place| {
                    IndexEntry::spread(place.hash)
                });
        }
    }

    /// Puts `at` behind the first session of a mapping.
    fn join(&mut self, first: u32, at: u32) {
        let Some(session) = self.sessions.get_mut(first) else {
            return;
        };
        let next = std::mem::replace(&mut session.siblings.next, at);
        if let Some(session) = self.sessions.get_mut(next) {
            session.siblings.prev = at;
        }
        if let Some(session) = self.sessions.get_mut(at) {
            session.siblings = Link { prev: first, next };
        }
    }

    /// Takes `at` out of its mapping; answers who holds the port then.
    fn leave(&mut self, at: u32, session: &Session) -> Holder {
        let Link { prev, next } = session.siblings;
        let owned = self.owned(at);
        if let Some(session) = self.sessions.get_mut(next) {
            session.siblings.prev = prev;
        }
        if let Some(session) = self.sessions.get_mut(prev) {
            session.siblings.next = next;
            let end = session.holder();
            return end.seen_as.map_or(Holder::Free, |place| {
                self.mappings
                    .pool(place, session.protocol)
                    .holder(end.seen_port)
            });
        }
        if let Some(owned) = owned {
            let hash = hash_of(&self.state, &owned);
            let found = self
                .mappings
                .index
                .find_entry(IndexEntry::spread(hash), |place| place.at == at);
            if let Ok(mut entry) = found {
                if next == NIL {
                    entry.remove();
                } else {
                    entry.get_mut().at = next;
                }
            }
        }
        if next == NIL {
            Holder::Free
        } else {
            Holder::Mapping(next)
        }
    }
}
