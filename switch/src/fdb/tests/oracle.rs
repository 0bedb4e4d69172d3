//! The same rules over a map, as dumb as can be, driven by the same random transitions.
//!
//! What the rules leave open (which entry of the losing port goes, how far a bounded sweep comes) the
//! oracle adopts from the table, after checking that the rules allow it.

use super::super::*;
use super::{at, mac, place, vlan};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Learn {
        vlan: u16,
        mac: u64,
        at: Location,
    },
    AddStatic {
        vlan: u16,
        mac: u64,
        at: Location,
    },
    Remove {
        vlan: u16,
        mac: u64,
    },
    Flush {
        port: Option<u16>,
        vlan: Option<u16>,
        statics: bool,
    },
    Expire {
        budget: usize,
    },
    Clock {
        to: u64,
    },
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    at: Location,
    kind: Kind,
    seen: u64,
}

type Id = (VlanId, MacAddr);

struct Oracle {
    rows: BTreeMap<Id, Row>,
    max_entries: usize,
    max_per_port: usize,
    ageing: u64,
    stats: FdbStats,
}

/// Which entry may go to make room for one of `port`.
enum Victim {
    None,
    Of(PortId),
    Any,
}

impl Oracle {
    fn aged(&self, row: &Row, now: u64) -> bool {
        row.kind == Kind::Learned && self.ageing > 0 && now.saturating_sub(row.seen) > self.ageing
    }

    fn learned(&self, port: PortId) -> usize {
        self.rows
            .values()
            .filter(|row| row.at.port == port && row.kind == Kind::Learned)
            .count()
    }

    fn most(&self) -> usize {
        self.rows
            .values()
            .map(|row| {
                if row.kind == Kind::Learned {
                    self.learned(row.at.port)
                } else {
                    0
                }
            })
            .max()
            .unwrap_or(0)
    }

    /// Returns who loses an entry when `port` learns a new address; `Err` when nobody can.
    fn victim(&self, port: PortId) -> Result<Victim, ()> {
        let own = self.learned(port);
        if own >= self.max_per_port {
            return Ok(Victim::Of(port));
        }
        match self.most() {
            _ if self.rows.len() < self.max_entries => Ok(Victim::None),
            0 => Err(()),
            most if most > own => Ok(Victim::Any),
            _ => Ok(Victim::Of(port)),
        }
    }

    /// Adopts the loss of the one entry that is missing in `fdb`, if `victim` allows it.
    fn lose(&mut self, fdb: &Fdb, victim: &Victim, now: u64) -> Option<Evicted> {
        let holds: Vec<Id> = everything(fdb).iter().map(|e| (e.vlan, e.mac)).collect();
        let missing: Vec<Id> = self
            .rows
            .keys()
            .filter(|id| !holds.contains(id))
            .copied()
            .collect();
        let most = self.most();
        let gone = match (victim, missing.as_slice()) {
            (Victim::None, []) => return None,
            (Victim::Of(port), [gone]) => {
                assert_eq!(self.rows[gone].at.port, *port, "the port's own entry goes");
                *gone
            }
            (Victim::Any, [gone]) => {
                assert_eq!(
                    self.learned(self.rows[gone].at.port),
                    most,
                    "the port with most entries loses one"
                );
                *gone
            }
            (Victim::None | Victim::Of(_) | Victim::Any, many) => panic!("lost {many:?}"),
        };
        let row = self.rows.remove(&gone).unwrap();
        assert_eq!(row.kind, Kind::Learned, "static entries stay");
        if self.aged(&row, now) {
            self.stats.expired += 1;
            return None;
        }
        self.stats.evicted += 1;
        Some(Evicted {
            vlan: gone.0,
            mac: gone.1,
            at: row.at,
        })
    }

