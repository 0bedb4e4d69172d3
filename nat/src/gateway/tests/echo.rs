//! RFC 792, RFC 1122 3.2.2.6, RFC 4443 4.2, and what else is sent to the gateway itself.

use super::{GATEWAY, Lab, PEER};
use pipeline::DropReason;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::checksum::{Verified, verify_transport};
use wire::craft::{Link, Packet, TcpSegment, unfinish};
use wire::{Fragment, Headers, IpProtocol, MacAddr, Net, TcpFlags, Transport};

const US: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);

fn v4() -> Packet {
    Link::new(PEER, GATEWAY).ipv4(THEM, US)
}

fn v6() -> Packet {
    Link::new(PEER, GATEWAY).ipv6(them6(), us6())
}

fn us6() -> Ipv6Addr {
    "2001:db8:1::1".parse().unwrap()
}

fn them6() -> Ipv6Addr {
    "2001:db8:1::9".parse().unwrap()
}

fn back4() -> Packet {
    Link::new(GATEWAY, PEER).ipv4(US, THEM)
}

fn back6() -> Packet {
    Link::new(GATEWAY, PEER).ipv6(us6(), them6())
}

#[test]
fn a_ping_of_64_kib_is_answered() {
    let payload = vec![0xa5; 65_507];
    let mut lab = Lab::new();
    assert_eq!(lab.hear(&v4().echo_request(7, 1, &payload)), Ok(()));
    assert_eq!(lab.answer(), back4().echo_reply(7, 1, &payload));
}

#[test]
fn options_are_not_sent_back() {
    let mut lab = Lab::new();
    let request = v4()
        .options(&[7, 7, 4, 0, 0, 0, 0, 0])
        .echo_request(7, 1, b"x");
    assert_eq!(lab.hear(&request), Ok(()));
    assert_eq!(lab.answer(), back4().echo_reply(7, 1, b"x"));
}

#[test]
fn what_is_not_answered() {
    let piece = |offset, more| Fragment {
        id: 5,
        offset,
        more,
    };
    let message = v4().echo_request(1, 1, &[3; 40])[34..].to_vec();
    let mut damaged = v4().echo_request(1, 1, b"damaged");
    damaged[45] ^= 1;
    let mut damaged6 = v6().echo_request(1, 1, b"damaged");
    damaged6[64] ^= 1;
    let mut header = v4().echo_request(1, 1, b"header");
    header[22] -= 1;
    let all = Link::new(PEER, MacAddr::BROADCAST);
    let from = |ip: [u8; 4]| Link::new(PEER, GATEWAY).ipv4(ip.into(), US);
    let cases = [
        (
            "first fragment",
            v4().fragment(piece(0, true))
                .raw(IpProtocol::ICMP, &message),
            DropReason::GatewayIgnored,
        ),
        (
            "later fragment",
            v4().fragment(piece(8, false))
                .raw(IpProtocol::ICMP, &message),
            DropReason::GatewayClosed,
        ),
        ("damaged", damaged, DropReason::GatewayIgnored),
        ("damaged, IPv6", damaged6, DropReason::GatewayIgnored),
        ("damaged header", header, DropReason::GatewayIgnored),
        (
            "broadcast",
            all.ipv4(THEM, US).echo_request(1, 1, b""),
            DropReason::GatewayIgnored,
        ),
        (
            "from nobody",
            from([0; 4]).echo_request(1, 1, b""),
            DropReason::GatewayIgnored,
        ),
        (
            "from everybody",
            from([255; 4]).echo_request(1, 1, b""),
            DropReason::GatewayIgnored,
        ),
        (
            "from itself",
            from([127, 0, 0, 1]).echo_request(1, 1, b""),
            DropReason::GatewayIgnored,
        ),
        (
            "a reply",
            v4().echo_reply(1, 1, b""),
            DropReason::GatewayClosed,
        ),
        (
            "a reply, IPv6",
            v6().echo_reply(1, 1, b""),
            DropReason::GatewayClosed,
        ),
        (
            "another protocol",
            v4().raw(IpProtocol(47), b"GRE"),
            DropReason::GatewayClosed,
        ),
        (
            "SCTP",
            v4().raw(IpProtocol::SCTP, &[0; 12]),
            DropReason::GatewayClosed,
        ),
    ];
    for (name, frame, reason) in cases {
        let mut lab = Lab::new();
        assert_eq!(lab.hear(&frame), Err(reason), "{name}");
        assert!(lab.sent().is_empty(), "{name}");
    }
}

