//! What would become of a frame?
//!
//! Runs [`process`] itself against the live tables, with nothing changed and everything told.

use crate::process::process;
use crate::view::View;
use pipeline::{DropReason, Event, Frame, HEADROOM, Instant, MAX_FRAME, PortId, Recorder, Stage};
use switch::{Effects, Forward, Outputs, Transmit};
use wire::VnetHeader;

/// The answer, with every decision that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where the frame goes, or why nowhere.
    pub verdict: Result<Forward, DropReason>,
    /// What each stage decided, in order.
    pub steps: Vec<Event>,
    /// The copies that would be sent.
    pub outputs: Vec<Transmit>,
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
        };
    }
    let mut room = vec![0; HEADROOM + bytes.len()];
    room[HEADROOM..].copy_from_slice(bytes);
    let end = room.len();
    let frame = Frame::new(&mut room, HEADROOM, end, vnet);
    let mut out = Outputs::default();
    let verdict = process(
        &frame,
        from,
        &view.topology,
        now,
        Effects::None,
        &mut out,
        &mut trace,
    );
    for copy in &out.transmits {
        if view.outlet(copy.port).is_none() {
            trace.events.push(Event {
                stage: Stage::Egress,
                what: format!("{} is not open: the copy is lost", copy.port),
            });
        }
    }
    Explanation {
        verdict,
        steps: trace.events,
        outputs: out.transmits,
    }
}
