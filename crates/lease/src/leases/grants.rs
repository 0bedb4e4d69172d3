//! Grants, and the flows that the kernel has begun by them.
//!
//! A grant is made of both directions of a connection that userspace has carried, once a second one like it was
//! seen. What is begun by it is told, and is decided here once more: as if its first packet had come to userspace,
//! which by then knows as much of it as of any other connection. An answer that differs takes both leases back.

use super::flows::{FlowBook, Note};
use super::{Leases, locked};
use crate::book::{Basis, Book, Entry, Held};
use crate::flow::End;
use crate::kernel::{Lent, Slots};
use crate::share::Counts;
use crate::{Begun, Direction, Flow, FlowKey, FlowLease, Grant, UNJUDGED};
use nat::tcp::Side;
use nat::{Ledger, Repeatable, SessionId, Tables};
use pipeline::{Instant, PortId};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The decisions about both directions, the initiator's first.
type Decisions = [Repeatable; 2];

#[derive(Debug)]
pub(super) struct Grants {
    granted: Mutex<Granted>,
    /// Held by whoever takes in what was begun, so that it is taken in by its order.
    taking: Mutex<()>,
    /// Whether somebody does.
    is_taken_in: AtomicBool,
    /// Sessions after which their like is granted.
    after: u32,
    vetoed: AtomicU64,
}

#[derive(Debug)]
struct Granted {
    book: Book<Grant, Decisions>,
    /// The keys of both directions of what is granted, with port 0 for the initiator's.
    patterns: HashSet<FlowKey>,
    seen: HashMap<FlowKey, Seen>,
}

/// Sessions that were alike.
#[derive(Debug)]
struct Seen {
    last: SessionId,
    sessions: u32,
}

/// Kinds of sessions that are counted at once. More are counted anew.
const KINDS: usize = 4096;

impl Grants {
    /// Sessions of a kind after which it is granted: most are alone of their kind.
    pub(super) const AFTER: u32 = 2;

    pub(super) fn new(room: u32, after: u32) -> Self {
        Self {
            granted: Mutex::new(Granted {
                book: Book::new(room),
                patterns: HashSet::new(),
                seen: HashMap::new(),
            }),
            taking: Mutex::default(),
            is_taken_in: AtomicBool::new(false),
            after,
            vetoed: AtomicU64::new(0),
        }
    }
}

/// How a begun flow is decided by userspace: its lease as it would be lent, and whether the one that the kernel made can
/// be its connection's; `None` where nothing would be lent.
pub type Decided = Option<(Flow, bool)>;

impl Leases {
    /// Returns whether a flow may tell of something to be granted.
    #[must_use]
    pub fn may_grant(&self, key: &FlowKey, decision: &Repeatable) -> bool {
        let is_liberal = decision.direction.is_some_and(|it| it.liberal);
        if !decision.alike || is_liberal || key.vlan != 0 || self.room.grants == 0 {
            return false;
        }
        !locked(&self.grants.granted)
            .patterns
            .contains(&pattern(key, decision.side))
    }

    /// Grants what is like a connection whose directions these are, if it is the time.
    pub(super) fn grant(&self, both: [&Flow; 2]) {
        let [asks, answers] = match both[0].decision.side {
            Side::Initiator => both,
            Side::Responder => [both[1], both[0]],
        };
        // The answers come from where the questions go to: both were not seen at the same moment.
        if answers.basis != asks.basis.reversed() {
            return;
        }
        let mut granted = locked(&self.grants.granted);
        let grant = Grant::new(
            [asks, answers].map(lease_of),
            largest_segment(asks, answers),
        );
        if !granted.is_time(&grant.key, asks.decision.session, self.grants.after) {
            return;
        }
        if let Some(slot) = granted.book.find(&grant.key) {
            granted.end(&*self.kernel, slot);
        }
        let Some(slot) = granted.book.take_free() else {
            return;
        };
        // What flows carry is counted by their own leases.
        let entry = Entry::new(
            grant,
            asks.basis,
            [asks, answers].map(|it| it.decision),
            Counts::default(),
        );
        granted.book.put(&*self.kernel, slot, entry);
        let both = grant.flows.map(|flow| flow.key);
        granted.patterns.extend(both);
        if !granted.book.lead(&*self.kernel, slot) {
            granted.end(&*self.kernel, slot);
        }
        drop(granted);
        self.set_aside(&mut self.flows.books());
    }