    fn learn(&mut self, fdb: &Fdb, id: Id, place: Location, now: u64) {
        let port = place.port;
        let foretold = fdb.assess(id.0, id.1, place, at(now));
        let taught = fdb.learn(id.0, id.1, place, at(now));
        assert_eq!(taught, foretold, "assess foretells learn");
        let row = Row {
            at: place,
            kind: Kind::Learned,
            seen: now,
        };
        let old = self.rows.get(&id).copied();
        if let Some(old) = old.filter(|old| !self.aged(old, now)) {
            let expected = match (old.at == place, old.kind) {
                (true, Kind::Static) => Learning::Known,
                (true, Kind::Learned) if old.seen >= now => Learning::Known,
                (true, Kind::Learned) => Learning::Refresh,
                (false, Kind::Static) => Learning::StaticElsewhere { on: old.at },
                (false, Kind::Learned) => Learning::Moved { from: old.at },
            };
            assert_eq!(taught, expected);
            match expected {
                Learning::Refresh => _ = self.rows.insert(id, row),
                Learning::Moved { .. } => {
                    let full = old.at.port != port && self.learned(port) >= self.max_per_port;
                    let victim = if full { Victim::Of(port) } else { Victim::None };
                    self.lose(fdb, &victim, now);
                    self.rows.insert(id, row);
                    self.stats.moved += 1;
                }
                Learning::StaticElsewhere { .. } => self.stats.refused += 1,
                Learning::Known | Learning::New { .. } | Learning::NoRoom => {}
            }
            return;
        }
        if old.is_some() {
            self.rows.remove(&id);
            self.stats.expired += 1;
        }
        let Ok(victim) = self.victim(port) else {
            assert_eq!(taught, Learning::NoRoom);
            self.stats.refused += 1;
            return;
        };
        let evicted = self.lose(fdb, &victim, now);
        assert_eq!(taught, Learning::New { evicted });
        self.rows.insert(id, row);
        self.stats.learned += 1;
    }

    fn add_static(&mut self, fdb: &Fdb, id: Id, place: Location) {
        let answer = fdb.add_static(id.0, id.1, place);
        match self.rows.get(&id) {
            Some(old) if old.kind == Kind::Static && old.at != place => {
                assert_eq!(
                    answer,
                    Err(FdbError::StaticElsewhere {
                        vlan: id.0,
                        mac: id.1,
                        on: old.at
                    })
                );
                return;
            }
            Some(_) | None => _ = self.rows.remove(&id),
        }
        let full = self.rows.len() >= self.max_entries;
        if full && self.most() == 0 {
            assert_eq!(
                answer,
                Err(FdbError::Full {
                    max: u32::try_from(self.max_entries).unwrap()
                })
            );
            return;
        }
        assert_eq!(answer, Ok(()));
        // Nobody says what time it is, so nothing is known to have aged.
        self.lose(fdb, if full { &Victim::Any } else { &Victim::None }, 0);
        self.rows.insert(
            id,
            Row {
                at: place,
                kind: Kind::Static,
                seen: u64::MAX,
            },
        );
    }

    fn flush(&mut self, fdb: &Fdb, filter: FlushFilter) {
        let before = self.rows.len();
        self.rows.retain(|id, row| {
            !(filter.port.is_none_or(|port| port == row.at.port)
                && filter.vlan.is_none_or(|vlan| vlan == id.0)
                && (filter.statics || row.kind == Kind::Learned))
        });
        assert_eq!(fdb.flush(filter), before - self.rows.len());
    }

    fn expire(&mut self, fdb: &Fdb, now: u64, budget: usize) {
        let expired = fdb.expire(at(now), budget);
        assert!(expired <= budget);
        let holds: Vec<Id> = everything(fdb).iter().map(|e| (e.vlan, e.mac)).collect();
        let gone: Vec<Id> = self
            .rows
            .keys()
            .filter(|id| !holds.contains(id))
            .copied()
            .collect();
        assert_eq!(gone.len(), expired);
        for id in gone {
            let row = self.rows.remove(&id).unwrap();
            assert!(self.aged(&row, now), "{row:?} has not aged at {now}");
        }
        self.stats.expired += expired as u64;
        assert!(
            budget < fdb.places() || !self.rows.values().any(|row| self.aged(row, now)),
            "a whole sweep leaves nothing aged"
        );
    }

