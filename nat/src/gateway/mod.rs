//! Protocols that the router speaks on each link.
//!
//! ```text
//!   arp.rs  ndp.rs     who has which address          neighbour.rs  table.rs  what was learned
//!   advert.rs          here is a router (RA)          held.rs       packets that wait for it
//!   announce.rs        this address is here now       link.rs       a link, and its live state
//!   dhcp4.rs dhcp6.rs  you have this address
//!   echo.rs            pong
//!   error.rs reset.rs  why a packet did not go on
//! ```
//! A protocol is a file with the same verbs: `handle` hears a frame, `send`, `question`, `announce`
//! say something, `poll` does what is due. All of them write to the [`Outbox`]; asked with
//! [`Effects::None`](pipeline::Effects) they give the same verdict and write nothing.
//!
//! Every byte heard was chosen by somebody who may mean harm. So nothing is answered but to the one
//! that asked, nothing is longer than what caused it but what has a bound, and what is remembered
//! has one as well.

mod advert;
mod announce;
mod arp;
mod dhcp4;
mod dhcp6;
mod echo;
mod error;
mod held;
mod link;
mod nd;
mod ndp;
mod neighbour;
mod reset;
mod schedule;
mod table;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other variant fails the test"
)]
mod tests;

pub(crate) use error::{ErrorKind, Reported};
pub(crate) use link::Link;
pub use neighbour::{Neighbour, Neighbours};

use crate::arrival::Arrival;
use crate::interface::Interface;
use crate::outbox::Outbox;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use held::PendingPacket;
use link::{LinkState, lock};
use pipeline::{Decision, DropReason, Effects, Frame, Instant, NetworkId, NoTrace, Trace};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use table::Resolution;
use wire::checksum::{Verified, verify_ipv4, verify_transport};
use wire::{Arp, Headers, MacAddr, Nd, Net, Transport, Udp, VnetHeader};

/// The live state of all links. Safe to use from every worker at once.
#[derive(Debug, Default)]
pub struct Gateway {
    /// Where the neighbours are.
    pub neighbours: Neighbours,
    links: RwLock<HashMap<NetworkId, Arc<LinkState>, RandomState>>,
}

/// After this what found no room in the outbox, which is emptied meanwhile, is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// The way to a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// It is there.
    At(MacAddr),
    /// It is being asked for, and the packet waits.
    Held,
    /// It is being asked for; the packet cannot wait.
    Unknown,
    /// It did not answer.
    Unreachable,
}

/// Returns whether a frame that would be flooded is the router's business alone: an ARP request or a
/// solicitation for what it answers for, a solicitation of routers it answers, DHCP where it leases.
pub(crate) fn claims(
    interface: &Interface,
    owns: &dyn Fn(IpAddr) -> bool,
    headers: &Headers,
) -> bool {
    match (headers.net, headers.transport) {
        (Net::Arp(arp), _) => {
            arp.operation == Arp::REQUEST && !arp.is_announcement() && owns(arp.target_ip.into())
        }
        (Net::Ipv6(_), Transport::Icmpv6(icmp)) => match icmp.nd {
            Some(Nd::NeighbourSolicit { target, .. }) => owns(target.into()),
            Some(Nd::RouterSolicit) => advert::is_sent(interface),
            Some(Nd::NeighbourAdvert { .. } | Nd::RouterAdvert | Nd::Redirect) | None => false,
        },
        (_, Transport::Udp(_)) => {
            dhcp4::is_request(interface, headers) || dhcp6::is_request(interface, headers)
        }
        _ => false,
    }
}

