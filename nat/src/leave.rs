//! How a packet that may go on leaves: followed or translated, one hop older, fitting, and with
//! its next hop's MAC.
//!
//! An ICMP error follows the connection it quotes, a later fragment its packet's first one; both
//! come out of here as the very same kind of [`Rewrite`].

use crate::arrival::{Arrival, Routed};
use crate::flow::{Flow, Segment};
use crate::fragments::Piece;
use crate::gateway::{ErrorKind, Link, NextHop};
use crate::interface::Interface;
use crate::outbox::Outbox;
use crate::rewrite::{Rewrite, Translation};
use crate::router::Router;
use crate::tcp;
use crate::translate::Translator;
use crate::tuple::{Inside, Kind, Tuple, classify};
use model::RuleDirection;
use pipeline::{Context, Decision, DropReason, Effects, NetworkId, Trace};
use std::cell::Cell;
use std::net::IpAddr;
use wire::{MacAddr, Net, TcpFlags, Transport};

/// A packet on its way through the router, with all that is held against it.
pub(crate) struct Passage<'p, T> {
    pub(crate) router: &'p Router,
    pub(crate) arrival: &'p Arrival<'p>,
    /// The interface it arrived at.
    pub(crate) interface: &'p Interface,
    pub(crate) context: &'p mut Context<T>,
    pub(crate) outbox: &'p mut Outbox,
}

/// Into which network a packet goes, and to whom there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) network: NetworkId,
    /// The packet's destination as it leaves.
    pub(crate) to: IpAddr,
}

/// How the router treats a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// It goes on as it is, as part of a connection that is followed.
    Followed(Way),
    /// It goes to the world with an address of the uplink.
    Outbound(Way),
    /// It comes from the world to whoever is behind the address it was sent to.
    Inbound,
    /// It goes on with the other prefix of whichever end has two (RFC 6296).
    Prefixed(Way),
    /// It goes to one of our own addresses of this uplink, and comes back inside.
    Hairpin(NetworkId),
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy)]
enum Hop {
    /// To the station with this MAC address.
    At(MacAddr),
    /// Nowhere yet: its next hop is being asked for.
    Held,
}

/// The decision about a packet's way and its new addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decided {
    pub(crate) way: Way,
    pub(crate) outer: Option<Translation>,
    pub(crate) quoted: Option<Translation>,
}

