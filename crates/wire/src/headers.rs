//! Parse once.
//!
//! [`Headers::parse`] reads a frame's headers a single time, at its arrival; every stage behind it
//! works on the result, which proves that what it names lies inside the frame. A frame of which
//! only layer 2 can be read is still a frame: it parses, with [`Net::Malformed`] or
//! [`Transport::Malformed`] saying what is wrong, and whether it may pass is for the switch.
//!
//! Complications, and what shaped them:
//! * **Lengths come from three places** (the frame, the IP header, the transport header) and an
//!   attacker picks all but the first. Each is checked against the one around it, and what is
//!   behind the IP packet is Ethernet padding and belongs to nothing.
//! * **A superframe** is one packet of up to 64 KiB whose lengths cover all of it. A length of
//!   zero, which newer kernels use for packets beyond 64 KiB, is malformed: no port asks for such.
//! * **The first of two link-layer addresses wins** in a neighbour message, as it does in Linux.
//!
//! No allocation, no panic on any bytes, nothing shared: all types are `Copy` values.

use crate::arp::Arp;
use crate::ethernet::{EtherType, Ethernet};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::Transport;
use crate::{MacAddr, VlanTag};
use std::fmt;

/// The headers of one frame. Offsets count from the destination MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Destination MAC.
    pub dst: MacAddr,
    /// Source MAC.
    pub src: MacAddr,
    /// The outermost VLAN tag.
    pub outer: Option<VlanTag>,
    /// The VLAN tag behind the outermost.
    pub inner: Option<VlanTag>,
    /// The EtherType behind the tags.
    pub ethertype: EtherType,
    /// Where the network header begins: 14, 18 or 22.
    pub l3: u16,
    /// The network header.
    pub net: Net,
    /// The transport header.
    pub transport: Transport,
}

/// A network header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// ARP.
    Arp(Arp),
    /// IPv4.
    Ipv4(Ipv4),
    /// IPv6.
    Ipv6(Ipv6),
    /// One of these by its EtherType, but broken.
    Malformed(Malformed),
    /// Another protocol.
    Other,
}

/// Why a header that is there cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The packet ends inside the header.
    Truncated,
    /// The IP version is not the one the EtherType announces.
    Version,
    /// A header's own length is below its minimum.
    HeaderLength,
    /// The length of the packet is below that of its header, or beyond the frame.
    PacketLength,
    /// More IPv6 extension headers than [`crate::MAX_EXTENSIONS`].
    TooManyExtensions,
    /// An ARP message about other addresses than Ethernet's and IPv4's.
    AddressKind,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the packet ends inside the header",
            Self::Version => "the IP version is not the one the EtherType announces",
            Self::HeaderLength => "the header's length is below its minimum",
            Self::PacketLength => "the packet's length is below its header's or beyond the frame",
            Self::TooManyExtensions => "there are too many extension headers",
            Self::AddressKind => "the ARP message is not about Ethernet and IPv4 addresses",
        })
    }
}

/// Why a frame has no headers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame ends inside its Ethernet header or VLAN tags.
    #[error("the frame ends inside its Ethernet header (14 bytes) or VLAN tags (4 bytes each)")]
    FrameTooShort,
}

