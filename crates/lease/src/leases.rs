//! The leases of one daemon: switched unicast here, flows in `flows.rs`, grants in `grants.rs`.

mod flows;
mod grants;

pub use flows::Flow;
pub use grants::Decided;

use crate::book::{Basis, Book, Entry, Held};
use crate::kernel::{Kernel, Lent, PortTerms};
use crate::program::Room;
use crate::share::{Ports, Repeated, Share};
use crate::{Carried, Key, Lease};
use flows::Flows;
use grants::Grants;
use nat::Tables;
use pipeline::{Instant, PortId};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use wire::MacAddr;

/// The leases of one daemon. Locks are taken in the order of the fields, and those of a table of connections
/// behind them.
#[derive(Debug)]
pub struct Leases {
    kernel: Arc<dyn Kernel>,
    generation: AtomicU32,
    /// Held by whoever waits for the kernel, so that what another one waits for is settled as well.
    settling: Mutex<()>,
    switched: Mutex<Book<Lease, ()>>,
    flows: Flows,
    grants: Grants,
    ports: Mutex<Ports>,
    worth: u64,
    room: Room,
}

/// Slots that are looked at under one lock.
const SLICE: usize = 256;

impl Leases {
    /// No lease yet, and as much room as the program has.
    #[must_use]
    pub fn new(kernel: Arc<dyn Kernel>, room: Room) -> Self {
        Self {
            kernel,
            generation: AtomicU32::new(0),
            settling: Mutex::default(),
            switched: Mutex::new(Book::new(room.leases)),
            flows: Flows::new(room.flows),
            grants: Grants::new(room.grants, Grants::AFTER),
            ports: Mutex::default(),
            worth: Self::WORTH,
            room,
        }
    }

    /// Packets after which a connection is worth a lease: to lend and to take back both its directions costs as
    /// much as to carry some ten packets, and most connections have no more.
    pub const WORTH: u64 = 16;

    /// The same, where a connection is worth a lease from its packet `worth` on.
    #[must_use]
    pub fn with_worth(self, worth: u64) -> Self {
        Self { worth, ..self }
    }

    /// The same, where what is like the connection number `after` is granted.
    #[must_use]
    pub fn with_grants(self, after: u32) -> Self {
        let grants = Grants::new(self.room.grants, after);
        Self { grants, ..self }
    }

    /// Returns whether a connection that has had so many packets is worth a lease.
    #[must_use]
    pub const fn is_worth(&self, packets: u64) -> bool {
        packets >= self.worth
    }

    /// Takes a port in and returns the counters of what it shares with the kernel.
    pub fn open_port(&self, port: PortId) -> Arc<Share> {
        locked(&self.ports).open(port)
    }

    /// Takes back the leases of a port and forgets it. Its share goes on counting until they are settled.
    pub fn close_port(&self, port: PortId) {
        self.end_grants_of(|basis| basis.sender.port == port || basis.receiver.port == port);
        // Whoever has a book locked by now, and the share, is waited for.
        let Some(share) = locked(&self.ports).close(port) else {
            return;
        };
        let mut book = locked(&self.switched);
        for slot in book.of_share(&share) {
            book.end(&*self.kernel, slot);
        }
        drop(book);
        self.end_flows(|book| book.of_share(&share));
    }

    /// Says what the port at an interface is like.
    pub fn set_port(&self, interface: u32, terms: PortTerms) {
        self.kernel.set_port(interface, terms);
    }

    /// Lends a lease, unless it is out already, both its ports are not open, or `holds` says no: it is asked
    /// while nothing can be taken back, so that what was taken back before is not lent again. A book in use
    /// by others is left alone; the next frame asks again.
    pub fn lend(&self, lease: &Lease, basis: Basis, holds: impl FnOnce() -> bool) -> bool {
        let Some(mut book) = try_locked(&self.switched) else {
            return false;
        };
        if !self.is_current(lease) || !holds() {
            return false;
        }
        let Some(counts) = self.counts(&basis) else {
            return false;
        };
        if let Some(slot) = book.find(&lease.key) {
            let same = |it: &Entry<Lease, ()>| it.lease.is_same_way(lease) && it.basis == basis;
            if book.out(slot).is_some_and(same) {
                return false;
            }
            book.end(&*self.kernel, slot);
        }
        let Some(slot) = book.take_free() else {
            return false;
        };
        book.put(&*self.kernel, slot, Entry::new(*lease, basis, (), counts));
        let is_led = book.lead(&*self.kernel, slot);
        if !is_led {
            book.end(&*self.kernel, slot);
        }
        is_led
    }

