//! The translation stage: what one packet costs it. Decisions are the translator's alone; the
//! rest of a routed frame's way is in `stages`.
//!
//! * `established/N`: a packet of one of N connections, chosen at random; out and in by turns. Half
//!   of the connections go from inside to the world, half from the world to one of 10,000 published
//!   ports. Reading the packet's tuple from a list of a million is part of it.
//! * `new/N`: a packet that begins a connection, where there are N already;
//!   `new-endpoint-independent/N` with mappings of that kind.
//! * `rewrite/LEN`: what was decided is carried out: addresses, port, checksums of a whole TCP
//!   packet of LEN bytes, or of a superframe whose checksum its sender left unfinished.
//! * `unknown`: a packet from the world that no mapping wants.
//! * `revoke/WHAT`: what a change of the configuration costs where there are a million connections:
//!   one that the router does not read, one endpoint's rules, one network's peers.
//! * `revoke-stall/WHAT`: the longest that a packet of a known connection took meanwhile, on another
//!   thread; whatever else runs on the core counts.
//! * `grow`: the slowest of the packets that fill an empty table with 900,000 connections; whatever
//!   else runs on the core counts.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nat::config::{EndpointRules, InsideRole, UplinkRole};
use nat::{
    Action, Behaviour, Config, External, Flow, Inside, InterfaceConfig, Live, Nat, NatSettings,
    Policy, PortRange, Preset, Publication, Published, Rewrite, Role, Router, Routing, Segment,
    Settings, Tables, Translation, Translator, TransportAddr, Tuple,
};
use pipeline::{DropReason, Effects, Frame, Instant, NetworkId};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use wire::craft::{self, Link, TcpSegment};
use wire::{Headers, IpProtocol, MacAddr, TcpFlags, VnetHeader};

const INSIDE: NetworkId = NetworkId(0);
const UPLINK: NetworkId = NetworkId(1);
const OTHER: NetworkId = NetworkId(2);
const SIZES: [u32; 2] = [1_000, 1_000_000];
const NOW: Instant = Instant::from_secs(1_000);
const EXTERNAL: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))];
const PUBLISHED: u16 = 10_000;
const NEW: u32 = 8_000;

struct Bed {
    tables: Tables,
    published: Published,
    settings: Settings,
}

impl Bed {
    fn new(behaviour: Behaviour, capacity: u32) -> Self {
        Self {
            tables: Tables::new(capacity, 0x5eed),
            published: Published::new(&publications()).expect("they do not overlap"),
            settings: Settings::new([(
                INSIDE,
                NatSettings {
                    behaviour,
                    quota: u32::MAX,
                },
            )]),
        }
    }

    fn translator(&self) -> Translator<'_> {
        Translator {
            tables: &self.tables,
            published: &self.published,
            settings: &self.settings,
            now: NOW,
            effects: Effects::Live,
        }
    }

    fn send(&self, tuple: Tuple) -> Result<TransportAddr, DropReason> {
        let translation = self
            .translator()
            .outbound(INSIDE, &flow(tuple), &external(), || Ok(()))?;
        Ok(translation.src)
    }

    fn receive(&self, tuple: Tuple) -> Result<Inside, DropReason> {
        let (to, _) = self
            .translator()
            .inbound(&flow(tuple), &external(), |_| Ok(()))?;
        Ok(to)
    }

    /// Adds `count` connections; answers the packets of each, out and in.
    fn fill(&self, count: u32) -> Vec<(Tuple, Tuple)> {
        (0..count)
            .map(|n| {
                if n % 2 == 0 {
                    let sent = outgoing(n / 2);
                    let src = self.send(sent).expect("there is room");
                    (sent, Tuple { src, ..sent }.reversed())
                } else {
                    let call = incoming(n / 2);
                    let to = self.receive(call).expect("there is room");
                    let answer = Tuple {
                        src: to.addr,
                        ..call.reversed()
                    };
                    (answer, call)
                }
            })
            .collect()
    }
}

fn publications() -> Vec<Publication> {
    let one = |n| Publication {
        protocol: IpProtocol::UDP,
        host: None,
        ports: PortRange::new(10_000 + n, 10_000 + n).expect("a range"),
        to: server(n),
    };
    (0..PUBLISHED).map(one).collect()
}

const NONE: &BTreeSet<(IpProtocol, u16)> = &BTreeSet::new();

const fn external() -> External<'static> {
    External {
        network: UPLINK,
        addresses: &EXTERNAL,
        ports: PortRange::DYNAMIC,
        spared: NONE,
    }
}

const fn flow(tuple: Tuple) -> Flow {
    Flow {
        tuple,
        segment: Segment::Other,
        len: 1_000,
    }
}

fn addr(ip: u32, port: u32) -> TransportAddr {
    let port = u16::try_from(port).expect("a port");
    TransportAddr::new(IpAddr::V4(Ipv4Addr::from_bits(ip)), port)
}

