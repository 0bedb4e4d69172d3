//! Counts of queries by their end. Each is counted once when it comes and once when it is done:
//! `queries = answered + forwarded + cached + refused + failed` whenever none is under way.
//!
//! Any thread counts. TCP connections that are closed unread are counted as refused queries too.

use crate::Refusal;
use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By our own table.
    Answered,
    /// By one of the host's resolvers.
    Forwarded,
    /// By what one of them said before.
    Cached,
    /// For a reason.
    Refused(Refusal),
    /// None of the host's resolvers knew.
    Failed,
}

/// The live counters.
#[derive(Debug)]
pub(crate) struct Counters {
    queries: AtomicU64,
    answered: AtomicU64,
    forwarded: AtomicU64,
    cached: AtomicU64,
    failed: AtomicU64,
    mismatched: AtomicU64,
    refused: [AtomicU64; Refusal::COUNT],
}

/// Counters as they were at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Queries that came.
    pub queries: u64,
    /// Answered from the table of names, absence included.
    pub answered: u64,
    /// Answered by one of the host's resolvers.
    pub forwarded: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// Answered SERVFAIL, because none of the host's resolvers gave an answer.
    pub failed: u64,
    /// Messages from a resolver's address that answered no question of ours: ignored.
    pub mismatched: u64,
    refused: [u64; Refusal::COUNT],
}

impl Totals {
    /// Queries refused for this reason.
    #[must_use]
    pub const fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal.index()]
    }

    /// Queries refused for any reason.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            queries: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            mismatched: AtomicU64::new(0),
            refused: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    pub(crate) fn count_query(&self) {
        self.queries.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_mismatched(&self) {
        self.mismatched.fetch_add(1, Relaxed);
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Answered => &self.answered,
            Outcome::Forwarded => &self.forwarded,
            Outcome::Cached => &self.cached,
            Outcome::Failed => &self.failed,
            Outcome::Refused(refusal) => &self.refused[refusal.index()],
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            queries: self.queries.load(Relaxed),
            answered: self.answered.load(Relaxed),
            forwarded: self.forwarded.load(Relaxed),
            cached: self.cached.load(Relaxed),
            failed: self.failed.load(Relaxed),
            mismatched: self.mismatched.load(Relaxed),
            refused: array::from_fn(|index| self.refused[index].load(Relaxed)),
        }
    }
}
