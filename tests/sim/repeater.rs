//! The kernel's part without a kernel: the program of leases in the interpreter, its maps as plain values.

use bpf::interpreter::{Interpreter, Packet};
use bpf::{Program, verdict};
use dataplane::{Hook, Outlet};
use lease::program::{Room, map, program};
use lease::{Carried, Kernel, Key, Lease, Leases, Port, Terms};
use pipeline::{Instant, PortId};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use wire::{GsoKind, MacAddr, VlanTag, VnetHeader};

static PROGRAM: LazyLock<Program> = LazyLock::new(|| program(ROOM));
const ROOM: Room = Room {
    leases: 64,
    flows: 1,
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
}

impl Repeater {
    pub(crate) fn new() -> Self {
        let mut machine = Interpreter::new(&PROGRAM);
        let terms = Terms {
            generation: 0,
            until: u64::MAX,
        };
        machine.insert(map::TERMS, &ONLY, &terms);
        let kernel = Arc::new(Simulated {
            machine: Mutex::new(machine),
        });
        let leases = Arc::new(Leases::new(kernel.clone(), ROOM.leases));
        Self { leases, kernel }
    }

    /// Hangs the program at a port's host end. `mac` is the address of the other end.
    pub(crate) fn hook(&self, id: PortId, outlet: Outlet, mac: MacAddr) -> Outlet {
        let port = Port::new(tap(id));
        let mut machine = self.kernel.machine();
        machine.insert(map::PORTS, &host_end(id), &port);
        let share = self.leases.open_port(id);
        outlet.hooked(
            Hook::new(host_end(id), mac),
            Arc::clone(&self.leases),
            share,
        )
    }

    /// Lets a frame arrive at a port's host end. Returns the port that it goes to by its lease.
    pub(crate) fn repeat(
        &self,
        from: PortId,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Option<PortId> {
        let mut machine = self.kernel.machine();
        machine.nanoseconds = 1 + u64::try_from(now.since(Instant::ZERO).as_nanos()).unwrap();
        let outcome = machine.run(skb(from, bytes, vnet)?).unwrap();
        assert_eq!(outcome.verdict, verdict::REDIRECT);
        let to = outcome.redirect.unwrap().ifindex;
        (to != tap(from)).then(|| PortId(u16::try_from(to - HOST_END).unwrap()))
    }
}

const HOST_END: u32 = 100;

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

    fn slot(&self, slot: u32) -> Lease {
        self.machine().lookup(map::LEASES, &slot).unwrap()
    }
}

impl Kernel for Simulated {
    fn fill(&self, slot: u32, lease: &Lease) {
        assert_eq!(self.slot(slot).open, 0);
        self.machine().insert(map::LEASES, &slot, lease);
    }

    fn close(&self, slot: u32) {
        let closed = Lease {
            open: 0,
            ..self.slot(slot)
        };
        self.machine().insert(map::LEASES, &slot, &closed);
    }

    fn carried(&self, slot: u32) -> Carried {
        let Lease {
            frames,
            bytes,
            last,
            ..
        } = self.slot(slot);
        Carried {
            frames,
            bytes,
            last,
        }
    }

    fn insert(&self, key: &Key, slot: u32) -> bool {
        self.machine().insert(map::KEYS, key, &slot);
        true
    }

    fn remove(&self, key: &Key) {
        assert!(self.machine().remove(map::KEYS, key));
    }

    fn lock(&self, interface: u32, locked: bool) {
        let mut machine = self.machine();
        let port: Port = machine.lookup(map::PORTS, &interface).unwrap();
        let locked = locked.into();
        machine.insert(map::PORTS, &interface, &Port { locked, ..port });
    }

    fn begin(&self, generation: u32) {
        let mut machine = self.machine();
        let terms: Terms = machine.lookup(map::TERMS, &ONLY).unwrap();
        let generation = generation.into();
        machine.insert(
            map::TERMS,
            &ONLY,
            &Terms {
                generation,
                ..terms
            },
        );
    }

    fn wait(&self) {}
}
