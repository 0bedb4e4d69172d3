//! The kernel's part without a kernel: the program of leases in the interpreter, its maps as plain values.

use bpf::interpreter::{Interpreter, Packet};
use bpf::{MapId, Program, verdict};
use dataplane::{Hook, Outlet};
use lease::program::{Room, map, program};
use lease::{
    Begun, Carried, FlowLease, Grant, Kernel, Lease, Leases, Lent, Port, PortTerms, Said, Slots,
    Spares, Terms,
};
use pipeline::{Instant, PortId};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use wire::{GsoKind, MacAddr, VlanTag, VnetHeader};
use zerocopy::{FromBytes, Immutable, IntoBytes};

static PROGRAM: LazyLock<Program> = LazyLock::new(|| program(ROOM));
const ROOM: Room = Room {
    leases: 64,
    flows: 256,
    grants: 16,
    ports: 64,
};
const ONLY: u32 = 0;

/// The book of leases and the program, with a host end and a TAP for each port.
#[derive(Debug)]
pub(crate) struct Repeater {
    pub(crate) leases: Arc<Leases>,
    kernel: Arc<Simulated>,
}

#[derive(Debug)]
struct Simulated {
    machine: Mutex<Interpreter<'static>>,
    /// Records that the program sent and nobody has read.
    begun: Mutex<Vec<Begun>>,
}

impl Repeater {
    pub(crate) fn new() -> Self {
        let mut machine = Interpreter::new(&PROGRAM);
        let terms = Terms {
            generation: 0,
            until: u64::MAX,
            begins: u64::MAX,
        };
        machine.insert(map::TERMS, &ONLY, &terms);
        let kernel = Arc::new(Simulated {
            machine: Mutex::new(machine),
            begun: Mutex::default(),
        });
        // The first packet and the first connection are worth it: as much as can be is repeated.
        let leases = Leases::new(kernel.clone(), ROOM)
            .with_worth(0)
            .with_grants(1);
        leases.set_clock(-AHEAD);
        Self {
            leases: Arc::new(leases),
            kernel,
        }
    }

    /// Hangs the program at a port's host end. `mac` is the address of the other end.
    pub(crate) fn hook(&self, id: PortId, outlet: Outlet, mac: MacAddr) -> Outlet {
        let port = Port::new(tap(id));
        let mut machine = self.kernel.machine();
        machine.insert(map::PORTS, &host_end(id), &port);
        let share = self.leases.open_port(id);
        outlet.hooked(
            Hook::new(host_end(id), Some(mac)),
            Arc::clone(&self.leases),
            share,
        )
    }

    /// Lets a frame arrive at a port's host end. Returns the port that it goes to by its lease, and the frame.
    pub(crate) fn repeat(
        &self,
        from: PortId,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Option<(PortId, Vec<u8>)> {
        let mut machine = self.kernel.machine();
        machine.nanoseconds = now.as_nanos().strict_add_signed(AHEAD);
        let packet = skb(from, bytes, vnet)?;
        let tag = bytes[12..].iter().take(bytes.len() - packet.bytes.len());
        let tag: Vec<u8> = tag.copied().collect();
        let outcome = machine.run(packet).unwrap();
        assert_eq!(outcome.verdict, verdict::REDIRECT);
        let to = outcome.redirect.unwrap().ifindex;
        let mut bytes = outcome.packet.bytes;
        bytes.splice(12..12, tag);
        (to != tap(from)).then(|| (PortId(u16::try_from(to - HOST_END).unwrap()), bytes))
    }
}

const HOST_END: u32 = 100;
/// Nanoseconds that the kernel's clock is ahead of ours: a time of 0 means never there.
const AHEAD: i64 = 1;

fn host_end(id: PortId) -> u32 {
    HOST_END + u32::from(id.0)
}

fn tap(id: PortId) -> u32 {
    2 * HOST_END + u32::from(id.0)
}

/// The frame as a program sees it: the outermost tag beside it. None that no kernel would make.
fn skb(from: PortId, bytes: &[u8], vnet: VnetHeader) -> Option<Packet> {
    let tag = bytes
        .get(12..16)
        .and_then(|it| VlanTag::from_bytes(it.try_into().ok()?));
    let mut bytes = bytes.to_vec();
    if tag.is_some() {
        bytes.drain(12..16);
    }
    if bytes.len() < 14 {
        return None;
    }
    let mut packet = Packet::new(bytes, host_end(from));
    if let Some(tag) = tag {
        packet.context.vlan_present = 1;
        packet.context.vlan_proto = tag.tpid.to_be().into();
        packet.context.vlan_tci = tag.tci.into();
    }
    packet.unfinished = vnet.needs_csum();
    if vnet.is_gso() {
        let known: Option<GsoKind> = vnet.gso_kind();
        known?;
        packet.context.gso_size = vnet.gso_size.into();
    }
    Some(packet)
}

impl Simulated {
    fn machine(&self) -> MutexGuard<'_, Interpreter<'static>> {
        self.machine.lock().unwrap()
    }

