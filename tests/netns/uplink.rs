//! An uplink on the real kernel: a namespace that stands for the host, one for the world, a veth
//! pair between them for the NIC and its wire.

use host::{
    Captures, Gateway, GatewayPort, Links, Netns, Place, Ports, Route, Stack, Uplink, UplinkConfig,
    doctor,
};
use ipnet::IpNet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pipeline::{Batch, BatchLimits, Frame, HEADROOM};
use port::tap::{Tap, TapConfig};
use port::{Port, packet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::{Child, Namespace, link, wait_until};
use wire::craft::{self, Link, Packet, TcpSegment};
use wire::{Fragment, Headers, IpProtocol, MacAddr, Net, TcpFlags, Transport, VlanId, VnetHeader};

const NIC: &str = "eth0";
const TAP: &str = "cw-uplink";
const LIMIT: Duration = Duration::from_secs(10);

const HOST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const WORLD4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const BOTH: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(HOST4), IpAddr::V4(WORLD4)),
    (IpAddr::V6(HOST6), IpAddr::V6(WORLD6)),
];
/// Who listens to changes of traffic control, as a bit of a netlink socket's groups.
const RTNLGRP_TC: u32 = 1 << 3;
/// One of ours.
const STOLEN: u16 = 50_000;

struct Rig {
    host: Namespace,
    world: Namespace,
    netns: Netns,
    /// The link as a frame from the world to the host sees it.
    inward: Link,
    outward: Link,
}

impl Rig {
    fn new() -> Self {
        let [host, world] = [(); 2].map(|()| Namespace::new().unwrap());
        link::veth(&host, NIC, &world, "eth0").unwrap();
        for (ns, [v4, v6]) in [
            (&host, ["198.51.100.2/24", "2001:db8::2/64"]),
            (&world, ["198.51.100.1/24", "2001:db8::1/64"]),
        ] {
            link::address(ns, "eth0", v4).unwrap();
            link::address(ns, "eth0", v6).unwrap();
        }
        let netns = Netns::find(Place::Path(host.path())).unwrap();
        for (_, to) in BOTH {
            // The kernel makes an IPv6 address reachable in the background.
            let answered = || ping(&host, &Ping::new(to)).unwrap().is_complete();
            wait_until(&format!("an answer from {to}"), LIMIT, answered).unwrap();
        }
        let settled = || !host.ip("address").unwrap().contains("tentative");
        wait_until("addresses of the host's", LIMIT, settled).unwrap();
        let [at_host, at_world] = [&host, &world].map(mac);
        Self {
            host,
            world,
            netns,
            inward: Link::new(at_world, at_host),
            outward: Link::new(at_host, at_world),
        }
    }

    fn tap(&self) -> Port {
        let config = TapConfig {
            persistent: true,
            ..TapConfig::new(TAP.parse().unwrap())
        };
        self.host.run(|| Tap::open(config)).unwrap().into_port()
    }

    fn links<T: Send>(&self, work: impl FnOnce(&Links) -> T + Send) -> T {
        let run = self
            .netns
            .run(|inside| Ok::<_, host::Error>(work(&inside.links()?)));
        run.unwrap()
    }

    fn open(&self, captures: &Captures) -> Uplink {
        let config = UplinkConfig {
            nic: NIC,
            tap: TAP,
            captures,
            reserve: &[50_000..=60_000],
        };
        self.links(|links| Uplink::open(links, &config)).unwrap()
    }

    fn close(&self, uplink: &Uplink) {
        let left_behind = self.links(|links| uplink.close(links));
        assert!(left_behind.is_empty(), "{left_behind:?}");
    }

    /// A packet socket on the world's end of the wire.
    fn wire(&self) -> Port {
        self.world
            .run(|| packet::open(&"eth0".parse().unwrap()))
            .unwrap()
    }

    fn inward(&self, version: usize) -> Packet {
        let link = self.inward.clone();
        [link.clone().ipv4(WORLD4, HOST4), link.ipv6(WORLD6, HOST6)][version].clone()
    }

