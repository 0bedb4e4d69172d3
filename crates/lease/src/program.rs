//! The program that repeats decisions: the way of a frame that is switched. That of a frame that is looked
//! up by flow is in `flow.rs`.

mod flow;
mod grant;
mod headers;
mod options;

use crate::{FlowKey, FlowLease, Grant, Key, Lease, Port, Spares, TAGGED, Terms, Way};
use bpf::Register::{R0, R1, R2, R3, R6, R7, R8, R9};
use bpf::{
    Assembler, AtomicOp, Field, Helper, Label, Local, MapId, MapKind, MapSpec, Place, Program,
    Size, SkBuff, field, verdict,
};
use std::mem::offset_of;

use headers::{ETHERTYPE, IPV4, IPV6, LEAST, TAG, VLAN};

/// The program's maps.
pub mod map {
    use bpf::MapId;
    /// [`Key`](crate::Key) to the number of its slot.
    pub const KEYS: MapId = MapId(0);
    /// The number of an interface to its [`Port`](crate::Port).
    pub const PORTS: MapId = MapId(1);
    /// One [`Terms`](crate::Terms).
    pub const TERMS: MapId = MapId(2);
    /// The slots: one [`Lease`](crate::Lease) each.
    pub const LEASES: MapId = MapId(3);
    /// [`FlowKey`](crate::FlowKey) to the number of its slot.
    pub const FLOW_KEYS: MapId = MapId(4);
    /// Their slots: one [`FlowLease`](crate::FlowLease) each.
    pub const FLOWS: MapId = MapId(5);
    /// The slots of flows whose sender sent its first FIN, each a `u32`. Nobody is woken for them, and one for
    /// which there is no room is not told: the slot says it, too.
    pub const FINISHED: MapId = MapId(6);
    /// [`FlowKey`](crate::FlowKey) with source port 0 to the number of the slot of its grant.
    pub const GRANT_KEYS: MapId = MapId(7);
    /// Their slots: one [`Grant`](crate::Grant) each.
    pub const GRANTS: MapId = MapId(8);
    /// One [`Spares`](crate::Spares).
    pub const SPARES: MapId = MapId(9);
    /// A [`Begun`](crate::Begun) for each flow that the program began. A reader who has read all is woken.
    pub const BEGUN: MapId = MapId(10);
}

/// Room in the program's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Leases of switched unicast.
    pub leases: u32,
    /// Leases of flows.
    pub flows: u32,
    /// Grants. With none the program begins nothing, and runs before Linux 5.12, too.
    pub grants: u32,
    /// Ports.
    pub ports: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            leases: 65_536,
            flows: 65_536,
            grants: 1024,
            ports: 4096,
        }
    }
}

const PACKET_HOST: i32 = 0;
/// The ring's bytes: some 4,000 connections that finish between two looks.
const FINISHED_BYTES: u32 = 1 << 16;
/// Some 1,700 flows that begin between two looks: more than there are pairs of slots set aside.
const BEGUN_BYTES: u32 = 1 << 18;

/// The program, with so much room.
///
/// # Panics
/// Never: the program is the same but for that room, and its tests assemble it.
#[must_use]
pub fn program(room: Room) -> Program {
    let mut it = Assembler::new("lease");
    it.map(MapSpec::hash::<Key, u32>("keys", room.leases));
    it.map(MapSpec::hash::<u32, Port>("ports", room.ports));
    it.map(MapSpec::array::<Terms>("terms", 1).of_kind(MapKind::MappedArray));
    it.map(MapSpec::array::<Lease>("leases", room.leases).of_kind(MapKind::MappedArray));
    it.map(MapSpec::hash::<FlowKey, u32>("flow_keys", room.flows));
    it.map(MapSpec::array::<FlowLease>("flows", room.flows).of_kind(MapKind::MappedArray));
    it.map(MapSpec::ring("finished", FINISHED_BYTES));
    if room.grants > 0 {
        it.map(MapSpec::hash::<FlowKey, u32>("grant_keys", room.grants));
        it.map(MapSpec::array::<Grant>("grants", room.grants).of_kind(MapKind::MappedArray));
        it.map(MapSpec::array::<Spares>("spares", 1).of_kind(MapKind::MappedArray));
        it.map(MapSpec::ring("begun", BEGUN_BYTES));
    }
    let [by_flow, miss] = [it.label("by flow"), it.label("miss")];
    find_port(&mut it);
    let key = read_head(&mut it, miss);
    choose(&mut it, by_flow, miss);
    read_source(&mut it, key, miss);
    find_lease(&mut it, key, miss);
    headers::check_length(&mut it, R8.field(field!(Lease.mtu)), miss);
    repeat(&mut it);
    it.bind(by_flow);
    flow::repeat(&mut it, key, room.grants > 0, miss);
    it.bind(miss);
    pass_on(&mut it);
    it.finish().expect("the program is whole")
}

