//! The maps of the program of leases.

use crate::Interfaces;
use bpf::MapId;
use lease::program::map;
use lease::{
    Begun, Carried, FlowKey, FlowLease, Grant, Kernel, Lease, Lent, Port, PortTerms, Said, Slots,
    Spares, Terms,
};
use loader::{LoadError, Map, Maps, Ring, Words};
use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The maps, and their memory as far as it is shared.
#[derive(Debug)]
pub(crate) struct Tables {
    maps: Maps,
    terms: Words,
    switched: Array<Lease>,
    flows: Array<FlowLease>,
    finished: Mutex<Ring>,
    /// The means to begin flows, where the program begins any.
    begins: Option<Begins>,
}

#[derive(Debug)]
struct Begins {
    grants: Array<Grant>,
    spares: Words,
    begun: Mutex<Ring>,
}

/// The slots of a kind of lease.
#[derive(Debug)]
struct Array<L> {
    words: Words,
    places: Places,
    kind: PhantomData<L>,
}

/// The places of a lease's fields among its words.
#[derive(Debug, Clone, Copy)]
struct Places {
    open: usize,
    frames: usize,
    /// Flows that begin have none.
    bytes: Option<usize>,
    last: usize,
}

const SWITCHED: Places = Places {
    open: word(offset_of!(Lease, open)),
    frames: word(offset_of!(Lease, frames)),
    bytes: Some(word(offset_of!(Lease, bytes))),
    last: word(offset_of!(Lease, last)),
};
const FLOWS: Places = Places {
    open: word(offset_of!(FlowLease, open)),
    frames: word(offset_of!(FlowLease, frames)),
    bytes: Some(word(offset_of!(FlowLease, bytes))),
    last: word(offset_of!(FlowLease, last)),
};

const GRANTS: Places = Places {
    open: word(offset_of!(Grant, open)),
    frames: word(offset_of!(Grant, begun)),
    bytes: None,
    last: word(offset_of!(Grant, last)),
};

/// The place of what a flow's sender has said.
const SAID: usize = word(offset_of!(FlowLease, said));

const fn word(offset: usize) -> usize {
    assert!(offset.is_multiple_of(size_of::<u64>()), "a word's start");
    offset / size_of::<u64>()
}

impl<L: Lent + FromBytes + IntoBytes + Immutable> Array<L> {
    /// The words of a lease.
    const WORDS: usize = size_of::<L>() / size_of::<u64>();

    fn open(map: &Map, places: Places) -> Result<Self, LoadError> {
        Ok(Self {
            words: Words::open(map)?,
            places,
            kind: PhantomData,
        })
    }

    const fn at(slot: u32, place: usize) -> usize {
        slot as usize * Self::WORDS + place
    }

    fn fill(&self, slot: u32, lease: &L) {
        const { assert!(size_of::<L>().is_multiple_of(size_of::<u64>())) };
        let (words, _) = lease.as_bytes().as_chunks();
        let word = |at: usize| u64::from_ne_bytes(words[at]);
        // The word that opens it is the last.
        let others = (0..Self::WORDS).filter(|&at| at != self.places.open);
        for at in others.chain([self.places.open]) {
            self.words.store(Self::at(slot, at), word(at));
        }
    }

    fn close(&self, slot: u32) {
        let at = Self::at(slot, self.places.open);
        let [_, out]: [u32; 2] = zerocopy::transmute!(self.words.load(at));
        self.words.store(at, zerocopy::transmute!([0, out]));
    }

    fn read(&self, slot: u32) -> L {
        let words = (0..Self::WORDS).map(|at| self.words.load(Self::at(slot, at)));
        let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        L::read_from_bytes(&bytes).expect("so many words are a lease")
    }

    fn carried(&self, slot: u32) -> Carried {
        let load = |place| self.words.load(Self::at(slot, place));
        let Places {
            frames,
            bytes,
            last,
            ..
        } = self.places;
        Carried {
            frames: load(frames),
            bytes: bytes.map_or(0, load),
            last: load(last),
        }
    }
}

impl Begins {
    fn open(maps: &Maps) -> Result<Self, LoadError> {
        Ok(Self {
            grants: Array::open(&maps[map::GRANTS], GRANTS)?,
            spares: Words::open(&maps[map::SPARES])?,
            begun: Mutex::new(Ring::open(&maps[map::BEGUN])?),
        })
    }
}

impl Tables {
    pub(crate) fn new(maps: Maps, has_grants: bool) -> Result<Self, LoadError> {
        Ok(Self {
            terms: Words::open(&maps[map::TERMS])?,
            switched: Array::open(&maps[map::LEASES], SWITCHED)?,
            flows: Array::open(&maps[map::FLOWS], FLOWS)?,
            finished: Mutex::new(Ring::open(&maps[map::FINISHED])?),
            begins: if has_grants {
                Some(Begins::open(&maps)?)
            } else {
                None
            },
            maps,
        })
    }

    /// Takes a port in; it is locked until the topology says otherwise. What it is like stays known of one that
    /// is there.
    pub(crate) fn put_port(&self, at: Interfaces) -> Result<(), LoadError> {
        let ports = &self.maps[map::PORTS];
        let new = Port::new(at.tap.unwrap_or(0));
        let known: Option<Port> = ports.lookup(&at.host)?;
        let port = known.map_or(new, |known| Port {
            tap: new.tap,
            ..known
        });
        ports.insert(&at.host, &port)
    }

    pub(crate) fn remove_port(&self, host: u32) -> Result<(), LoadError> {
        self.maps[map::PORTS].remove(&host).map(drop)
    }