impl Headers {
    /// Reads the headers of `frame`, which begins with its destination MAC.
    ///
    /// # Errors
    /// When the frame ends inside its Ethernet header or VLAN tags.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let ethernet = Ethernet::parse(frame)?;
        let l3 = ethernet.len;
        let (net, transport) = match ethernet.ethertype {
            EtherType::IPV4 => parse_ipv4(frame, l3),
            EtherType::IPV6 => parse_ipv6(frame, l3),
            EtherType::ARP => {
                let message = frame.get(usize::from(l3)..).unwrap_or_default();
                (
                    Arp::parse(message).map_or_else(Net::Malformed, Net::Arp),
                    Transport::None,
                )
            }
            _ => (Net::Other, Transport::None),
        };
        Ok(Self {
            dst: ethernet.dst,
            src: ethernet.src,
            outer: ethernet.outer,
            inner: ethernet.inner,
            ethertype: ethernet.ethertype,
            l3,
            net,
            transport,
        })
    }

    /// Returns where the transport header begins; `None` when the frame is not sound IP.
    #[must_use]
    pub const fn transport_offset(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(self.l3 as usize + ip.header_len as usize),
            Net::Ipv6(ip) => Some(ip.transport as usize),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
        }
    }

    /// Returns where the IP packet ends and padding begins; `None` when the frame is not sound IP.
    #[must_use]
    pub const fn packet_end(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(self.l3 as usize + ip.total_len as usize),
            Net::Ipv6(ip) => Some(self.l3 as usize + Ipv6::LEN + ip.payload_len as usize),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
        }
    }

    /// Bytes of everything up to the payload: Ethernet, tags, network and transport header, as
    /// far as they were understood.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self.transport_offset() {
            Some(offset) => offset + self.transport.header_len(),
            None => self.l3 as usize,
        }
    }

    /// Bytes behind the headers inside the IP packet, padding not counted; 0 when the frame is
    /// not sound IP.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        match self.packet_end() {
            Some(end) => end.saturating_sub(self.header_len()),
            None => 0,
        }
    }
}

#[inline]
fn parse_ipv4(frame: &[u8], l3: u16) -> (Net, Transport) {
    let packet = frame.get(usize::from(l3)..).unwrap_or_default();
    let ip = match Ipv4::parse(packet) {
        Ok(ip) => ip,
        Err(wrong) => return (Net::Malformed(wrong), Transport::None),
    };
    let end = usize::from(l3) + usize::from(ip.total_len);
    let offset = l3 + u16::from(ip.header_len);
    let within = frame.get(..end).unwrap_or_default();
    (
        Net::Ipv4(ip),
        Transport::parse(within, offset, ip.protocol, ip.fragment),
    )
}

#[inline]
fn parse_ipv6(frame: &[u8], l3: u16) -> (Net, Transport) {
    let (ip, wrong) = match Ipv6::parse(frame, l3) {
        Ok(parsed) => parsed,
        Err(wrong) => return (Net::Malformed(wrong), Transport::None),
    };
    let transport = match wrong {
        Some(wrong) => Transport::Malformed(wrong),
        None => {
            let end = usize::from(l3) + Ipv6::LEN + usize::from(ip.payload_len);
            let within = frame.get(..end).unwrap_or_default();
            Transport::parse(within, ip.transport, ip.next_header, ip.fragment)
        }
    };
    (Net::Ipv6(ip), transport)
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other variant fails the test"
)]
mod tests {
    use super::*;
    use crate::arbitrary::{Ip, L4, Spec, damaged, specs};
    use crate::craft::Link;
    use crate::{Fragment, IpProtocol, Nd, TcpFlags, VlanId};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn link() -> Link {
        Link::new(A, B)
    }

    fn parse(frame: &[u8]) -> Headers {
        Headers::parse(frame).unwrap()
    }

    fn v4() -> crate::craft::Packet {
        link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }

    fn v6() -> crate::craft::Packet {
        link().ipv6(
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        )
    }

    #[test]
    fn a_frame_ends_inside_its_layer_2() {
        let vlan = VlanId::new(5).unwrap();
        for (frame, header) in [
            (link().raw(EtherType(0x1234), &[]), 14),
            (link().vlan(vlan).raw(EtherType(0x1234), &[]), 18),
            (link().vlan(vlan).vlan(vlan).raw(EtherType(0x1234), &[]), 22),
        ] {
            for len in 0..header {
                assert_eq!(
                    Headers::parse(&frame[..len]),
                    Err(ParseError::FrameTooShort),
                    "{len} of {header}"
                );
            }
            assert_eq!(
                (parse(&frame).l3, parse(&frame).ethertype),
                (header.try_into().unwrap(), EtherType(0x1234))
            );
        }
    }

