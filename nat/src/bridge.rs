//! Frames that stay in their network, and what they are to the router all the same: a connection
//! that endpoints' rules are about, or news of a neighbour.
//!
//! Rules hold between neighbours as they hold across networks, so where an endpoint has any, the
//! network's connections are followed. A later fragment passes: without its packet's first one,
//! which is asked about, it is of no use to anybody. What holds the link together (ARP, neighbour
//! discovery) is no connection.

use crate::config::Direction;
use crate::gateway;
use crate::icmp::quoted_tuple;
use crate::leave::{flow, link, translator};
use crate::outbox::Outbox;
use crate::route::Arrival;
use crate::router::Router;
use crate::tuple::{Kind, Tuple, classify};
use pipeline::{DropReason, Effects, Instant, Trace};
use std::net::IpAddr;
use wire::{Net, Transport};

/// Whether a frame that stays in its network may pass the rules of its two ends.
///
/// # Errors
/// [`DropReason::PolicyDenied`]; where rules are, those of a table of connections.
#[inline]
pub fn bridge<T: Trace>(
    router: &Router,
    arrival: &Arrival<'_>,
    now: Instant,
    effects: Effects,
    trace: &mut T,
) -> Result<(), DropReason> {
    if !router.policy.concerns(arrival.network) {
        return Ok(());
    }
    ruled(router, arrival, now, effects, trace)
}

fn ruled<T: Trace>(
    router: &Router,
    arrival: &Arrival<'_>,
    now: Instant,
    effects: Effects,
    trace: &mut T,
) -> Result<(), DropReason> {
    if matches!(arrival.headers.transport, Transport::Icmpv6(icmp) if icmp.nd.is_some()) {
        return Ok(());
    }
    let network = arrival.network;
    let translator = translator(router, now, effects);
    match classify(arrival.headers) {
        None => match arrival.headers.net {
            // Nobody could say what it is: not past rules.
            Net::Malformed(_) => Err(DropReason::IpInvalid),
            Net::Arp(_) | Net::Ipv4(_) | Net::Ipv6(_) | Net::Other => Ok(()),
        },
        Some(Kind::LaterFragment) => Ok(()),
        Some(Kind::Damaged) => Err(DropReason::IpInvalid),
        Some(Kind::IcmpError) => {
            let quoted = quoted_tuple(arrival.frame, arrival.headers)?;
            translator
                .related_followed(network, network, &quoted)
                .map(|_| ())
        }
        Some(Kind::Flow(tuple) | Kind::Portless(tuple)) => {
            let mut admit = || allowed(router, arrival, &tuple, trace);
            if is_group(tuple.dst.ip) {
                return admit();
            }
            translator.follow(network, network, &flow(arrival, tuple), admit)
        }
    }
}

fn allowed<T: Trace>(
    router: &Router,
    arrival: &Arrival<'_>,
    tuple: &Tuple,
    trace: &mut T,
) -> Result<(), DropReason> {
    let (policy, network) = (&router.policy, arrival.network);
    policy.allows(network, tuple.src.ip, Direction::Out, tuple, trace)?;
    policy.allows(network, tuple.dst.ip, Direction::In, tuple, trace)
}

/// Whether a packet to `ip` is for many: it has no one receiver whose rules could be asked, and
/// no answers that belong to it.
fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// Looks at a frame that is flooded: it may say where a neighbour of the router's is now.
pub fn observe(
    router: &Router,
    arrival: &Arrival<'_>,
    now: Instant,
    effects: Effects,
    outbox: &mut Outbox,
) {
    if let Some(face) = router.face(arrival.network) {
        gateway::observe(link(router, face, now, effects), arrival, outbox);
    }
}
