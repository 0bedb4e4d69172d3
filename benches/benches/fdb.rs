//! The forwarding database's hot path and its flooded path.
//!
//! * `known/N`: one frame's two questions, learn (known) and lookup (known), for batches of 32
//!   frames between random pairs of N addresses; every batch is warmed first, as a worker does.
//!   `cold/N` is the same without warming. Reported per frame.
//! * `unknown/N`: a lookup that finds nothing.
//! * `flood`: learning never-seen addresses, into a full table and at a port's own limit.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pipeline::{Instant, Location, PortId};
use std::hint::black_box;
use switch::fdb::{Fdb, FdbConfig, Learning, Lookup};
use wire::{MacAddr, VlanId};

/// The binary's allocator: it places the large tables on huge pages.
#[global_allocator]
static MEMORY: dataplane::HugePages = dataplane::HugePages;

const VLAN: VlanId = VlanId::DEFAULT;
const NOW: Instant = Instant::from_secs(1_000);
const BATCH: usize = 32;
const PORTS: u64 = 64;
const SIZES: [u64; 3] = [1_000, 64_000, 1_000_000];

/// The `n`th address and the port it is behind: spread like addresses drawn at random.
fn station(n: u64) -> (MacAddr, Location) {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let port = u16::try_from(n % PORTS).expect("below 64");
    (MacAddr::from_u64(mixed & !(1 << 40)), PortId(port).into())
}

fn filled(entries: u64) -> Fdb {
    let max_entries = u32::try_from(entries).expect("a million at most");
    let fdb = Fdb::new(
        FdbConfig {
            max_entries,
            ..FdbConfig::default()
        },
        0x5eed,
    );
    for n in 0..entries {
        let (mac, port) = station(n);
        assert!(matches!(
            fdb.learn(VLAN, mac, port, NOW),
            Learning::New { .. }
        ));
    }
    fdb
}

/// Frames between random stations: source, its port, destination. A quarter of a million, so that
/// neither cache nor branch predictor can learn their order.
fn frames(entries: u64) -> Vec<(MacAddr, Location, MacAddr)> {
    let mut state = 1u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % entries
    };
    (0..BATCH * 8_192)
        .map(|_| {
            let (src, port) = station(draw());
            (src, port, station(draw()).0)
        })
        .collect()
}

fn known(c: &mut Criterion) {
    for entries in SIZES {
        let (fdb, frames) = (filled(entries), frames(entries));
        let mut group = c.benchmark_group("fdb");
        group.throughput(Throughput::Elements(BATCH as u64));
        for (name, warm) in [("known", true), ("cold", false)] {
            let mut batches = frames.chunks_exact(BATCH).cycle();
            group.bench_function(BenchmarkId::new(name, entries), |b| {
                b.iter(|| {
                    let batch = batches.next().expect("a cycle does not end");
                    if warm {
                        for &(src, _, dst) in batch {
                            fdb.warm(VLAN, src);
                            fdb.warm(VLAN, dst);
                        }
                    }
                    for &(src, port, dst) in batch {
                        assert_eq!(fdb.learn(VLAN, src, port, NOW), Learning::Known);
                        let Lookup::Found { at: port, .. } = fdb.lookup(VLAN, dst, NOW) else {
                            panic!("{dst} was learned");
                        };
                        black_box(port);
                    }
                });
            });
        }
        group.finish();
    }
}

fn unknown(c: &mut Criterion) {
    for entries in SIZES {
        let fdb = filled(entries);
        let mut group = c.benchmark_group("fdb");
        let mut next = entries;
        group.bench_function(BenchmarkId::new("unknown", entries), |b| {
            b.iter(|| {
                next += 1;
                assert_eq!(fdb.lookup(VLAN, station(next).0, NOW), Lookup::Unknown);
            });
        });
        group.finish();
    }
}

fn flood(c: &mut Criterion) {
    let mut group = c.benchmark_group("fdb/flood");
    for (name, max_per_port) in [("full-table", 0), ("port-limit", 1_000)] {
        let fdb = Fdb::new(
            FdbConfig {
                max_per_port,
                ..FdbConfig::default()
            },
            0x5eed,
        );
        for n in 0..1_000 {
            let (mac, port) = station(n);
            let _ = fdb.learn(VLAN, mac, port, NOW);
        }
        let flooder = PortId(u16::try_from(PORTS).expect("small")).into();
        let mut next = 1_000;
        let mut learn = || {
            next += 1;
            fdb.learn(VLAN, station(next).0, flooder, NOW)
        };
        while matches!(learn(), Learning::New { evicted: None }) {}
        group.bench_function(name, |b| {
            b.iter(|| assert!(matches!(learn(), Learning::New { evicted: Some(_) })));
        });
    }
    group.finish();
}

criterion_group!(benches, known, unknown, flood);
criterion_main!(benches);
