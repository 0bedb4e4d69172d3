//! RFC 792, RFC 1191, RFC 1812 4.3, RFC 4443 2.4.

use super::{GATEWAY, Lab, PEER};
use crate::gateway::{ErrorKind, Reported};
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::craft::{Link, Packet, TcpSegment, superframe};
use wire::{Fragment, Headers, IpProtocol, MacAddr, Net, TcpFlags, VnetHeader};

const THEM: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Type and code.
type Numbers = (u8, u8);

/// Type and code of each kind in IPv4 and IPv6.
const KINDS: [(ErrorKind, Numbers, Numbers); 5] = [
    (ErrorKind::NoRoute, (3, 0), (1, 0)),
    (ErrorKind::HostUnreachable, (3, 1), (1, 3)),
    (ErrorKind::PortUnreachable, (3, 3), (1, 4)),
    (ErrorKind::FragmentationNeeded { mtu: 1400 }, (3, 4), (2, 0)),
    (ErrorKind::TimeExceeded, (11, 0), (3, 0)),
];

fn them6() -> Ipv6Addr {
    "2001:db8:1::9".parse().unwrap()
}

fn world6() -> Ipv6Addr {
    "2001:db8:ffff::7".parse().unwrap()
}

fn v4() -> Packet {
    Link::new(PEER, GATEWAY).ipv4(THEM, WORLD)
}

fn v6() -> Packet {
    Link::new(PEER, GATEWAY).ipv6(them6(), world6())
}

fn tell(lab: &mut Lab, kind: ErrorKind, frame: &[u8]) -> Reported {
    lab.both(
        frame,
        VnetHeader::default(),
        |link, arrival, outbox, trace| link.tell(kind, arrival, outbox, trace),
    )
}

#[test]
fn each_error_has_its_type_code_and_quote() {
    let frames = [v4().udp(1, 2, b"why?"), v6().udp(1, 2, b"why?")];
    for (kind, v4, v6) in KINDS {
        for frame in &frames {
            let mut lab = Lab::new();
            assert_eq!(tell(&mut lab, kind, frame), Reported::Sent);
            let error = lab.answer();
            let headers = Headers::parse(&error).unwrap();
            let message = &error[headers.transport_offset().unwrap()..];
            let mtu = match headers.net {
                Net::Ipv4(ip) => {
                    assert_eq!((ip.src, ip.dst), ([10, 1, 0, 1].into(), THEM));
                    assert_eq!((message[0], message[1]), v4, "{kind:?}");
                    u32::from(u16::from_be_bytes([message[6], message[7]]))
                }
                Net::Ipv6(ip) => {
                    let us: Ipv6Addr = "2001:db8:1::1".parse().unwrap();
                    assert_eq!((ip.src, ip.dst), (us, them6()));
                    assert_eq!((message[0], message[1]), v6, "{kind:?}");
                    u32::from_be_bytes([message[4], message[5], message[6], message[7]])
                }
                _ => panic!("not IP"),
            };
            let needs = matches!(kind, ErrorKind::FragmentationNeeded { .. });
            assert_eq!(mtu, if needs { 1400 } else { 0 });
            assert_eq!(message[8..], frame[14..]);
            assert_eq!((headers.dst, headers.src), (PEER, GATEWAY));
        }
    }
}

#[test]
fn rfc_1812_4_3_2_3_and_rfc_4443_2_4_c_a_quote_has_a_limit() {
    for (packet, most) in [(v4(), 576), (v6(), 1280)] {
        let mut frame = packet.tcp(TcpSegment {
            flags: TcpFlags::ACK,
            payload: &[7; 60_000],
            ..TcpSegment::default()
        });
        // A superframe with an unfinished checksum is quoted as it is.
        superframe(&mut frame, 1400).unwrap();
        let mut lab = Lab::new();
        let kind = ErrorKind::FragmentationNeeded { mtu: 1280 };
        assert_eq!(tell(&mut lab, kind, &frame), Reported::Sent);
        let error = lab.answer();
        assert_eq!(error.len() - 14, most);
        let header = Headers::parse(&error).unwrap().transport_offset().unwrap() + 8;
        assert_eq!(error[header..], frame[14..][..error.len() - header]);
    }
}

#[test]
fn padding_is_not_quoted() {
    let mut frame = v4().udp(1, 2, b"");
    let packet = frame[14..].to_vec();
    frame.resize(60, 0xee);
    let mut lab = Lab::new();
    assert_eq!(tell(&mut lab, ErrorKind::NoRoute, &frame), Reported::Sent);
    assert_eq!(lab.answer()[42..], packet);
}

