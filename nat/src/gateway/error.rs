//! ICMP errors (RFC 792, RFC 1812, 4.3; RFC 4443, 2.4, 3): why a packet did not go on.
//!
//! ```text
//!   | Ethernet | IP, from us | ICMP, type and code | MTU or 0 | the packet, as far as it fits |
//! ```
//! The reasons for its shape:
//! * **No error about an error**, a broadcast, a later fragment or a packet from nobody: two routers
//!   would answer each other forever, or a whole link would speak at once (RFC 1122, 3.2.2).
//! * **A flood of bad packets must not become a flood of errors** to a forged source: each link has
//!   a token bucket (RFC 1812, 4.3.2.8).
//! * The packet is quoted as it arrived. Its checksum may be unfinished and it may be a superframe
//!   longer than any wire carries; receivers look at its addresses, ports and sequence number alone
//!   (RFC 792; Linux does so), and none of these differs.

use super::link::{HOPS, Link};
use crate::outbox::Outbox;
use pipeline::{Decision, Trace};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::emit::Ends;
use wire::{Headers, Icmpv6, IpProtocol, Ipv4, Ipv6, Net, Transport};

/// The trouble that an error tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Its hops are used up.
    TimeExceeded,
    /// It is larger than the next link carries (RFC 1191; RFC 8201: "packet too big").
    FragmentationNeeded {
        /// The largest packet that link carries, in bytes.
        mtu: u16,
    },
    /// Nothing leads to its destination.
    NoRoute,
    /// Its next hop does not answer.
    HostUnreachable,
    /// Nobody listens on its port.
    PortUnreachable,
}

/// The result of reporting an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It was sent, or would have been.
    Sent,
    /// The packet is one about which none is sent.
    NeverAbout,
    /// The link had its share of errors, or the router no address to speak with.
    Silent,
}

/// Bytes of an IPv4 error, IP header included (RFC 1812, 4.3.2.3).
const MAX_V4: usize = 576;
/// Bytes of an IPv6 error, IP header included: the smallest MTU of a link (RFC 4443, 2.4 c).
const MAX_V6: usize = 1280;
/// Bytes of an error before the quoted packet.
const HEADER: usize = 8;

/// Tells the sender of a packet, which arrived on `link`, why it did not go on.
pub(crate) fn send<T: Trace>(
    kind: ErrorKind,
    link: Link<'_>,
    headers: &Headers,
    frame: &[u8],
    outbox: &mut Outbox,
    trace: &mut T,
) -> Reported {
    let told = try_send(kind, link, headers, frame, outbox);
    trace.tell(match told {
        Reported::Sent => kind.sent(),
        Reported::NeverAbout => Decision::ErrorNotDue,
        Reported::Silent => Decision::ErrorLimited,
    });
    told
}

fn try_send(
    kind: ErrorKind,
    link: Link<'_>,
    headers: &Headers,
    frame: &[u8],
    outbox: &mut Outbox,
) -> Reported {
    if !may_be_about(link, headers) {
        return Reported::NeverAbout;
    }
    let (ends, protocol, (number, code), most) = match headers.net {
        Net::Ipv4(ip) => {
            let Some(own) = link.interface.ipv4_towards(ip.src) else {
                return Reported::Silent;
            };
            let most = MAX_V4 - Ipv4::MIN_LEN - HEADER;
            (Ends::V4(own, ip.src), IpProtocol::ICMP, kind.v4(), most)
        }
        Net::Ipv6(ip) => {
            let own = link.interface.ipv6_towards(ip.src);
            let most = MAX_V6 - Ipv6::LEN - HEADER;
            (Ends::V6(own, ip.src), IpProtocol::ICMPV6, kind.v6(), most)
        }
        Net::Arp(_) | Net::Malformed(_) | Net::Other => return Reported::NeverAbout,
    };
    let end = headers.packet_end().unwrap_or(0).min(frame.len());
    let Some(packet) = frame.get(usize::from(headers.l3)..end) else {
        return Reported::NeverAbout;
    };
    if !link.take(|state| &state.errors) {
        return Reported::Silent;
    }
    let quote = &packet[..packet.len().min(most)];
    let envelope = link.envelope(headers.src, ends, HOPS);
    link.post(outbox, |out| {
        envelope.emit(out, protocol, |out| {
            out.extend_from_slice(&[number, code, 0, 0, 0, 0]);
            // The low half of the word in both families: an IPv6 MTU has 32 bits.
            out.extend_from_slice(&kind.mtu().to_be_bytes());
            out.extend_from_slice(quote);
        });
    });
    Reported::Sent
}

