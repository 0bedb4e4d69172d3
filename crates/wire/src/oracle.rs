//! pnet as an independent oracle: on sound and damaged frames, every field this crate reads is the
//! one pnet reads, and a header is called malformed exactly when pnet's fields say so.

use crate::arbitrary::{damaged, specs};
use crate::checksum::{Verified, verify_ipv4, verify_transport};
use crate::headers::{Headers, Malformed, Net};
use crate::icmp::Nd;
use crate::ip::{Fragment, IpProtocol};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::Transport;
use pnet::packet::ethernet::EthernetPacket;
use pnet::packet::icmp::echo_request::EchoRequestPacket;
use pnet::packet::icmp::{self, IcmpPacket};
use pnet::packet::icmpv6::ndp::{NeighborAdvertPacket, NeighborSolicitPacket};
use pnet::packet::icmpv6::{self, Icmpv6Packet};
use pnet::packet::ipv4::{self, Ipv4Packet};
use pnet::packet::ipv6::{ExtensionPacket, FragmentPacket, Ipv6Packet};
use pnet::packet::tcp::{self, TcpPacket};
use pnet::packet::udp::{self, UdpPacket};
use pnet::packet::vlan::VlanPacket;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn fields_are_those_pnet_reads(frame in damaged()) {
        compare(&frame);
    }

    #[test]
    fn neighbour_messages_are_those_pnet_reads(
        target in any::<[u8; 16]>(), advert in any::<bool>(), at in 0..86_usize, byte in any::<u8>(), len in 54..=86_usize,
    ) {
        let link = crate::craft::Link::new(crate::MacAddr([2; 6]), crate::MacAddr([4; 6]));
        let (src, dst) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let mut frame = if advert {
            link.neighbour_advert(src, dst, target.into())
        } else {
            link.neighbour_solicit(src, dst, target.into())
        };
        frame[at] = byte;
        // The packet shrinks with the frame, so that what ends early is the message.
        frame.truncate(len);
        frame[19] = u8::try_from(len - 54).unwrap();
        compare(&frame);
    }

    #[test]
    fn a_checksum_is_right_when_pnet_computes_the_same(spec in specs(), flip in any::<Option<(prop::sample::Index, u8)>>()) {
        let mut frame = spec.build();
        if let Some((at, byte)) = flip {
            let from = spec.transport_offset();
            if frame.len() > from {
                let at = from + at.index(frame.len() - from);
                frame[at] = byte;
            }
        }
        compare_checksums(&frame);
    }
}

fn compare(frame: &[u8]) {
    let Some(ethernet) = EthernetPacket::new(frame) else {
        assert!(Headers::parse(frame).is_err());
        return;
    };
    let (mut kind, mut l3) = (ethernet.get_ethertype().0, 14);
    let mut tags = Vec::new();
    while tags.len() < 2 && (kind == 0x8100 || kind == 0x88a8) {
        let Some(vlan) = VlanPacket::new(&frame[l3..]) else {
            assert!(Headers::parse(frame).is_err());
            return;
        };
        tags.push((kind, vlan.get_vlan_identifier()));
        kind = vlan.get_ethertype().0;
        l3 += 4;
    }
    let ours = Headers::parse(frame).unwrap();
    assert_eq!(ours.dst.0, <[u8; 6]>::from(ethernet.get_destination()));
    assert_eq!(ours.src.0, <[u8; 6]>::from(ethernet.get_source()));
    let our_tags: Vec<_> = [ours.outer, ours.inner]
        .into_iter()
        .flatten()
        .map(|t| (t.tpid, t.vid()))
        .collect();
    assert_eq!(
        (our_tags, ours.ethertype.0, usize::from(ours.l3)),
        (tags, kind, l3)
    );

    let packet = &frame[l3..];
    match kind {
        0x0800 => compare_v4(&ours, packet),
        0x86dd => compare_v6(&ours, packet),
        0x0806 => {}
        _ => assert_eq!((ours.net, ours.transport), (Net::Other, Transport::None)),
    }
}

