//! A book: the leases of one kind that are out, what each one rests on, and what each one carried.
//!
//! A slot goes round: free, out, ended, free. Whoever takes a lease back closes its slot, which is one
//! store. The slot is free again only after the program's last run that can hold it was waited for, and its
//! counters were put to those of its ports. So the counters of a port are exact at any time.

use crate::Carried;
use crate::kernel::{Lent, Slots};
use crate::share::{Counts, Repeated, Share};
use pipeline::{NetworkId, PortId};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use wire::{MacAddr, VlanId};

/// A MAC address, and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Station {
    /// The network.
    pub network: NetworkId,
    /// The VLAN in it.
    pub vlan: VlanId,
    /// Its address.
    pub mac: MacAddr,
    /// The port that it is behind.
    pub port: PortId,
}

/// The stations that a lease rests on: it holds as long as both are where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The sender, in the network that the frame comes from.
    pub sender: Station,
    /// The receiver, in the one that it goes to.
    pub receiver: Station,
}

impl Basis {
    /// That of the other direction.
    pub(crate) const fn reversed(&self) -> Self {
        Self {
            sender: self.receiver,
            receiver: self.sender,
        }
    }

    /// Both of them.
    #[must_use]
    pub const fn stations(&self) -> [Station; 2] {
        [self.sender, self.receiver]
    }
}

/// A lease that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<L> {
    /// The lease as it was lent.
    pub lease: L,
    /// The stations that it rests on.
    pub basis: Basis,
    /// Its counters.
    pub carried: Carried,
}

/// The leases of one kind. `N` is what is noted beside each.
#[derive(Debug)]
pub(crate) struct Book<L: Lent, N> {
    keys: HashMap<L::Key, u32>,
    /// Those that were ever taken: most of the room is never used.
    slots: Vec<Slot<L, N>>,
    room: u32,
    free: Vec<u32>,
    ended: Vec<u32>,
    stations: HashMap<MacAddr, HashSet<u32>>,
    /// The slots that count for each share, those of ended leases among them.
    counting: HashMap<u64, HashSet<u32>>,
    /// Leases that found no room.
    pub(crate) refused: u64,
}

#[derive(Debug)]
enum Slot<L, N> {
    Free,
    Out(Entry<L, N>),
    Ended(Entry<L, N>),
}

/// A lease in its slot.
#[derive(Debug, Clone)]
pub(crate) struct Entry<L, N> {
    pub(crate) lease: L,
    pub(crate) basis: Basis,
    pub(crate) note: N,
    pub(crate) counts: Counts,
    /// [`Carried::last`] when it was last looked at.
    last: u64,
}

impl<L, N> Entry<L, N> {
    pub(crate) const fn new(lease: L, basis: Basis, note: N, counts: Counts) -> Self {
        Self {
            lease,
            basis,
            note,
            counts,
            last: 0,
        }
    }
}

impl<L: Lent, N: Clone> Entry<L, N> {
    const fn held(&self, carried: Carried) -> Held<L> {
        Held {
            lease: self.lease,
            basis: self.basis,
            carried,
        }
    }
}

impl<L: Lent, N: Clone> Book<L, N> {
    /// A book with room for so many leases.
    pub(crate) fn new(room: u32) -> Self {
        Self {
            keys: HashMap::new(),
            slots: Vec::new(),
            room,
            free: Vec::new(),
            ended: Vec::new(),
            stations: HashMap::new(),
            counting: HashMap::new(),
            refused: 0,
        }
    }

    /// The lease in a slot, if it is out.
    pub(crate) fn out(&self, slot: u32) -> Option<&Entry<L, N>> {
        match self.slots.get(slot as usize)? {
            Slot::Out(entry) => Some(entry),
            Slot::Free | Slot::Ended(_) => None,
        }
    }

    /// The lease in a slot, if it has ended and is not free yet.
    pub(crate) fn ended(&self, slot: u32) -> Option<&Entry<L, N>> {
        match self.slots.get(slot as usize)? {
            Slot::Ended(entry) => Some(entry),
            Slot::Free | Slot::Out(_) => None,
        }
    }

    /// The slot of the lease that is out for a key.
    pub(crate) fn find(&self, key: &L::Key) -> Option<u32> {
        self.keys.get(key).copied()
    }

    /// Returns whether less than half of the slots are free.
    pub(crate) fn is_scarce(&self) -> bool {
        let free = self.free.len() + (self.room as usize - self.slots.len());
        free < self.room as usize / 2 + 2
    }

    /// Returns whether an eighth of the room is held by leases that ended.
    pub(crate) fn has_many_ended(&self) -> bool {
        self.ended.len() > self.room as usize / 8
    }

    /// Returns what was carried by the lease that is out for a key.
    pub(crate) fn carried(&self, kernel: &dyn Slots<L>, key: &L::Key) -> Option<Carried> {
        self.find(key).map(|slot| kernel.carried(slot))
    }

    /// Takes a free slot. To be filled by [`Book::put`], or given back.
    pub(crate) fn take_free(&mut self) -> Option<u32> {
        let unused = number(self.slots.len());
        let slot = match self.free.pop() {
            None if unused < self.room => {
                self.slots.push(Slot::Free);
                Some(unused)
            }
            slot => slot,
        };
        self.refused += u64::from(slot.is_none());
        slot
    }

