//! Stages 5 and 6, route and translate: what becomes of a packet that is sent to a gateway.

use crate::outbox::Outbox;
use crate::rewrite::Rewrite;
use crate::router::Router;
use pipeline::{DropReason, Effects, Frame, Instant, NetworkId, PortId, Trace};
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

/// What the router decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// The frame goes on into this network, changed so.
    Forward(NetworkId, Rewrite),
    /// It was for the router, which answered (see the outbox), learned from it, or holds it for a
    /// moment.
    Taken,
}

/// Decides what becomes of a frame that was sent to a gateway, or that the router claims.
///
/// # Errors
/// Why the frame goes nowhere.
pub fn route<T: Trace>(
    router: &Router,
    arrival: &Arrival<'_>,
    now: Instant,
    effects: Effects,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<Routed, DropReason> {
    let _ = (router, arrival, now, effects, outbox, trace);
    Err(DropReason::NoRoute)
}
