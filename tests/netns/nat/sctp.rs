//! SCTP, made by hand: a kernel without it can tell whether its packets arrive whole.
//!
//! An INIT and its INIT ACK (RFC 9260, 3.3.2 and 3.3.3) over raw sockets, their checksum computed
//! here, bit by bit; nmap's INIT scan is the second judge.

use super::{HOST, Outside, WORLD, at};
use crate::fixture::SOON;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testbed::Namespace;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// One chunk in a packet, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    source: u16,
    destination: u16,
    /// Verification tag.
    tag: u32,
    chunk: u8,
    /// Initiate tag: the tag of what is to come back.
    initiate: u32,
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        // Type, flags, length; initiate tag, window, streams out and in, first TSN.
        bytes.extend([self.chunk, 0, 0, 20]);
        bytes.extend(self.initiate.to_be_bytes());
        bytes.extend(65_536_u32.to_be_bytes());
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(1_u32.to_be_bytes());
        let sum = crc32c(&bytes).to_le_bytes();
        bytes[8..12].copy_from_slice(&sum);
        bytes
    }

    /// Nothing for what is no such packet, or damaged.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.to_vec();
        let sum = u32::from_le_bytes(bytes.get(8..12)?.try_into().unwrap());
        bytes[8..12].fill(0);
        let two = |at: usize| {
            Some(u16::from_be_bytes(
                bytes.get(at..at + 2)?.try_into().unwrap(),
            ))
        };
        let four = |at: usize| {
            Some(u32::from_be_bytes(
                bytes.get(at..at + 4)?.try_into().unwrap(),
            ))
        };
        let packet = Self {
            source: two(0)?,
            destination: two(2)?,
            tag: four(4)?,
            chunk: *bytes.get(12)?,
            initiate: four(16)?,
        };
        (sum == crc32c(&bytes)).then_some(packet)
    }
}

/// RFC 9260, appendix A: the polynomial 0x1EDC6F41, reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// A raw socket for SCTP of the family of `like`.
fn raw(ns: &Namespace, like: IpAddr) -> UdpSocket {
    let domain = Domain::for_address(at(like, 0));
    let sctp = Protocol::from(132);
    let socket = ns.run(|| Socket::new(domain, Type::RAW, Some(sctp)).unwrap());
    let socket = UdpSocket::from(socket);
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    socket
}

/// The next whole packet for `port` and who sent it.
fn receive(socket: &UdpSocket, port: u16, limit: Duration) -> io::Result<(Packet, IpAddr)> {
    let start = Instant::now();
    let mut room = [0; 2048];
    while start.elapsed() < limit {
        let Ok((len, from)) = socket.recv_from(&mut room) else {
            continue;
        };
        // A raw socket shows the header of IPv4 and not that of IPv6.
        let header = if from.is_ipv4() {
            usize::from(room[0] & 15) * 4
        } else {
            0
        };
        match Packet::parse(&room[header..len]) {
            Some(packet) if packet.destination == port => return Ok((packet, from.ip())),
            Some(_) | None => {}
        }
    }
    Err(ErrorKind::TimedOut.into())
}

fn send(socket: &UdpSocket, packet: Packet, to: IpAddr) {
    socket
        .send_to(&packet.bytes(), SocketAddr::new(to, 0))
        .unwrap();
}

/// The answer to an INIT.
fn accepting(init: Packet) -> Packet {
    Packet {
        source: init.destination,
        destination: init.source,
        tag: init.initiate,
        chunk: INIT_ACK,
        initiate: 0x0a0b_0c0d,
    }
}

const CALL: Packet = Packet {
    source: 40_123,
    destination: 36_412,
    tag: 0,
    chunk: INIT,
    initiate: 0x0102_0304,
};

#[test]
fn the_checksum_is_that_of_the_rfc() {
    // RFC 3720, B.4: 32 bytes of zeroes; of ones.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
}

#[test]
fn an_association_begins_through_masquerade() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for (world, host) in WORLD.into_iter().zip(HOST) {
        let (inside, far) = (raw(&container.ns, world), raw(&outside.world, world));
        send(&inside, CALL, world);
        let (init, from) = receive(&far, CALL.destination, SOON).unwrap();
        assert_eq!(from, host);
        assert!(
            init.source >= 49_152,
            "{init:?} has one of the uplink's ports"
        );
        assert_eq!(
            init,
            Packet {
                source: init.source,
                ..CALL
            }
        );
        send(&far, accepting(init), from);
        let (ack, from) = receive(&inside, CALL.source, SOON).unwrap();
        assert_eq!((ack, from), (accepting(CALL), world));
        // Another port of the same peer's has nothing to say (RFC 4787, 5).
        let stranger = Packet {
            source: 9,
            ..accepting(init)
        };
        send(&far, stranger, host);
        send(&far, accepting(init), host);
        let (next, _) = receive(&inside, CALL.source, SOON).unwrap();
        assert_eq!(next, accepting(CALL));
    }
}

#[test]
fn an_association_begins_at_a_published_port() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    outside.publish("9000:shop:36412/sctp");
    for (index, (world, host)) in WORLD.into_iter().zip(HOST).enumerate() {
        let (inside, far) = (raw(&shop.ns, world), raw(&outside.world, world));
        let call = Packet {
            destination: 9000,
            ..CALL
        };
        send(&far, call, host);
        let (init, from) = receive(&inside, CALL.destination, SOON).unwrap();
        assert_eq!((init, from), (CALL, world), "the world is seen as itself");
        send(&inside, accepting(init), from);
        let (ack, from) = receive(&far, CALL.source, SOON).unwrap();
        assert_eq!((ack, from), (accepting(call), host), "{index}");
    }
}

#[test]
fn nmap_finds_a_published_sctp_port_open() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    outside.publish("9000:shop:36412/sctp");
    for (host, family) in HOST.into_iter().zip([&[][..], &["-6"]]) {
        let inside = raw(&shop.ns, host);
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let answering = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let short = Duration::from_millis(200);
                if let Ok((init, from)) = receive(&inside, CALL.destination, short) {
                    send(&inside, accepting(init), from);
                }
            }
        });
        let to = host.to_string();
        let words = [&["-n", "-Pn", "-sY", "-p", "9000"], family, &[&to]].concat();
        let report = outside.world.output("nmap", &words).unwrap();
        done.store(true, Ordering::Relaxed);
        answering.join().unwrap();
        assert!(report.contains("9000/sctp open"), "{report}");
    }
}
