//! Fragments, which carry no ports but the first of each packet: they follow it, in whatever order
//! they arrive (RFC 4787 REQ-14; RFC 791; RFC 8200, 4.5).
//!
//! ```text
//!   first  ---> decided as any packet is ---> remembered ---------------.
//!   later, and its first is known -----------------------------------> as that one
//!   later, and its first is not   ---> held ---> [first arrives] ---> resumed, as if it came now
//!                                       |
//!                                       '---> pushed out by others, or 30 s (60 s) over: dropped
//! ```
//! Nothing is put together: fragments pass one by one, and the hosts do that.
//!
//! The reasons for its shape:
//! * **Overlaps.** Two fragments that bring the same bytes are read one way here and another way
//!   there, and so pass filters (RFC 1858, RFC 5722). Of any byte the first to come counts: what
//!   overlaps it is dropped, duplicates included, so that no receiver ever sees an overlap.
//! * **Floods** of fragments whose first never comes, or of one again and again, which made
//!   receivers search through ever longer lists (CVE-2018-5390, -5391). A packet belongs to a set
//!   that follows from its sender, chosen with a secret: 64 sets of at most 64 packets and 256 KiB
//!   held bytes. Whatever a fragment needs is in one set, behind that set's lock, and takes the
//!   same few hundred nanoseconds whatever came before.
//! * **Fairness.** A full set forgets its oldest packet, not the newest: a sender that floods
//!   pushes out its own, or those of the few others in its set, and honest packets, complete in
//!   milliseconds, live through a flood that needs longer than that to come around.
//! * **Identifications come around**, too, 65536 of them (RFC 4963): a packet is forgotten with its
//!   last byte, and a first fragment begins a new one.
//!
//! Safe to use from every worker at once. A frame takes one lock, and only if it is a fragment.

mod coverage;
mod piece;

pub use piece::Piece;

use crate::arrival::Arrival;
use crate::outbox::{Origin, Outbox, Post};
use crate::rewrite::Rewrite;
use coverage::Coverage;
use foldhash::fast::RandomState;
use piece::Key;
use pipeline::{DropReason, Effects, Instant, NetworkId};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The fragments of packets that are on their way.
#[derive(Debug)]
pub struct Fragments {
    sets: Vec<Mutex<Set>>,
    secret: RandomState,
}

/// The decision about a packet's first fragment, and so about all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketVerdict {
    /// They go on into this network, changed so; they have no ports to be changed.
    Forward(NetworkId, Rewrite),
    /// They are dropped.
    Drop(DropReason),
}

/// The way of a later fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// It goes on as the first one did.
    Forward(NetworkId, Rewrite),
    /// It is kept until the first one comes.
    Held,
}

/// Held fragments that were dropped since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// [`DropReason::FragmentTimeout`]: the first one did not come.
    pub timeout: u64,
    /// [`DropReason::FragmentLimit`]: others needed the room, or the outbox had none.
    pub limit: u64,
}

/// Sets of packets, by sender.
const SETS: usize = 64;
/// Packets of a set.
const MAX_PACKETS: usize = 64;
/// Fragments held for one packet: 64 KiB of 576 bytes each, RFC 791's largest that every host takes.
const MAX_HELD: usize = 128;
/// Bytes held in a set. More than all that may be held for one packet.
const MAX_BYTES: usize = 256 * 1024;
/// How long after its first sign a packet is given up, as Linux does.
const LIFETIME_V4: Duration = Duration::from_secs(30);
/// The same (RFC 8200, 4.5).
const LIFETIME_V6: Duration = Duration::from_secs(60);

impl Default for Fragments {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            secret: RandomState::default(),
        }
    }
}

