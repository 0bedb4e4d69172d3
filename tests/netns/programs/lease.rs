//! The program of leases in the kernel: as the interpreter runs it, and between two containers.

use super::loaded;
use super::pair::Pair;
use bpf::SkBuff;
use bpf::interpreter::{Interpreter, Packet};
use lease::program::{Room, map, program};
use lease::{Key, Lease, Port, Terms, Way};
use loader::tcx::{self, Link, Place};
use loader::{Maps, Side, Words};
use offload::Interfaces;
use proptest::prelude::*;
use testbed::link;

pub(super) const ROOM: Room = Room {
    leases: 64,
    flows: 64,
    grants: 16,
    ports: 64,
};

/// The port that test runs arrive at: the loopback interface, which every namespace has.
const PORT: u32 = 1;
const SLOT: u32 = 3;

/// A TCP or UDP frame or another one, and the key that its lease would have.
fn frame() -> impl Strategy<Value = (Vec<u8>, Key)> {
    let ethertype = prop::sample::select(&[0x0800_u16, 0x86dd, 0x0806][..]);
    let body = prop::collection::vec(any::<u8>(), 60..200);
    (ethertype, body, 0..4_u8, 5..7_u8, 0..8_u8).prop_map(|(ethertype, body, to, words, dice)| {
        let protocol = [6, 17, 1][usize::from(dice % 3)];
        let mut frame = vec![to, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(body);
        let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
        let (at, size) = if ethertype == 0x86dd {
            frame[14] = 0x60;
            let payload = length(frame.len() - 54);
            frame[18..20].copy_from_slice(&payload);
            frame[20] = protocol;
            frame[58..60].copy_from_slice(&payload);
            frame[66] = words << 4;
            (22, 16)
        } else {
            frame[14] = 0x40 | words;
            let packet = length(frame.len() - 14);
            frame[16..18].copy_from_slice(&packet);
            frame[23] = protocol;
            (26, 4)
        };
        let mut source = [0; 16];
        source[..size].copy_from_slice(&frame[at..at + size]);
        let key = Key {
            generation: 0,
            port: PORT,
            to: [to, 0, 0, 0, 0, 1],
            from: [2, 0, 0, 0, 0, 2],
            ethertype: ethertype.to_be_bytes(),
            vlan: 0,
            source,
        };
        (frame, key)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_kernel_repeats_what_the_interpreter_repeats(
        (mut frame, mut key) in frame(),
        locked: bool,
        mtu in prop_oneof![Just(1500_u32), 20..1500_u32],
        gso_size in prop_oneof![Just(0_u32), 20..1500_u32],
        until in prop::sample::select(&[u64::MAX, u64::MAX, u64::MAX, 1][..]),
        spoofed in 0..8_u8,
        cut in prop_oneof![4 => Just(usize::MAX), 1 => 0..60_usize],
    ) {
        if !locked {
            key.source = [0; 16];
        }
        if spoofed == 0 {
            key.source[3] ^= 1;
        }
        // A test run takes no packet without its whole IP header.
        let least = match key.ethertype {
            [0x08, 0x00] => 34,
            [0x86, 0xdd] => 54,
            _ => 15,
        };
        frame.truncate(cut.max(least));
        let (lease, terms) = (Lease::new(key, 9, Way::Peer, mtu), Terms { generation: 0, until, begins: 0 });
        let port = Port { tap: 8, locked: locked.into(), gateway: [0; 6], flows: 0, missed: 0 };
        let program = program(ROOM);

        let (kernel, maps) = loaded(&program);
        maps[map::KEYS].insert(&key, &SLOT).unwrap();
        maps[map::LEASES].insert(&SLOT, &lease).unwrap();
        maps[map::PORTS].insert(&PORT, &port).unwrap();
        maps[map::TERMS].insert(&0_u32, &terms).unwrap();
        let context = SkBuff { ifindex: PORT, gso_size, ..SkBuff::default() };
        let run = kernel.test_run(&frame, &context).unwrap();
        let mut counted: Lease = maps[map::LEASES].lookup(&SLOT).unwrap().unwrap();
        let told: Option<Port> = maps[map::PORTS].lookup(&PORT).unwrap();

        let mut it = Interpreter::new(&program);
        it.insert(map::KEYS, &key, &SLOT);
        it.insert(map::LEASES, &SLOT, &lease);
        it.insert(map::PORTS, &PORT, &port);
        it.insert(map::TERMS, &0_u32, &terms);
        let mut packet = Packet::new(frame, PORT);
        packet.context.gso_size = gso_size;
        let outcome = it.run(packet).unwrap();
        let expected: Lease = it.lookup(map::LEASES, &SLOT).unwrap();

        // Each has a clock of its own.
        prop_assert_eq!(counted.last > 0, expected.last > 0);
        counted.last = expected.last;
        prop_assert_eq!(counted, expected);
        prop_assert_eq!(told, it.lookup(map::PORTS, &PORT));
        prop_assert_eq!((run.verdict, run.bytes), (outcome.verdict, outcome.packet.bytes));
    }
}

/// Two containers whose host ends have the program.
struct Switched {
    pair: Pair,
    maps: Maps,
    words: Words,
    _links: Vec<Link>,
}

impl Switched {
    fn new() -> Self {
        let pair = Pair::new();
        let (kernel, maps) = loaded(&program(ROOM));
        for at in pair.at {
            maps[map::PORTS]
                .insert(&at.host, &Port::new(at.tap.unwrap()))
                .unwrap();
        }
        let attach =
            |at: Interfaces| tcx::attach(&kernel, at.host, Side::Ingress, Place::First).unwrap();
        let links = pair.host.run(|| pair.at.map(attach));
        let words = Words::open(&maps[map::TERMS]).unwrap();
        words.store(Terms::UNTIL, u64::MAX);
        Self {
            pair,
            maps,
            words,
            _links: links.into(),
        }
    }

    /// Leases for both ways.
    fn lease(&self, generation: u32, mtu: u32, way: Way) {
        for from in [0, 1] {
            let key = self.pair.key(from, generation);
            let slot = self.slot(from);
            let lease = Lease::new(key, self.pair.at[1 - from].host, way, mtu);
            self.maps[map::LEASES].insert(&slot, &lease).unwrap();
            self.maps[map::KEYS].insert(&key, &slot).unwrap();
        }
    }

    /// The slot of the lease of what a container sends.
    fn slot(&self, from: usize) -> u32 {
        u32::try_from(from).unwrap()
    }

    fn frames(&self, from: usize) -> u64 {
        let slot = self.slot(from);
        let lease: Lease = self.maps[map::LEASES].lookup(&slot).unwrap().unwrap();
        lease.frames
    }

    fn missed(&self) -> u64 {
        let port: Port = self.maps[map::PORTS]
            .lookup(&self.pair.at[0].host)
            .unwrap()
            .unwrap();
        port.missed
    }
}

#[test]
fn two_containers_talk_by_their_leases_alone_until_they_are_taken_back() {
    let it = Switched::new();
    assert_eq!(it.pair.answers(|_| {}), 0, "without a lease");
    assert!(it.missed() >= 3);
    for (generation, way) in [(1, Way::Peer), (2, Way::Out)] {
        it.words.store(Terms::GENERATION, generation.into());
        it.lease(generation, 1500, way);
        assert_eq!(it.pair.answers(|_| {}), 3, "{way:?}");
        assert_eq!([0, 1].map(|from| it.frames(from)), [3, 3]);
    }
    // All at once, by one store.
    it.words.store(Terms::GENERATION, 3);
    assert_eq!(it.pair.answers(|_| {}), 0, "of another generation");
    // By themselves.
    it.lease(3, 1500, Way::Peer);
    it.words.store(Terms::UNTIL, 1);
    assert_eq!(it.pair.answers(|_| {}), 0, "ended");
    it.words.store(Terms::UNTIL, u64::MAX);
    assert_eq!(it.pair.answers(|_| {}), 3);
    // One by one.
    assert!(it.maps[map::KEYS].remove(&it.pair.key(0, 3)).unwrap());
    assert_eq!(it.pair.answers(|_| {}), 0, "removed");
}

#[test]
fn another_address_and_longer_packets_go_to_userspace() {
    let it = Switched::new();
    it.lease(0, 1000, Way::Peer);
    assert_eq!(
        it.pair.answers(|ping| ping.size = 972),
        3,
        "1000 bytes with their headers"
    );
    let before = it.missed();
    assert_eq!(it.pair.answers(|ping| ping.size = 973), 0, "one byte more");
    assert!(it.missed() >= before + 3);
    link::address(&it.pair.containers[0], "eth0", "10.9.0.77/24").unwrap();
    let spoofed = it
        .pair
        .answers(|ping| ping.from = Some("10.9.0.77".parse().unwrap()));
    assert_eq!(spoofed, 0);
    assert!(it.missed() >= before + 6);
    assert_eq!(it.frames(0), 3);
}
