//! Leases beside a kernel that keeps what it is told, and a program that may hold a slot for a while.

use super::*;
use crate::{Begun, Carried, FlowKey, FlowLease, Grant, Key, Said, Slots, Station, Way};
use pipeline::NetworkId;
use std::collections::HashMap;
use wire::VlanId;

/// A kernel's maps, as plain values.
#[derive(Debug, Default)]
struct Maps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    slots: HashMap<u32, Lease>,
    keys: HashMap<Key, u32>,
    /// Room for keys.
    room: usize,
    generation: u32,
    waited: u32,
}

impl Maps {
    fn new(room: usize) -> Arc<Self> {
        let it = Self::default();
        it.state().room = room;
        Arc::new(it)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The slot by which a frame of `key` goes.
    fn find(&self, key: Key) -> Option<u32> {
        let state = self.state();
        let slot = *state.keys.get(&key)?;
        let lease = state.slots[&slot];
        let holds = lease.open != 0 && lease.key == key && key.generation == state.generation;
        holds.then_some(slot)
    }

    /// Counts as a run does that found a slot earlier.
    fn count(&self, slot: u32, bytes: u64) {
        let mut state = self.state();
        let lease = state.slots.get_mut(&slot).unwrap();
        lease.frames += 1;
        lease.bytes += bytes;
        lease.last += 1;
    }

    /// Carries a frame by its lease, if it has one.
    fn carry(&self, key: Key) -> bool {
        let slot = self.find(key);
        slot.inspect(|&slot| self.count(slot, 100)).is_some()
    }
}

impl Slots<Lease> for Maps {
    fn fill(&self, slot: u32, lease: &Lease) {
        let old = self.state().slots.insert(slot, *lease);
        assert!(old.is_none_or(|old| old.open == 0), "filled while open");
    }

    fn close(&self, slot: u32) {
        self.state().slots.get_mut(&slot).unwrap().open = 0;
    }

    fn read(&self, slot: u32) -> Lease {
        self.state().slots[&slot]
    }

    fn carried(&self, slot: u32) -> Carried {
        let Lease {
            frames,
            bytes,
            last,
            ..
        } = self.state().slots[&slot];
        Carried {
            frames,
            bytes,
            last,
        }
    }

    fn insert(&self, key: &Key, slot: u32) -> bool {
        let mut state = self.state();
        let fits = state.keys.len() < state.room;
        if fits {
            state.keys.insert(*key, slot);
        }
        fits
    }

    fn remove(&self, key: &Key) {
        self.state().keys.remove(key);
    }
}

/// There is no room for flows and grants: `tests/sim` lends them.
macro_rules! no_room {
    ($lease:ty) => {
        impl Slots<$lease> for Maps {
            fn fill(&self, _: u32, _: &$lease) {
                unreachable!()
            }

            fn close(&self, _: u32) {
                unreachable!()
            }

            fn carried(&self, _: u32) -> Carried {
                unreachable!()
            }

            fn read(&self, _: u32) -> $lease {
                unreachable!()
            }

            fn insert(&self, _: &FlowKey, _: u32) -> bool {
                unreachable!()
            }

            fn remove(&self, _: &FlowKey) {
                unreachable!()
            }
        }
    };
}

no_room!(FlowLease);
no_room!(Grant);

impl Kernel for Maps {
    fn said(&self, _: u32) -> Option<(Said, u32)> {
        None
    }

    fn set_aside(&self, _: &mut dyn FnMut() -> Option<[u32; 2]>) {}

    fn has_begun(&self) -> bool {
        false
    }

    fn begun(&self, _: &mut Vec<Begun>) {}

    fn say(&self, _: u32, _: Said) {}

    fn finished(&self, _: &mut Vec<u32>) {}

    fn set_port(&self, _: u32, _: PortTerms) {}

    fn begin(&self, generation: u32) {
        self.state().generation = generation;
    }

