//! Conversations through a router: one of each kind it translates, follows or refuses.

use super::{Seed, tcp};
use crate::nat::site::{self, PORTS};
use wire::craft::{Link, Packet, TcpSegment, superframe, unfinish};
use wire::{Fragment, IpProtocol, TcpFlags, VnetHeader};

/// Ports of the target's switch.
const A: u8 = 0;
const B: u8 = 1;
const WORLD: u8 = 2;
const STACK: u8 = 3;
const C: u8 = 4;

type Ip = &'static str;
const OURS: Ip = "198.51.100.2";
const OURS6: Ip = "2001:db8:f::2";
const PEER: Ip = "198.51.100.100";
const PEER6: Ip = "2001:db8:ff::100";
/// The addresses of what is at `A`, `B` and `C`.
const OWN: [(u8, Ip, Ip); 3] = [
    (A, "10.1.0.2", "2001:db8:1::2"),
    (B, "10.2.0.2", "2001:db8:2::2"),
    (C, "10.1.0.3", "2001:db8:1::3"),
];

/// A frame at a port.
type Step = (u8, VnetHeader, Vec<u8>);

/// Returns what `from` sends to its gateway.
fn packet(from: u8, src: Ip, dst: Ip) -> Packet {
    let network = site::network_of(pipeline::PortId(from.into())).expect("a port of the target");
    let link = Link::new(site::mac(from), site::gateway(network));
    match (src.parse(), dst.parse()) {
        (Ok(src), Ok(dst)) => link.ipv4(src, dst),
        _ => {
            let parse = |ip: Ip| ip.parse().expect("both are of one family");
            link.ipv6(parse(src), parse(dst))
        }
    }
}

fn plain(from: u8, frame: Vec<u8>) -> Step {
    (from, VnetHeader::default(), frame)
}

fn segment(ports: (u16, u16), flags: TcpFlags, (seq, ack): (u32, u32)) -> TcpSegment<'static> {
    TcpSegment {
        src_port: ports.0,
        dst_port: ports.1,
        flags,
        seq,
        ack,
        window: 4000,
        options: if flags.contains(TcpFlags::SYN) {
            &[2, 4, 5, 180]
        } else {
            &[]
        },
        payload: &[],
    }
}

/// An ICMP error from `src` at `from`, about `frame`.
fn error(from: u8, (src, dst): (Ip, Ip), frame: &[u8]) -> Step {
    plain(from, packet(from, src, dst).hops(60).unreachable(3, frame))
}

/// A whole TCP connection between `a` at one port and `b` at another, who knows `a` as `seen`.
fn connection((a, own): (u8, Ip), (b, peer): (u8, Ip), called: Ip, seen: Ip) -> Vec<Step> {
    use TcpFlags as F;
    let ahead = |flags, at| {
        plain(
            a,
            packet(a, own, called).tcp(segment((50_000, 80), flags, at)),
        )
    };
    let back = |flags, at| {
        plain(
            b,
            packet(b, peer, seen).tcp(segment((80, 50_000), flags, at)),
        )
    };
    vec![
        ahead(F::SYN, (100, 0)),
        back(F::SYN.union(F::ACK), (500, 101)),
        ahead(F::ACK, (101, 501)),
        back(F::ACK.union(F::FIN), (501, 101)),
        ahead(F::ACK.union(F::FIN), (101, 502)),
        back(F::ACK, (502, 102)),
        back(F::RST, (502, 0)),
    ]
}