fn compare_v4(ours: &Headers, packet: &[u8]) {
    let theirs = Ipv4Packet::new(packet);
    let sound = theirs.as_ref().is_some_and(|p| {
        let (header, total) = (
            usize::from(p.get_header_length()) * 4,
            usize::from(p.get_total_length()),
        );
        p.get_version() == 4 && header >= 20 && total >= header && total <= packet.len()
    });
    let (Net::Ipv4(ip), Some(theirs)) = (ours.net, theirs) else {
        assert!(!sound && matches!(ours.net, Net::Malformed(_)), "{ours:?}");
        return;
    };
    assert!(sound, "{ours:?}");
    let (offset, more) = (
        theirs.get_fragment_offset() * 8,
        theirs.get_flags() & 1 == 1,
    );
    let id = theirs.get_identification();
    let header_len = theirs.get_header_length() * 4;
    assert_eq!(
        ip,
        Ipv4 {
            src: theirs.get_source(),
            dst: theirs.get_destination(),
            protocol: IpProtocol(theirs.get_next_level_protocol().0),
            ttl: theirs.get_ttl(),
            tos: theirs.get_dscp() << 2 | theirs.get_ecn(),
            header_len,
            total_len: theirs.get_total_length(),
            id,
            dont_fragment: theirs.get_flags() & 2 == 2,
            fragment: (more || offset > 0).then_some(Fragment {
                id: id.into(),
                offset,
                more
            }),
        }
    );
    let payload = &packet[usize::from(header_len)..usize::from(ip.total_len)];
    compare_transport(ours, payload, ip.protocol, ip.fragment);
}

fn compare_v6(ours: &Headers, packet: &[u8]) {
    let theirs = Ipv6Packet::new(packet);
    let sound = theirs.as_ref().is_some_and(|p| {
        p.get_version() == 6 && 40 + usize::from(p.get_payload_length()) <= packet.len()
    });
    let (Net::Ipv6(ip), Some(theirs)) = (ours.net, theirs) else {
        assert!(!sound && matches!(ours.net, Net::Malformed(_)), "{ours:?}");
        return;
    };
    assert!(sound, "{ours:?}");
    let payload = &packet[40..40 + usize::from(theirs.get_payload_length())];
    let (next, at, found, whole) = walk(theirs.get_next_header().0, payload);
    let behind = |at: usize| ours.l3 + 40 + u16::try_from(at).unwrap();
    let fragment = found.map(|(fragment, _)| fragment);
    assert_eq!(
        ip,
        Ipv6 {
            src: theirs.get_source(),
            dst: theirs.get_destination(),
            next_header: IpProtocol(next),
            hop_limit: theirs.get_hop_limit(),
            traffic_class: theirs.get_traffic_class(),
            transport: behind(at),
            fragmentable: behind(found.map_or(0, |(_, at)| at)),
            payload_len: theirs.get_payload_length(),
            fragment,
        }
    );
    if whole {
        compare_transport(ours, &payload[at..], ip.next_header, fragment);
    } else {
        assert!(
            matches!(ours.transport, Transport::Malformed(_)),
            "{ours:?}"
        );
    }
}