    fn wait(&self) {
        self.state().waited += 1;
    }
}

const PORTS: [PortId; 3] = [PortId(0), PortId(1), PortId(2)];

const fn mac(port: PortId) -> [u8; 6] {
    let [high, low] = port.0.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

const fn key(from: PortId, to: PortId) -> Key {
    Key {
        generation: 0,
        port: 10 + from.0 as u32,
        to: mac(to),
        from: mac(from),
        ethertype: [8, 0],
        vlan: 0,
        source: [0; 16],
    }
}

const fn lease(key: Key, to: PortId) -> Lease {
    Lease::new(key, 10 + to.0 as u32, Way::Peer, 1500)
}

const fn basis(from: PortId, to: PortId) -> Basis {
    Basis {
        sender: station(from),
        receiver: station(to),
    }
}

const fn station(port: PortId) -> Station {
    Station {
        network: NetworkId(0),
        vlan: VlanId::DEFAULT,
        mac: MacAddr(mac(port)),
        port,
    }
}

/// Three open ports.
struct World {
    maps: Arc<Maps>,
    leases: Leases,
    shares: [Arc<Share>; 3],
}

impl World {
    fn new(slots: u32, room: usize) -> Self {
        let maps = Maps::new(room);
        let room = Room {
            leases: slots,
            flows: 0,
            grants: 0,
            ports: 3,
        };
        let leases = Leases::new(maps.clone(), room);
        let shares = PORTS.map(|port| leases.open_port(port));
        Self {
            maps,
            leases,
            shares,
        }
    }

    fn lend(&self, from: usize, to: usize) -> bool {
        let (from, to) = (PORTS[from], PORTS[to]);
        let lease = lease(key(from, to), to);
        self.leases.lend(&lease, basis(from, to), || true)
    }

    fn settle(&self) {
        let tables = Tables::new(1, 1);
        self.leases.settle(&tables, Instant::ZERO);
    }

    fn carry(&self, from: usize, to: usize) -> bool {
        self.maps.carry(key(PORTS[from], PORTS[to]))
    }

    /// Frames in and out at a port.
    fn counted(&self, port: usize) -> (u64, u64) {
        let all = self.leases.repeated(&self.shares[port]);
        assert_eq!(
            (all.rx_bytes, all.tx_bytes),
            (all.rx_frames * 100, all.tx_frames * 100)
        );
        (all.rx_frames, all.tx_frames)
    }
}

#[test]
fn a_lease_carries_until_its_station_moves_and_its_frames_stay_counted() {
    let it = World::new(8, 8);
    assert!(!it.carry(0, 1));
    assert!(it.lend(0, 1) && it.lend(1, 0));
    assert!(!it.lend(0, 1), "out already");
    assert!(it.carry(0, 1) && it.carry(0, 1) && it.carry(1, 0));
    assert_eq!((it.counted(0), it.counted(1)), ((2, 1), (1, 2)));
    it.leases.revoke_station(MacAddr(mac(PORTS[0])));
    assert!(!it.carry(0, 1) && !it.carry(1, 0));
    assert_eq!((it.counted(0), it.counted(1)), ((2, 1), (1, 2)));
    it.settle();
    assert_eq!((it.counted(0), it.counted(1)), ((2, 1), (1, 2)));
    assert_eq!(it.leases.list(), []);
    assert!(it.lend(0, 1) && it.carry(0, 1));
    assert_eq!((it.counted(0), it.counted(1)), ((3, 1), (1, 3)));
}

#[test]
fn a_run_that_was_held_up_counts_for_the_lease_that_it_found() {
    let it = World::new(1, 8);
    assert!(it.lend(0, 1));
    let found = it.maps.find(key(PORTS[0], PORTS[1])).unwrap();
    it.leases.revoke_station(MacAddr(mac(PORTS[0])));
    assert!(!it.lend(2, 1), "the only slot is not free yet");
    it.maps.count(found, 100);
    it.settle();
    assert_eq!(it.maps.state().waited, 1);
    assert!(it.lend(2, 1));
    assert_eq!((it.counted(0), it.counted(2)), ((1, 0), (0, 0)));
    assert_eq!(it.leases.refused(), 1);
}

#[test]
fn what_was_taken_back_meanwhile_is_not_lent() {
    let it = World::new(8, 8);
    let lease = lease(key(PORTS[0], PORTS[1]), PORTS[1]);
    let basis = basis(PORTS[0], PORTS[1]);
    assert!(!it.leases.lend(&lease, basis, || false));
    it.leases.begin(1);
    assert!(!it.leases.lend(&lease, basis, || true), "decided before");
    it.leases.close_port(PORTS[1]);
    it.leases.begin(0);
    assert!(
        !it.leases.lend(&lease, basis, || true),
        "to a port that is gone"
    );
    assert!(it.maps.state().keys.is_empty());
}

#[test]
fn another_generation_ends_all_and_the_sweep_tidies_up() {
    let it = World::new(2, 2);
    assert!(it.lend(0, 1) && it.lend(1, 0) && it.carry(0, 1));
    it.leases.begin(1);
    assert!(!it.carry(0, 1));
    assert_eq!(it.leases.list(), []);
    it.leases.sweep(|held, used| {
        assert_eq!(used, held.basis.sender.port == PORTS[0]);
        true
    });
    it.settle();
    assert!(it.maps.state().keys.is_empty());
    assert_eq!((it.counted(0), it.counted(1)), ((1, 0), (0, 1)));
}

#[test]
fn a_sweep_says_what_was_used_and_ends_what_does_not_hold() {
    let it = World::new(8, 8);
    assert!(it.lend(0, 1) && it.lend(1, 2) && it.carry(0, 1));
    let look = || {
        let mut seen = Vec::new();
        it.leases.sweep(|held, used| {
            seen.push((held.basis.sender.port.0, used));
            true
        });
        seen
    };
    assert_eq!(look(), [(0, true), (1, false)]);
    assert_eq!(look(), [(0, false), (1, false)]);
    assert!(it.carry(1, 2));
    assert_eq!(look(), [(0, false), (1, true)]);
    it.leases
        .sweep(|held, _| held.basis.receiver.mac != MacAddr(mac(PORTS[1])));
    assert!(!it.carry(0, 1) && it.carry(1, 2));
}

#[test]
fn a_full_map_and_a_full_book_refuse_and_a_decision_that_changed_replaces() {
    let it = World::new(8, 1);
    assert!(it.lend(0, 1) && !it.lend(1, 0));
    assert_eq!(it.leases.refused(), 1);
    // The receiver is behind another port by now.
    let moved = lease(key(PORTS[0], PORTS[1]), PORTS[2]);
    assert!(it.leases.lend(&moved, basis(PORTS[0], PORTS[2]), || true));
    assert!(it.carry(0, 1));
    assert_eq!((it.counted(1), it.counted(2)), ((0, 0), (0, 1)));
}

#[test]
fn a_closed_port_keeps_its_count_and_its_number_may_be_given_again() {
    let mut it = World::new(8, 8);
    assert!(it.lend(0, 1) && it.carry(0, 1));
    it.leases.close_port(PORTS[1]);
    assert!(!it.carry(0, 1));
    assert_eq!((it.counted(0), it.counted(1)), ((1, 0), (0, 1)));
    let old = std::mem::replace(&mut it.shares[1], it.leases.open_port(PORTS[1]));
    assert_eq!(it.counted(1), (0, 0));
    assert!(it.lend(0, 1) && it.carry(0, 1));
    assert_eq!(it.counted(1), (0, 1));
    it.settle();
    let of_old = it.leases.repeated(&old);
    assert_eq!((of_old.rx_frames, of_old.tx_frames), (0, 1));
}
