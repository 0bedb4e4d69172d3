//! The book of leases: which are out, what each one rests on, and what each one carried.
//!
//! A slot goes round: free, out, ended, free. Whoever takes a lease back closes its slot, which is one
//! store. The slot is free again only after [`Leases::settle`] waited for the program's last run that can
//! hold it and put its counters to those of its ports. So the counters of a port are exact at any time.

use crate::kernel::Kernel;
use crate::{Carried, Key, Lease};
use pipeline::{NetworkId, PortId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use wire::{MacAddr, VlanId};

/// What a lease rests on: it holds as long as both stations are where they were.
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
    /// What it rests on.
    pub basis: Basis,
    /// What it carried.
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

/// What a port's ended leases carried, to be read at any time.
#[derive(Debug, Default)]
pub struct Share {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
}

/// What the kernel carried at a port.
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
    ports: HashMap<PortId, Port>,
    /// Leases that found no room.
    refused: u64,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Free,
    Out(Entry),
    Ended(Basis),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    basis: Basis,
    terms: [u32; 3],
    /// [`Carried::last`] when it was last looked at.
    last: u64,
}

#[derive(Debug, Default)]
struct Port {
    share: Arc<Share>,
    slots: HashSet<u32>,
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
        Arc::clone(&self.book().ports.entry(port).or_default().share)
    }

    /// Takes back the leases of a port and forgets it. What they carried is in its share then.
    pub fn close_port(&self, port: PortId) {
        {
            let mut book = self.book();
            let slots = book.ports.get(&port).map(|it| it.slots.clone());
            for slot in slots.into_iter().flatten() {
                book.end(&*self.kernel, slot);
            }
        }
        self.settle();
        self.book().ports.remove(&port);
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

    /// Looks at every lease once: ends it if it is of another generation or if `holds` says no, which is told
    /// whether it was used since the last look.
    pub fn sweep(&self, mut holds: impl FnMut(&Held, bool) -> bool) {
        let generation = self.generation.load(Relaxed);
        let mut from = 0;
        loop {
            let mut book = self.book();
            let to = book.slots.len().min(from + SLICE);
            for index in from..to {
                let Slot::Out(entry) = book.slots[index] else {
                    continue;
                };
                let slot = number(index);
                let carried = self.kernel.carried(slot);
                let held = entry.held(carried);
                if entry.key.generation != generation || !holds(&held, carried.last != entry.last) {
                    book.end(&*self.kernel, slot);
                } else if let Slot::Out(entry) = &mut book.slots[index] {
                    entry.last = carried.last;
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
    pub fn repeated(&self, port: PortId, share: &Arc<Share>) -> Repeated {
        let book = self.book();
        let mut all = share.read();
        let open = book.ports.get(&port);
        let open = open.filter(|it| Arc::ptr_eq(&it.share, share));
        for &slot in open.iter().flat_map(|it| &it.slots) {
            let (Slot::Out(Entry { basis, .. }) | Slot::Ended(basis)) = book.slots[slot as usize]
            else {
                continue;
            };
            let carried = self.kernel.carried(slot);
            if basis.from == port {
                all.rx_frames += carried.frames;
                all.rx_bytes += carried.bytes;
            }
            if basis.to == port {
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
        let Basis { from, to, .. } = basis;
        if !self.ports.contains_key(&from) || !self.ports.contains_key(&to) {
            return false;
        }
        let (key, terms) = (lease.key, [lease.out, lease.way, lease.mtu]);
        if let Some(&slot) = self.keys.get(&key) {
            if matches!(self.slots[slot as usize], Slot::Out(it) if it.terms == terms && it.basis == basis)
            {
                return false;
            }
            self.end(kernel, slot);
        }
        let Some(slot) = self.free.pop() else {
            self.refused += 1;
            return false;
        };
        kernel.fill(slot, lease);
        if !kernel.insert(&key, slot) {
            kernel.close(slot);
            self.free.push(slot);
            self.refused += 1;
            return false;
        }
        self.keys.insert(key, slot);
        for mac in [key.from, key.to] {
            self.stations.entry(mac).or_default().insert(slot);
        }
        for port in [from, to] {
            if let Some(port) = self.ports.get_mut(&port) {
                port.slots.insert(slot);
            }
        }
        self.slots[slot as usize] = Slot::Out(Entry {
            key,
            basis,
            terms,
            last: 0,
        });
        true
    }

    /// Takes a lease back. Its slot still counts for its ports.
    fn end(&mut self, kernel: &dyn Kernel, slot: u32) {
        let Slot::Out(Entry { key, basis, .. }) = self.slots[slot as usize] else {
            return;
        };
        kernel.close(slot);
        kernel.remove(&key);
        self.keys.remove(&key);
        for mac in [key.from, key.to] {
            if let Some(slots) = self.stations.get_mut(&mac) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.stations.remove(&mac);
                }
            }
        }
        self.slots[slot as usize] = Slot::Ended(basis);
        self.ended.push(slot);
    }

    /// Puts what an ended lease carried to its ports, and frees its slot.
    fn free(&mut self, kernel: &dyn Kernel, slot: u32) {
        let Slot::Ended(Basis { from, to, .. }) = self.slots[slot as usize] else {
            return;
        };
        let carried = kernel.carried(slot);
        if let Some(port) = self.ports.get_mut(&from) {
            port.share.received(carried);
            port.slots.remove(&slot);
        }
        if let Some(port) = self.ports.get_mut(&to) {
            port.share.sent(carried);
            port.slots.remove(&slot);
        }
        self.slots[slot as usize] = Slot::Free;
        self.free.push(slot);
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("there are no more slots than numbers")
}

#[cfg(test)]
mod tests;
