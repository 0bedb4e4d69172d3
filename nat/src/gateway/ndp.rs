//! Neighbour discovery (RFC 4861, 7) and duplicate addresses (RFC 4862, 5.4).
//!
//! ```text
//!   solicitation for an address of ours    answered; the sender is learned
//!   the same from ::                       answered to everybody: it is taken
//!   advertisement                          its entry follows, as the flags say
//!   advertisement of an address of ours    we advertise it again, once in 10 seconds
//!   router solicitation                    advert.rs
//!   router advertisement, redirect         not for a router
//! ```
//! The attacks that shaped it: messages from beyond the link, which have lost a hop of their 255;
//! messages in fragments, which hide from filters (RFC 6980); advertisements that nobody asked for,
//! which change an entry but never make one.

use super::link::Link;
use super::nd::{ALL_NODES, HOPS, SOURCE_LLADDR, group_mac};
use super::neighbour::Learned;
use super::table::Heard;
use super::{advert, sound};
use crate::arrival::Arrival;
use crate::interface::Interface;
use crate::outbox::{Outbox, Post};
use pipeline::{Decision, DropReason, Trace};
use std::net::{IpAddr, Ipv6Addr};
use wire::emit::Ends;
use wire::{Icmpv6, IpProtocol, Ipv6, MacAddr, Nd, Net, Transport};

/// Option: target link-layer address.
const TARGET_LLADDR: [u8; 2] = [2, 1];

/// Flags of an advertisement (RFC 4861, 4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Hears a message.
///
/// # Errors
/// [`DropReason::GatewayIgnored`] when it is unsound or none of the router's business.
pub(crate) fn handle<T: Trace>(
    link: Link<'_>,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let (Net::Ipv6(ip), Transport::Icmpv6(icmp)) = (arrival.headers.net, arrival.headers.transport)
    else {
        return Err(DropReason::GatewayIgnored);
    };
    let believed = ip.hop_limit == HOPS
        && icmp.code == 0
        && ip.fragment.is_none()
        && sound(arrival.headers, arrival.frame);
    let (Some(nd), true) = (icmp.nd, believed) else {
        trace.tell(Decision::NeighbourUnverified);
        return Err(DropReason::GatewayIgnored);
    };
    match nd {
        Nd::NeighbourSolicit { target, lladdr } => {
            let question = Question { target, lladdr };
            solicited(link, question, &ip, arrival.headers.src, outbox, trace)
        }
        Nd::NeighbourAdvert { target, lladdr } => {
            // Its flags are what a parser of addresses does not keep (RFC 4861, 4.4).
            let at = usize::from(icmp.offset) + 4;
            let flags = arrival.frame.bytes().get(at).copied().unwrap_or(0);
            let advert = Advert {
                target,
                lladdr,
                flags,
            };
            advertised(link, advert, &ip, outbox, trace)
        }
        Nd::RouterSolicit => advert::answer(link, &ip, arrival, outbox, trace),
        Nd::RouterAdvert | Nd::Redirect => Err(DropReason::GatewayIgnored),
    }
}

