//! The forwarding database: behind which port of one network, and which of its far ends, is which MAC
//! address?
//!
//! One [`Fdb`] belongs to one network and is shared by all workers. It is asked twice for every
//! frame (who sent it, where does it go), so the two questions that have the usual answer take no
//! lock, and everything else takes one.
//!
//! ```text
//!              learn(known)   lookup                learn(new, moved)  add_static
//!                    |          |                   remove  flush  expire
//!                    v          v                          |  one Mutex
//!   table.rs   [ buckets of atomics ] <--- writes ---- [ ledger ]   ledger.rs
//!                 no lock, fixed size                  who holds what, in which order
//! ```
//!
//! # The attack
//! A container sends frames from random source addresses as fast as it can. What it wants and
//! what it gets:
//!
//! * *Memory.* The table is allocated once. Nothing grows with the number of addresses.
//! * *Other ports' entries*, so that their traffic is flooded where the attacker hears it. A port
//!   at its own limit loses its own stalest entry; a full table takes the stalest entry of the
//!   port that holds the most, and of the learning port itself when none holds more. So a port
//!   never loses an entry to a port that holds as many or more: the flooder hurts itself.
//! * *Long chains.* Where an address may stand is decided by a hash with a secret seed, and it is
//!   one of two buckets of four places: eight comparisons are the most that any question costs,
//!   crafted addresses or not.
//! * *Time under the lock.* A new address costs O(log ports): a few list links and a step in a
//!   heap; the search for the stalest entry looks at [`ledger::CHANCES`] entries at most. Known
//!   addresses, however many frames they send, never take the lock.
//!
//! # Time
//! Entries remember the second of the last frame. An entry is found until its age in whole
//! seconds exceeds the ageing time (rounded up to seconds), so it lives at least the ageing time
//! and less than a second more; this is exact whether or not [`Fdb::expire`] came by. An aged
//! entry that was not swept still counts in [`Fdb::len`]. A clock that steps back makes entries
//! young, never old, and a refresh never takes back a later one.
//!
//! # Threads
//! Every method may be called from every thread. A lookup beside a writer answers what was true at
//! some moment during the call; it never answers a port that did not hold that address (table.rs
//! tells why). It may miss an entry that moves to its other bucket at that moment, and then one frame
//! is flooded. A learn that finds anything but the usual asks again under the lock, so it is exact.

mod answers;
mod ledger;
#[cfg(test)]
#[cfg(loom)]
mod model;
mod routers;
mod sync;
mod table;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use answers::{
    Entry, Evicted, FdbConfig, FdbError, FdbStats, FlushFilter, Kind, Learning, Lookup, Removal,
};

// The crate: under loom a module here has the same name.
use ::model::FdbLimits;
use ledger::Ledger;
use pipeline::{Instant, Location, PortId};
use routers::Routers;
use std::sync::atomic::Ordering::Relaxed;
use sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard};
use table::{Key, Place, Room, Second, Table, Value};
use wire::{MacAddr, VlanId};

/// The forwarding database of one network.
#[derive(Debug)]
pub struct Fdb {
    table: Table,
    ageing: Second,
    max_entries: u32,
    max_per_port: u32,
    ledger: Apart<Mutex<Ledger>>,
    refused: Apart<AtomicU64>,
    swept: AtomicUsize,
    routers: Routers,
}

/// Keeps what is written often off the cache lines that every lookup reads.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

/// The state of an entry, for a frame from its address.
enum EntryState {
    Known,
    Refresh,
    Pinned(Location),
    Other(Location),
    Aged,
}

impl Fdb {
    /// An empty table for `config` (its `max_entries` brought into [`FdbLimits::ENTRIES`]).
    /// `seed` decides where addresses stand and is a secret: drawn at random by the caller, and
    /// told to nobody.
    #[must_use]
    pub fn new(config: FdbConfig, seed: u64) -> Self {
        let max_entries = config
            .max_entries
            .clamp(*FdbLimits::ENTRIES.start(), *FdbLimits::ENTRIES.end());
        Self::with_table(config, max_entries, Table::new(max_entries, seed))
    }

    fn with_table(config: FdbConfig, max_entries: u32, table: Table) -> Self {
        let whole = config.ageing.as_secs() + u64::from(config.ageing.subsec_nanos() > 0);
        let ageing = if whole == 0 {
            Second::NEVER
        } else {
            Second::new(whole)
        };
        Self {
            ledger: Apart(Mutex::new(Ledger::new(table.places()))),
            table,
            ageing,
            max_entries,
            max_per_port: if config.max_per_port == 0 {
                u32::MAX
            } else {
                config.max_per_port
            },
            refused: Apart(AtomicU64::new(0)),
            swept: AtomicUsize::new(0),
            routers: Routers::default(),
        }
    }

