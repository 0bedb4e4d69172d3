//! What would become of a frame?
//!
//! Runs the line itself against the live tables, with nothing changed and everything told.

use crate::answer::answer;
use crate::process::Outcome;
use crate::view::View;
use lease::{Carried, FlowKey, Key};
use nat::{Arrival, Outbox};
use pipeline::{
    Context, Decision, DropReason, Frame, HEADROOM, Instant, Location, MAX_FRAME, PortId, Recorder,
    Trace, Tunnel,
};
use std::sync::Arc;
use switch::{Forward, Membership, Outputs, Transmit};
use wire::{Headers, VnetHeader};

/// The answer, with every decision that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What becomes of the frame, or why nothing.
    pub verdict: Result<Outcome, DropReason>,
    /// The decisions of the stages, in order.
    pub steps: Vec<Decision>,
    /// The copies that would be sent.
    pub outputs: Vec<Transmit>,
    /// The frame as it would leave, where the router changes it.
    pub rewritten: Option<Vec<u8>>,
    /// Frames that the kernel carried by the lease that has this frame's key, if one is out.
    pub leased: Option<Carried>,
}

/// Explains what would become of a frame of these bytes from the port `from`, through `tunnel`, at `now`.
#[must_use]
pub fn explain(
    view: &View,
    from: PortId,
    tunnel: Tunnel,
    bytes: &[u8],
    vnet: VnetHeader,
    now: Instant,
) -> Explanation {
    let mut trace = Recorder::default();
    if bytes.len() > MAX_FRAME {
        let reason = DropReason::FrameTooLong;
        return Explanation {
            verdict: Err(reason),
            steps: vec![Decision::Dropped { reason }],
            outputs: Vec::new(),
            rewritten: None,
            leased: None,
        };
    }
    let mut room = vec![0; HEADROOM + bytes.len()];
    room[HEADROOM..].copy_from_slice(bytes);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, vnet);
    frame.tunnel = tunnel;
    let (mut out, mut outbox) = (Outputs::default(), Outbox::default());
    let context = Context::question(now, &mut trace);
    let mut line = view.line(context, &mut out, &mut outbox);
    let verdict = line.process(&frame, from);
    for copy in &out.transmits {
        if view.outlet(copy.port).is_none() {
            trace.tell(Decision::PortClosed { port: copy.port });
        }
    }
    let rewritten = if let Ok(Outcome::Routed {
        rewrite, headers, ..
    }) = &verdict
    {
        rewrite.apply(&mut frame, headers);
        Some(frame.bytes().to_vec())
    } else {
        None
    };
    Explanation {
        verdict,
        steps: trace.decisions,
        outputs: out.transmits,
        rewritten,
        leased: leased(view, from, bytes),
    }
}

/// Returns what was carried by the lease that the program would find for a frame.
fn leased(view: &View, from: PortId, bytes: &[u8]) -> Option<Carried> {
    let (leases, terms) = (view.leases()?, view.terms(from)?);
    let port = view.outlet(from)?.hook()?.interface;
    let generation = view.lease_generation();
    let headers = Headers::parse(bytes).ok()?;
    if terms.flows || headers.dst == terms.gateway {
        leases.carried_flow(&FlowKey::of(generation, port, &headers)?)
    } else {
        leases.carried(&Key::of(bytes, port, generation, terms.locked)?)
    }
}

/// The answer that a frame would get, and what would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Where the frame would have gone, and the answer comes from.
    pub from: PortId,
    /// The answer.
    pub bytes: Vec<u8>,
    /// What becomes of it.
    pub explanation: Explanation,
}

/// Explains what would become of the answer to a frame of these bytes from the port `from`, through
/// `tunnel`, which was `explained`: as if the frame had passed, and whoever gets it answered. `None` where the frame
/// goes to nobody or to many, or is nothing that is answered.
#[must_use]
pub fn explain_reply(
    view: &View,
    from: PortId,
    tunnel: Tunnel,
    bytes: &[u8],
    explained: &Explanation,
    now: Instant,
) -> Option<Reply> {
    let own = view.topology.ingress(from, tunnel).ok()?.network.id;
    let (network, forward, outer) = match explained.verdict.as_ref().ok()? {
        Outcome::Switched(forward) => (own, *forward, None),
        Outcome::Routed {
            network,
            forward,
            rewrite,
            ..
        } => (*network, *forward, rewrite.outer),
        Outcome::Taken => return None,
    };
    let to = receiver(view, forward, &explained.outputs)?;
    let reply = answer(explained.rewritten.as_deref().unwrap_or(bytes))?;
    let mut room = bytes.to_vec();
    let end = room.len();
    let mut frame = Frame::new(&mut room, 0, end, VnetHeader::default());
    frame.tunnel = tunnel;
    let headers = Headers::parse(bytes).ok()?;
    let question = Arrival {
        network: own,
        from,
        frame: &frame,
        headers: &headers,
    };
    let supposed = view.router.supposing(&question, network, outer, now);
    let supposed = supposed.map(|router| {
        let topology = Arc::clone(&view.topology);
        view.with_configuration(topology, Arc::new(router))
    });
    let view = supposed.as_ref().unwrap_or(view);
    let back = Tunnel {
        peer: to.peer,
        key: view.topology.network(network)?.key.unwrap_or_default(),
    };
    let explanation = explain(view, to.port, back, &reply, VnetHeader::default(), now);
    Some(Reply {
        from: to.port,
        bytes: reply,
        explanation,
    })
}

/// The one place that a frame goes to; `None` where it goes to nobody or to many.
fn receiver(view: &View, forward: Forward, outputs: &[Transmit]) -> Option<Location> {
    match (forward, outputs) {
        (Forward::Unicast(to), _) => Some(to),
        (Forward::Flood(_), [only]) => match view.topology.port(only.port)?.membership {
            Membership::Tunnel(_) => None,
            Membership::None | Membership::Network(_) => Some(only.port.into()),
        },
        (Forward::Flood(_) | Forward::Gateway, _) => None,
    }
}
