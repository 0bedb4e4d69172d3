//! Announcements (RFC 5227, 3; RFC 4861, 7.2.6): when an address of the router's is new on a link,
//! everybody is told three times, a second apart.
//!
//! Containers that knew an earlier gateway, or a gateway with another MAC, must not wait for their
//! stale entries to die. What was announced is live state: a change of the configuration announces
//! only what it adds. An uplink's addresses are the host's, which announces them itself.

use super::schedule::{Announced, Announcements};
use super::{arp, ndp};
use crate::config::Role;
use crate::interface::Interface;
use crate::outbox::Outbox;
use ipnet::IpNet;
use pipeline::Instant;
use std::net::IpAddr;
use std::time::Duration;

/// How often: RFC 5227 and RFC 4861 say two and three.
const TIMES: u8 = 3;
const APART: Duration = Duration::from_secs(1);

/// Announces what is due, and notes when more is.
pub(super) fn poll(
    interface: &Interface,
    schedule: &mut Announcements,
    now: Instant,
    outbox: &mut Outbox,
) {
    if matches!(interface.role, Role::Uplink(_)) {
        return;
    }
    if schedule.mac.replace(interface.mac) != Some(interface.mac) {
        schedule.told.clear();
    }
    schedule.told.retain(|told| interface.owns(told.ip));
    for ip in own(interface) {
        let known = schedule.told.iter_mut().find(|told| told.ip == ip);
        match known {
            None if say(interface, ip, outbox) => schedule.told.push(Announced {
                ip,
                times: 1,
                last: now,
            }),
            Some(told) if told.times < TIMES && now.since(told.last) >= APART => {
                if say(interface, ip, outbox) {
                    (told.times, told.last) = (told.times + 1, now);
                }
            }
            // No room now, said a moment ago, or often enough.
            None | Some(_) => {}
        }
    }
    let more = schedule.told.iter().filter(|told| told.times < TIMES);
    more.for_each(|told| outbox.due(told.last + APART));
}

/// The router's addresses; the link-local one where it speaks IPv6 at all.
fn own(interface: &Interface) -> impl Iterator<Item = IpAddr> + '_ {
    let speaks_v6 = interface.addresses.iter().any(|net| net.addr().is_ipv6());
    let link_local = speaks_v6.then_some(IpAddr::V6(interface.link_local));
    interface
        .addresses
        .iter()
        .map(IpNet::addr)
        .chain(link_local)
}

fn say(interface: &Interface, ip: IpAddr, outbox: &mut Outbox) -> bool {
    match ip {
        IpAddr::V4(ip) => arp::announce(interface, ip, outbox),
        IpAddr::V6(ip) => ndp::announce(interface, ip, outbox),
    }
}
