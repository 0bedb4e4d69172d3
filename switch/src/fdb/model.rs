//! The table's protocol under loom, which runs a model again and again: for the orders in which its
//! threads may meet, and the values that a load may see under C11's rules.
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" cargo test --package clearway-switch --lib --target-dir target/loom model
//! ```
//! Each model is a few steps of a writer (who holds the ledger's lock, and so is one thread) beside
//! a reader or a refresh. Generations come round after two tenancies here instead of sixteen, so
//! the models meet every combination of equal and different generations that a place can show.
//! Two preemptions a run stop a reader between two of its looks and let it go on while the writer
//! is in the middle of its own steps; with three, every model still passes but takes half a minute.

use super::*;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;
use pipeline::PeerId;
use std::time::Duration;

/// Two far ends of one port, and another port.
const P1: Location = place(1, 1);
const P2: Location = place(1, 2);
const P3: Location = place(3, 0);

const fn place(port: u16, peer: u16) -> Location {
    Location {
        port: PortId(port),
        peer: PeerId(peer),
    }
}

/// Returns where key 1 stands.
fn here() -> Place {
    Place::new(0)
}

/// Runs `model` in every order with at most two preemptions.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0242_0000_0000 + n)
}

fn key(n: u64) -> Key {
    Key::new(VlanId::DEFAULT, mac(n))
}

fn at(seconds: u64) -> Second {
    Second::new(seconds)
}

fn learned(place: Location) -> Value {
    Value::learned(place, at(1))
}

/// A table of one bucket, with key 1 in its first place, whose station is at `place`.
fn one_entry(place: Location) -> Arc<Table> {
    let table = Table::with_buckets(1, 1);
    table.occupy(here(), key(1), learned(place));
    Arc::new(table)
}

fn place_of(table: &Table, n: u64) -> Option<Location> {
    table.find(key(n)).map(|(_, value)| value.location())
}

/// Looks key `n` up in a thread of its own: loom begins with the writer's steps and then lets the
/// reader come before each.
fn lookup(table: &Arc<Table>, n: u64) -> thread::JoinHandle<Option<Location>> {
    let table = Arc::clone(table);
    thread::spawn(move || place_of(&table, n))
}

/// Evict and insert: what a lookup of key 1 may find while its place goes to these tenants.
fn lookup_beside(tenants: [(u64, Location); 2], possible: &'static [Location]) {
    explore(move || {
        let table = one_entry(P1);
        let reader = lookup(&table, 1);
        for (n, place) in tenants {
            table.vacate(here());
            table.occupy(here(), key(n), learned(place));
        }
        let seen = reader.join().unwrap();
        assert!(
            seen.is_none_or(|place| possible.contains(&place)),
            "{seen:?}"
        );
        let [_, (n, place)] = tenants;
        assert_eq!(place_of(&table, n), Some(place));
    });
}

/// Key 3 has the generation of key 1 again.
#[test]
fn a_lookup_never_takes_the_value_of_another_tenant() {
    lookup_beside([(2, P2), (3, P3)], &[P1]);
}

/// The word of key 1 is the same before and after: only the value's generation tells.
#[test]
fn a_lookup_never_takes_what_stood_there_between_two_tenancies() {
    lookup_beside([(2, P2), (1, P3)], &[P1, P3]);
}

/// The tenant that comes: the second has generation 0, as the value of a free place has.
#[test]
fn a_new_tenant_is_seen_whole_or_not_at_all() {
    explore(|| {
        let table = one_entry(P1);
        let reader = lookup(&table, 2);
        table.vacate(here());
        table.occupy(here(), key(2), learned(P2));
        let seen = reader.join().unwrap();
        assert!(matches!(seen, None | Some(P2)), "{seen:?}");
        assert_eq!(place_of(&table, 2), Some(P2));
    });
}

