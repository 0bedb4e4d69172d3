//! A packet as connections see it.

use crate::tcp;
use crate::tuple::Tuple;
use wire::TcpFlags;

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

impl Flow {
    /// Returns whether it is a SYN of TCP, the first of its side or the answer to one.
    pub(crate) const fn opens(&self) -> bool {
        matches!(&self.segment, Segment::Tcp(segment) if segment.flags.contains(TcpFlags::SYN))
    }
}