/// Asks who has `target`: everybody it could be, or one that had it before. False when there was
/// no room.
pub(crate) fn question(
    interface: &Interface,
    target: Ipv6Addr,
    at: Option<MacAddr>,
    outbox: &mut Outbox,
) -> bool {
    let to = at.map_or_else(|| solicited_node(target), |_| target);
    let envelope = interface.envelope(
        at.unwrap_or_else(|| group_mac(to)),
        Ends::V6(interface.ipv6_towards(target), to),
        HOPS,
    );
    outbox.post(Post::Send(interface.network), |out| {
        envelope.emit(out, IpProtocol::ICMPV6, |out| {
            out.extend_from_slice(&[Icmpv6::NEIGHBOUR_SOLICIT, 0, 0, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&target.octets());
            out.extend_from_slice(&SOURCE_LLADDR);
            out.extend_from_slice(&interface.mac.0);
        });
    })
}

/// Tells everybody that `ip` is here (RFC 4861, 7.2.6).
pub(crate) fn announce(interface: &Interface, ip: Ipv6Addr, outbox: &mut Outbox) -> bool {
    let to = (group_mac(ALL_NODES), Ends::V6(ip, ALL_NODES));
    send_advert(interface, ip, to, OVERRIDE, outbox)
}

/// The group in which whoever has `ip` listens (RFC 4291, 2.7.1).
pub(super) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    let [low, high] = [u16::from_be_bytes([b, c]), 0xff00 | u16::from(a)];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// Who has `target`? I am at `lladdr`.
#[derive(Clone, Copy)]
struct Question {
    target: Ipv6Addr,
    lladdr: Option<MacAddr>,
}

/// `target` is at `lladdr`.
#[derive(Clone, Copy)]
struct Advert {
    target: Ipv6Addr,
    lladdr: Option<MacAddr>,
    flags: u8,
}

fn solicited<T: Trace>(
    link: Link<'_>,
    Question { target, lladdr }: Question,
    ip: &Ipv6,
    from: MacAddr,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let detection = ip.src.is_unspecified();
    // RFC 4861, 7.1.1: who has no address yet names no MAC, and asks the group.
    let sound = !target.is_multicast()
        && (!detection || (lladdr.is_none() && ip.dst == solicited_node(target)))
        && !ip.src.is_multicast()
        && !link.interface.owns(ip.src.into());
    if !sound || !(link.owns)(target.into()) {
        trace.tell(Decision::AddressNotOurs { ip: target.into() });
        return Err(DropReason::GatewayIgnored);
    }
    trace.tell(Decision::AddressAnswered {
        ip: target.into(),
        mac: link.interface.mac,
    });
    let lladdr = lladdr.filter(|mac| mac.is_valid_source());
    if let Some(mac) = lladdr {
        let neighbours = &link.live.neighbours;
        neighbours.learn(link, ip.src.into(), mac, Heard::Question, outbox);
    }
    if !link.is_live() {
        return Ok(());
    }
    let own = link.interface.owns(target.into());
    let src = if own {
        target
    } else {
        link.interface.link_local
    };
    let (to, mut flags) = if detection {
        ((group_mac(ALL_NODES), Ends::V6(src, ALL_NODES)), 0)
    } else {
        ((lladdr.unwrap_or(from), Ends::V6(src, ip.src)), SOLICITED)
    };
    // RFC 4861, 7.2.8: who answers for another gives way to it.
    flags |= if own { OVERRIDE } else { 0 };
    send_advert(link.interface, target, to, flags, outbox);
    Ok(())
}

fn advertised<T: Trace>(
    link: Link<'_>,
    advert: Advert,
    ip: &Ipv6,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let Advert {
        target,
        lladdr,
        flags,
    } = advert;
    let asked = flags & SOLICITED != 0;
    // RFC 4861, 7.1.2: nobody asks in the name of a group.
    let (Some(mac), false) = (
        lladdr,
        target.is_multicast() || (asked && ip.dst.is_multicast()),
    ) else {
        return Err(DropReason::GatewayIgnored);
    };
    if link.interface.owns(target.into()) {
        return defend(link, target, mac, outbox, trace);
    }
    let heard = match (asked, flags & OVERRIDE != 0) {
        (true, true) => Heard::Answer,
        (true, false) => Heard::Deferring,
        (false, true) => Heard::Claim,
        (false, false) => Heard::DeferringClaim,
    };
    trace.tell(Decision::NeighbourHeard {
        ip: target.into(),
        mac,
    });
    let learned = link
        .live
        .neighbours
        .learn(link, IpAddr::V6(target), mac, heard, outbox);
    match learned {
        Learned::Known | Learned::Changed => Ok(()),
        Learned::Ignored => Err(DropReason::GatewayIgnored),
    }
}

/// Somebody else has our address, and a gateway cannot give it up: it is said again.
fn defend<T: Trace>(
    link: Link<'_>,
    address: Ipv6Addr,
    mac: MacAddr,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let (ours, ip) = (mac == link.interface.mac, IpAddr::V6(address));
    if ours || !link.state().may_defend(link.now, link.effects) {
        trace.tell(Decision::ConflictIgnored { mac, ip });
        return Err(DropReason::GatewayIgnored);
    }
    trace.tell(Decision::ConflictDefended { mac, ip });
    if link.is_live() {
        announce(link.interface, address, outbox);
    }
    Ok(())
}

fn send_advert(
    interface: &Interface,
    target: Ipv6Addr,
    (mac, ends): (MacAddr, Ends),
    flags: u8,
    outbox: &mut Outbox,
) -> bool {
    let router = if interface.is_gateway() { ROUTER } else { 0 };
    let envelope = interface.envelope(mac, ends, HOPS);
    outbox.post(Post::Send(interface.network), |out| {
        envelope.emit(out, IpProtocol::ICMPV6, |out| {
            let flags = flags | router;
            out.extend_from_slice(&[Icmpv6::NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0]);
            out.extend_from_slice(&target.octets());
            out.extend_from_slice(&TARGET_LLADDR);
            out.extend_from_slice(&interface.mac.0);
        });
    })
}
