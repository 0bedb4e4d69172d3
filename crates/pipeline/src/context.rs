//! The context of a frame, which all its stages share.

use crate::{Decision, Effects, Instant, Trace};

/// The time, whether the frame is really there, and who listens. Each stage takes it first.
#[derive(Debug, Clone, Copy)]
pub struct Context<T> {
    /// The time.
    pub now: Instant,
    /// Whether the frame is really there.
    pub effects: Effects,
    /// Who listens to the decisions.
    pub trace: T,
}

impl<T: Trace> Context<T> {
    /// For a frame that is really there.
    pub const fn live(now: Instant, trace: T) -> Self {
        Self {
            now,
            effects: Effects::Live,
            trace,
        }
    }

    /// For a question about a frame: nothing is changed.
    pub const fn question(now: Instant, trace: T) -> Self {
        Self {
            now,
            effects: Effects::None,
            trace,
        }
    }

    /// Tells a decision.
    #[inline(always)]
    pub fn tell(&mut self, decision: Decision) {
        self.trace.tell(decision);
    }
}
