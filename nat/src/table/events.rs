//! Events of connections, for who watches: a bounded queue a shard, losses counted exactly.
//! When nobody watches, a connection's beginning and end cost one comparison.

use super::entry::Entry;
use pipeline::Instant;
use std::collections::VecDeque;

/// Something happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The time.
    pub at: Instant,
    /// The change.
    pub change: Change,
    /// The connection, as it was then.
    pub entry: Entry,
}

/// A change of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its first packet was seen.
    Opened,
    /// Both sides have spoken; of TCP, both have acknowledged the other's SYN.
    Established,
    /// Both sides have finished it, or one has reset it; it is remembered for a while.
    Closed,
    /// It is forgotten.
    Ended(Ending),
}

/// Why a connection is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was silent for too long. Told when it is noticed, which may be later.
    Expired,
    /// Room was needed.
    Evicted,
    /// A new one has the same addresses and ports.
    Replaced,
    /// Somebody asked for it.
    Flushed,
}

/// The queue of a shard.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Events kept; 0 when nobody watches.
    limit: usize,
    queue: VecDeque<Event>,
    lost: u64,
}

impl Events {
    pub(crate) fn watch(&mut self, limit: usize) {
        self.limit = limit;
        if limit == 0 {
            *self = Self::default();
        }
    }

    /// Moves what happened into `out`; answers how many events were lost since the last time.
    pub(crate) fn take(&mut self, out: &mut Vec<Event>) -> u64 {
        out.extend(self.queue.drain(..));
        std::mem::take(&mut self.lost)
    }

    /// Keeps an event, if anybody watches: only then is `entry` asked for the connection.
    #[inline]
    pub(crate) fn tell(
        &mut self,
        at: Instant,
        change: Change,
        entry: impl FnOnce() -> Option<Entry>,
    ) {
        if self.limit == 0 {
            return;
        }
        if self.queue.len() >= self.limit {
            self.lost += 1;
            return;
        }
        if let Some(entry) = entry() {
            self.queue.push_back(Event { at, change, entry });
        }
    }
}