fn server(n: u16) -> Inside {
    Inside {
        network: INSIDE,
        addr: addr(0x0a01_0000 + u32::from(n), 80),
    }
}

/// The `n`th connection from inside: 1,000 endpoints, ports and peers of each rising.
fn outgoing(n: u32) -> Tuple {
    let (endpoint, nth) = (n % 1_000, n / 1_000);
    Tuple {
        protocol: IpProtocol::UDP,
        src: addr(
            0x0a00_0002 + endpoint,
            32_768 + (endpoint * 13 + nth) % 16_384,
        ),
        dst: addr(0xc633_6400 + nth / 7, 53 + n % 97),
    }
}

/// The `n`th connection from the world.
fn incoming(n: u32) -> Tuple {
    Tuple {
        protocol: IpProtocol::UDP,
        src: addr(0xc612_0000 + n / 1_000, 1_024 + n % 1_000),
        dst: TransportAddr::new(
            EXTERNAL[0],
            10_000 + u16::try_from(n % 10_000).expect("small"),
        ),
    }
}

/// An order in which neither cache nor branch predictor can learn anything.
fn shuffled<T: Copy>(items: &[T]) -> Vec<T> {
    let mut state = 1u64;
    (0..1 << 20)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let draw = usize::try_from(state >> 33).expect("31 bits");
            items[draw % items.len()]
        })
        .collect()
}

/// Sharing ports, so that a million connections have room behind one address.
fn behaviour() -> Behaviour {
    Preset::Linux.behaviour()
}

fn established(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat");
    for size in SIZES {
        let bed = Bed::new(behaviour(), 4 << 20);
        let order = shuffled(&bed.fill(size));
        let mut packets = order.iter().cycle();
        group.bench_function(BenchmarkId::new("established", size), |b| {
            let mut out = false;
            b.iter(|| {
                let &(sent, answer) = packets.next().expect("a cycle does not end");
                out = !out;
                if out {
                    black_box(bed.send(sent).expect("it is known"));
                } else {
                    black_box(bed.receive(answer).expect("it is known"));
                }
            });
        });
    }
    group.finish();
}

/// Returns how long the packets take that begin connections where there are `size` already.
fn begin_all(behaviour: Behaviour, size: u32) -> Duration {
    let bed = Bed::new(behaviour, 4 << 20);
    // What is there already came from the world and holds no port.
    for n in 0..size {
        bed.receive(incoming(n)).expect("there is room");
    }
    let begin = std::time::Instant::now();
    for n in 0..NEW {
        black_box(bed.send(outgoing(n)).expect("there is room"));
    }
    begin.elapsed()
}

fn new(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat");
    for size in SIZES {
        for (name, behaviour) in [
            ("new", behaviour()),
            ("new-endpoint-independent", Preset::Rfc.behaviour()),
        ] {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                // Filling the large table takes far longer than a packet: there a sample is one
                // filling and always so many packets, however few rounds are asked for.
                b.iter_custom(|rounds| {
                    let fillings = if size == SIZES[0] {
                        rounds.div_ceil(u64::from(NEW))
                    } else {
                        1
                    };
                    let taken: u128 = (0..fillings)
                        .map(|_| begin_all(behaviour, size).as_nanos())
                        .sum();
                    let packets = u128::from(fillings) * u128::from(NEW);
                    let all = taken * u128::from(rounds) / packets;
                    Duration::from_nanos(u64::try_from(all).unwrap_or(u64::MAX))
                });
            });
        }
    }
    group.finish();
}

fn rewrite(c: &mut Criterion) {
    let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
    let packet = link.ipv4([10, 0, 0, 2].into(), [198, 51, 100, 9].into());
    let translation = Translation {
        src: addr(0xc633_6401, 50_000),
        dst: addr(0xc633_6409, 80),
    };
    let rewrite = Rewrite {
        dst_mac: MacAddr([6; 6]),
        src_mac: MacAddr([8; 6]),
        outer: Some(translation),
        quoted: None,
        mss: None,
        fragment: None,
    };
    let mut group = c.benchmark_group("nat/rewrite");
    for (payload, superframe) in [(1_446, false), (64_000, true)] {
        let mut bytes = packet.tcp(TcpSegment {
            src_port: 40_000,
            dst_port: 80,
            flags: TcpFlags::ACK,
            payload: &vec![7; payload],
            ..TcpSegment::default()
        });
        let vnet = if superframe {
            craft::superframe(&mut bytes, 1_446).expect("a TCP packet can be cut")
        } else {
            VnetHeader::default()
        };
        let headers = Headers::parse(&bytes).expect("a whole frame");
        let end = bytes.len();
        let mut frame = Frame::new(&mut bytes, 0, end, vnet);
        group.bench_function(end.to_string(), |b| {
            b.iter(|| black_box(rewrite).apply(black_box(&mut frame), &headers));
        });
    }
    group.finish();
}

