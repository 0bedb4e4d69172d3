//! Ports with many far ends: an overlay's one socket leads to many hosts and carries many networks.
//!
//! ```text
//!   received   Tunnel { peer, key }           the far end that sent the frame, and its tunnel key
//!   sent       Destination { peers, key }     the far ends that are to have it, and its tunnel key
//! ```
//! Any other port has one far end: its frames come through [`Tunnel::default`], and where they are
//! to go is of no interest to it.

use crate::PeerId;
use std::fmt;

/// The key by which the frames of a network are known in a tunnel: VXLAN's network identifier
/// (RFC 7348), GRE's key (RFC 2890).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TunnelKey(pub u32);

impl fmt::Display for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tunnel that a frame came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tunnel {
    /// The far end that sent it.
    pub peer: PeerId,
    /// The key that it came with.
    pub key: TunnelKey,
}

/// Some of a port's far ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peers {
    /// This one.
    One(PeerId),
    /// All of them.
    #[default]
    All,
    /// All but this one.
    AllBut(PeerId),
}

impl Peers {
    /// Returns whether `peer` is among them.
    #[must_use]
    pub fn contain(self, peer: PeerId) -> bool {
        match self {
            Self::One(one) => peer == one,
            Self::All => true,
            Self::AllBut(one) => peer != one,
        }
    }
}

/// Where a frame is to go beyond the port that sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destination {
    /// The far ends that are to have it: the port makes the copies.
    pub peers: Peers,
    /// The key that it is sent with.
    pub key: TunnelKey,
}
