//! The neighbours of one network, and the state machine that neighbour.rs draws.

use crate::outbox::Outbox;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use model::NeighbourState;
use pipeline::{Instant, PortId};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use wire::MacAddr;

/// The knowledge about a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It is there.
    Known(MacAddr),
    /// Nothing: a question is to be sent now.
    Ask,
    /// Nothing yet.
    Wait,
    /// It did not answer.
    Failed,
}

/// How a neighbour's MAC was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It answered us: both ways work.
    Answer,
    /// It answered, but gives way to what is known (an advertisement without "override").
    Deferring,
    /// It said so to others, or to everybody.
    Claim,
    /// So, and gives way to what is known.
    DeferringClaim,
    /// It asked us, and is about to be answered.
    Question,
}

/// Questions open in a network, answered or not within the last few seconds.
pub(super) const MAX_OPEN: usize = 64;
/// Of them, those that one port may have caused.
pub(super) const MAX_OPEN_OF_A_PORT: usize = 16;
/// Neighbours remembered in a network.
pub(super) const MAX_KNOWN: usize = 1024;

/// The neighbours of one network.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<IpAddr, Entry, RandomState>,
    /// Entries without a MAC, by the port that caused them.
    open: HashMap<PortId, usize, RandomState>,
}

/// One neighbour.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) phase: Phase,
    /// The last second a packet went there.
    used: AtomicU64,
}

/// Where in its life a neighbour is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// `questions` were sent, the last one at `asked`, because of a packet from `asker`.
    Incomplete {
        asker: PortId,
        questions: u8,
        asked: Instant,
    },
    /// It answered at `since`. 30 s later this means stale.
    Reachable { mac: MacAddr, since: Instant },
    /// It may be there.
    Stale { mac: MacAddr, since: Instant },
    /// It is used and asked again.
    Probe {
        mac: MacAddr,
        questions: u8,
        asked: Instant,
    },
    /// It did not answer.
    Failed { asker: PortId, since: Instant },
}

/// Work that a poll has to do about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Ask it, or everybody.
    Ask(Option<MacAddr>),
    /// It did not answer.
    Failed,
}

/// Whether a port may open one more question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is a place.
    Free,
    /// There is one if this port, which holds more, gives one up.
    Of(PortId),
    /// Not for this port.
    None,
}

/// RFC 4861, 10: REACHABLE_TIME.
const REACHABLE: Duration = Duration::from_secs(30);
/// RFC 4861, 10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT.
const QUESTIONS: u8 = 3;
/// RFC 4861, 10: RETRANS_TIMER.
const RETRANS: Duration = Duration::from_secs(1);
/// How long it is remembered that a neighbour did not answer.
const FAILED: Duration = Duration::from_secs(3);
/// How long one is remembered that nobody uses.
const UNUSED: Duration = Duration::from_mins(5);
/// Answers of a neighbour that answered less than this ago are no news.
const FRESH: Duration = Duration::from_secs(1);

impl Table {
    pub(super) fn get(&self, ip: IpAddr) -> Option<&Entry> {
        self.entries.get(&ip)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Entry)> {
        self.entries.iter()
    }

    /// Returns whether one that was not asked for is remembered.
    pub(super) fn may_remember(&self) -> bool {
        self.entries.len() < MAX_KNOWN + MAX_OPEN
    }

    /// Returns whether `from` may open one more question.
    pub(super) fn room_for(&self, from: PortId) -> Room {
        let own = self.open.get(&from).copied().unwrap_or(0);
        if own >= MAX_OPEN_OF_A_PORT {
            return Room::None;
        }
        if self.open.values().sum::<usize>() < MAX_OPEN {
            return Room::Free;
        }
        match self.open.iter().max_by_key(|(port, n)| (**n, port.0)) {
            // Two places more, or the two would take turns forever.
            Some((port, most)) if *most > own + 1 => Room::Of(*port),
            Some(_) | None => Room::None,
        }
    }