    pub(crate) fn give_back(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Puts a lease into a slot that is free. No frame finds it before [`Book::lead`].
    pub(crate) fn put(&mut self, kernel: &dyn Slots<L>, slot: u32, entry: Entry<L, N>) {
        kernel.fill(slot, &entry.lease);
        self.enter(slot, entry);
    }

    /// Takes in a lease that the program has put into a slot by itself, where frames find it.
    pub(crate) fn enter(&mut self, slot: u32, entry: Entry<L, N>) {
        self.keys.insert(*entry.lease.key(), slot);
        for station in entry.basis.stations() {
            self.stations.entry(station.mac).or_default().insert(slot);
        }
        for share in [&entry.counts.from, &entry.counts.to] {
            self.counting.entry(share.id).or_default().insert(slot);
        }
        self.slots[slot as usize] = Slot::Out(entry);
    }

    /// Leads frames to the lease in a slot. Returns false where there is no room: then it is to be ended.
    pub(crate) fn lead(&mut self, kernel: &dyn Slots<L>, slot: u32) -> bool {
        let Some(entry) = self.out(slot) else {
            return false;
        };
        let is_led = kernel.insert(entry.lease.key(), slot);
        self.refused += u64::from(!is_led);
        is_led
    }

    /// Takes a lease back. Its slot still counts for its ports.
    pub(crate) fn end(&mut self, kernel: &dyn Slots<L>, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if !matches!(place, Slot::Out(_)) {
            return;
        }
        let Slot::Out(entry) = std::mem::replace(place, Slot::Free) else {
            return;
        };
        let key = entry.lease.key();
        kernel.close(slot);
        kernel.remove(key);
        self.keys.remove(key);
        for station in entry.basis.stations() {
            leave(&mut self.stations, &station.mac, slot);
        }
        self.slots[slot as usize] = Slot::Ended(entry);
        self.ended.push(slot);
    }

    /// Takes back a slot that was [taken](Book::take_free) and holds no lease, but may have held one.
    pub(crate) fn retire(&mut self, kernel: &dyn Slots<L>, slot: u32) {
        kernel.close(slot);
        self.ended.push(slot);
    }

    /// The slots of leases that ended since the last call, and those that retired. Each is to be [freed](Book::free).
    pub(crate) fn take_ended(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.ended)
    }

    /// Puts what an ended lease carried to its ports, and frees its slot.
    pub(crate) fn free(&mut self, kernel: &dyn Slots<L>, slot: u32) {
        if let Some(Entry { counts, .. }) = self.ended(slot).cloned() {
            counts.add(kernel.carried(slot));
            for share in [counts.from.id, counts.to.id] {
                leave(&mut self.counting, &share, slot);
            }
        }
        kernel.fill(slot, &L::new_zeroed());
        self.slots[slot as usize] = Slot::Free;
        self.free.push(slot);
    }

    /// The leases that are out, by their slots.
    pub(crate) fn all_out(&self) -> impl Iterator<Item = (u32, &Entry<L, N>)> {
        let slots = (0..self.slots.len()).map(number);
        slots.filter_map(|slot| Some((slot, self.out(slot)?)))
    }

    /// The slots from and to a station.
    pub(crate) fn of_station(&self, mac: MacAddr) -> Vec<u32> {
        let slots = self.stations.get(&mac).into_iter().flatten();
        slots.copied().collect()
    }

    /// The slots that count for a share.
    pub(crate) fn of_share(&self, share: &Share) -> Vec<u32> {
        let slots = self.counting.get(&share.id).into_iter().flatten();
        slots.copied().collect()
    }

    /// Adds what the leases that count for a share carried.
    pub(crate) fn add(&self, kernel: &dyn Slots<L>, share: &Share, all: &mut Repeated) {
        for &slot in self.counting.get(&share.id).into_iter().flatten() {
            let (Slot::Out(entry) | Slot::Ended(entry)) = &self.slots[slot as usize] else {
                continue;
            };
            let carried = kernel.carried(slot);
            if entry.counts.from.id == share.id {
                all.received(carried);
            }
            if entry.counts.to.id == share.id {
                all.sent(carried);
            }
        }
    }

    /// Returns whether more than half of the room is in use.
    pub(crate) fn is_crowded(&self) -> bool {
        self.keys.len() > self.room as usize / 2
    }

    /// The slots that there are to look at.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Looks at some slots, and returns those whose lease is of another generation or does not hold. `holds` is
    /// told whether the lease was used since the last look, also of those that have ended since.
    pub(crate) fn look(
        &mut self,
        kernel: &dyn Slots<L>,
        slots: Range<usize>,
        generation: u32,
        mut holds: impl FnMut(&Held<L>, &N, bool) -> bool,
    ) -> Vec<u32> {
        let mut over = Vec::new();
        for (place, slot) in self.slots[slots.clone()].iter_mut().zip(slots) {
            let (Slot::Out(entry) | Slot::Ended(entry)) = place else {
                continue;
            };
            let slot = number(slot);
            let carried = kernel.carried(slot);
            let is_used = std::mem::replace(&mut entry.last, carried.last) != carried.last;
            let holds = holds(&entry.held(carried), &entry.note, is_used);
            if entry.lease.generation() != generation || !holds {
                over.push(slot);
            }
        }
        over
    }

    /// Returns all leases of a generation that are out.
    pub(crate) fn list(&self, kernel: &dyn Slots<L>, generation: u32) -> Vec<Held<L>> {
        self.all_out()
            .filter(|(_, entry)| entry.lease.generation() == generation)
            .map(|(slot, entry)| entry.held(kernel.carried(slot)))
            .collect()
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
