//! Which decisions somebody else may repeat, packet by packet, without asking again.
//!
//! What a decision depends on is either in the packet, and part of what the lease matches exactly; or in the
//! configuration, and every lease ends with it; or it is named here: the session, which tells when it is over
//! (`table/settle.rs`), and the next hop, which is to be asked about once a second. What depends on more is not
//! repeated; [`Barrier`] says why.

use crate::arrival::Arrival;
use crate::interface::Interface;
use crate::leave::{prefixed, translator};
use crate::outbox::Outbox;
use crate::rewrite::{Rewrite, Translation};
use crate::router::Router;
use crate::table::{Class, SessionId};
use crate::tcp::Side;
use crate::translate::Known;
use crate::tuple::{Kind, Tuple, classify};
use pipeline::{Context, Instant, NetworkId, NoTrace};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr, Net, TcpFlags, Transport};

/// A decision that may be repeated for packets that differ in nothing but payload, hops, and what TCP says
/// inside of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeatable {
    /// The session that the packet is part of.
    pub session: SessionId,
    /// The side that sends it.
    pub side: Side,
    /// If it is TCP: how the sender's segments are judged.
    pub direction: Option<Direction>,
    /// The next hop, if its MAC address was learned; `None` where it is configured.
    pub next_hop: Option<NextHop>,
    /// The session's packets until now, of both sides.
    pub packets: u64,
    /// Whether any other session that the initiator begins at the same address and port would go the same way,
    /// by the ports that its packets have.
    pub alike: bool,
}

/// A direction of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// By how many bits the sender's windows are scaled.
    pub scale: u8,
    /// Whether segments outside of the window pass.
    pub liberal: bool,
}

/// A neighbour that packets are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The network that it is in.
    pub network: NetworkId,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// Why a decision is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// The packet is neither TCP nor UDP, or a fragment, or its headers are damaged.
    Protocol,
    /// It opens a TCP connection, or resets it: what comes next is another state.
    Control,
    /// More of it changes than addresses, ports and hops, or it is cut into fragments.
    Rewrite,
    /// No single session says what becomes of it: it is not followed (the name server's packets, a connection
    /// older than the rules), or by two sessions (a hairpin to a dynamic port).
    Session,
    /// Its TCP connection is not established, or is closing.
    Opening,
    /// Its next hop is not known any more.
    NextHop,
}

/// Says whether the decision about a packet that has just passed may be repeated: one that was routed `into`
/// another network with this rewrite, or one that stayed in its network, whose rules were asked.
///
/// # Errors
/// The first [`Barrier`].
pub fn repeatable(
    router: &Router,
    arrival: &Arrival<'_>,
    routed: Option<(NetworkId, &Rewrite)>,
    now: Instant,
) -> Result<Repeatable, Barrier> {
    let tuple = flow_of(arrival)?;
    if is_syn(arrival) {
        return Err(Barrier::Control);
    }
    if routed.is_some_and(|(_, rewrite)| rewrite.mss.is_some()) {
        return Err(Barrier::Rewrite);
    }
    let known = known(router, arrival, &tuple, routed, now)?;
    let is_open = match known.class {
        Class::Established => true,
        // A datagram's session needs no answer.
        Class::Opening => tuple.protocol != IpProtocol::TCP,
        Class::Closing => false,
    };
    if !is_open {
        return Err(Barrier::Opening);
    }
    decision(router, arrival.network, &tuple, routed, known)
}

/// Says what decided about a packet that has just begun a session, or is of one all the same, as [`repeatable`] does of
/// those that follow; and whether what follows can be judged by what this packet says: of TCP only if nobody has
/// answered before it.
///
/// # Errors
/// The first [`Barrier`].
pub fn begun(
    router: &Router,
    arrival: &Arrival<'_>,
    routed: Option<(NetworkId, &Rewrite)>,
    now: Instant,
) -> Result<(Repeatable, bool), Barrier> {
    let tuple = flow_of(arrival)?;
    let known = known(router, arrival, &tuple, routed, now)?;
    let is_asked = known.side == Side::Initiator && known.answers == 0;
    let is_first = tuple.protocol != IpProtocol::TCP || is_asked;
    let decision = decision(router, arrival.network, &tuple, routed, known)?;
    Ok((decision, is_first))
}

/// The session of a packet, if its rewrite is one that can be repeated.
fn known(
    router: &Router,
    arrival: &Arrival<'_>,
    tuple: &Tuple,
    routed: Option<(NetworkId, &Rewrite)>,
    now: Instant,
) -> Result<Known, Barrier> {
    let rewrite = routed.map(|(_, rewrite)| rewrite);
    if rewrite.is_some_and(|r| r.quoted.is_some() || r.fragment.is_some()) {
        return Err(Barrier::Rewrite);
    }
    let into = routed.map_or(arrival.network, |(into, _)| into);
    let outer = rewrite.and_then(|rewrite| rewrite.outer);
    let known = router.session_of(arrival.network, into, tuple, outer, now);
    known.ok_or(Barrier::Session)
}

