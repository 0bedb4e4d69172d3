//! A namespace that stands for the host, one for the world, a veth pair for the NIC and its wire.

use host::{Captures, Links, NamespaceRef, Netns, Ports, Uplink, UplinkConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pipeline::{Batch, BatchLimits, Destination, Frame, HEADROOM};
use port::tap::{Tap, TapConfig};
use port::{Port, packet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, link, wait_until};
use wire::craft::{Link, Packet, TcpSegment};
use wire::{Headers, MacAddr, Net, TcpFlags, Transport, VnetHeader};

pub(super) const NIC: &str = "eth0";
pub(super) const TAP: &str = "cw-uplink";
pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) const HOST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(super) const WORLD4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(super) const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const BOTH: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(HOST4), IpAddr::V4(WORLD4)),
    (IpAddr::V6(HOST6), IpAddr::V6(WORLD6)),
];
/// One of ours.
pub(super) const STOLEN: u16 = 50_000;

pub(super) struct Rig {
    pub(super) host: Namespace,
    pub(super) world: Namespace,
    pub(super) netns: Netns,
    /// The link as a frame from the world to the host sees it.
    pub(super) inward: Link,
    pub(super) outward: Link,
}

impl Rig {
    pub(super) fn new() -> Self {
        let [host, world] = [(); 2].map(|()| Namespace::new().unwrap());
        for namespace in [&host, &world] {
            // Nobody asks for a second whether an address is taken.
            let at_once = ["-qw", "net.ipv6.conf.default.accept_dad=0"];
            namespace.output("sysctl", &at_once).unwrap();
        }
        link::veth(&host, NIC, &world, "eth0").unwrap();
        for (ns, [v4, v6]) in [
            (&host, ["198.51.100.2/24", "2001:db8::2/64"]),
            (&world, ["198.51.100.1/24", "2001:db8::1/64"]),
        ] {
            link::address(ns, "eth0", v4).unwrap();
            link::address(ns, "eth0", v6).unwrap();
        }
        let netns = Netns::find(NamespaceRef::Path(host.path())).unwrap();
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

    pub(super) fn tap(&self) -> Port {
        let config = TapConfig {
            persistent: true,
            ..TapConfig::new(TAP.parse().unwrap())
        };
        self.host.run(|| Tap::open(config)).unwrap().into_port()
    }

    pub(super) fn links<T: Send>(&self, work: impl FnOnce(&Links) -> T + Send) -> T {
        let run = self
            .netns
            .run(|inside| Ok::<_, host::Error>(work(&inside.links()?)));
        run.unwrap()
    }

    pub(super) fn open(&self, captures: &Captures) -> Uplink {
        let config = UplinkConfig {
            nic: NIC,
            tap: TAP,
            captures,
            reserve: &[50_000..=60_000],
        };
        self.links(|links| Uplink::open(links, &config)).unwrap()
    }

    pub(super) fn close(&self, uplink: &Uplink) {
        let left_behind = self.links(|links| uplink.close(links));
        assert!(left_behind.is_empty(), "{left_behind:?}");
    }

    /// A packet socket on the world's end of the wire.
    pub(super) fn wire(&self) -> Port {
        self.world
            .run(|| packet::open(&"eth0".parse().unwrap()))
            .unwrap()
    }

    pub(super) fn inward(&self, version: usize) -> Packet {
        let link = self.inward.clone();
        [link.clone().ipv4(WORLD4, HOST4), link.ipv6(WORLD6, HOST6)][version].clone()
    }

    pub(super) fn outward(&self, version: usize) -> Packet {
        let link = self.outward.clone();
        [link.clone().ipv4(HOST4, WORLD4), link.ipv6(HOST6, WORLD6)][version].clone()
    }

    pub(super) fn tc(&self, words: &str) {
        let words: Vec<_> = words.split_whitespace().collect();
        self.host.output("tc", &words).unwrap();
    }

    /// Everything that an uplink could leave behind in the host's namespace.
    pub(super) fn footprint(&self) -> String {
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
    pub(super) fn resets(&self) -> u64 {
        let text = self.host.output("cat", &["/proc/net/snmp"]).unwrap();
        let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
        let [names, values] = [(); 2].map(|()| tcp.next().unwrap().split_whitespace());
        let resets = names.zip(values).find(|(name, _)| *name == "OutRsts");
        resets.unwrap().1.parse().unwrap()
    }
}

pub(super) fn mac(namespace: &Namespace) -> MacAddr {
    let text = namespace.output("cat", &["/proc/net/dev"]).unwrap();
    assert!(text.contains("eth0"), "{text}");
    let line = namespace.ip("-o link show eth0").unwrap();
    let at = line.find("link/ether ").unwrap() + "link/ether ".len();
    line[at..at + 17].parse().unwrap()
}

pub(super) fn captures() -> Captures {
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
pub(super) fn next(port: &mut Port, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, VnetHeader) {
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

pub(super) fn transmit(port: &Port, bytes: &[u8], vnet: VnetHeader) {
    let mut room = vec![0; HEADROOM];
    room.extend_from_slice(bytes);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, vnet);
    port.tx
        .transmit(&mut frame, Destination::default())
        .unwrap();
}

pub(super) fn is_to(frame: &[u8], port: u16) -> bool {
    let ports = Headers::parse(frame)
        .ok()
        .and_then(|it| it.transport.ports());
    ports.is_some_and(|(_, dst)| dst == port)
}

pub(super) fn is_syn(frame: &[u8], to: IpAddr) -> bool {
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
pub(super) fn accept(tap: &Port, answer: &Packet, frame: &[u8]) {
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
pub(super) fn handshake(rig: &Rig, tap: &mut Port, port: u16) {
    for (version, (to, _)) in BOTH.into_iter().enumerate() {
        let client = rig
            .world
            .spawn(move || TcpStream::connect_timeout(&SocketAddr::new(to, port), LIMIT));
        let (syn, _) = next(tap, |frame| is_syn(frame, to));
        accept(tap, &rig.outward(version), &syn);
        client.join().unwrap().unwrap();
    }
}
