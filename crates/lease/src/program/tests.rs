//! The program against a model that says the same in other words.

use super::*;
use crate::source;
use bpf::interpreter::{Interpreter, Outcome, Packet, Redirect};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use wire::{Headers, Net, Transport};

pub(super) const ROOM: Room = Room {
    leases: 16,
    flows: 16,
    grants: 4,
    ports: 16,
};
const PORT: u32 = 4;
const TAP: u32 = 40;
/// A NIC has none.
pub(super) const TAPS: [u32; 2] = [TAP, 0];
const OUT: u32 = 5;
const SLOT: u32 = 3;
const NOW: u64 = 1000;
const GENERATION: u64 = 0x1_0000_0003;
const MACS: [[u8; 6]; 3] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6]];
const ADDRESSES: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];

/// A frame that arrives.
#[derive(Debug, Clone)]
struct Arrival {
    port: u32,
    to: [u8; 6],
    from: [u8; 6],
    ethertype: u16,
    /// Tag protocol and tag.
    tag: Option<(u16, u16)>,
    source: [u8; 4],
    /// Bytes of the frame.
    length: usize,
    gso_size: u32,
    /// IP's protocol.
    protocol: u8,
    /// A byte of the headers that is another one.
    damage: Option<(usize, u8)>,
}

impl Arrival {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length.max(128)];
        let length = |bytes: usize| u16::try_from(bytes).unwrap_or(0).to_be_bytes();
        bytes[..6].copy_from_slice(&self.to);
        bytes[6..12].copy_from_slice(&self.from);
        bytes[12..14].copy_from_slice(&self.ethertype.to_be_bytes());
        let (header, words) = if self.ethertype == IPV6 {
            bytes[14] = 0x60;
            bytes[18..20].copy_from_slice(&length(self.length.saturating_sub(54)));
            bytes[20] = self.protocol;
            bytes[22..26].copy_from_slice(&self.source);
            (54, 0x50)
        } else {
            bytes[14] = 0x45;
            bytes[16..18].copy_from_slice(&length(self.length - 14));
            bytes[23] = self.protocol;
            bytes[26..30].copy_from_slice(&self.source);
            (34, 0x80)
        };
        if self.protocol == 6 {
            bytes[header + 12] = words;
        } else {
            let datagram = self.length.saturating_sub(header);
            bytes[header + 4..header + 6].copy_from_slice(&length(datagram));
        }
        if let Some((at, byte)) = self.damage {
            bytes[at] = byte;
        }
        bytes.truncate(self.length);
        bytes
    }

    fn packet(&self) -> Packet {
        let mut packet = Packet::new(self.bytes(), self.port);
        packet.context.pkt_type = 3; // PACKET_OTHERHOST
        packet.context.gso_size = self.gso_size;
        if let Some((protocol, tag)) = self.tag {
            packet.context.vlan_present = 1;
            packet.context.vlan_proto = u32::from(protocol.to_be());
            packet.context.vlan_tci = u32::from(tag);
        }
        packet
    }

    /// Whether a locked port's frame is one that the pipeline can check by its addresses alone.
    fn is_checked(&self) -> bool {
        let headers = Headers::parse(&self.bytes()).unwrap();
        match headers.net {
            Net::Ipv4(ip) => ip.header_len == 20,
            Net::Ipv6(ip) => {
                ip.transport == 54
                    && matches!(headers.transport, Transport::Tcp(_) | Transport::Udp(_))
            }
            Net::Arp(_) | Net::Malformed(_) | Net::Other => false,
        }
    }

    /// The source address as the key has it.
    fn address(&self) -> [u8; 16] {
        let (mut address, mut bytes) = ([0; 16], self.bytes());
        bytes.resize(bytes.len().max(38), 0);
        if self.ethertype == IPV6 {
            address.copy_from_slice(&bytes[22..38]);
        } else {
            address[..4].copy_from_slice(&bytes[26..30]);
        }
        address
    }

    /// The frame as a port that keeps tags in their place shows it.
    fn with_tag(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        if let Some((protocol, tag)) = self.tag {
            let [a, b] = protocol.to_be_bytes();
            let [c, d] = tag.to_be_bytes();
            bytes.splice(12..12, [a, b, c, d]);
        }
        bytes
    }

    /// The key of the lease that would carry it.
    fn key(&self, locked: bool) -> Key {
        Key {
            generation: 3,
            port: self.port,
            to: self.to,
            from: self.from,
            ethertype: self.ethertype.to_be_bytes(),
            vlan: self.tag.map_or(0, |(_, tag)| tag & 0xfff | TAGGED),
            source: if locked { self.address() } else { [0; 16] },
        }
    }

    /// The length of its longest IP packet, where it is known.
    fn longest(&self) -> Option<u32> {
        if self.gso_size == 0 {
            return u32::try_from(self.length - 14).ok();
        }
        let bytes = self.bytes();
        let (ip, protocol) = match self.ethertype {
            IPV4 => (usize::from(bytes[14] & 0x0f) * 4, bytes[23]),
            IPV6 => (40, bytes[20]),
            _ => return None,
        };
        let transport = match protocol {
            6 => usize::from(bytes[14 + ip + 12] >> 4) * 4,
            17 => 8,
            _ => return None,
        };
        Some(self.gso_size + u32::try_from(ip + transport).ok()?)
    }
}

