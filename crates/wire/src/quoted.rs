//! The packet that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443 3, RFC 5508 4.2).
//!
//! ```text
//!   frame: | Ethernet | IP | ICMP error 8 | IP header | 8 bytes of transport or more ... |
//!                                         ^ l3        ^ transport
//! ```
//! A router need not quote more than that: ports are always there, a TCP checksum need not be. The
//! quoted length is that of the packet as it was, so it may reach beyond the error; what is behind
//! the quoted packet inside the error (RFC 4884 extensions) belongs to nothing. Whatever is not
//! quoted far enough to tell whose packet it was is no [`Quoted`] at all. The sender chose every
//! byte and no checksum has been looked at: whether the quoted packet was ever sent is for whoever
//! remembers its flow to say.

use crate::headers::{Headers, Net};
use crate::icmp::{Icmp, Icmpv6};
use crate::ip::{Fragment, IpProtocol};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::Transport;
use std::net::IpAddr;

/// A quoted packet. Offsets count from the frame's destination MAC, and what they name lies inside
/// the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Where its IP header begins: of IPv4 one of at least 20 bytes, with its checksum at 10, of
    /// IPv6 one of 40.
    pub l3: u16,
    /// Its source, of the same family as `dst`.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// Its transport protocol, behind the extension headers.
    pub protocol: IpProtocol,
    /// Set when it is a piece of a packet.
    pub fragment: Option<Fragment>,
    /// Where its transport header begins, of which 8 bytes at least are there; of a later
    /// fragment, where it goes on.
    pub transport: u16,
    /// The fields of its transport header that were quoted.
    pub what: QuotedTransport,
    /// Where its Internet checksum stands, if it has one and was quoted that far.
    pub checksum: Option<u16>,
}

/// The first 8 bytes of a quoted transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedTransport {
    /// TCP, UDP or SCTP: the ports are at the transport header's offset and two bytes further.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// An ICMP query or its answer: the identifier is 4 bytes into the header.
    Query {
        /// The identifier.
        id: u16,
        /// Whether this is the query, not the answer.
        asked: bool,
    },
    /// Itself an ICMP error, about which there must be none (RFC 1122, 3.2.2).
    Error,
    /// A protocol without ports, or an ICMP message without an identifier.
    Portless,
    /// A fragment that is not the first.
    LaterFragment,
}

/// Bytes of the transport header that every error quotes (RFC 792).
const MIN_TRANSPORT: usize = 8;

impl Quoted {
    /// Reads what the ICMP error in `frame` quotes. `None` when it is no error, or when what it
    /// quotes does not reach 8 bytes into the transport header.
    #[must_use]
    pub fn parse(frame: &[u8], headers: &Headers) -> Option<Self> {
        let message = headers.transport_offset()?;
        let quote = frame
            .get(message..end_of_quote(frame, headers)?)?
            .get(Icmp::LEN..)?;
        let l3 = u16::try_from(message + Icmp::LEN).ok()?;
        let (mut quoted, packet) = match headers.net {
            Net::Ipv4(_) => Self::ipv4(quote, l3)?,
            Net::Ipv6(_) => Self::ipv6(quote, l3)?,
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return None,
        };
        let transport = packet.get(usize::from(quoted.transport - l3)..)?;
        quoted.read_transport(transport)?;
        Some(quoted)
    }

    /// The quoted packet and what there is of it.
    fn ipv4(quote: &[u8], l3: u16) -> Option<(Self, &[u8])> {
        let ip = Ipv4::parse_quoted(quote).ok()?;
        let quoted = Self {
            l3,
            src: ip.src.into(),
            dst: ip.dst.into(),
            protocol: ip.protocol,
            fragment: ip.fragment,
            transport: l3.checked_add(ip.header_len.into())?,
            what: QuotedTransport::Portless,
            checksum: None,
        };
        Some((quoted, &quote[..quote.len().min(ip.total_len.into())]))
    }

    fn ipv6(quote: &[u8], l3: u16) -> Option<(Self, &[u8])> {
        let ip = Ipv6::parse_quoted(quote, l3).ok()?;
        let quoted = Self {
            l3,
            src: ip.src.into(),
            dst: ip.dst.into(),
            protocol: ip.next_header,
            fragment: ip.fragment,
            transport: ip.transport,
            what: QuotedTransport::Portless,
            checksum: None,
        };
        let len = Ipv6::LEN + usize::from(ip.payload_len);
        Some((quoted, &quote[..quote.len().min(len)]))
    }

    /// `transport` is what there is from the transport header on.
    fn read_transport(&mut self, transport: &[u8]) -> Option<()> {
        if self.fragment.is_some_and(|fragment| !fragment.is_first()) {
            self.what = QuotedTransport::LaterFragment;
            return Some(());
        }
        let &[a, b, c, d, e, f, ..] = transport.first_chunk::<MIN_TRANSPORT>()?;
        let ports = QuotedTransport::Ports {
            src: u16::from_be_bytes([a, b]),
            dst: u16::from_be_bytes([c, d]),
        };
        let id = u16::from_be_bytes([e, f]);
        let (what, checksum) = match self.protocol {
            IpProtocol::TCP => (ports, Some(16)),
            IpProtocol::UDP => (ports, Some(6)),
            IpProtocol::SCTP => (ports, None),
            IpProtocol::ICMP => (icmp(a, id), Some(2)),
            IpProtocol::ICMPV6 => (icmpv6(a, id), Some(2)),
            _ => (QuotedTransport::Portless, None),
        };
        self.what = what;
        self.checksum = match checksum {
            Some(at) if transport.len() >= usize::from(at) + 2 => Some(self.transport + at),
            Some(_) | None => None,
        };
        Some(())
    }
}

