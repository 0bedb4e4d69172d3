//! Leases of flows in the kernel: repeated as the interpreter repeats them.

use super::lease::ROOM;
use super::loaded;
use bpf::SkBuff;
use bpf::interpreter::{Interpreter, Packet};
use lease::program::{map, program};
use lease::{Change, Direction, Ends, FlowKey, FlowLease, Out, Port, Said, Terms, Way, ends};
use loader::Ring;
use proptest::prelude::*;
use std::net::IpAddr;
use wire::craft::{Link, TcpSegment};
use wire::{Headers, MacAddr, TcpFlags, TransportAddr};

/// The loopback interface, which every namespace has.
const PORT: u32 = 1;
const SLOT: u32 = 3;
/// The slot of what the other side sends.
const TWIN: u32 = 4;
/// The figures that each side says first.
const NUMBERS: [u32; 2] = [1000, 2000];
const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const NEXT: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);

fn addresses(v6: bool, bits: [u32; 2]) -> [IpAddr; 2] {
    bits.map(|bits| {
        if v6 {
            let [a, b, c, d] = bits.to_be_bytes();
            IpAddr::from([0x20, 1, 0xd, 0xb8, a, 0, b, 0, 0, 0, c, 0, 0, 0, 0, d])
        } else {
            IpAddr::from((0x0a00_0000 | bits >> 8).to_be_bytes())
        }
    })
}

fn at(v6: bool, bits: [u32; 2], ports: [u16; 2]) -> [TransportAddr; 2] {
    let [src, dst] = addresses(v6, bits);
    [
        TransportAddr::new(src, ports[0]),
        TransportAddr::new(dst, ports[1]),
    ]
}

/// A frame of a flow, with `flags` if it is TCP.
fn frame([src, dst]: [TransportAddr; 2], flags: Option<u8>, hops: u8, payload: &[u8]) -> Vec<u8> {
    let link = Link::new(STATION, ROUTER);
    let packet = match (src.ip, dst.ip) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => link.ipv4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => link.ipv6(src, dst),
        _ => unreachable!("both are of one family"),
    };
    let packet = packet.hops(hops);
    match flags {
        None => packet.udp(src.port, dst.port, payload),
        Some(flags) => packet.tcp(TcpSegment {
            src_port: src.port,
            dst_port: dst.port,
            flags: TcpFlags(flags),
            seq: NUMBERS[0],
            ack: NUMBERS[1],
            window: 300,
            options: &[1, 1, 1, 1],
            payload,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_kernel_repeats_flows_as_the_interpreter_does(
        (v6, bits, ports) in (any::<bool>(), any::<[u32; 2]>(), any::<[u16; 2]>()),
        (new_bits, new_ports) in (any::<[u32; 2]>(), any::<[u16; 2]>()),
        flags in prop_oneof![Just(None), Just(Some(0x10)), any::<u8>().prop_map(Some)],
        hops in prop_oneof![4 => Just(64_u8), 1 => 0..3_u8],
        payload in prop::collection::vec(any::<u8>(), 0..200),
        (kind, no_checksum) in (0..3_u8, prop::bool::weighted(0.2)),
        mtu in prop_oneof![3 => Just(1500_u32), 1 => 20..260_u32],
        gso_size in prop_oneof![3 => Just(0_u32), 1 => 20..1500_u32],
        until in prop::sample::select(&[u64::MAX, u64::MAX, u64::MAX, 1][..]),
        damage in prop_oneof![2 => Just(None), 1 => (12..76_usize, any::<u8>()).prop_map(Some)],
        twin in prop_oneof![Just(TWIN), Just(u32::MAX)],
        (near, scale) in (prop::array::uniform4(-2..3_i32), 0..15_u32),
    ) {
        let mut bytes = frame(at(v6, bits, ports), flags, hops, &payload);
        let key = FlowKey::of(0, PORT, &Headers::parse(&bytes).unwrap()).unwrap();
        if no_checksum && flags.is_none() {
            let field = if v6 { 60 } else { 40 };
            bytes[field..field + 2].fill(0);
        }
        if let Some((place, byte)) = damage
            && let Some(place) = bytes.get_mut(place)
        {
            *place = byte;
        }
        let [src, dst] = at(v6, new_bits, new_ports);
        let change = |ends: Option<Ends>| Change { to: NEXT, from: OURS, ends };
        let change = [None, Some(change(None)), Some(change(Some(ends(src, dst))))][usize::from(kind)];
        let said = |end: usize, ack: usize, near: &[i32]| Said {
            end: NUMBERS[end].wrapping_add_signed(near[0]),
            ack: NUMBERS[ack].wrapping_add_signed(near[1]),
            window: 200,
            finished: 0,
        };
        let direction = Direction { twin, scale, said: said(0, 1, &near[..2]) };
        let lease = FlowLease::new(key, Out { interface: 9, way: Way::Peer, mtu }, change, direction);
        let other = FlowLease { said: said(1, 0, &near[2..]), ..lease };
        let terms = Terms { generation: 0, until, begins: 0 };
        let port = Port { tap: 8, locked: 0, gateway: ROUTER.0, flows: 0, missed: 0 };
        let program = program(ROOM);

        let (kernel, maps) = loaded(&program);
        maps[map::FLOW_KEYS].insert(&key, &SLOT).unwrap();
        maps[map::FLOWS].insert(&SLOT, &lease).unwrap();
        maps[map::FLOWS].insert(&TWIN, &other).unwrap();
        maps[map::PORTS].insert(&PORT, &port).unwrap();
        maps[map::TERMS].insert(&0_u32, &terms).unwrap();
        let context = SkBuff { ifindex: PORT, gso_size, ..SkBuff::default() };
        let run = kernel.test_run(&bytes, &context).unwrap();
        let mut counted: FlowLease = maps[map::FLOWS].lookup(&SLOT).unwrap().unwrap();
        let told: Option<Port> = maps[map::PORTS].lookup(&PORT).unwrap();

        let mut it = Interpreter::new(&program);
        it.insert(map::FLOW_KEYS, &key, &SLOT);
        it.insert(map::FLOWS, &SLOT, &lease);
        it.insert(map::FLOWS, &TWIN, &other);
        it.insert(map::PORTS, &PORT, &port);
        it.insert(map::TERMS, &0_u32, &terms);
        let mut packet = Packet::new(bytes, PORT);
        packet.context.gso_size = gso_size;
        let outcome = it.run(packet).unwrap();
        let expected: FlowLease = it.lookup(map::FLOWS, &SLOT).unwrap();

        let mut finished = Vec::new();
        Ring::open(&maps[map::FINISHED]).unwrap().read(|slot| finished.push(slot.to_vec()));
        prop_assert_eq!(finished, it.records(map::FINISHED));
        // Each has a clock of its own.
        prop_assert_eq!(counted.last > 0, expected.last > 0);
        counted.last = expected.last;
        prop_assert_eq!(counted, expected);
        prop_assert_eq!(told, it.lookup(map::PORTS, &PORT));
        prop_assert_eq!((run.verdict, run.bytes), (outcome.verdict, outcome.packet.bytes));
    }
}
