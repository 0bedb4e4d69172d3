//! A NAT in the words of RFC 4787, 5382 and 5508, and a list.

use super::tcp::{Seg, Tcp};
use super::{NAMES, WEBSITE, at};
use crate::site::{A, B, DB, OURS, UP, WEB};
use nat::tcp::Phase;
use nat::{Behaviour, Dependence, Entry, Inside, PortChoice, PortRange, TransportAddr};
use pipeline::{DropReason, Instant, NetworkId};
use std::collections::BTreeMap;
use wire::{IpProtocol, TcpFlags};

/// A connection, which always has an external address.
#[derive(Debug, Clone)]
pub(super) struct Conn {
    pub(super) protocol: IpProtocol,
    pub(super) inside: Inside,
    pub(super) external: TransportAddr,
    /// The other end, by its own address; and the address that the inside knows it by.
    pub(super) peer: Inside,
    called: TransportAddr,
    port: Port,
    from_inside: bool,
    answered: bool,
    last: Instant,
    pub(super) tcp: Option<Tcp>,
}

/// What the sender of a packet is known as, or why it goes nowhere.
pub(super) type Got = Result<TransportAddr, DropReason>;

/// Whose the external port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Published,
    /// The inside address's, whoever it talks to (endpoint-independent mapping).
    Endpoints,
    /// This connection's and those with other peers (address- and port-dependent mapping).
    Shared,
}

/// Why a packet does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody asked for it; whether there is a mapping that it might have had is not said.
    Unsolicited,
    For(DropReason),
}

impl Refused {
    pub(super) fn covers(self, reason: DropReason) -> bool {
        match self {
            Self::Unsolicited => matches!(reason, DropReason::NoMapping | DropReason::Filtered),
            Self::For(wanted) => wanted == reason,
        }
    }
}

#[derive(Debug)]
pub(super) struct Reference {
    pub(super) conns: Vec<Conn>,
    pub(super) behaviours: BTreeMap<NetworkId, Behaviour>,
    range: PortRange,
}

impl Reference {
    pub(super) fn new(range: PortRange) -> Self {
        let behaviours = [WEB, DB].map(|network| (network, Behaviour::default()));
        Self {
            conns: Vec::new(),
            behaviours: behaviours.into(),
            range,
        }
    }

    /// Some connection of a kind.
    pub(super) fn nth(&self, nth: usize, of: impl Fn(&Conn) -> bool) -> Option<&Conn> {
        let count = self.conns.len();
        let turned = (0..count).map(|step| &self.conns[(nth % count + step) % count]);
        turned.into_iter().find(|conn| of(conn))
    }

    /// What is over is forgotten (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2).
    pub(super) fn forget(&mut self, now: Instant) {
        let behaviours = &self.behaviours;
        self.conns.retain(|conn| {
            let timeouts = behaviours[&conn.inside.network].timeouts;
            let timeout = match (conn.tcp, conn.protocol) {
                (Some(tcp), _) => match tcp.phase() {
                    Phase::Opening => timeouts.tcp_opening,
                    Phase::Established => timeouts.tcp_established,
                    Phase::Closing => timeouts.tcp_closing,
                },
                (None, IpProtocol::ICMP) => timeouts.icmp,
                (None, _) if conn.answered => timeouts.udp,
                (None, _) => timeouts.udp_one_way,
            };
            now.since(conn.last) < timeout
        });
    }

    /// A packet from inside to the world came out as `got` says.
    pub(super) fn out(
        &mut self,
        protocol: IpProtocol,
        inside: Inside,
        called: TransportAddr,
        segment: Option<Seg>,
        got: Got,
        now: Instant,
    ) {
        let peer = Inside {
            network: UP,
            addr: called,
        };
        let passed = self.call((protocol, inside), (peer, called), segment, got, now);
        match (passed, got) {
            (Ok(at), Ok(got)) => assert_eq!(self.conns[at].external, got),
            (Err(refused), Err(reason)) => {
                assert!(refused.covers(reason), "{reason}, not {refused:?}");
            }
            (passed, got) => panic!("{got:?}, not {passed:?}"),
        }
    }

