//! The book of leases: which are out, what each one rests on, and what each one carried.
//!
//! A slot goes round: free, out, ended, free. Whoever takes a lease back closes its slot, which is one
//! store. The slot is free again only after [`Leases::settle`] waited for the program's last run that can
//! hold it and put its counters to those of its ports. So the counters of a port are exact at any time.

use crate::kernel::Kernel;
use crate::{Carried, Key, Lease};
use pipeline::{NetworkId, PortId};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use wire::{MacAddr, VlanId};

/// The stations that a lease rests on: it holds as long as both stations are where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The network.
    pub network: NetworkId,
    /// The VLAN in it.
    pub vlan: VlanId,
    /// The port that the sender is behind.
    pub from: PortId,
    /// The port that the receiver is behind.
    pub to: PortId,
}

/// A lease that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its key.
    pub key: Key,
    /// The stations that it rests on.
    pub basis: Basis,
    /// Its counters.
    pub carried: Carried,
}

impl Held {
    /// The sender's address.
    #[must_use]
    pub const fn sender(&self) -> MacAddr {
        MacAddr(self.key.from)
    }

    /// The receiver's address.
    #[must_use]
    pub const fn receiver(&self) -> MacAddr {
        MacAddr(self.key.to)
    }
}

/// Counters of the ended leases of a port, to be read at any time.
#[derive(Debug, Default)]
pub struct Share {
    /// Tells ports apart, also those that had one number after the other.
    id: u64,
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
}

/// Counters of all that the kernel carried at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeated {
    /// Frames that arrived there.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that left there.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

impl Share {
    /// Returns what all ended leases of the port carried.
    #[must_use]
    pub fn read(&self) -> Repeated {
        Repeated {
            rx_frames: self.rx_frames.load(Relaxed),
            rx_bytes: self.rx_bytes.load(Relaxed),
            tx_frames: self.tx_frames.load(Relaxed),
            tx_bytes: self.tx_bytes.load(Relaxed),
        }
    }

    fn received(&self, carried: Carried) {
        self.rx_frames.fetch_add(carried.frames, Relaxed);
        self.rx_bytes.fetch_add(carried.bytes, Relaxed);
    }

    fn sent(&self, carried: Carried) {
        self.tx_frames.fetch_add(carried.frames, Relaxed);
        self.tx_bytes.fetch_add(carried.bytes, Relaxed);
    }
}

/// The leases of one daemon.
#[derive(Debug)]
pub struct Leases {
    kernel: Arc<dyn Kernel>,
    generation: AtomicU32,
    book: Mutex<Book>,
    /// Held by whoever waits for the kernel, so that what another one waits for is settled as well.
    settling: Mutex<()>,
}

#[derive(Debug, Default)]
struct Book {
    keys: HashMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ended: Vec<u32>,
    stations: HashMap<[u8; 6], HashSet<u32>>,
    ports: HashMap<PortId, Arc<Share>>,
    /// The slots that count for each share, those of ended leases among them.
    counting: HashMap<u64, HashSet<u32>>,
    shares: u64,
    /// Leases that found no room.
    refused: u64,
}

#[derive(Debug)]
enum Slot {
    Free,
    Out(Entry),
    Ended(Entry),
}

impl Slot {
    /// The lease there, out or ended.
    const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Free => None,
            Self::Out(entry) | Self::Ended(entry) => Some(entry),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    basis: Basis,
    ends: Ends,
    terms: [u32; 3],
    /// [`Carried::last`] when it was last looked at.
    last: u64,
}

/// Where a lease's frames are counted.
#[derive(Debug, Clone)]
struct Ends {
    from: Arc<Share>,
    to: Arc<Share>,
}

/// Slots that are looked at under one lock.
const SLICE: usize = 256;

impl Leases {
    /// No lease yet, and room for `slots`.
    #[must_use]
    pub fn new(kernel: Arc<dyn Kernel>, slots: u32) -> Self {
        let book = Book {
            slots: (0..slots).map(|_| Slot::Free).collect(),
            free: (0..slots).rev().collect(),
            ..Book::default()
        };
        Self {
            kernel,
            generation: AtomicU32::new(0),
            book: Mutex::new(book),
            settling: Mutex::default(),
        }
    }

