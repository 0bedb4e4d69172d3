//! The inputs a fuzzer starts from: one of each kind of frame, sound or broken in a way that was
//! thought of. `cargo run -p clearway-fuzz --example seeds` writes them to the corpus.

mod nat;

use crate::carry::{GATEWAY_MAC, LOCKED_IP, LOCKED_MAC};
use wire::craft::{Link, Packet, TcpSegment, superframe, unfinish};
use wire::{EtherType, Fragment, IpProtocol, MacAddr, TcpFlags, VlanId, VlanTag, VnetHeader};

/// An input and its name.
pub type Seed = (String, Vec<u8>);

/// The inputs of one target; none for a name that is no target.
#[must_use]
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "parse" => frames()
            .into_iter()
            .map(|(name, _, frame)| (name.to_owned(), frame))
            .collect(),
        "segment" => frames()
            .into_iter()
            .map(|(name, vnet, frame)| (name.to_owned(), [&vnet.to_bytes(), &frame[..]].concat()))
            .collect(),
        "pipeline" | "forward" => conversations(),
        "nat" => nat::conversations(),
        _ => Vec::new(),
    }
}

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn link() -> Link {
    Link::new(A, LOCKED_MAC)
}

fn v4(link: Link) -> Packet {
    link.ipv4([10, 0, 0, 1].into(), LOCKED_IP.into())
}

fn v6(link: Link) -> Packet {
    link.ipv6(
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into(),
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2].into(),
    )
}

fn tagged(id: u16) -> Link {
    link().vlan(VlanId::new(id).expect("a VLAN from 1 to 4094"))
}

fn tcp(packet: &Packet, payload: &[u8]) -> Vec<u8> {
    let flags = TcpFlags::ACK.union(TcpFlags::PSH);
    packet.tcp(TcpSegment {
        src_port: 40_000,
        dst_port: 80,
        flags,
        options: &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        payload,
        ..TcpSegment::default()
    })
}

fn frames() -> Vec<(&'static str, VnetHeader, Vec<u8>)> {
    let plain = VnetHeader::default();
    let (src, dst) = (
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    );
    let piece = Fragment {
        id: 9,
        offset: 0,
        more: true,
    };
    let mut frames = vec![
        (
            "arp-request",
            plain,
            link().arp_request([10, 0, 0, 1].into(), LOCKED_IP.into()),
        ),
        (
            "arp-reply-vlan",
            plain,
            tagged(10).arp_reply([10, 0, 0, 1].into(), LOCKED_IP.into()),
        ),
        ("tcp4", plain, tcp(&v4(link()), b"GET /")),
        (
            "tcp4-options-qinq",
            plain,
            tcp(
                &v4(tagged(20).tag(VlanTag {
                    tpid: VlanTag::CTAG,
                    tci: 5,
                }))
                .options(&[1; 8]),
                b"x",
            ),
        ),
        ("tcp6", plain, tcp(&v6(link()), b"GET /")),
        ("udp4", plain, v4(link()).udp(5, 53, b"question")),
        ("udp6", plain, v6(link()).udp(5, 53, b"question")),
        ("sctp4", plain, v4(link()).raw(IpProtocol::SCTP, &[7; 16])),
        ("echo4", plain, v4(link()).echo_request(7, 1, b"ping")),
        ("echo6", plain, v6(link()).echo_reply(7, 1, b"pong")),
        (
            "neighbour-solicit",
            plain,
            link().neighbour_solicit(src.into(), dst.into(), src.into()),
        ),
        (
            "neighbour-advert",
            plain,
            link().neighbour_advert(src.into(), dst.into(), src.into()),
        ),
        (
            "router-advert",
            plain,
            link().router_advert(src.into(), dst.into()),
        ),
        (
            "fragment4-first",
            plain,
            v4(link()).fragment(piece).raw(
                IpProtocol::UDP,
                &[0, 5, 0, 6, 4, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
            ),
        ),
        (
            "fragment6-later",
            plain,
            v6(link())
                .fragment(Fragment {
                    offset: 64,
                    ..piece
                })
                .raw(IpProtocol::UDP, &[1; 16]),
        ),
        ("extensions6", plain, {
            let packet = v6(link()).extension(IpProtocol::HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0]);
            let packet = packet
                .extension(IpProtocol::ROUTING, &[0; 7])
                .extension(IpProtocol::AH, &[2; 15]);
            packet
                .extension(IpProtocol::DESTINATION, &[1; 15])
                .udp(5, 6, b"x")
        }),
        (
            "too-many-extensions6",
            plain,
            (0..9)
                .fold(v6(link()), |p, _| {
                    p.extension(IpProtocol::DESTINATION, &[0; 7])
                })
                .udp(5, 6, b"x"),
        ),
        (
            "three-tags",
            plain,
            tagged(1)
                .tag(VlanTag {
                    tpid: VlanTag::CTAG,
                    tci: 2,
                })
                .tag(VlanTag {
                    tpid: VlanTag::CTAG,
                    tci: 3,
                })
                .raw(EtherType::IPV4, &[0x45; 40]),
        ),
        ("llc", plain, link().raw(EtherType(38), &[0x42; 38])),
        (
            "lldp",
            plain,
            Link::new(A, MacAddr([1, 0x80, 0xc2, 0, 0, 14])).raw(EtherType(0x88cc), &[2; 30]),
        ),
        ("total-length-zero", plain, {
            let mut frame = tcp(&v4(link()), b"x");
            frame[16..18].fill(0);
            frame
        }),
        (
            "checksum-outside",
            VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start: 34,
                csum_offset: u16::MAX,
                ..plain
            },
            tcp(&v4(link()), b"x"),
        ),
        (
            "checksum-on-source",
            VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start: 14,
                csum_offset: 12,
                ..plain
            },
            tcp(&v4(link()), b"x"),
        ),
        (
            "gso-size-zero",
            VnetHeader {
                gso_type: VnetHeader::GSO_TCPV4,
                ..plain
            },
            tcp(&v4(link()), &[7; 300]),
        ),
    ];
    let large: Vec<u8> = (0..=255).cycle().take(700).collect();
    let mut offloaded = |name, mut frame: Vec<u8>, size: Option<u16>| {
        let vnet = match size {
            Some(size) => superframe(&mut frame, size),
            None => unfinish(&mut frame),
        };
        frames.push((name, vnet.unwrap_or_default(), frame));
    };
    offloaded("unfinished4", tcp(&v4(link()), b"x"), None);
    offloaded("unfinished6-vlan", v6(tagged(10)).udp(1, 2, b"x"), None);
    offloaded("superframe-tcp4", tcp(&v4(link()), &large), Some(200));
    offloaded(
        "superframe-tcp4-vlan-options",
        tcp(&v4(tagged(20)).options(&[1; 12]), &large),
        Some(100),
    );
    offloaded(
        "superframe-tcp6",
        tcp(
            &v6(link()).extension(IpProtocol::DESTINATION, &[0; 7]),
            &large,
        ),
        Some(200),
    );
    offloaded("superframe-udp4", v4(link()).udp(1, 2, &large), Some(50));
    offloaded(
        "superframe-udp6",
        v6(tagged(1)).udp(1, 2, &large),
        Some(699),
    );
    frames
}

