//! One shard: sessions, and what finds them.
//!
//! Whoever has a shard has it alone. An expired session is as absent: [`Shard::see`] says
//! [`SessionLookup::Stale`] whether or not a sweep came by, and the new session takes its place.

use super::events::{Change, Ending, Events};
use super::key::{IndexEntry, Key};
use super::leases::{Leases, Repeated};
use super::mapping::Mappings;
use super::owners::{Endpoint, Owners, Tally};
use super::session::{Class, Externals, Hold, Session, other};
use super::settings::{Rules, Settings};
use super::slab::Slab;
use crate::flow::{Flow, Segment};
use crate::tcp::Side;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use pipeline::{DropReason, Effects, Instant};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Sessions of one shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) number: usize,
    pub(super) capacity: usize,
    pub(super) sessions: Slab<Session>,
    index: HashTable<IndexEntry>,
    pub(super) mappings: Mappings,
    pub(crate) externals: Externals,
    pub(super) owners: Owners,
    pub(super) events: Events,
    pub(super) leases: Leases,
    /// Where the next sweep begins.
    hand: u32,
    draws: u64,
    pub(super) state: FixedState,
}

/// The settings and the time that a packet is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: Instant,
    pub(crate) effects: Effects,
}

/// The session that a packet's key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionLookup {
    /// The session, and the side that sent the packet.
    Live(u32, Side),
    /// A session whose time is over, or that the packet begins anew.
    Stale(u32),
    /// Nothing.
    Absent,
}

impl View<'_> {
    pub(crate) fn is_live(&self) -> bool {
        self.effects == Effects::Live
    }

    #[inline]
    pub(crate) fn rules(&self, session: &Session) -> &Rules {
        self.settings.rules(session.holder().network)
    }

    #[inline]
    pub(crate) fn is_over(&self, session: &Session) -> bool {
        self.now.as_nanos().saturating_sub(session.last) >= self.rules(session).timeout(session)
    }
}