    #[test]
    fn a_third_tag_is_the_payload() {
        let vlan = |id| VlanId::new(id).unwrap();
        let headers = parse(
            &link()
                .vlan(vlan(1))
                .vlan(vlan(2))
                .vlan(vlan(3))
                .raw(EtherType::IPV4, &[0; 20]),
        );
        assert_eq!(headers.ethertype, EtherType(VlanTag::CTAG));
        assert_eq!(
            (headers.outer.unwrap().vid(), headers.inner.unwrap().vid()),
            (1, 2)
        );
        assert_eq!(headers.net, Net::Other);
    }

    #[test]
    fn an_802_3_length_is_no_type() {
        let headers = parse(&link().raw(EtherType(3), &[0x42, 0x42, 3]));
        assert_eq!(
            (headers.net, headers.transport),
            (Net::Other, Transport::None)
        );
        assert!(headers.ethertype.is_length());
    }

    #[test]
    fn broken_ipv4_still_has_its_layer_2() {
        let sound = v4().udp(1, 2, &[7; 30]);
        let cases: &[(&str, usize, &[u8], Malformed)] = &[
            ("version", 14, &[0x65], Malformed::Version),
            ("header of 16", 14, &[0x44], Malformed::HeaderLength),
            ("total below header", 16, &[0, 19], Malformed::PacketLength),
            ("total zero", 16, &[0, 0], Malformed::PacketLength),
            ("total beyond frame", 16, &[0, 59], Malformed::PacketLength),
        ];
        for (name, at, bytes, why) in cases {
            let mut frame = sound.clone();
            frame[*at..at + bytes.len()].copy_from_slice(bytes);
            let headers = parse(&frame);
            assert_eq!(
                (headers.net, headers.transport),
                (Net::Malformed(*why), Transport::None),
                "{name}"
            );
            assert_eq!(
                (headers.src, headers.dst, headers.payload_len()),
                (A, B, 0),
                "{name}"
            );
        }
        assert_eq!(
            parse(&sound[..33]).net,
            Net::Malformed(Malformed::Truncated)
        );
        assert_eq!(
            parse(&sound[..60]).net,
            Net::Malformed(Malformed::PacketLength)
        );
    }

    #[test]
    fn broken_ipv6_still_has_its_layer_2() {
        let sound = v6().udp(1, 2, &[7; 30]);
        let mut version = sound.clone();
        version[14] = 0x45;
        assert_eq!(parse(&version).net, Net::Malformed(Malformed::Version));
        assert_eq!(
            parse(&sound[..53]).net,
            Net::Malformed(Malformed::Truncated)
        );
        assert_eq!(
            parse(&sound[..sound.len() - 1]).net,
            Net::Malformed(Malformed::PacketLength)
        );
    }

    #[test]
    fn padding_belongs_to_nothing() {
        let mut frame = v4().udp(1, 2, &[7; 2]);
        frame.resize(60, 0xff);
        let headers = parse(&frame);
        assert_eq!((headers.payload_len(), headers.packet_end()), (2, Some(44)));
        // A UDP length that reaches into the padding is a lie.
        frame[14 + 20 + 5] = 11;
        assert_eq!(
            parse(&frame).transport,
            Transport::Malformed(Malformed::PacketLength)
        );
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let datagram = [&[0, 5, 0, 6, 5, 0, 0, 0], &[9; 32][..]].concat();
        let first = Fragment {
            id: 77,
            offset: 0,
            more: true,
        };
        let later = Fragment {
            id: 77,
            offset: 1480,
            more: true,
        };
        let last = Fragment {
            id: 77,
            offset: 2960,
            more: false,
        };
        for ip in [v4(), v6()] {
            let headers = parse(&ip.clone().fragment(first).raw(IpProtocol::UDP, &datagram));
            assert_eq!(headers.transport.ports(), Some((5, 6)));
            for fragment in [later, last] {
                let headers = parse(
                    &ip.clone()
                        .fragment(fragment)
                        .raw(IpProtocol::UDP, &datagram),
                );
                assert_eq!(headers.transport, Transport::None);
                let found = match headers.net {
                    Net::Ipv4(ip) => ip.fragment,
                    Net::Ipv6(ip) => ip.fragment,
                    Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
                };
                assert_eq!(found, Some(fragment));
            }
            // The port is in it, but not the whole header (RFC 1858).
            let tiny = parse(&ip.fragment(first).raw(IpProtocol::TCP, &datagram[..16]));
            assert_eq!(tiny.transport, Transport::Malformed(Malformed::Truncated));
        }
    }