    /// The inside says something to `peer`, whom it knows as `called`; answers the connection.
    fn call(
        &mut self,
        (protocol, inside): (IpProtocol, Inside),
        (peer, called): (Inside, TransportAddr),
        segment: Option<Seg>,
        got: Got,
        now: Instant,
    ) -> Result<usize, Refused> {
        self.forget(now);
        let known = self
            .position(|conn| (conn.protocol, conn.inside, conn.peer) == (protocol, inside, peer));
        let old = known.filter(|at| self.conns[*at].gives_way_to(segment));
        if let Some(at) = known.filter(|_| old.is_none()) {
            self.pass(at, true, segment, now)?;
            return Ok(at);
        }
        let tcp = segment.map(Tcp::opens).transpose()?;
        let (external, port) = self.mapping((protocol, inside), peer, old, got)?;
        old.map(|at| self.conns.remove(at));
        self.conns.push(Conn {
            protocol,
            inside,
            external,
            peer,
            called,
            port,
            from_inside: true,
            answered: false,
            last: now,
            tcp,
        });
        Ok(self.conns.len() - 1)
    }

    /// The external address for a connection that begins, perhaps in place of an `old` one: the one
    /// it must have, or the one it got, if that might be.
    fn mapping(
        &self,
        (protocol, inside): (IpProtocol, Inside),
        peer: Inside,
        old: Option<usize>,
        got: Got,
    ) -> Result<(TransportAddr, Port), Refused> {
        let behaviour = self.behaviours[&inside.network];
        if let Some(port) = published_of(protocol, inside) {
            return Ok((at(OURS, port), Port::Published));
        }
        let mut port = Port::Shared;
        if behaviour.mapping == Dependence::EndpointIndependent {
            // RFC 4787 REQ-1.
            port = Port::Endpoints;
            let same =
                |conn: &Conn| (conn.protocol, conn.inside, conn.port) == (protocol, inside, port);
            if let Some(at) = self.position(same) {
                return Ok((self.conns[at].external, port));
            }
        }
        let free = |wanted: u16| {
            let takes = |(at, conn): (usize, &Conn)| {
                let shares = (port, conn.port) == (Port::Shared, Port::Shared) && conn.peer != peer;
                (conn.protocol, conn.external.port) == (protocol, wanted)
                    && !shares
                    && old != Some(at)
            };
            published_at(protocol, wanted).is_none() && !self.conns.iter().enumerate().any(takes)
        };
        let preserves = behaviour.ports == PortChoice::Preserve;
        let own = inside.addr.port;
        match got {
            Ok(got) => {
                assert!(
                    self.range.contains(got.port) && free(got.port),
                    "{got} is not free"
                );
                let keeps = preserves && self.range.contains(own) && free(own);
                assert!(
                    !keeps || got.port == own,
                    "{own} was free, and {got} was given"
                );
                // RFC 4787 REQ-4, which is about the pairs of RTP.
                let paired = preserves && protocol == IpProtocol::UDP;
                let mut pairs = self.places(own).filter(|port| port % 2 == own % 2);
                assert!(
                    !paired || got.port % 2 == own % 2 || !pairs.any(free),
                    "parity"
                );
                Ok((got, port))
            }
            Err(DropReason::PortsExhausted) => {
                assert!(
                    !self.places(own).any(free),
                    "a port was free for {inside:?}"
                );
                Err(Refused::For(DropReason::PortsExhausted))
            }
            Err(reason) => panic!("{reason}, and no external port for {inside:?}"),
        }
    }

    /// The ports that an inside port may be given: bits 1 to 4 are its own (see `nat/src/lib.rs`).
    fn places(&self, own: u16) -> impl Iterator<Item = u16> + use<> {
        self.range
            .iter()
            .filter(move |port| (port ^ own) & 0x1e == 0)
    }