    /// Returns whether the kernel has begun flows of which nothing is known here. A packet that comes to userspace
    /// may be of one, so it is to be asked before each batch.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        // In this order: what is not there any more is being taken in, or was.
        self.room.grants > 0 && (self.kernel.has_begun() || self.grants.is_taken_in.load(Relaxed))
    }

    /// Returns whether many slots wait to be [settled](Leases::settle): more flows end than a second has room for.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.flows.books().has_many_ended()
    }

    /// Takes in the flows that the kernel has begun. `decide` is asked of each, in their order: of the packet that
    /// began it, the port that it came from, and when.
    pub fn take_begun(
        &self,
        tables: &Tables,
        now: Instant,
        mut decide: impl FnMut(PortId, Instant, &Begun) -> Decided,
    ) {
        let _taking = locked(&self.grants.taking);
        self.grants.is_taken_in.store(true, Relaxed);
        let mut all = Vec::new();
        self.kernel.begun(&mut all);
        for begun in &all {
            let granted = locked(&self.grants.granted).granted(begun.grant);
            let decided = match &granted {
                Some((basis, _)) if begun.length > 0 => {
                    decide(basis.sender.port, self.flows.time(begun.at), begun)
                }
                Some(_) | None => None,
            };
            let mut book = self.flows.books();
            match granted {
                Some(by) if begun.length > 0 => {
                    self.take_in(&mut book, begun, by, decided, (tables, now));
                }
                Some(_) | None => {
                    for slot in begun.slots {
                        book.retire(&*self.kernel, slot);
                    }
                }
            }
        }
        if !all.is_empty() {
            self.set_aside(&mut self.flows.books());
        }
        self.grants.is_taken_in.store(false, Relaxed);
    }

    /// Returns how many flows that the kernel had begun were taken back from it.
    #[must_use]
    pub fn vetoed(&self) -> u64 {
        self.grants.vetoed.load(Relaxed)
    }

    /// Takes in one flow. It ends again if it was decided otherwise here.
    fn take_in(
        &self,
        book: &mut FlowBook,
        begun: &Begun,
        (basis, decisions): (Basis, Decisions),
        decided: Decided,
        (tables, now): (&Tables, Instant),
    ) {
        let leases = begun
            .slots
            .map(|slot| Slots::<FlowLease>::read(&*self.kernel, slot));
        let same = |flow: &Flow| {
            flow.key == leases[0].key
                && lease_of(flow).is_same_way(&leases[0])
                && flow.basis == basis
        };
        let decided = decided.filter(|(flow, _)| same(flow));
        // The session has its first packet by now.
        self.flows.took(begun.slots[0], begun.length);
        // Datagrams may be of a session that the other end began.
        let (session, sides) = decided.map_or((SessionId::NONE, BOTH), |(flow, _)| {
            let Repeatable { session, side, .. } = flow.decision;
            let sides = if side == BOTH[0] {
                BOTH
            } else {
                [BOTH[1], BOTH[0]]
            };
            (session, sides)
        });
        let both = [0, 1].map(|index| (sides[index], begun.slots[index]));
        let is_noted = decided.is_some_and(|(_, fits)| fits) && note(session, both, tables, now);
        for (index, basis) in [basis, basis.reversed()].into_iter().enumerate() {
            let (slot, lease) = (begun.slots[index], leases[index]);
            // Somebody else's for the same frames would be found no more.
            if let Some(other) = book.find(&lease.key) {
                self.end_pair(book, other);
            }
            let note = Note {
                decision: Repeatable {
                    session,
                    side: sides[index],
                    ..decisions[index]
                },
                twin: Some(begun.slots[1 - index]),
                is_noted,
            };
            let counts = self.counts(&basis).unwrap_or_default();
            book.enter(slot, Entry::new(lease, basis, note, counts));
        }
        if !is_noted || leases[0].generation() != self.generation() {
            self.end_pair(book, begun.slots[0]);
        }
        if !is_noted {
            self.grants.vetoed.fetch_add(1, Relaxed);
            // What is still on its way is counted when the slots are freed.
            for (side, slot) in both {
                tables.passed(session, side, &self.take(slot));
            }
        }
    }

    /// Sets slots aside for flows to come.
    fn set_aside(&self, book: &mut FlowBook) {
        self.kernel.set_aside(&mut || {
            if book.is_scarce() {
                return None;
            }
            Some([book.take_free()?, book.take_free()?])
        });
    }

    /// Takes back all grants.
    pub fn end_grants(&self) {
        self.end_grants_of(|_| true);
    }

    /// Takes back grants that `which` finds.
    pub(super) fn end_grants_of(&self, which: impl Fn(&Basis) -> bool) {
        locked(&self.grants.granted).end_all(&*self.kernel, which);
    }

    /// Looks at every grant once: ends it if it is of another generation, or if `holds` says no to either
    /// direction. The half of the room that was used last stays.
    pub fn sweep_grants(&self, mut holds: impl FnMut(&Basis, &Repeatable) -> bool) {
        let mut granted = locked(&self.grants.granted);
        let (slots, crowded) = (granted.book.len(), granted.book.is_crowded());
        let generation = self.generation();
        let over = granted.book.look(
            &*self.kernel,
            0..slots,
            generation,
            |held, decisions, is_used| {
                (is_used || !crowded) && decisions.iter().all(|it| holds(&held.basis, it))
            },
        );
        for slot in over {
            granted.end(&*self.kernel, slot);
        }
    }

    pub(super) fn take_ended_grants(&self) -> Vec<u32> {
        locked(&self.grants.granted).book.take_ended()
    }

    /// Frees the slots of grants by which nothing is begun any more; later, where something was that is not taken
    /// in yet.
    pub(super) fn free_grants(&self, slots: &[u32]) {
        let is_told = !self.has_begun();
        let mut granted = locked(&self.grants.granted);
        for &slot in slots {
            if is_told {
                granted.book.free(&*self.kernel, slot);
            } else {
                granted.book.retire(&*self.kernel, slot);
            }
        }
    }

    /// Returns all grants that are out; their frames are flows that were begun.
    #[must_use]
    pub fn list_grants(&self) -> Vec<Held<Grant>> {
        locked(&self.grants.granted)
            .book
            .list(&*self.kernel, self.generation())
    }
}

