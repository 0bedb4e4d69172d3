//! Router advertisements (RFC 4861, 6.2; RFC 4862, 5.5; RFC 8106): a host learns its default
//! router, prefix, MTU and DNS server.
//!
//! ```text
//!            | prefix: make your own address (A) | ask DHCPv6 for one (M, O) | default router |
//!   slaac    |               yes                 |             no            |      yes       |
//!   dhcp     |               no                  |             yes           |      yes       |
//!   neither  |  none is sent: addresses and routes are configured from outside                |
//!   internal |             as above              |          as above         |       no       |
//! ```
//! A network that is configured from outside must not be advertised: a container in two networks
//! would get a default route through each.
//!
//! A solicitation is answered to its sender alone, so one container's cost the others nothing; how
//! many are answered is bounded. What goes to everybody goes out on a schedule: three times within
//! half a minute when the network is new or changed, then every 200 to 600 seconds, and never more
//! often than every three.

use super::link::{Link, lock};
use super::nd::{ALL_NODES, HOPS, SOURCE_LLADDR, group_mac};
use super::schedule::Advertisements;
use crate::arrival::Arrival;
use crate::config::{InsideRole, Role};
use crate::interface::Interface;
use crate::outbox::{Outbox, Post};
use foldhash::fast::FixedState;
use ipnet::Ipv6Net;
use pipeline::{Decision, DropReason, Instant, Trace};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use wire::emit::Ends;
use wire::{Icmpv6, IpProtocol, Ipv6, MacAddr, Nd, Transport};

/// RFC 4861, 6.2.1: three times the longest interval.
const LIFETIME: u16 = 1800;
/// RFC 4861, 6.2.1: MinRtrAdvInterval and MaxRtrAdvInterval, in seconds.
const INTERVAL: (u64, u64) = (200, 600);
/// RFC 4861, 10: MAX_INITIAL_RTR_ADVERTISEMENTS.
const INITIAL: u32 = 3;
/// Below RFC 4861's MAX_INITIAL_RTR_ADVERT_INTERVAL of 16 s.
const INITIAL_INTERVAL: Duration = Duration::from_secs(10);
/// RFC 4861, 10: MIN_DELAY_BETWEEN_RAS.
const MIN_DELAY: Duration = Duration::from_secs(3);
/// RFC 4861, 6.2.1: AdvValidLifetime, AdvPreferredLifetime, in seconds.
const PREFIX_LIFETIMES: (u32, u32) = (2_592_000, 604_800);

/// Answers a router solicitation.
///
/// # Errors
/// [`DropReason::GatewayIgnored`] when nothing is advertised here, the solicitation contradicts
/// itself, or enough of them were answered.
pub(super) fn answer<T: Trace>(
    link: Link<'_>,
    ip: &Ipv6,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let headers = arrival.headers;
    let solicits =
        matches!(headers.transport, Transport::Icmpv6(icmp) if icmp.nd == Some(Nd::RouterSolicit));
    let Some(advert) = Advert::of(link.interface).filter(|_| solicits && !ip.src.is_multicast())
    else {
        return Err(DropReason::GatewayIgnored);
    };
    if ip.src.is_unspecified() {
        trace.tell(Decision::RouterAdvertDue);
        if link.is_live() {
            lock(&link.state().advertised).next = Instant::ZERO;
            outbox.due(link.now);
        }
        return Ok(());
    }
    if !link.take(|state| &state.adverts) {
        trace.tell(Decision::RouterAdvertLimited);
        return Err(DropReason::GatewayIgnored);
    }
    trace.tell(Decision::RouterAdvertised { ip: ip.src.into() });
    if link.is_live() {
        advert.send(headers.src, ip.src, outbox);
    }
    Ok(())
}

/// Returns whether solicitations are answered on this link.
pub(super) fn is_sent(interface: &Interface) -> bool {
    Advert::of(interface).is_some()
}

/// Tells everybody, when it is time, and notes when it is time again.
pub(super) fn poll(
    interface: &Interface,
    schedule: &mut Advertisements,
    now: Instant,
    outbox: &mut Outbox,
) {
    let Some(advert) = Advert::of(interface) else {
        return;
    };
    let content = advert.fingerprint();
    if content != schedule.told {
        (schedule.told, schedule.times, schedule.next) = (content, 0, now);
    }
    let next = schedule.last.map_or(Instant::ZERO, |last| last + MIN_DELAY);
    let next = next.max(schedule.next);
    if now < next {
        outbox.due(next);
        return;
    }
    if !advert.send(group_mac(ALL_NODES), ALL_NODES, outbox) {
        return;
    }
    schedule.times = schedule.times.saturating_add(1);
    schedule.last = Some(now);
    schedule.next = now
        + if schedule.times < INITIAL {
            INITIAL_INTERVAL
        } else {
            interval(content, schedule.times)
        };
    outbox.due(schedule.next);
}

