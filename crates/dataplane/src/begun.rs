//! Flows that the kernel has begun by a grant, taken in.
//!
//! Each is decided here once more, by the packet that began it and on the same straight line, so that everything
//! is known of it that is known of others: who sent it, which connection it began, what its quota is. Nothing is
//! sent: the kernel did that. What is not decided as the kernel did it is taken back.

use crate::offers::Carried;
use crate::process::Outcome;
use crate::view::View;
use lease::{Decided, Leases};
use nat::Outbox;
use pipeline::{Context, Frame, HEADROOM, Instant, NoTrace, PortId};
use switch::{Forward, Outputs};
use wire::{Headers, MacAddr, VnetHeader};

/// Takes in what the kernel has begun. What the router has to say is put into `outbox`. To be called before packets
/// are carried that may be of such flows: [`Leases::has_begun`] says whether there are any.
pub fn take_begun(leases: &Leases, view: &View, now: Instant, outbox: &mut Outbox) {
    let mut out = Outputs::default();
    let mut bytes = Vec::new();
    leases.take_begun(&view.router.live.tables, now, |from, at, begun| {
        bytes.clear();
        bytes.resize(HEADROOM, 0);
        bytes.extend_from_slice(&begun.frame);
        // The payload does not count, but its length does.
        let end = HEADROOM + begun.length as usize;
        bytes.resize(end, 0);
        let frame = Frame::new(&mut bytes, HEADROOM, end, VnetHeader::default());
        let context = Context::live(at, NoTrace);
        let outcome = view.line(context, &mut out, outbox).process(&frame, from);
        if out.sender_moved
            && let Some(&mac) = frame.bytes()[6..].first_chunk()
        {
            leases.revoke_station(MacAddr(mac));
        }
        decided(view, from, &frame, &outcome.ok()?, &out, at)
    });
    // They may have finished by now.
    leases.settle_finished(&view.router.live.tables, now);
    leases.take_back(&view.router.live.tables);
}

/// The lease that a flow which began with this frame would get.
fn decided(
    view: &View,
    from: PortId,
    frame: &Frame<'_>,
    outcome: &Outcome,
    out: &Outputs,
    now: Instant,
) -> Decided {
    let carried = Carried {
        view,
        from,
        hook: view.outlet(from)?.hook()?,
        frame,
        out,
        now,
    };
    match outcome {
        Outcome::Switched(Forward::Unicast(to)) => {
            let headers = Headers::parse(frame.bytes()).ok()?;
            carried.begun(*to, &headers, None)
        }
        Outcome::Routed {
            network,
            forward: Forward::Unicast(to),
            rewrite,
            headers,
        } => carried.begun(*to, headers, Some((*network, rewrite))),
        Outcome::Switched(_) | Outcome::Routed { .. } | Outcome::Taken => None,
    }
}
