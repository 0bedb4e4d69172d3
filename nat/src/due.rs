//! When something is due next in the router: one time, which all workers share.
//!
//! ```text
//!   a worker leaves something to be done later ----> lower: if the time became its own, it wakes then
//!   any worker that is awake, when the time is here -> claim: one of them polls
//!   the poll does what is due, and lowers again for what remains
//! ```
//! Nothing is lost. What becomes due is put into its table before the time is lowered, and a claim
//! comes before its poll looks. Each table has a lock that both take. So either the poll finds what
//! was put there, or it had looked before, and then the lock makes the lowering see the claim, and
//! stand after it. A poll that finds nothing is harmless.
//!
//! Who lowers the time waits for it, and nobody else: of many idle workers one wakes.

use pipeline::Instant;
use std::sync::atomic::{AtomicU64, Ordering};

/// The time when the next thing is due.
#[derive(Debug)]
pub struct Due(AtomicU64);

/// The time when nothing is.
const NEVER: u64 = u64::MAX;

/// The span within which all that is due is done together: a router with hundreds of links looks at all of
/// them in a poll, and containers that ask for ever new neighbours cannot make it do so more often.
const GRAIN_NANOS: u64 = 50_000_000;

impl Default for Due {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Due {
    /// The time, where something is due at all.
    #[must_use]
    pub fn get(&self) -> Option<Instant> {
        let at = self.0.load(Ordering::Relaxed);
        (at != NEVER).then_some(Instant::from_nanos(at))
    }

    /// Something is due at `at`, or soon after. Returns the time that the caller has to wake at;
    /// `None` where it is another's to wake earlier.
    #[must_use]
    pub fn lower(&self, at: Instant) -> Option<Instant> {
        let at = at.as_nanos().checked_next_multiple_of(GRAIN_NANOS)?;
        let lowered =
            self.0.load(Ordering::Relaxed) > at && self.0.fetch_min(at, Ordering::AcqRel) > at;
        lowered.then_some(Instant::from_nanos(at))
    }

    /// Everything is to be looked at, by the next worker that looks at the time; the caller wakes
    /// one.
    pub fn now(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Returns whether the caller is the one that polls, as something is due at `now`. It polls the router
    /// of a view that it loads after this: a publication comes before the router is due.
    #[must_use]
    pub fn claim(&self, now: Instant) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        at <= now.as_nanos()
            && self
                .0
                .compare_exchange(at, NEVER, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn the_earliest_time_stands_and_belongs_to_who_set_it() {
        let due = Due::default();
        assert_eq!(due.get(), None);
        assert_eq!(due.lower(at(1000)), Some(at(1000)));
        assert_eq!(due.lower(at(1000)), None, "it is another's");
        assert_eq!(due.lower(at(2000)), None);
        assert_eq!(due.lower(at(901)), Some(at(950)), "never early");
        assert_eq!(due.get(), Some(at(950)));
        assert_eq!(due.lower(Instant::from_nanos(u64::MAX)), None);
        due.now();
        assert_eq!(due.get(), Some(Instant::ZERO));
    }

    #[test]
    fn nobody_claims_early_and_one_claims_in_time() {
        let due = Due::default();
        assert!(!due.claim(at(1_000_000)), "nothing is due");
        assert_eq!(due.lower(at(1000)), Some(at(1000)));
        assert!(!due.claim(at(999)));
        assert!(due.claim(at(1000)));
        assert!(!due.claim(at(1000)), "once");
        assert_eq!(due.get(), None);
    }

    #[test]
    fn of_two_pollers_at_once_one_claims() {
        let due = Due::default();
        for round in 1..=2000 {
            let now = at(50 * round);
            assert_eq!(due.lower(now), Some(now));
            let claims = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope
                        .spawn(|| claims.fetch_add(usize::from(due.claim(now)), Ordering::Relaxed));
                }
            });
            assert_eq!(claims.into_inner(), 1);
        }
    }

    /// Two workers, each of which makes things due and polls, as it comes: when both are at rest,
    /// whatever is left stands in the time, or was done.
    #[test]
    fn what_becomes_due_while_a_poll_runs_is_not_lost() {
        const STEPS: u64 = 20_000;
        let due = Due::default();
        let things = Mutex::new(Vec::new());
        let poll = |now: Instant| {
            if due.claim(now) {
                let next = {
                    let mut things = things.lock().unwrap();
                    things.retain(|thing| *thing > now);
                    things.iter().min().copied()
                };
                let _ = next.and_then(|next| due.lower(next));
            }
        };
        thread::scope(|scope| {
            for worker in 0..2 {
                let (due, things, poll) = (&due, &things, &poll);
                scope.spawn(move || {
                    for step in 0..STEPS {
                        let thing = at(50 * (step + 1 + (step * 7 + worker) % 3));
                        things.lock().unwrap().push(thing);
                        let _ = due.lower(thing);
                        poll(at(50 * step));
                    }
                });
            }
        });
        let left = things.lock().unwrap().iter().min().copied();
        assert!(left.is_some(), "the last ones are not due yet");
        assert!(
            due.get().is_some_and(|due| Some(due) <= left),
            "{due:?} {left:?}"
        );
        poll(at(50 * (STEPS + 3)));
        assert_eq!((things.into_inner().unwrap().len(), due.get()), (0, None));
    }
}
