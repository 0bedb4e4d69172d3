//! The forwarding database against its table of rules, a dumb oracle, a flood, and many threads.

use super::*;
use pipeline::PeerId;
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

mod oracle;

const P1: Location = place(1, 0);
const P2: Location = place(2, 5);
const P3: Location = place(3, 0);

const fn place(port: u16, peer: u16) -> Location {
    Location {
        port: PortId(port),
        peer: PeerId(peer),
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

/// An individual address for each number.
fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0242_0000_0000 + n)
}

/// Addresses as an attacker draws them.
fn random_mac(n: u64) -> MacAddr {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    MacAddr::from_u64((mixed ^ (mixed >> 29)) & 0xfeff_ffff_ffff)
}

fn fdb(config: FdbConfig) -> Fdb {
    Fdb::new(config, 0xfeed)
}

fn found(at: Location, kind: Kind) -> Lookup {
    Lookup::Found { at, kind }
}

impl Fdb {
    /// Learns in VLAN 1 at second 0.
    fn put(&self, address: MacAddr, at: Location) -> Learning {
        self.learn(VlanId::DEFAULT, address, at, Instant::ZERO)
    }

    fn get(&self, address: MacAddr) -> Lookup {
        self.lookup(VlanId::DEFAULT, address, Instant::ZERO)
    }

