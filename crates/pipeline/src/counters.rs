//! Counters with one writer and any number of readers.
//!
//! Each worker writes its own [`PortCounters`] of a port, so counting is a plain load and store,
//! never a locked instruction; a reader adds the workers' counters up. Numbers only rise while
//! the port lives.

use crate::DropReason;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one worker at one port.
#[derive(Debug)]
#[repr(align(128))] // two workers' counters never share a cache line, nor an adjacent-line prefetch
pub struct PortCounters {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    drops: [AtomicU64; DropReason::COUNT],
}

impl Default for PortCounters {
    fn default() -> Self {
        Self {
            rx_frames: AtomicU64::new(0),
            rx_bytes: AtomicU64::new(0),
            tx_frames: AtomicU64::new(0),
            tx_bytes: AtomicU64::new(0),
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl PortCounters {
    /// A frame of `bytes` bytes arrived from the port.
    pub fn count_rx(&self, bytes: usize) {
        bump(&self.rx_frames, 1);
        bump(&self.rx_bytes, bytes as u64);
    }

    /// A frame of `bytes` bytes was handed to the port.
    pub fn count_tx(&self, bytes: usize) {
        bump(&self.tx_frames, 1);
        bump(&self.tx_bytes, bytes as u64);
    }

    /// A frame was dropped, and the port is the one to blame or to tell.
    pub fn count_drop(&self, reason: DropReason) {
        bump(&self.drops[reason.index()], 1);
    }

    /// Adds what was counted here to `totals`.
    pub fn add_to(&self, totals: &mut PortTotals) {
        totals.rx_frames += self.rx_frames.load(Relaxed);
        totals.rx_bytes += self.rx_bytes.load(Relaxed);
        totals.tx_frames += self.tx_frames.load(Relaxed);
        totals.tx_bytes += self.tx_bytes.load(Relaxed);
        for (total, counter) in totals.drops.iter_mut().zip(&self.drops) {
            *total += counter.load(Relaxed);
        }
    }
}

/// A single writer needs no read-modify-write instruction.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Counts of all workers at a port, at one moment. Frames and bytes are as they crossed the
/// port: a superframe is one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortTotals {
    /// Frames that arrived from the port.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames handed to the port.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    drops: [u64; DropReason::COUNT],
}

impl Default for PortTotals {
    fn default() -> Self {
        Self {
            rx_frames: 0,
            rx_bytes: 0,
            tx_frames: 0,
            tx_bytes: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl PortTotals {
    /// Frames dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }

    /// Adds `count` frames dropped for `reason`, which somebody else counted.
    pub fn add_drops(&mut self, reason: DropReason, count: u64) {
        self.drops[reason.index()] += count;
    }

    /// The reasons that happened, with their counts, in the order of their codes.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&r| (r, self.dropped(r)))
            .filter(|&(_, n)| n > 0)
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.drops.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up() {
        let workers = [PortCounters::default(), PortCounters::default()];
        workers[0].count_rx(60);
        workers[1].count_rx(1500);
        workers[1].count_tx(99);
        workers[0].count_drop(DropReason::SamePort);
        let mut totals = PortTotals::default();
        workers.iter().for_each(|w| w.add_to(&mut totals));
        assert_eq!(
            (
                totals.rx_frames,
                totals.rx_bytes,
                totals.tx_frames,
                totals.tx_bytes
            ),
            (2, 1560, 1, 99)
        );
        assert_eq!(
            totals.drops().collect::<Vec<_>>(),
            [(DropReason::SamePort, 1)]
        );
        assert_eq!(totals.dropped_in_all(), 1);
    }
}
