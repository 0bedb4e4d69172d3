//! Leases of flows: packets of one connection in one direction, that are routed, translated or asked of rules.
//!
//! The table of connections stays what knows of them. It is told of a lease before that holds, asks what was
//! carried by it whenever it looks at the connection ([`Ledger`]), and says when it is over.
//!
//! The two directions of a TCP connection are lent together and end together: the program judges each by what
//! the other one said. So the first of them waits until the other one is offered.

use super::{Leases, locked, slices, try_locked};
use crate::book::{Basis, Book, Entry, Held};
use crate::kernel::{Lent, Slots};
use crate::share::Counts;
use crate::{Carried, Change, Direction, FlowKey, FlowLease, Out, Said, UNJUDGED, scale};
use nat::tcp::Side;
use nat::{Ledger, Over, Repeatable, Repeated, SessionId, Tables};
use pipeline::Instant;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// A decision about a flow that the kernel may repeat.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// That by which its frames are found.
    pub key: FlowKey,
    /// Where they go.
    pub out: Out,
    /// How they are changed, if they are.
    pub change: Option<Change>,
    /// The stations that this rests on.
    pub basis: Basis,
    /// The connection that it rests on.
    pub decision: Repeatable,
}

/// Notes beside a lease.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) decision: Repeatable,
    /// The slot of the other direction, with which it ends.
    pub(super) twin: Option<u32>,
    /// Whether the table of connections knows of it.
    pub(super) is_noted: bool,
}

pub(super) type FlowBook = Book<FlowLease, Note>;

#[derive(Debug)]
pub(super) struct Flows {
    book: Mutex<FlowBook>,
    /// Directions that wait for the other one.
    waiting: Mutex<HashMap<SessionId, Flow>>,
    taken: Box<[Taken]>,
    /// Nanoseconds that the dataplane's clock is ahead of the kernel's.
    ahead: AtomicI64,
}

/// The part of a slot's counters that its connection has by now.
#[derive(Debug, Default)]
struct Taken {
    frames: AtomicU64,
    bytes: AtomicU64,
}

/// Directions that wait at once. More begin to wait anew.
const WAITING: usize = 4096;

impl Flows {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            book: Mutex::new(Book::new(slots)),
            waiting: Mutex::default(),
            taken: (0..slots).map(|_| Taken::default()).collect(),
            ahead: AtomicI64::new(0),
        }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, FlowBook> {
        locked(&self.book)
    }

    pub(super) fn take_ended(&self) -> Vec<u32> {
        self.books().take_ended()
    }

    /// The dataplane's time of a moment on the kernel's clock.
    pub(super) fn time(&self, kernel: u64) -> Instant {
        let ahead = self.ahead.load(Relaxed);
        Instant::from_nanos(kernel.saturating_add_signed(ahead))
    }

    /// Notes what the connection has by itself of what its initiator sends: a packet of so many bytes.
    pub(super) fn took(&self, slot: u32, bytes: u32) {
        let taken = &self.taken[slot as usize];
        taken.frames.store(1, Relaxed);
        taken.bytes.store(bytes.into(), Relaxed);
    }

    /// Both directions now that one is offered; `None` while the other one is not known.
    fn pair(&self, offered: Flow, generation: u32) -> Option<[Flow; 2]> {
        let mut waiting = locked(&self.waiting);
        let session = offered.decision.session;
        match waiting.remove(&session) {
            Some(other)
                if other.decision.side != offered.decision.side
                    && other.key.generation == generation =>
            {
                Some([other, offered])
            }
            Some(_) | None => {
                if waiting.len() >= WAITING {
                    waiting.clear();
                }
                waiting.insert(session, offered);
                None
            }
        }
    }
}

impl Leases {
    /// Says by how many nanoseconds the dataplane's clock is ahead of the kernel's.
    pub fn set_clock(&self, ahead: i64) {
        self.flows.ahead.store(ahead, Relaxed);
    }

    /// Lends a flow, unless it is out already, both its ports are not open, its connection is over or not worth it,
    /// or `holds` says no; see [`Leases::lend`]. A direction of TCP waits for the other one, and so does one of
    /// which a grant can be made.
    pub fn lend_flow(
        &self,
        offered: &Flow,
        tables: &Tables,
        now: Instant,
        holds: impl Fn(&Basis) -> bool,
    ) -> bool {
        let Some(mut book) = try_locked(&self.flows.book) else {
            return false;
        };
        if offered.key.generation != self.generation() || !holds(&offered.basis) {
            return false;
        }
        if let Some(slot) = book.find(&offered.key) {
            if book.out(slot).is_some_and(|it| offered.is_lent_by(it)) {
                return false;
            }
            self.end_pair(&mut book, slot);
        }
        let is_granting = self.may_grant(&offered.key, &offered.decision);
        let is_judged = offered.is_judged();
        let pair = (is_granting || is_judged)
            .then(|| self.flows.pair(*offered, self.generation()))
            .flatten()
            .filter(|pair| pair.iter().all(|flow| holds(&flow.basis)));
        let is_lent = self.is_worth(offered.decision.packets)
            && match &pair {
                Some(pair) if is_judged => self.lend_together(&mut book, pair, tables, now),
                None if is_judged => false,
                Some(_) | None => self.lend_together(&mut book, &[*offered], tables, now),
            };
        drop(book);
        if let (Some([one, other]), true) = (&pair, is_granting) {
            self.grant([one, other]);
        }
        is_lent
    }

