//! A frame that comes to the router, and the router's decision: the words that its parts share.

use crate::outbox::Origin;
use crate::rewrite::Rewrite;
use pipeline::{Frame, NetworkId, PortId};
use wire::Headers;

/// A frame that was sent to a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'f> {
    /// The network it arrived in.
    pub network: NetworkId,
    /// The port it came from.
    pub from: PortId,
    /// The frame.
    pub frame: &'f Frame<'f>,
    /// Its headers.
    pub headers: &'f Headers,
}

impl Arrival<'_> {
    /// The origin of the frame, with which it can be carried again.
    pub(crate) const fn origin(&self) -> Origin {
        Origin {
            from: self.from,
            tunnel: self.frame.tunnel,
            vnet: self.frame.vnet,
            id: self.frame.id,
        }
    }
}

/// The decision of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// The frame goes on into this network, changed so.
    Forward(NetworkId, Rewrite),
    /// It was for the router, which answered (see the outbox), learned from it, or holds it for a
    /// moment.
    Taken,
}