fn tcp(flags: TcpFlags, payload: &[u8]) -> TcpSegment<'_> {
    TcpSegment {
        src_port: 40_000,
        dst_port: 22,
        seq: u32::MAX,
        ack: 77,
        flags,
        payload,
        ..TcpSegment::default()
    }
}

#[test]
fn rfc_9293_3_10_7_1_a_closed_port_resets() {
    let ack = |flags: TcpFlags| flags.union(TcpFlags::ACK);
    for (flags, payload, numbers) in [
        (TcpFlags::SYN, &b""[..], (0, 0, ack(TcpFlags::RST))),
        (
            TcpFlags::SYN.union(TcpFlags::FIN),
            b"",
            (0, 1, ack(TcpFlags::RST)),
        ),
        (TcpFlags::FIN, b"four", (0, 4, ack(TcpFlags::RST))),
        (ack(TcpFlags::SYN), b"", (77, 0, TcpFlags::RST)),
        (ack(TcpFlags::PSH), b"four", (77, 0, TcpFlags::RST)),
    ] {
        for (to, from) in [(v4(), back4()), (v6(), back6())] {
            let mut lab = Lab::new();
            assert_eq!(
                lab.hear(&to.tcp(tcp(flags, payload))),
                Err(DropReason::GatewayClosed)
            );
            let (seq, ack, flags) = numbers;
            let reset = from.tcp(TcpSegment {
                src_port: 22,
                dst_port: 40_000,
                seq,
                ack,
                flags,
                ..TcpSegment::default()
            });
            assert_eq!(lab.answer(), reset, "{flags}");
        }
    }
}

#[test]
fn a_reset_and_a_damaged_segment_are_answered_with_nothing() {
    let mut lab = Lab::new();
    let reset = v4().tcp(tcp(TcpFlags::RST, b""));
    let mut damaged = v4().tcp(tcp(TcpFlags::SYN, b""));
    damaged[34 + 16] ^= 1;
    for frame in [&reset, &damaged] {
        assert_eq!(lab.hear(frame), Err(DropReason::GatewayClosed));
        assert!(lab.sent().is_empty());
    }
}

#[test]
fn an_unfinished_checksum_is_trusted() {
    let mut lab = Lab::new();
    let mut syn = v4().tcp(tcp(TcpFlags::SYN, b""));
    let vnet = unfinish(&mut syn).unwrap();
    assert_eq!(lab.hear_vnet(&syn, vnet), Err(DropReason::GatewayClosed));
    assert_eq!(lab.sent().len(), 1);
}

#[test]
fn rfc_1122_4_1_3_1_a_closed_udp_port_says_so() {
    for packet in [v4(), v6()] {
        let mut lab = Lab::new();
        let datagram = packet.udp(5353, 9, b"anybody?");
        assert_eq!(lab.hear(&datagram), Err(DropReason::GatewayClosed));
        let error = lab.answer();
        let headers = Headers::parse(&error).unwrap();
        let kind = match headers.transport {
            Transport::Icmp(icmp) => (icmp.kind, icmp.code),
            Transport::Icmpv6(icmp) => (icmp.kind, icmp.code),
            _ => panic!("no ICMP"),
        };
        assert_eq!(
            kind,
            if matches!(headers.net, Net::Ipv4(_)) {
                (3, 3)
            } else {
                (1, 4)
            }
        );
        assert!(error.ends_with(&datagram[14..]));
    }
}

/// Zero has two forms in a sum, and an ICMP checksum may have either: both are read as one.
fn one_zero(mut frame: Vec<u8>) -> Vec<u8> {
    let headers = Headers::parse(&frame).unwrap();
    assert_eq!(verify_transport(&frame, &headers), Verified::Right);
    let at = headers.transport_offset().unwrap() + 2;
    if frame[at..at + 2] == [0xff, 0xff] {
        frame[at..at + 2].fill(0);
    }
    frame
}

proptest! {
    #[test]
    fn a_reply_is_what_smoltcp_makes(id: u16, seq: u16, payload in vec(any::<u8>(), 0..2000)) {
        let mut lab = Lab::new();
        for (request, reply) in [(v4(), back4()), (v6(), back6())] {
            prop_assert_eq!(lab.hear(&request.echo_request(id, seq, &payload)), Ok(()));
            prop_assert_eq!(one_zero(lab.answer()), one_zero(reply.echo_reply(id, seq, &payload)));
        }
    }
}