    /// Opens a question, unless another worker did, or `from` has enough of them.
    pub(super) fn ask(
        &mut self,
        ip: IpAddr,
        from: PortId,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Resolution {
        if let Some(known) = self.get(ip).and_then(|entry| entry.resolve(now)) {
            return known;
        }
        // One that failed a while ago is asked anew, at the cost of who asks now.
        self.remove(ip);
        match self.room_for(from) {
            Room::None => return Resolution::Wait,
            Room::Of(port) => self.give_up(port),
            Room::Free => {}
        }
        let phase = Phase::Incomplete {
            asker: from,
            questions: 1,
            asked: now,
        };
        self.set(ip, phase, outbox);
        Resolution::Ask
    }

    /// Puts `ip` into a phase, and notes when that is over.
    pub(super) fn set(&mut self, ip: IpAddr, phase: Phase, outbox: &mut Outbox) {
        let since = phase.since();
        let entry = Entry {
            phase,
            used: AtomicU64::new(since.as_secs()),
        };
        outbox.due(entry.over_at());
        self.insert(ip, entry);
        if self.entries.len() > MAX_KNOWN {
            outbox.due(since);
        }
    }

    fn insert(&mut self, ip: IpAddr, entry: Entry) {
        self.remove(ip);
        if let Some(asker) = entry.phase.asker() {
            *self.open.entry(asker).or_default() += 1;
        }
        self.entries.insert(ip, entry);
    }

    /// Moves every entry on whose phase is over, and notes when the next one is. `act` does what is
    /// to be done, and answers whether it could.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        outbox: &mut Outbox,
        mut act: impl FnMut(IpAddr, Age, &mut Outbox) -> bool,
    ) {
        let mut over: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(ip, entry)| Some((*ip, entry.next(now)?)))
            .collect();
        // What is said does not depend on the order of a hash table.
        over.sort_unstable_by_key(|(ip, _)| *ip);
        for (ip, next) in over {
            match next {
                Next::Forget => self.remove(ip),
                Next::Become(phase, age) => {
                    if age.is_none_or(|age| act(ip, age, outbox)) {
                        self.advance(ip, phase);
                    }
                }
            }
        }
        self.shrink(now);
        let next = self.entries.values().map(Entry::over_at);
        // What found no room in the outbox is over still, and tried again with all the rest.
        next.filter(|at| *at > now).for_each(|at| outbox.due(at));
    }

    /// Beyond its bound the table forgets who was not used for longest.
    fn shrink(&mut self, now: Instant) {
        let excess = self.entries.len().saturating_sub(MAX_KNOWN);
        if excess == 0 {
            return;
        }
        let mut idle: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| e.phase.state(now) == NeighbourState::Stale)
            .map(|(ip, e)| (e.used.load(Relaxed), *ip))
            .collect();
        idle.sort_unstable();
        for (_, ip) in idle.into_iter().take(excess) {
            self.remove(ip);
        }
    }

    /// Puts `ip` into its next phase, and goes on counting its use.
    fn advance(&mut self, ip: IpAddr, phase: Phase) {
        let used = self.get(ip).map_or(0, |e| e.used.load(Relaxed)).into();
        self.insert(ip, Entry { phase, used });
    }

    fn remove(&mut self, ip: IpAddr) {
        let Some(asker) = self.entries.remove(&ip).and_then(|e| e.phase.asker()) else {
            return;
        };
        if let Some(count) = self.open.get_mut(&asker) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&asker);
            }
        }
    }

    /// Forgets the oldest question of `port`.
    fn give_up(&mut self, port: PortId) {
        let oldest = self
            .entries
            .iter()
            .filter(|(_, e)| e.phase.asker() == Some(port))
            .min_by_key(|(ip, e)| (e.phase.since(), **ip))
            .map(|(ip, _)| *ip);
        if let Some(ip) = oldest {
            self.remove(ip);
        }
    }
}

/// The next phase of an entry whose time has come.
enum Next {
    Become(Phase, Option<Age>),
    Forget,
}

impl Entry {
    /// Returns what is known; `None` when it is time to ask (again).
    pub(super) fn resolve(&self, now: Instant) -> Option<Resolution> {
        match self.phase {
            Phase::Reachable { mac, .. } | Phase::Stale { mac, .. } | Phase::Probe { mac, .. } => {
                Some(Resolution::Known(mac))
            }
            Phase::Incomplete { .. } => Some(Resolution::Wait),
            Phase::Failed { .. } if now < self.over_at() => Some(Resolution::Failed),
            Phase::Failed { .. } => None,
        }
    }

    /// Notes that a packet goes there. Whether that makes it due: a stale one is asked once it is
    /// used again.
    pub(super) fn mark_used(&self, now: Instant) -> bool {
        let second = now.as_secs();
        if self.used.load(Relaxed) == second {
            return false;
        }
        self.used.store(second, Relaxed);
        matches!(self.phase, Phase::Stale { .. }) && self.over_at() <= now
    }

    /// When its phase is over.
    fn over_at(&self) -> Instant {
        match self.phase {
            Phase::Incomplete { asked, .. } | Phase::Probe { asked, .. } => asked + RETRANS,
            Phase::Reachable { since, .. } => since + REACHABLE,
            Phase::Failed { since, .. } => since + FAILED,
            Phase::Stale { since, .. } => self.used_after(since).unwrap_or(since + UNUSED),
        }
    }

