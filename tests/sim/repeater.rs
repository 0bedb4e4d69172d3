//! The kernel's part without a kernel: the program of leases in the interpreter, its maps as plain values.

use bpf::interpreter::{Interpreter, Packet};
use bpf::{MapId, Program, verdict};
use dataplane::{Hook, Outlet};
use lease::program::{Room, map, program};
use lease::{
    Begun, Carried, FlowKey, FlowLease, Grant, Kernel, Key, Lease, Leases, Port, PortTerms, Said,
    Slots, Spares, Terms,
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
    /// What the program told and nobody has read.
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

impl Slots<Lease> for Simulated {
    fn fill(&self, slot: u32, lease: &Lease) {
        assert_eq!(self.slot::<Lease>(map::LEASES, slot).open, 0);
        self.fill(map::LEASES, slot, lease);
    }

    fn close(&self, slot: u32) {
        let lease: Lease = self.slot(map::LEASES, slot);
        self.fill(map::LEASES, slot, &Lease { open: 0, ..lease });
    }

    fn carried(&self, slot: u32) -> Carried {
        let lease: Lease = self.slot(map::LEASES, slot);
        Carried {
            frames: lease.frames,
            bytes: lease.bytes,
            last: lease.last,
        }
    }

    fn read(&self, slot: u32) -> Lease {
        self.slot(map::LEASES, slot)
    }

    fn insert(&self, key: &Key, slot: u32) -> bool {
        self.machine().insert(map::KEYS, key, &slot);
        true
    }

    fn remove(&self, key: &Key) {
        assert!(self.machine().remove(map::KEYS, key));
    }
}

impl Slots<FlowLease> for Simulated {
    fn fill(&self, slot: u32, lease: &FlowLease) {
        assert_eq!(self.slot::<FlowLease>(map::FLOWS, slot).open, 0);
        self.fill(map::FLOWS, slot, lease);
    }

    fn close(&self, slot: u32) {
        let lease: FlowLease = self.slot(map::FLOWS, slot);
        self.fill(map::FLOWS, slot, &FlowLease { open: 0, ..lease });
    }

    fn carried(&self, slot: u32) -> Carried {
        let lease: FlowLease = self.slot(map::FLOWS, slot);
        Carried {
            frames: lease.frames,
            bytes: lease.bytes,
            last: lease.last,
        }
    }

    fn read(&self, slot: u32) -> FlowLease {
        self.slot(map::FLOWS, slot)
    }

    fn insert(&self, key: &FlowKey, slot: u32) -> bool {
        self.machine().insert(map::FLOW_KEYS, key, &slot);
        true
    }

    fn remove(&self, key: &FlowKey) {
        assert!(self.machine().remove(map::FLOW_KEYS, key));
    }
}

impl Slots<Grant> for Simulated {
    fn fill(&self, slot: u32, grant: &Grant) {
        assert_eq!(self.slot::<Grant>(map::GRANTS, slot).open, 0);
        self.fill(map::GRANTS, slot, grant);
    }

    fn close(&self, slot: u32) {
        let grant: Grant = self.slot(map::GRANTS, slot);
        self.fill(map::GRANTS, slot, &Grant { open: 0, ..grant });
    }

    fn carried(&self, slot: u32) -> Carried {
        let grant: Grant = self.slot(map::GRANTS, slot);
        Carried {
            frames: grant.begun,
            bytes: 0,
            last: grant.last,
        }
    }

    fn read(&self, slot: u32) -> Grant {
        self.slot(map::GRANTS, slot)
    }

    fn insert(&self, key: &FlowKey, slot: u32) -> bool {
        self.machine().insert(map::GRANT_KEYS, key, &slot);
        true
    }

    fn remove(&self, key: &FlowKey) {
        assert!(self.machine().remove(map::GRANT_KEYS, key));
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
