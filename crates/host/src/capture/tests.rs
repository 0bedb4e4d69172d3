//! The programs, run by the interpreter on crafted frames.

use super::interpreter::run;
use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::craft::{Link, Packet, TcpSegment};
use wire::{EtherType, Fragment, IpProtocol, MacAddr};

const HOST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const SECOND4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
const PEER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);
const SCTP: IpProtocol = IpProtocol(132);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stolen,
    Copied,
    Left,
}
use Fate::{Copied, Left, Stolen};

struct Judge(Programs);

impl Judge {
    fn new(captures: &Captures) -> Self {
        Self(captures.programs().unwrap())
    }

    fn fate(&self, frame: &[u8]) -> Fate {
        self.noted(frame, 0, if frame[0] & 1 == 1 { 2 } else { 0 })
    }

    fn noted(&self, frame: &[u8], vlan: u32, packet_type: u32) -> Fate {
        let [steal, copy] =
            [&self.0.steal, &self.0.copy].map(|it| run(it, frame, vlan, packet_type) != 0);
        match (steal, copy) {
            (true, false) => Stolen,
            (false, true) => Copied,
            (false, false) => Left,
            (true, true) => panic!("stolen and copied"),
        }
    }
}

fn ports() -> Ports {
    Ports {
        tcp: vec![50_000..=60_000, 443..=443],
        udp: vec![50_000..=60_000, 53..=53],
        sctp: vec![50_000..=60_000],
        echo: vec![50_000..=60_000],
    }
}

fn judge() -> Judge {
    let only_second = Ports {
        tcp: vec![8080..=8080],
        ..Ports::default()
    };
    let mut captures = Captures::at([HOST4.into(), HOST6.into()], &ports());
    captures.addresses.push((SECOND4.into(), only_second));
    Judge::new(&captures)
}

fn link() -> Link {
    Link::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
}

fn v4() -> Packet {
    link().ipv4(PEER4, HOST4)
}

fn v6() -> Packet {
    link().ipv6(PEER6, HOST6)
}

