//! Who listens to the decisions of the stages.
//!
//! Stages are generic over a [`Trace`]. Where nobody watches they run with [`NoTrace`], so telling a
//! decision compiles to nothing; a live trace, `explain` and the tests run the very same functions
//! with a [`Recorder`] or a bounded record.

use crate::Decision;
use std::fmt;

/// A stage of the straight line, in the order a frame passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reads the headers once.
    Parse,
    /// Decides whether the port may send the frame, and in which VLAN it is.
    Admit,
    /// Remembers where the source is.
    Learn,
    /// Decides where the frame goes.
    Forward,
    /// Decides whether networks and endpoints may talk to each other, and by which way.
    Route,
    /// Decides with which addresses and ports the packet leaves.
    Translate,
    /// Decides whether the frame may leave by a port, and in which form.
    Egress,
}

impl Stage {
    /// The stage's name in traces.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Admit => "admit",
            Self::Learn => "learn",
            Self::Forward => "forward",
            Self::Route => "route",
            Self::Translate => "translate",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A listener to decisions.
pub trait Trace {
    /// Takes a decision, in the order in which the stages take them.
    fn tell(&mut self, decision: Decision);
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