    pub(crate) fn extend(&self, by: Duration) {
        let after = |time| u64::try_from((now() + time).as_nanos()).unwrap_or(u64::MAX);
        self.terms.store(Terms::UNTIL, after(by));
        self.terms.store(Terms::BEGINS, after(by.min(ATTENTION)));
    }
}

/// How long the program begins flows when nobody is there any more to be told: a little longer than a daemon lets
/// pass between two extensions.
const ATTENTION: Duration = Duration::from_secs(3);

/// The clock that the program reads, which lags behind the exact one.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// A kind of lease, as it stands in the maps.
trait Stored: Lent<Key: IntoBytes + Immutable> + FromBytes + IntoBytes + Immutable {
    /// The map that leads keys to slots.
    const KEYS: MapId;

    /// The slots.
    fn array(tables: &Tables) -> &Array<Self>;
}

impl Stored for Lease {
    const KEYS: MapId = map::KEYS;

    fn array(tables: &Tables) -> &Array<Self> {
        &tables.switched
    }
}

impl Stored for FlowLease {
    const KEYS: MapId = map::FLOW_KEYS;

    fn array(tables: &Tables) -> &Array<Self> {
        &tables.flows
    }
}

/// Without grants there is no room for any, and no slot of one.
impl Stored for Grant {
    const KEYS: MapId = map::GRANT_KEYS;

    fn array(tables: &Tables) -> &Array<Self> {
        let begins = tables.begins.as_ref();
        &begins.expect("there is room for grants").grants
    }
}

impl<L: Stored> Slots<L> for Tables {
    fn fill(&self, slot: u32, lease: &L) {
        L::array(self).fill(slot, lease);
    }

    fn close(&self, slot: u32) {
        L::array(self).close(slot);
    }

    fn carried(&self, slot: u32) -> Carried {
        L::array(self).carried(slot)
    }

    fn read(&self, slot: u32) -> L {
        L::array(self).read(slot)
    }

    fn insert(&self, key: &L::Key, slot: u32) -> bool {
        match self.maps[L::KEYS].insert(key, &slot) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a lease found no room");
                false
            }
        }
    }

    fn remove(&self, key: &L::Key) {
        // A key that stays leads to a closed slot, or to one of another key.
        if let Err(error) = self.maps[L::KEYS].remove(key) {
            tracing::warn!(%error, "a lease's key was left behind");
        }
    }
}

impl Tables {
    /// A descriptor that is readable when the program has begun a flow and whoever reads had read all.
    pub(crate) fn begun_fd(&self) -> Option<OwnedFd> {
        // The descriptor of a ring stays, whoever reads it meanwhile.
        let ring = self.begins.as_ref()?.lock_ring();
        ring.as_fd().try_clone_to_owned().ok()
    }
}

impl Begins {
    fn lock_ring(&self) -> MutexGuard<'_, Ring> {
        self.begun.lock().expect("no code that holds it panics")
    }
}

impl Kernel for Tables {
    fn said(&self, slot: u32) -> Option<(Said, u32)> {
        const PROTOCOL: usize = offset_of!(FlowLease, key) + offset_of!(FlowKey, protocol);
        const TCP: u32 = 6;
        let load = |place| self.flows.words.load(Array::<FlowLease>::at(slot, place));
        let protocol: [u32; 2] = zerocopy::transmute!(load(PROTOCOL / size_of::<u64>()));
        let said = [load(SAID), load(SAID + 1)];
        let [_, marks]: [u32; 2] = zerocopy::transmute!(load(SAID - 1));
        const { assert!(offset_of!(FlowLease, scale) + 4 == offset_of!(FlowLease, said)) };
        (protocol[PROTOCOL % size_of::<u64>() / size_of::<u32>()] == TCP)
            .then(|| (zerocopy::transmute!(said), marks))
    }

    fn say(&self, slot: u32, said: Said) {
        let words: [u64; 2] = zerocopy::transmute!(said);
        for (word, place) in words.into_iter().zip(SAID..) {
            let at = Array::<FlowLease>::at(slot, place);
            self.flows.words.store(at, word);
        }
    }

    fn finished(&self, slots: &mut Vec<u32>) {
        let mut ring = self.finished.lock().expect("no code that holds it panics");
        ring.read(|record| slots.extend(record.first_chunk().map(|it| u32::from_ne_bytes(*it))));
    }

    fn set_aside(&self, next: &mut dyn FnMut() -> Option<[u32; 2]>) {
        let Some(begins) = &self.begins else {
            return;
        };
        let first = word(offset_of!(Spares, pairs));
        for place in first..first + Spares::PAIRS {
            if begins.spares.load(place) == 0 {
                let Some(pair) = next() else { return };
                begins.spares.store(place, Spares::pair(pair));
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.begins
            .as_ref()
            .is_some_and(|it| it.lock_ring().taken() > 0)
    }

    fn begun(&self, flows: &mut Vec<Begun>) {
        if let Some(begins) = &self.begins {
            let mut ring = begins.lock_ring();
            ring.read(|record| flows.extend(Begun::read_from_bytes(record).ok()));
        }
    }

    fn set_port(&self, interface: u32, terms: PortTerms) {
        let ports = &self.maps[map::PORTS];
        let changed = match ports.lookup::<u32, Port>(&interface) {
            Ok(Some(port)) => {
                let port = Port {
                    locked: terms.locked.into(),
                    gateway: terms.gateway.0,
                    flows: terms.flows.into(),
                    ..port
                };
                ports.insert(&interface, &port)
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