    /// Lends one direction, or both of a connection: all or none.
    fn lend_together(
        &self,
        book: &mut FlowBook,
        flows: &[Flow],
        tables: &Tables,
        now: Instant,
    ) -> bool {
        let counts: Option<Vec<_>> = flows.iter().map(|it| self.counts(&it.basis)).collect();
        let Some(counts) = counts else {
            return false;
        };
        let slots: Vec<_> = (0..flows.len()).map_while(|_| book.take_free()).collect();
        let begun = if slots.len() == flows.len() {
            begin(flows, &slots, tables, now)
        } else {
            None
        };
        let Some(begun) = begun else {
            slots.into_iter().for_each(|slot| book.give_back(slot));
            return false;
        };
        let all = begun.into_iter().zip(counts).zip(&slots).zip(flows);
        for (((begun, counts), &slot), flow) in all {
            let twin = slots.iter().copied().find(|it| *it != slot);
            book.put(&*self.kernel, slot, flow.entry(begun, twin, counts));
        }
        let is_led = slots.iter().all(|&slot| book.lead(&*self.kernel, slot));
        if !is_led {
            self.end_pair(book, slots[0]);
        }
        is_led
    }

    /// Takes back the leases that the table of connections has done with. A thread that carries frames is to ask
    /// [`Tables::has_over`] before.
    pub fn take_back(&self, tables: &Tables) {
        let mut over = Vec::new();
        tables.take_over(&mut over);
        if over.is_empty() {
            return;
        }
        let mut book = self.flows.books();
        for over in over {
            // The slot may be another connection's by now.
            if book.out(over.slot).is_some_and(|it| it.note.is_of(&over)) {
                self.end_pair(&mut book, over.slot);
            }
        }
    }

    /// Looks at every lease of a flow once, as [`Leases::sweep`] does, and lets the table of connections know
    /// what those carried that were used. `holds` is told the decision, too.
    pub fn sweep_flows(
        &self,
        tables: &Tables,
        now: Instant,
        mut holds: impl FnMut(&Held<FlowLease>, &Repeatable, bool) -> bool,
    ) {
        self.settle_finished(tables, now);
        let generation = self.generation();
        locked(&self.flows.waiting).retain(|_, flow| flow.key.generation == generation);
        let slots = self.flows.books().len();
        for slots in slices(slots) {
            let mut book = self.flows.books();
            let over = book.look(&*self.kernel, slots, generation, |held, note, is_used| {
                if is_used {
                    tables.settle(note.decision.session, now);
                }
                holds(held, &note.decision, is_used)
            });
            for slot in over {
                self.end_pair(&mut book, slot);
            }
        }
        self.take_back(tables);
    }

    /// Lets the table know of connections one side of which has finished.
    pub fn settle_finished(&self, tables: &Tables, now: Instant) {
        let mut finished = Vec::new();
        self.kernel.finished(&mut finished);
        let book = self.flows.books();
        for slot in finished {
            if let Some(entry) = book.out(slot) {
                tables.settle(entry.note.decision.session, now);
            }
        }
    }

    /// Returns all leases of flows that are out.
    #[must_use]
    pub fn list_flows(&self) -> Vec<Held<FlowLease>> {
        self.flows.books().list(&*self.kernel, self.generation())
    }

    /// Returns what was carried by the lease of a flow's key, if it is out.
    #[must_use]
    pub fn carried_flow(&self, key: &FlowKey) -> Option<Carried> {
        let is_current = key.generation == self.generation();
        let book = is_current.then(|| self.flows.books())?;
        book.carried(&*self.kernel, key)
    }

    pub(super) fn end_flows(&self, which: impl FnOnce(&FlowBook) -> Vec<u32>) {
        let mut book = self.flows.books();
        for slot in which(&book) {
            self.end_pair(&mut book, slot);
        }
    }

