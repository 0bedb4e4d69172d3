//! Who holds what, and in which order it should go.
//!
//! ```text
//!   books:  port 3 -> learned: [oldest] <-> [ ] <-> [ ] <-> [newest]     heap: (4, port 3)
//!                     static:  [ ] <-> [ ]                                     (1, port 9) ...
//!           port 9 -> learned: [ ]
//! ```
//! The lists run through one array with a node per place of the table, so linking and unlinking
//! allocate nothing. The heap keeps the port with most learned entries on top; a count changes by
//! one at a time, so a step up or down is the usual cost, and O(log ports) the most.
//!
//! A refresh takes no lock and so leaves its entry where it is in the list. Only when an entry is
//! about to be evicted does it show: one that was heard from since it was queued is *passed over*
//! (queued again at the end), up to [`CHANCES`] of them at a time. This is the second-chance
//! approximation of "stalest first", with bounded work.
//!
//! Not thread-safe: it lives in a mutex.

use super::table::{Place, Second};
use super::{FdbStats, Kind};
use pipeline::PortId;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How many refreshed entries are passed over before one is evicted nevertheless.
pub(super) const CHANCES: usize = 8;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    /// When the entry was last heard from as it was queued.
    queued: Second,
}

#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    learned: Queue,
    pinned: Queue,
    /// Where the port is in the heap.
    rank: usize,
}

impl Book {
    fn queue(&mut self, kind: Kind) -> &mut Queue {
        match kind {
            Kind::Learned => &mut self.learned,
            Kind::Static => &mut self.pinned,
        }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    nodes: Box<[Node]>,
    books: BTreeMap<PortId, Book>,
    /// Every port with a book and its number of learned entries, largest first (a binary heap).
    heap: Vec<(u32, PortId)>,
    len: usize,
    /// Ports whose limit of learned entries is not the table's.
    limits: BTreeMap<PortId, u32>,
    pub(super) stats: FdbStats,
}

impl Ledger {
    /// For a table with that many places.
    pub(super) fn new(places: usize) -> Self {
        let free = Node {
            prev: NONE,
            next: NONE,
            queued: Second::NEVER,
        };
        Self {
            nodes: vec![free; places].into_boxed_slice(),
            books: BTreeMap::new(),
            heap: Vec::new(),
            len: 0,
            limits: BTreeMap::new(),
            stats: FdbStats::default(),
        }
    }

    /// Entries of all ports.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Learned entries of `port`.
    pub(super) fn learned(&self, port: PortId) -> u32 {
        self.books.get(&port).map_or(0, |book| book.learned.len)
    }

    /// Returns how many entries `port` may learn, `usual` being what other ports may.
    pub(super) fn limit(&self, port: PortId, usual: u32) -> u32 {
        self.limits.get(&port).copied().unwrap_or(usual)
    }

    /// Gives `port` a limit of its own, or takes it back.
    pub(super) fn set_limit(&mut self, port: PortId, limit: Option<u32>) {
        match limit {
            Some(limit) => self.limits.insert(port, limit),
            None => self.limits.remove(&port),
        };
    }

    /// The port with most learned entries, and how many; `None` when there are none.
    pub(super) fn largest(&self) -> Option<(u32, PortId)> {
        self.heap.first().copied().filter(|&(count, _)| count > 0)
    }

    /// The learned entry of `port` to evict: the first in its list that was not heard from since
    /// it was queued, `seen` telling when each was last heard from.
    pub(super) fn stalest(&self, port: PortId, seen: impl Fn(Place) -> Second) -> Option<Place> {
        let head = self.books.get(&port)?.learned.head;
        let mut at = head;
        for _ in 0..CHANCES {
            if at == NONE {
                break;
            }
            if seen(Place::from(at)) <= self.node(at).queued {
                return Some(Place::from(at));
            }
            at = self.node(at).next;
        }
        // All that were looked at are passed over. Behind the last one the first comes again.
        [at, head]
            .into_iter()
            .find(|&number| number != NONE)
            .map(Place::from)
    }

    /// Queues again the refreshed entries that stand before `victim` in the list of `port`, as
    /// [`Ledger::stalest`] found them.
    pub(super) fn pass_over(
        &mut self,
        port: PortId,
        victim: Place,
        seen: impl Fn(Place) -> Second,
    ) {
        for _ in 0..CHANCES {
            let head = self.books.get(&port).map_or(NONE, |book| book.learned.head);
            if head == NONE || head == u32::from(victim) {
                return;
            }
            let now = seen(Place::from(head));
            if now <= self.node(head).queued {
                return;
            }
            self.detach(head, port, Kind::Learned);
            self.append(head, port, Kind::Learned, now);
        }
    }

    /// Enters that the entry at `place` belongs to `port` from now on.
    pub(super) fn link(&mut self, place: Place, port: PortId, kind: Kind, seen: Second) {
        if let Entry::Vacant(vacant) = self.books.entry(port) {
            vacant.insert(Book {
                rank: self.heap.len(),
                ..Book::default()
            });
            self.heap.push((0, port));
        }
        self.append(place.into(), port, kind, seen);
        self.len += 1;
        self.recount(port);
    }