/// A free place has value 0, and generation 0 as every other tenancy has.
#[test]
fn a_place_that_is_vacated_shows_no_port_zero() {
    explore(|| {
        let table = Table::with_buckets(1, 1);
        table.occupy(here(), key(9), learned(P3));
        table.vacate(here());
        table.occupy(here(), key(1), learned(P1));
        let table = Arc::new(table);
        let writer = thread::spawn({
            let table = Arc::clone(&table);
            move || _ = table.vacate(here())
        });
        let seen = place_of(&table, 1);
        assert!(matches!(seen, None | Some(P1)), "{seen:?}");
        writer.join().unwrap();
    });
}

/// Move: the reader sees the old far end or the new one, and never goes back.
#[test]
fn a_move_is_seen_at_once_and_not_undone() {
    explore(|| {
        let table = one_entry(P1);
        let writer = thread::spawn({
            let table = Arc::clone(&table);
            move || table.set(here(), learned(P2))
        });
        let refresher = thread::spawn({
            let table = Arc::clone(&table);
            move || table.refresh(here(), table.value(here()), at(5))
        });
        let seen = [place_of(&table, 1), place_of(&table, 1)];
        assert!(
            matches!(seen, [Some(P1), Some(P1 | P2)] | [Some(P2), Some(P2)]),
            "{seen:?}"
        );
        writer.join().unwrap();
        refresher.join().unwrap();
        assert_eq!(place_of(&table, 1), Some(P2));
    });
}

/// Refresh beside evict and insert: the new tenant, on the same port, was heard from when it was.
#[test]
fn a_refresh_never_reaches_the_next_tenant() {
    explore(|| {
        let table = one_entry(P1);
        let held = table.value(here());
        let writer = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                let last = table.vacate(here());
                table.occupy(here(), key(2), learned(P1));
                last.seen()
            }
        });
        let refreshed = table.refresh(here(), held, at(5));
        let last = writer.join().unwrap();
        assert_eq!(last, if refreshed { at(5) } else { at(1) });
        let (_, value) = table.find(key(2)).unwrap();
        assert_eq!(value.seen(), at(1));
    });
}

/// Relocation beside a refresh and a lookup: a refresh that succeeded is not lost, and whoever finds
/// the entry finds where its station is.
#[test]
fn a_relocated_entry_keeps_its_place_and_its_age() {
    explore(|| {
        let table = one_entry(P1);
        let held = table.value(here());
        let there = Place::from(u32::from(here()) + 1);
        let writer = thread::spawn({
            let table = Arc::clone(&table);
            move || table.relocate(here(), there)
        });
        let refreshed = table.refresh(here(), held, at(5));
        let seen = place_of(&table, 1);
        assert!(matches!(seen, None | Some(P1)), "{seen:?}");
        writer.join().unwrap();
        let (place, value) = table.find(key(1)).unwrap();
        assert_eq!((place, value.location()), (there, P1));
        assert_eq!(value.seen(), if refreshed { at(5) } else { at(1) });
    });
}

/// The whole database, lock included: two ports claim addresses in a table for one entry.
#[test]
fn two_learners_and_a_lookup_agree_in_the_end() {
    explore(|| {
        let config = FdbConfig {
            ageing: Duration::ZERO,
            ..FdbConfig::default()
        };
        let fdb = Arc::new(Fdb::with_table(config, 1, Table::with_buckets(1, 1)));
        let learner = thread::spawn({
            let fdb = Arc::clone(&fdb);
            move || _ = fdb.learn(VlanId::DEFAULT, mac(1), P1, Instant::from_secs(1))
        });
        let _ = fdb.learn(VlanId::DEFAULT, mac(2), P3, Instant::from_secs(1));
        let seen = fdb.lookup(VlanId::DEFAULT, mac(1), Instant::from_secs(1));
        let possible = Lookup::Found {
            at: P1,
            kind: Kind::Learned,
        };
        assert!(seen == Lookup::Unknown || seen == possible, "{seen:?}");
        learner.join().unwrap();
        let left = fdb.entries(Instant::from_secs(1));
        assert_eq!((left.len(), fdb.lock().audit().len()), (1, 1), "{left:?}");
        assert_eq!(fdb.stats().evicted, 1);
    });
}