impl Granted {
    /// Counts a session, and returns whether enough were alike.
    fn is_time(&mut self, key: &FlowKey, session: SessionId, after: u32) -> bool {
        if self.seen.len() >= KINDS {
            self.seen.clear();
        }
        let seen = self.seen.entry(*key).or_insert(Seen {
            last: SessionId::NONE,
            sessions: 0,
        });
        if seen.last != session {
            seen.last = session;
            seen.sessions += 1;
        }
        let is_time = seen.sessions >= after;
        if is_time {
            self.seen.remove(key);
        }
        is_time
    }

    /// The basis of the grant in a slot, also of one that has ended since.
    fn granted(&self, slot: u32) -> Option<(Basis, Decisions)> {
        let entry = self.book.out(slot).or_else(|| self.book.ended(slot))?;
        Some((entry.basis, entry.note))
    }

    fn end(&mut self, kernel: &dyn Slots<Grant>, slot: u32) {
        if let Some(entry) = self.book.out(slot) {
            for flow in entry.lease.flows {
                self.patterns.remove(&flow.key);
            }
        }
        self.book.end(kernel, slot);
    }

    fn end_all(&mut self, kernel: &dyn Slots<Grant>, which: impl Fn(&Basis) -> bool) {
        let over = self.book.all_out().filter(|(_, entry)| which(&entry.basis));
        let over: Vec<_> = over.map(|(slot, _)| slot).collect();
        for slot in over {
            self.end(kernel, slot);
        }
    }
}

/// The key of a direction with port 0 for the initiator's.
fn pattern(key: &FlowKey, side: Side) -> FlowKey {
    key.without_port(match side {
        Side::Initiator => End::Source,
        Side::Responder => End::Destination,
    })
}

/// The lease of a direction of which nothing was said.
fn lease_of(flow: &Flow) -> FlowLease {
    let twin = match flow.decision.direction {
        Some(_) => 0,
        None => UNJUDGED,
    };
    let direction = Direction {
        twin,
        ..Direction::NONE
    };
    FlowLease::new(flow.key, flow.out, flow.change, direction)
}

/// The largest segment that a SYN may offer without being lowered: it fits both links.
fn largest_segment(asks: &Flow, answers: &Flow) -> u16 {
    let headers = if asks.key.ethertype == [0x08, 0x00] {
        40
    } else {
        60
    };
    let smaller = asks.out.mtu.min(answers.out.mtu);
    u16::try_from(smaller.saturating_sub(headers)).unwrap_or(u16::MAX)
}

const BOTH: [Side; 2] = [Side::Initiator, Side::Responder];

/// Notes both leases in the table of connections: both or none.
fn note(session: SessionId, both: [(Side, u32); 2], tables: &Tables, now: Instant) -> bool {
    let [(one, slot), (other, its)] = both;
    if tables.lease(session, one, slot).is_none() {
        return false;
    }
    let is_noted = tables.lease(session, other, its).is_some();
    if !is_noted {
        tables.release(session, one, now);
    }
    is_noted
}