/// The host as it is when a frame arrives.
#[derive(Debug, Clone)]
struct Host {
    tap: u32,
    locked: bool,
    /// The key that has a lease.
    key: Key,
    /// The key that leads to it: another one if that was removed meanwhile.
    found_by: Key,
    open: bool,
    mtu: u32,
    way: Way,
    until: u64,
}

impl Host {
    fn lease(&self) -> Lease {
        Lease {
            key: self.key,
            open: self.open.into(),
            out: OUT,
            way: self.way as u32,
            mtu: self.mtu,
            frames: 10,
            bytes: 100,
            last: 0,
        }
    }

    /// Whether the frame is repeated: the specification.
    fn repeats(&self, it: &Arrival) -> bool {
        self.tap != 0
            && it.length >= 38
            && it.to[0] & 1 == 0
            && it.tag.is_none_or(|(protocol, _)| protocol == TAG)
            && (!self.locked || it.is_checked())
            && self.open
            && self.key == it.key(self.locked)
            && self.found_by == self.key
            && NOW < self.until
            && it.longest().is_some_and(|length| length <= self.mtu)
    }

    fn interpreter<'p>(&self, program: &'p Program) -> Interpreter<'p> {
        let mut it = Interpreter::new(program);
        it.nanoseconds = NOW;
        it.insert(map::KEYS, &self.found_by, &SLOT);
        it.insert(map::LEASES, &SLOT, &self.lease());
        let port = Port {
            tap: self.tap,
            locked: self.locked.into(),
            gateway: [0; 6],
            flows: 0,
            missed: 0,
        };
        it.insert(map::PORTS, &PORT, &port);
        let terms = Terms {
            generation: GENERATION,
            until: self.until,
            begins: 0,
        };
        it.insert(map::TERMS, &0_u32, &terms);
        it
    }
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let mac = || prop::sample::select(&MACS[..]);
    let port = prop_oneof![9 => Just(PORT), 1 => Just(PORT + 1)];
    let ethertype = prop_oneof![
        4 => Just(IPV4), 3 => Just(IPV6), 1 => Just(0x0806), 1 => Just(TAG)
    ];
    let tag = prop_oneof![
        2 => Just(None),
        2 => (any::<u16>()).prop_map(|tag| Some((TAG, tag & 0xe00f))),
        1 => Just(Some((0x88a8, 1))),
    ];
    let source = prop::sample::select(&ADDRESSES[..]);
    let length = prop_oneof![3 => 60..1600_usize, 1 => 14..60_usize];
    let gso_size = prop_oneof![2 => Just(0), 1 => 1380..1480_u32];
    let protocol = prop::sample::select(&[6_u8, 17, 58][..]);
    let damage = prop_oneof![3 => Just(None), 1 => (14..70_usize, any::<u8>()).prop_map(Some)];
    (
        port,
        mac(),
        mac(),
        ethertype,
        tag,
        source,
        length,
        gso_size,
        protocol,
        damage,
    )
        .prop_map(
            |(port, to, from, ethertype, tag, source, length, gso_size, protocol, damage)| {
                Arrival {
                    port,
                    to,
                    from,
                    ethertype,
                    tag,
                    source,
                    length: if gso_size == 0 { length } else { length + 1600 },
                    gso_size,
                    protocol,
                    damage,
                }
            },
        )
}