pub(super) fn conversations() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, steps: Vec<Step>| seeds.push((name.to_owned(), encode(&steps)));
    for (family, ours, peer, own) in [
        ("4", OURS, PEER, OWN.map(|(_, v4, _)| v4)),
        ("6", OURS6, PEER6, OWN.map(|(.., v6)| v6)),
    ] {
        let name = |what: &str| format!("{what}{family}");
        let [a, b, c] = own;
        let out = packet(A, a, peer).udp(50_000, 53, b"question");
        let answer = packet(WORLD, peer, ours).udp(53, 50_000, b"answer");
        add(
            &name("tcp-out"),
            connection((A, a), (WORLD, peer), peer, ours),
        );
        add(
            &name("tcp-out-of-b"),
            connection((B, b), (WORLD, peer), peer, ours),
        );
        add(
            &name("udp-out"),
            vec![
                plain(A, out.clone()),
                plain(WORLD, answer.clone()),
                plain(
                    WORLD,
                    packet(WORLD, peer, ours).udp(54, 50_000, b"filtered"),
                ),
                plain(C, packet(C, c, peer).udp(50_000, 53, b"the same port")),
            ],
        );
        add(
            &name("echo"),
            vec![
                plain(A, packet(A, a, peer).echo_request(7, 1, b"ping")),
                plain(WORLD, packet(WORLD, peer, ours).echo_reply(7, 1, b"pong")),
                plain(B, packet(B, b, b).echo_request(7, 1, b"land")),
            ],
        );
        let leaves = packet(WORLD, ours, peer).udp(50_000, 53, b"question");
        add(
            &name("error-in"),
            vec![plain(A, out.clone()), error(WORLD, (peer, ours), &leaves)],
        );
        let arrives = packet(A, peer, a).udp(53, 50_000, b"answer");
        add(
            &name("error-out"),
            vec![
                plain(A, out.clone()),
                plain(WORLD, answer.clone()),
                error(A, (a, peer), &arrives),
            ],
        );
        add(
            &name("published"),
            vec![
                plain(WORLD, packet(WORLD, peer, ours).udp(4000, 54, b"question")),
                plain(B, packet(B, b, peer).udp(5301, 4000, b"answer")),
            ],
        );
        add(
            &name("hairpin"),
            vec![
                plain(C, packet(C, c, ours).udp(4000, 53, b"published")),
                plain(B, packet(B, b, ours).udp(5300, 50_000, b"loop")),
                plain(A, out.clone()),
                plain(C, packet(C, c, peer).udp(50_002, 53, b"question")),
                plain(A, packet(A, a, ours).udp(50_000, 50_002, b"hole")),
                plain(C, packet(C, c, ours).udp(50_002, 50_000, b"punched")),
            ],
        );
        add(&name("peers"), connection((A, a), (B, b), b, a));
        add(
            &name("denied"),
            vec![
                plain(A, packet(A, a, c).udp(1, 150, b"in the same network")),
                plain(B, packet(B, b, c).udp(1, 150, b"from another")),
            ],
        );
        add(
            &name("refused"),
            vec![
                plain(A, packet(A, a, peer).hops(1).udp(1, 2, b"")),
                plain(A, packet(A, a, peer).udp(1, 2, &[0; 1390])),
                plain(A, packet(A, a, peer).raw(IpProtocol(47), &[0; 20])),
                plain(A, packet(A, peer, a).udp(1, 2, b"forged")),
                plain(A, tcp(&packet(A, a, peer), b"no SYN")),
            ],
        );
        add(
            &name("fragments"),
            fragments(&[0, 24, 48], &packet(A, a, peer), A),
        );
        add(
            &name("fragments-reversed"),
            fragments(&[48, 24, 0], &packet(B, b, peer), B),
        );
        add(
            &name("last-hop"),
            [
                fragments(&[0], &packet(A, a, peer), A),
                fragments(&[24], &packet(A, a, peer).hops(1), A),
                fragments(&[48], &packet(A, a, peer).hops(0), A),
                vec![
                    plain(A, packet(A, a, peer).hops(0).udp(50_002, 53, b"")),
                    plain(WORLD, packet(WORLD, peer, ours).udp(53, 50_002, b"")),
                ],
            ]
            .concat(),
        );
        add(
            &name("calls-a-port-it-could-take"),
            taking(own, (ours, peer)),
        );
        add(&name("offloads"), offloads(&packet(A, a, peer)));
        add(&name("host"), host((a, ours)));
    }
    add("links", links());
    add("scan", scan());
    add("many", many());
    seeds
}

/// The pieces of a UDP datagram of 64 bytes payload, 24 bytes each.
fn fragments(order: &[u16], packet: &Packet, from: u8) -> Vec<Step> {
    let whole = packet.udp(50_000, 53, &[7; 64]);
    let datagram = &whole[whole.len() - 72..];
    let pieces = order.iter().map(|&offset| {
        let fragment = Fragment {
            id: 77,
            offset,
            more: offset < 48,
        };
        let rest = &datagram[offset.into()..];
        let piece = &rest[..rest.len().min(24)];
        plain(
            from,
            packet
                .clone()
                .fragment(fragment)
                .raw(IpProtocol::UDP, piece),
        )
    });
    pieces.collect()
}

