//! ARP (RFC 826), and the conflicts of addresses it shows (RFC 5227).
//!
//! ```text
//!   request for an address of ours         answered, to its sender alone; the sender is learned
//!   probe (from 0.0.0.0) for one           answered: it is taken
//!   reply to us                            learned
//!   anything else from a known neighbour   its entry follows
//!   somebody else says it has our address  we announce it, once in 10 seconds
//! ```
//! The attack that shaped it: answers nobody asked for, which put an attacker between two hosts.
//! A neighbour is only remembered when it spoke to us or we asked for it; on a port that is locked
//! to its addresses even that was checked before the message came here.

use super::link::Link;
use super::neighbour::Learned;
use super::table::Heard;
use crate::interface::Interface;
use crate::outbox::{Outbox, Post};
use pipeline::{Decision, DropReason, Trace};
use std::net::{IpAddr, Ipv4Addr};
use wire::{Arp, MacAddr};

/// Hears a message: answers it, learns from it, or defends an address.
///
/// # Errors
/// [`DropReason::GatewayIgnored`] when it is none of the router's business.
pub(crate) fn handle<T: Trace>(
    link: Link<'_>,
    message: &Arp,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    if !message.sender_mac.is_valid_source() || message.sender_mac == link.interface.mac {
        trace.tell(Decision::NeighbourInvalid {
            mac: message.sender_mac,
        });
        return Err(DropReason::GatewayIgnored);
    }
    if link.interface.owns(message.sender_ip.into()) {
        return defend(link, message, outbox, trace);
    }
    let for_us = (link.owns)(message.target_ip.into()) && !message.is_announcement();
    let learned = learn(link, message, for_us, outbox);
    if message.operation == Arp::REQUEST && for_us {
        trace.tell(Decision::AddressAnswered {
            ip: message.target_ip.into(),
            mac: link.interface.mac,
        });
        answer(link, message, outbox);
        return Ok(());
    }
    trace.tell(Decision::NeighbourHeard {
        ip: message.sender_ip.into(),
        mac: message.sender_mac,
    });
    if learned {
        Ok(())
    } else {
        Err(DropReason::GatewayIgnored)
    }
}

/// Asks who has `target`: everybody, or one that had it before. False when there was no room.
pub(crate) fn question(
    interface: &Interface,
    target: Ipv4Addr,
    at: Option<MacAddr>,
    outbox: &mut Outbox,
) -> bool {
    let sender_ip = interface
        .ipv4_towards(target)
        .unwrap_or(Ipv4Addr::UNSPECIFIED);
    send(
        interface,
        at.unwrap_or(MacAddr::BROADCAST),
        &Arp {
            operation: Arp::REQUEST,
            sender_mac: interface.mac,
            sender_ip,
            target_mac: MacAddr::ZERO,
            target_ip: target,
        },
        outbox,
    )
}

/// Tells everybody that `ip` is here: a request that asks for itself (RFC 5227, 3).
pub(crate) fn announce(interface: &Interface, ip: Ipv4Addr, outbox: &mut Outbox) -> bool {
    let message = Arp {
        operation: Arp::REQUEST,
        sender_mac: interface.mac,
        sender_ip: ip,
        target_mac: MacAddr::ZERO,
        target_ip: ip,
    };
    send(interface, MacAddr::BROADCAST, &message, outbox)
}

fn answer(link: Link<'_>, request: &Arp, outbox: &mut Outbox) {
    if link.is_live() {
        let message = Arp {
            operation: Arp::REPLY,
            sender_mac: link.interface.mac,
            sender_ip: request.target_ip,
            target_mac: request.sender_mac,
            target_ip: request.sender_ip,
        };
        send(link.interface, request.sender_mac, &message, outbox);
    }
}

/// RFC 826's merge: an entry that is there follows its neighbour, one is made only when the
/// message is for us. Whether anything was learned.
fn learn(link: Link<'_>, message: &Arp, for_us: bool, outbox: &mut Outbox) -> bool {
    let heard = match (message.operation, for_us) {
        (Arp::REQUEST, true) => Heard::Question,
        (Arp::REPLY, true) => Heard::Answer,
        _ => Heard::Claim,
    };
    let sender = IpAddr::V4(message.sender_ip);
    link.live
        .neighbours
        .learn(link, sender, message.sender_mac, heard, outbox)
        != Learned::Ignored
}

/// Somebody else uses our address. A gateway cannot give its address up, so it says so again (RFC
/// 5227, 2.4 c).
fn defend<T: Trace>(
    link: Link<'_>,
    message: &Arp,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let (ip, mac) = (IpAddr::V4(message.sender_ip), message.sender_mac);
    if !link.state().may_defend(link.now, link.effects) {
        trace.tell(Decision::ConflictIgnored { mac, ip });
        return Err(DropReason::GatewayIgnored);
    }
    trace.tell(Decision::ConflictDefended { mac, ip });
    if link.is_live() {
        announce(link.interface, message.sender_ip, outbox);
    }
    Ok(())
}

fn send(interface: &Interface, dst: MacAddr, message: &Arp, outbox: &mut Outbox) -> bool {
    outbox.post(Post::Send(interface.network), |out| {
        wire::emit::arp(out, dst, interface.mac, message);
    })
}