/// A frame, and a host that has a lease for it or for one that differs in something.
fn situation() -> impl Strategy<Value = (Arrival, Host)> {
    let other = prop_oneof![4 => Just(None), 1 => arrival().prop_map(Some)];
    let change = 0..40_usize;
    let until = prop_oneof![9 => Just(u64::MAX), 1 => Just(NOW), 1 => Just(NOW + 1)];
    let way = prop::sample::select(&[Way::Out, Way::Peer][..]);
    let tap = prop::sample::select(&TAPS[..]);
    let state = prop_oneof![
        8 => Just((true, None)),
        1 => Just((false, None)),
        1 => arrival().prop_map(|other| (true, Some(other))),
    ];
    (
        arrival(),
        other,
        any::<bool>(),
        state,
        1400..1600_u32,
        (way, tap),
        until,
        change,
    )
        .prop_map(
            |(arrival, other, locked, (open, earlier), mtu, (way, tap), until, change)| {
                let key = other.as_ref().unwrap_or(&arrival).key(locked);
                let mut bytes: [u8; 40] = zerocopy::transmute!(key);
                // One bit of the key, now and then.
                if change % 4 == 0 {
                    bytes[change] ^= 1;
                }
                let found_by = zerocopy::transmute!(bytes);
                let key = earlier.map_or(found_by, |it| it.key(locked));
                (
                    arrival,
                    Host {
                        tap,
                        locked,
                        key,
                        found_by,
                        open,
                        mtu,
                        way,
                        until,
                    },
                )
            },
        )
}

proptest! {
    /// A frame that is repeated is one whose key userspace reads from it.
    #[test]
    fn userspace_reads_the_key_that_the_program_reads((arrival, host) in situation()) {
        // The kernel takes the outermost tag off before a program sees the frame.
        prop_assume!(arrival.tag.is_some() || arrival.ethertype != TAG);
        let key = Key::of(&arrival.with_tag(), arrival.port, 3, host.locked);
        if let Some(key) = key {
            prop_assert_eq!(key, arrival.key(host.locked));
        }
        let other = Host { key: arrival.key(host.locked), found_by: arrival.key(host.locked), ..host };
        if other.repeats(&arrival) {
            prop_assert!(key.is_some());
        }
    }
}

/// The answer to a frame without a lease at a port with this TAP.
pub(super) fn missed(tap: u32) -> (i32, Option<Redirect>) {
    match tap {
        0 => (verdict::UNSPEC, None),
        ifindex => {
            let way = bpf::interpreter::Way::Egress;
            (verdict::REDIRECT, Some(Redirect { ifindex, way }))
        }
    }
}