    pub(super) fn end_pair(&self, book: &mut FlowBook, slot: u32) {
        let twin = book.out(slot).and_then(|it| it.note.twin);
        for slot in [Some(slot), twin].into_iter().flatten() {
            book.end(&*self.kernel, slot);
        }
    }

    /// Frees slots by which nothing is carried any more.
    pub(super) fn free_flows(&self, slots: &[u32], tables: &Tables, now: Instant) {
        let mut book = self.flows.books();
        for &slot in slots {
            if let Some(Entry { note, .. }) = book.ended(slot) {
                let Repeatable { session, side, .. } = note.decision;
                if note.is_noted {
                    tables.release(session, side, now);
                } else {
                    tables.passed(session, side, &self.take(slot));
                }
            }
            let taken = &self.flows.taken[slot as usize];
            taken.frames.store(0, Relaxed);
            taken.bytes.store(0, Relaxed);
            book.free(&*self.kernel, slot);
        }
    }
}

impl Ledger for Leases {
    fn take(&self, slot: u32) -> Repeated {
        let Carried {
            frames,
            bytes,
            last,
        } = Slots::<FlowLease>::carried(&*self.kernel, slot);
        let Some(taken) = self.flows.taken.get(slot as usize) else {
            return Repeated::default();
        };
        // One asks at a time: the table has the connection locked.
        let packets = frames - taken.frames.swap(frames, Relaxed);
        Repeated {
            packets,
            bytes: bytes - taken.bytes.swap(bytes, Relaxed),
            last: self.flows.time(last),
            said: self.kernel.said(slot).and_then(said_by),
        }
    }

    fn say(&self, slot: u32, said: nat::tcp::Said) {
        self.kernel.say(slot, shared(said));
    }
}

/// Figures as the table has them; `None` of a side that was not heard.
fn said_by((said, marks): (Said, u32)) -> Option<nat::tcp::Said> {
    let is = |mark| marks & mark != 0;
    let bits = u8::try_from(marks & scale::BITS).ok()?;
    (!is(scale::UNHEARD)).then_some(nat::tcp::Said {
        end: said.end,
        ack: said.ack,
        window: said.window,
        finished: said.finished != 0,
        scale: is(scale::OFFERED).then_some(bits),
        acks: !is(scale::UNACKED),
    })
}

/// Figures as the program has them.
fn shared(said: nat::tcp::Said) -> Said {
    Said {
        end: said.end,
        ack: said.ack,
        window: said.window,
        finished: said.finished.into(),
    }
}

/// Notes the leases in the table of connections, and says how each begins: all or none.
fn begin(flows: &[Flow], slots: &[u32], tables: &Tables, now: Instant) -> Option<Vec<Direction>> {
    let mut begun = Vec::with_capacity(flows.len());
    for (flow, &slot) in flows.iter().zip(slots) {
        let Repeatable { session, side, .. } = flow.decision;
        let Some(said) = tables.lease(session, side, slot) else {
            for flow in &flows[..begun.len()] {
                let Repeatable { session, side, .. } = flow.decision;
                tables.release(session, side, now);
            }
            return None;
        };
        let twin = slots.iter().copied().find(|it| *it != slot);
        begun.push(flow.direction(said, twin));
    }
    Some(begun)
}

impl Flow {
    /// Whether its packets are judged by what the other side said.
    fn is_judged(&self) -> bool {
        let direction = self.decision.direction;
        direction.is_some_and(|direction| !direction.liberal)
    }

    fn direction(&self, said: Option<nat::tcp::Said>, twin: Option<u32>) -> Direction {
        match (said, self.decision.direction) {
            (Some(said), Some(direction)) => Direction {
                twin: twin.unwrap_or(UNJUDGED),
                scale: direction.scale.into(),
                said: shared(said),
            },
            (None, _) | (_, None) => Direction::NONE,
        }
    }

    fn lease(&self, begun: Direction) -> FlowLease {
        FlowLease::new(self.key, self.out, self.change, begun)
    }

    fn entry(&self, begun: Direction, twin: Option<u32>, counts: Counts) -> Entry<FlowLease, Note> {
        let note = Note {
            decision: self.decision,
            twin,
            is_noted: true,
        };
        Entry::new(self.lease(begun), self.basis, note, counts)
    }

    fn is_lent_by(&self, entry: &Entry<FlowLease, Note>) -> bool {
        self.lease(Direction::NONE).is_same_way(&entry.lease)
            && self.basis == entry.basis
            && self.decision.session == entry.note.decision.session
            && self.decision.next_hop == entry.note.decision.next_hop
    }
}

impl Note {
    fn is_of(&self, over: &Over) -> bool {
        let Repeatable { session, side, .. } = self.decision;
        let of: (SessionId, Side) = (over.session, over.side);
        (session, side) == of
    }
}