impl<T: Trace> Passage<'_, T> {
    /// Lets the packet go on as it is, and nobody remembers.
    pub(crate) fn forward_untracked(&mut self, way: Way) -> Result<Routed, DropReason> {
        let rewrite = self.leave(Decided::plain(way), None)?;
        Ok(rewrite.map_or(Routed::Taken, |r| Routed::Forward(way.network, r)))
    }

    /// Lets the packet go on, as part of a connection.
    pub(crate) fn pass(&mut self, how: How) -> Result<Routed, DropReason> {
        let Some(piece) = Piece::of(self.arrival.network, self.arrival.headers)? else {
            return self.pass_whole(how);
        };
        if !piece.is_first() {
            return self.pass_later(&piece);
        }
        let decided = self
            .pass_whole(how)
            .and_then(|routed| self.whole_checksum(routed));
        self.remember(&piece, decided);
        decided
    }

    fn pass_whole(&mut self, how: How) -> Result<Routed, DropReason> {
        let ahead = match self.look_ahead(how)? {
            Some((_, Hop::Held)) => {
                if self.context.effects == Effects::None {
                    // What will become of it is told all the same.
                    let _ = self.decide(how);
                }
                return Ok(Routed::Taken);
            }
            Some((way, Hop::At(mac))) => Some((way, mac)),
            None => None,
        };
        let decided = self.decide(how)?;
        let rewrite = self.leave(decided, ahead)?;
        Ok(rewrite.map_or(Routed::Taken, |r| Routed::Forward(decided.way.network, r)))
    }

    /// Decides which addresses the packet gets, and where it goes.
    fn decide(&mut self, how: How) -> Result<Decided, DropReason> {
        match classify(self.arrival.headers).ok_or(DropReason::IpInvalid)? {
            Kind::Flow(tuple) | Kind::Portless(tuple) => self.translate(how, tuple),
            Kind::IcmpError => self.relate(how),
            Kind::LaterFragment | Kind::Damaged => Err(DropReason::IpInvalid),
        }
    }

    /// SCTP's checksum covers the ports and the whole packet: of a fragment it cannot be moved.
    fn whole_checksum(&self, routed: Routed) -> Result<Routed, DropReason> {
        match routed {
            Routed::Forward(_, rewrite) if self.moves_sctp_ports(&rewrite) => {
                Err(DropReason::Untranslatable)
            }
            Routed::Forward(..) | Routed::Taken => Ok(routed),
        }
    }

    fn moves_sctp_ports(&self, rewrite: &Rewrite) -> bool {
        let Transport::Sctp(sctp) = self.arrival.headers.transport else {
            return false;
        };
        let own = (sctp.src_port, sctp.dst_port);
        rewrite
            .outer
            .is_some_and(|outer| (outer.src.port, outer.dst.port) != own)
    }

    /// Returns who a packet of a connection becomes.
    fn translate(&mut self, how: How, tuple: Tuple) -> Result<Decided, DropReason> {
        let Self {
            router,
            arrival,
            context,
            ..
        } = self;
        let from = arrival.network;
        let translator = translator(router, context);
        let trace = &mut context.trace;
        let flow = flow(arrival, tuple);
        // Rules are asked for a connection that begins, and for no other.
        let begins = Cell::new(false);
        let sends = |tuple: &Tuple, trace: &mut T| {
            begins.set(true);
            let out = RuleDirection::Out;
            router.policy.allows(from, tuple.src.ip, out, tuple, trace)
        };
        let receives = |tuple: &Tuple, to: Inside, trace: &mut T| {
            begins.set(true);
            let at = Tuple {
                dst: to.addr,
                ..*tuple
            };
            let policy = &router.policy;
            policy.allows(to.network, to.addr.ip, RuleDirection::In, &at, trace)
        };
        let external = |uplink| router.external(uplink).ok_or(DropReason::NoRoute);
        let decided = match how {
            How::Followed(way) | How::Prefixed(way) => {
                let (tuple, outer) = if matches!(how, How::Prefixed(_)) {
                    prefixed(router, &tuple)?
                } else {
                    (tuple, None)
                };
                let to = Inside {
                    network: way.network,
                    addr: tuple.dst,
                };
                let flow = Flow { tuple, ..flow };
                translator.follow(from, way.network, &flow, || {
                    sends(&tuple, trace).and_then(|()| receives(&tuple, to, trace))
                })?;
                Decided {
                    outer,
                    ..Decided::plain(way)
                }
            }
            How::Outbound(way) => {
                let via = external(way.network)?;
                let outer = translator.outbound(from, &flow, &via, || sends(&tuple, trace))?;
                Decided::outer(way, outer)
            }
            How::Inbound => {
                let via = external(from)?;
                let admit = |to| {
                    tell_backend(router, &tuple, to, trace);
                    receives(&tuple, to, trace)
                };
                let (to, outer) = translator.inbound(&flow, &via, admit)?;
                Decided::outer(Way::of(to), outer)
            }
            How::Hairpin(uplink) => {
                let via = external(uplink)?;
                let admit = |to| {
                    tell_backend(router, &tuple, to, trace);
                    sends(&tuple, trace).and_then(|()| receives(&tuple, to, trace))
                };
                let (to, outer) = translator.hairpin(from, &flow, &via, admit)?;
                Decided::outer(Way::of(to), outer)
            }
        };
        trace.tell(session(begins.get()));
        if let Some(outer) = decided.outer {
            tell_translation(&tuple, &outer, trace);
        }
        Ok(decided)
    }

    /// One hop less, small enough, and where to: `None` when the packet waits for its next hop's
    /// answer.
    fn leave(
        &mut self,
        decided: Decided,
        ahead: Option<(Way, MacAddr)>,
    ) -> Result<Option<Rewrite>, DropReason> {
        let way = decided.way;
        let interface = self
            .router
            .interface(way.network)
            .ok_or(DropReason::NoRoute)?;
        let dst_mac = match ahead {
            Some((looked, mac)) if looked == way => mac,
            Some(_) | None => {
                self.check_hops()?;
                self.check_fit(interface.mtu)?;
                match self.next_hop(interface, way)? {
                    Hop::At(mac) => mac,
                    Hop::Held => return Ok(None),
                }
            }
        };
        Ok(Some(Rewrite {
            dst_mac,
            src_mac: interface.mac,
            outer: decided.outer,
            quoted: decided.quoted,
            mss: self.mss(interface.mtu),
            fragment: self.fragment(interface.mtu),
        }))
    }

    /// Returns what cannot go on makes no state, as far as that is known before it is translated: one that
    /// waits for its next hop is carried again later, and counted then. Who sends to our own address
    /// from outside may mean the host, which asks for no hop.
    fn look_ahead(&mut self, how: How) -> Result<Option<(Way, Hop)>, DropReason> {
        match how {
            How::Followed(way) | How::Prefixed(way) | How::Outbound(way) => {
                let interface = self
                    .router
                    .interface(way.network)
                    .ok_or(DropReason::NoRoute)?;
                self.check_hops()?;
                self.check_fit(interface.mtu)?;
                Ok(Some((way, self.next_hop(interface, way)?)))
            }
            How::Hairpin(_) => self.check_hops().map(|()| None),
            How::Inbound => Ok(None),
        }
    }

    fn next_hop(&mut self, interface: &Interface, way: Way) -> Result<Hop, DropReason> {
        if let Some(mac) = interface.peer {
            return Ok(Hop::At(mac));
        }
        let next = interface.next_hop(way.to).ok_or(DropReason::NoRoute)?;
        let link = link(self.router, interface, self.context);
        match link.next_hop(next, self.arrival, self.outbox, &mut self.context.trace) {
            NextHop::At(mac) => Ok(Hop::At(mac)),
            NextHop::Held => Ok(Hop::Held),
            NextHop::Unknown => Err(DropReason::NextHopUnknown),
            NextHop::Unreachable => {
                self.complain(ErrorKind::HostUnreachable);
                Err(DropReason::NextHopUnknown)
            }
        }
    }

    pub(crate) fn check_hops(&mut self) -> Result<(), DropReason> {
        let hops = match self.arrival.headers.net {
            Net::Ipv4(ip) => ip.ttl,
            Net::Ipv6(ip) => ip.hop_limit,
            Net::Arp(_) | Net::Malformed(_) | Net::Other => 0,
        };
        if hops > 1 {
            return Ok(());
        }
        self.context.tell(Decision::HopsEnded { hops });
        self.complain(ErrorKind::TimeExceeded);
        Err(DropReason::TtlExceeded)
    }

    /// A packet is as small as the next link takes, or may be cut; else its sender is told (RFC
    /// 1191, 4; RFC 4443, 3.2).
    pub(crate) fn check_fit(&mut self, mtu: u16) -> Result<(), DropReason> {
        let len = self.len();
        if len <= usize::from(mtu) {
            return Ok(());
        }
        let shown = u32::try_from(len).unwrap_or(u32::MAX);
        if self.fragment(mtu).is_some() {
            self.context.tell(Decision::CutToFit { len: shown, mtu });
            return Ok(());
        }
        self.context.tell(Decision::TooLarge { len: shown, mtu });
        self.complain(ErrorKind::FragmentationNeeded { mtu });
        Err(DropReason::FragmentationNeeded)
    }

    /// The size of the fragments that a link takes of a packet that is too large for it whole (RFC
    /// 1812, 4.2.2.7). Segments of a superframe are their sender's to make smaller.
    pub(crate) fn fragment(&self, mtu: u16) -> Option<u16> {
        let Net::Ipv4(ip) = self.arrival.headers.net else {
            return None;
        };
        let may = !ip.dont_fragment && !self.arrival.frame.vnet.is_gso();
        (may && self.len() > usize::from(mtu)).then_some(mtu)
    }

    /// Bytes of the packet on the wire, or of the largest that a superframe becomes.
    fn len(&self) -> usize {
        let Arrival { frame, headers, .. } = self.arrival;
        wire::wire_mtu(&frame.vnet, headers, frame.len())
    }

    /// Returns what a SYN may offer so that the answers fit both links: what neither end can know (RFC
    /// 4459, 3.2). Only where the links differ is anything to be done.
    fn mss(&self, leaves: u16) -> Option<u16> {
        let Transport::Tcp(tcp) = self.arrival.headers.transport else {
            return None;
        };
        let headers = match self.arrival.headers.net {
            Net::Ipv4(_) => 40,
            Net::Ipv6(_) => 60,
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return None,
        };
        let smaller = self.interface.mtu.min(leaves);
        (tcp.flags.contains(TcpFlags::SYN)).then(|| smaller.saturating_sub(headers))
    }

    pub(crate) fn translator(&self) -> Translator<'_> {
        translator(self.router, self.context)
    }

    /// Tells the sender why the packet did not go on.
    pub(crate) fn complain(&mut self, kind: ErrorKind) {
        let link = link(self.router, self.interface, self.context);
        let _ = link.tell(kind, self.arrival, self.outbox, &mut self.context.trace);
    }
}