    /// Takes back the leases from and to a station.
    pub fn revoke_station(&self, mac: MacAddr) {
        self.end_grants_of(|basis| basis.sender.mac == mac || basis.receiver.mac == mac);
        let mut book = locked(&self.switched);
        for slot in book.of_station(mac) {
            book.end(&*self.kernel, slot);
        }
        drop(book);
        self.end_flows(|book| book.of_station(mac));
    }

    /// Begins a generation: all leases of others are taken back, by one store.
    pub fn begin(&self, generation: u32) {
        self.generation.store(generation, Relaxed);
        self.kernel.begin(generation);
    }

    /// Looks at every lease of switched unicast once: ends it if it is of another generation or if `holds` says
    /// no. That is told whether the lease was used since the last look, also of those that have ended since.
    pub fn sweep(&self, mut holds: impl FnMut(&Held<Lease>, bool) -> bool) {
        let generation = self.generation();
        let slots = locked(&self.switched).len();
        for slots in slices(slots) {
            let mut book = locked(&self.switched);
            let over = book.look(&*self.kernel, slots, generation, |held, (), is_used| {
                holds(held, is_used)
            });
            for slot in over {
                book.end(&*self.kernel, slot);
            }
        }
    }

    /// Frees the slots of ended leases, and puts what they carried to their ports and connections. Waits for
    /// the kernel where there are any: nothing for a thread that carries frames.
    pub fn settle(&self, tables: &Tables, now: Instant) {
        let _settling = locked(&self.settling);
        let switched = locked(&self.switched).take_ended();
        let (flows, grants) = (self.flows.take_ended(), self.take_ended_grants());
        if switched.is_empty() && flows.is_empty() && grants.is_empty() {
            return;
        }
        self.kernel.wait();
        for slots in switched.chunks(SLICE) {
            let mut book = locked(&self.switched);
            for &slot in slots {
                book.free(&*self.kernel, slot);
            }
        }
        for slots in flows.chunks(SLICE) {
            self.free_flows(slots, tables, now);
        }
        self.free_grants(&grants);
    }

    /// Returns what the kernel carried at a port since it was opened, also when it is closed by now.
    #[must_use]
    pub fn repeated(&self, share: &Share) -> Repeated {
        // Both, so that nothing is put from one place to another meanwhile.
        let (switched, flows) = (locked(&self.switched), self.flows.books());
        let mut all = share.read();
        switched.add(&*self.kernel, share, &mut all);
        flows.add(&*self.kernel, share, &mut all);
        all
    }

    /// Returns all leases of switched unicast that are out.
    #[must_use]
    pub fn list(&self) -> Vec<Held<Lease>> {
        locked(&self.switched).list(&*self.kernel, self.generation())
    }

    /// Returns what was carried by the lease of a key, if it is out.
    #[must_use]
    pub fn carried(&self, key: &Key) -> Option<Carried> {
        let is_current = key.generation == self.generation();
        let book = is_current.then(|| locked(&self.switched))?;
        book.carried(&*self.kernel, key)
    }

    /// Returns how many leases found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let switched = locked(&self.switched).refused;
        switched + self.flows.books().refused
    }

    fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    fn is_current(&self, lease: &impl Lent) -> bool {
        lease.generation() == self.generation()
    }

    /// Where the frames of a lease are counted, if both its ports are open.
    fn counts(&self, basis: &Basis) -> Option<crate::share::Counts> {
        locked(&self.ports).counts(basis.sender.port, basis.receiver.port)
    }
}

/// The slots of a book, in slices.
fn slices(slots: usize) -> impl Iterator<Item = Range<usize>> {
    (0..slots)
        .step_by(SLICE)
        .map(move |from| from..slots.min(from + SLICE))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code that holds the lock panics")
}

fn try_locked<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Poisoned(_)) => unreachable!("no code that holds the lock panics"),
    }
}

#[cfg(test)]
mod tests;