/// Hears a packet that is for the router itself: sent to its MAC and one of its addresses, or
/// claimed.
///
/// # Errors
/// Why nothing came of it: see [`DropReason::GatewayIgnored`], [`DropReason::GatewayClosed`].
pub(crate) fn local<T: Trace>(
    link: Link<'_>,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let headers = arrival.headers;
    match (headers.net, headers.transport) {
        (Net::Arp(message), _) => arp::handle(link, &message, outbox, trace),
        (Net::Malformed(_), _) => Err(DropReason::IpInvalid),
        (Net::Other, _) => Err(DropReason::GatewayIgnored),
        (_, Transport::Icmpv6(icmp)) if icmp.nd.is_some() => {
            ndp::handle(link, arrival, outbox, trace)
        }
        (_, Transport::Icmp(_) | Transport::Icmpv6(_)) => {
            echo::handle(link, arrival, outbox, trace)
        }
        (_, Transport::Udp(_)) if dhcp4::is_request(link.interface, headers) => {
            dhcp4::handle(link, arrival, outbox, trace)
        }
        (_, Transport::Udp(_)) if dhcp6::is_request(link.interface, headers) => {
            dhcp6::handle(link, arrival, outbox, trace)
        }
        (_, Transport::Tcp(_)) => {
            reset::send(link, arrival, outbox, trace);
            Err(DropReason::GatewayClosed)
        }
        (_, Transport::Udp(_)) => {
            let (kind, frame) = (ErrorKind::PortUnreachable, arrival.frame.bytes());
            error::send(kind, link, headers, frame, outbox, trace);
            Err(DropReason::GatewayClosed)
        }
        (_, Transport::Sctp(_) | Transport::Malformed(_) | Transport::None) => {
            Err(DropReason::GatewayClosed)
        }
    }
}

/// Looks at a frame that is flooded all the same: announcements keep the known neighbours right,
/// and show who uses an address of ours.
pub(crate) fn observe(link: Link<'_>, arrival: &Arrival<'_>, outbox: &mut Outbox) {
    let headers = arrival.headers;
    let heard = match (headers.net, headers.transport) {
        (Net::Arp(message), _) => arp::handle(link, &message, outbox, &mut NoTrace),
        (_, Transport::Icmpv6(icmp)) if matches!(icmp.nd, Some(Nd::NeighbourAdvert { .. })) => {
            ndp::handle(link, arrival, outbox, &mut NoTrace)
        }
        _ => return,
    };
    // Whether it was of use or not, the frame goes on to everybody.
    let (Ok(()) | Err(_)) = heard;
}

impl Link<'_> {
    /// The live part of this link.
    fn state(&self) -> Arc<LinkState> {
        self.live.state(self.network())
    }

    /// The way to `ip` on this link for a packet that arrived, which waits where it must.
    pub(crate) fn next_hop<T: Trace>(
        self,
        ip: IpAddr,
        arrival: &Arrival<'_>,
        outbox: &mut Outbox,
        trace: &mut T,
    ) -> NextHop {
        let interface = self.interface;
        let neighbours = &self.live.neighbours;
        let resolution = neighbours.resolve(self, ip, arrival.from, outbox);
        trace.tell(match resolution {
            Resolution::Known(mac) => Decision::NextHopKnown { ip, mac },
            Resolution::Ask => Decision::NextHopAsked { ip },
            Resolution::Wait => Decision::NextHopAwaited { ip },
            Resolution::Failed => Decision::NextHopSilent { ip },
        });
        match resolution {
            Resolution::Known(mac) => return NextHop::At(mac),
            Resolution::Failed => return NextHop::Unreachable,
            Resolution::Ask if self.is_live() => {
                question(interface, ip, None, outbox);
            }
            Resolution::Ask | Resolution::Wait => {}
        }
        let pending = PendingPacket {
            network: arrival.network,
            origin: arrival.origin(),
            frame: arrival.frame.bytes(),
        };
        if neighbours.hold(self, ip, pending, resolution) {
            NextHop::Held
        } else {
            NextHop::Unknown
        }
    }

    /// Tells the sender of a packet that arrived on this link why it did not go on.
    pub(crate) fn tell<T: Trace>(
        self,
        kind: ErrorKind,
        arrival: &Arrival<'_>,
        outbox: &mut Outbox,
        trace: &mut T,
    ) -> Reported {
        error::send(
            kind,
            self,
            arrival.headers,
            arrival.frame.bytes(),
            outbox,
            trace,
        )
    }
}