/// Leaves the context in r6 and the port in r7; others' frames pass.
fn find_port(it: &mut Assembler) {
    let port = it.local::<u32>("port");
    it.mov(R6, R1);
    it.load(R1, R6.field(field!(SkBuff.ifindex)));
    it.store(port.value(), R1);
    lookup(it, map::PORTS, port);
    it.note("not one of our ports");
    it.when(R0.is(0), |it| it.answer(verdict::UNSPEC));
    it.mov(R7, R0);
}

fn lookup<K>(it: &mut Assembler, map: MapId, key: Local<K>) {
    it.address(R2, key);
    it.load_map(R1, map);
    it.call(Helper::MapLookup);
}

/// Writes the key but its source; leaves the frame's start in r8 and its ethertype in r9.
fn read_head(it: &mut Assembler, miss: Label) -> Local<Key> {
    let key = it.local::<Key>("key");
    it.load(R8, R6.field(field!(SkBuff.data)));
    it.load(R1, R6.field(field!(SkBuff.data_end)));
    it.mov(R2, R8);
    it.add(R2, LEAST);
    it.note("too short for a lease").jump_if(R2.above(R1), miss);
    it.load(R1, R8.at(0, Size::U8));
    it.note("broadcast or multicast")
        .jump_if(R1.any_bit(1), miss);

    it.load_map_value(R1, map::TERMS, 0);
    it.load(R2, R1.field(field!(Terms.generation)));
    it.store(key.field(field!(Key.generation)), R2);
    it.load(R2, R6.field(field!(SkBuff.ifindex)));
    it.store(key.field(field!(Key.port)), R2);
    let [to, from] = [field!(Key.to), field!(Key.from)];
    copy(it, key, [to.part(0, Size::U32), to.part(4, Size::U16)], 0);
    copy(
        it,
        key,
        [from.part(0, Size::U16), from.part(2, Size::U32)],
        6,
    );
    it.load(R9, R8.at(ETHERTYPE, Size::U16));
    it.store(key.field(field!(Key.ethertype).part(0, Size::U16)), R9);
    read_vlan(it, key, miss);
    key
}

/// Goes on by flow where the port says so, and with what is for the router: at a NIC with nothing else.
fn choose(it: &mut Assembler, by_flow: Label, miss: Label) {
    it.load(R1, R7.field(field!(Port.flows)));
    it.note("all of it").jump_if(R1.is_not(0), by_flow);
    let switched = it.label("switched");
    for (at, size) in [(0, Size::U32), (4, Size::U16)] {
        it.load(R1, R8.at(i16::try_from(at).unwrap_or(0), size));
        it.load(R2, R7.field(field!(Port.gateway).part(at, size)));
        if at == 0 {
            it.jump_if(R1.is_not(R2), switched);
        } else {
            it.note("for the router").jump_if(R1.is(R2), by_flow);
        }
    }
    it.bind(switched);
    it.load(R1, R7.field(field!(Port.tap)));
    it.note("a NIC").jump_if(R1.is(0), miss);
}

/// Copies fields that lie in the frame as in the key, from `at` on.
fn copy<K, const N: usize>(it: &mut Assembler, key: Local<K>, fields: [Field<K>; N], mut at: i16) {
    for field in fields {
        let size = Size::of(field.bytes).unwrap_or(Size::U8);
        it.load(R1, R8.at(at, size));
        it.store(key.field(field), R1);
        at += i16::try_from(size.bytes()).unwrap_or(0);
    }
}

/// The tag, which the kernel keeps beside the frame. Its priority goes with it and is not part of the key.
fn read_vlan(it: &mut Assembler, key: Local<Key>, miss: Label) {
    it.mov(R2, 0);
    it.load(R1, R6.field(field!(SkBuff.vlan_present)));
    it.when(R1.is_not(0), |it| {
        it.load(R1, R6.field(field!(SkBuff.vlan_proto)));
        it.note("a tag of a provider");
        it.jump_if(R1.is_not(big_endian(TAG)), miss);
        it.load(R2, R6.field(field!(SkBuff.vlan_tci)));
        it.and(R2, VLAN);
        it.or(R2, i32::from(TAGGED));
    });
    it.store(key.field(field!(Key.vlan)), R2);
}

/// The source address where the port is locked. There the pipeline refuses what it cannot check, so only
/// IPv4 without options, and TCP and UDP right behind an IPv6 header, have a lease, and only if their
/// lengths are sound: whatever else speaks for others (ARP, neighbour and router messages) is none of these.
fn read_source(it: &mut Assembler, key: Local<Key>, miss: Label) {
    let part = |word: usize| field!(Key.source).part(4 * word, Size::U32);
    for word in 0..4 {
        it.store(key.field(part(word)), 0);
    }
    let [done, ipv6] = [it.label("source read"), it.label("IPv6")];
    it.load(R1, R7.field(field!(Port.locked)));
    it.jump_if(R1.is(0), done);
    it.jump_if(R9.is(big_endian(IPV6)), ipv6);
    it.note("no address to be locked to");
    it.jump_if(R9.is_not(big_endian(IPV4)), miss);
    headers::check_ipv4(it, miss);
    copy(it, key, [part(0)], 26);
    it.jump(done);
    it.bind(ipv6);
    headers::check_ipv6(it, miss);
    headers::check_transport(it, headers::IPV6_END, |_| {}, miss);
    copy(it, key, [0, 1, 2, 3].map(part), 22);
    it.bind(done);
}

