//! Hosts played by the test itself, raw frames out and raw frames in, on a plain TAP: one without a
//! virtio header and without offloads, as old hypervisors and simple tools have. What a packet port
//! makes of its frames can be compared byte by byte, which no stack's traffic allows.

use crate::fixture::{Clearway, SOON};
use pipeline::{Batch, BatchLimits, Destination, DropReason, Frame, HEADROOM, MAX_FRAME};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, link, wait_until};
use tun_tap::{Iface, Mode};
use wire::checksum::{Verified, verify_ipv4, verify_transport};
use wire::craft::{Link, TcpSegment};
use wire::{
    Arp, EtherType, Headers, Icmp, Ipv4, MacAddr, Net, Tcp, TcpFlags, Transport, VlanTag,
    VnetHeader,
};

const TAP: &str = "tap0";
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x98]);
/// An EtherType for experiments (IEEE 802): no kernel looks behind it.
const EXPERIMENT: EtherType = EtherType(0x88b5);
/// The TAP's MTU, and the Ethernet header before it.
const MTU: usize = 1500;
const HEADER: usize = 14;

const CUSTOMER: VlanTag = VlanTag {
    tpid: VlanTag::CTAG,
    tci: 0x6007,
};
const PRIORITY: VlanTag = VlanTag {
    tpid: VlanTag::CTAG,
    tci: 0xe000,
};
const SERVICE: VlanTag = VlanTag {
    tpid: VlanTag::STAG,
    tci: 0x1064,
};

/// Without a tag, with each kind of tag, with two and with more than anybody looks at.
const TAGS: [&[VlanTag]; 6] = [
    &[],
    &[CUSTOMER],
    &[PRIORITY],
    &[SERVICE],
    &[SERVICE, CUSTOMER],
    &[SERVICE, CUSTOMER, PRIORITY],
];

#[test]
fn frames_of_every_size_arrive_at_a_packet_port_as_they_were_sent() {
    let namespace = Namespace::new().unwrap();
    let station = Station::on(&namespace);
    let mut port = packet_port(&namespace);
    for tags in TAGS {
        // Runts that no Ethernet card would send, either side of the shortest and the longest frame
        // of the standard, and the longest packet there is, for which three tags leave no room.
        let longest = if tags.len() < 3 { 65_535 } else { 65_000 };
        for len in [2, 3, 45, 46, 47, 1499, 1500, 1501, 9000, longest] {
            let frame = tagged(tags).raw(EXPERIMENT, &pattern(len));
            station.send(&frame);
            assert!(port.next() == frame, "{len} bytes behind {tags:?}");
        }
    }
    for len in [0, 1] {
        let frame = tagged(&[]).raw(EXPERIMENT, &pattern(len));
        station.send(&frame);
        assert_eq!(port.next(), frame);
    }
    let too_long = tagged(TAGS[5]).raw(EXPERIMENT, &pattern(65_535));
    station.send(&too_long);
    assert_eq!(port.next().len(), MAX_FRAME, "cut, and told by its length");
}

#[test]
fn frames_that_are_no_good_arrive_at_a_packet_port_as_they_were_sent() {
    let namespace = Namespace::new().unwrap();
    let station = Station::on(&namespace);
    let mut port = packet_port(&namespace);
    let packet = tagged(&[]).ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let sound = packet.udp(1, 2, b"sound");
    let damaged = |at: usize, byte: u8| {
        let mut frame = sound.clone();
        assert_ne!(frame[at], byte);
        frame[at] = byte;
        frame
    };
    let from = |src| Link::new(src, PEER).raw(EXPERIMENT, &pattern(46));
    for (what, frame) in [
        ("an IP version that is none", damaged(HEADER, 0x95)),
        ("a total length beyond the frame", damaged(HEADER + 2, 0xff)),
        ("a wrong header checksum", damaged(HEADER + 10, 0xaa)),
        ("a wrong UDP checksum", damaged(HEADER + 26, 0xaa)),
        (
            "half an IPv6 header",
            tagged(&[]).raw(EtherType::IPV6, &pattern(20)),
        ),
        (
            "half an ARP message",
            tagged(&[]).raw(EtherType::ARP, &pattern(14)),
        ),
        (
            "a length instead of a type",
            tagged(&[]).raw(EtherType(46), &pattern(46)),
        ),
        ("a source that is a group", from(MacAddr::BROADCAST)),
        ("a source that is nobody", from(MacAddr::ZERO)),
        ("a source that is its destination", from(PEER)),
    ] {
        station.send(&frame);
        assert_eq!(port.next(), frame, "{what}");
    }
}

