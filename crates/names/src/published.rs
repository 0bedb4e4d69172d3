//! The one place where the table of names is swapped for another.
//!
//! An attach publishes before it answers its caller. The caller's next question is then always
//! decided by the new table: a query reads the table when it is decided, never before, and what
//! is ours is in no cache.

use crate::Zones;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// The table in force: clones share it.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<ArcSwap<Zones>>);

impl Names {
    /// A table without names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `zones` in force. Every query that is decided after this returns sees it.
    pub fn publish(&self, zones: Zones) {
        self.0.store(Arc::new(zones));
    }

    /// The table in force now.
    pub(crate) fn load(&self) -> Guard<Arc<Zones>> {
        self.0.load()
    }
}
