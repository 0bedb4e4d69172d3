//! An uplink on the real kernel: which packets are ours, which the host's, and what becomes of them.

mod gateway_port;
mod rig;
mod undoing;

use port::packet;
use rig::{
    BOTH, HOST4, HOST6, LIMIT, Rig, STOLEN, WORLD4, WORLD6, captures, handshake, is_to, next,
    transmit,
};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use testbed::link;
use testbed::traffic::{Ping, ping, tcp_exact};
use wire::craft::{self, TcpSegment};
use wire::{Fragment, IpProtocol, TcpFlags, VlanId, VnetHeader};

#[test]
fn a_connection_to_a_stolen_port_is_ours_and_the_host_never_resets_it() {
    let rig = Rig::new();
    let mut tap = rig.tap();
    rig.open(&captures());
    handshake(&rig, &mut tap, STOLEN);
    assert_eq!(rig.resets(), 0);
    // One that is not ours is refused by the host itself.
    for (to, _) in BOTH {
        let to = SocketAddr::new(to, 49_999);
        let refused = rig.world.run(|| TcpStream::connect_timeout(&to, LIMIT));
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    }
    assert_eq!(rig.resets(), 2);
}

#[test]
fn the_hosts_own_traffic_is_untouched() {
    let rig = Rig::new();
    let _tap = rig.tap();
    rig.open(&captures());
    for (host, world) in BOTH {
        tcp_exact(&rig.host, &rig.world, host, 20 << 20).unwrap();
        tcp_exact(&rig.world, &rig.host, world, 20 << 20).unwrap();
        for (from, to) in [(&rig.host, world), (&rig.world, host)] {
            let large = Ping {
                size: 8000,
                ..Ping::new(to)
            };
            assert!(ping(from, &Ping::new(to)).unwrap().is_complete());
            assert!(ping(from, &large).unwrap().is_complete(), "fragments");
        }
    }
}

#[test]
fn a_socket_that_has_one_of_our_ports_keeps_it() {
    let rig = Rig::new();
    let _tap = rig.tap();
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, STOLEN)).unwrap();
    let listener = rig.host.run(listen);
    let connect = |to: IpAddr| {
        let stream = rig
            .world
            .run(|| TcpStream::connect_timeout(&SocketAddr::new(to, STOLEN), LIMIT));
        let (client, (server, _)) = (stream.unwrap(), listener.accept().unwrap());
        server.set_read_timeout(Some(LIMIT)).unwrap();
        (client, server)
    };
    let before = BOTH.map(|(host, _)| connect(host));
    let uplink = rig.open(&captures());
    assert_eq!(uplink.spared().tcp, [STOLEN..=STOLEN]);
    for (mut client, mut server) in before
        .into_iter()
        .chain(BOTH.map(|(host, _)| connect(host)))
    {
        client.write_all(b"still here").unwrap();
        server.read_exact(&mut [0; 10]).unwrap();
    }
}

#[test]
fn a_published_port_among_ours_is_not_spared_for_its_listener_on_the_host() {
    let rig = Rig::new();
    let mut tap = rig.tap();
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, STOLEN)).unwrap();
    let _listener = rig.host.run(listen);
    let mut captures = captures();
    for (_, ports) in &mut captures.addresses {
        ports.tcp.push(STOLEN..=STOLEN);
    }
    let uplink = rig.open(&captures);
    assert_eq!(uplink.spared().tcp, []);
    handshake(&rig, &mut tap, STOLEN);
}

#[test]
fn superframes_pass_whole_both_ways() {
    let rig = Rig::new();
    let (mut tap, mut wire) = (rig.tap(), rig.wire());
    rig.open(&captures());
    let payload = vec![0x5a; 60_000];
    let segment = |src_port, dst_port| TcpSegment {
        src_port,
        dst_port,
        payload: &payload,
        flags: TcpFlags::ACK,
        ..TcpSegment::default()
    };
    for version in [0, 1] {
        let (inward, outward) = (rig.inward(version), rig.outward(version));
        for (mut frame, gso_size, out) in [
            (inward.tcp(segment(80, STOLEN)), 1400, false),
            (inward.udp(80, STOLEN, &payload), 1400, false),
            (outward.tcp(segment(STOLEN, 80)), 1400, true),
            (outward.udp(STOLEN, 80, &payload), 1400, true),
        ] {
            let vnet = craft::superframe(&mut frame, gso_size).unwrap();
            let (from, to) = if out {
                (&tap, &mut wire)
            } else {
                (&wire, &mut tap)
            };
            transmit(from, &frame, vnet);
            let (seen, header) = next(to, |seen| seen.len() == frame.len());
            assert_eq!(seen, frame);
            assert_eq!(
                (header.gso_type, header.gso_size),
                (vnet.gso_type, gso_size)
            );
            assert_eq!(
                (header.csum_start, header.csum_offset, header.needs_csum()),
                (vnet.csum_start, vnet.csum_offset, true)
            );
        }
    }
}

