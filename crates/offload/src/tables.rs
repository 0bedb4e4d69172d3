//! The maps of the program of leases.

use crate::{Interfaces, WORDS};
use lease::program::map;
use lease::{Carried, Kernel, Key, Lease, Port, Terms};
use loader::{LoadError, Maps, Words};
use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};
use std::mem::offset_of;
use std::time::Duration;

/// The maps, and their memory as far as it is shared.
#[derive(Debug)]
pub(crate) struct Tables {
    maps: Maps,
    terms: Words,
    slots: Words,
}

/// The places of a lease's fields among its words.
const OPEN: usize = word(offset_of!(Lease, open));
const FRAMES: usize = word(offset_of!(Lease, frames));
const BYTES: usize = word(offset_of!(Lease, bytes));
const LAST: usize = word(offset_of!(Lease, last));

const fn word(offset: usize) -> usize {
    assert!(offset.is_multiple_of(size_of::<u64>()), "a word's start");
    offset / size_of::<u64>()
}

const fn start(slot: u32) -> usize {
    slot as usize * WORDS
}

impl Tables {
    pub(crate) fn new(maps: Maps) -> Result<Self, LoadError> {
        Ok(Self {
            terms: Words::open(&maps[map::TERMS])?,
            slots: Words::open(&maps[map::LEASES])?,
            maps,
        })
    }

    /// Takes a port in; it is locked until the topology says otherwise.
    pub(crate) fn put_port(&self, at: Interfaces) -> Result<(), LoadError> {
        self.maps[map::PORTS].insert(&at.host, &Port::new(at.tap))
    }

    pub(crate) fn remove_port(&self, host: u32) -> Result<(), LoadError> {
        self.maps[map::PORTS].remove(&host).map(drop)
    }

    pub(crate) fn extend(&self, by: Duration) {
        // The clock that the program reads, which lags behind the exact one.
        let now = clock_gettime(ClockId::MonotonicCoarse);
        let now = Duration::new(
            now.tv_sec.unsigned_abs(),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        );
        let until = u64::try_from((now + by).as_nanos()).unwrap_or(u64::MAX);
        self.terms.store(Terms::UNTIL, until);
    }
}

impl Kernel for Tables {
    fn fill(&self, slot: u32, lease: &Lease) {
        let words: [u64; WORDS] = zerocopy::transmute!(*lease);
        // The word that opens it is the last.
        let others = (0..WORDS).filter(|&at| at != OPEN);
        for at in others.chain([OPEN]) {
            self.slots.store(start(slot) + at, words[at]);
        }
    }

    fn close(&self, slot: u32) {
        let at = start(slot) + OPEN;
        let [_, out]: [u32; 2] = zerocopy::transmute!(self.slots.load(at));
        self.slots.store(at, zerocopy::transmute!([0, out]));
    }

    fn carried(&self, slot: u32) -> Carried {
        let load = |at| self.slots.load(start(slot) + at);
        Carried {
            frames: load(FRAMES),
            bytes: load(BYTES),
            last: load(LAST),
        }
    }

    fn insert(&self, key: &Key, slot: u32) -> bool {
        match self.maps[map::KEYS].insert(key, &slot) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a lease found no room");
                false
            }
        }
    }

    fn remove(&self, key: &Key) {
        // A key that stays leads to a closed slot, or to one of another key.
        if let Err(error) = self.maps[map::KEYS].remove(key) {
            tracing::warn!(%error, "a lease's key was left behind");
        }
    }

    fn lock(&self, interface: u32, locked: bool) {
        let ports = &self.maps[map::PORTS];
        let changed = match ports.lookup::<u32, Port>(&interface) {
            Ok(Some(port)) => {
                let locked = locked.into();
                ports.insert(&interface, &Port { locked, ..port })
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = changed {
            tracing::warn!(%error, "a port's frames all stay in userspace");
        }
    }

    fn begin(&self, generation: u32) {
        self.terms.store(Terms::GENERATION, generation.into());
    }

    fn wait(&self) {
        // Returns after a grace period of RCU, within which each run of a program lies.
        if let Err(error) = membarrier(MembarrierCommand::Global) {
            tracing::warn!(%error, "cannot wait for running programs");
        }
    }
}
