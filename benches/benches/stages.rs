//! What each stage of the straight line costs, in memory, on one core.
//!
//! `cargo bench -p clearway-benches --bench stages`. Everything that a frame meets is warm, as it
//! is for the second frame of a burst; what a large table costs is measured in fdb.rs.

use criterion::{Criterion, criterion_group, criterion_main};
use dataplane::Line;
use nat::{Outbox, Router};
use pipeline::{Context, Frame, HEADROOM, Instant, MAX_FRAME, NetworkId, NoTrace, PortId, Tunnel};
use std::hint::black_box;
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Lock, Network, Outputs, Port, Topology};
use wire::checksum::Sum;
use wire::craft::{self, Link, TcpSegment};
use wire::{Headers, MacAddr, VlanId, VnetHeader};

/// The binary's allocator.
#[global_allocator]
static MEMORY: dataplane::HugePages = dataplane::HugePages;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const NOW: Instant = Instant::from_secs(1);
const IP_A: [u8; 4] = [10, 0, 0, 1];

/// Ports 0 to 8 in one network, port 0 locked to A, A behind 0 and B behind 1.
fn topology(locked: bool) -> Topology {
    let fdb = Arc::new(Fdb::new(FdbConfig::default(), 7));
    for (mac, port) in [(A, 0), (B, 1)] {
        let _ = fdb.learn(VlanId::DEFAULT, mac, PortId(port).into(), NOW);
    }
    let id = NetworkId(0);
    let mut ports: Vec<_> = (0..9).map(|port| Port::plain(PortId(port), id)).collect();
    let lock = Lock {
        mac: A,
        ipv4: vec![IP_A.into()],
        ipv6: Vec::new(),
    };
    ports[0].lock = locked.then_some(lock);
    let network = Network {
        id,
        mtu: 1500,
        forward_reserved: false,
        fdb,
        key: None,
        gateway: None,
    };
    Topology::new(vec![network], ports).expect("nine plain ports")
}

/// 64 bytes of UDP over IPv4 from A.
fn small(dst: MacAddr) -> Vec<u8> {
    Link::new(A, dst)
        .ipv4(IP_A.into(), [10, 0, 0, 2].into())
        .udp(1, 2, &[0; 22])
}

/// The frame in a room, as a batch holds it.
fn with_frame<R>(bytes: &[u8], vnet: VnetHeader, run: impl FnOnce(&mut Frame<'_>) -> R) -> R {
    let mut room = [&[0; HEADROOM], bytes].concat();
    let end = room.len();
    run(&mut Frame::new(&mut room, HEADROOM, end, vnet))
}

fn parse(c: &mut Criterion) {
    let tcp = Link::new(A, B)
        .ipv4(IP_A.into(), [10, 0, 0, 2].into())
        .tcp(TcpSegment::default());
    let tcp6 = Link::new(A, B)
        .ipv6([0xfd; 16].into(), [0xfc; 16].into())
        .tcp(TcpSegment::default());
    let mut group = c.benchmark_group("parse");
    for (name, bytes) in [("udp4 64 B", small(B)), ("tcp4", tcp), ("tcp6", tcp6)] {
        group.bench_function(name, |b| b.iter(|| Headers::parse(black_box(&bytes))));
    }
}

/// The context of a frame that is really there, with nobody watching.
fn live() -> Context<NoTrace> {
    Context::live(NOW, NoTrace)
}

fn admit(c: &mut Criterion) {
    let headers = Headers::parse(&small(B)).expect("a sound frame");
    let mut group = c.benchmark_group("admit");
    for (name, locked) in [("trusted", false), ("locked", true)] {
        let topology = topology(locked);
        let ingress = topology
            .ingress(PortId(0), Tunnel::default())
            .expect("port 0");
        group.bench_function(name, |b| {
            b.iter(|| switch::admit(&mut live(), black_box(ingress), black_box(&headers)));
        });
    }
}

fn learn_and_forward(c: &mut Criterion) {
    let topology = topology(false);
    let ingress = topology
        .ingress(PortId(0), Tunnel::default())
        .expect("port 0");
    c.bench_function("learn + forward, known unicast", |b| {
        b.iter(|| {
            let (src, dst) = (black_box(A), black_box(B));
            let context = &mut live();
            let learned = switch::learn(context, ingress, VlanId::DEFAULT, src);
            let forward = switch::forward(context, ingress, VlanId::DEFAULT, src, dst);
            (learned, forward)
        });
    });
}

fn whole_line(c: &mut Criterion) {
    let mut group = c.benchmark_group("process");
    for (name, locked, dst) in [
        ("known unicast 64 B", false, B),
        ("known unicast 64 B, locked", true, B),
        ("broadcast to 8", false, MacAddr::BROADCAST),
    ] {
        let (topology, bytes) = (topology(locked), small(dst));
        let (mut out, mut outbox) = (Outputs::default(), Outbox::default());
        let mut line = Line {
            topology: &topology,
            router: &Router::default(),
            context: live(),
            out: &mut out,
            outbox: &mut outbox,
        };
        group.bench_function(name, |b| {
            with_frame(&bytes, VnetHeader::default(), |frame| {
                b.iter(|| line.process(black_box(frame), PortId(0)));
            });
        });
    }
}

fn segment(c: &mut Criterion) {
    let payload = vec![0x5a; 65_000];
    let packet = Link::new(A, B).ipv4(IP_A.into(), [10, 0, 0, 2].into());
    let mut bytes = packet.tcp(TcpSegment {
        payload: &payload,
        ..TcpSegment::default()
    });
    let vnet = craft::superframe(&mut bytes, 1448).expect("TCP");
    let mut room = vec![0; HEADROOM + MAX_FRAME];
    c.bench_function("segment 65000 B of TCP into 45", |b| {
        b.iter(|| {
            wire::segment(black_box(&bytes), &vnet, &mut room, HEADROOM, |segment| {
                black_box(segment);
            })
        });
    });
}

fn checksum(c: &mut Criterion) {
    let bytes = vec![0xa5; 1500];
    c.bench_function("checksum of 1500 B", |b| {
        b.iter(|| Sum::of(black_box(&bytes)).finished());
    });
}

fn tags(c: &mut Criterion) {
    let tag = wire::VlanTag {
        tpid: wire::VlanTag::CTAG,
        tci: 10,
    };
    c.bench_function("push and pop a VLAN tag", |b| {
        with_frame(&small(B), VnetHeader::default(), |frame| {
            b.iter(|| {
                black_box(&mut *frame).push_vlan(tag) && black_box(&mut *frame).pop_vlan().is_some()
            });
        });
    });
}

criterion_group!(
    stages,
    parse,
    admit,
    learn_and_forward,
    whole_line,
    segment,
    checksum,
    tags
);
criterion_main!(stages);