#[test]
fn no_packet_is_lost_while_the_captures_change() {
    let rig = Rig::new();
    let (mut tap, wire) = (rig.tap(), rig.wire());
    let mut uplink = rig.open(&captures());
    let (done, updates) = (AtomicBool::new(false), AtomicU16::new(0));
    std::thread::scope(|scope| {
        let updating = scope.spawn(|| {
            rig.links(|links| {
                while !done.load(Ordering::Relaxed) {
                    let port = updates.fetch_add(1, Ordering::Relaxed) % 40_000;
                    let mut captures = captures();
                    captures.addresses[0].1.udp.push(port..=port);
                    uplink.update(links, &captures).unwrap();
                }
            });
        });
        let mut round = 0u32;
        while round < 300 || updates.load(Ordering::Relaxed) < 10 {
            for n in 0..32 {
                let payload = (32 * round + n).to_be_bytes();
                transmit(
                    &wire,
                    &rig.inward(0).udp(9, STOLEN, &payload),
                    VnetHeader::default(),
                );
            }
            for n in 0..32 {
                let (frame, _) = next(&mut tap, |frame| is_to(frame, STOLEN));
                assert_eq!(frame[42..46], (32 * round + n).to_be_bytes());
            }
            round += 1;
        }
        done.store(true, Ordering::Relaxed);
        updating.join().unwrap();
    });
}

#[test]
fn each_kind_of_packet_goes_where_it_belongs() {
    let rig = Rig::new();
    let (mut tap, wire) = (rig.tap(), rig.wire());
    rig.open(&captures());
    let [v4, v6] = [0, 1].map(|version| rig.inward(version));
    let first = Fragment {
        id: 7,
        offset: 0,
        more: true,
    };
    let later = Fragment {
        offset: 1480,
        more: false,
        ..first
    };
    let [high, low] = STOLEN.to_be_bytes();
    let about = |sent: &[u8]| [&[3, 1, 0, 0, 0, 0, 0, 0], &sent[14..]].concat();
    let ours = rig.outward(0).options(&[1; 8]).udp(STOLEN, 9, b"out");
    let not_ours = rig.outward(0).udp(9, 9, b"out");
    let hop_by_hop = [0, 1, 4, 0, 0, 0, 0];
    let ours_or_not = [
        (
            v4.clone().options(&[1; 12]).udp(9, STOLEN, b"options"),
            true,
        ),
        (v4.udp(9, 9999, b"not ours"), false),
        (
            v6.clone()
                .extension(IpProtocol(0), &hop_by_hop)
                .udp(9, STOLEN, b"x"),
            true,
        ),
        (
            v4.raw(IpProtocol(132), &[0, 9, high, low, 0, 0, 0, 0]),
            true,
        ),
        (v4.clone().fragment(first).udp(9, STOLEN, b"12345678"), true),
        (
            v4.clone().fragment(later).raw(IpProtocol(17), b"87654321"),
            true,
        ),
        (v6.clone().fragment(first).udp(9, STOLEN, b"12345678"), true),
        (
            v6.clone().fragment(later).raw(IpProtocol(17), b"87654321"),
            true,
        ),
        (v4.raw(IpProtocol(1), &about(&ours)), true),
        (v4.raw(IpProtocol(1), &about(&not_ours)), false),
        (v4.echo_reply(STOLEN, 1, b"pong"), true),
        (v6.echo_reply(STOLEN, 1, b"pong"), true),
        (v6.echo_reply(9, 1, b"not ours"), false),
        (rig.inward.arp_reply(WORLD4, HOST4), true),
        (rig.inward.neighbour_advert(WORLD6, HOST6, WORLD6), true),
        (
            rig.inward
                .clone()
                .vlan(VlanId::new(7).unwrap())
                .ipv4(WORLD4, HOST4)
                .udp(9, STOLEN, b"tag"),
            false,
        ),
        (v4.udp(9, STOLEN, b"the last"), true),
    ];
    for (frame, _) in &ours_or_not {
        transmit(&wire, frame, VnetHeader::default());
    }
    // The host itself resolves addresses meanwhile.
    let expected = ours_or_not.iter().filter(|(_, is_ours)| *is_ours);
    for (frame, _) in expected {
        let (seen, _) = next(&mut tap, |seen| !is_own_resolution(seen, frame));
        assert_eq!(seen, *frame);
    }
}

/// Returns whether `seen` is about the host's own neighbours and is not `frame`.
fn is_own_resolution(seen: &[u8], frame: &[u8]) -> bool {
    let neighbour =
        seen[12..14] == [0x08, 0x06] || (seen[20] == 58 && matches!(seen[54], 135 | 136));
    neighbour && seen != frame
}

#[test]
fn what_answers_the_hosts_own_questions_reaches_both() {
    let rig = Rig::new();
    let mut tap = rig.tap();
    rig.open(&captures());
    rig.host.ip("neighbour flush dev eth0").unwrap();
    for (_, world) in BOTH {
        assert!(ping(&rig.host, &Ping::new(world)).unwrap().is_complete());
    }
    let is_arp_reply = |frame: &[u8]| frame[12..14] == [8, 6] && frame[21] == 2;
    let is_advert = |frame: &[u8]| frame[12..14] == [0x86, 0xdd] && frame[54] == 136;
    next(&mut tap, is_arp_reply);
    next(&mut tap, is_advert);
}

#[test]
fn others_filters_behind_ours_see_what_is_copied() {
    let rig = Rig::new();
    let (_tap, wire) = (rig.tap(), rig.wire());
    link::veth(&rig.host, "theirs", &rig.host, "watch").unwrap();
    rig.open(&captures());
    rig.tc(
        "filter add dev eth0 ingress prio 100 protocol arp u32 match u32 0 0 \
            action mirred egress mirror dev theirs",
    );
    let mut watch = rig
        .host
        .run(|| packet::open(&"watch".parse().unwrap()))
        .unwrap();
    let reply = rig.inward.arp_reply(WORLD4, HOST4);
    transmit(&wire, &reply, VnetHeader::default());
    next(&mut watch, |frame| frame == reply);
}