    fn slot<L: FromBytes>(&self, slots: MapId, slot: u32) -> L {
        self.machine().lookup(slots, &slot).unwrap()
    }

    fn fill<L: IntoBytes + Immutable>(&self, slots: MapId, slot: u32, lease: &L) {
        self.machine().insert(slots, &slot, lease);
    }
}

/// A kind of lease, as it stands in the maps.
trait Stored: Lent<Key: IntoBytes + Immutable> + FromBytes + IntoBytes + Immutable {
    const KEYS: MapId;
    const SLOTS: MapId;

    fn open(&mut self) -> &mut u32;

    fn carried(&self) -> Carried;
}

macro_rules! stored {
    ($lease:ty, $keys:ident, $slots:ident, $frames:ident, $bytes:expr) => {
        impl Stored for $lease {
            const KEYS: MapId = map::$keys;
            const SLOTS: MapId = map::$slots;

            fn open(&mut self) -> &mut u32 {
                &mut self.open
            }

            fn carried(&self) -> Carried {
                let bytes: fn(&Self) -> u64 = $bytes;
                Carried {
                    frames: self.$frames,
                    bytes: bytes(self),
                    last: self.last,
                }
            }
        }
    };
}

stored!(Lease, KEYS, LEASES, frames, |it| it.bytes);
stored!(FlowLease, FLOW_KEYS, FLOWS, frames, |it| it.bytes);
stored!(Grant, GRANT_KEYS, GRANTS, begun, |_| 0);

impl<L: Stored> Slots<L> for Simulated {
    fn fill(&self, slot: u32, lease: &L) {
        assert_eq!(*self.slot::<L>(L::SLOTS, slot).open(), 0);
        self.fill(L::SLOTS, slot, lease);
    }

    fn close(&self, slot: u32) {
        let mut lease: L = self.slot(L::SLOTS, slot);
        *lease.open() = 0;
        self.fill(L::SLOTS, slot, &lease);
    }

    fn carried(&self, slot: u32) -> Carried {
        self.slot::<L>(L::SLOTS, slot).carried()
    }

    fn read(&self, slot: u32) -> L {
        self.slot(L::SLOTS, slot)
    }

    fn insert(&self, key: &L::Key, slot: u32) -> bool {
        self.machine().insert(L::KEYS, key, &slot);
        true
    }

    fn remove(&self, key: &L::Key) {
        assert!(self.machine().remove(L::KEYS, key));
    }
}

impl Kernel for Simulated {
    fn said(&self, slot: u32) -> Option<(Said, u32)> {
        let lease: FlowLease = self.slot(map::FLOWS, slot);
        (lease.key.protocol == 6).then_some((lease.said, lease.scale))
    }

    fn set_aside(&self, next: &mut dyn FnMut() -> Option<[u32; 2]>) {
        let mut spares: Spares = self.machine().lookup(map::SPARES, &ONLY).unwrap();
        for place in spares.pairs.iter_mut().filter(|it| **it == 0) {
            let Some(pair) = next() else { break };
            *place = Spares::pair(pair);
        }
        self.machine().insert(map::SPARES, &ONLY, &spares);
    }

    fn has_begun(&self) -> bool {
        let records = self.machine().records(map::BEGUN);
        let mut begun = self.begun.lock().unwrap();
        begun.extend(records.iter().map(|it| Begun::read_from_bytes(it).unwrap()));
        !begun.is_empty()
    }

    fn begun(&self, flows: &mut Vec<Begun>) {
        self.has_begun();
        flows.append(&mut self.begun.lock().unwrap());
    }

    fn say(&self, slot: u32, said: Said) {
        let lease: FlowLease = self.slot(map::FLOWS, slot);
        self.fill(map::FLOWS, slot, &FlowLease { said, ..lease });
    }

    fn finished(&self, slots: &mut Vec<u32>) {
        let records = self.machine().records(map::FINISHED);
        let number = |it: &Vec<u8>| u32::from_ne_bytes(it[..].try_into().unwrap());
        slots.extend(records.iter().map(number));
    }

    fn set_port(&self, interface: u32, terms: PortTerms) {
        let mut machine = self.machine();
        let port: Port = machine.lookup(map::PORTS, &interface).unwrap();
        let port = Port {
            locked: terms.locked.into(),
            gateway: terms.gateway.0,
            flows: terms.flows.into(),
            ..port
        };
        machine.insert(map::PORTS, &interface, &port);
    }

    fn begin(&self, generation: u32) {
        let mut machine = self.machine();
        let terms: Terms = machine.lookup(map::TERMS, &ONLY).unwrap();
        let generation = generation.into();
        let terms = Terms {
            generation,
            ..terms
        };
        machine.insert(map::TERMS, &ONLY, &terms);
    }

    fn wait(&self) {}
}