    fn outward(&self, version: usize) -> Packet {
        let link = self.outward.clone();
        [link.clone().ipv4(HOST4, WORLD4), link.ipv6(HOST6, WORLD6)][version].clone()
    }

    fn tc(&self, words: &str) {
        let words: Vec<_> = words.split_whitespace().collect();
        self.host.output("tc", &words).unwrap();
    }

    /// Everything that an uplink could leave behind in the host's namespace.
    fn footprint(&self) -> String {
        let show = |program: &str, words: &str| {
            let words: Vec<_> = words.split_whitespace().collect();
            self.host.output(program, &words).unwrap()
        };
        [
            show("tc", "qdisc show"),
            show("tc", "filter show dev eth0 ingress"),
            show("tc", "filter show dev eth0 egress"),
            show("ip", "-o link show"),
            show("ip", "-o address show"),
            show("ip", "route show table all"),
            show("ip", "-6 route show table all"),
            show("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"),
        ]
        .join("---\n")
    }

    /// Resets that the host's stack sent.
    fn resets(&self) -> u64 {
        let text = self.host.output("cat", &["/proc/net/snmp"]).unwrap();
        let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
        let [names, values] = [(); 2].map(|()| tcp.next().unwrap().split_whitespace());
        let resets = names.zip(values).find(|(name, _)| *name == "OutRsts");
        resets.unwrap().1.parse().unwrap()
    }
}

fn mac(namespace: &Namespace) -> MacAddr {
    let text = namespace.output("cat", &["/proc/net/dev"]).unwrap();
    assert!(text.contains("eth0"), "{text}");
    let line = namespace.ip("-o link show eth0").unwrap();
    let at = line.find("link/ether ").unwrap() + "link/ether ".len();
    line[at..at + 17].parse().unwrap()
}

fn captures() -> Captures {
    let range = vec![50_000..=60_000];
    let ports = Ports {
        tcp: range.clone(),
        udp: range.clone(),
        sctp: range.clone(),
        echo: range,
    };
    Captures::at([HOST4.into(), HOST6.into()], &ports)
}

/// The next frame that is `wanted`; others are passed over.
fn next(port: &mut Port, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, VnetHeader) {
    let limits = BatchLimits {
        frames: 1,
        ..BatchLimits::default()
    };
    let (mut batch, end) = (Batch::new(limits), Instant::now() + LIMIT);
    while Instant::now() < end {
        let rx = &mut port.queues[0];
        let mut fds = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(1000u16)).unwrap();
        batch.clear();
        rx.receive(&mut batch).unwrap();
        if !batch.is_empty() {
            let frame = batch.frame(0);
            if wanted(frame.bytes()) {
                return (frame.bytes().to_vec(), frame.vnet);
            }
        }
    }
    panic!("no frame of the wanted kind came within {LIMIT:?}");
}

fn transmit(port: &Port, bytes: &[u8], vnet: VnetHeader) {
    let mut room = vec![0; HEADROOM];
    room.extend_from_slice(bytes);
    let end = room.len();
    port.tx
        .transmit(&mut Frame::new(&mut room, HEADROOM, end, vnet))
        .unwrap();
}

fn is_to(frame: &[u8], port: u16) -> bool {
    let ports = Headers::parse(frame)
        .ok()
        .and_then(|it| it.transport.ports());
    ports.is_some_and(|(_, dst)| dst == port)
}

fn is_syn(frame: &[u8], to: IpAddr) -> bool {
    let headers = Headers::parse(frame).unwrap();
    let dst: Option<IpAddr> = match headers.net {
        Net::Ipv4(ip) => Some(ip.dst.into()),
        Net::Ipv6(ip) => Some(ip.dst.into()),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    };
    let Transport::Tcp(tcp) = headers.transport else {
        return false;
    };
    tcp.flags == TcpFlags::SYN && dst == Some(to)
}

