//! Connections whose packets pass elsewhere, too: by leases, which repeat what was decided here.
//!
//! ```text
//!   a packet passes ---> leased: a slot for this direction ---> what is repeated there is counted there
//!        ^                                                                  |
//!        |           before anybody looks at the session: taken in <--------+
//!        |                                                                  |
//!   the next one <-----------  over: the slot is to be taken back  ---------'
//! ```
//! Whoever keeps the leases is asked, by slot, before a session is judged, swept, listed or forgotten. So it
//! is as if all its packets had been seen here: it does not end while it is used, its counters are exact, and
//! a segment of TCP (a RST, a SYN that begins the connection anew) is judged by all that was said before it.
//!
//! **The attack** is a blind RST, as in `tcp.rs`. What is repeated lay in the window, by the same figures as
//! here; a RST is never repeated. With the figures taken in it has to guess what it had to guess before.
//!
//! When a session closes or is forgotten, its slots are told, once, to be taken back. They go on being asked
//! until they are released, for what was repeated meanwhile.

use super::leases::{Ledger, NONE, Over, Repeated, SessionId, UNLEASED};
use super::session::{Class, Session, index};
use super::shard::Shard;
use super::{SHARDS, Tables};
use crate::tcp::{Said, Side};
use pipeline::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// From so many bytes on a sender may have come further than sequence numbers can tell.
const FAR: u64 = 1 << 30;

impl Tables {
    /// Asks this one from now on what passed by leases.
    pub fn keep_ledger(&self, ledger: &Arc<dyn Ledger>) {
        for shard in 0..SHARDS {
            self.lock(shard).leases.ledger = Some(Arc::clone(ledger));
        }
    }

    /// Notes that what `side` sends is also repeated by the lease in `slot`. `None` if the session is not there
    /// any more, has a lease for it, or is closing; else what the side has said until now, if it is TCP: where
    /// the lease begins. The lease must not hold before that.
    #[must_use = "the lease is not noted"]
    pub fn lease(&self, session: SessionId, side: Side, slot: u32) -> Option<Option<Said>> {
        let mut shard = self.lock(session.shard as usize);
        let found = shard.identified(session)?;
        let known = &mut found.leases[index(side)];
        if *known != NONE || slot == NONE || found.class == Class::Closing {
            return None;
        }
        *known = slot;
        Some(found.tracker.map(|tracker| tracker.said(side)))
    }

    /// Takes in what passed by a session's leases. To be called once a second for each that has some, and when
    /// one says that its sender finished.
    pub fn settle(&self, session: SessionId, now: Instant) {
        let mut shard = self.lock(session.shard as usize);
        if shard.identified(session).is_some() {
            shard.settle(session.at, now);
        }
    }

    /// Takes in what passed by a lease last, and forgets it. No frame may be repeated by it any more.
    pub fn release(&self, session: SessionId, side: Side, now: Instant) {
        self.settle(session, now);
        let mut shard = self.lock(session.shard as usize);
        if let Some(session) = shard.identified(session) {
            session.leases[index(side)] = NONE;
        }
    }

    /// Counts what passed of a session by a lease that is not noted for it.
    pub fn passed(&self, session: SessionId, side: Side, repeated: &Repeated) {
        let mut shard = self.lock(session.shard as usize);
        if repeated.packets > 0
            && let Some(session) = shard.identified(session)
        {
            session.pass_elsewhere(side, repeated);
        }
    }

    /// Returns whether there are leases to be taken back. One load: to be asked after each batch.
    #[must_use]
    pub fn has_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Adds to `out` the leases that are to be taken back.
    pub fn take_over(&self, out: &mut Vec<Over>) {
        // Before looking: what is added from now on says so anew.
        self.over.store(false, Relaxed);
        for shard in 0..SHARDS {
            out.append(&mut self.lock(shard).leases.over);
        }
    }
}

impl Shard {
    /// The identity of the session at `at`.
    pub(crate) fn identify(&self, at: u32) -> Option<SessionId> {
        let shard = u32::try_from(self.number).ok()?;
        let serial = self.sessions.get(at)?.serial;
        Some(SessionId { shard, at, serial })
    }

    fn identified(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(id.at)?;
        (session.serial == id.serial).then_some(session)
    }

    /// Takes in what passed by the session's leases, if it has some.
    #[inline]
    pub(crate) fn settle(&mut self, at: u32, now: Instant) {
        if self.sessions.get(at).is_some_and(Session::is_leased) {
            self.take_in(at, now);
        }
    }

    #[cold]
    fn take_in(&mut self, at: u32, now: Instant) {
        let (Some(ledger), Some(session)) = (&self.leases.ledger, self.sessions.get_mut(at)) else {
            return;
        };
        let mut said = [None; 2];
        let mut far = false;
        for side in [Side::Initiator, Side::Responder] {
            let slot = session.leases[index(side)];
            if slot == NONE {
                continue;
            }
            let repeated = ledger.take(slot);
            said[index(side)] = repeated.said;
            if repeated.packets > 0 {
                session.pass_elsewhere(side, &repeated);
                far |= repeated.bytes >= FAR;
            }
        }
        if let Some(tracker) = &mut session.tracker {
            tracker.take_in(said, far);
        }
        let class = session.state();
        if class != session.class {
            self.reclass(at, class, now);
        }
    }

    /// Lets whoever keeps the leases know what a side has said: the other side's packets answer that, and would
    /// else be taken for what answers something that was never sent.
    #[cold]
    pub(super) fn say(&self, at: u32, side: Side) {
        let (Some(ledger), Some(session)) = (&self.leases.ledger, self.sessions.get(at)) else {
            return;
        };
        let slot = session.leases[index(side)];
        if let (Some(tracker), true) = (&session.tracker, slot != NONE) {
            ledger.say(slot, tracker.said(side));
        }
    }

    /// Tells that the session's leases are to be taken back.
    pub(super) fn give_leases_back(&mut self, at: u32) {
        let (Some(session), Some(leases)) = (self.identify(at), self.sessions.get(at)) else {
            return;
        };
        for side in [Side::Initiator, Side::Responder] {
            let slot = leases.leases[index(side)];
            if slot != NONE {
                self.leases.tell(Over {
                    slot,
                    session,
                    side,
                });
            }
        }
    }
}

impl Session {
    #[inline]
    pub(crate) fn is_leased(&self) -> bool {
        self.leases != UNLEASED
    }
}