impl Fragments {
    /// A first fragment was decided upon. Those that were waiting for it are put into `outbox`, to
    /// be resumed, and find the decision then. Without effect unless `effects` are live.
    pub fn first(
        &self,
        piece: &Piece,
        decision: PacketVerdict,
        now: Instant,
        effects: Effects,
        outbox: &mut Outbox,
    ) {
        if effects == Effects::None {
            return;
        }
        let mut set = self.set(&piece.key);
        set.forget_if_over(&piece.key, now);
        let (at, held) = match set.find(&piece.key) {
            Some(at) => (at, set.take_held(at)),
            None => (set.make_room(piece.key, now), Vec::new()),
        };
        let packet = &mut set.packets[at];
        *packet = Packet::new(piece.key, State::Decided(decision), now);
        packet.add(piece);
        outbox.due(packet.over_at());
        for frame in held {
            let post = Post::Resume(frame.origin);
            if !outbox.post(post, |out| out.extend_from_slice(&frame.bytes)) {
                set.lost.limit += 1;
            }
        }
    }

    /// A later fragment arrived, which `piece` describes. The answer is the same whatever the
    /// `effects`; without them nothing is noted in the `outbox`.
    ///
    /// # Errors
    /// [`DropReason::FragmentInvalid`] when it overlaps or contradicts another of its packet,
    /// [`DropReason::FragmentLimit`] when as many as may be wait for the same first one, and what
    /// was decided about that one, if it was to drop.
    pub fn later(
        &self,
        piece: &Piece,
        arrival: &Arrival<'_>,
        now: Instant,
        effects: Effects,
        outbox: &mut Outbox,
    ) -> Result<Later, DropReason> {
        let mut set = self.set(&piece.key);
        let live = effects == Effects::Live;
        if live {
            set.forget_if_over(&piece.key, now);
        }
        let known = set
            .find(&piece.key)
            .filter(|at| !set.packets[*at].is_over(now));
        let at = match known {
            Some(at) => at,
            None if live => set.make_room(piece.key, now),
            None => return Ok(Later::Held),
        };
        if live {
            outbox.due(set.packets[at].over_at());
        }
        let packet = &mut set.packets[at];
        if !packet.admits(piece) {
            return Err(DropReason::FragmentInvalid);
        }
        match &mut packet.state {
            State::Decided(decision) => {
                let decision = *decision;
                if live {
                    packet.add(piece);
                    if packet.is_complete() {
                        set.packets.swap_remove(at);
                    }
                }
                match decision {
                    PacketVerdict::Forward(network, rewrite) => {
                        Ok(Later::Forward(network, rewrite))
                    }
                    PacketVerdict::Drop(reason) => Err(reason),
                }
            }
            State::Waiting(held) if held.len() >= MAX_HELD => Err(DropReason::FragmentLimit),
            State::Waiting(held) => {
                if live {
                    let frame = Held::new(arrival);
                    let bytes = frame.bytes.len();
                    held.push(frame);
                    packet.add(piece);
                    set.bytes += bytes;
                    set.make_bytes(&piece.key);
                }
                Ok(Later::Held)
            }
        }
    }

    /// Forgets the packets whose time is over, and notes when the next one's is.
    pub fn poll(&self, now: Instant, outbox: &mut Outbox) {
        for set in &self.sets {
            let mut set = lock(set);
            for at in (0..set.packets.len()).rev() {
                if set.packets[at].is_over(now) {
                    set.lost.timeout += set.remove(at);
                }
            }
            set.packets
                .iter()
                .for_each(|packet| outbox.due(packet.over_at()));
        }
    }

    /// Returns what was held and dropped.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.sets.iter().fold(Lost::default(), |sum, set| {
            let lost = lock(set).lost;
            Lost {
                timeout: sum.timeout + lost.timeout,
                limit: sum.limit + lost.limit,
            }
        })
    }

    /// Packets on their way, and bytes held.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        self.sets.iter().fold((0, 0), |(packets, bytes), set| {
            let set = lock(set);
            (packets + set.packets.len(), bytes + set.bytes)
        })
    }

    fn set(&self, key: &Key) -> MutexGuard<'_, Set> {
        let hash = self.secret.hash_one(key.source());
        // The remainder is below the number of sets.
        let at = usize::try_from(hash % SETS as u64).unwrap_or_default();
        lock(&self.sets[at])
    }
}