    /// Returns where `mac` is in `vlan`. Takes no lock.
    #[inline]
    pub fn lookup(&self, vlan: VlanId, mac: MacAddr, now: Instant) -> Lookup {
        match self.table.find(Key::new(vlan, mac)) {
            Some((_, value)) if !value.is_older(self.ageing, Second::of(now)) => Lookup::Found {
                at: value.location(),
                kind: value.kind(),
            },
            Some(_) | None => Lookup::Unknown,
        }
    }

    /// Brings the entry of `mac` towards the cache, so that the misses of a whole batch are waited
    /// for together. Changes and answers nothing.
    #[inline]
    pub fn warm(&self, vlan: VlanId, mac: MacAddr) {
        self.table.warm(Key::new(vlan, mac));
    }

    /// Returns whether the table is larger than a core's own cache, so that [`Fdb::warm`] pays.
    #[inline]
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.table.is_large()
    }

    /// Remembers that a frame from `mac` in `vlan` came from `at`. Takes no lock for an address
    /// that is known there. The caller has checked that `mac` is an individual address.
    #[inline]
    pub fn learn(&self, vlan: VlanId, mac: MacAddr, at: Location, now: Instant) -> Learning {
        let (key, now) = (Key::new(vlan, mac), Second::of(now));
        if let Some((place, value)) = self.table.find(key) {
            match self.sight(value, at, now) {
                EntryState::Known => return Learning::Known,
                EntryState::Refresh if self.table.refresh(place, value, now) => {
                    return Learning::Refresh;
                }
                EntryState::Pinned(on) => {
                    self.refused.0.fetch_add(1, Relaxed);
                    return Learning::StaticElsewhere { on };
                }
                // Somebody was faster, or the ledger is needed.
                EntryState::Refresh | EntryState::Other(_) | EntryState::Aged => {}
            }
        }
        self.learn_locked(key, at, now)
    }

    /// Returns what [`Fdb::learn`] would answer now; changes nothing.
    pub fn assess(&self, vlan: VlanId, mac: MacAddr, at: Location, now: Instant) -> Learning {
        let (key, now) = (Key::new(vlan, mac), Second::of(now));
        let ledger = self.lock();
        let found = self.table.find(key);
        let aged = match found.map(|(_, value)| (value, self.sight(value, at, now))) {
            Some((_, EntryState::Known)) => return Learning::Known,
            Some((_, EntryState::Refresh)) => return Learning::Refresh,
            Some((_, EntryState::Pinned(on))) => return Learning::StaticElsewhere { on },
            Some((_, EntryState::Other(from))) => return Learning::Moved { from },
            Some((value, EntryState::Aged)) => Some(value.port()),
            None => None,
        };
        match self.victim(&ledger, key, at.port, aged) {
            Ok(victim) => Learning::New {
                evicted: victim.and_then(|place| self.evictee(place, now)),
            },
            Err(NoRoom) => Learning::NoRoom,
        }
    }

    /// Configures that `mac` in `vlan` is at `at`. A learned entry becomes static; a full
    /// table evicts a learned one.
    ///
    /// # Errors
    /// The address is no individual one, is static elsewhere, or no room is left.
    pub fn add_static(&self, vlan: VlanId, mac: MacAddr, at: Location) -> Result<(), FdbError> {
        if !mac.is_valid_source() {
            return Err(FdbError::NotIndividual { mac });
        }
        let key = Key::new(vlan, mac);
        let mut ledger = self.lock();
        if let Some((place, value)) = self.table.find(key) {
            match value.kind() {
                Kind::Static if value.location() == at => return Ok(()),
                Kind::Static => {
                    return Err(FdbError::StaticElsewhere {
                        vlan,
                        mac,
                        on: value.location(),
                    });
                }
                Kind::Learned => _ = self.vacate(&mut ledger, place),
            }
        }
        let full = FdbError::Full {
            max: self.max_entries,
        };
        let victim = self
            .victim_for_static(&ledger, key)
            .map_err(|NoRoom| full)?;
        if let Some(place) = victim {
            self.vacate(&mut ledger, place);
            ledger.stats.evicted += 1;
        }
        self.occupy(&mut ledger, key, Value::pinned(at));
        Ok(())
    }

    /// Gives `port` a limit of learned entries of its own (at least one), or takes it back. What it
    /// has learned beyond the limit is forgotten, the stalest first.
    pub fn set_port_limit(&self, port: PortId, limit: Option<u32>) {
        let mut ledger = self.lock();
        ledger.set_limit(port, limit.map(|limit| limit.max(1)));
        while ledger.learned(port) > ledger.limit(port, self.max_per_port) {
            let Some(place) = self.stalest(&ledger, port) else {
                return;
            };
            self.vacate(&mut ledger, place);
            ledger.stats.evicted += 1;
        }
    }

    /// Remembers that a multicast router was heard on `port`.
    pub fn hear_router(&self, port: PortId, now: Instant) {
        self.routers.hear(port, now);
    }

    /// Calls `each` with the ports on which multicast routers were heard, which lasts an hour.
    pub fn each_router(&self, now: Instant, each: impl FnMut(PortId)) {
        self.routers.each(now, each);
    }

    /// Forgets `mac` in `vlan`, static or learned.
    pub fn remove(&self, vlan: VlanId, mac: MacAddr) -> Removal {
        let mut ledger = self.lock();
        let Some((place, _)) = self.table.find(Key::new(vlan, mac)) else {
            return Removal::Absent;
        };
        let value = self.vacate(&mut ledger, place);
        Removal::Removed {
            at: value.location(),
            kind: value.kind(),
        }
    }

    /// Forgets what `filter` names and answers how many entries that were. The cost grows with the
    /// entries of the port, or of the table when no port is named.
    pub fn flush(&self, filter: FlushFilter) -> usize {
        let mut ledger = self.lock();
        let mut places = Vec::new();
        ledger.collect(filter.port, filter.statics, &mut places);
        places.retain(|&place| {
            filter
                .vlan
                .is_none_or(|vlan| self.table.key(place).vlan() == vlan)
        });
        for &place in &places {
            self.vacate(&mut ledger, place);
        }
        places.len()
    }

    /// Every entry that has not aged, sorted by VLAN and address. Takes no lock; an entry that
    /// comes or goes meanwhile may be in the answer or not.
    #[must_use]
    pub fn entries(&self, now: Instant) -> Vec<Entry> {
        let now = Second::of(now);
        let mut entries: Vec<_> = (0..self.table.places())
            .filter_map(|index| self.table.read(Place::new(index)))
            .filter(|(_, value)| !value.is_older(self.ageing, now))
            .map(|(key, value)| Entry {
                vlan: key.vlan(),
                mac: key.mac(),
                at: value.location(),
                kind: value.kind(),
                age: value.age(now),
            })
            .collect();
        entries.sort_by_key(|entry| (entry.vlan, entry.mac));
        // Removed and learned again behind the reader's back, an entry may be seen in two places.
        entries.dedup_by_key(|entry| (entry.vlan, entry.mac));
        entries
    }

    /// Looks at the next `budget` places of the table (there are [`Fdb::places`]; one call looks at
    /// each once at most) and removes what has aged there. Answers how many entries that were. To be
    /// called every second; takes the lock only where something has aged.
    pub fn expire(&self, now: Instant, budget: usize) -> usize {
        let (now, places) = (Second::of(now), self.table.places());
        let budget = budget.min(places);
        let from = self.swept.fetch_add(budget, Relaxed);
        let mut expired = 0;
        for step in 0..budget {
            let place = Place::new(from.wrapping_add(step) % places);
            let aged = |(_, value): (Key, Value)| value.is_older(self.ageing, now);
            if !self.table.read(place).is_some_and(aged) {
                continue;
            }
            let mut ledger = self.lock();
            // Asked again under the lock: it may have been refreshed or replaced.
            if self.table.read(place).is_some_and(aged) {
                self.vacate(&mut ledger, place);
                ledger.stats.expired += 1;
                expired += 1;
            }
        }
        expired
    }

    /// Entries held, those included that aged and were not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places of the table, about three times its entries: the budget of a complete [`Fdb::expire`].
    #[must_use]
    pub fn places(&self) -> usize {
        self.table.places()
    }

    /// Returns what happened since the table was made.
    #[must_use]
    pub fn stats(&self) -> FdbStats {
        let ledger = self.lock();
        FdbStats {
            refused: self.refused.0.load(Relaxed),
            ..ledger.stats
        }
    }
}

