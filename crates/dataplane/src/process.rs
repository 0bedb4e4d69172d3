//! The straight line: one frame, from the port it came from to the ports it leaves by.
//!
//! ```text
//!   now, view      once per batch (forwarder.rs)
//!      |
//!   1  parse       headers, once
//!   2  admit       may this port send it, in which VLAN?
//!   3  learn       remember where its source is
//!   4  forward     Unicast(port) | Flood(kind)
//!   7  egress      which ports, tagged how?
//!      |
//!   transmit       forwarder.rs
//! ```
//! (5 and 6, route and translate, belong between forward and egress.)
//!
//! The function is pure: it reads the frame and the view, writes `out`, and changes the live
//! tables only with [`Effects::Live`]. A live frame, `explain` and the tests run this very code.

use pipeline::{DropReason, Frame, Instant, MAX_FRAME, PortId, Stage, Trace};
use switch::{Effects, Forward, Outputs, Topology};
use wire::Headers;

/// Decides what becomes of `frame`, which came from the port `from`. The copies to send are left
/// in `out`; after an error these are at most copies for a mirror.
///
/// # Errors
/// Why the frame goes nowhere.
pub fn process<T: Trace>(
    frame: &Frame<'_>,
    from: PortId,
    view: &Topology,
    now: Instant,
    effects: Effects,
    out: &mut Outputs,
    trace: &mut T,
) -> Result<Forward, DropReason> {
    out.clear();
    let verdict = line(frame, from, view, now, effects, out, trace);
    if let Err(reason) = verdict {
        trace.tell(reason.stage(), || {
            format!("dropped, {reason}: {}", reason.describe())
        });
    }
    verdict
}

fn line<T: Trace>(
    frame: &Frame<'_>,
    from: PortId,
    view: &Topology,
    now: Instant,
    effects: Effects,
    out: &mut Outputs,
    trace: &mut T,
) -> Result<Forward, DropReason> {
    let headers = parse(frame, trace)?;
    let Headers { src, dst, .. } = headers;
    let ingress = view.ingress(from)?;
    switch::arrive(view, ingress.port, &headers, out, trace);
    let admitted = switch::admit(ingress, &headers, trace)?;
    switch::learn(ingress, admitted.vlan, src, now, effects, trace)?;
    let forward = switch::forward(ingress, admitted.vlan, src, dst, now, effects, trace)?;
    let packet_len = wire::wire_mtu(&frame.vnet, &headers, frame.len());
    switch::egress(view, ingress, &admitted, forward, packet_len, out, trace)?;
    Ok(forward)
}

/// Parses the headers and holds the virtio header against them.
fn parse<T: Trace>(frame: &Frame<'_>, trace: &mut T) -> Result<Headers, DropReason> {
    if frame.len() >= MAX_FRAME {
        return Err(DropReason::FrameTooLong);
    }
    let headers = Headers::parse(frame.bytes()).map_err(|_| DropReason::FrameTooShort)?;
    trace.tell(Stage::Parse, || describe(&headers, frame));
    wire::check_vnet(&frame.vnet, &headers, frame.len()).map_err(|_| DropReason::VnetInvalid)?;
    Ok(headers)
}

fn describe(headers: &Headers, frame: &Frame<'_>) -> String {
    let Headers {
        src,
        dst,
        ethertype,
        ..
    } = headers;
    let tag = headers
        .outer
        .map_or_else(String::new, |t| format!(", tag {}", t.vid()));
    let gso = if frame.vnet.is_gso() {
        format!(", superframe of {}", frame.vnet.gso_size)
    } else {
        String::new()
    };
    format!(
        "{src} -> {dst}, {ethertype}{tag}, {} bytes{gso}",
        frame.len()
    )
}
