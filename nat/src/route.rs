//! Stages 5 and 6, route and translate: what becomes of a packet that is sent to a gateway.
//!
//! ```text
//!                     the router itself  -> gateway/            Taken
//!   from a network -> another network    -> peers? rules?       Forward, as it is
//!                     the host, servers  -> host access?        Forward, as it is
//!                     our own address    -> hairpin             Forward, both ends translated
//!                     the world          -> uplink              Forward, source translated
//!                     a prefix's address -> peers? rules?       Forward, prefixes translated
//!   from an uplink -> our own address    -> mapping, published  Forward, destination translated
//!                     a prefix's address -> rules?              Forward, prefix translated
//!   from the host  -> a network          -> host access?        Forward, as it is
//! ```
//! The order within one packet: may it go there (this file), has it hops left and does it fit
//! (`leave.rs`), who does it become (`translate.rs`), whose MAC is next (`gateway/neighbour.rs`).
//! What may not pass makes no state; what cannot be sent yet is held by the neighbour cache and
//! carried again when the answer comes.

use crate::arrival::{Arrival, Routed};
use crate::config::{Exit, InsideRole, Role};
use crate::gateway::{self, ErrorKind, Link};
use crate::interface::Interface;
use crate::leave::{How, Passage, Way, link};
use crate::outbox::Outbox;
use crate::router::{Destination, Router};
use crate::tuple::addresses;
use crate::{TransportAddr, martian};
use pipeline::{Context, Decision, DropReason, NetworkId, Trace};
use std::net::IpAddr;
use wire::{Headers, Icmp, Icmpv6, IpProtocol, Net, Transport, Udp};

/// Decides what becomes of a frame that was sent to a gateway, or that the router claims.
///
/// # Errors
/// Why the frame goes nowhere. The sender is told by ICMP where a router should.
pub fn route<T: Trace>(
    context: &mut Context<T>,
    router: &Router,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
) -> Result<Routed, DropReason> {
    let interface = router
        .interface(arrival.network)
        .ok_or(DropReason::NoRoute)?;
    let mut passage = Passage {
        router,
        arrival,
        interface,
        context,
        outbox,
    };
    if passage.is_local() {
        let owns = |ip| router.answers_for(interface, ip);
        let link = Link {
            owns: &owns,
            ..link(router, interface, passage.context)
        };
        gateway::local(link, arrival, passage.outbox, &mut passage.context.trace)?;
        return Ok(Routed::Taken);
    }
    let Some((src, dst, protocol)) = addresses(arrival.headers) else {
        return Err(match arrival.headers.net {
            Net::Malformed(_) => DropReason::IpInvalid,
            Net::Arp(_) | Net::Ipv4(_) | Net::Ipv6(_) | Net::Other => DropReason::GatewayIgnored,
        });
    };
    martian::check(arrival.frame.bytes(), arrival.headers)?;
    match &interface.role {
        Role::Inside(role) => passage.route_inside(role, src, dst, protocol),
        Role::Uplink(_) => passage.route_uplink(src, dst),
        Role::Host(_) => passage.route_host(dst),
        Role::Services => passage.route_services(dst),
    }
}

/// Returns whether a datagram goes to a DHCP server (RFC 2131, 4.1; RFC 8415, 7.2).
const fn is_dhcp(udp: &Udp) -> bool {
    matches!(udp.dst_port, 67 | 547)
}

/// The port of DNS (RFC 1035, 4.2).
const DNS: u16 = 53;