fn decision(
    router: &Router,
    from: NetworkId,
    tuple: &Tuple,
    routed: Option<(NetworkId, &Rewrite)>,
    known: Known,
) -> Result<Repeatable, Barrier> {
    let into = routed.map(|(into, _)| into);
    let next_hop = match routed {
        Some((into, rewrite)) => {
            let to = rewrite.outer.map_or(tuple.dst.ip, |outer| outer.dst.ip);
            router.next_hop(into, to, rewrite.dst_mac)?
        }
        None => None,
    };
    Ok(Repeatable {
        session: known.session,
        side: known.side,
        direction: known.scale.map(|scale| Direction {
            scale,
            liberal: known.liberal,
        }),
        next_hop,
        packets: known.packets,
        alike: known.alike && into.into_iter().chain([from]).all(|it| router.grants(it)),
    })
}

fn is_syn(arrival: &Arrival<'_>) -> bool {
    matches!(arrival.headers.transport, Transport::Tcp(tcp) if tcp.flags.contains(TcpFlags::SYN))
}

/// The ends of a packet of which others like it may follow.
fn flow_of(arrival: &Arrival<'_>) -> Result<Tuple, Barrier> {
    let fragment = match arrival.headers.net {
        Net::Ipv4(ip) => ip.fragment,
        Net::Ipv6(ip) => ip.fragment,
        Net::Arp(_) | Net::Malformed(_) | Net::Other => return Err(Barrier::Protocol),
    };
    match (classify(arrival.headers), arrival.headers.transport) {
        (Some(_), _) if fragment.is_some() => Err(Barrier::Protocol),
        (Some(Kind::Flow(_)), Transport::Tcp(tcp)) if tcp.flags.contains(TcpFlags::RST) => {
            Err(Barrier::Control)
        }
        (Some(Kind::Flow(tuple)), Transport::Tcp(_) | Transport::Udp(_)) => Ok(tuple),
        (Some(_) | None, _) => Err(Barrier::Protocol),
    }
}

impl Router {
    /// The session of a packet that went from one network into another, with these ends where it did not keep
    /// its own.
    fn session_of(
        &self,
        from: NetworkId,
        into: NetworkId,
        tuple: &Tuple,
        outer: Option<Translation>,
        now: Instant,
    ) -> Option<Known> {
        let translator = translator(self, &Context::question(now, NoTrace));
        let Some(outer) = outer else {
            return translator.known_followed(from, into, tuple);
        };
        // Which of its two prefixes an end shows is no session's affair.
        if let Ok((inner, prefixed)) = prefixed(self, tuple)
            && prefixed == Some(outer)
        {
            return translator.known_followed(from, into, &inner);
        }
        if let Some(external) = self.external(into) {
            return translator.known_outbound(from, tuple, &external, &outer);
        }
        if let Some(external) = self.external(from) {
            return translator.known_inbound(tuple, &external, &outer);
        }
        let uplink = self.external.get(&tuple.dst.ip)?;
        translator.known_hairpin(from, tuple, &self.external(*uplink)?, &outer)
    }

    /// Returns whether a next hop is still where packets are sent to, and notes that it is used. To be asked
    /// once a second; if not, the leases that lead there are to be taken back.
    #[must_use]
    pub fn reaches(&self, hop: &NextHop, now: Instant, outbox: &mut Outbox) -> bool {
        self.interface(hop.network).is_some_and(|interface| {
            let neighbours = &self.live.gateway.neighbours;
            neighbours.use_of(interface.network, hop.ip, now, outbox) == Some(hop.mac)
        })
    }

    /// Returns whether connections of a network may be begun elsewhere, too.
    fn grants(&self, network: NetworkId) -> bool {
        let inside = self.interface(network).and_then(Interface::inside);
        inside.is_none_or(|role| role.settings.grants)
    }

    /// Returns whether a next hop is still where packets are sent to, as far as is known without asking it.
    #[must_use]
    pub fn knows_hop(&self, hop: &NextHop) -> bool {
        self.interface(hop.network).is_some_and(|interface| {
            let neighbours = &self.live.gateway.neighbours;
            neighbours.known(interface.network, hop.ip) == Some(hop.mac)
        })
    }

    /// The next hop of what goes `to` an address in a network, if its MAC address, which must be this one, was
    /// learned.
    fn next_hop(
        &self,
        network: NetworkId,
        to: IpAddr,
        mac: MacAddr,
    ) -> Result<Option<NextHop>, Barrier> {
        let interface = self.interface(network).ok_or(Barrier::NextHop)?;
        if interface.peer.is_some() {
            return Ok(None);
        }
        let ip = interface.next_hop(to).ok_or(Barrier::NextHop)?;
        if interface.neighbours.contains_key(&ip) {
            return Ok(None);
        }
        Ok(Some(NextHop { network, ip, mac }))
    }
}

#[cfg(test)]
mod tests;