fn icmp(kind: u8, id: u16) -> QuotedTransport {
    if Icmp::is_error(kind) {
        QuotedTransport::Error
    } else if Icmp::is_request(kind) {
        QuotedTransport::Query { id, asked: true }
    } else if Icmp::is_reply(kind) {
        QuotedTransport::Query { id, asked: false }
    } else {
        QuotedTransport::Portless
    }
}

fn icmpv6(kind: u8, id: u16) -> QuotedTransport {
    match kind {
        Icmpv6::ECHO_REQUEST => QuotedTransport::Query { id, asked: true },
        Icmpv6::ECHO_REPLY => QuotedTransport::Query { id, asked: false },
        kind if Icmpv6::is_error(kind) => QuotedTransport::Error,
        _ => QuotedTransport::Portless,
    }
}

/// Returns where the quoted packet ends and, perhaps, extensions begin; `None` when there is no ICMP error.
fn end_of_quote(frame: &[u8], headers: &Headers) -> Option<usize> {
    let end = headers.packet_end()?;
    // RFC 4884, 4.1 to 4.6: the messages that say how long the quote is, where, and in which unit.
    let (start, length) = match headers.transport {
        Transport::Icmp(icmp) if Icmp::is_error(icmp.kind) => {
            let says = matches!(icmp.kind, Icmp::UNREACHABLE | Icmp::TIME_EXCEEDED | 12);
            (usize::from(icmp.offset), says.then_some((5, 4)))
        }
        Transport::Icmpv6(icmp) if Icmpv6::is_error(icmp.kind) => {
            let says = matches!(icmp.kind, 1 | 3);
            (usize::from(icmp.offset), says.then_some((4, 8)))
        }
        Transport::Icmp(_)
        | Transport::Icmpv6(_)
        | Transport::Tcp(_)
        | Transport::Udp(_)
        | Transport::Sctp(_)
        | Transport::Malformed(_)
        | Transport::None => return None,
    };
    let length = length.map_or(0, |(at, unit)| {
        usize::from(frame.get(start + at).copied().unwrap_or_default()) * unit
    });
    Some(match length {
        0 => end,
        length => end.min(start + Icmp::LEN + length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;
    use crate::arbitrary::{Ip, L4, damaged, specs};
    use crate::craft::Link;
    use proptest::prelude::*;

    fn link() -> Link {
        Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
    }

    /// An error, unreachable, that quotes `packet` from its IP header on.
    fn error(packet: &[u8], v4: bool) -> Vec<u8> {
        if v4 {
            link()
                .ipv4([198, 51, 100, 1].into(), [198, 51, 100, 2].into())
                .raw(
                    IpProtocol::ICMP,
                    &[&[3, 3, 0, 0, 0, 0, 0, 0], packet].concat(),
                )
        } else {
            link()
                .ipv6(
                    "2001:db8::1".parse().unwrap(),
                    "2001:db8::2".parse().unwrap(),
                )
                .raw(
                    IpProtocol::ICMPV6,
                    &[&[1, 4, 0, 0, 0, 0, 0, 0], packet].concat(),
                )
        }
    }

    fn parse(frame: &[u8]) -> Option<Quoted> {
        Quoted::parse(frame, &Headers::parse(frame).unwrap())
    }

    fn v4() -> crate::craft::Packet {
        link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }

    fn datagram() -> Vec<u8> {
        v4().udp(1000, 53, &[7; 40])[14..].to_vec()
    }

    #[test]
    fn eight_bytes_of_transport_are_enough_and_seven_are_not() {
        let quoted = parse(&error(&datagram()[..28], true)).unwrap();
        assert_eq!(
            (quoted.l3, quoted.transport, quoted.checksum),
            (42, 62, Some(68))
        );
        assert_eq!(quoted.what, QuotedTransport::Ports { src: 1000, dst: 53 });
        assert_eq!(
            (quoted.src, quoted.dst),
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        );
        for len in 0..28 {
            assert_eq!(parse(&error(&datagram()[..len], true)), None, "{len}");
        }
    }

    #[test]
    fn a_tcp_checksum_is_there_from_18_bytes_on() {
        let segment = v4().tcp(crate::craft::TcpSegment::default());
        assert_eq!(
            parse(&error(&segment[14..51], true)).unwrap().checksum,
            None
        );
        assert_eq!(
            parse(&error(&segment[14..52], true)).unwrap().checksum,
            Some(78)
        );
    }

    #[test]
    fn extensions_behind_the_quote_do_not_belong_to_it() {
        // The quoted packet ends after 8 bytes of TCP, and the message goes on.
        let mut segment = v4().tcp(crate::craft::TcpSegment::default())[14..].to_vec();
        segment[3] = 28;
        assert_eq!(parse(&error(&segment, true)).unwrap().checksum, None);
        // The message says that its quote ends there (RFC 4884).
        segment[3] = 40;
        let mut frame = error(&segment, true);
        frame[34 + 5] = 7;
        assert_eq!(parse(&frame).unwrap().checksum, None);
        frame[34 + 5] = 6;
        assert_eq!(parse(&frame), None);
    }

    #[test]
    fn queries_answers_errors_and_the_rest() {
        let what = |message: &[u8]| {
            let packet = v4().raw(IpProtocol::ICMP, message);
            parse(&error(&packet[14..], true)).unwrap().what
        };
        let query = |asked| QuotedTransport::Query { id: 0x1234, asked };
        assert_eq!(what(&[8, 0, 0, 0, 0x12, 0x34, 0, 0]), query(true));
        assert_eq!(what(&[0, 0, 0, 0, 0x12, 0x34, 0, 0]), query(false));
        assert_eq!(what(&[13, 0, 0, 0, 0x12, 0x34, 0, 0]), query(true));
        assert_eq!(what(&[18, 0, 0, 0, 0x12, 0x34, 0, 0]), query(false));
        assert_eq!(what(&[11, 0, 0, 0, 0, 0, 0, 0]), QuotedTransport::Error);
        assert_eq!(what(&[9, 0, 0, 0, 0, 0, 0, 0]), QuotedTransport::Portless);
        let gre = v4().raw(IpProtocol(47), &[0; 8]);
        assert_eq!(
            parse(&error(&gre[14..], true)).unwrap().what,
            QuotedTransport::Portless
        );
    }

    #[test]
    fn a_quoted_later_fragment_has_no_ports() {
        let later = Fragment {
            id: 9,
            offset: 1480,
            more: true,
        };
        let packet = v4().fragment(later).raw(IpProtocol::UDP, &[9; 8]);
        let quoted = parse(&error(&packet[14..], true)).unwrap();
        assert_eq!(
            (quoted.what, quoted.checksum),
            (QuotedTransport::LaterFragment, None)
        );
        assert_eq!(quoted.fragment, Some(later));
    }

    #[test]
    fn what_is_not_an_error_quotes_nothing() {
        assert_eq!(parse(&v4().echo_request(1, 2, &datagram())), None);
        assert_eq!(parse(&v4().udp(1, 2, &datagram())), None);
        // An IPv6 packet in an IPv4 error.
        assert_eq!(parse(&error(&[&[0x60], &[0; 60][..]].concat(), true)), None);
    }

    proptest! {
        /// A quote is read as the packet itself is, however it is cut.
        #[test]
        fn a_quote_is_the_packet_it_quotes(spec in specs(), cut in 0..120_usize) {
            let frame = spec.build();
            let headers = Headers::parse(&frame).unwrap();
            let (l3, transport) = (usize::from(headers.l3), headers.transport_offset().unwrap());
            let packet = &frame[l3..headers.packet_end().unwrap()];
            let v4 = matches!(spec.ip, Ip::V4 { .. });
            let keep = (transport - l3 + cut).min(packet.len());
            let outer = error(&packet[..keep], v4);
            let quoted = parse(&outer);
            if keep < transport - l3 + 8 {
                prop_assert_eq!(quoted, None);
                return Ok(());
            }
            let quoted = quoted.unwrap();
            prop_assert_eq!(usize::from(quoted.transport - quoted.l3), transport - l3);
            match (&spec.l4, quoted.what) {
                (L4::Tcp { ports, .. } | L4::Udp { ports }, QuotedTransport::Ports { src, dst }) => {
                    prop_assert_eq!(*ports, (src, dst));
                }
                (L4::Echo { id, .. }, QuotedTransport::Query { id: read, asked: true }) => prop_assert_eq!(*id, read),
                (L4::Raw { .. }, _) => {}
                other => prop_assert!(false, "{:?}", other),
            }
            if let (Some(at), Some(field)) = (quoted.checksum, headers.transport.checksum_offset()) {
                prop_assert_eq!(at, quoted.transport + field);
            }
        }

        #[test]
        fn a_quote_lies_inside_its_frame(inner in damaged(), v4 in any::<bool>(), kind in any::<u8>(), length in any::<u8>()) {
            let mut frame = error(inner.get(14..).unwrap_or_default(), v4);
            let start = if v4 { 34 } else { 54 };
            frame[start] = kind;
            frame[start + 4] = length;
            frame[start + 5] = length;
            if let Some(quoted) = parse(&frame) {
                let header = quoted.transport - quoted.l3;
                prop_assert!(header >= 20 && (v4 || header >= 40));
                let later = quoted.what == QuotedTransport::LaterFragment;
                prop_assert!(later || usize::from(quoted.transport) + 8 <= frame.len());
                prop_assert!(quoted.checksum.is_none_or(|at| usize::from(at) + 2 <= frame.len()));
            }
        }
    }
}
