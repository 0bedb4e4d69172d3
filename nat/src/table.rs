//! The table of connections: shards, each behind a lock of its own.
//!
//! ```text
//!               +-- shard 0    sessions, index, mappings, ports, owners        one Mutex
//!   Tables -----+-- shard 1    ...
//!               +-- ...                                  tallies (quotas)      one Mutex
//! ```
//! # Which shard
//! A packet asks one shard, and so does its answer:
//!
//! | flow | shard |
//! |---|---|
//! | an inside port to the world | bits 1 to 4 of the inside port, which the external port shares |
//! | a published port and the world | the peer's address and port, hashed |
//! | an inside port to a published port (hairpin) | bits 1 to 4 of the caller's port |
//! | a published port to a published port | both inside ports, hashed, in either order |
//! | untranslated | both ends, hashed, in either order |
//! | an inside port to a dynamic external port (hairpin) | two: the caller's, then the callee's |
//!
//! A port range must have ports for each shard: [`Tables::MIN_PORTS`] are enough.
//!
//! Where a packet is looked for follows from what is published: a connection to a port that is no
//! longer published, or that was not when it began, is not found any more. It stops, whether or not
//! somebody flushes it, and its packets are judged anew.
//!
//! # Memory
//! Nothing is allocated for connections that are not there. Sessions lie in chunks and never move;
//! the indices double and hold their hashes, so that doubling one of a shard takes a
//! millisecond or two at most. All in all a connection costs at most 256 bytes, which a test adds up.
//!
//! # Time
//! A session whose time is over is as absent for every packet, whether swept or not; it still counts
//! in [`Tables::len`] and to its endpoint's quota until a sweep, or somebody who needs its place,
//! comes by.
//!
//! # Threads
//! Every method may be called from every thread. A shard is held for one packet, or for a few
//! hundred sessions of a listing; nothing holds two locks.

mod admission;
mod claim;
mod entry;
mod events;
mod evict;
mod key;
mod leases;
mod mapping;
mod owners;
mod session;
mod settings;
mod settle;
mod shard;
mod slab;
mod stored;

pub use entry::{Entry, Holder, Party, Phase};
pub use events::{Change, Ending, Event};
pub use leases::{Ledger, Over, Repeated, SessionId};
pub use session::{Hold, Traffic};
pub use settings::{NatSettings, Settings};
pub use stored::{Gap, Imported, Stored};

pub(crate) use admission::Admission;
pub(crate) use claim::{Candidate, hold_of};
pub(crate) use entry::Ends;
pub(crate) use key::{Addr, Key, OURS};
pub(crate) use leases::UNLEASED;
pub(crate) use mapping::pool_of;
pub(crate) use owners::{Endpoint, Tally};
pub(crate) use session::{Class, End, External, Externals, Link, Session, other};
pub(crate) use shard::{SessionLookup, Shard, View};

use crate::ports::SHARD_BITS;
use crate::{Inside, TransportAddr};
use foldhash::fast::FixedState;
use owners::Tallies;
use pipeline::{Effects, Instant};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::IpProtocol;

const SHARDS: usize = 1 << SHARD_BITS;

/// Every connection.
#[derive(Debug)]
pub struct Tables {
    shards: Box<[Apart]>,
    tallies: Tallies,
    state: FixedState,
    /// Whether leases are to be taken back.
    over: Arc<AtomicBool>,
}

/// A shard on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Apart(Mutex<Shard>);

impl Tables {
    /// Connections held unless told otherwise.
    pub const DEFAULT_CAPACITY: u32 = 1 << 20;
    /// Ports that an uplink's range needs so that every connection has some to choose from.
    pub const MIN_PORTS: u32 = 4 << SHARD_BITS;

    /// Empty tables for `capacity` connections. `seed` decides where connections stand and which
    /// ports they get and is a secret: drawn at random by the caller, and told to nobody.
    #[must_use]
    pub fn new(capacity: u32, seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        let over = Arc::default();
        let each = (capacity as usize).div_ceil(SHARDS).max(1);
        let shards = (0..SHARDS)
            .map(|number| {
                let draws = state.hash_one(("ports", number));
                let shard = Shard::new(number, each, state.clone(), draws, &over);
                Apart(Mutex::new(shard))
            })
            .collect();
        Self {
            shards,
            tallies: Tallies::default(),
            state,
            over,
        }
    }

    /// Connections there, those not yet swept included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shard_lens().into_iter().sum()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections of each shard.
    #[must_use]
    pub fn shard_lens(&self) -> Vec<usize> {
        (0..SHARDS).map(|shard| self.lock(shard).len()).collect()
    }

