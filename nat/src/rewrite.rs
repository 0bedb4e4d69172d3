//! What becomes of a routed frame, as a value.
//!
//! The stages decide and change nothing: a [`Rewrite`] is what they decided, and
//! [`Rewrite::apply`] carries it out once the copies for mirrors, which show the frame as it
//! arrived, have been sent.

use crate::TransportAddr;
use pipeline::Frame;
use wire::{Headers, MacAddr};

/// The addresses a packet leaves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// Its source.
    pub src: TransportAddr,
    /// Its destination.
    pub dst: TransportAddr,
}

/// How a frame is changed on its way through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// The next hop's MAC.
    pub dst_mac: MacAddr,
    /// The router's MAC in the network it leaves into.
    pub src_mac: MacAddr,
    /// The packet's own addresses; `None` leaves them.
    pub outer: Option<Translation>,
    /// The addresses of the packet that an ICMP error quotes; `None` leaves them.
    pub quoted: Option<Translation>,
    /// The largest TCP MSS that a SYN may offer (RFC 4459, 3.2); `None` leaves it.
    pub mss: Option<u16>,
}

impl Rewrite {
    /// Carries it out: MACs, addresses, ports, checksums in whichever state they are, and one hop
    /// less. `headers` are those of the frame as it is now.
    pub fn apply(&self, frame: &mut Frame<'_>, headers: &Headers) {
        let _ = (frame, headers);
        unimplemented!()
    }
}