    /// Takes a port in and returns the counters of what it shares with the kernel.
    pub fn open_port(&self, port: PortId) -> Arc<Share> {
        let mut book = self.book();
        book.shares += 1;
        let share = Arc::new(Share {
            id: book.shares,
            ..Share::default()
        });
        book.ports.insert(port, Arc::clone(&share));
        share
    }

    /// Takes back the leases of a port and forgets it. Its share goes on counting until they are settled.
    pub fn close_port(&self, port: PortId) {
        let mut book = self.book();
        let Some(share) = book.ports.remove(&port) else {
            return;
        };
        let slots = book.counting.get(&share.id).cloned();
        for slot in slots.into_iter().flatten() {
            book.end(&*self.kernel, slot);
        }
    }

    /// Says whether the port at an interface is locked to its addresses.
    pub fn lock(&self, interface: u32, locked: bool) {
        self.kernel.lock(interface, locked);
    }

    /// Lends a lease, unless it is out already, both its ports are not open, or `holds` says no: it is asked
    /// while nothing can be taken back, so that what was taken back before is not lent again. A book in use
    /// by others is left alone; the next frame asks again.
    pub fn lend(&self, lease: &Lease, basis: Basis, holds: impl FnOnce() -> bool) -> bool {
        let mut book = match self.book.try_lock() {
            Ok(book) => book,
            Err(TryLockError::WouldBlock) => return false,
            Err(TryLockError::Poisoned(_)) => unreachable!("no code that holds the lock panics"),
        };
        if lease.key.generation != self.generation.load(Relaxed) || !holds() {
            return false;
        }
        book.lend(&*self.kernel, lease, basis)
    }

    /// Takes back the leases from and to a station.
    pub fn revoke_station(&self, mac: MacAddr) {
        let mut book = self.book();
        let slots = book.stations.get(&mac.0).cloned();
        for slot in slots.into_iter().flatten() {
            book.end(&*self.kernel, slot);
        }
    }

    /// Begins a generation: all leases of others are taken back, by one store.
    pub fn begin(&self, generation: u32) {
        self.generation.store(generation, Relaxed);
        self.kernel.begin(generation);
    }

    /// Looks at every lease once: ends it if it is of another generation or if `holds` says no. That is told
    /// whether the lease was used since the last look, also of those that have ended since.
    pub fn sweep(&self, mut holds: impl FnMut(&Held, bool) -> bool) {
        let generation = self.generation.load(Relaxed);
        let mut from = 0;
        loop {
            let mut book = self.book();
            let to = book.slots.len().min(from + SLICE);
            for index in from..to {
                let (Slot::Out(entry) | Slot::Ended(entry)) = &mut book.slots[index] else {
                    continue;
                };
                let slot = number(index);
                let carried = self.kernel.carried(slot);
                let is_used = std::mem::replace(&mut entry.last, carried.last) != carried.last;
                let holds = holds(&entry.held(carried), is_used);
                if entry.key.generation != generation || !holds {
                    book.end(&*self.kernel, slot);
                }
            }
            if to == book.slots.len() {
                return;
            }
            from = to;
        }
    }

    /// Frees the slots of ended leases, and puts what they carried to their ports. Waits for the kernel where
    /// there are any: nothing for a thread that carries frames.
    pub fn settle(&self) {
        let _settling = locked(&self.settling);
        let ended = std::mem::take(&mut self.book().ended);
        if ended.is_empty() {
            return;
        }
        self.kernel.wait();
        let mut book = self.book();
        for slot in ended {
            book.free(&*self.kernel, slot);
        }
    }

    /// Returns what the kernel carried at a port since it was opened, also when it is closed by now.
    #[must_use]
    pub fn repeated(&self, share: &Share) -> Repeated {
        let book = self.book();
        let mut all = share.read();
        for &slot in book.counting.get(&share.id).into_iter().flatten() {
            let Some(Entry { ends, .. }) = book.slots[slot as usize].entry() else {
                continue;
            };
            let carried = self.kernel.carried(slot);
            if ends.from.id == share.id {
                all.rx_frames += carried.frames;
                all.rx_bytes += carried.bytes;
            }
            if ends.to.id == share.id {
                all.tx_frames += carried.frames;
                all.tx_bytes += carried.bytes;
            }
        }
        all
    }