/// Answers the SYN in `frame` as a container's stack would.
fn accept(tap: &Port, answer: &Packet, frame: &[u8]) {
    let headers = Headers::parse(frame).unwrap();
    let Transport::Tcp(syn) = headers.transport else {
        panic!("{headers:?}")
    };
    let segment = TcpSegment {
        src_port: syn.dst_port,
        dst_port: syn.src_port,
        seq: 1000,
        ack: syn.seq.wrapping_add(1),
        flags: TcpFlags::SYN.union(TcpFlags::ACK),
        window: 65_535,
        ..TcpSegment::default()
    };
    transmit(tap, &answer.tcp(segment), VnetHeader::default());
}

/// Connects from the world to a stolen port and has it accepted by way of the TAP.
fn handshake(rig: &Rig, tap: &mut Port, port: u16) {
    for (version, (to, _)) in BOTH.into_iter().enumerate() {
        let client = rig
            .world
            .spawn(move || TcpStream::connect_timeout(&SocketAddr::new(to, port), LIMIT));
        let (syn, _) = next(tap, |frame| is_syn(frame, to));
        accept(tap, &rig.outward(version), &syn);
        client.join().unwrap().unwrap();
    }
}

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
fn an_uplink_outlives_its_process_and_is_taken_over() {
    let rig = Rig::new();
    let before = rig.footprint();
    let tap = rig.tap();
    let first = rig.open(&captures());
    drop(tap);
    // Nobody reads: what is stolen is swallowed, and the host still does not answer.
    let wire = rig.wire();
    let syn = TcpSegment {
        dst_port: STOLEN,
        flags: TcpFlags::SYN,
        ..TcpSegment::default()
    };
    transmit(&wire, &rig.inward(0).tcp(syn), VnetHeader::default());
    assert!(
        ping(&rig.world, &Ping::new(HOST4.into()))
            .unwrap()
            .is_complete()
    );
    assert_eq!(rig.resets(), 0);

    let mut tap = rig.tap();
    let second = rig.open(&captures());
    assert_eq!(second, first);
    handshake(&rig, &mut tap, STOLEN);
    rig.close(&second);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
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

/// Whether `seen` is about the host's own neighbours and is not `frame`.
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

#[test]
fn a_route_of_the_hosts_own_keeps_a_network_away() {
    let rig = Rig::new();
    let _tap = rig.tap();
    rig.host
        .ip("route add 10.1.0.0/16 via 198.51.100.1")
        .unwrap();
    let before = rig.footprint();
    let refused = rig.links(|links| {
        let port = GatewayPort::open(links, TAP, Stack::Host, 1500).unwrap();
        port.add(links, gateway("10.1.0.1/24")).unwrap_err()
    });
    let want =
        "the host has a route into 10.1.0.0/24 already: 10.1.0.0/16 via 198.51.100.1 dev eth0";
    assert_eq!(refused.to_string(), want);
    assert_eq!(rig.host.ip("route show 10.1.0.0/24").unwrap(), "");
    assert!(before.contains("10.1.0.0/16"));
}

fn gateway(net: &str) -> Gateway {
    let net: IpNet = net.parse().unwrap();
    Gateway {
        address: net.addr(),
        subnet: net.trunc(),
    }
}

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const CONTAINER4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const CONTAINER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);