/// Follows the extension headers with pnet's types: protocol, offset and fragment reached, that
/// one with the offset behind its header, and whether the end was.
fn walk(first: u8, payload: &[u8]) -> (u8, usize, Option<(Fragment, usize)>, bool) {
    let (mut next, mut at, mut fragment) = (first, 0, None);
    for _ in 0..crate::MAX_EXTENSIONS {
        let rest = &payload[at..];
        let len = match next {
            44 => {
                let Some(header) = FragmentPacket::new(rest) else {
                    return (next, at, fragment, false);
                };
                // pnet's own mask for the offset leaves a reserved bit in.
                let place = header.get_fragment_offset_with_flags();
                let found = Fragment {
                    id: header.get_id(),
                    offset: place & !7,
                    more: !header.is_last_fragment(),
                };
                fragment = Some((found, at + 8));
                8
            }
            0 | 43 | 51 | 60 => {
                let Some(header) = ExtensionPacket::new(rest).filter(|_| rest.len() >= 8) else {
                    return (next, at, fragment, false);
                };
                let words = usize::from(header.get_hdr_ext_len());
                if next == 51 {
                    (words + 2) * 4
                } else {
                    (words + 1) * 8
                }
            }
            _ => return (next, at, fragment, true),
        };
        if len > rest.len() {
            return (next, at, fragment, false);
        }
        next = rest[0];
        at += len;
        if fragment.is_some_and(|(f, _): (Fragment, usize)| f.offset != 0) {
            return (next, at, fragment, true);
        }
    }
    (next, at, fragment, !matches!(next, 0 | 43 | 44 | 51 | 60))
}

fn compare_transport(
    ours: &Headers,
    payload: &[u8],
    protocol: IpProtocol,
    fragment: Option<Fragment>,
) {
    if fragment.is_some_and(|f| f.offset != 0) {
        assert_eq!(ours.transport, Transport::None);
        return;
    }
    let whole = fragment.is_none_or(|f| !f.more);
    match ours.transport {
        Transport::Tcp(tcp) => {
            let theirs = TcpPacket::new(payload).unwrap();
            assert_eq!(
                (tcp.src_port, tcp.dst_port),
                (theirs.get_source(), theirs.get_destination())
            );
            assert_eq!(
                (tcp.seq, tcp.ack),
                (theirs.get_sequence(), theirs.get_acknowledgement())
            );
            assert_eq!(
                (tcp.header_len, tcp.flags.0),
                (theirs.get_data_offset() * 4, theirs.get_flags())
            );
            assert!(tcp.header_len >= 20 && usize::from(tcp.header_len) <= payload.len());
        }
        Transport::Udp(udp) => {
            let theirs = UdpPacket::new(payload).unwrap();
            assert_eq!(
                (udp.src_port, udp.dst_port),
                (theirs.get_source(), theirs.get_destination())
            );
            assert_eq!(udp.len, theirs.get_length());
            assert!(udp.len >= 8 && (!whole || usize::from(udp.len) <= payload.len()));
        }
        Transport::Icmp(message) => {
            let theirs = IcmpPacket::new(payload).unwrap();
            assert_eq!(
                (message.kind, message.code),
                (theirs.get_icmp_type().0, theirs.get_icmp_code().0)
            );
            if let (8, Some(id)) = (message.kind, message.id) {
                assert_eq!(
                    id,
                    EchoRequestPacket::new(payload).unwrap().get_identifier()
                );
            }
        }
        Transport::Icmpv6(message) => {
            let theirs = Icmpv6Packet::new(payload).unwrap();
            assert_eq!(
                (message.kind, message.code),
                (theirs.get_icmpv6_type().0, theirs.get_icmpv6_code().0)
            );
            match message.nd {
                Some(Nd::NeighbourSolicit { target, .. }) => {
                    assert_eq!(
                        target,
                        NeighborSolicitPacket::new(payload)
                            .unwrap()
                            .get_target_addr()
                    );
                }
                Some(Nd::NeighbourAdvert { target, .. }) => {
                    assert_eq!(
                        target,
                        NeighborAdvertPacket::new(payload)
                            .unwrap()
                            .get_target_addr()
                    );
                }
                Some(Nd::RouterSolicit | Nd::RouterAdvert | Nd::Redirect) | None => {}
            }
        }
        Transport::Sctp(_) => assert!(protocol == IpProtocol::SCTP && payload.len() >= 12),
        Transport::Malformed(why) => assert_malformed(why, payload, protocol, whole),
        Transport::None => assert!(![1, 6, 17, 58, 132].contains(&protocol.0), "{ours:?}"),
    }
}