/// The kernel refuses less than an Ethernet header and throws away less than two bytes behind a
/// tag, before a port could see them.
#[test]
fn what_the_kernel_cannot_read_never_reaches_a_packet_port() {
    let namespace = Namespace::new().unwrap();
    let station = Station::on(&namespace);
    let mut port = packet_port(&namespace);
    let frame = tagged(&[CUSTOMER]).raw(EXPERIMENT, &pattern(46));
    for len in [1, 13] {
        let refused = station.tap.send(&frame[..len]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{len} bytes");
    }
    for len in HEADER..HEADER + 6 {
        station.send(&frame[..len]);
    }
    station.send(&frame);
    assert_eq!(port.next(), frame, "the first one that is whole");
}

#[test]
fn what_a_packet_port_sends_arrives_as_it_was_sent() {
    let namespace = Namespace::new().unwrap();
    let station = Station::on(&namespace);
    let port = packet_port(&namespace);
    let ours = |frame: &[u8]| (frame.get(6..12) == Some(&MAC.0)).then(|| frame.to_vec());
    for tags in TAGS {
        for len in [0, 1, 45, 46, 47, MTU - 12] {
            let frame = tagged(tags).raw(EXPERIMENT, &pattern(len));
            assert_eq!(port.transmit(&frame), Ok(()));
            let arrived = station.next("the frame that was sent", ours);
            assert!(arrived == frame, "{len} bytes behind {tags:?}");
        }
    }
    // A customer tag is not counted to what the MTU allows, a service tag is.
    for (tags, extra) in [(&[][..], 0), (&[CUSTOMER], 0), (&[SERVICE], 4)] {
        let largest = tagged(tags).raw(EXPERIMENT, &pattern(MTU - extra));
        assert_eq!(port.transmit(&largest), Ok(()), "{tags:?}");
        assert!(station.next("the largest frame", ours) == largest);
        let larger = tagged(tags).raw(EXPERIMENT, &pattern(MTU - extra + 1));
        let refused = port.transmit(&larger);
        assert_eq!(refused, Err(DropReason::TxRefused), "{tags:?}");
    }
}

#[test]
fn a_hand_made_host_and_a_container_find_and_ping_each_other() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let station = Station::on(&clearway.host);
    clearway.packet_port("plain", TAP, |p| p.network = Some(net.clone()));
    let a = clearway.container(&net);
    let (mac, ip) = (MacAddr(a.endpoint.mac.0), ipv4(&a.endpoint));

    station.send(&Link::new(MAC, MacAddr::BROADCAST).arp_request(STATION, ip));
    let answer = station.next("an ARP answer", |frame| {
        (sound(frame)?.ethertype == EtherType::ARP).then(|| frame.to_vec())
    });
    assert_eq!(
        answer,
        Link::new(mac, MAC).arp_reply(ip, STATION),
        "28 bytes, and no padding behind them"
    );
    for len in [0, 1, 57, 1472] {
        let packet = Link::new(MAC, mac).ipv4(STATION, ip);
        station.send(&packet.echo_request(7, 8, &pattern(len)));
        let echoed = station.next("an echo reply", |frame| {
            let headers = sound(frame)?;
            is_echo(&headers, Icmp::ECHO_REPLY).then(|| payload(frame, &headers).to_vec())
        });
        assert!(echoed == pattern(len), "{len} bytes");
    }

    let four = Ping {
        count: 4,
        ..Ping::new(STATION.into())
    };
    std::thread::scope(|scope| {
        let pinging = scope.spawn(|| ping(&a.ns, &four).unwrap());
        wait_until("the end of four pings", SOON, || {
            station.answer_what_waits();
            pinging.is_finished()
        })
        .unwrap();
        assert!(pinging.join().unwrap().is_complete());
    });
}