    /// Bytes of memory behind it all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (0..SHARDS).map(|shard| self.lock(shard).bytes()).sum()
    }

    /// Connections that count to the quota of an address.
    #[must_use]
    pub fn held_by(&self, network: pipeline::NetworkId, ip: IpAddr) -> u32 {
        self.tallies.peek(Endpoint {
            network,
            ip: ip.into(),
            v6: ip.is_ipv6(),
        })
    }

    /// Frees what is over among the next `budget` connections of the round, and answers how many
    /// that were. Meant to be called about once a second.
    pub fn expire(&self, settings: &Settings, now: Instant, budget: usize) -> usize {
        let view = View {
            settings,
            now,
            effects: Effects::Live,
        };
        let mut freed = 0;
        for shard in 0..SHARDS {
            // Once around is enough, however few there are.
            let mut left = budget.div_ceil(SHARDS).min(self.lock(shard).sessions.end());
            while left > 0 {
                let mut shard = self.lock(shard);
                let before = shard.len();
                left -= shard.sweep(left.min(STRIDE), &view);
                freed += before - shard.len();
            }
        }
        self.tallies.sweep();
        freed
    }

    /// The connections that are `wanted`, in no order. Those that are over are not among them.
    #[must_use]
    pub fn list(
        &self,
        settings: &Settings,
        now: Instant,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Vec<Entry> {
        let mut found = Vec::new();
        self.walk(|shard, at| {
            if let Some(entry) = shard.listed(at, settings, now)
                && !entry.remaining.is_zero()
                && wanted(&entry)
            {
                found.push(entry);
            }
        });
        found
    }

    /// Forgets the connections that `keep` refuses, and answers how many they were.
    pub fn retain(
        &self,
        settings: &Settings,
        now: Instant,
        mut keep: impl FnMut(&Entry) -> bool,
    ) -> usize {
        let mut gone = 0;
        self.walk(|shard, at| {
            if let Some(entry) = shard.listed(at, settings, now)
                && !keep(&entry)
            {
                shard.remove(at, Ending::Flushed, now);
                gone += 1;
            }
        });
        gone
    }

    /// Forgets the connections between ends that `keep` refuses, and answers how many they were.
    pub(crate) fn retain_ends(&self, now: Instant, mut keep: impl FnMut(&Ends) -> bool) -> usize {
        let mut gone = 0;
        self.walk(|shard, at| {
            if let Some(session) = shard.get(at)
                && !keep(&session.ends(&shard.externals))
            {
                shard.remove(at, Ending::Flushed, now);
                gone += 1;
            }
        });
        gone
    }

    /// Begins to keep events, `limit` at most until they are taken; 0 ends it.
    pub fn watch(&self, limit: usize) {
        for shard in 0..SHARDS {
            self.lock(shard).events.watch(limit.div_ceil(SHARDS));
        }
    }

    /// Adds to `out` what happened since the last time, in the order of time, and answers how many
    /// events were lost in between.
    pub fn events(&self, out: &mut Vec<Event>) -> u64 {
        let from = out.len();
        let lost = (0..SHARDS)
            .map(|shard| self.lock(shard).events.take(out))
            .sum();
        out[from..].sort_by_key(|event| event.at);
        lost
    }

    #[inline]
    pub(crate) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        #[cfg(test)]
        visits::note(shard);
        // A panic while it was held left it whole enough: every index is checked at each use.
        self.shards[shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn of_port(port: u16) -> usize {
        usize::from(port >> 1) & (SHARDS - 1)
    }

    #[inline]
    pub(crate) fn of_peer(&self, protocol: IpProtocol, peer: TransportAddr) -> usize {
        self.of_hash(key::hash_of(&self.state, &(protocol, Addr::from(peer))))
    }

    pub(crate) fn of_pair(&self, protocol: IpProtocol, a: Inside, b: Inside) -> usize {
        let ends = [a, b].map(|end| (end.network, Addr::from(end.addr)));
        let ordered = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        self.of_hash(key::hash_of(&self.state, &(protocol, ordered)))
    }

    /// For what two published ports say to each other. Of either there may be several backends, so the
    /// endpoints do not count.
    pub(crate) fn of_ports(&self, protocol: IpProtocol, a: u16, b: u16) -> usize {
        self.of_hash(key::hash_of(&self.state, &(protocol, a.min(b), a.max(b))))
    }

    /// A number that selects a client's backend: the same each time, evenly spread, and a secret.
    pub(crate) fn draw_for(&self, protocol: IpProtocol, client: Inside) -> u32 {
        let end = (client.network, Addr::from(client.addr));
        key::hash_of(&self.state, &("backend", protocol, end))
    }

    pub(crate) fn tally(&self, endpoint: Endpoint, effects: Effects) -> Tally {
        match effects {
            Effects::Live => self.tallies.get(endpoint),
            Effects::None => Tally::new(self.tallies.peek(endpoint).into()),
        }
    }

    fn of_hash(&self, hash: u32) -> usize {
        (hash >> 8) as usize & (self.shards.len() - 1)
    }

    /// Visits every session, a stride of each shard by turns: a worker that waits for a shard gets
    /// it while the others are visited.
    fn walk(&self, mut visit: impl FnMut(&mut Shard, u32)) {
        let mut from = 0;
        loop {
            let mut is_over = true;
            for number in 0..SHARDS {
                let mut shard = self.lock(number);
                let to = shard.sessions.end().min(from + STRIDE);
                is_over &= to <= from;
                for at in (0u32..).skip(from).take(to.saturating_sub(from)) {
                    visit(&mut shard, at);
                }
            }
            if is_over {
                break;
            }
            from += STRIDE;
        }
    }
}

/// Sessions handled while a shard is held by somebody who is in no hurry: removing as many, each of
/// them cold in every cache, takes less than 100 us.
const STRIDE: usize = 64;

impl Shard {
    fn listed(&mut self, at: u32, settings: &Settings, now: Instant) -> Option<Entry> {
        self.settle(at, now);
        let session = self.get(at)?;
        let timeout = settings.rules(session.holder().network).timeout(session);
        Some(session.entry(&self.externals, timeout, now))
    }
}

/// Which shards were asked, for the tests that prove it is one.
#[cfg(test)]
pub(crate) mod visits {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static VISITED: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(shard: usize) {
        VISITED.with_borrow_mut(|visited| visited.insert(shard));
    }

    /// The shards that this thread asked since the last time.
    pub(crate) fn take() -> BTreeSet<usize> {
        VISITED.take()
    }
}