/// When all ports of its own's shard are held, one calls one of them that is due to be given up.
fn taking([a, b, c]: [Ip; 3], (ours, peer): (Ip, Ip)) -> Vec<Step> {
    let call = plain(C, packet(C, c, ours).udp(8080, 50_000, b"me?"));
    let mut steps = vec![
        plain(A, packet(A, a, peer).udp(50_000, 53, b"")),
        plain(B, packet(B, b, peer).udp(50_000, 53, b"")),
    ];
    // A second passes with each.
    steps.extend([const { [0; 14] }; 5].map(|junk| plain(C, junk.into())));
    steps.push(call);
    steps
}

/// Returns what a sender leaves to its card.
fn offloads(packet: &Packet) -> Vec<Step> {
    let mut small = packet.udp(50_000, 53, b"unfinished");
    let small_vnet = unfinish(&mut small).unwrap_or_default();
    let mut large = packet.tcp(TcpSegment {
        payload: &[7; 3000],
        ..segment((50_002, 80), TcpFlags::SYN, (100, 0))
    });
    let large_vnet = superframe(&mut large, 1000).unwrap_or_default();
    vec![(A, small_vnet, small), (A, large_vnet, large)]
}

/// A container and the host's stack.
fn host((own, ours): (Ip, Ip)) -> Vec<Step> {
    vec![
        plain(A, packet(A, own, ours).udp(4000, 22, b"to the host")),
        plain(STACK, packet(STACK, ours, own).udp(22, 4000, b"back")),
        plain(
            STACK,
            packet(STACK, ours, own).udp(4000, 23, b"from the host"),
        ),
    ]
}

/// Returns what holds links together.
fn links() -> Vec<Step> {
    let network = site::network_of(pipeline::PortId(1)).expect("a port of the target");
    let (own, gateway) = ([10, 2, 0, 2].into(), [10, 2, 0, 1].into());
    let to_all = Link::new(site::mac(B), wire::MacAddr::BROADCAST);
    let to_gateway = Link::new(site::mac(B), site::gateway(network));
    let group = Link::new(site::mac(B), wire::MacAddr([0x33, 0x33, 0xff, 0, 0, 1]));
    let v6 = |ip: Ip| ip.parse().expect("an address");
    let discover = discover(site::mac(B));
    vec![
        plain(B, to_all.arp_request(own, gateway)),
        plain(B, to_gateway.arp_reply(own, gateway)),
        plain(
            B,
            group.neighbour_solicit(
                v6("2001:db8:2::2"),
                v6("ff02::1:ff00:1"),
                v6("2001:db8:2::1"),
            ),
        ),
        plain(
            B,
            to_gateway.neighbour_advert(
                v6("2001:db8:2::2"),
                v6("2001:db8:2::1"),
                v6("2001:db8:2::2"),
            ),
        ),
        plain(
            B,
            to_all
                .ipv4([0; 4].into(), [255; 4].into())
                .udp(68, 67, &discover),
        ),
        plain(
            B,
            packet(B, "10.2.0.2", "10.2.0.1").echo_request(1, 1, b"ping"),
        ),
    ]
}

/// DHCPDISCOVER (RFC 2131, 2).
fn discover(mac: wire::MacAddr) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(&mac.0);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend_from_slice(&[53, 1, 1, 255]);
    message.resize(300, 0);
    message
}

/// One packet to each of many neighbours that are not there.
fn scan() -> Vec<Step> {
    let targets = ["10.2.0.9", "10.2.0.10", "10.2.0.11", "10.2.0.12"];
    let mut steps: Vec<_> = targets
        .map(|ip| plain(A, packet(A, "10.1.0.2", ip).udp(1, 2, b"anybody?")))
        .into();
    // Minutes pass: the questions end without an answer.
    let mut late = steps[0].clone();
    late.0 |= 0x80;
    steps.push(late);
    steps
}

/// More connections than there are ports, places or quota.
fn many() -> Vec<Step> {
    let ports = (50_000..50_064).step_by(2);
    let guests = OWN.into_iter();
    guests
        .flat_map(|(from, own, _)| {
            let out = packet(from, own, PEER);
            ports
                .clone()
                .map(move |port| plain(from, out.udp(port, 53, b"")))
        })
        .collect()
}

fn encode(steps: &[Step]) -> Vec<u8> {
    let records = steps.iter().flat_map(|(port, vnet, frame)| {
        assert!(port & 0x3f < PORTS, "{port} is no port of the target");
        let len = u16::try_from(frame.len()).expect("a seed is a small frame");
        [&[*port], &len.to_be_bytes()[..], &vnet.to_bytes(), frame].concat()
    });
    records.collect()
}