#[test]
fn rfc_1812_4_3_2_7_what_no_error_is_sent_about() {
    let later = Fragment {
        id: 1,
        offset: 64,
        more: false,
    };
    let first = Fragment {
        id: 1,
        offset: 0,
        more: true,
    };
    let from = |ip: [u8; 4]| {
        Link::new(PEER, GATEWAY)
            .ipv4(ip.into(), WORLD)
            .udp(1, 2, b"")
    };
    let to = |ip: [u8; 4]| {
        Link::new(PEER, GATEWAY)
            .ipv4(THEM, ip.into())
            .udp(1, 2, b"")
    };
    let from6 = |ip: &str| {
        let link = Link::new(PEER, GATEWAY);
        link.ipv6(ip.parse().unwrap(), world6()).udp(1, 2, b"")
    };
    let to6 = |ip: &str| {
        let link = Link::new(PEER, GATEWAY);
        link.ipv6(them6(), ip.parse().unwrap()).udp(1, 2, b"")
    };
    let icmp = |kind: u8| v4().raw(IpProtocol::ICMP, &[kind, 0, 0, 0, 0, 0, 0, 0, 1]);
    let icmp6 = |kind: u8| v6().raw(IpProtocol::ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0, 1]);
    let never = [
        ("unreachable", icmp(3)),
        ("redirect", icmp(5)),
        ("time exceeded", icmp(11)),
        ("an unknown kind of ICMP", icmp(200)),
        ("ICMP cut short", v4().raw(IpProtocol::ICMP, &[8, 0])),
        ("ICMPv6 unreachable", icmp6(1)),
        ("ICMPv6 cut short", v6().raw(IpProtocol::ICMPV6, &[128, 0])),
        ("ICMPv6 redirect", icmp6(137)),
        (
            "later fragment",
            v4().fragment(later).raw(IpProtocol::UDP, &[0; 16]),
        ),
        (
            "later fragment, IPv6",
            v6().fragment(later).raw(IpProtocol::UDP, &[0; 16]),
        ),
        ("from nobody", from([0; 4])),
        ("from loopback", from([127, 0, 0, 1])),
        ("from a group", from([224, 0, 0, 1])),
        ("from everybody", from([255; 4])),
        ("from the subnet's broadcast", from([10, 1, 0, 255])),
        ("to a group", to([239, 1, 2, 3])),
        ("to everybody", to([255; 4])),
        ("to the subnet's broadcast", to([10, 1, 0, 255])),
        ("from ::", from6("::")),
        ("from a group, IPv6", from6("ff02::1")),
        ("to a group, IPv6", to6("ff02::1")),
        (
            "a broadcast frame",
            Link::new(PEER, MacAddr::BROADCAST)
                .ipv4(THEM, WORLD)
                .udp(1, 2, b""),
        ),
        ("ARP", Link::new(PEER, GATEWAY).arp_request(THEM, WORLD)),
        (
            "damaged IP",
            Link::new(PEER, GATEWAY).raw(wire::EtherType::IPV4, &[0x45; 19]),
        ),
    ];
    for (name, frame) in never {
        let mut lab = Lab::new();
        assert_eq!(
            tell(&mut lab, ErrorKind::TimeExceeded, &frame),
            Reported::NeverAbout,
            "{name}"
        );
        assert!(lab.sent().is_empty(), "{name}");
    }
    for (name, frame) in [
        ("echo request", v4().echo_request(1, 1, b"")),
        ("echo request, IPv6", v6().echo_request(1, 1, b"")),
        (
            "first fragment",
            v4().fragment(first)
                .raw(IpProtocol::UDP, &[0, 1, 0, 2, 0, 99, 0, 0]),
        ),
    ] {
        assert_eq!(
            tell(&mut Lab::new(), ErrorKind::TimeExceeded, &frame),
            Reported::Sent,
            "{name}"
        );
    }
}

#[test]
fn a_link_local_sender_is_told_by_the_link_local_router() {
    let mut lab = Lab::new();
    let frame = Link::new(PEER, GATEWAY)
        .ipv6("fe80::9".parse().unwrap(), world6())
        .udp(1, 2, b"");
    assert_eq!(tell(&mut lab, ErrorKind::NoRoute, &frame), Reported::Sent);
    let Net::Ipv6(ip) = Headers::parse(&lab.answer()).unwrap().net else {
        panic!("not IPv6");
    };
    assert_eq!(ip.src, lab.interface.link_local);
}

#[test]
fn a_router_without_an_address_is_silent() {
    let mut lab = Lab::new();
    lab.configure(|interface| interface.addresses.clear());
    assert_eq!(
        tell(&mut lab, ErrorKind::NoRoute, &v4().udp(1, 2, b"")),
        Reported::Silent
    );
    assert_eq!(
        tell(&mut lab, ErrorKind::NoRoute, &v6().udp(1, 2, b"")),
        Reported::Sent
    );
}

#[test]
fn rfc_1812_4_3_2_8_errors_have_a_rate() {
    let mut lab = Lab::new();
    let frame = v4().udp(1, 2, b"");
    let burst = |lab: &mut Lab| {
        let told = (0..500).filter(|_| tell(lab, ErrorKind::NoRoute, &frame) == Reported::Sent);
        told.count()
    };
    assert_eq!(burst(&mut lab), 100);
    lab.now = pipeline::Instant::from_nanos(lab.now.as_nanos() + 500_000_000);
    assert_eq!(burst(&mut lab), 50);
    assert_eq!(lab.sent().len(), 150);
}

#[test]
fn an_independent_parser_reads_the_quote() {
    let mut lab = Lab::new();
    tell(&mut lab, ErrorKind::NoRoute, &v4().udp(1, 2, b"quoted"));
    let error = lab.answer();
    let packet = Icmpv4Packet::new_checked(&error[34..]).unwrap();
    assert!(packet.verify_checksum() && packet.data().ends_with(b"quoted"));
    tell(&mut lab, ErrorKind::NoRoute, &v6().udp(1, 2, b"quoted"));
    let error = lab.answer();
    let packet = Icmpv6Packet::new_checked(&error[54..]).unwrap();
    assert!(packet.payload().ends_with(b"quoted"));
}