/// Has `port` on the stack that `netns` is, asks it from a container's address of each version,
/// and answers from what address it replied.
fn ask(netns: &Netns, tap: &mut Port, mac: MacAddr, dst_port: u16) {
    let stack = Link::new(ROUTER, mac);
    let questions = [
        stack.clone().ipv4(CONTAINER4, GATEWAY4),
        stack.clone().ipv6(CONTAINER6, GATEWAY6),
    ];
    for (version, question) in questions.into_iter().enumerate() {
        let address: IpAddr = [GATEWAY4.into(), GATEWAY6.into()][version];
        let server = netns
            .run(|_| Ok::<_, host::Error>(UdpSocket::bind((address, dst_port))))
            .unwrap()
            .unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        await_local(netns, address);
        transmit(
            tap,
            &question.udp(4444, dst_port, b"?"),
            VnetHeader::default(),
        );
        let (len, from) = server.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((len, from.port()), (1, 4444));
        server.send_to(b"!", from).unwrap();
        if version == 0 {
            next(tap, |frame| {
                frame[12..14] == [8, 6] && frame[38..42] == CONTAINER4.octets()
            });
            transmit(
                tap,
                &stack.arp_reply(CONTAINER4, GATEWAY4),
                VnetHeader::default(),
            );
        } else {
            next(tap, |frame| {
                frame[20] == 58 && frame[54] == 135 && frame[62..78] == CONTAINER6.octets()
            });
            let advert = stack.neighbour_advert(CONTAINER6, GATEWAY6, CONTAINER6);
            transmit(tap, &advert, VnetHeader::default());
        }
        let (answer, _) = next(tap, |frame| is_to(frame, 4444));
        let headers = Headers::parse(&answer).unwrap();
        assert_eq!((headers.dst, source(&headers)), (ROUTER, Some(address)));
    }
}

/// Waits until what is sent to `address` is taken: the kernel sees to an IPv6 address in the
/// background.
fn await_local(netns: &Netns, address: IpAddr) {
    let is_local = || {
        let routes = netns.run(|inside| inside.links()?.routes()).unwrap();
        let mut to = routes.iter().filter(|it| it.table != Route::MAIN);
        to.any(|it| it.destination == IpNet::from(address))
    };
    wait_until(&format!("{address} on the stack"), LIMIT, is_local).unwrap();
}

fn source(headers: &Headers) -> Option<IpAddr> {
    match headers.net {
        Net::Ipv4(ip) => Some(ip.src.into()),
        Net::Ipv6(ip) => Some(ip.src.into()),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    }
}

#[test]
fn containers_reach_the_host_at_their_gateways() {
    let rig = Rig::new();
    let before = rig.footprint();
    let mut tap = rig.tap();
    let gateways = ["10.1.0.1/24", "2001:db8:1::1/64"].map(gateway);
    let port = rig.links(|links| {
        let port = GatewayPort::open(links, TAP, Stack::Host, 1500).unwrap();
        // Twice changes nothing.
        for gateway in gateways.iter().chain(&gateways) {
            port.add(links, *gateway).unwrap();
        }
        assert_eq!(
            port.addresses(links).unwrap(),
            gateways.map(|it| it.address)
        );
        port
    });
    let mac = rig.links(|links| links.state(TAP)).unwrap().unwrap().mac;
    ask(&rig.netns, &mut tap, MacAddr(mac.try_into().unwrap()), 7000);
    rig.links(|links| {
        for gateway in gateways {
            assert!(port.remove(links, gateway).is_empty());
            assert!(port.remove(links, gateway).is_empty(), "gone is gone");
        }
        links.remove(TAP)
    })
    .unwrap();
    assert_eq!(rig.footprint(), before);
}

#[test]
fn the_daemons_servers_answer_in_a_namespace_of_their_own() {
    let services = host::Private::new().unwrap();
    let (mut tap, mac) = services
        .run(|inside| {
            let tap = Tap::open(TapConfig::new("services".parse().unwrap())).unwrap();
            let links = inside.links()?;
            let port = GatewayPort::open(&links, "services", Stack::Services, 1500)?;
            for net in ["10.1.0.1/24", "2001:db8:1::1/64"] {
                port.add(&links, gateway(net)).unwrap();
            }
            let mac = links.state("services")?.unwrap().mac;
            Ok::<_, host::Error>((tap.into_port(), MacAddr(mac.try_into().unwrap())))
        })
        .unwrap();
    ask(services.netns(), &mut tap, mac, 53);
}

