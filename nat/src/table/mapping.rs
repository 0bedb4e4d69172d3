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
//! It ends with its last session.

use super::key::{Addr, IndexEntry, Ip, hash_of};
use super::session::{Externals, Hold, Link, NIL, Session};
use super::slab::Slab;
use crate::ports::{Holder, Pool};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use pipeline::NetworkId;
use std::num::{NonZeroU16, NonZeroU32};
use wire::IpProtocol;

/// The mappings of a shard.
#[derive(Debug)]
pub(crate) struct Mappings {
    index: HashTable<IndexEntry>,
    /// By the external address's place, less one.
    pools: Vec<[Pool; POOLS]>,
    /// Sessions of each peer's address, where filtering depends on it.
    permits: HashMap<Permit, u32, FixedState>,
    state: FixedState,
}

/// The inside address that a mapping belongs to, with all that tells its mappings apart.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Permit {
    place: NonZeroU16,
    port: u16,
    protocol: IpProtocol,
    peer: Ip,
}

/// TCP, UDP, SCTP, ICMP, ICMPv6.
const POOLS: usize = 5;

/// Returns which pool a protocol's ports are in; `None` for a protocol that cannot be translated.
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
    /// No mappings; `state` is a secret.
    pub(super) fn new(state: FixedState) -> Self {
        Self {
            index: HashTable::new(),
            pools: Vec::new(),
            permits: HashMap::with_hasher(state.clone()),
            state,
        }
    }

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

    /// The first session of the mapping of `owned`, over or not.
    pub(super) fn find(
        &self,
        sessions: &Slab<Session>,
        externals: &Externals,
        owned: &Owned,
    ) -> Option<u32> {
        let hash = hash_of(&self.state, owned);
        let owned_at = |at| Owned::of(sessions.get(at)?, externals);
        let place = self.index.find(IndexEntry::spread(hash), |place| {
            place.hash == hash && owned_at(place.at).as_ref() == Some(owned)
        })?;
        Some(place.at)
    }

    /// Returns whether a session with `peer` permits it to come in by a port.
    pub(super) fn permits(
        &self,
        place: NonZeroU16,
        port: u16,
        protocol: IpProtocol,
        peer: Ip,
    ) -> bool {
        let permit = Permit {
            place,
            port,
            protocol,
            peer,
        };
        self.permits.contains_key(&permit)
    }

    /// Takes the port for a session that was added.
    pub(super) fn hold(&mut self, sessions: &mut Slab<Session>, externals: &Externals, at: u32) {
        let Some(&session) = sessions.get(at) else {
            return;
        };
        let end = *session.holder();
        let (Some(place), protocol) = (end.seen_as, session.protocol) else {
            return;
        };
        let before = self.pool(place, protocol).holder(end.seen_port);
        let held = match (session.hold, before) {
            (Hold::Nothing, _) => return,
            (Hold::Shared, Holder::Free) => Holder::Shared(NonZeroU32::MIN),
            (Hold::Shared, Holder::Shared(count)) => Holder::Shared(count.saturating_add(1)),
            (Hold::Endpoint | Hold::Address | Hold::Alone, Holder::Free) => {
                self.add(&session, externals, at);
                Holder::Mapping(at)
            }
            (Hold::Endpoint | Hold::Address | Hold::Alone, Holder::Mapping(first)) => {
                join(sessions, first, at);
                Holder::Mapping(first)
            }
            // Nobody claims such a port; a session that did would hold nothing.
            (Hold::Shared, Holder::Mapping(_)) | (_, Holder::Shared(_)) => {
                if let Some(session) = sessions.get_mut(at) {
                    session.hold = Hold::Nothing;
                    session.permits = false;
                }
                return;
            }
        };
        self.set(place, protocol, end.seen_port, held);
        if let Some(permit) = Permit::of(&session, externals) {
            *self.permits.entry(permit).or_default() += 1;
        }
    }

    /// Gives the port back before a session is removed.
    pub(super) fn release(&mut self, sessions: &mut Slab<Session>, externals: &Externals, at: u32) {
        let Some(&session) = sessions.get(at) else {
            return;
        };
        let end = *session.holder();
        let (Some(place), protocol) = (end.seen_as, session.protocol) else {
            return;
        };
        let left = match session.hold {
            Hold::Nothing => return,
            Hold::Shared => match self.pool(place, protocol).holder(end.seen_port) {
                Holder::Shared(count) => {
                    NonZeroU32::new(count.get() - 1).map_or(Holder::Free, Holder::Shared)
                }
                holder @ (Holder::Free | Holder::Mapping(_)) => holder,
            },
            Hold::Endpoint | Hold::Address | Hold::Alone => self.leave(sessions, externals, at),
        };
        self.set(place, protocol, end.seen_port, left);
        if let Some(permit) = Permit::of(&session, externals)
            && let Some(count) = self.permits.get_mut(&permit)
        {
            *count -= 1;
            if *count == 0 {
                self.permits.remove(&permit);
            }
        }
    }

    fn add(&mut self, session: &Session, externals: &Externals, at: u32) {
        if let Some(owned) = Owned::of(session, externals) {
            let hash = hash_of(&self.state, &owned);
            let place = IndexEntry { hash, at };
            self.index
                .insert_unique(IndexEntry::spread(hash), place, |place| {
                    IndexEntry::spread(place.hash)
                });
        }
    }

    /// Takes `at` out of its mapping; answers who holds the port then.
    fn leave(&mut self, sessions: &mut Slab<Session>, externals: &Externals, at: u32) -> Holder {
        let Some(&session) = sessions.get(at) else {
            return Holder::Free;
        };
        let Link { prev, next } = session.siblings;
        if let Some(session) = sessions.get_mut(next) {
            session.siblings.prev = prev;
        }
        if let Some(session) = sessions.get_mut(prev) {
            session.siblings.next = next;
            let end = session.holder();
            return end.seen_as.map_or(Holder::Free, |place| {
                self.pool(place, session.protocol).holder(end.seen_port)
            });
        }
        if let Some(owned) = Owned::of(&session, externals) {
            let hash = hash_of(&self.state, &owned);
            let found = self
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

impl Owned {
    /// Returns whose mapping a session is in, if it is in one that is looked for.
    pub(super) fn of(session: &Session, externals: &Externals) -> Option<Self> {
        let end = session.holder();
        Some(Self {
            network: end.network,
            addr: end.own(),
            protocol: session.protocol,
            v6: session.v6,
            uplink: externals.get(end.seen_as?).network,
            peer: match session.hold {
                Hold::Address => Some(session.peer().seen(externals).ip),
                Hold::Endpoint => None,
                Hold::Nothing | Hold::Alone | Hold::Shared => return None,
            },
        })
    }
}

impl Permit {
    fn of(session: &Session, externals: &Externals) -> Option<Self> {
        let end = session.holder();
        Some(Self {
            place: end.seen_as.filter(|_| session.permits)?,
            port: end.seen_port,
            protocol: session.protocol,
            peer: session.peer().seen(externals).ip,
        })
    }
}

/// The sessions of a mapping, from its first on.
pub(super) fn siblings(sessions: &Slab<Session>, first: u32) -> impl Iterator<Item = u32> {
    let exists = |at: u32| sessions.get(at).map(|_| at);
    std::iter::successors(exists(first), move |&at| {
        exists(sessions.get(at)?.siblings.next)
    })
}

/// Puts `at` behind the first session of a mapping.
fn join(sessions: &mut Slab<Session>, first: u32, at: u32) {
    let Some(session) = sessions.get_mut(first) else {
        return;
    };
    let next = std::mem::replace(&mut session.siblings.next, at);
    if let Some(session) = sessions.get_mut(next) {
        session.siblings.prev = at;
    }
    if let Some(session) = sessions.get_mut(at) {
        session.siblings = Link { prev: first, next };
    }
}