fn assert_malformed(why: Malformed, payload: &[u8], protocol: IpProtocol, whole: bool) {
    let broken = match protocol {
        IpProtocol::TCP => TcpPacket::new(payload).is_none_or(|p| {
            let header = usize::from(p.get_data_offset()) * 4;
            header < 20 || header > payload.len()
        }),
        IpProtocol::UDP => UdpPacket::new(payload).is_none_or(|p| {
            let len = usize::from(p.get_length());
            len < 8 || (whole && len > payload.len())
        }),
        IpProtocol::SCTP => payload.len() < 12,
        IpProtocol::ICMP => payload.len() < 8,
        // A neighbour message whose fixed part or options are cut short, or have no length.
        IpProtocol::ICMPV6 => {
            payload.len() < 8
                || (payload[0] == 135 || payload[0] == 136) && !options_are_sound(payload)
        }
        _ => false,
    };
    assert!(broken, "{why:?} {protocol} {payload:x?}");
}

fn options_are_sound(message: &[u8]) -> bool {
    let Some(mut rest) = message.get(24..) else {
        return false;
    };
    while rest.len() >= 2 {
        let len = usize::from(rest[1]) * 8;
        if len == 0 || len > rest.len() {
            return false;
        }
        rest = &rest[len..];
    }
    true
}

fn compare_checksums(frame: &[u8]) {
    let ours = Headers::parse(frame).unwrap();
    let (start, end) = (ours.transport_offset().unwrap(), ours.packet_end().unwrap());
    let payload = &frame[start..end];
    if let Net::Ipv4(ip) = ours.net {
        let packet = Ipv4Packet::new(&frame[usize::from(ours.l3)..]).unwrap();
        assert_eq!(
            verify_ipv4(frame, &ours),
            right(ipv4::checksum(&packet), packet.get_checksum()),
            "{ip:?}"
        );
    }
    let expected = match (ours.transport, ours.net) {
        (Transport::Tcp(_), Net::Ipv4(ip)) => {
            let p = TcpPacket::new(payload).unwrap();
            right(tcp::ipv4_checksum(&p, &ip.src, &ip.dst), p.get_checksum())
        }
        (Transport::Tcp(_), Net::Ipv6(ip)) => {
            let p = TcpPacket::new(payload).unwrap();
            right(tcp::ipv6_checksum(&p, &ip.src, &ip.dst), p.get_checksum())
        }
        (Transport::Udp(header), net) => {
            let p = UdpPacket::new(&payload[..usize::from(header.len)]).unwrap();
            match net {
                Net::Ipv4(_) if p.get_checksum() == 0 => Verified::Absent,
                Net::Ipv4(ip) => right(udp::ipv4_checksum(&p, &ip.src, &ip.dst), p.get_checksum()),
                Net::Ipv6(_) if p.get_checksum() == 0 => Verified::Wrong,
                Net::Ipv6(ip) => right(udp::ipv6_checksum(&p, &ip.src, &ip.dst), p.get_checksum()),
                Net::Arp(_) | Net::Malformed(_) | Net::Other => unreachable!(),
            }
        }
        (Transport::Icmp(_), _) => {
            let p = IcmpPacket::new(payload).unwrap();
            right(icmp::checksum(&p), p.get_checksum())
        }
        (Transport::Icmpv6(_), Net::Ipv6(ip)) => {
            let p = Icmpv6Packet::new(payload).unwrap();
            right(icmpv6::checksum(&p, &ip.src, &ip.dst), p.get_checksum())
        }
        _ => return,
    };
    assert_eq!(verify_transport(frame, &ours), expected, "{ours:?}");
}

/// 0 and 0xffff are the same number in ones' complement.
fn right(computed: u16, field: u16) -> Verified {
    if computed % 0xffff == field % 0xffff {
        Verified::Right
    } else {
        Verified::Wrong
    }
}
