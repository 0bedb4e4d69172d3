//! What would become of a frame?
//!
//! Runs [`process`] itself against the live tables, with nothing changed and everything told.

use crate::process::{Outcome, Sinks, process};
use crate::view::View;
use nat::Outbox;
use pipeline::{DropReason, Event, Frame, HEADROOM, Instant, MAX_FRAME, PortId, Recorder, Stage};
use switch::{Effects, Outputs, Transmit};
use wire::VnetHeader;

/// The answer, with every decision that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What becomes of the frame, or why nothing.
    pub verdict: Result<Outcome, DropReason>,
    /// What each stage decided, in order.
    pub steps: Vec<Event>,
    /// The copies that would be sent.
    pub outputs: Vec<Transmit>,
    /// The frame as it would leave, where the router changes it.
    pub rewritten: Option<Vec<u8>>,
}

/// Explains what would become of a frame of these bytes from the port `from`, at `now`.
#[must_use]
pub fn explain(
    view: &View,
    from: PortId,
    bytes: &[u8],
    vnet: VnetHeader,
    now: Instant,
) -> Explanation {
    let mut trace = Recorder::default();
    if bytes.len() > MAX_FRAME {
        return Explanation {
            verdict: Err(DropReason::FrameTooLong),
            steps: Vec::new(),
            outputs: Vec::new(),
            rewritten: None,
        };
    }
    let mut room = vec![0; HEADROOM + bytes.len()];
    room[HEADROOM..].copy_from_slice(bytes);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, vnet);
    let (mut out, mut outbox) = (Outputs::default(), Outbox::default());
    let verdict = process(
        &frame,
        from,
        &view.against(now, Effects::None),
        &mut Sinks {
            out: &mut out,
            outbox: &mut outbox,
            trace: &mut trace,
        },
    );
    for copy in &out.transmits {
        if view.outlet(copy.port).is_none() {
            trace.events.push(Event {
                stage: Stage::Egress,
                what: format!("{} is not open: the copy is lost", copy.port),
            });
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
        steps: trace.events,
        outputs: out.transmits,
        rewritten,
    }
}
