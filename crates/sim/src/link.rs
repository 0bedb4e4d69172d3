//! The link between a station and its port: a wire with faults, one object a direction.
//!
//! ```text
//!   enter at t --> [ queue, drained at `bandwidth` ] --> lost?  --> + latency + 0..jitter --> leave
//!                        | full: overflow                 | twice?
//! ```
//! Jitter reorders: a later frame that draws a smaller delay overtakes. Pure: time comes in, the
//! moments of arrival come out.

use crate::rng::Rng;
use pipeline::Instant;
use std::time::Duration;

/// How good a wire is. The default is perfect and takes no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// How long a frame travels.
    pub latency: Duration,
    /// How much longer at most, drawn for each frame.
    pub jitter: Duration,
    /// Frames lost in a thousand.
    pub loss: u16,
    /// Frames that arrive twice in a thousand.
    pub duplication: u16,
    /// Bits a second; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// How long a frame may wait for those before it; then it is lost.
    pub queue: Duration,
}

impl Wire {
    /// A perfect wire of this latency.
    #[must_use]
    pub const fn of(latency: Duration) -> Self {
        let zero = Duration::ZERO;
        Self {
            latency,
            jitter: zero,
            loss: 0,
            duplication: 0,
            bandwidth: None,
            queue: Duration::from_millis(100),
        }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::of(Duration::ZERO)
    }
}

/// Counts of the frames that entered one direction of a wire, by their fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// Frames that entered.
    pub entered: u64,
    /// Frames lost to noise.
    pub lost: u64,
    /// Frames lost to a full queue.
    pub overflowed: u64,
    /// Frames that arrived twice.
    pub duplicated: u64,
}

/// One direction of a wire.
#[derive(Debug, Clone)]
pub(crate) struct Direction {
    wire: Wire,
    rng: Rng,
    idle_at: Instant,
    pub(crate) fate: Fate,
}

impl Direction {
    pub(crate) fn new(wire: Wire, rng: Rng) -> Self {
        Self {
            wire,
            rng,
            idle_at: Instant::ZERO,
            fate: Fate::default(),
        }
    }

    /// When a frame of `len` bytes that enters at `now` arrives: never, once or twice.
    pub(crate) fn carry(&mut self, now: Instant, len: usize) -> Vec<Instant> {
        self.fate.entered += 1;
        let start = self.idle_at.max(now);
        if start.since(now) > self.wire.queue {
            self.fate.overflowed += 1;
            return Vec::new();
        }
        self.idle_at = start + self.transmission(len);
        // Each frame draws the same number of times, whatever became of it: changing one rate
        // does not reshuffle the others' luck.
        let (lost, twice) = (
            self.rng.chance(self.wire.loss),
            self.rng.chance(self.wire.duplication),
        );
        let (first, second) = (self.delay(), self.delay());
        if lost {
            self.fate.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![self.idle_at + first];
        if twice {
            self.fate.duplicated += 1;
            arrivals.push(self.idle_at + second);
        }
        arrivals
    }

    fn transmission(&self, len: usize) -> Duration {
        let Some(bandwidth) = self.wire.bandwidth else {
            return Duration::ZERO;
        };
        Duration::from_nanos((len as u64 * 8).saturating_mul(1_000_000_000) / bandwidth.max(1))
    }

    fn delay(&mut self) -> Duration {
        let jitter = u64::try_from(self.wire.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.wire.latency + Duration::from_nanos(self.rng.below(jitter.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_spaces_frames_and_a_full_queue_overflows() {
        let wire = Wire {
            bandwidth: Some(8_000_000),
            queue: Duration::from_millis(2),
            ..Wire::of(Duration::from_millis(5))
        };
        let mut line = Direction::new(wire, Rng::new(1));
        // 1000 bytes at 8 Mbit/s take a millisecond.
        let arrivals: Vec<_> = (0..5).map(|_| line.carry(Instant::ZERO, 1000)).collect();
        let at = |ms: u64| vec![Instant::from_nanos(ms * 1_000_000)];
        assert_eq!(arrivals, [at(6), at(7), at(8), vec![], vec![]]);
        assert_eq!(
            line.fate,
            Fate {
                entered: 5,
                overflowed: 2,
                ..Fate::default()
            }
        );
    }

    #[test]
    fn loss_duplication_and_reordering_happen_at_their_rates() {
        let wire = Wire {
            loss: 100,
            duplication: 50,
            jitter: Duration::from_millis(1),
            ..Wire::default()
        };
        let mut line = Direction::new(wire, Rng::new(3));
        let firsts: Vec<_> = (0..10_000)
            .filter_map(|i| {
                line.carry(Instant::from_nanos(i * 1000), 60)
                    .first()
                    .copied()
            })
            .collect();
        assert!((800..1200).contains(&line.fate.lost), "{:?}", line.fate);
        assert!(
            (350..550).contains(&line.fate.duplicated),
            "{:?}",
            line.fate
        );
        assert!(
            firsts.windows(2).any(|w| w[1] < w[0]),
            "nothing was overtaken"
        );
    }
}