    fn compare(&self, fdb: &Fdb, now: u64) {
        let live: Vec<Entry> = self
            .rows
            .iter()
            .filter(|(_, row)| !self.aged(row, now))
            .map(|(&(vlan, mac), row)| {
                let age = Duration::from_secs(now.saturating_sub(row.seen));
                Entry {
                    vlan,
                    mac,
                    at: row.at,
                    kind: row.kind,
                    age,
                }
            })
            .collect();
        assert_eq!(fdb.entries(at(now)), live);
        assert_eq!(fdb.len(), self.rows.len());
        assert!(self.rows.len() <= self.max_entries);
        assert!(
            self.rows
                .values()
                .all(|row| row.kind == Kind::Static
                    || self.learned(row.at.port) <= self.max_per_port)
        );
        for v in VLANS {
            for n in 0..MACS {
                let id = (vlan(v), mac(n));
                let expected = match self.rows.get(&id).filter(|row| !self.aged(row, now)) {
                    Some(row) => Lookup::Found {
                        at: row.at,
                        kind: row.kind,
                    },
                    None => Lookup::Unknown,
                };
                assert_eq!(fdb.lookup(id.0, id.1, at(now)), expected);
            }
        }
        assert_eq!(fdb.stats(), self.stats);
        fdb.audit();
    }
}

/// Every entry, aged ones included: at the origin of time all are young.
fn everything(fdb: &Fdb) -> Vec<Entry> {
    fdb.entries(Instant::ZERO)
}

const VLANS: std::ops::Range<u16> = 1..3;
const MACS: u64 = 24;
const PORTS: u16 = 4;
const PEERS: u16 = 2;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Skewed: port 0 talks most.
        20 => (VLANS, 0..MACS, (0..PORTS, 0..PORTS, 0..PEERS)).prop_map(|(vlan, mac, (a, b, peer))| Step::Learn { vlan, mac, at: place(a.min(b), peer) }),
        2 => (VLANS, 0..MACS, 0..PORTS, 0..PEERS).prop_map(|(vlan, mac, port, peer)| Step::AddStatic { vlan, mac, at: place(port, peer) }),
        2 => (VLANS, 0..MACS).prop_map(|(vlan, mac)| Step::Remove { vlan, mac }),
        1 => (prop::option::of(0..PORTS), prop::option::of(VLANS), any::<bool>())
            .prop_map(|(port, vlan, statics)| Step::Flush { port, vlan, statics }),
        1 => prop_oneof![Just(usize::MAX), 0..200usize].prop_map(|budget| Step::Expire { budget }),
        1 => (0..60u64).prop_map(|to| Step::Clock { to }),
        6 => Just(Step::Tick),
    ]
}

proptest! {
    #[test]
    fn the_table_keeps_the_rules(
        seed in any::<u64>(),
        max_entries in 16..32u32,
        max_per_port in prop_oneof![Just(0), 1..8u32],
        ageing in 0..12u64,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let config = FdbConfig { max_entries, max_per_port, ageing: Duration::from_secs(ageing) };
        let fdb = Fdb::new(config, seed);
        let mut oracle = Oracle {
            rows: BTreeMap::new(),
            max_entries: max_entries as usize,
            max_per_port: if max_per_port == 0 { usize::MAX } else { max_per_port as usize },
            ageing,
            stats: FdbStats::default(),
        };
        let mut now = 20;
        for step in steps {
            match step {
                Step::Learn { vlan: v, mac: n, at } => oracle.learn(&fdb, (vlan(v), mac(n)), at, now),
                Step::AddStatic { vlan: v, mac: n, at } => oracle.add_static(&fdb, (vlan(v), mac(n)), at),
                Step::Remove { vlan: v, mac: n } => {
                    let expected = match oracle.rows.remove(&(vlan(v), mac(n))) {
                        Some(Row { at, kind, .. }) => Removal::Removed { at, kind },
                        None => Removal::Absent,
                    };
                    prop_assert_eq!(fdb.remove(vlan(v), mac(n)), expected);
                }
                Step::Flush { port, vlan: v, statics } => {
                    oracle.flush(&fdb, FlushFilter { port: port.map(PortId), vlan: v.map(vlan), statics });
                }
                Step::Expire { budget } => oracle.expire(&fdb, now, budget),
                Step::Clock { to } => now = to,
                Step::Tick => now += 1,
            }
            oracle.compare(&fdb, now);
        }
    }
}