/// What a container leaves undone is done before a host sees it that can do none of it.
#[test]
fn a_hand_made_host_gets_a_containers_superframes_cut_and_summed() {
    const PORT: u16 = 7000;
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let station = Station::on(&clearway.host);
    clearway.packet_port("plain", TAP, |p| p.network = Some(net.clone()));
    let a = clearway.container(&net);
    let sent = pattern(50_000);
    let received = std::thread::scope(|scope| {
        scope.spawn(|| {
            a.ns.run(|| {
                let mut stream = TcpStream::connect((STATION, PORT)).unwrap();
                stream.write_all(&sent).unwrap();
            });
        });
        station.receive_tcp(PORT)
    });
    assert!(received.data == sent);
    let counters = clearway.client().port(&a.endpoint.port).unwrap().counters;
    assert!(
        counters.rx_frames < received.segments,
        "no superframe among {} frames, which became {} segments",
        counters.rx_frames,
        received.segments
    );
}

/// Where the hand-made host is in the network of the containers.
const STATION: Ipv4Addr = Ipv4Addr::new(10, 10, 99, 1);

/// A host with a plain TAP for a network card.
struct Station {
    tap: Iface,
}

/// What came over a TCP connection, and in how many segments with data.
struct Received {
    data: Vec<u8>,
    segments: u64,
}

impl Station {
    /// A host whose cable ends as the interface `TAP` in `namespace`. The kernel at that end has no
    /// address and says nothing of its own.
    fn on(namespace: &Namespace) -> Self {
        let tap = namespace
            .run(|| Iface::without_packet_info(TAP, Mode::Tap))
            .unwrap();
        tap.set_non_blocking().unwrap();
        let mtu = format!("link set {TAP} mtu {MTU} addrgenmode none");
        namespace.ip(&mtu).unwrap();
        namespace.ip(&format!("link set {TAP} up")).unwrap();
        link::await_carrier(namespace, TAP).unwrap();
        Self { tap }
    }

    fn send(&self, frame: &[u8]) {
        assert_eq!(self.tap.send(frame).unwrap(), frame.len());
    }

    fn recv(&self) -> Option<Vec<u8>> {
        let mut room = vec![0; 1 << 16];
        match self.tap.recv(&mut room) {
            Ok(len) => {
                room.truncate(len);
                Some(room)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                None
            }
        }
    }

    /// Returns what `wanted` finds in the first frame in which it finds something.
    fn next<T>(&self, what: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut found = None;
        wait_until(what, SOON, || {
            while found.is_none()
                && let Some(frame) = self.recv()
            {
                found = wanted(&frame);
            }
            found.is_some()
        })
        .unwrap();
        found.unwrap()
    }

    fn answer_what_waits(&self) {
        while let Some(frame) = self.recv() {
            if let Some(answer) = answer(&frame) {
                self.send(&answer);
            }
        }
    }

    /// Takes one connection to `port` and all that is sent over it; a segment out of order is left
    /// to be sent again.
    fn receive_tcp(&self, port: u16) -> Received {
        let mut received = Received {
            data: Vec::new(),
            segments: 0,
        };
        let (mut start, mut ended) = (0u32, false);
        wait_until("the end of the connection", SOON, || {
            while let Some(frame) = self.recv() {
                if let Some(answer) = answer(&frame) {
                    self.send(&answer);
                }
                let Some((headers, ip, tcp)) = segment(&frame, port) else {
                    continue;
                };
                let mut reply = TcpSegment {
                    src_port: port,
                    dst_port: tcp.src_port,
                    seq: 1,
                    window: u16::MAX,
                    flags: TcpFlags::ACK,
                    ..TcpSegment::default()
                };
                if tcp.flags.contains(TcpFlags::SYN) {
                    start = tcp.seq.wrapping_add(1);
                    reply.flags = reply.flags.union(TcpFlags::SYN);
                    // The maximum segment size (RFC 9293, 3.7.1) of an MTU of 1500.
                    (reply.seq, reply.options) = (0, &[2, 4, 0x05, 0xb4]);
                } else if tcp.seq == received.next(start) {
                    let data = payload(&frame, &headers);
                    received.data.extend_from_slice(data);
                    received.segments += u64::from(!data.is_empty());
                    ended |= tcp.flags.contains(TcpFlags::FIN);
                }
                reply.ack = received.next(start).wrapping_add(ended.into());
                let back = Link::new(MAC, headers.src).ipv4(ip.dst, ip.src);
                self.send(&back.tcp(reply));
            }
            ended
        })
        .unwrap();
        received
    }
}

