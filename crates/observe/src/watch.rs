//! A watch: whose records go where, and the exact account of those that had no room.
//!
//! A watch has one ring a source. A source writes to its own ring alone, so records of one source
//! stay in order, and a slow reader costs a writer one counter and nothing else: a full ring takes
//! no record, and counts it. For each source `matched = taken + lost + waiting` holds whenever the
//! writer is between two records.

use crate::{FlowMatch, Record};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Somebody who wants to see the frames that a filter matches.
#[derive(Debug)]
pub struct Watch {
    filter: FlowMatch,
    rings: Box<[Ring]>,
}

/// All watches, as the sources see them.
pub type Watches = Arc<[Arc<Watch>]>;

/// Numbers of records since the watch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Records that the filter matched.
    pub matched: u64,
    /// Records of these that found their ring full.
    pub lost: u64,
}

#[derive(Debug)]
struct Ring {
    records: ArrayQueue<Record>,
    matched: AtomicU64,
    lost: AtomicU64,
}

impl Watch {
    /// A watch over the records that `filter` matches, with room for `capacity` records (at least
    /// one) from each of `sources` sources.
    #[must_use]
    pub fn new(filter: FlowMatch, sources: usize, capacity: usize) -> Self {
        let ring = || Ring {
            records: ArrayQueue::new(capacity.max(1)),
            matched: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        Self {
            filter,
            rings: (0..sources).map(|_| ring()).collect(),
        }
    }

    /// Takes `record` if the filter matches. To be called by `source` alone.
    pub fn offer(&self, source: usize, flow: &crate::Flow<'_>, record: &Record) {
        let Some(ring) = self.rings.get(source).filter(|_| self.filter.matches(flow)) else {
            return;
        };
        bump(&ring.matched);
        if ring.records.push(*record).is_err() {
            bump(&ring.lost);
        }
    }

    /// Moves at most `most` waiting records to the end of `out`, in order of time.
    pub fn take(&self, most: usize, out: &mut Vec<Record>) {
        let start = out.len();
        for ring in &self.rings {
            let room = most - (out.len() - start);
            // What comes meanwhile waits for the next call, so that no busy source ends the turn of
            // the others.
            let waiting = ring.records.len().min(room);
            out.extend(std::iter::from_fn(|| ring.records.pop()).take(waiting));
        }
        out[start..].sort_by_key(|record| record.at);
    }

    /// The numbers of records of all sources.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ring in &self.rings {
            tally.lost += ring.lost.load(Relaxed);
            tally.matched += ring.matched.load(Relaxed);
        }
        tally
    }
}

/// One writer needs no read-modify-write instruction.
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flow;
    use pipeline::{Frame, Instant, PacketId, PortId, WorkerId};
    use wire::VnetHeader;

    fn offer(watch: &Watch, source: usize, id: u64) {
        let mut room = [0; 60];
        let mut frame = Frame::new(&mut room, 0, 60, VnetHeader::default());
        frame.id = PacketId(id);
        let record = Record::new(&frame, PortId(0), Instant::from_secs(id), WorkerId(0));
        watch.offer(source, &Flow::of(&record, None), &record);
    }

    fn taken(watch: &Watch, most: usize) -> Vec<u64> {
        let mut out = Vec::new();
        watch.take(most, &mut out);
        out.iter().map(|record| record.id.0).collect()
    }

    #[test]
    fn a_full_ring_counts_and_no_record_is_counted_twice() {
        let watch = Watch::new(FlowMatch::all(), 2, 3);
        (0..5).for_each(|id| offer(&watch, 0, id));
        offer(&watch, 1, 1);
        assert_eq!(taken(&watch, 100), [0, 1, 1, 2]);
        let tally = Tally {
            matched: 6,
            lost: 2,
        };
        assert_eq!(watch.tally(), tally);
        offer(&watch, 0, 9);
        assert_eq!(taken(&watch, 100), [9]);
        assert_eq!(watch.tally().matched, 7);
    }

    #[test]
    fn a_reader_takes_no_more_than_it_asks_for() {
        let watch = Watch::new(FlowMatch::all(), 1, 8);
        (0..6).for_each(|id| offer(&watch, 0, id));
        assert_eq!(taken(&watch, 4), [0, 1, 2, 3]);
        assert_eq!(taken(&watch, 4), [4, 5]);
        offer(&watch, 7, 1);
        assert_eq!(watch.tally().matched, 6, "a source that is not there");
    }

    /// Taken while it is written by another thread, every record is shown or counted.
    #[test]
    fn taken_and_lost_make_up_the_matched_whatever_the_readers_pace() {
        const OFFERED: u64 = 20_000;
        let watch = Watch::new(FlowMatch::all(), 1, 16);
        let mut out = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..OFFERED).for_each(|id| offer(&watch, 0, id)));
            while !writer.is_finished() {
                watch.take(7, &mut out);
            }
        });
        while watch.tally().matched - watch.tally().lost > out.len() as u64 {
            watch.take(100, &mut out);
        }
        let tally = watch.tally();
        assert_eq!(tally.matched, OFFERED);
        assert_eq!(out.len() as u64 + tally.lost, OFFERED);
        assert!(out.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}