impl Gateway {
    /// Does what is due on all links, and notes when more is.
    pub(crate) fn poll<'a>(
        &self,
        interfaces: impl Iterator<Item = &'a Interface>,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        let interfaces: Vec<&Interface> = interfaces.collect();
        let refused = outbox.refused();
        for interface in &interfaces {
            let state = self.state(interface.network);
            announce::poll(interface, &mut lock(&state.announced), now, outbox);
            advert::poll(interface, &mut lock(&state.advertised), now, outbox);
            let mut unreachable = Vec::new();
            let link = self.link(interface, now);
            self.neighbours.poll(link, outbox, &mut unreachable);
            for ip in unreachable {
                self.give_up(&interfaces, (interface.network, ip), now, outbox);
            }
        }
        self.neighbours.held.expire(now, outbox);
        self.forget(|network| {
            interfaces
                .iter()
                .any(|interface| interface.network == network)
        });
        if outbox.refused() > refused {
            outbox.due(now + AGAIN);
        }
    }

    /// Tells the senders of the packets that wait for `hop` that it does not answer.
    fn give_up(
        &self,
        interfaces: &[&Interface],
        hop: (NetworkId, IpAddr),
        now: Instant,
        outbox: &mut Outbox,
    ) {
        for packet in self.neighbours.held.fail(hop) {
            let from = interfaces
                .iter()
                .find(|interface| interface.network == packet.network);
            let (Some(from), Ok(headers)) = (from, Headers::parse(&packet.frame)) else {
                continue;
            };
            let (kind, link) = (ErrorKind::HostUnreachable, self.link(from, now));
            error::send(kind, link, &headers, &packet.frame, outbox, &mut NoTrace);
        }
    }

    /// Packets that waited for a neighbour and never went on.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.neighbours.held.lost()
    }

    fn link<'a>(&'a self, interface: &'a Interface, now: Instant) -> Link<'a> {
        Link {
            interface,
            owns: &|_| false,
            live: self,
            now,
            effects: Effects::Live,
        }
    }

    fn state(&self, network: NetworkId) -> Arc<LinkState> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = links.get(&network) {
            return Arc::clone(state);
        }
        drop(links);
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(network).or_default())
    }

    /// Forgets links that are no longer there.
    fn forget(&self, lives: impl Fn(NetworkId) -> bool) {
        self.neighbours.retain(&lives);
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|network, _| lives(*network));
    }
}

/// Asks for `ip`: everybody, or one that had it before. False when there was no room.
fn question(interface: &Interface, ip: IpAddr, at: Option<MacAddr>, outbox: &mut Outbox) -> bool {
    match ip {
        IpAddr::V4(ip) => arp::question(interface, ip, at, outbox),
        IpAddr::V6(ip) => ndp::question(interface, ip, at, outbox),
    }
}

/// Returns what a UDP datagram that is no fragment carries.
fn datagram<'f>(arrival: &Arrival<'f>) -> Option<&'f [u8]> {
    let headers = arrival.headers;
    let fragment = match headers.net {
        Net::Ipv4(ip) => ip.fragment,
        Net::Ipv6(ip) => ip.fragment,
        Net::Arp(_) | Net::Malformed(_) | Net::Other => return None,
    };
    let (Transport::Udp(udp), None) = (headers.transport, fragment) else {
        return None;
    };
    let start = usize::from(udp.offset);
    let datagram = start + Udp::LEN..start + usize::from(udp.len);
    arrival.frame.bytes().get(datagram)
}

/// Returns whether the packet's checksums are right, as far as they are finished.
fn sound(headers: &Headers, frame: &Frame<'_>) -> bool {
    let bytes = frame.bytes();
    let vouched = frame.vnet.flags & (VnetHeader::NEEDS_CSUM | VnetHeader::DATA_VALID) != 0;
    verify_ipv4(bytes, headers) != Verified::Wrong
        && (vouched || verify_transport(bytes, headers) != Verified::Wrong)
}