/// No entry may make room.
struct NoRoom;

/// The half that works under the ledger's lock.
impl Fdb {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger
            .0
            .lock()
            .expect("nothing panics while it holds the ledger")
    }

    fn sight(&self, value: Value, at: Location, now: Second) -> EntryState {
        let known = value.location();
        if known == at && value.is_fresh(now) {
            return EntryState::Known;
        }
        if value.is_older(self.ageing, now) {
            return EntryState::Aged;
        }
        match (known == at, value.kind()) {
            (true, _) => EntryState::Refresh,
            (false, Kind::Static) => EntryState::Pinned(known),
            (false, Kind::Learned) => EntryState::Other(known),
        }
    }

    #[cold]
    #[inline(never)]
    fn learn_locked(&self, key: Key, at: Location, now: Second) -> Learning {
        let mut ledger = self.lock();
        let Some((place, value)) = self.table.find(key) else {
            return self.insert(&mut ledger, key, at, now);
        };
        match self.sight(value, at, now) {
            EntryState::Known => Learning::Known,
            EntryState::Refresh if self.table.refresh(place, value, now) => Learning::Refresh,
            // Only another worker's refresh can have been faster: values change under the lock else.
            EntryState::Refresh => Learning::Known,
            EntryState::Pinned(on) => {
                self.refused.0.fetch_add(1, Relaxed);
                Learning::StaticElsewhere { on }
            }
            EntryState::Other(from) => {
                let port = at.port;
                if port != from.port
                    && ledger.learned(port) >= ledger.limit(port, self.max_per_port)
                    && let Some(victim) = self.stalest(&ledger, port)
                {
                    self.evict(&mut ledger, victim, now);
                }
                ledger.unlink(place, from.port, Kind::Learned);
                ledger.link(place, port, Kind::Learned, now);
                self.table.set(place, Value::learned(at, now));
                ledger.stats.moved += 1;
                Learning::Moved { from }
            }
            EntryState::Aged => {
                self.vacate(&mut ledger, place);
                ledger.stats.expired += 1;
                self.insert(&mut ledger, key, at, now)
            }
        }
    }

    fn insert(&self, ledger: &mut Ledger, key: Key, at: Location, now: Second) -> Learning {
        let Ok(victim) = self.victim(ledger, key, at.port, None) else {
            self.refused.0.fetch_add(1, Relaxed);
            return Learning::NoRoom;
        };
        let evicted = victim.and_then(|place| self.evict(ledger, place, now));
        self.occupy(ledger, key, Value::learned(at, now));
        ledger.stats.learned += 1;
        Learning::New { evicted }
    }

    /// Returns which entry makes room for `key` on `port`, by the rules of fairness in the header; none when
    /// there is room anyway. `aged` is the port of an aged entry of `key` that goes first.
    fn victim(
        &self,
        ledger: &Ledger,
        key: Key,
        port: PortId,
        aged: Option<PortId>,
    ) -> Result<Option<Place>, NoRoom> {
        if aged.is_none() && self.table.room(key).is_none() {
            return Err(NoRoom);
        }
        let own = ledger.learned(port) - u32::from(aged == Some(port));
        let loser = if own >= ledger.limit(port, self.max_per_port) {
            port
        } else if aged.is_none() && ledger.len() >= self.max_entries as usize {
            let (most, holder) = ledger.largest().ok_or(NoRoom)?;
            if most > own { holder } else { port }
        } else {
            return Ok(None);
        };
        self.stalest(ledger, loser).map(Some).ok_or(NoRoom)
    }

    /// Returns which entry makes room for the static entry `key`.
    fn victim_for_static(&self, ledger: &Ledger, key: Key) -> Result<Option<Place>, NoRoom> {
        if self.table.room(key).is_none() {
            return Err(NoRoom);
        }
        if ledger.len() < self.max_entries as usize {
            return Ok(None);
        }
        let (_, holder) = ledger.largest().ok_or(NoRoom)?;
        self.stalest(ledger, holder).map(Some).ok_or(NoRoom)
    }

    fn stalest(&self, ledger: &Ledger, port: PortId) -> Option<Place> {
        ledger.stalest(port, |place| self.table.value(place).seen())
    }

    /// Returns what evicting `place` takes from the table, if it has not aged anyway.
    fn evictee(&self, place: Place, now: Second) -> Option<Evicted> {
        let (key, value) = (self.table.key(place), self.table.value(place));
        let live = !value.is_older(self.ageing, now);
        live.then(|| Evicted {
            vlan: key.vlan(),
            mac: key.mac(),
            at: value.location(),
        })
    }

    fn evict(&self, ledger: &mut Ledger, place: Place, now: Second) -> Option<Evicted> {
        let evicted = self.evictee(place, now);
        match evicted {
            Some(_) => ledger.stats.evicted += 1,
            None => ledger.stats.expired += 1,
        }
        ledger.pass_over(self.table.value(place).port(), place, |place| {
            self.table.value(place).seen()
        });
        self.vacate(ledger, place);
        evicted
    }

    fn occupy(&self, ledger: &mut Ledger, key: Key, value: Value) {
        let place = match self
            .table
            .room(key)
            .expect("the caller found room, and nobody took it")
        {
            Room::Free(place) => place,
            Room::After { from, to } => {
                let resident = self.table.value(from);
                self.table.relocate(from, to);
                ledger.renumber(from, to, resident.port(), resident.kind());
                from
            }
        };
        self.table.occupy(place, key, value);
        ledger.link(place, value.port(), value.kind(), value.seen());
    }

    /// Frees `place` and answers the last value it had.
    fn vacate(&self, ledger: &mut Ledger, place: Place) -> Value {
        let value = self.table.vacate(place);
        ledger.unlink(place, value.port(), value.kind());
        value
    }
}