#[test]
fn what_a_dead_daemon_left_is_seen_and_undone() {
    let rig = Rig::new();
    rig.host
        .output(
            "sysctl",
            &["-qw", "net.ipv4.ip_local_reserved_ports=55000-55010,8080"],
        )
        .unwrap();
    let before = rig.footprint();
    let config = TapConfig {
        persistent: true,
        ..TapConfig::new("cw-host".parse().unwrap())
    };
    let ports = [
        rig.tap(),
        rig.host.run(|| Tap::open(config)).unwrap().into_port(),
    ];
    rig.open(&captures());
    rig.links(|links| {
        let port = GatewayPort::open(links, "cw-host", Stack::Host, 1500).unwrap();
        for net in ["10.1.0.1/24", "2001:db8:1::1/64"] {
            port.add(links, gateway(net)).unwrap();
        }
    });
    drop(ports);

    let findings = rig.links(doctor::inspect).unwrap();
    let seen: Vec<_> = findings
        .iter()
        .map(|it| format!("{}: {}", it.at, it.what))
        .collect();
    for want in [
        "eth0: filter: packets for containers go to the uplink's TAP",
        "eth0: filter: packets for both go to the uplink's TAP too",
        "eth0: qdisc clsact",
        "cw-uplink: filter: everything goes out by the uplink's NIC",
        "net.ipv4.ip_local_reserved_ports: reserved ports 50000-54999,55011-60000",
        "cw-uplink: interface: clearway uplink of eth0, reserved ports 50000-54999,55011-60000",
        "cw-host: interface: clearway host port",
        "cw-host: address 10.1.0.1/32",
        "cw-host: address 2001:db8:1::1/128",
        "cw-host: route 10.1.0.0/24 dev cw-host",
        "cw-host: route 2001:db8:1::/64 dev cw-host",
    ] {
        assert!(seen.iter().any(|it| it == want), "{want} in {seen:#?}");
    }
    let left = rig.links(|links| doctor::clean(links, &findings));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(rig.footprint(), before);
    assert_eq!(rig.links(doctor::inspect).unwrap(), []);
}

#[test]
fn the_commands_that_a_finding_names_undo_it() {
    let rig = Rig::new();
    let before = rig.footprint();
    let _tap = rig.tap();
    rig.open(&captures());
    for finding in rig.links(doctor::inspect).unwrap() {
        let words: Vec<_> = finding.undo.split(' ').collect();
        rig.host.output(words[0], &words[1..]).unwrap();
    }
    assert_eq!(rig.footprint(), before);
}

#[test]
fn what_others_put_there_stays() {
    let rig = Rig::new();
    rig.tc("qdisc add dev eth0 clsact");
    rig.tc(
        "filter add dev eth0 ingress prio 100 protocol ip u32 match ip dport 9 0xffff \
            action mirred egress mirror dev lo",
    );
    let before = rig.footprint();
    let _tap = rig.tap();
    let uplink = rig.open(&captures());
    rig.close(&uplink);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
}

#[test]
fn a_long_program_can_be_found_and_removed() {
    let rig = Rig::new();
    let before = rig.footprint();
    let mut tap = rig.tap();
    let mut captures = captures();
    captures.addresses[0]
        .1
        .tcp
        .extend((0..800).map(|n| 10_000 + 3 * n..=10_000 + 3 * n));
    let uplink = rig.open(&captures);
    assert!(rig.links(|links| uplink.is_in_place(links)).unwrap());
    handshake(&rig, &mut tap, STOLEN);
    // The kernel describes what goes to whoever listens.
    let mut monitor = rig.host.command("tc");
    monitor.arg("monitor").stdout(Stdio::null());
    let _listening = Child::spawn(&mut monitor).unwrap();
    let listening = || {
        let sockets = rig.host.output("cat", &["/proc/net/netlink"]).unwrap();
        sockets.lines().skip(1).any(|line| {
            let groups = line.split_whitespace().nth(3).unwrap();
            u32::from_str_radix(groups, 16).unwrap() & RTNLGRP_TC != 0
        })
    };
    wait_until("a listener", LIMIT, listening).unwrap();
    rig.close(&uplink);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
}