impl Shard {
    pub(crate) fn new(
        number: usize,
        capacity: usize,
        state: FixedState,
        draws: u64,
        over: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            number,
            capacity,
            sessions: Slab::new(),
            index: HashTable::new(),
            mappings: Mappings::new(state.clone()),
            externals: Externals::default(),
            owners: Owners::new(state.clone()),
            events: Events::default(),
            leases: Leases::new(Arc::clone(over)),
            hand: 0,
            draws,
            state,
        }
    }

    /// The session of `key` to a packet that says `segment` of itself.
    #[inline]
    pub(crate) fn see(&mut self, key: &Key, segment: &Segment, view: &View<'_>) -> SessionLookup {
        let Some((at, side)) = self.find(key) else {
            return SessionLookup::Absent;
        };
        self.settle(at, view.now);
        let Some(session) = self.sessions.get(at) else {
            return SessionLookup::Absent;
        };
        let over = view.is_over(session)
            || match (segment, &session.tracker) {
                (Segment::Tcp(segment), Some(tracker)) => tracker.reopens(segment),
                (Segment::Tcp(_) | Segment::Other, _) => false,
            };
        if over {
            SessionLookup::Stale(at)
        } else {
            SessionLookup::Live(at, side)
        }
    }

    /// The session of `key`, over or not.
    #[inline]
    pub(crate) fn find(&self, key: &Key) -> Option<(u32, Side)> {
        let hash = key.hash(&self.state);
        let side_of = |at| self.sessions.get(at)?.side_of(key, &self.externals);
        let place = self.index.find(IndexEntry::spread(hash), |place| {
            place.hash == hash && side_of(place.at).is_some()
        })?;
        Some((place.at, side_of(place.at)?))
    }

    /// Returns whether no session has this key, but one that is over or whose place (`stale`) is taken.
    pub(crate) fn is_free(&self, key: &Key, stale: Option<u32>, view: &View<'_>) -> bool {
        self.find(key).is_none_or(|(at, _)| {
            stale == Some(at) || self.get(at).is_none_or(|session| view.is_over(session))
        })
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&Session> {
        self.sessions.get(at)
    }

    /// A packet of a session passes, from `side`.
    #[inline]
    pub(crate) fn pass(
        &mut self,
        at: u32,
        side: Side,
        flow: &Flow,
        view: &View<'_>,
    ) -> Result<(), DropReason> {
        let Some(session) = self.sessions.get_mut(at) else {
            return Ok(());
        };
        let mut tracker = session.tracker;
        if let (Some(tracker), Segment::Tcp(segment)) = (&mut tracker, &flow.segment) {
            let liberal = view.rules(session).behaviour.tcp_liberal;
            tracker.advance(side, segment, liberal)?;
        }
        if !view.is_live() {
            return Ok(());
        }
        session.tracker = tracker;
        session.answered |= side == Side::Responder;
        session.count(side, flow.len);
        if session.refreshed_by(side) {
            session.last = session.last.max(view.now.as_nanos());
        }
        let class = session.state();
        let (is_other, is_leased) = (class != session.class, session.is_leased());
        if is_leased {
            if side == Side::Responder && flow.opens() {
                // Its leases began without this answer, and would wait for it.
                self.give_leases_back(at);
            } else {
                self.say(at, side);
            }
        }
        if is_other {
            self.reclass(at, class, view.now);
        }
        Ok(())
    }

    /// Adds a session; its owner is set here. What stands in its place goes.
    pub(crate) fn insert(
        &mut self,
        mut session: Session,
        (endpoint, tally): (Endpoint, Tally),
        now: Instant,
    ) -> u32 {
        for side in session.sides() {
            while let Some((stale, _)) = self.find(&session.key(side, &self.externals)) {
                self.remove(stale, Ending::Replaced, now);
            }
        }
        session.serial = self.leases.next_serial();
        session.owner = match self.owners.find(endpoint) {
            Some(owner) => owner,
            None => self.owners.add(endpoint, tally),
        };
        let at = self.sessions.insert(session);
        for side in session.sides() {
            let hash = session.key(side, &self.externals).hash(&self.state);
            self.index
                .insert_unique(IndexEntry::spread(hash), IndexEntry { hash, at }, |place| {
                    IndexEntry::spread(place.hash)
                });
        }
        self.mappings.hold(&mut self.sessions, &self.externals, at);
        self.owners.link(&mut self.sessions, at);
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.tell(at, Change::Opened, now);
        at
    }

    /// Takes a session out of everything.
    pub(crate) fn remove(&mut self, at: u32, ending: Ending, now: Instant) {
        self.settle(at, now);
        let Some(&session) = self.sessions.get(at) else {
            return;
        };
        self.tell(at, Change::Ended(ending), now);
        self.give_leases_back(at);
        for side in session.sides() {
            let hash = session.key(side, &self.externals).hash(&self.state);
            let found = self
                .index
                .find_entry(IndexEntry::spread(hash), |place| place.at == at);
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        self.mappings
            .release(&mut self.sessions, &self.externals, at);
        self.owners.unlink(&mut self.sessions, at);
        self.sessions.remove(at);
    }

    /// Removes what is over among the next `budget` sessions of the round. Answers how many were
    /// looked at.
    pub(crate) fn sweep(&mut self, budget: usize, view: &View<'_>) -> usize {
        let end = self.sessions.end();
        let steps = budget.min(end);
        for _ in 0..steps {
            if self.hand as usize >= end {
                self.hand = 0;
            }
            self.settle(self.hand, view.now);
            let over = self
                .sessions
                .get(self.hand)
                .is_some_and(|session| view.is_over(session));
            if over {
                self.remove(self.hand, Ending::Expired, view.now);
            }
            self.hand += 1;
        }
        steps
    }

    /// Number that nobody outside can guess; the same until a session is added.
    pub(super) fn draw(&self) -> u32 {
        let mixed = (self.draws ^ self.draws >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(mixed >> 32).unwrap_or(0)
    }

    /// The tally of an endpoint that holds something here.
    pub(crate) fn tally(&self, endpoint: Endpoint) -> Option<Tally> {
        let owner = self.owners.get(self.owners.find(endpoint)?)?;
        Some(owner.tally.clone())
    }

    /// Sessions there, those that are over and not swept included.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes of memory behind it.
    pub(crate) fn bytes(&self) -> usize {
        self.sessions.bytes()
            + self.index.allocation_size()
            + self.mappings.bytes()
            + self.owners.bytes()
    }

    #[inline]
    fn tell(&mut self, at: u32, change: Change, now: Instant) {
        // Nobody's settings are at hand; what is over has no time left.
        let entry = || Some(self.sessions.get(at)?.entry(&self.externals, 0, now));
        self.events.tell(now, change, entry);
    }

    pub(super) fn reclass(&mut self, at: u32, class: Class, now: Instant) {
        self.owners.reclass(&mut self.sessions, at, class);
        match class {
            Class::Opening => {}
            Class::Established => self.tell(at, Change::Established, now),
            Class::Closing => {
                self.tell(at, Change::Closed, now);
                self.give_leases_back(at);
            }
        }
    }
}

impl Session {
    fn count(&mut self, side: Side, len: usize) {
        let traffic = &mut self.traffic[super::session::index(side)];
        traffic.packets += 1;
        traffic.bytes += len as u64;
    }

    /// Packets from `side` passed by a lease.
    pub(super) fn pass_elsewhere(&mut self, side: Side, repeated: &Repeated) {
        self.answered |= side == Side::Responder;
        let traffic = &mut self.traffic[super::session::index(side)];
        traffic.packets += repeated.packets;
        traffic.bytes += repeated.bytes;
        if self.refreshed_by(side) {
            self.last = self.last.max(repeated.last.as_nanos());
        }
    }

    /// Returns whether a packet from `side` prolongs it. What the inside sends always does (RFC 4787
    /// REQ-6); what comes from outside only where the inside began, or has answered: nobody
    /// outside keeps an external port alive that the inside has given up.
    fn refreshed_by(&self, side: Side) -> bool {
        side == self.held_by || self.is_wanted()
    }

    /// Returns whether the inside began it, has answered, or publishes its port.
    pub(super) fn is_wanted(&self) -> bool {
        self.held_by == Side::Initiator || self.answered || self.hold == Hold::Nothing
    }

    /// The sides whose packets have an index entry of their own.
    fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        let first = Side::Initiator;
        std::iter::once(first).chain(self.is_translated().then_some(other(first)))
    }
}
