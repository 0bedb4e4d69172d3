//! Who listens to the decisions of the stages.
//!
//! Stages are generic over a [`Trace`]. Where nobody watches they run with [`NoTrace`], so telling a
//! decision compiles to nothing; a live trace, `explain` and the tests run the very same functions
//! with a [`Recorder`] or a bounded record.

use crate::Decision;

/// A listener to decisions.
pub trait Trace {
    /// Takes a decision, in the order in which the stages take them.
    fn tell(&mut self, decision: Decision);
}

impl<T: Trace + ?Sized> Trace for &mut T {
    #[inline(always)]
    fn tell(&mut self, decision: Decision) {
        (**self).tell(decision);
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn tell(&mut self, _: Decision) {}
}

/// Keeps every decision, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorder {
    /// The decisions told so far.
    pub decisions: Vec<Decision>,
}

impl Trace for Recorder {
    fn tell(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }
}