fn unknown(c: &mut Criterion) {
    let bed = Bed::new(behaviour(), 4 << 20);
    bed.fill(1_000_000);
    let mut n = 0u32;
    c.bench_function("nat/unknown", |b| {
        b.iter(|| {
            n = n.wrapping_add(1);
            let stranger = Tuple {
                protocol: IpProtocol::UDP,
                src: addr(0xc613_0000 + n % 65_536, 7),
                dst: TransportAddr::new(
                    EXTERNAL[0],
                    1_000 + u16::try_from(n % 9_000).expect("small"),
                ),
            };
            black_box(bed.receive(stranger).expect_err("nobody asked for it"));
        });
    });
}

/// A router with two networks, where the rules of the endpoint 10.0.0.2 and the peers of both may be
/// others.
fn router(live: &Arc<Live>, default: Action, peers: &[NetworkId]) -> Router {
    let inside = |network: NetworkId, address: &str| InterfaceConfig {
        network,
        role: Role::Inside(InsideRole {
            settings: Routing {
                nat: Nat {
                    preset: Preset::Linux,
                    quota: u32::MAX,
                    ..Nat::default()
                },
                ..Routing::default()
            },
            overlapping: false,
            peers: peers.to_vec(),
            uplink: Some(UPLINK),
            leases: BTreeMap::new(),
        }),
        mac: MacAddr([2; 6]),
        addresses: vec![address.parse().expect("an address")],
        mtu: 1_500,
        neighbours: BTreeMap::new(),
        peer: None,
    };
    let uplink = InterfaceConfig {
        network: UPLINK,
        role: Role::Uplink(UplinkRole {
            gateways: Vec::new(),
            ports: PortRange::DYNAMIC,
            spared: BTreeSet::new(),
        }),
        ..inside(UPLINK, "198.51.100.1/24")
    };
    let config = Config {
        interfaces: vec![
            inside(INSIDE, "10.0.0.1/8"),
            inside(OTHER, "172.16.0.1/24"),
            uplink,
        ],
        publications: publications(),
        rules: vec![EndpointRules {
            network: INSIDE,
            ip: addr(0x0a00_0002, 1).ip,
            policy: Policy {
                default,
                rules: Vec::new(),
            },
        }],
    };
    Router::new(config, Arc::clone(live)).expect("nothing contradicts itself")
}

/// Revokes by turns what `changes` forbid, with a million connections there.
fn revoke(c: &mut Criterion) {
    let bed = Bed::new(behaviour(), 4 << 20);
    let packets = shuffled(&bed.fill(1_000_000));
    let Bed {
        tables,
        published,
        settings,
    } = bed;
    let live = Arc::new(Live {
        tables,
        ..Live::new(1, 0)
    });
    let before = router(&live, Action::Allow, &[OTHER]);
    let after = [
        ("nothing", router(&live, Action::Allow, &[OTHER])),
        ("endpoint", router(&live, Action::Deny, &[OTHER])),
        ("network", router(&live, Action::Allow, &[])),
    ];
    // What one rule forbids is gone after the first round: the others find nothing to remove.
    for (name, after) in &after {
        c.bench_function(&format!("nat/revoke/{name}"), |b| {
            b.iter(|| black_box(after.revoke_since(&before, NOW)));
        });
    }
    let send = |tuple: Tuple| {
        let translator = Translator {
            tables: &live.tables,
            published: &published,
            settings: &settings,
            now: NOW,
            effects: Effects::Live,
        };
        black_box(translator.outbound(INSIDE, &flow(tuple), &external(), || Ok(()))).is_ok()
    };
    for (name, after) in &after {
        c.bench_function(&format!("nat/revoke-stall/{name}"), |b| {
            b.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| stall(&packets, send, || after.revoke_since(&before, NOW)))
                    .sum()
            });
        });
    }
}

/// The longest that a packet took while `work` was done by another thread.
fn stall(
    packets: &[(Tuple, Tuple)],
    send: impl Fn(Tuple) -> bool,
    work: impl FnOnce() -> usize + Send,
) -> Duration {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            black_box(work());
            done.store(true, Relaxed);
        });
        let times = packets
            .iter()
            .cycle()
            .take_while(|_| !done.load(Relaxed))
            .map(|(sent, _)| {
                let begin = std::time::Instant::now();
                black_box(send(*sent));
                begin.elapsed()
            });
        times.max().unwrap_or_default()
    })
}

fn grow(c: &mut Criterion) {
    c.bench_function("nat/grow", |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let bed = Bed::new(behaviour(), 1 << 20);
                    (0..900_000)
                        .map(|n| {
                            let begin = std::time::Instant::now();
                            let _ = black_box(bed.receive(incoming(n)));
                            begin.elapsed()
                        })
                        .max()
                        .unwrap_or_default()
                })
                .sum::<Duration>()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = established, rewrite, unknown, new, revoke, grow
}
criterion_main!(benches);