    /// These gave way to another, for whom no port was free.
    pub(super) fn evicted(&mut self, entries: &[Entry], now: Instant) {
        self.forget(now);
        for entry in entries {
            let external = entry.inside().seen_as.expect("ports are what is scarce");
            let holds =
                |conn: &Conn, port| (conn.protocol, conn.external.port) == (entry.protocol, port);
            let held = |port| self.conns.iter().any(|conn| holds(conn, port));
            assert!(self.places(external.port).all(held), "a port was free");
        }
        self.conns.retain(|conn| {
            !entries.iter().any(|entry| {
                let (inside, peer) = (entry.inside(), entry.peer());
                conn.protocol == entry.protocol
                    && (conn.inside.network, conn.inside.addr) == (inside.network, inside.addr)
                    && (conn.peer.network, conn.peer.addr) == (peer.network, peer.addr)
            })
        });
    }

    /// A packet from `peer` to our address `to`: to whom?
    pub(super) fn enter(
        &mut self,
        protocol: IpProtocol,
        peer: Inside,
        to: TransportAddr,
        segment: Option<Seg>,
        now: Instant,
    ) -> Result<Inside, Refused> {
        self.forget(now);
        let known =
            self.position(|conn| (conn.protocol, conn.external, conn.peer) == (protocol, to, peer));
        let old = known.filter(|at| self.conns[*at].gives_way_to(segment));
        if let Some(at) = known.filter(|_| old.is_none()) {
            self.pass(at, false, segment, now)?;
            return Ok(self.conns[at].inside);
        }
        let (inside, port) = match published_at(protocol, to.port) {
            Some(inside) => (inside, Port::Published),
            None => (self.filter(protocol, peer, to)?, Port::Endpoints),
        };
        let tcp = segment.map(Tcp::opens).transpose()?;
        old.map(|at| self.conns.remove(at));
        self.conns.push(Conn {
            protocol,
            inside,
            external: to,
            peer,
            called: peer.addr,
            port,
            from_inside: false,
            answered: false,
            last: now,
            tcp,
        });
        Ok(inside)
    }

    /// Returns whose the mapping is that a stranger may use (RFC 4787 REQ-8, RFC 5382 REQ-3).
    fn filter(
        &self,
        protocol: IpProtocol,
        peer: Inside,
        to: TransportAddr,
    ) -> Result<Inside, Refused> {
        let inside = self.tenant(protocol, to)?;
        let own = |conn: &&Conn| {
            (conn.protocol, conn.external, conn.port) == (protocol, to, Port::Endpoints)
        };
        let mut mapping = self.conns.iter().filter(own);
        let opens = match self.behaviours[&inside.network].filtering {
            Dependence::EndpointIndependent => mapping.any(Conn::is_wanted),
            Dependence::AddressDependent => {
                mapping.any(|conn| conn.is_wanted() && conn.called.ip == peer.addr.ip)
            }
            Dependence::AddressAndPortDependent => false,
        };
        // The two talk already, by another external port: answers would be that connection's.
        let talk =
            |conn: &Conn| (conn.protocol, conn.inside, conn.peer) == (protocol, inside, peer);
        if opens && self.position(talk).is_none() {
            Ok(inside)
        } else {
            Err(Refused::Unsolicited)
        }
    }

    /// Returns whose a mapping is.
    fn tenant(&self, protocol: IpProtocol, external: TransportAddr) -> Result<Inside, Refused> {
        let here = |conn: &Conn| {
            (conn.protocol, conn.external, conn.port) == (protocol, external, Port::Endpoints)
        };
        let at = self.position(here).ok_or(Refused::Unsolicited)?;
        Ok(self.conns[at].inside)
    }