/// Differs from router to router and from time to time, so that no two fall into step (RFC 4861,
/// 6.2.4).
fn interval(content: u64, times: u32) -> Duration {
    let (least, most) = INTERVAL;
    let random = FixedState::default().hash_one((content, times));
    Duration::from_secs(least + random % (most - least + 1))
}

/// The values that an advertisement for a link is made of.
#[derive(Clone, Copy)]
struct Advert<'a> {
    interface: &'a Interface,
    role: &'a InsideRole,
    /// The router's first address there, which is that of the DNS server.
    dns: Ipv6Addr,
}

/// The global IPv6 addresses of a link.
fn global(interface: &Interface) -> impl Iterator<Item = Ipv6Net> + '_ {
    interface.addresses.iter().filter_map(|net| match net {
        ipnet::IpNet::V6(net) if !net.addr().is_unicast_link_local() => Some(*net),
        ipnet::IpNet::V6(_) | ipnet::IpNet::V4(_) => None,
    })
}

impl<'a> Advert<'a> {
    fn of(interface: &'a Interface) -> Option<Self> {
        let Role::Inside(role) = &interface.role else {
            return None;
        };
        let dns = global(interface).next()?.addr();
        let settings = &role.settings;
        (settings.slaac || settings.dhcp).then_some(Self {
            interface,
            role,
            dns,
        })
    }

    fn fingerprint(&self) -> u64 {
        let Self {
            interface, role, ..
        } = self;
        let addresses: Vec<IpAddr> = interface.addresses.iter().map(ipnet::IpNet::addr).collect();
        let settings = &role.settings;
        let kind = (settings.slaac, settings.dhcp, settings.internal);
        let search = &settings.search_domain;
        FixedState::default().hash_one((interface.mac.0, interface.mtu, addresses, kind, search))
            | 1
    }

    /// False when there was no room.
    fn send(&self, mac: MacAddr, to: Ipv6Addr, outbox: &mut Outbox) -> bool {
        let interface = self.interface;
        let envelope = interface.envelope(mac, Ends::V6(interface.link_local, to), HOPS);
        outbox.post(Post::Send(interface.network), |out| {
            envelope.emit(out, IpProtocol::ICMPV6, |out| self.emit(out));
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let Self {
            interface,
            role,
            dns,
        } = *self;
        // RFC 4861, 4.2: M and O.
        let settings = &role.settings;
        let flags = if settings.dhcp && !settings.slaac {
            0xc0
        } else {
            0
        };
        let lifetime = if settings.internal { 0 } else { LIFETIME };
        out.extend_from_slice(&[Icmpv6::ROUTER_ADVERT, 0, 0, 0, 64, flags]);
        out.extend_from_slice(&lifetime.to_be_bytes());
        // Reachable time and retransmission timer: not ours to say.
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&SOURCE_LLADDR);
        out.extend_from_slice(&interface.mac.0);
        // RFC 4861, 4.6.4.
        out.extend_from_slice(&[5, 1, 0, 0]);
        out.extend_from_slice(&u32::from(interface.mtu).to_be_bytes());
        global(interface).for_each(|net| prefix(out, net, settings.slaac));
        // RFC 8106, 5.1.
        out.extend_from_slice(&[25, 3, 0, 0]);
        out.extend_from_slice(&u32::from(LIFETIME).to_be_bytes());
        out.extend_from_slice(&dns.octets());
        if let Some(domain) = settings.search_domain.encoded() {
            search_list(out, &domain);
        }
    }
}

/// RFC 8106, 5.2: the length counts eights of bytes, and zeros fill the last.
fn search_list(out: &mut Vec<u8>, domain: &[u8]) {
    let eights = domain.len().div_ceil(8);
    let length = u8::try_from(1 + eights).expect("a domain has 255 bytes at most");
    out.extend_from_slice(&[31, length, 0, 0]);
    out.extend_from_slice(&u32::from(LIFETIME).to_be_bytes());
    out.extend_from_slice(domain);
    out.resize(out.len() + eights * 8 - domain.len(), 0);
}

/// RFC 4861, 4.6.2. Addresses are only made in a prefix of 64 bits (RFC 4862, 5.5.3 d; RFC 2464).
fn prefix(out: &mut Vec<u8>, net: Ipv6Net, slaac: bool) {
    const ON_LINK: u8 = 0x80;
    const AUTONOMOUS: u8 = 0x40;
    let own = slaac && net.prefix_len() == 64;
    let flags = ON_LINK | if own { AUTONOMOUS } else { 0 };
    let (valid, preferred) = PREFIX_LIFETIMES;
    out.extend_from_slice(&[3, 4, net.prefix_len(), flags]);
    out.extend_from_slice(&valid.to_be_bytes());
    out.extend_from_slice(&preferred.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&net.network().octets());
}