    /// Returns all leases that are out.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        let generation = self.generation.load(Relaxed);
        let book = self.book();
        let slots = book.slots.iter().enumerate();
        slots
            .filter_map(|(index, slot)| match slot {
                Slot::Out(entry) if entry.key.generation == generation => {
                    Some(entry.held(self.kernel.carried(number(index))))
                }
                Slot::Free | Slot::Out(_) | Slot::Ended(_) => None,
            })
            .collect()
    }

    /// Returns how many leases found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.book().refused
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code that holds the lock panics")
}

impl Entry {
    const fn held(&self, carried: Carried) -> Held {
        Held {
            key: self.key,
            basis: self.basis,
            carried,
        }
    }
}

impl Book {
    fn lend(&mut self, kernel: &dyn Kernel, lease: &Lease, basis: Basis) -> bool {
        let share = |port| self.ports.get(&port).cloned();
        let (Some(from), Some(to)) = (share(basis.from), share(basis.to)) else {
            return false;
        };
        let (key, terms) = (lease.key, [lease.out, lease.way, lease.mtu]);
        if let Some(&slot) = self.keys.get(&key) {
            let same = |it: &Entry| it.terms == terms && it.basis == basis;
            if matches!(&self.slots[slot as usize], Slot::Out(it) if same(it)) {
                return false;
            }
            self.end(kernel, slot);
        }
        let Some(slot) = self.place(kernel, lease) else {
            self.refused += 1;
            return false;
        };
        self.keys.insert(key, slot);
        for mac in [key.from, key.to] {
            self.stations.entry(mac).or_default().insert(slot);
        }
        for share in [&from, &to] {
            self.counting.entry(share.id).or_default().insert(slot);
        }
        self.slots[slot as usize] = Slot::Out(Entry {
            key,
            basis,
            ends: Ends { from, to },
            terms,
            last: 0,
        });
        true
    }

    /// Puts a lease into a free slot, and its key beside the others.
    fn place(&mut self, kernel: &dyn Kernel, lease: &Lease) -> Option<u32> {
        let slot = self.free.pop()?;
        kernel.fill(slot, lease);
        if kernel.insert(&lease.key, slot) {
            return Some(slot);
        }
        kernel.close(slot);
        self.free.push(slot);
        None
    }

    /// Takes a lease back. Its slot still counts for its ports.
    fn end(&mut self, kernel: &dyn Kernel, slot: u32) {
        let Slot::Out(entry) = &self.slots[slot as usize] else {
            return;
        };
        let (entry, key) = (entry.clone(), entry.key);
        kernel.close(slot);
        kernel.remove(&key);
        self.keys.remove(&key);
        for mac in [key.from, key.to] {
            leave(&mut self.stations, &mac, slot);
        }
        self.slots[slot as usize] = Slot::Ended(entry);
        self.ended.push(slot);
    }

    /// Puts what an ended lease carried to its ports, and frees its slot.
    fn free(&mut self, kernel: &dyn Kernel, slot: u32) {
        let Slot::Ended(entry) = &self.slots[slot as usize] else {
            return;
        };
        let Ends { from, to } = &entry.ends;
        let carried = kernel.carried(slot);
        from.received(carried);
        to.sent(carried);
        for share in [from.id, to.id] {
            leave(&mut self.counting, &share, slot);
        }
        self.slots[slot as usize] = Slot::Free;
        self.free.push(slot);
    }
}

/// Removes a slot from those under `key`.
fn leave<K: Eq + Hash>(index: &mut HashMap<K, HashSet<u32>>, key: &K, slot: u32) {
    if let Some(slots) = index.get_mut(key) {
        slots.remove(&slot);
        if slots.is_empty() {
            index.remove(key);
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("there are no more slots than numbers")
}

#[cfg(test)]
mod tests;