/// Both versions' packet to the host, plain and with what makes its header longer.
fn shapes() -> [Packet; 5] {
    let seven = [0, 1, 4, 0, 0, 0, 0];
    let fifteen = [1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    [
        v4(),
        v4().options(&[1; 40]),
        v6(),
        v6().extension(IpProtocol(60), &seven)
            .extension(IpProtocol(0), &fifteen),
        v6().extension(IpProtocol(60), &seven).fragment(first()),
    ]
}

const fn first() -> Fragment {
    Fragment {
        id: 7,
        offset: 0,
        more: true,
    }
}

fn tcp(packet: &Packet, dst_port: u16) -> Vec<u8> {
    packet.tcp(TcpSegment {
        src_port: 443,
        dst_port,
        ..TcpSegment::default()
    })
}

fn sctp(packet: &Packet, dst_port: u16) -> Vec<u8> {
    let [high, low] = dst_port.to_be_bytes();
    packet.raw(SCTP, &[1, 187, high, low, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn packets_to_captured_ports_are_stolen_and_others_left() {
    let judge = judge();
    for packet in shapes() {
        for (frame, fate) in [
            (tcp(&packet, 50_000), Stolen),
            (tcp(&packet, 60_000), Stolen),
            (tcp(&packet, 443), Stolen),
            (tcp(&packet, 49_999), Left),
            (tcp(&packet, 60_001), Left),
            (tcp(&packet, 53), Left),
            (tcp(&packet, 8080), Left),
            (packet.udp(443, 53, b"?"), Stolen),
            (packet.udp(443, 443, b"?"), Left),
            (sctp(&packet, 55_555), Stolen),
            (sctp(&packet, 443), Left),
            (packet.raw(IpProtocol(47), &[0xc3; 40]), Left),
            (packet.echo_request(55_555, 1, b""), Left),
        ] {
            assert_eq!(judge.fate(&frame), fate, "{packet:?}: {frame:02x?}");
        }
    }
}

#[test]
fn each_address_has_its_own_ports() {
    let second = link().ipv4(PEER4, SECOND4);
    let third = link().ipv4(PEER4, Ipv4Addr::new(198, 51, 100, 4));
    assert_eq!(judge().fate(&tcp(&second, 8080)), Stolen);
    assert_eq!(judge().fate(&tcp(&second, 443)), Left);
    assert_eq!(judge().fate(&tcp(&third, 443)), Left);
    assert_eq!(judge().fate(&tcp(&third, 8080)), Left);
}

#[test]
fn an_address_must_match_in_every_bit() {
    let judge = judge();
    for bit in 0..128 {
        let other = Ipv6Addr::from_bits(HOST6.to_bits() ^ (1 << bit));
        assert_eq!(
            judge.fate(&tcp(&link().ipv6(PEER6, other), 443)),
            Left,
            "{other}"
        );
    }
    for bit in 1..32 {
        let other = Ipv4Addr::from_bits(HOST4.to_bits() ^ (1 << bit));
        assert_eq!(
            judge.fate(&tcp(&link().ipv4(PEER4, other), 443)),
            Left,
            "{other}"
        );
    }
}

#[test]
fn a_network_s_packets_are_stolen_whole_but_not_the_host_s() {
    let mut captures = Captures::at([HOST4.into(), HOST6.into()], &ports());
    // The host's own address lies in the first, and is the host's.
    captures.networks = ["198.51.100.0/27", "10.1.0.0/16", "2001:db8:7:8000::/49"]
        .map(|net| net.parse().unwrap())
        .into();
    let judge = Judge::new(&captures);
    let v4 = |ip: [u8; 4]| link().ipv4(PEER4, ip.into());
    let v6 = |ip: &str| link().ipv6(PEER6, ip.parse().unwrap());
    let later = Fragment {
        offset: 8,
        ..first()
    };
    for (packet, fate) in [
        (v4([10, 1, 255, 9]), Stolen),
        (v4([10, 1, 0, 9]).fragment(later), Stolen),
        (v4([10, 2, 0, 9]), Left),
        (v4([198, 51, 100, 31]), Stolen),
        (v4([198, 51, 100, 32]), Left),
        (v4(HOST4.octets()), Left),
        (v6("2001:db8:7:8000::1"), Stolen),
        (v6("2001:db8:7:ffff:1::1").fragment(later), Stolen),
        (v6("2001:db8:7:7fff::1"), Left),
        (v6("2001:db8:8:8000::1"), Left),
    ] {
        for frame in [tcp(&packet, 22), packet.raw(IpProtocol(50), &[0; 16])] {
            assert_eq!(judge.fate(&frame), fate, "{packet:?}");
        }
        assert_eq!(judge.noted(&tcp(&packet, 22), 0, 3), Left);
    }
}

#[test]
fn tagged_frames_and_frames_for_others_are_left() {
    let frame = tcp(&v4(), 443);
    let judge = judge();
    assert_eq!(judge.noted(&frame, 0, 0), Stolen);
    assert_eq!(judge.noted(&frame, 1, 0), Left);
    assert_eq!(judge.noted(&frame, 0, 3), Left);
    let arp = link().arp_reply(PEER4, HOST4);
    assert_eq!(judge.noted(&arp, 0, 0), Copied);
    assert_eq!(judge.noted(&arp, 1, 0), Left);
    assert_eq!(judge.noted(&arp, 0, 3), Left);
}

#[test]
fn later_fragments_are_copied_whatever_they_seem_to_hold() {
    let later = Fragment {
        offset: 1480,
        more: false,
        ..first()
    };
    for packet in [
        v4(),
        v6(),
        v6().extension(IpProtocol(60), &[0, 1, 4, 0, 0, 0, 0]),
    ] {
        let packet = packet.fragment(later);
        assert_eq!(judge().fate(&tcp(&packet, 443)), Copied);
        assert_eq!(judge().fate(&tcp(&packet, 22)), Copied);
        assert_eq!(judge().fate(&packet.raw(IpProtocol(50), &[1; 32])), Copied);
    }
    let elsewhere = link().ipv4(PEER4, PEER4).fragment(later);
    assert_eq!(judge().fate(&tcp(&elsewhere, 443)), Left);
}

/// An error about `quoted`, as its addressee or a router on the way reports it.
fn error(packet: &Packet, kind: u8, quoted: &[u8]) -> Vec<u8> {
    let protocol = if quoted[14] >> 4 == 4 { 1 } else { 58 };
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &quoted[14..]].concat();
    packet.raw(IpProtocol(protocol), &message)
}

/// Returns what the host sent, for us or for itself, from `port`.
fn sent(port: u16, shape: usize) -> [Vec<u8>; 3] {
    let out4 = link().ipv4(HOST4, PEER4);
    let out6 = link().ipv6(HOST6, PEER6);
    let packet = [
        out4.clone(),
        out4.options(&[1; 24]),
        out6.clone(),
        out6.extension(IpProtocol(0), &[0, 1, 4, 0, 0, 0, 0])
            .fragment(first()),
    ][shape]
        .clone();
    let tcp = packet.tcp(TcpSegment {
        src_port: port,
        dst_port: 80,
        ..TcpSegment::default()
    });
    let [high, low] = port.to_be_bytes();
    let sctp = packet.raw(SCTP, &[high, low, 0, 80, 0, 0, 0, 0]);
    [tcp, packet.udp(port, 80, b"?"), sctp]
}

#[test]
fn errors_about_captured_ports_are_stolen() {
    let judge = judge();
    for (shape, kinds, harmless) in [
        (0, &[3, 11, 12][..], [0, 5, 8]),
        (1, &[3, 11, 12][..], [0, 5, 8]),
        (2, &[1, 2, 3, 4][..], [100, 128, 130]),
        (3, &[1, 2, 3, 4][..], [100, 128, 130]),
    ] {
        let outer = if shape < 2 {
            v4().options(&[1; 8])
        } else {
            v6()
        };
        for (ours, foreign) in sent(50_001, shape).iter().zip(&sent(40_000, shape)) {
            for kind in kinds {
                assert_eq!(
                    judge.fate(&error(&outer, *kind, ours)),
                    Stolen,
                    "{shape} {kind}"
                );
                assert_eq!(
                    judge.fate(&error(&outer, *kind, foreign)),
                    Left,
                    "{shape} {kind}"
                );
                // Eight bytes behind the quoted header are all that RFC 792 promises; fewer
                // than the ports are none.
                let short = &ours[..if shape == 1 { 14 + 44 + 8 } else { ours.len() }];
                assert_eq!(judge.fate(&error(&outer, *kind, short)), Stolen);
                assert_eq!(judge.fate(&error(&outer, *kind, &ours[..14 + 20])), Left);
            }
            for kind in harmless {
                assert_eq!(
                    judge.fate(&error(&outer, kind, ours)),
                    Left,
                    "{shape} {kind}"
                );
            }
        }
    }
}

#[test]
fn errors_about_packets_that_nobody_here_sent_are_left() {
    let foreign = link().ipv4(PEER4, HOST4).udp(50_001, 50_001, b"?");
    assert_eq!(judge().fate(&error(&v4(), 3, &foreign)), Left);
    let later = Fragment {
        offset: 8,
        ..first()
    };
    let later = link()
        .ipv4(HOST4, PEER4)
        .fragment(later)
        .udp(50_001, 80, b"?");
    assert_eq!(judge().fate(&error(&v4(), 3, &later)), Left);
    // An IPv6 packet quoted by an ICMPv4 error.
    let mixed = [&[3, 0, 0, 0, 0, 0, 0, 0], &sent(50_001, 2)[0][14..]].concat();
    assert_eq!(judge().fate(&v4().raw(IpProtocol(1), &mixed)), Left);
}

#[test]
fn echo_replies_and_errors_about_echo_requests_are_copied() {
    for (reply, out, kind) in [
        (v4(), link().ipv4(HOST4, PEER4), 3),
        (
            v4().options(&[1; 12]),
            link().ipv4(HOST4, PEER4).options(&[1; 4]),
            11,
        ),
        (v6(), link().ipv6(HOST6, PEER6), 1),
    ] {
        for (id, fate) in [
            (50_000, Copied),
            (60_000, Copied),
            (60_001, Left),
            (443, Left),
        ] {
            assert_eq!(judge().fate(&reply.echo_reply(id, 1, b"x")), fate);
            let about = error(&reply, kind, &out.echo_request(id, 1, b"x"));
            assert_eq!(judge().fate(&about), fate);
            let about_a_reply = error(&reply, kind, &out.echo_reply(id, 1, b"x"));
            assert_eq!(judge().fate(&about_a_reply), Left);
        }
    }
}

#[test]
fn what_resolves_addresses_is_copied() {
    let everybody = Link::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([0xff; 6]));
    let group = Link::new(
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([0x33, 0x33, 0, 0, 0, 1]),
    );
    let [nodes, solicited] = ["ff02::1", "ff02::1:ff00:2"].map(|ip| ip.parse().unwrap());
    for (frame, fate) in [
        (link().arp_reply(PEER4, HOST4), Copied),
        (everybody.arp_request(PEER4, HOST4), Copied),
        (everybody.arp_request(PEER4, PEER4), Copied),
        (
            everybody.arp_request(PEER4, Ipv4Addr::new(198, 51, 100, 77)),
            Left,
        ),
        (link().neighbour_advert(PEER6, HOST6, PEER6), Copied),
        (link().neighbour_solicit(PEER6, HOST6, HOST6), Copied),
        (group.neighbour_advert(PEER6, nodes, PEER6), Copied),
        (group.neighbour_solicit(PEER6, solicited, HOST6), Copied),
        (group.neighbour_solicit(PEER6, solicited, PEER6), Left),
        (group.router_advert(PEER6, nodes), Left),
    ] {
        assert_eq!(judge().fate(&frame), fate, "{frame:02x?}");
    }
}

#[test]
fn what_is_no_ip_is_left_and_so_is_everything_when_nothing_is_captured() {
    assert_eq!(judge().fate(&link().raw(EtherType(0x88cc), &[0; 60])), Left);
    let nothing = Judge::new(&Captures::default());
    for frame in [
        tcp(&v4(), 443),
        tcp(&v6(), 443),
        link().arp_request(PEER4, HOST4),
    ] {
        assert_eq!(nothing.fate(&frame), Left);
    }
}

#[test]
fn ten_thousand_ports_in_a_row_cost_as_much_as_one() {
    let lengths = [1, 10_000].map(|count: u16| {
        let ports = Ports {
            tcp: (20_000..20_000 + count).map(|port| port..=port).collect(),
            ..Ports::default()
        };
        Captures::at([HOST4.into()], &ports)
            .programs()
            .unwrap()
            .steal
            .len()
    });
    assert_eq!(lengths[0], lengths[1]);
}

#[test]
fn too_many_gaps_are_refused_with_the_numbers() {
    let ports = |ranges: u16| Ports {
        tcp: (0..ranges)
            .map(|n| 20_000 + 2 * n..=20_000 + 2 * n)
            .collect(),
        ..Ports::default()
    };
    assert!(
        Captures::at([HOST4.into(), HOST6.into()], &ports(900))
            .programs()
            .is_ok()
    );
    let error = Captures::at([HOST4.into()], &ports(2000))
        .programs()
        .unwrap_err();
    assert!(error.to_string().contains("4096"), "{error}");
}

fn ranges() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
    let range = (any::<u16>(), 0u16..2000).prop_map(|(at, n)| at..=at.saturating_add(n));
    prop::collection::vec(range, 0..40)
}

proptest! {
    #[test]
    fn a_port_is_captured_when_one_of_the_ranges_holds_it(
        tcp_ranges in ranges(), udp in ranges(), echo in ranges(), port: u16, edge: prop::sample::Index,
    ) {
        let ports = Ports { tcp: tcp_ranges, udp, sctp: Vec::new(), echo };
        let judge = Judge::new(&Captures::at([HOST4.into(), HOST6.into()], &ports));
        let edges: Vec<u16> = ports.tcp.iter().chain(&ports.udp).chain(&ports.echo)
            .flat_map(|r| [r.start().wrapping_sub(1), *r.start(), *r.end(), r.end().wrapping_add(1)])
            .chain([port])
            .collect();
        let port = *edge.get(&edges);
        let within = |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|r| r.contains(&port));
        let fate = |is, fate| if is { fate } else { Left };
        for packet in [v4(), v6()] {
            prop_assert_eq!(judge.fate(&tcp(&packet, port)), fate(within(&ports.tcp), Stolen));
            prop_assert_eq!(judge.fate(&packet.udp(1, port, b"")), fate(within(&ports.udp), Stolen));
            prop_assert_eq!(judge.fate(&sctp(&packet, port)), Left);
            let reply = packet.echo_reply(port, 1, b"");
            prop_assert_eq!(judge.fate(&reply), fate(within(&ports.echo), Copied));
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 14..200), six: bool) {
        let mut frame = bytes;
        frame[12..14].copy_from_slice(if six { &[0x86, 0xdd] } else { &[8, 0] });
        judge().fate(&frame);
    }
}