fn run(host: &Host, arrival: &Arrival) -> (Outcome, Option<Lease>, Option<Port>) {
    let program = program(ROOM);
    let mut it = host.interpreter(&program);
    let outcome = it.run(arrival.packet()).unwrap();
    (
        outcome,
        it.lookup(map::LEASES, &SLOT),
        it.lookup(map::PORTS, &PORT),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_frame_is_repeated_where_the_model_says_so((arrival, host) in situation()) {
        let (outcome, lease, port) = run(&host, &arrival);
        let (mut expected, mut missed) = (host.lease(), 0);
        let answer = if arrival.port != PORT {
            (verdict::UNSPEC, None)
        } else if host.repeats(&arrival) {
            expected.frames += 1;
            expected.bytes += arrival.with_tag().len() as u64;
            expected.last = NOW;
            let way = match host.way {
                Way::Out => bpf::interpreter::Way::Egress,
                Way::Peer => bpf::interpreter::Way::Peer,
            };
            prop_assert_eq!(outcome.packet.context.pkt_type, 0);
            (verdict::REDIRECT, Some(Redirect { ifindex: OUT, way }))
        } else {
            missed = 1;
            self::missed(host.tap)
        };
        prop_assert_eq!((outcome.verdict, outcome.redirect), answer);
        prop_assert_eq!(lease, Some(expected));
        prop_assert_eq!(port.map(|port| port.missed), Some(missed));
        // The frame itself is as it came, whatever becomes of it.
        prop_assert_eq!(outcome.packet.bytes, arrival.packet().bytes);
    }
}

/// A TCP segment of a locked port, and its lease.
fn leased() -> (Arrival, Host) {
    let arrival = Arrival {
        port: PORT,
        to: MACS[0],
        from: MACS[1],
        ethertype: IPV4,
        tag: None,
        source: ADDRESSES[0],
        length: 1514,
        gso_size: 0,
        protocol: 6,
        damage: None,
    };
    let host = Host {
        tap: TAP,
        locked: true,
        key: arrival.key(true),
        found_by: arrival.key(true),
        open: true,
        mtu: 1500,
        way: Way::Peer,
        until: u64::MAX,
    };
    (arrival, host)
}

#[test]
fn the_situations_that_matter_are_what_they_are_taken_for() {
    let (good, host) = leased();
    let repeated = |change: &dyn Fn(&mut Arrival)| {
        let mut arrival = good.clone();
        change(&mut arrival);
        run(&host, &arrival).0.redirect.map(|it| it.ifindex) == Some(OUT)
    };
    assert!(repeated(&|_| {}));
    assert!(
        !repeated(&|it| it.source = ADDRESSES[1]),
        "a spoofed address"
    );
    assert!(
        !repeated(&|it| it.from = MACS[0]),
        "a station that moved here"
    );
    assert!(
        !repeated(&|it| it.length = 1515),
        "longer than the receiver takes"
    );
    assert!(!repeated(&|it| it.tag = Some((TAG, 1))), "another VLAN");
    assert!(
        !repeated(&|it| it.ethertype = 0x0806),
        "ARP of a locked port"
    );
    assert!(!repeated(&|it| it.damage = Some((14, 0x46))), "options");
    assert!(
        !repeated(&|it| it.damage = Some((16, 0xff))),
        "longer than the frame"
    );
    // 20 and 32 bytes of headers.
    assert!(repeated(&|it| (it.length, it.gso_size) = (60_000, 1448)));
    assert!(!repeated(&|it| (it.length, it.gso_size) = (60_000, 1449)));
}

#[test]
fn a_key_has_the_address_as_the_frame_has_it() {
    let (arrival, _) = leased();
    let address = IpAddr::V4(Ipv4Addr::from(arrival.source));
    assert_eq!(source(address), arrival.address());
    assert_eq!(
        source("2001:db8::1".parse().unwrap())[..4],
        [0x20, 0x01, 0x0d, 0xb8]
    );
}

#[test]
fn every_kernel_from_5_11_on_has_what_it_uses_and_from_5_12_on_what_begins_flows() {
    let program = program(ROOM);
    assert_eq!(program.since(), bpf::KernelVersion(5, 12));
    let without = super::program(Room { grants: 0, ..ROOM });
    assert_eq!(without.since(), bpf::KernelVersion(5, 11));
    let listing = program.to_string();
    assert!(
        listing.contains("; Key.vlan") && listing.contains("miss:"),
        "{listing}"
    );
}