impl<T: Trace> Passage<'_, T> {
    fn route_inside(
        &mut self,
        role: &InsideRole,
        src: IpAddr,
        dst: IpAddr,
        protocol: IpProtocol,
    ) -> Result<Routed, DropReason> {
        let own = self.interface.network;
        if !self
            .interface
            .addresses
            .iter()
            .any(|net| net.contains(&src))
        {
            self.context.tell(Decision::SourceNotInside { ip: src });
            return Err(DropReason::Martian);
        }
        match self.router.place(self.interface, dst) {
            Destination::Gateway => self.reach_gateway(role, dst, protocol),
            _ if role.settings.internal => Err(DropReason::NetworkInternal),
            Destination::External(uplink) => {
                let to = TransportAddr::new(dst, self.dst_port());
                if self.router.takes(uplink, protocol, to) {
                    self.context.tell(Decision::Hairpinned { to });
                    self.pass(How::Hairpin(uplink))
                } else {
                    self.context.tell(Decision::ToHost { ip: dst });
                    self.reach_host(role, dst)
                }
            }
            Destination::Inside(network) if network == own => {
                self.context.tell(Decision::SameNetwork);
                Err(DropReason::NetworkIsolated)
            }
            Destination::Inside(network) => {
                self.check_peers(role, network)?;
                self.pass(How::Followed(Way { network, to: dst }))
            }
            Destination::Prefixed(network) => {
                if network != own {
                    self.check_peers(role, network)?;
                }
                self.pass_prefixed(network, dst)
            }
            Destination::World => self.reach_world(role, src, dst),
        }
    }

    /// To an inside address, by what the world knows it by.
    fn pass_prefixed(&mut self, network: NetworkId, dst: IpAddr) -> Result<Routed, DropReason> {
        let to = self.router.prefixes.inner(dst);
        let to = to.ok_or(DropReason::Untranslatable)?;
        self.context.tell(Decision::PrefixTranslated {
            ip: dst,
            inside: to,
        });
        self.pass(How::Prefixed(Way { network, to }))
    }

    /// To an address of the router's: its servers, or the host behind it.
    fn reach_gateway(
        &mut self,
        role: &InsideRole,
        dst: IpAddr,
        protocol: IpProtocol,
    ) -> Result<Routed, DropReason> {
        let dns = matches!(protocol, IpProtocol::UDP | IpProtocol::TCP) && self.dst_port() == DNS;
        let ours = self.interface.owns(dst) && !role.overlapping;
        if let (true, true, Some(network)) = (dns, ours, self.router.services) {
            self.context.tell(Decision::ToNameServer);
            return self.forward_untracked(Way { network, to: dst });
        }
        if role.settings.internal {
            return Err(DropReason::NetworkInternal);
        }
        self.reach_host(role, dst)
    }

    fn reach_host(&mut self, role: &InsideRole, dst: IpAddr) -> Result<Routed, DropReason> {
        let host = self.router.host.filter(|_| role.settings.host_access);
        let Some(network) = host else {
            self.context.tell(Decision::NoHostAccess {
                network: self.interface.network,
            });
            self.refuse_connection();
            return Err(DropReason::HostDenied);
        };
        self.pass(How::Followed(Way { network, to: dst }))
    }

    /// Networks talk to each other only where both say so.
    fn check_peers(&mut self, role: &InsideRole, to: NetworkId) -> Result<(), DropReason> {
        let from = self.interface.network;
        let theirs = self.router.interface(to).and_then(Interface::inside);
        let theirs = theirs.ok_or(DropReason::NoRoute)?;
        if theirs.settings.internal {
            return Err(DropReason::NetworkInternal);
        }
        if role.peers.contains(&to) && theirs.peers.contains(&from) {
            self.context.tell(Decision::Peered { from, to });
            return Ok(());
        }
        self.context.tell(Decision::NotPeered { from, to });
        Err(DropReason::NetworkIsolated)
    }

    fn reach_world(
        &mut self,
        role: &InsideRole,
        src: IpAddr,
        dst: IpAddr,
    ) -> Result<Routed, DropReason> {
        let Some(network) = role.uplink.filter(|up| self.has_way(*up, dst)) else {
            self.context.tell(Decision::NoUplink { ip: dst });
            self.complain(ErrorKind::NoRoute);
            return Err(DropReason::NoRoute);
        };
        let way = Way { network, to: dst };
        self.context.tell(Decision::ToUplink { network });
        self.pass(match role.exit(src) {
            Exit::Masqueraded => How::Outbound(way),
            Exit::Prefixed => How::Prefixed(way),
            Exit::Routed => How::Followed(way),
        })
    }

    fn has_way(&self, uplink: NetworkId, dst: IpAddr) -> bool {
        let interface = self.router.interface(uplink);
        interface.is_some_and(|f| {
            f.next_hop(dst).is_some() && f.ips.iter().any(|ip| ip.is_ipv4() == dst.is_ipv4())
        })
    }

    /// Returns what an uplink hands over was addressed to the host, and is an answer mostly, or to a
    /// network that the world knows addresses of. The world's packets come from the world.
    fn route_uplink(&mut self, src: IpAddr, dst: IpAddr) -> Result<Routed, DropReason> {
        if self.router.place(self.interface, src) != Destination::World {
            self.context.tell(Decision::SourceNotOutside { ip: src });
            return Err(DropReason::Martian);
        }
        match self.router.place(self.interface, dst) {
            Destination::External(_) => self.pass(How::Inbound),
            Destination::Inside(network) => {
                self.check_exit(network, dst, Exit::Routed)?;
                self.pass(How::Followed(Way { network, to: dst }))
            }
            Destination::Prefixed(network) => {
                self.check_exit(network, dst, Exit::Prefixed)?;
                self.pass_prefixed(network, dst)
            }
            Destination::Gateway | Destination::World => Err(DropReason::NoRoute),
        }
    }

    /// The world reaches addresses of a network by the way they leave, and as they do.
    fn check_exit(&self, network: NetworkId, dst: IpAddr, exit: Exit) -> Result<(), DropReason> {
        let role = self.router.interface(network).and_then(Interface::inside);
        let own = Some(self.interface.network);
        let fits =
            role.is_some_and(|r| !r.settings.internal && r.uplink == own && r.exit(dst) == exit);
        fits.then_some(()).ok_or(DropReason::NetworkIsolated)
    }

    fn route_host(&mut self, dst: IpAddr) -> Result<Routed, DropReason> {
        let Destination::Inside(network) = self.router.place(self.interface, dst) else {
            return Err(DropReason::NoRoute);
        };
        let role = self.router.interface(network).and_then(Interface::inside);
        if !role.is_some_and(|r| r.settings.host_access && !r.settings.internal) {
            self.context.tell(Decision::NoHostAccess { network });
            return Err(DropReason::HostDenied);
        }
        self.pass(How::Followed(Way { network, to: dst }))
    }

    fn route_services(&mut self, dst: IpAddr) -> Result<Routed, DropReason> {
        match self.router.place(self.interface, dst) {
            Destination::Inside(network) => self.forward_untracked(Way { network, to: dst }),
            Destination::Gateway
            | Destination::External(_)
            | Destination::Prefixed(_)
            | Destination::World => Err(DropReason::NoRoute),
        }
    }

    /// Says that nobody listens, as a host does: RST to TCP, port unreachable to UDP.
    fn refuse_connection(&mut self) {
        let link = link(self.router, self.interface, self.context);
        // It never does anything but refuse here.
        let _ = gateway::local(link, self.arrival, self.outbox, &mut self.context.trace);
    }

    /// Returns whether the frame is the router's own affair, not to be looked at as one on its way: what
    /// holds a link together, and an echo request to one of its addresses on it.
    fn is_local(&self) -> bool {
        let Headers { net, transport, .. } = self.arrival.headers;
        match (net, transport) {
            (Net::Arp(_), _) => true,
            (_, Transport::Icmpv6(icmp)) if icmp.nd.is_some() => true,
            (_, Transport::Icmp(icmp)) => icmp.kind == Icmp::ECHO_REQUEST && self.is_for_us(),
            (_, Transport::Icmpv6(icmp)) => icmp.kind == Icmpv6::ECHO_REQUEST && self.is_for_us(),
            (_, Transport::Udp(udp)) => {
                is_dhcp(udp)
                    && self
                        .interface
                        .inside()
                        .is_some_and(|role| role.settings.dhcp)
            }
            (
                _,
                Transport::Tcp(_) | Transport::Sctp(_) | Transport::Malformed(_) | Transport::None,
            ) => false,
        }
    }

    fn is_for_us(&self) -> bool {
        addresses(self.arrival.headers).is_some_and(|(_, dst, _)| self.interface.owns(dst))
    }

    fn dst_port(&self) -> u16 {
        match self.arrival.headers.transport {
            Transport::Tcp(tcp) => tcp.dst_port,
            Transport::Udp(udp) => udp.dst_port,
            Transport::Sctp(sctp) => sctp.dst_port,
            Transport::Icmp(_)
            | Transport::Icmpv6(_)
            | Transport::Malformed(_)
            | Transport::None => 0,
        }
    }
}