impl Received {
    /// The sequence number of what is still to come on a connection whose data begin at `start`.
    fn next(&self, start: u32) -> u32 {
        start.wrapping_add(u32::try_from(self.data.len()).unwrap())
    }
}

/// The answer of a host at `STATION` to an ARP question or a ping.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let headers = sound(frame)?;
    let back = Link::new(MAC, headers.src);
    if let Net::Arp(arp) = headers.net {
        let asked = arp.operation == Arp::REQUEST && arp.target_ip == STATION;
        return asked.then(|| back.arp_reply(STATION, arp.sender_ip));
    }
    let (Net::Ipv4(ip), Transport::Icmp(icmp)) = (headers.net, headers.transport) else {
        return None;
    };
    let at = usize::from(icmp.offset);
    let sequence = u16::from_be_bytes([frame[at + 6], frame[at + 7]]);
    is_echo(&headers, Icmp::ECHO_REQUEST).then(|| {
        let packet = back.ipv4(STATION, ip.src);
        packet.echo_reply(icmp.id.unwrap(), sequence, payload(frame, &headers))
    })
}

/// The headers of a frame to this host or to everybody. It is no longer than the MTU allows and
/// each of its checksums is finished.
fn sound(frame: &[u8]) -> Option<Headers> {
    let headers = Headers::parse(frame).unwrap();
    assert!(frame.len() <= HEADER + MTU, "{} bytes", frame.len());
    assert_ne!(verify_ipv4(frame, &headers), Verified::Wrong, "{headers:?}");
    assert_ne!(
        verify_transport(frame, &headers),
        Verified::Wrong,
        "{headers:?}"
    );
    (headers.dst == MAC || headers.dst.is_broadcast()).then_some(headers)
}

fn segment(frame: &[u8], port: u16) -> Option<(Headers, Ipv4, Tcp)> {
    let headers = sound(frame)?;
    let (Net::Ipv4(ip), Transport::Tcp(tcp)) = (headers.net, headers.transport) else {
        return None;
    };
    (tcp.dst_port == port).then_some((headers, ip, tcp))
}

fn is_echo(headers: &Headers, kind: u8) -> bool {
    matches!(headers.transport, Transport::Icmp(icmp) if icmp.kind == kind)
}

fn payload<'f>(frame: &'f [u8], headers: &Headers) -> &'f [u8] {
    &frame[headers.header_len()..][..headers.payload_len()]
}

fn tagged(tags: &[VlanTag]) -> Link {
    tags.iter().fold(Link::new(MAC, PEER), |l, &tag| l.tag(tag))
}

/// Bytes of which no two runs are alike for long.
fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn ipv4(endpoint: &api::Endpoint) -> Ipv4Addr {
    let ipv4 = endpoint.addresses.iter().find_map(|net| match net.addr() {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    });
    ipv4.unwrap()
}

/// A packet port on `TAP`, used without a switch.
struct PacketPort {
    port: port::Port,
    batch: Batch,
}

fn packet_port(namespace: &Namespace) -> PacketPort {
    let port = namespace
        .run(|| port::packet::open(&TAP.parse().unwrap()))
        .unwrap();
    let limits = BatchLimits {
        frames: 1,
        ..BatchLimits::default()
    };
    PacketPort {
        port,
        batch: Batch::new(limits),
    }
}

impl PacketPort {
    /// The next frame, of which nothing is left undone.
    fn next(&mut self) -> Vec<u8> {
        self.batch.clear();
        wait_until("a frame", SOON, || {
            self.port.queues[0].receive(&mut self.batch).unwrap();
            !self.batch.is_empty()
        })
        .unwrap();
        let frame = self.batch.frame(0);
        assert_eq!(frame.vnet, VnetHeader::default());
        frame.bytes().to_vec()
    }

    fn transmit(&self, bytes: &[u8]) -> Result<(), DropReason> {
        let mut room = [&[0; HEADROOM], bytes].concat();
        let end = room.len();
        let mut frame = Frame::new(&mut room, HEADROOM, end, VnetHeader::default());
        self.port.tx.transmit(&mut frame, Destination::default())
    }
}
