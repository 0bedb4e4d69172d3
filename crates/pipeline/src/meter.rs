//! Token buckets: how many frames of a kind may pass in a while.
//!
//! A bucket holds up to `burst` tokens and gains `rate` a second; a frame takes one or does not
//! pass. Over any span of time, however the frames are arranged in it, at most
//! `burst + rate x span` pass: a storm cannot save up for longer than the burst, and a fine
//! drizzle of frames cannot lose the fractions of tokens between them, because tokens are counted
//! in billionths (one for each nanosecond and frame per second), in whole numbers, without rounding.
//!
//! One worker, the one that owns the port, calls [`Meter::take`]; everybody may call
//! [`Meter::would_take`]. So there is no locked instruction, just loads and stores. A reader on
//! another thread may see the bucket as it was one frame ago. Two takers at once would do no
//! harm but to let a frame more or less pass.

use crate::Instant;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A token bucket. No limit at all is `Option::<Meter>::None`.
#[derive(Debug)]
pub struct Meter {
    rate: u64,
    full: u64,
    /// Billionths of tokens in the bucket at `filled`.
    credit: AtomicU64,
    /// The nanosecond up to which tokens were added.
    filled: AtomicU64,
}

/// One token.
const TOKEN: u64 = 1_000_000_000;

impl Meter {
    /// A full bucket of `burst` frames (at least one) that gains `rate_per_second` frames a second.
    /// A rate of 0 lets nothing pass, ever.
    #[must_use]
    pub fn new(rate_per_second: u32, burst: u32) -> Self {
        let burst = if rate_per_second == 0 {
            0
        } else {
            burst.max(1)
        };
        let full = u64::from(burst) * TOKEN;
        Self {
            rate: u64::from(rate_per_second),
            full,
            credit: AtomicU64::new(full),
            filled: AtomicU64::new(0),
        }
    }

    /// Takes a token for one frame; false when there is none and the frame must not pass. A clock
    /// that steps back adds no tokens.
    #[must_use = "a frame without a token must not pass"]
    pub fn take(&self, now: Instant) -> bool {
        self.take_many(now, 1)
    }

    /// Returns what [`Meter::take`] would answer, without taking.
    #[must_use]
    pub fn would_take(&self, now: Instant) -> bool {
        self.would_take_many(now, 1)
    }

    /// Takes `tokens` at once, or none. More than the burst never pass.
    #[must_use = "what gets no tokens must not pass"]
    pub fn take_many(&self, now: Instant, tokens: u32) -> bool {
        let (credit, price) = (self.credit_at(now), u64::from(tokens) * TOKEN);
        let passes = credit >= price;
        if passes {
            self.credit.store(credit - price, Relaxed);
            self.filled
                .store(self.filled.load(Relaxed).max(now.as_nanos()), Relaxed);
        }
        passes
    }

    /// Returns what [`Meter::take_many`] would answer, without taking.
    #[must_use]
    pub fn would_take_many(&self, now: Instant, tokens: u32) -> bool {
        self.credit_at(now) >= u64::from(tokens) * TOKEN
    }

    fn credit_at(&self, now: Instant) -> u64 {
        let gained = now
            .as_nanos()
            .saturating_sub(self.filled.load(Relaxed))
            .saturating_mul(self.rate);
        // Full is at most 2^32 tokens of 10^9, a quarter of what the word holds.
        self.credit
            .load(Relaxed)
            .saturating_add(gained)
            .min(self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let meter = Meter::new(10, 3);
        let start = at(5_000_000_000);
        assert_eq!(
            [(); 5].map(|()| meter.take(start)),
            [true, true, true, false, false]
        );
        assert!(!meter.take(at(5_099_999_999)));
        assert!(meter.take(at(5_100_000_000)));
        assert!(!meter.take(at(5_100_000_001)));
        // After a long silence the burst is back, and no more than that.
        let later = at(900_000_000_000);
        assert_eq!(
            [(); 5].map(|()| meter.take(later)),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn asking_takes_nothing() {
        let meter = Meter::new(1, 1);
        assert!(meter.would_take(at(0)) && meter.would_take(at(0)));
        assert!(meter.take(at(0)));
        assert!(!meter.would_take(at(999_999_999)) && meter.would_take(at(1_000_000_000)));
    }

    #[test]
    fn the_ends_of_the_ranges() {
        let fastest = Meter::new(u32::MAX, u32::MAX);
        assert!(fastest.take(at(0)) && fastest.take(at(u64::MAX)));
        let nothing = Meter::new(0, 100);
        assert!(!nothing.take(at(0)) && !nothing.take(at(u64::MAX)));
        let no_burst = Meter::new(2, 0);
        assert!(no_burst.take(at(0)) && !no_burst.take(at(0)) && no_burst.take(at(500_000_000)));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let meter = Meter::new(1, 2);
        assert!(meter.take(at(10 * TOKEN)) && meter.take(at(TOKEN)));
        assert!(!meter.take(at(TOKEN)) && !meter.take(at(10 * TOKEN)));
        assert!(meter.take(at(11 * TOKEN)));
    }

    fn schedule() -> impl Strategy<Value = Vec<u64>> {
        let gap = prop_oneof![Just(0), 0..2_000u64, 0..5_000_000u64, 0..3_000_000_000u64];
        prop::collection::vec(gap, 1..200)
    }

    proptest! {
        #[test]
        fn no_window_lets_more_pass_than_burst_and_rate(rate in prop_oneof![1..20u32, 1..2_000_000u32], burst in 1..20u32, gaps in schedule()) {
            let meter = Meter::new(rate, burst);
            let mut now = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                now += gap;
                let would = meter.would_take(at(now));
                prop_assert_eq!(meter.take(at(now)), would);
                if would {
                    taken.push(now);
                }
            }
            for (first, &from) in taken.iter().enumerate() {
                for (last, &to) in taken.iter().enumerate().skip(first) {
                    let passed = (last - first + 1) as u128;
                    // passed <= burst + rate * span, in billionths and exact.
                    prop_assert!(passed * u128::from(TOKEN) <= u128::from(burst) * u128::from(TOKEN) + u128::from(to - from) * u128::from(rate));
                }
            }
        }

        #[test]
        fn it_never_stalls(rate in prop_oneof![1..20u32, any::<u32>().prop_map(|rate| rate.max(1))], burst in any::<u32>(), gaps in schedule()) {
            let meter = Meter::new(rate, burst);
            let mut now = 0;
            for gap in gaps {
                now += gap;
                let _ = meter.take(at(now));
                // One token later a frame passes, whatever was before.
                prop_assert!(meter.would_take(at(now + TOKEN.div_ceil(u64::from(rate)))));
            }
        }

        #[test]
        fn a_full_load_gets_its_rate(rate in 1..5_000u32, step in 1..400_000u64) {
            let meter = Meter::new(rate, 1);
            let passed = (0..=2 * TOKEN / step).filter(|n| meter.take(at(n * step))).count() as u64;
            // A frame per step is offered for two seconds; a burst of one loses what falls between steps.
            let wait = TOKEN.div_ceil(u64::from(rate)).next_multiple_of(step);
            prop_assert!(passed > 2 * TOKEN / wait - 1, "{passed} in two seconds");
        }
    }
}