/// Leaves the lease in r8 and the time in r9.
fn find_lease(it: &mut Assembler, key: Local<Key>, miss: Label) {
    let slot = it.local("slot");
    find_slot(it, [map::KEYS, map::LEASES], (key, slot), [miss, miss]);
    it.load(R1, R8.field(field!(Lease.open)));
    check_terms(it, key, miss);
}

/// Leaves the slot of a key in r8, its number in the local.
fn find_slot<K>(
    it: &mut Assembler,
    [keys, slots]: [MapId; 2],
    (key, slot): (Local<K>, Local<u32>),
    [unknown, miss]: [Label; 2],
) {
    lookup(it, keys, key);
    it.note("no lease").jump_if(R0.is(0), unknown);
    it.load(R1, R0.at(0, Size::U32));
    it.store(slot.value(), R1);
    lookup(it, slots, slot);
    it.note("no such slot").jump_if(R0.is(0), miss);
    it.mov(R8, R0);
}

/// Goes on if the lease in r8, whether it is open is in r1, holds now. Leaves the time in r9.
fn check_terms<K>(it: &mut Assembler, key: Local<K>, miss: Label) {
    it.note("taken back").jump_if(R1.is(0), miss);
    compare_key(it, key, miss);
    it.call(Helper::KtimeGetCoarseNs);
    it.mov(R9, R0);
    it.load_map_value(R1, map::TERMS, 0);
    it.load(R1, R1.field(field!(Terms.until)));
    it.note("all leases have ended")
        .jump_if(R9.at_least(R1), miss);
}

/// Goes on if the lease in r8, which begins with its key, is this key's: between the two lookups the key may
/// have been removed and its entry been given to another one.
fn compare_key<K>(it: &mut Assembler, key: Local<K>, miss: Label) {
    const { assert!(size_of::<K>().is_multiple_of(8)) };
    const { assert!(offset_of!(Lease, key) == 0 && offset_of!(FlowLease, key) == 0) };
    const { assert!(offset_of!(Grant, key) == 0) };
    for (at, place) in (0..size_of::<K>()).step_by(8).zip((0..).step_by(8)) {
        it.load(R1, R8.at(place, Size::U64));
        it.load(R2, key.part(at, Size::U64));
        it.note("of another key").jump_if(R1.is_not(R2), miss);
    }
}

/// Counts the frame in the lease and sends it.
fn repeat(it: &mut Assembler) {
    let [frames, bytes] = [field!(Lease.frames), field!(Lease.bytes)];
    count(
        it,
        [frames, bytes, field!(Lease.last)].map(|it| R8.field(it)),
    );
    let way = [field!(Lease.out), field!(Lease.way)];
    send(it, way.map(|it| R8.field(it)));
}

/// Counts the frame, whose time is in r9.
fn count(it: &mut Assembler, [frames, bytes, last]: [Place; 3]) {
    it.mov(R1, 1);
    it.atomic(AtomicOp::Add, frames, R1);
    it.load(R1, R6.field(field!(SkBuff.len)));
    it.load(R2, R6.field(field!(SkBuff.vlan_present)));
    it.note("the tag that lies beside it");
    it.when(R2.is_not(0), |it| it.add(R1, 4));
    it.atomic(AtomicOp::Add, bytes, R1);
    it.store(last, R9);
}

/// Sends the frame out by an interface, in this [`Way`].
fn send(it: &mut Assembler, [out, way]: [Place; 2]) {
    // The host's end has another MAC address, so the frame is marked as somebody else's.
    it.mov(R1, R6);
    it.mov(R2, PACKET_HOST);
    it.call(Helper::SkbChangeType);
    it.load(R1, out);
    it.mov(R2, 0);
    it.load(R3, way);
    it.when_else(
        R3.is(Way::Peer as i32),
        |it| it.call(Helper::RedirectPeer),
        |it| it.call(Helper::Redirect),
    );
    it.exit();
}

/// Counts the frame in the port and sends it to the port's TAP; at a NIC it goes on as if we were not there.
fn pass_on(it: &mut Assembler) {
    it.mov(R1, 1);
    it.atomic(AtomicOp::Add, R7.field(field!(Port.missed)), R1);
    it.load(R1, R7.field(field!(Port.tap)));
    it.note("a NIC");
    it.when(R1.is(0), |it| it.answer(verdict::UNSPEC));
    it.mov(R2, 0);
    it.call(Helper::Redirect);
    it.exit();
}

/// The number that a load of two bytes in the network's order gives.
const fn big_endian(number: u16) -> i32 {
    number.to_be() as i32
}

#[cfg(test)]
mod tests;