    /// The second in which a packet went there, if that began after `since`.
    fn used_after(&self, since: Instant) -> Option<Instant> {
        let used = Instant::from_secs(self.used.load(Relaxed));
        (used > since).then_some(used)
    }

    /// Returns what is to become of it, if its phase is over.
    fn next(&self, now: Instant) -> Option<Next> {
        if now < self.over_at() {
            return None;
        }
        Some(match self.phase {
            Phase::Incomplete {
                asker, questions, ..
            } if questions < QUESTIONS => {
                let next = Phase::Incomplete {
                    asker,
                    questions: questions + 1,
                    asked: now,
                };
                Next::Become(next, Some(Age::Ask(None)))
            }
            Phase::Incomplete { asker, .. } => Next::fail(asker, now),
            Phase::Probe { mac, questions, .. } if questions < QUESTIONS => {
                // The last question goes to everybody: it may have moved.
                let at = (questions + 1 < QUESTIONS).then_some(mac);
                Next::probe(mac, questions + 1, at, now)
            }
            Phase::Probe { .. } => Next::fail(PortId::GATEWAY, now),
            Phase::Reachable { mac, .. } => Next::Become(Phase::Stale { mac, since: now }, None),
            Phase::Stale { mac, since } if self.used_after(since).is_some() => {
                Next::probe(mac, 1, Some(mac), now)
            }
            Phase::Stale { .. } | Phase::Failed { .. } => Next::Forget,
        })
    }
}

impl Next {
    fn probe(mac: MacAddr, questions: u8, at: Option<MacAddr>, now: Instant) -> Self {
        let phase = Phase::Probe {
            mac,
            questions,
            asked: now,
        };
        Self::Become(phase, Some(Age::Ask(at)))
    }

    fn fail(asker: PortId, now: Instant) -> Self {
        Self::Become(Phase::Failed { asker, since: now }, Some(Age::Failed))
    }
}

impl Phase {
    /// Returns what this becomes when the neighbour is heard of at `mac`; `None` for no change.
    pub(super) fn heard(&self, mac: MacAddr, heard: Heard, now: Instant) -> Option<Self> {
        let reachable = Self::Reachable { mac, since: now };
        let stale = |mac| Self::Stale { mac, since: now };
        let (known, fresh) = match *self {
            Self::Incomplete { .. } | Self::Failed { .. } => {
                return Some(match heard {
                    Heard::Answer | Heard::Deferring => reachable,
                    Heard::Claim | Heard::DeferringClaim | Heard::Question => stale(mac),
                });
            }
            Self::Reachable { mac, since } => (mac, now.since(since) < FRESH),
            Self::Stale { mac, .. } | Self::Probe { mac, .. } => (mac, false),
        };
        match (heard, known == mac) {
            (Heard::Answer | Heard::Deferring, true) => (!fresh).then_some(reachable),
            (Heard::Claim | Heard::DeferringClaim | Heard::Question, true) => None,
            (Heard::Answer, false) => Some(reachable),
            (Heard::Claim | Heard::Question, false) => Some(stale(mac)),
            // RFC 4861, 7.2.5: doubt, but do not follow.
            (Heard::Deferring | Heard::DeferringClaim, false) => {
                matches!(self, Self::Reachable { .. }).then(|| stale(known))
            }
        }
    }

    /// Returns where the neighbour is, as far as is known.
    pub(super) fn mac(&self) -> Option<MacAddr> {
        match *self {
            Self::Reachable { mac, .. } | Self::Stale { mac, .. } | Self::Probe { mac, .. } => {
                Some(mac)
            }
            Self::Incomplete { .. } | Self::Failed { .. } => None,
        }
    }

    /// The name of the phase.
    pub(super) fn state(&self, now: Instant) -> NeighbourState {
        match *self {
            Self::Incomplete { .. } => NeighbourState::Incomplete,
            Self::Reachable { since, .. } if now.since(since) >= REACHABLE => NeighbourState::Stale,
            Self::Reachable { .. } => NeighbourState::Reachable,
            Self::Stale { .. } => NeighbourState::Stale,
            Self::Probe { .. } => NeighbourState::Probe,
            Self::Failed { .. } => NeighbourState::Failed,
        }
    }

    /// When it began, or was renewed.
    pub(super) fn since(&self) -> Instant {
        match *self {
            Self::Incomplete { asked, .. } | Self::Probe { asked, .. } => asked,
            Self::Reachable { since, .. }
            | Self::Stale { since, .. }
            | Self::Failed { since, .. } => since,
        }
    }

    fn asker(&self) -> Option<PortId> {
        match *self {
            Self::Incomplete { asker, .. } | Self::Failed { asker, .. } => Some(asker),
            Self::Reachable { .. } | Self::Stale { .. } | Self::Probe { .. } => None,
        }
    }
}