    /// A UDP packet from inside to one of our own addresses (RFC 4787 REQ-9). `got` is what its
    /// sender is known as afterwards, or why it is not.
    pub(super) fn turn(
        &mut self,
        caller: Inside,
        to: TransportAddr,
        got: Got,
        now: Instant,
    ) -> Result<Inside, Refused> {
        const UDP: IpProtocol = IpProtocol::UDP;
        self.forget(now);
        // An answer to who called the published port from inside.
        let answers = |conn: &Conn| (conn.protocol, conn.external, conn.peer) == (UDP, to, caller);
        if let Some(at) = self.position(answers) {
            self.pass(at, false, None, now)?;
            return Ok(self.conns[at].inside);
        }
        // To a published port at once; else out as to the world, and in as from there.
        let published = published_at(UDP, to.port);
        let callee = published.map_or_else(|| self.tenant(UDP, to), Ok)?;
        let peer = published.unwrap_or(Inside {
            network: UP,
            addr: to,
        });
        let known = |conn: &Conn| (conn.protocol, conn.inside, conn.peer) == (UDP, caller, peer);
        if self.position(known).is_none() {
            if callee == caller {
                return Err(Refused::For(DropReason::HairpinLoop));
            }
            if !self.behaviours[&caller.network].hairpin {
                return Err(Refused::Unsolicited);
            }
        }
        let at = self.call((UDP, caller), (peer, to), None, got, now)?;
        if published.is_some() {
            return Ok(callee);
        }
        let met = Inside {
            network: UP,
            addr: self.conns[at].external,
        };
        self.enter(UDP, met, to, None, now)
    }

    /// A packet of a connection.
    fn pass(
        &mut self,
        at: usize,
        inside: bool,
        segment: Option<Seg>,
        now: Instant,
    ) -> Result<(), Refused> {
        let conn = &mut self.conns[at];
        if let (Some(tcp), Some(segment)) = (&mut conn.tcp, segment) {
            tcp.next(usize::from(inside != conn.from_inside), segment)?;
        }
        conn.answered |= inside != conn.from_inside;
        // RFC 4787 REQ-6: who is outside keeps alive only what the inside wants.
        if inside || conn.is_wanted() {
            conn.last = now;
        }
        Ok(())
    }

    fn position(&self, is: impl Fn(&Conn) -> bool) -> Option<usize> {
        self.conns.iter().position(is)
    }

    /// Returns what is known of a TCP connection with somebody in the world.
    pub(super) fn tcp(&self, inside: Inside, peer: TransportAddr) -> Option<&Tcp> {
        let peer = Inside {
            network: UP,
            addr: peer,
        };
        let at =
            self.position(|conn| conn.tcp.is_some() && (conn.inside, conn.peer) == (inside, peer))?;
        self.conns[at].tcp.as_ref()
    }
}

impl Conn {
    /// Returns whether its other end is not one of us behind one of our own addresses.
    pub(super) fn is_of_the_world(&self) -> bool {
        self.peer.network == UP && self.peer.addr.ip != OURS
    }

    /// Returns whether the segment is the SYN of another connection in place of this one, which is over
    /// (RFC 9293, 3.6.1).
    fn gives_way_to(&self, segment: Option<Seg>) -> bool {
        let over = self.tcp.as_ref().is_some_and(Tcp::is_over);
        over && segment.is_some_and(|segment| segment.flags == TcpFlags::SYN)
    }

    fn is_wanted(&self) -> bool {
        self.from_inside || self.answered || self.port == Port::Published
    }
}

/// Whom a port of ours is published for.
fn published_at(protocol: IpProtocol, port: u16) -> Option<Inside> {
    let (guest, own) = match (protocol, port) {
        (IpProtocol::UDP, NAMES) => (B, 53),
        (IpProtocol::TCP, WEBSITE) => (A, 80),
        _ => return None,
    };
    Some(Inside {
        network: guest.network,
        addr: at(guest.v4, own),
    })
}

/// By which port of ours an endpoint is published.
fn published_of(protocol: IpProtocol, inside: Inside) -> Option<u16> {
    let mut all = [NAMES, WEBSITE].into_iter();
    all.find(|port| published_at(protocol, *port) == Some(inside))
}
