//! Which endpoint holds how many sessions of a shard, and which it would miss least.
//!
//! ```text
//!   rank 5  ... -> owner <-> owner             holds 32 to 63 sessions
//!   rank 6  ... -> owner                       holds 64 to 127
//!                   |
//!                   +-- closing      session <-> session <-> ...     oldest first
//!                   +-- opening      session <-> ...
//!                   +-- established  session <-> session <-> ...
//! ```
//! Everything is a list link or two: an attack cannot make it slow. Ranks are powers of two, so an
//! owner changes its rank seldom, and whoever is found in the highest rank holds at least half of
//! what the greatest holder does.
//!
//! An endpoint's sessions lie in many shards; they are added up in a [`Tally`] that the shards'
//! owners share.

use super::key::{Ip, hash_of};
use super::session::{Class, Link, NIL, Session};
use super::slab::Slab;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use pipeline::NetworkId;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// An endpoint: what quotas are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) network: NetworkId,
    pub(crate) ip: Ip,
    pub(crate) v6: bool,
}

/// Sessions an endpoint holds in all shards.
pub(crate) type Tally = Arc<AtomicU32>;

/// The tallies of all endpoints. Asked when an endpoint gets its first session in a shard, by
/// callers that hold no shard.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<Endpoint, Tally, FixedState>>);

impl Tallies {
    pub(crate) fn get(&self, endpoint: Endpoint) -> Tally {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tallies.entry(endpoint).or_default())
    }

    /// Sessions `endpoint` holds.
    pub(crate) fn peek(&self, endpoint: Endpoint) -> u32 {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies
            .get(&endpoint)
            .map_or(0, |tally| tally.load(Relaxed))
    }

    /// Forgets endpoints that no shard knows.
    pub(crate) fn sweep(&self) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        if tallies.len() * 4 < tallies.capacity() {
            tallies.shrink_to_fit();
        }
    }
}

/// The owners of one shard.
#[derive(Debug)]
pub(crate) struct Owners {
    slab: Slab<Owner>,
    index: HashTable<u32>,
    ranks: [u32; 32],
    state: FixedState,
}

#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) endpoint: Endpoint,
    pub(crate) tally: Tally,
    /// Sessions it holds in this shard.
    pub(crate) count: u32,
    lists: [List; 3],
    rank: u32,
    peers: Link,
}

/// A list of sessions, oldest first.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List {
    first: NIL,
    last: NIL,
};