impl ErrorKind {
    /// Type and code (RFC 792; RFC 1812, 5.2.7.1).
    const fn v4(self) -> (u8, u8) {
        match self {
            Self::NoRoute => (3, 0),
            Self::HostUnreachable => (3, 1),
            Self::PortUnreachable => (3, 3),
            Self::FragmentationNeeded { .. } => (3, 4),
            Self::TimeExceeded => (11, 0),
        }
    }

    /// Type and code (RFC 4443, 3).
    const fn v6(self) -> (u8, u8) {
        match self {
            Self::NoRoute => (1, 0),
            Self::HostUnreachable => (1, 3),
            Self::PortUnreachable => (1, 4),
            Self::FragmentationNeeded { .. } => (2, 0),
            Self::TimeExceeded => (3, 0),
        }
    }

    const fn mtu(self) -> u16 {
        match self {
            Self::FragmentationNeeded { mtu } => mtu,
            Self::TimeExceeded | Self::NoRoute | Self::HostUnreachable | Self::PortUnreachable => 0,
        }
    }

    /// The decision that an error of this kind is sent.
    const fn sent(self) -> Decision {
        let error = match self {
            Self::FragmentationNeeded { mtu } => return Decision::TooBigSent { mtu },
            Self::TimeExceeded => "time exceeded",
            Self::NoRoute => "no route",
            Self::HostUnreachable => "host unreachable",
            Self::PortUnreachable => "port unreachable",
        };
        Decision::ErrorSent { error }
    }
}

/// RFC 1812, 4.3.2.7 and RFC 4443, 2.4 e.
fn may_be_about(link: Link<'_>, headers: &Headers) -> bool {
    let (alone, first, protocol) = match headers.net {
        Net::Ipv4(ip) => (
            is_host_v4(link, ip.src) && is_host_v4(link, ip.dst),
            ip.fragment.is_none_or(|f| f.is_first()),
            ip.protocol,
        ),
        Net::Ipv6(ip) => (
            is_host_v6(ip.src) && is_host_v6(ip.dst),
            ip.fragment.is_none_or(|f| f.is_first()),
            ip.next_header,
        ),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => return false,
    };
    let error = match headers.transport {
        // Everything that is neither a query nor its answer (RFC 792).
        Transport::Icmp(icmp) => icmp.id.is_none(),
        // RFC 4443, 2.1: errors are below 128; redirects are as bad (2.4 e.2).
        Transport::Icmpv6(icmp) => icmp.kind < 128 || icmp.kind == Icmpv6::REDIRECT,
        // What cannot be read could be one.
        Transport::Malformed(_) => matches!(protocol, IpProtocol::ICMP | IpProtocol::ICMPV6),
        Transport::Tcp(_) | Transport::Udp(_) | Transport::Sctp(_) | Transport::None => false,
    };
    alone && first && !error && !headers.dst.is_group() && headers.src.is_valid_source()
}

/// Returns whether `ip` can be one host's.
fn is_host_v4(link: Link<'_>, ip: Ipv4Addr) -> bool {
    let class_e = ip.octets()[0] >= 240;
    let subnet_broadcast = link.interface.addresses.iter().any(|net| {
        net.prefix_len() < 31
            && (net.broadcast() == IpAddr::V4(ip) || net.network() == IpAddr::V4(ip))
    });
    let nowhere = ip.octets()[0] == 0 || ip.is_loopback();
    !nowhere && !class_e && !ip.is_multicast() && !subnet_broadcast
}

fn is_host_v6(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
}
