//! One link of the router: what a handler is told of it, and what is kept of it.
//!
//! [`Link`] is a handful of references, made for one frame. [`LinkState`] is the live part, shared
//! between workers and configurations: how much the router may still say on the link, and what it
//! announced there. Its meters take no lock; its schedules are touched by polls.

use super::Gateway;
use super::schedule::{Advertisements, Announcements};
use crate::config::Role;
use crate::interface::Interface;
use crate::outbox::{Outbox, Post};
use pipeline::{DropReason, Effects, Instant, Meter, NetworkId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wire::MacAddr;
use wire::emit::{Ends, Envelope};

/// A link, for one frame or one poll.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    /// The router's interface.
    pub(crate) interface: &'a Interface,
    /// Which addresses the router answers for: at least its own.
    pub(crate) owns: &'a dyn Fn(IpAddr) -> bool,
    /// State that lives longer than the configuration.
    pub(crate) live: &'a Gateway,
    /// The time.
    pub(crate) now: Instant,
    /// Whether anything is said or remembered.
    pub(crate) effects: Effects,
}

/// State of a link that is kept between frames.
#[derive(Debug)]
pub(crate) struct LinkState {
    /// ICMP errors (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
    pub(super) errors: Meter,
    /// Advertisements in answer to solicitations, each to one host.
    pub(super) adverts: Meter,
    /// DHCP answers.
    leases: Meter,
    /// When an address was defended last; 0 for never.
    defended: AtomicU64,
    pub(super) announced: Mutex<Announcements>,
    pub(super) advertised: Mutex<Advertisements>,
}

/// Errors a second, and at once.
const ERRORS: u32 = 100;
/// Advertisements a second, and at once.
const ADVERTS: u32 = 50;
/// DHCP answers a second, and at once: some go to everybody.
const LEASES: u32 = 100;
/// The least time between two defences of an address (RFC 5227, 1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Hops of a packet that may travel (RFC 1700).
pub(super) const HOPS: u8 = 64;

impl Default for LinkState {
    fn default() -> Self {
        Self {
            errors: Meter::new(ERRORS, ERRORS),
            adverts: Meter::new(ADVERTS, ADVERTS),
            leases: Meter::new(LEASES, LEASES),
            defended: AtomicU64::new(0),
            announced: Mutex::default(),
            advertised: Mutex::default(),
        }
    }
}

impl LinkState {
    /// Returns whether an address may be defended now: another host that insists on it must not make the
    /// two shout at each other (RFC 5227, 2.4 c).
    pub(super) fn may_defend(&self, now: Instant, effects: Effects) -> bool {
        let last = self.defended.load(Relaxed);
        if last != 0 && now.since(Instant::from_nanos(last)) < DEFEND_INTERVAL {
            return false;
        }
        match effects {
            Effects::None => true,
            // Of two workers at once, one defends.
            Effects::Live => self
                .defended
                .compare_exchange(last, now.as_nanos().max(1), Relaxed, Relaxed)
                .is_ok(),
        }
    }
}

impl Link<'_> {
    /// Returns whether this is more than a question.
    pub(super) fn is_live(&self) -> bool {
        self.effects == Effects::Live
    }

    /// The link's network.
    pub(super) fn network(&self) -> NetworkId {
        self.interface.network
    }

    /// Sends what `write` appends, unless this is only a question.
    pub(super) fn post(&self, outbox: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_live() {
            outbox.post(Post::Send(self.network()), write);
        }
    }

    /// Takes one of what may be said in a while; only looks when this is only a question.
    pub(super) fn take(&self, meter: impl Fn(&LinkState) -> &Meter) -> bool {
        let state = self.state();
        if self.is_live() {
            meter(&state).take(self.now)
        } else {
            meter(&state).would_take(self.now)
        }
    }

    /// Returns whether one more DHCP message may be answered.
    pub(super) fn may_lease(&self) -> Result<(), DropReason> {
        if self.take(|state| &state.leases) {
            Ok(())
        } else {
            Err(DropReason::GatewayIgnored)
        }
    }

    /// A packet from the router.
    pub(super) fn envelope(&self, dst_mac: MacAddr, ends: Ends, hops: u8) -> Envelope {
        self.interface.envelope(dst_mac, ends, hops)
    }
}

impl Interface {
    /// A packet from the router.
    pub(super) fn envelope(&self, dst_mac: MacAddr, ends: Ends, hops: u8) -> Envelope {
        Envelope {
            src_mac: self.mac,
            dst_mac,
            ends,
            hops,
            traffic_class: 0,
        }
    }

    /// The router's address to speak to `peer` with: the one in its subnet, else the first.
    pub(super) fn ipv4_towards(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        let all = || {
            self.addresses.iter().filter_map(|net| match net.addr() {
                IpAddr::V4(ip) => Some((net, ip)),
                IpAddr::V6(_) => None,
            })
        };
        all()
            .find(|(net, _)| net.contains(&IpAddr::V4(peer)))
            .or_else(|| all().next())
            .map(|(_, ip)| ip)
    }

    /// The router's address to speak to `peer` with: its link-local one to a neighbour's, a global
    /// one to any other, where it has one.
    pub(super) fn ipv6_towards(&self, peer: Ipv6Addr) -> Ipv6Addr {
        if peer.is_unicast_link_local() || peer.is_multicast() {
            return self.link_local;
        }
        let all = || {
            self.addresses.iter().filter_map(|net| match net.addr() {
                IpAddr::V6(ip) if !ip.is_unicast_link_local() => Some((net, ip)),
                IpAddr::V6(_) | IpAddr::V4(_) => None,
            })
        };
        all()
            .find(|(net, _)| net.contains(&IpAddr::V6(peer)))
            .or_else(|| all().next())
            .map_or(self.link_local, |(_, ip)| ip)
    }

    /// Returns whether a neighbour could have the address `ip`.
    pub(super) fn is_on_link(&self, ip: IpAddr) -> bool {
        let local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        local
            || self.addresses.iter().any(|net| net.contains(&ip))
            || matches!(&self.role, Role::Uplink(role) if role.gateways.contains(&ip))
    }

    /// Returns whether hosts may send the router packets for others.
    pub(super) fn is_gateway(&self) -> bool {
        match &self.role {
            Role::Inside(role) => !role.settings.internal,
            Role::Uplink(_) => false,
            Role::Host(_) | Role::Services => true,
        }
    }
}

/// The mutex's content. A panic elsewhere leaves no half-made schedule behind: every change is a
/// single store.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
