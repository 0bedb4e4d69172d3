//! The two ends of a flow, and which flow a packet belongs to.
//!
//! Sides are types: an address [`Inside`] a network and one on the far side of an uplink cannot be
//! mixed up. An inside address means nothing without its network, because two networks may use the
//! same range.

use pipeline::NetworkId;
use std::net::IpAddr;
use wire::{Headers, Icmp, Icmpv6, IpProtocol, Net, Transport};
pub use wire::{TransportAddr, Tuple};

/// An address inside a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inside {
    /// The network.
    pub network: NetworkId,
    /// The address in it.
    pub addr: TransportAddr,
}

/// The kind of a packet to whoever follows connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A packet of a flow.
    Flow(Tuple),
    /// An ICMP error: it belongs to the flow it quotes.
    IcmpError,
    /// A fragment without the transport header.
    LaterFragment,
    /// A protocol without ports: both are 0.
    Portless(Tuple),
    /// Transport headers that cannot be read.
    Damaged,
}

/// The addresses of an IP packet; `None` when the frame is not one.
#[must_use]
pub fn addresses(headers: &Headers) -> Option<(IpAddr, IpAddr, IpProtocol)> {
    match headers.net {
        Net::Ipv4(ip) => Some((ip.src.into(), ip.dst.into(), ip.protocol)),
        Net::Ipv6(ip) => Some((ip.src.into(), ip.dst.into(), ip.next_header)),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    }
}

/// Returns what the packet is; `None` when the frame is not an IP packet.
#[must_use]
pub fn classify(headers: &Headers) -> Option<Kind> {
    let (src, dst, protocol) = addresses(headers)?;
    let tuple = |from, to| Tuple {
        protocol,
        src: TransportAddr::new(src, from),
        dst: TransportAddr::new(dst, to),
    };
    let fragment = match headers.net {
        Net::Ipv4(ip) => ip.fragment,
        Net::Ipv6(ip) => ip.fragment,
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    };
    if fragment.is_some_and(|f| !f.is_first()) {
        return Some(Kind::LaterFragment);
    }
    Some(match headers.transport {
        Transport::Tcp(tcp) => Kind::Flow(tuple(tcp.src_port, tcp.dst_port)),
        Transport::Udp(udp) => Kind::Flow(tuple(udp.src_port, udp.dst_port)),
        Transport::Sctp(sctp) => Kind::Flow(tuple(sctp.src_port, sctp.dst_port)),
        Transport::Icmp(Icmp {
            kind, id: Some(id), ..
        }) => Kind::Flow(if icmp_asks(kind) {
            tuple(id, 0)
        } else {
            tuple(0, id)
        }),
        Transport::Icmpv6(Icmpv6 {
            kind, id: Some(id), ..
        }) => Kind::Flow(if kind == Icmpv6::ECHO_REQUEST {
            tuple(id, 0)
        } else {
            tuple(0, id)
        }),
        // RFC 4443, 2.1: the high bit tells errors from the rest.
        Transport::Icmpv6(icmp) if icmp.kind < 128 => Kind::IcmpError,
        Transport::Icmp(icmp) if icmp_is_error(icmp.kind) => Kind::IcmpError,
        Transport::Icmp(_) | Transport::Icmpv6(_) | Transport::None => Kind::Portless(tuple(0, 0)),
        Transport::Malformed(_) => Kind::Damaged,
    })
}

/// Echo, timestamp, information and address mask requests (RFC 792, RFC 950).
const fn icmp_asks(kind: u8) -> bool {
    matches!(kind, Icmp::ECHO_REQUEST | 13 | 15 | 17)
}

/// Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 5508, 4).
const fn icmp_is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}
