//! The straight line: one frame, from the port it came from to the ports it leaves by.
//!
//! ```text
//!   now, view      once per batch (forwarder.rs)
//!      |
//!   1  parse       headers, once
//!      arrive      in which form; the ingress mirror's copy
//!   2  admit       may this port send it, in which VLAN?
//!      rate        has the port allowance left?
//!   3  learn       remember where its source is
//!   4  forward     Unicast(port) | Flood(kind) | Gateway
//!      |                                            |
//!      observe     a flood may tell of a neighbour     5  route      may it, and where to?
//!      bridge      do the rules of both ends agree?    6  translate  as whom?
//!      |                                                  forward    again, in the next network
//!      |                                            |
//!   7  egress      which ports, tagged how?
//!      shape       have the receivers allowance left?
//!      |
//!   transmit       forwarder.rs, which carries a rewrite out first
//! ```
//! The function is pure: it reads the frame and what it is held [`Against`], writes to its
//! [`Sinks`], and changes the live tables only with [`Effects::Live`]. A live frame, `explain`
//! and the tests run this very code.

use nat::{Arrival, Outbox, Rewrite, Routed, Router};
use pipeline::{Decision, DropReason, Frame, Instant, MAX_FRAME, NetworkId, PortId, Trace};
use switch::{Admitted, Effects, Forward, Ingress, Outputs, Topology};
use wire::{Headers, VlanTag};

/// What a frame is held against.
#[derive(Debug, Clone, Copy)]
pub struct Against<'v> {
    /// The switch.
    pub topology: &'v Topology,
    /// The router.
    pub router: &'v Router,
    /// What time it is.
    pub now: Instant,
    /// Whether the frame is really there.
    pub effects: Effects,
}

/// Where the line writes to.
#[derive(Debug)]
pub struct Sinks<'s, T> {
    /// The copies to send. After an error these are at most copies for a mirror.
    pub out: &'s mut Outputs,
    /// What the router sends of its own.
    pub outbox: &'s mut Outbox,
    /// What each stage says.
    pub trace: &'s mut T,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one frame; a box would be an allocation a frame"
)]
pub enum Outcome {
    /// It stays in its network.
    Switched(Forward),
    /// It goes on into another network, after `rewrite`.
    Routed {
        /// Which one.
        network: NetworkId,
        /// Where in it.
        forward: Forward,
        /// How it is changed.
        rewrite: Rewrite,
        /// Its headers as they are, which the rewrite needs.
        headers: Headers,
    },
    /// It was for the router.
    Taken,
}

/// Decides what becomes of `frame`, which came from the port `from`.
///
/// # Errors
/// Why the frame goes nowhere.
pub fn process<T: Trace>(
    frame: &Frame<'_>,
    from: PortId,
    against: &Against<'_>,
    sinks: &mut Sinks<'_, T>,
) -> Result<Outcome, DropReason> {
    sinks.out.clear();
    noted(line(frame, from, against, sinks), sinks.trace)
}

/// Decides where a frame goes that the router itself sends into `network`.
///
/// # Errors
/// Why it goes nowhere.
pub fn emit<T: Trace>(
    frame: &Frame<'_>,
    network: NetworkId,
    against: &Against<'_>,
    sinks: &mut Sinks<'_, T>,
) -> Result<Forward, DropReason> {
    sinks.out.clear();
    let sent = parse(frame, sinks.trace).and_then(|headers| {
        let packet_len = wire::wire_mtu(&frame.vnet, &headers, frame.len());
        from_gateway(network, headers.dst, packet_len, frame, against, sinks)
    });
    noted(sent, sinks.trace)
}

fn line<T: Trace>(
    frame: &Frame<'_>,
    from: PortId,
    against: &Against<'_>,
    sinks: &mut Sinks<'_, T>,
) -> Result<Outcome, DropReason> {
    let Against {
        topology,
        router,
        now,
        effects,
    } = *against;
    let headers = parse(frame, sinks.trace)?;
    let Headers { src, dst, .. } = headers;
    let ingress = topology.ingress(from)?;
    switch::arrive(topology, ingress.port, &headers, sinks.out, sinks.trace);
    let admitted = switch::admit(ingress, &headers, sinks.trace)?;
    switch::within_rate(ingress.port, frame, now, effects)?;
    switch::learn(ingress, admitted.vlan, src, now, effects, sinks.trace)?;
    let forward = switch::forward(ingress, admitted.vlan, src, dst, now, effects, sinks.trace)?;
    let arrival = Arrival {
        network: ingress.network.id,
        from,
        frame,
        headers: &headers,
    };
    match forward {
        Forward::Gateway => return route(&arrival, against, sinks),
        Forward::Flood(_) if claims(router, ingress, &admitted, &arrival) => {
            return route(&arrival, against, sinks);
        }
        Forward::Flood(_) => nat::observe(router, &arrival, now, effects, sinks.outbox),
        Forward::Unicast(_) => {}
    }
    nat::bridge(router, &arrival, now, effects, sinks.trace)?;
    let packet_len = wire::wire_mtu(&frame.vnet, &headers, frame.len());
    switch::egress(
        topology,
        ingress,
        &admitted,
        forward,
        packet_len,
        sinks.out,
        sinks.trace,
    )?;
    switch::shape(
        topology,
        frame,
        forward,
        now,
        effects,
        sinks.out,
        sinks.trace,
    )?;
    Ok(Outcome::Switched(forward))
}

