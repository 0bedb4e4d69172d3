//! A packet as connections see it.

use crate::tcp;
use crate::tuple::Tuple;

/// A packet, as far as connections are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Who sends it to whom.
    pub tuple: Tuple,
    /// The state of the connection by its protocol.
    pub segment: Segment,
    /// Its bytes on the wire, for the counters.
    pub len: usize,
}

/// The facts about the connection in a packet's protocol.
#[derive(Debug, Clone, Copy)]
pub enum Segment {
    /// TCP says it all.
    Tcp(tcp::Segment),
    /// No other protocol does.
    Other,
}