impl Decided {
    pub(crate) const fn plain(way: Way) -> Self {
        Self {
            way,
            outer: None,
            quoted: None,
        }
    }

    const fn outer(way: Way, outer: Translation) -> Self {
        Self {
            way,
            outer: Some(outer),
            quoted: None,
        }
    }
}

impl Way {
    const fn of(to: Inside) -> Self {
        Self {
            network: to.network,
            to: to.addr.ip,
        }
    }
}

/// A link of the router's, for a packet that is not about the link itself.
pub(crate) fn link<'r, T>(
    router: &'r Router,
    interface: &'r Interface,
    context: &Context<T>,
) -> Link<'r> {
    Link {
        interface,
        owns: &|_| false,
        live: &router.live.gateway,
        now: context.now,
        effects: context.effects,
    }
}

pub(crate) fn translator<'r, T>(router: &'r Router, context: &Context<T>) -> Translator<'r> {
    Translator {
        tables: &router.live.tables,
        published: &router.published,
        settings: &router.settings,
        now: context.now,
        effects: context.effects,
    }
}

/// The connection of a packet that passes.
pub(crate) const fn session(begins: bool) -> Decision {
    if begins {
        Decision::SessionOpened
    } else {
        Decision::SessionFound
    }
}

/// Tells which ends of a packet are translated.
fn tell_translation<T: Trace>(tuple: &Tuple, outer: &Translation, trace: &mut T) {
    if tuple.src != outer.src {
        trace.tell(Decision::SourceTranslated {
            from: tuple.src,
            to: outer.src,
        });
    }
    if tuple.dst != outer.dst {
        trace.tell(Decision::DestinationTranslated {
            from: tuple.dst,
            to: outer.dst,
        });
    }
}