    /// Strikes out that the entry at `place` belongs to `port`.
    pub(super) fn unlink(&mut self, place: Place, port: PortId, kind: Kind) {
        self.detach(place.into(), port, kind);
        self.len -= 1;
        self.recount(port);
        let book = self.book(port);
        if book.learned.len + book.pinned.len == 0 {
            let rank = book.rank;
            self.books.remove(&port);
            self.heap.swap_remove(rank);
            self.settle(rank);
        }
    }

    /// The entry at `from` stands at `to` now.
    pub(super) fn renumber(&mut self, from: Place, to: Place, port: PortId, kind: Kind) {
        let (from, to) = (u32::from(from), u32::from(to));
        let node = self.node(from);
        let queue = self.book(port).queue(kind);
        if node.prev == NONE {
            queue.head = to;
        }
        if node.next == NONE {
            queue.tail = to;
        }
        if node.prev != NONE {
            self.node_mut(node.prev).next = to;
        }
        if node.next != NONE {
            self.node_mut(node.next).prev = to;
        }
        *self.node_mut(to) = node;
    }

    /// Adds to `places` the learned entries of `port` (of every port: `None`), and the static ones
    /// if `statics` says so.
    pub(super) fn collect(&self, port: Option<PortId>, statics: bool, places: &mut Vec<Place>) {
        let books = match port {
            Some(port) => self.books.range(port..=port),
            None => self.books.range(..),
        };
        for (_, book) in books {
            self.walk(&book.learned, places);
            if statics {
                self.walk(&book.pinned, places);
            }
        }
    }
}

/// Lists.
impl Ledger {
    fn node(&self, number: u32) -> Node {
        self.nodes[number as usize]
    }

    fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize]
    }

    fn book(&mut self, port: PortId) -> &mut Book {
        self.books
            .get_mut(&port)
            .expect("a port that has entries has a book")
    }

    fn append(&mut self, number: u32, port: PortId, kind: Kind, queued: Second) {
        let queue = self.book(port).queue(kind);
        let prev = queue.tail;
        queue.tail = number;
        queue.len += 1;
        if prev == NONE {
            queue.head = number;
        } else {
            self.node_mut(prev).next = number;
        }
        *self.node_mut(number) = Node {
            prev,
            next: NONE,
            queued,
        };
    }

    fn detach(&mut self, number: u32, port: PortId, kind: Kind) {
        let Node { prev, next, .. } = self.node(number);
        let queue = self.book(port).queue(kind);
        queue.len -= 1;
        if prev == NONE {
            queue.head = next;
        }
        if next == NONE {
            queue.tail = prev;
        }
        if prev != NONE {
            self.node_mut(prev).next = next;
        }
        if next != NONE {
            self.node_mut(next).prev = prev;
        }
    }

    fn walk(&self, queue: &Queue, places: &mut Vec<Place>) {
        let mut at = queue.head;
        while at != NONE {
            places.push(Place::from(at));
            at = self.node(at).next;
        }
    }
}

/// The heap.
impl Ledger {
    fn recount(&mut self, port: PortId) {
        let Book { learned, rank, .. } = self.book(port);
        let (count, rank) = (learned.len, *rank);
        self.heap[rank].0 = count;
        self.settle(rank);
    }

    /// Moves what stands at `rank` up or down to where it belongs.
    fn settle(&mut self, mut rank: usize) {
        if rank >= self.heap.len() {
            return;
        }
        while rank > 0 && self.heap[rank] > self.heap[(rank - 1) / 2] {
            rank = self.swap(rank, (rank - 1) / 2);
        }
        while let Some(child) = [2 * rank + 1, 2 * rank + 2]
            .into_iter()
            .filter(|&child| child < self.heap.len() && self.heap[child] > self.heap[rank])
            .max_by_key(|&child| self.heap[child])
        {
            rank = self.swap(rank, child);
        }
        self.enter_rank(rank);
    }

    /// Exchanges two ports of the heap and answers where the first is now.
    fn swap(&mut self, from: usize, to: usize) -> usize {
        self.heap.swap(from, to);
        self.enter_rank(from);
        to
    }

    fn enter_rank(&mut self, rank: usize) {
        let (_, port) = self.heap[rank];
        self.book(port).rank = rank;
    }
}

#[cfg(test)]
impl Ledger {
    /// Checks that lists, counts and heap agree, and answers every entry: holder, kind, place.
    pub(super) fn audit(&self) -> Vec<(PortId, Kind, Place)> {
        let mut entries = Vec::new();
        assert_eq!(self.heap.len(), self.books.len());
        for (&port, book) in &self.books {
            assert_eq!(self.heap[book.rank], (book.learned.len, port));
            assert!(book.rank == 0 || self.heap[book.rank] <= self.heap[(book.rank - 1) / 2]);
            assert!(
                book.learned.len + book.pinned.len > 0,
                "an empty book of {port}"
            );
            for (kind, queue) in [(Kind::Learned, &book.learned), (Kind::Static, &book.pinned)] {
                let mut places = Vec::new();
                self.walk(queue, &mut places);
                assert_eq!(places.len(), queue.len as usize);
                assert_eq!(
                    places.last().map_or(NONE, |&place| place.into()),
                    queue.tail
                );
                for (at, &place) in places.iter().enumerate() {
                    let prev = at
                        .checked_sub(1)
                        .map_or(NONE, |before| places[before].into());
                    assert_eq!(self.node(place.into()).prev, prev);
                    entries.push((port, kind, place));
                }
            }
        }
        assert_eq!(entries.len(), self.len);
        entries
    }
}
