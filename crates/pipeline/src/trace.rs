//! What a stage tells whoever watches.
//!
//! Stages are generic over a [`Trace`]. The live path runs with [`NoTrace`], whose `ENABLED` is
//! false, so building the events compiles to nothing; `explain` and the tests run the very same
//! functions with a [`Recorder`].

use std::fmt;

/// A stage of the straight line, in the order a frame passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Parse once.
    Parse,
    /// May this port send this frame, and in which VLAN is it?
    Admit,
    /// Remember where the source is.
    Learn,
    /// Where does it go?
    Forward,
    /// May one network or endpoint talk to the other, and over which gateway?
    Route,
    /// Which addresses and ports does it leave with?
    Translate,
    /// May it leave there, and in which form?
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

/// One decision of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The stage that decided.
    pub stage: Stage,
    /// What it decided and why, for a person.
    pub what: String,
}

/// Whoever wants to know what the stages decide.
pub trait Trace {
    /// False when nobody listens: the sentence is then never built.
    const ENABLED: bool;

    /// Takes one event.
    fn record(&mut self, event: Event);

    /// Tells that `stage` decided `what`; the closure runs only when somebody listens.
    #[inline]
    fn tell(&mut self, stage: Stage, what: impl FnOnce() -> String)
    where
        Self: Sized,
    {
        if Self::ENABLED {
            self.record(Event {
                stage,
                what: what(),
            });
        }
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    const ENABLED: bool = false;

    fn record(&mut self, _: Event) {}
}

/// Keeps every event, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorder {
    /// What was told so far.
    pub events: Vec<Event>,
}

impl Trace for Recorder {
    const ENABLED: bool = true;

    fn record(&mut self, event: Event) {
        self.events.push(event);
    }
}