/// Several frames from several ports, so that something is learned.
fn conversations() -> Vec<Seed> {
    let back = Link::new(LOCKED_MAC, A);
    let mut seeds = Vec::new();
    let mut add = |name: &str, records: &[(u8, VnetHeader, Vec<u8>)]| {
        let bytes = records.iter().flat_map(|(port, vnet, frame)| {
            let len = u16::try_from(frame.len()).expect("a seed is a small frame");
            [&[*port], &len.to_be_bytes()[..], &vnet.to_bytes(), frame].concat()
        });
        seeds.push((name.to_owned(), bytes.collect()));
    };
    let plain = VnetHeader::default();
    let ask = link().arp_request([10, 0, 0, 1].into(), LOCKED_IP.into());
    let answer = back.arp_reply(LOCKED_IP.into(), [10, 0, 0, 1].into());
    add(
        "arp-and-back",
        &[
            (0, plain, ask.clone()),
            (2, plain, answer.clone()),
            (0, plain, v4(link()).echo_request(1, 1, b"x")),
        ],
    );
    add(
        "spoofed",
        &[
            (0, plain, ask.clone()),
            (2, plain, ask.clone()),
            (2, plain, v4(back.clone()).udp(1, 2, b"x")),
        ],
    );
    add(
        "moved",
        &[(0, plain, ask.clone()), (1, plain, ask), (7, plain, answer)],
    );
    let to_gateway = tcp(&v4(Link::new(A, GATEWAY_MAC)), b"x");
    let tagged_to_gateway = tcp(
        &v4(Link::new(A, GATEWAY_MAC).vlan(VlanId::new(10).expect("10 is a VLAN"))),
        b"x",
    );
    let as_gateway = Link::new(GATEWAY_MAC, A).arp_reply([10, 0, 0, 254].into(), LOCKED_IP.into());
    add(
        "gateway",
        &[
            (3, plain, to_gateway.clone()),
            (1, plain, tagged_to_gateway),
            (0, plain, to_gateway),
            (4, plain, as_gateway.clone()),
            (7, plain, as_gateway),
        ],
    );
    let whole = tcp(&v4(tagged(10)), b"x");
    let cuts = [0, 11, 13, 15, 17, 20, 40, 60];
    add(
        "truncated",
        &cuts.map(|len| (1, plain, whole[..len].to_vec())),
    );
    let mut giant = tcp(&v4(link()), &[7; 20_000]);
    let vnet = superframe(&mut giant, 1448).unwrap_or_default();
    // Learned first, so that the giant goes to one port; and to all who hear of an unknown one.
    add(
        "giant",
        &[
            (
                1,
                plain,
                link().arp_request([10, 0, 0, 1].into(), LOCKED_IP.into()),
            ),
            (0, vnet, giant),
        ],
    );
    for (name, vnet, frame) in frames() {
        let everywhere: Vec<_> = [0, 1, 2, 3, 5, 8]
            .map(|port| (port, vnet, frame.clone()))
            .into();
        add(&format!("everywhere-{name}"), &everywhere);
    }
    seeds
}