/// The set. A panic elsewhere leaves nothing behind that the next one could not go on with.
fn lock(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The packets of a few senders.
#[derive(Debug, Default)]
struct Set {
    packets: Vec<Packet>,
    /// Bytes held in all of them.
    bytes: usize,
    lost: Lost,
}

#[derive(Debug)]
struct Packet {
    key: Key,
    since: Instant,
    seen: Coverage,
    /// Where it ends, once its last fragment was seen.
    end: Option<u32>,
    state: State,
}

#[derive(Debug)]
enum State {
    Decided(PacketVerdict),
    Waiting(Vec<Held>),
}

/// A fragment as it arrived.
#[derive(Debug)]
struct Held {
    origin: Origin,
    bytes: Box<[u8]>,
}

impl Held {
    fn new(arrival: &Arrival<'_>) -> Self {
        let bytes = arrival.frame.bytes();
        // Padding would be room that nobody bounds.
        let end = arrival.headers.packet_end().unwrap_or_default();
        Self {
            origin: arrival.origin(),
            bytes: bytes.get(..end).unwrap_or(bytes).into(),
        }
    }
}

impl Set {
    fn find(&self, key: &Key) -> Option<usize> {
        self.packets.iter().position(|packet| packet.key == *key)
    }

    fn forget_if_over(&mut self, key: &Key, now: Instant) {
        if let Some(at) = self.find(key)
            && self.packets[at].is_over(now)
        {
            self.lost.timeout += self.remove(at);
        }
    }

    /// A place for a new packet, in place of the oldest if there is no other.
    fn make_room(&mut self, key: Key, now: Instant) -> usize {
        if self.packets.len() >= MAX_PACKETS
            && let Some(oldest) = self.oldest(|_| true)
        {
            self.lost.limit += self.remove(oldest);
        }
        self.packets
            .push(Packet::new(key, State::Waiting(Vec::new()), now));
        self.packets.len() - 1
    }

    /// Gives up the oldest packets, but for `key`'s, until no more bytes are held than may be.
    fn make_bytes(&mut self, key: &Key) {
        while self.bytes > MAX_BYTES {
            let holds = |packet: &Packet| packet.key != *key && packet.held() > 0;
            let Some(oldest) = self.oldest(holds) else {
                return;
            };
            self.lost.limit += self.remove(oldest);
        }
    }

    fn oldest(&self, of: impl Fn(&Packet) -> bool) -> Option<usize> {
        let packets = self.packets.iter().enumerate();
        packets
            .filter(|(_, packet)| of(packet))
            .min_by_key(|(_, packet)| packet.since)
            .map(|(at, _)| at)
    }

    /// Returns how many fragments were held.
    fn remove(&mut self, at: usize) -> u64 {
        let lost = self.take_held(at).len();
        self.packets.swap_remove(at);
        lost as u64
    }

    fn take_held(&mut self, at: usize) -> Vec<Held> {
        let held = match &mut self.packets[at].state {
            State::Waiting(held) => std::mem::take(held),
            State::Decided(_) => Vec::new(),
        };
        self.bytes -= held.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        held
    }
}

impl Packet {
    fn new(key: Key, state: State, since: Instant) -> Self {
        Self {
            key,
            since,
            seen: Coverage::default(),
            end: None,
            state,
        }
    }

    fn over_at(&self) -> Instant {
        let lifetime = if self.key.is_ipv6() {
            LIFETIME_V6
        } else {
            LIFETIME_V4
        };
        self.since + lifetime
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.over_at()
    }

    fn held(&self) -> usize {
        match &self.state {
            State::Waiting(held) => held.len(),
            State::Decided(_) => 0,
        }
    }

    /// Returns whether the packet may have this piece besides those it has.
    fn admits(&self, piece: &Piece) -> bool {
        let ends_well = match (self.end, piece.more) {
            (Some(end), true) => piece.end <= end,
            (Some(end), false) => piece.end == end,
            (None, true) => true,
            (None, false) => self.seen.end() <= piece.end,
        };
        ends_well && !self.seen.overlaps(piece.start, piece.end)
    }

    fn add(&mut self, piece: &Piece) {
        self.seen.add(piece.start, piece.end);
        if !piece.more {
            self.end = Some(piece.end);
        }
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.seen.is_all(end))
    }
}

#[cfg(test)]
mod tests;