impl Owners {
    pub(crate) const fn new(state: FixedState) -> Self {
        Self {
            slab: Slab::new(),
            index: HashTable::new(),
            ranks: [NIL; 32],
            state,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn find(&self, endpoint: Endpoint) -> Option<u32> {
        let hash = hash_of(&self.state, &endpoint);
        self.index
            .find(spread(hash), |&at| {
                self.slab
                    .get(at)
                    .is_some_and(|owner| owner.endpoint == endpoint)
            })
            .copied()
    }

    pub(crate) fn get(&self, at: u32) -> Option<&Owner> {
        self.slab.get(at)
    }

    /// Makes an owner that holds nothing yet.
    pub(crate) fn add(&mut self, endpoint: Endpoint, tally: Tally) -> u32 {
        let at = self.slab.insert(Owner {
            endpoint,
            tally,
            count: 0,
            lists: [EMPTY; 3],
            rank: NIL,
            peers: Link::ALONE,
        });
        let (slab, state) = (&self.slab, &self.state);
        let hash = |&at: &u32| {
            slab.get(at)
                .map_or(0, |owner| spread(hash_of(state, &owner.endpoint)))
        };
        self.index.insert_unique(hash(&at), at, hash);
        at
    }

    /// Forgets an owner that holds nothing.
    pub(crate) fn drop_idle(&mut self, at: u32) {
        let Some(owner) = self.slab.get(at) else {
            return;
        };
        if owner.count > 0 {
            return;
        }
        let hash = spread(hash_of(&self.state, &owner.endpoint));
        if let Ok(entry) = self.index.find_entry(hash, |&known| known == at) {
            entry.remove();
        }
        self.slab.remove(at);
    }

    /// Puts a session, whose owner and class are set, at the end of its list.
    pub(crate) fn link(&mut self, sessions: &mut Slab<Session>, at: u32) {
        self.list_in(sessions, at);
        let Some(session) = sessions.get(at) else {
            return;
        };
        if let Some(owner) = self.slab.get_mut(session.owner) {
            owner.count += 1;
            owner.tally.fetch_add(1, Relaxed);
            self.rank(session.owner);
        }
    }

    /// Takes a session out of its list; forgets its owner with its last one.
    pub(crate) fn unlink(&mut self, sessions: &mut Slab<Session>, at: u32) {
        self.list_out(sessions, at);
        let Some(session) = sessions.get(at) else {
            return;
        };
        if let Some(owner) = self.slab.get_mut(session.owner) {
            owner.count -= 1;
            owner.tally.fetch_sub(1, Relaxed);
            self.rank(session.owner);
            self.drop_idle(session.owner);
        }
    }

    /// Moves a session to the list of `class`.
    pub(crate) fn reclass(&mut self, sessions: &mut Slab<Session>, at: u32, class: Class) {
        self.list_out(sessions, at);
        if let Some(session) = sessions.get_mut(at) {
            session.class = class;
        }
        self.list_in(sessions, at);
    }

    /// Puts a session at the end of the list it is in.
    pub(crate) fn requeue(&mut self, sessions: &mut Slab<Session>, at: u32) {
        self.list_out(sessions, at);
        self.list_in(sessions, at);
    }

    /// The oldest session of `owner` in a class.
    pub(crate) fn oldest(&self, owner: u32, class: Class) -> Option<u32> {
        let first = self.slab.get(owner)?.lists[class.index()].first;
        (first != NIL).then_some(first)
    }

    /// An owner of the highest rank.
    pub(crate) fn greatest(&self) -> Option<u32> {
        self.ranks.iter().rev().copied().find(|&first| first != NIL)
    }

    /// Bytes of memory behind it.
    pub(crate) fn bytes(&self) -> usize {
        self.slab.bytes() + self.index.allocation_size()
    }

    fn list_in(&mut self, sessions: &mut Slab<Session>, at: u32) {
        let Some(session) = sessions.get(at) else {
            return;
        };
        let (number, class) = (session.owner, session.class);
        let Some(owner) = self.slab.get_mut(number) else {
            return;
        };
        let list = &mut owner.lists[class.index()];
        let prev = std::mem::replace(&mut list.last, at);
        if prev == NIL {
            list.first = at;
        } else if let Some(prev) = sessions.get_mut(prev) {
            prev.peers.next = at;
        }
        if let Some(session) = sessions.get_mut(at) {
            session.peers = Link { prev, next: NIL };
        }
    }

    fn list_out(&mut self, sessions: &mut Slab<Session>, at: u32) {
        let Some(session) = sessions.get(at) else {
            return;
        };
        let (number, class, Link { prev, next }) = (session.owner, session.class, session.peers);
        let Some(owner) = self.slab.get_mut(number) else {
            return;
        };
        let list = &mut owner.lists[class.index()];
        match sessions.get_mut(prev) {
            Some(session) => session.peers.next = next,
            None => list.first = next,
        }
        match sessions.get_mut(next) {
            Some(session) => session.peers.prev = prev,
            None => list.last = prev,
        }
    }

    /// Moves an owner to the rank of its count.
    fn rank(&mut self, at: u32) {
        let Some(owner) = self.slab.get_mut(at) else {
            return;
        };
        let rank = owner.count.checked_ilog2().unwrap_or(NIL);
        let before = std::mem::replace(&mut owner.rank, rank);
        if before == rank {
            return;
        }
        let Link { prev, next } = std::mem::replace(&mut owner.peers, Link::ALONE);
        if before != NIL {
            match self.slab.get_mut(prev) {
                Some(owner) => owner.peers.next = next,
                None => self.ranks[before as usize] = next,
            }
            if let Some(owner) = self.slab.get_mut(next) {
                owner.peers.prev = prev;
            }
        }
        if rank != NIL {
            let next = std::mem::replace(&mut self.ranks[rank as usize], at);
            if let Some(owner) = self.slab.get_mut(next) {
                owner.peers.prev = at;
            }
            if let Some(owner) = self.slab.get_mut(at) {
                owner.peers.next = next;
            }
        }
    }
}

const fn spread(hash: u32) -> u64 {
    super::key::IndexEntry::spread(hash)
}