/// Tells which of several backends a new connection goes to.
fn tell_backend<T: Trace>(router: &Router, tuple: &Tuple, to: Inside, trace: &mut T) {
    let backends = router.published.backends_of(tuple.protocol, tuple.dst);
    let of = u32::try_from(backends.count()).unwrap_or(u32::MAX);
    if of > 1 {
        trace.tell(Decision::BackendChosen {
            external: tuple.dst,
            of,
            backend: to.addr,
        });
    }
}

/// A packet by its inside addresses, and what it leaves with.
pub(crate) fn prefixed(
    router: &Router,
    tuple: &Tuple,
) -> Result<(Tuple, Option<Translation>), DropReason> {
    let prefixes = &router.prefixes;
    let inner = prefixes.inner_tuple(tuple)?;
    if inner.src == inner.dst {
        return Err(DropReason::HairpinLoop);
    }
    let outer = prefixes.translation(&inner, inner.dst.ip)?;
    Ok((inner, Some(outer)))
}

pub(crate) fn flow(arrival: &Arrival<'_>, tuple: Tuple) -> Flow {
    let segment = match arrival.headers.transport {
        Transport::Tcp(tcp) => {
            let bytes = arrival.frame.bytes();
            Segment::Tcp(tcp::Segment::of(bytes, arrival.headers, &tcp))
        }
        Transport::Udp(_)
        | Transport::Sctp(_)
        | Transport::Icmp(_)
        | Transport::Icmpv6(_)
        | Transport::Malformed(_)
        | Transport::None => Segment::Other,
    };
    Flow {
        tuple,
        segment,
        len: arrival.frame.len(),
    }
}