/// Whether a frame that would be flooded is the router's business: a question for its address.
fn claims(
    router: &Router,
    ingress: Ingress<'_>,
    admitted: &Admitted,
    arrival: &Arrival<'_>,
) -> bool {
    let gateway = ingress.network.gateway;
    gateway.is_some_and(|g| g.vlan == admitted.vlan)
        && router.claims(arrival.network, arrival.headers)
}

fn route<T: Trace>(
    arrival: &Arrival<'_>,
    against: &Against<'_>,
    sinks: &mut Sinks<'_, T>,
) -> Result<Outcome, DropReason> {
    let (router, now, effects) = (against.router, against.now, against.effects);
    match nat::route(router, arrival, now, effects, sinks.outbox, sinks.trace)? {
        Routed::Taken => Ok(Outcome::Taken),
        Routed::Forward(network, rewrite) => {
            let Arrival { headers, frame, .. } = *arrival;
            let whole = || wire::wire_mtu(&frame.vnet, headers, frame.len());
            let packet_len = rewrite.fragment.map_or_else(whole, usize::from);
            let forward =
                from_gateway(network, rewrite.dst_mac, packet_len, frame, against, sinks)?;
            Ok(Outcome::Routed {
                network,
                forward,
                rewrite,
                headers: *headers,
            })
        }
    }
}

/// Forward and egress of a frame that enters `network` through its gateway, to `dst`.
fn from_gateway<T: Trace>(
    network: NetworkId,
    dst: wire::MacAddr,
    packet_len: usize,
    frame: &Frame<'_>,
    against: &Against<'_>,
    sinks: &mut Sinks<'_, T>,
) -> Result<Forward, DropReason> {
    let Against {
        topology,
        now,
        effects,
        ..
    } = *against;
    let (ingress, gateway) = topology.gateway(network).ok_or(DropReason::NoRoute)?;
    let admitted = Admitted {
        vlan: gateway.vlan,
        tag: None,
        tpid: VlanTag::CTAG,
    };
    let forward = switch::forward(
        ingress,
        gateway.vlan,
        gateway.mac,
        dst,
        now,
        effects,
        sinks.trace,
    )?;
    switch::egress(
        topology,
        ingress,
        &admitted,
        forward,
        packet_len,
        sinks.out,
        sinks.trace,
    )?;
    switch::shape(
        topology,
        frame,
        forward,
        now,
        effects,
        sinks.out,
        sinks.trace,
    )?;
    Ok(forward)
}

fn noted<V, T: Trace>(verdict: Result<V, DropReason>, trace: &mut T) -> Result<V, DropReason> {
    if let Err(reason) = verdict {
        trace.tell(Decision::Dropped { reason });
    }
    verdict
}

/// Parses the headers and holds the virtio header against them.
fn parse<T: Trace>(frame: &Frame<'_>, trace: &mut T) -> Result<Headers, DropReason> {
    if frame.len() >= MAX_FRAME {
        return Err(DropReason::FrameTooLong);
    }
    let headers = Headers::parse(frame.bytes()).map_err(|_| DropReason::FrameTooShort)?;
    tell_headers(&headers, frame, trace);
    wire::check_vnet(&frame.vnet, &headers, frame.len()).map_err(|_| DropReason::VnetInvalid)?;
    Ok(headers)
}

fn tell_headers<T: Trace>(headers: &Headers, frame: &Frame<'_>, trace: &mut T) {
    trace.tell(Decision::Parsed {
        src: headers.src,
        dst: headers.dst,
        ethertype: headers.ethertype,
        len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
    });
    if let Some(tag) = headers.outer {
        trace.tell(Decision::Tagged { vid: tag.vid() });
    }
    if frame.vnet.is_gso() {
        trace.tell(Decision::Superframe {
            segment: frame.vnet.gso_size,
        });
    }
}