    /// Checks that ledger and table agree.
    fn audit(&self) {
        let ledger = self.lock();
        let mut booked = ledger.audit();
        for &(port, kind, place) in &booked {
            let (key, value) = self.table.read(place).expect("a booked place is held");
            assert_eq!((value.port(), value.kind()), (port, kind));
            assert_eq!(self.table.find(key), Some((place, value)));
        }
        booked.sort_by_key(|&(_, _, place)| place);
        let held: Vec<_> = (0..self.places())
            .map(Place::new)
            .filter(|&place| self.table.read(place).is_some())
            .collect();
        assert_eq!(
            held,
            booked
                .iter()
                .map(|&(_, _, place)| place)
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn learn_refresh_move() {
    let fdb = fdb(FdbConfig::default());
    let (v, m) = (vlan(7), mac(1));
    assert_eq!(fdb.lookup(v, m, at(10)), Lookup::Unknown);
    for (port, second, taught) in [
        (P1, 10, Learning::New { evicted: None }),
        (P1, 10, Learning::Known),
        (P1, 11, Learning::Refresh),
        (P1, 9, Learning::Known), // the clock of another worker, a moment behind
        (P2, 11, Learning::Moved { from: P1 }),
        (P2, 11, Learning::Known),
    ] {
        assert_eq!(fdb.assess(v, m, port, at(second)), taught);
        assert_eq!(fdb.learn(v, m, port, at(second)), taught);
    }
    assert_eq!(fdb.lookup(v, m, at(11)), found(P2, Kind::Learned));
    assert_eq!(
        fdb.lookup(vlan(8), m, at(11)),
        Lookup::Unknown,
        "another VLAN is another address"
    );
    assert_eq!(
        fdb.stats(),
        FdbStats {
            learned: 1,
            moved: 1,
            ..FdbStats::default()
        }
    );
}

#[test]
fn an_entry_ages_by_the_clock_and_not_by_the_sweep() {
    let fdb = fdb(FdbConfig {
        ageing: Duration::from_secs(300),
        ..FdbConfig::default()
    });
    let (v, m) = (vlan(1), mac(1));
    let _ = fdb.learn(v, m, P1, at(100));
    assert_eq!(fdb.lookup(v, m, at(400)), found(P1, Kind::Learned));
    assert_eq!(fdb.lookup(v, m, at(401)), Lookup::Unknown);
    assert_eq!((fdb.entries(at(401)), fdb.len()), (vec![], 1));
    // Aged it may be anywhere: there is nothing to move.
    assert_eq!(
        fdb.learn(v, m, P2, at(401)),
        Learning::New { evicted: None }
    );
    assert_eq!(fdb.expire(at(701), usize::MAX), 0);
    assert_eq!(fdb.expire(at(702), usize::MAX), 1);
    assert!(fdb.is_empty());
    assert_eq!(
        fdb.stats(),
        FdbStats {
            learned: 2,
            expired: 2,
            ..FdbStats::default()
        }
    );
}

#[test]
fn ageing_rounds_up_and_zero_is_never() {
    let half = fdb(FdbConfig {
        ageing: Duration::from_millis(500),
        ..FdbConfig::default()
    });
    let _ = half.put(mac(1), P1);
    assert_eq!(
        half.lookup(VlanId::DEFAULT, mac(1), at(1)),
        found(P1, Kind::Learned)
    );
    assert_eq!(half.lookup(VlanId::DEFAULT, mac(1), at(2)), Lookup::Unknown);
    let never = fdb(FdbConfig {
        ageing: Duration::ZERO,
        ..FdbConfig::default()
    });
    let _ = never.put(mac(1), P1);
    let end = Instant::from_nanos(u64::MAX);
    assert_eq!(
        never.lookup(VlanId::DEFAULT, mac(1), end),
        found(P1, Kind::Learned)
    );
    assert_eq!(never.expire(end, usize::MAX), 0);
}

#[test]
fn the_sweep_is_bounded_and_comes_round() {
    let fdb = fdb(FdbConfig::default());
    for n in 0..1000 {
        let _ = fdb.put(mac(n), P1);
    }
    let (late, share) = (at(1000), fdb.places() / 10);
    let first = fdb.expire(late, share);
    assert!(
        (1..400).contains(&first),
        "{first} of 1000 in a tenth of the table"
    );
    assert_eq!(
        first + (0..10).map(|_| fdb.expire(late, share)).sum::<usize>(),
        1000
    );
    fdb.audit();
}

#[test]
fn static_entries_stay() {
    let fdb = fdb(FdbConfig::default());
    let (v, m) = (vlan(1), mac(1));
    let _ = fdb.learn(v, m, P1, at(0));
    assert_eq!(
        fdb.add_static(v, m, P2),
        Ok(()),
        "a learned entry becomes static"
    );
    assert_eq!(fdb.add_static(v, m, P2), Ok(()));
    assert_eq!(
        fdb.add_static(v, m, P3),
        Err(FdbError::StaticElsewhere {
            vlan: v,
            mac: m,
            on: P2
        })
    );
    assert_eq!(fdb.learn(v, m, P2, at(5)), Learning::Known);
    assert_eq!(
        fdb.assess(v, m, P1, at(5)),
        Learning::StaticElsewhere { on: P2 }
    );
    assert_eq!(
        fdb.learn(v, m, P1, at(5)),
        Learning::StaticElsewhere { on: P2 }
    );
    assert_eq!(
        fdb.lookup(v, m, Instant::from_nanos(u64::MAX)),
        found(P2, Kind::Static)
    );
    assert_eq!(fdb.flush(FlushFilter::default()), 0);
    assert_eq!(
        fdb.remove(v, m),
        Removal::Removed {
            at: P2,
            kind: Kind::Static
        }
    );
    assert_eq!(fdb.remove(v, m), Removal::Absent);
    assert_eq!(fdb.stats().refused, 1);
}

#[test]
fn no_port_can_hold_a_group_address() {
    let fdb = fdb(FdbConfig::default());
    for wrong in [
        MacAddr::BROADCAST,
        MacAddr::ZERO,
        MacAddr([1, 0, 0x5e, 0, 0, 1]),
    ] {
        let error = fdb.add_static(vlan(1), wrong, P1).unwrap_err();
        assert_eq!(error, FdbError::NotIndividual { mac: wrong });
        assert!(error.to_string().contains(&wrong.to_string()));
    }
}

#[test]
fn static_entries_can_fill_the_table_and_then_nothing_fits() {
    let fdb = fdb(FdbConfig {
        max_entries: 16,
        ..FdbConfig::default()
    });
    let _ = fdb.put(mac(99), P2);
    for n in 0..16 {
        assert_eq!(fdb.add_static(VlanId::DEFAULT, mac(n), P1), Ok(()));
    }
    assert_eq!(
        fdb.get(mac(99)),
        Lookup::Unknown,
        "the learned entry made room"
    );
    assert_eq!(
        fdb.add_static(VlanId::DEFAULT, mac(16), P1),
        Err(FdbError::Full { max: 16 })
    );
    assert_eq!(
        fdb.assess(VlanId::DEFAULT, mac(17), P1, at(0)),
        Learning::NoRoom
    );
    assert_eq!(fdb.put(mac(17), P1), Learning::NoRoom);
    assert_eq!(
        (fdb.len(), fdb.stats().evicted, fdb.stats().refused),
        (16, 1, 1)
    );
    fdb.audit();
}

#[test]
fn flush_takes_what_meets_every_condition() {
    let filled = || {
        let fdb = fdb(FdbConfig::default());
        for (v, port, n) in [(1, P1, 1), (1, P2, 2), (2, P1, 3), (2, P2, 4)] {
            let _ = fdb.learn(vlan(v), mac(n), port, at(0));
            fdb.add_static(vlan(v), mac(10 + n), port).unwrap();
        }
        fdb
    };
    let left = |fdb: &Fdb| {
        fdb.entries(at(0))
            .iter()
            .map(|e| e.mac.to_u64() - mac(0).to_u64())
            .collect::<Vec<_>>()
    };
    for (port, v, statics, rest) in [
        (None, None, false, vec![11, 12, 13, 14]),
        (None, None, true, vec![]),
        (Some(P1.port), None, false, vec![2, 11, 12, 4, 13, 14]),
        (Some(P1.port), None, true, vec![2, 12, 4, 14]),
        (None, Some(2), false, vec![1, 2, 11, 12, 13, 14]),
        (Some(P2.port), Some(1), true, vec![1, 11, 3, 4, 13, 14]),
        (Some(P3.port), None, true, vec![1, 2, 11, 12, 3, 4, 13, 14]),
    ] {
        let fdb = filled();
        let removed = fdb.flush(FlushFilter {
            port,
            vlan: v.map(vlan),
            statics,
        });
        assert_eq!(
            (left(&fdb), removed),
            (rest.clone(), 8 - rest.len()),
            "{port:?} {v:?} {statics}"
        );
        fdb.audit();
    }
}

#[test]
fn entries_are_sorted_by_vlan_and_address_whatever_the_seed() {
    let tables: Vec<_> = [1, 2]
        .map(|seed| Fdb::new(FdbConfig::default(), seed))
        .into_iter()
        .collect();
    for fdb in &tables {
        for n in 0..500 {
            let _ = fdb.learn(vlan(n % 3 + 1), random_mac(n.into()), P1, at(n.into()));
        }
    }
    let entries = tables[0].entries(at(600));
    assert_eq!(entries, tables[1].entries(at(600)));
    assert!(entries.is_sorted_by_key(|e| (e.vlan, e.mac)));
    assert!(
        entries
            .iter()
            .all(|e| e.age >= Duration::from_secs(101) && e.kind == Kind::Learned)
    );
}

#[test]
fn any_place_can_be_held() {
    let fdb = fdb(FdbConfig::default());
    let ends = [0, u16::MAX];
    let places = ends.map(|port| ends.map(|peer| place(port, peer)));
    for (n, at) in (0..).zip(places.into_iter().flatten()) {
        let _ = fdb.put(mac(n), at);
        assert_eq!(fdb.get(mac(n)), found(at, Kind::Learned));
    }
}

/// A far end shares its port's limit: to move to another one takes nobody's entry.
#[test]
fn an_address_moves_between_the_far_ends_of_a_port() {
    let fdb = fdb(FdbConfig {
        max_per_port: 2,
        ..FdbConfig::default()
    });
    let (v, one, other) = (VlanId::DEFAULT, place(4, 1), place(4, 2));
    for n in [1, 2] {
        let _ = fdb.put(mac(n), one);
    }
    let moved = Learning::Moved { from: one };
    assert_eq!(fdb.assess(v, mac(1), other, at(0)), moved);
    assert_eq!(fdb.put(mac(1), other), moved);
    assert_eq!(fdb.put(mac(1), other), Learning::Known);
    assert_eq!(fdb.get(mac(1)), found(other, Kind::Learned));
    assert_eq!(fdb.get(mac(2)), found(one, Kind::Learned));
    assert_eq!((fdb.stats().moved, fdb.stats().evicted), (1, 0));
    assert_eq!(fdb.add_static(v, mac(1), other), Ok(()));
    assert_eq!(
        fdb.put(mac(1), one),
        Learning::StaticElsewhere { on: other }
    );
    fdb.audit();
}

#[test]
fn max_entries_is_brought_into_its_range() {
    let smallest = fdb(FdbConfig {
        max_entries: 0,
        ..FdbConfig::default()
    });
    for n in 0..100 {
        let _ = smallest.put(mac(n), P1);
    }
    assert_eq!(smallest.len(), 16);
}

/// The header's attack: the flooder alone loses entries.
#[test]
fn a_flood_of_addresses_hurts_only_its_port() {
    for max_per_port in [0, 500] {
        let fdb = fdb(FdbConfig {
            max_entries: 2048,
            max_per_port,
            ..FdbConfig::default()
        });
        for n in 0..400 {
            let _ = fdb.put(mac(n), place(u16::try_from(n % 4).unwrap() + 10, 0));
        }
        for n in 0..100_000 {
            let Learning::New { evicted } = fdb.put(random_mac(n), P1) else {
                panic!("address {n} is not new")
            };
            assert!(
                evicted.is_none_or(|evicted| evicted.at == P1),
                "{evicted:?}"
            );
        }
        assert!((0..400).all(|n| fdb.get(mac(n)) != Lookup::Unknown));
        assert_eq!(fdb.len(), if max_per_port == 0 { 2048 } else { 900 });
        fdb.audit();
    }
}

#[test]
fn two_flooders_share_and_the_quiet_port_keeps_its_own() {
    let fdb = fdb(FdbConfig {
        max_entries: 1024,
        ..FdbConfig::default()
    });
    for n in 0..10 {
        let _ = fdb.put(mac(n), P3);
    }
    for n in 0..50_000 {
        let _ = fdb.put(
            random_mac(n),
            if n < 25_000 || n % 2 == 0 { P1 } else { P2 },
        );
    }
    assert!((0..10).all(|n| fdb.get(mac(n)) == found(P3, Kind::Learned)));
    let held = |place| fdb.entries(at(0)).iter().filter(|e| e.at == place).count();
    assert_eq!(
        (held(P1), held(P2)),
        (507, 507),
        "who comes second gets as much"
    );
}

#[test]
fn the_stalest_goes_first_and_a_refreshed_entry_is_passed_over() {
    let fdb = fdb(FdbConfig {
        max_per_port: 3,
        ..FdbConfig::default()
    });
    let v = VlanId::DEFAULT;
    for n in 0..3 {
        let _ = fdb.learn(v, mac(n), P1, at(n));
    }
    assert_eq!(fdb.learn(v, mac(0), P1, at(10)), Learning::Refresh);
    let gone = |n| Learning::New {
        evicted: Some(Evicted {
            vlan: v,
            mac: mac(n),
            at: P1,
        }),
    };
    assert_eq!(fdb.assess(v, mac(3), P1, at(11)), gone(1));
    assert_eq!(fdb.learn(v, mac(3), P1, at(11)), gone(1));
    assert_eq!(fdb.learn(v, mac(4), P1, at(11)), gone(2));
    assert_eq!(fdb.learn(v, mac(5), P1, at(11)), gone(0));
    // A move counts too.
    let _ = fdb.learn(v, mac(6), P2, at(12));
    assert_eq!(
        fdb.learn(v, mac(6), P1, at(12)),
        Learning::Moved { from: P2 }
    );
    assert_eq!(fdb.lookup(v, mac(3), at(12)), Lookup::Unknown);
    fdb.audit();
}

#[test]
fn when_all_were_refreshed_one_goes_nevertheless() {
    for held in [3, 50] {
        let fdb = fdb(FdbConfig {
            max_per_port: held,
            ..FdbConfig::default()
        });
        for second in 0..2 {
            for n in 0..held {
                let _ = fdb.learn(VlanId::DEFAULT, mac(n.into()), P1, at(second));
            }
        }
        let foretold = fdb.assess(VlanId::DEFAULT, mac(1000), P1, at(1));
        assert!(
            matches!(foretold, Learning::New { evicted: Some(_) }),
            "{foretold:?}"
        );
        assert_eq!(fdb.learn(VlanId::DEFAULT, mac(1000), P1, at(1)), foretold);
        fdb.audit();
    }
}

/// Four buckets for up to 16 addresses: residents must go to their other bucket, and at last there
/// is no room. Nobody is lost on the way.
#[test]
fn a_crowded_table_relocates_and_then_refuses() {
    let mut refused = 0;
    for seed in 0..200 {
        let fdb = Fdb::with_table(FdbConfig::default(), 16, Table::with_buckets(4, seed));
        fdb.add_static(VlanId::DEFAULT, mac(1_000), P2).unwrap();
        let mut learned = BTreeSet::new();
        for n in 0..15 {
            let foretold = fdb.assess(VlanId::DEFAULT, mac(n), P1, at(0));
            assert_eq!(fdb.put(mac(n), P1), foretold);
            match foretold {
                Learning::New { evicted: None } => assert!(learned.insert(n)),
                Learning::NoRoom => refused += 1,
                Learning::New { .. }
                | Learning::Known
                | Learning::Refresh
                | Learning::Moved { .. }
                | Learning::StaticElsewhere { .. } => panic!("{foretold:?}"),
            }
            assert!(
                learned
                    .iter()
                    .all(|&n| fdb.get(mac(n)) == found(P1, Kind::Learned))
            );
            assert_eq!(fdb.get(mac(1_000)), found(P2, Kind::Static));
            fdb.audit();
        }
    }
    assert!((1..600).contains(&refused), "{refused} of 3000");
}

/// Evenly spaced addresses are what container runtimes hand out and what attackers try first.
#[test]
fn patterned_addresses_find_room_under_any_seed() {
    for step in [1, 1 << 8, 1 << 20, 0x0001_0001_0001, 641] {
        for seed in 0..4 {
            let fdb = Fdb::new(
                FdbConfig {
                    max_entries: 4096,
                    ..FdbConfig::default()
                },
                seed,
            );
            for n in 0..4096u64 {
                let address = MacAddr::from_u64((n * step) & 0xfeff_ffff_ffff);
                assert_eq!(
                    fdb.put(address, P1),
                    Learning::New { evicted: None },
                    "{n} x {step}, seed {seed}"
                );
            }
        }
    }
}

/// Address `n` is only ever behind ports `n` and `n + 1000` (there behind a far end). Small tables, so that places change
/// hands, residents relocate and entries are evicted all the time.
#[test]
fn many_threads_and_no_answer_that_was_never_true() {
    const ADDRESSES: u64 = 96;
    const ROUNDS: u64 = 60_000;
    let fdb = Fdb::with_table(
        FdbConfig {
            max_per_port: 1,
            ageing: Duration::from_secs(50),
            ..FdbConfig::default()
        },
        24,
        Table::with_buckets(8, 3),
    );
    let places = |n: u64| {
        [
            place(u16::try_from(n).unwrap(), 0),
            place(u16::try_from(n + 1000).unwrap(), 9),
        ]
    };
    let random = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *state >> 33
    };
    let start = Barrier::new(5);
    thread::scope(|scope| {
        for worker in 0..2u64 {
            let (fdb, start) = (&fdb, &start);
            scope.spawn(move || {
                let mut state = worker;
                start.wait();
                for round in 0..ROUNDS {
                    let n = random(&mut state) % ADDRESSES;
                    let side = usize::from(random(&mut state).is_multiple_of(8));
                    let _ = fdb.learn(VlanId::DEFAULT, mac(n), places(n)[side], at(round / 100));
                }
            });
        }
        for worker in 0..2u64 {
            let (fdb, start) = (&fdb, &start);
            scope.spawn(move || {
                let (mut state, mut hits) = (worker + 10, 0);
                start.wait();
                for round in 0..ROUNDS * 4 {
                    let n = random(&mut state) % ADDRESSES;
                    fdb.warm(VlanId::DEFAULT, mac(n));
                    if let Lookup::Found { at: place, .. } =
                        fdb.lookup(VlanId::DEFAULT, mac(n), at(round / 400))
                    {
                        assert!(places(n).contains(&place), "{place} never held {n}");
                        hits += 1;
                    }
                }
                assert!(hits > 0);
            });
        }
        start.wait();
        let mut state = 99;
        for round in 0..ROUNDS / 10 {
            let n = random(&mut state) % ADDRESSES;
            match random(&mut state) % 8 {
                0 => {
                    _ = fdb.flush(FlushFilter {
                        port: Some(places(n)[0].port),
                        ..FlushFilter::default()
                    });
                }
                1 => _ = fdb.remove(VlanId::DEFAULT, mac(n)),
                2 => _ = fdb.add_static(VlanId::DEFAULT, mac(n % 4), places(n % 4)[0]),
                3 => _ = fdb.remove(VlanId::DEFAULT, mac(n % 4)),
                4 => _ = fdb.assess(VlanId::DEFAULT, mac(n), places(n)[1], at(round / 10)),
                5 => _ = fdb.expire(at(round / 10), 16),
                6 => {
                    for entry in fdb.entries(at(0)) {
                        let n = entry.mac.to_u64() - mac(0).to_u64();
                        assert!(places(n).contains(&entry.at), "{entry:?}");
                    }
                }
                _ => assert!(fdb.len() <= 24),
            }
        }
    });
    fdb.audit();
    let all = fdb.len();
    assert_eq!(fdb.entries(at(0)).len(), all);
    assert_eq!(
        fdb.flush(FlushFilter {
            statics: true,
            ..FlushFilter::default()
        }),
        all
    );
}