    #[test]
    fn the_fragmentable_part_begins_behind_the_fragment_header() {
        let first = Fragment {
            id: 7,
            offset: 0,
            more: true,
        };
        let options = [&[IpProtocol::UDP.0, 0][..], &[0; 6]].concat();
        let datagram = [&options[..], &[0, 5, 0, 6, 0, 16, 0, 0], &[9; 8]].concat();
        let packet = v6().extension(IpProtocol::HOP_BY_HOP, &[0; 7]);
        let headers = parse(
            &packet
                .fragment(first)
                .raw(IpProtocol::DESTINATION, &datagram),
        );
        let Net::Ipv6(ip) = headers.net else {
            panic!("{headers:?}")
        };
        assert_eq!(
            (ip.fragmentable, ip.transport),
            (14 + 40 + 16, 14 + 40 + 24)
        );
        assert_eq!(headers.transport.ports(), Some((5, 6)));
        let Net::Ipv6(whole) = parse(&v6().udp(1, 2, &[])).net else {
            panic!()
        };
        assert_eq!(whole.fragmentable, whole.transport);
    }

    #[test]
    fn an_atomic_fragment_is_whole() {
        let atomic = Fragment {
            id: 1,
            offset: 0,
            more: false,
        };
        let headers = parse(
            &v6()
                .fragment(atomic)
                .raw(IpProtocol::UDP, &[0, 5, 0, 6, 0, 9, 0, 0, 1]),
        );
        assert_eq!(headers.transport.ports(), Some((5, 6)));
        let short = parse(
            &v6()
                .fragment(atomic)
                .raw(IpProtocol::UDP, &[0, 5, 0, 6, 0, 10, 0, 0, 1]),
        );
        assert_eq!(
            short.transport,
            Transport::Malformed(Malformed::PacketLength)
        );
    }

    #[test]
    fn extension_headers_are_bounded_and_end_inside_the_packet() {
        let chain = |count: usize| {
            let packet =
                (0..count).fold(v6(), |p, _| p.extension(IpProtocol::DESTINATION, &[0; 7]));
            parse(&packet.udp(5, 6, b"x"))
        };
        assert_eq!(chain(crate::MAX_EXTENSIONS).transport.ports(), Some((5, 6)));
        let Net::Ipv6(ip) = chain(crate::MAX_EXTENSIONS + 1).net else {
            panic!("its addresses are sound")
        };
        assert_eq!(ip.next_header, IpProtocol::DESTINATION);
        assert_eq!(
            chain(crate::MAX_EXTENSIONS + 1).transport,
            Transport::Malformed(Malformed::TooManyExtensions)
        );
        let beyond = v6()
            .extension(IpProtocol::ROUTING, &[200, 0, 0, 0, 0, 0, 0])
            .udp(5, 6, b"x");
        assert_eq!(
            parse(&beyond).transport,
            Transport::Malformed(Malformed::Truncated)
        );
    }

