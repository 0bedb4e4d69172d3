//! An uplink on the real kernel: a namespace that stands for the host, one for the world, a veth
//! pair between them for the NIC and its wire.

use host::{Captures, Links, Netns, Place, Ports, Uplink, UplinkConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pipeline::{Batch, BatchLimits, Frame, HEADROOM};
use port::tap::{Tap, TapConfig};
use port::{Port, packet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::{Child, Namespace, link, wait_until};
use wire::craft::{self, Link, Packet, TcpSegment};
use wire::{Headers, MacAddr, Net, TcpFlags, Transport, VnetHeader};

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
    let uplink = rig.open(&captures());
    let done = AtomicBool::new(false);
    let updates = std::thread::scope(|scope| {
        let updating = scope.spawn(|| {
            rig.links(|links| {
                let mut updates = 0u16;
                while !done.load(Ordering::Relaxed) {
                    let mut captures = captures();
                    captures.addresses[0]
                        .1
                        .udp
                        .push(updates % 40_000..=updates % 40_000);
                    uplink.update(links, &captures).unwrap();
                    updates += 1;
                }
                updates
            })
        });
        for round in 0..300u32 {
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
        }
        done.store(true, Ordering::Relaxed);
        updating.join().unwrap()
    });
    assert!(updates > 10, "{updates}");
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
fn what_others_put_there_stays() {
    let rig = Rig::new();
    rig.host
        .output("tc", &["qdisc", "add", "dev", NIC, "clsact"])
        .unwrap();
    let foreign = "filter add dev eth0 ingress prio 100 protocol ip u32 match ip dport 9 0xffff action mirred egress mirror dev lo";
    rig.host
        .output("tc", &foreign.split_whitespace().collect::<Vec<_>>())
        .unwrap();
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
    // The kernel describes what goes to whoever listens, and fails when it does not fit.
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
