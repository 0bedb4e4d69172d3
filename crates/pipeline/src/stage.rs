//! The stages that a frame passes.

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