    #[test]
    fn a_router_advertisement_behind_extension_headers_is_seen() {
        let plain = link().router_advert("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let hidden = v6()
            .extension(IpProtocol::DESTINATION, &[0; 7])
            .extension(
                IpProtocol::AH,
                &[2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
            )
            .fragment(Fragment {
                id: 9,
                offset: 0,
                more: false,
            })
            .raw(IpProtocol::ICMPV6, &plain[54..]);
        for frame in [plain, hidden] {
            let Transport::Icmpv6(message) = parse(&frame).transport else {
                panic!("{:?}", parse(&frame))
            };
            assert_eq!(message.nd, Some(Nd::RouterAdvert));
        }
    }

    #[test]
    fn arp_and_neighbour_messages() {
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let request = Arp {
            operation: Arp::REQUEST,
            sender_mac: A,
            sender_ip: a,
            target_mac: MacAddr::ZERO,
            target_ip: b,
        };
        let mut frame = link().arp_request(a, b);
        assert_eq!(parse(&frame).net, Net::Arp(request));
        assert_eq!(
            parse(&frame[..41]).net,
            Net::Malformed(Malformed::Truncated)
        );
        frame[15] = 6; // IEEE 802 hardware
        assert_eq!(parse(&frame).net, Net::Malformed(Malformed::AddressKind));

        let (src, dst) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let target = "fe80::9".parse().unwrap();
        let nd = |frame: &[u8]| match parse(frame).transport {
            Transport::Icmpv6(message) => message.nd.unwrap(),
            other => panic!("{other:?}"),
        };
        let lladdr = Some(A);
        assert_eq!(
            nd(&link().neighbour_solicit(src, dst, target)),
            Nd::NeighbourSolicit { target, lladdr }
        );
        assert_eq!(
            nd(&link().neighbour_advert(src, dst, target)),
            Nd::NeighbourAdvert { target, lladdr }
        );
    }

    #[test]
    fn broken_options_break_a_neighbour_message() {
        let (src, dst) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let sound = link().neighbour_advert(src, dst, src);
        let with = |at: usize, byte: u8| {
            let mut frame = sound.clone();
            frame[at] = byte;
            parse(&frame).transport
        };
        assert_eq!(
            with(79, 0),
            Transport::Malformed(Malformed::HeaderLength),
            "an option without a length"
        );
        assert_eq!(
            with(79, 2),
            Transport::Malformed(Malformed::Truncated),
            "an option beyond the message"
        );
        assert_eq!(
            with(19, 20),
            Transport::Malformed(Malformed::Truncated),
            "no room for a target"
        );
        let Transport::Icmpv6(message) = with(78, 1) else {
            panic!("another option is no harm")
        };
        assert_eq!(
            message.nd,
            Some(Nd::NeighbourAdvert {
                target: src,
                lladdr: None
            })
        );
    }

    #[test]
    fn a_fragment_header_has_reserved_bits() {
        let fragment = Fragment {
            id: 7,
            offset: 16,
            more: false,
        };
        let mut frame = v6().fragment(fragment).raw(IpProtocol::UDP, &[0; 8]);
        frame[54 + 3] |= 0x06;
        let Net::Ipv6(ip) = parse(&frame).net else {
            panic!("its header is sound")
        };
        assert_eq!(ip.fragment, Some(fragment));
    }

    #[test]
    fn behind_a_later_fragment_s_header_nothing_is_read() {
        let later = Fragment {
            id: 7,
            offset: 16,
            more: false,
        };
        let headers = parse(&v6().fragment(later).raw(
            IpProtocol::DESTINATION,
            &[17, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 6, 0, 8],
        ));
        let Net::Ipv6(ip) = headers.net else {
            panic!("its header is sound")
        };
        assert_eq!(
            (ip.next_header, ip.transport, headers.transport),
            (IpProtocol::DESTINATION, 62, Transport::None)
        );
    }

    #[test]
    fn only_queries_have_an_identifier() {
        let id =
            |kind: u8| match parse(&v4().raw(IpProtocol::ICMP, &[kind, 0, 0, 0, 0x12, 0x34, 0, 1]))
                .transport
            {
                Transport::Icmp(message) => message.id,
                other => panic!("{other:?}"),
            };
        assert_eq!([8, 0, 13, 14].map(id), [Some(0x1234); 4]);
        assert_eq!([3, 5, 11, 12].map(id), [None; 4]);
    }

    #[test]
    fn flags_are_written_as_tcpdump_does() {
        let text = |flags: TcpFlags| flags.to_string();
        assert_eq!(text(TcpFlags::SYN.union(TcpFlags::ACK)), "S.");
        assert_eq!(text(TcpFlags::default()), "none");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_bytes_parse_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Headers::parse(&bytes).map(within(&bytes));
        }

        #[test]
        fn what_is_parsed_lies_inside_the_frame(frame in damaged()) {
            let _ = Headers::parse(&frame).map(within(&frame));
        }

        #[test]
        fn what_was_crafted_is_what_is_parsed(spec in specs()) {
            assert_is(&parse(&spec.build()), &spec);
        }
    }

    /// Every offset and length is inside the frame, and in order.
    fn within(frame: &[u8]) -> impl Fn(Headers) {
        |headers| {
            assert!(usize::from(headers.l3) <= frame.len());
            assert!(headers.header_len() <= frame.len());
            assert!(headers.header_len() + headers.payload_len() <= frame.len());
            if let (Some(transport), Some(end)) = (headers.transport_offset(), headers.packet_end())
            {
                assert!(
                    usize::from(headers.l3) < transport && transport <= end && end <= frame.len()
                );
                assert!(headers.header_len() <= end);
            }
        }
    }

    fn assert_is(headers: &Headers, spec: &Spec) {
        assert_eq!((headers.src, headers.dst), (spec.src, spec.dst));
        assert_eq!(
            [headers.outer, headers.inner],
            [spec.tags.first().copied(), spec.tags.get(1).copied()]
        );
        assert_eq!(headers.transport_offset(), Some(spec.transport_offset()));
        match (&spec.ip, headers.net) {
            (
                Ip::V4 {
                    src,
                    dst,
                    hops,
                    id,
                    dont_fragment,
                    options,
                },
                Net::Ipv4(ip),
            ) => {
                assert_eq!((*src, *dst, *hops, *id), (ip.src, ip.dst, ip.ttl, ip.id));
                assert_eq!(
                    (*dont_fragment, 20 + options.len()),
                    (ip.dont_fragment, ip.header_len.into())
                );
            }
            (Ip::V6 { src, dst, hops, .. }, Net::Ipv6(ip)) => {
                assert_eq!((*src, *dst, *hops), (ip.src, ip.dst, ip.hop_limit));
            }
            other => panic!("{other:?}"),
        }
        let offset = u16::try_from(spec.transport_offset()).unwrap();
        match (&spec.l4, headers.transport) {
            (
                L4::Tcp {
                    ports,
                    flags,
                    seq,
                    ack,
                    options,
                },
                Transport::Tcp(tcp),
            ) => {
                assert_eq!(
                    (*ports, *flags),
                    ((tcp.src_port, tcp.dst_port), tcp.flags.0)
                );
                assert_eq!(
                    (*seq, *ack, 20 + options.len()),
                    (tcp.seq, tcp.ack, tcp.header_len.into())
                );
                assert_eq!(tcp.window, 500);
                assert_eq!(
                    (offset, spec.payload.len()),
                    (tcp.offset, headers.payload_len())
                );
            }
            (L4::Udp { ports }, Transport::Udp(udp)) => {
                assert_eq!((*ports, offset), ((udp.src_port, udp.dst_port), udp.offset));
                assert_eq!(8 + spec.payload.len(), usize::from(udp.len));
            }
            (L4::Echo { id, .. }, Transport::Icmp(message)) => {
                assert_eq!((message.id, message.kind), (Some(*id), 8));
            }
            (L4::Echo { id, .. }, Transport::Icmpv6(message)) => {
                assert_eq!((message.id, message.kind), (Some(*id), 128));
            }
            // Noise under a known protocol's number: the oracle knows what is in it.
            (L4::Raw { .. }, _) => {}
            other => panic!("{other:?}"),
        }
    }
}
