//! The program that repeats decisions about switched unicast.

use crate::{Key, Lease, Port, TAGGED, Terms, Way};
use bpf::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9};
use bpf::{
    Assembler, AtomicOp, Field, Helper, Label, Local, MapId, MapKind, MapSpec, Program, Size,
    SkBuff, field, verdict,
};

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
}

const ETHERNET: i32 = 14;
/// Bytes that every frame with a lease has: to the end of an IPv6 source address.
const LEAST: i32 = 38;
const ETHERTYPE: i16 = 12;
/// Ethertypes, tags and protocols.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAG: u16 = 0x8100;
const TCP: i32 = 6;
/// Where a TCP header says how long it is.
const TCP_HEADER_LENGTH: i32 = 12;
const UDP: i32 = 17;
const UDP_HEADER: i32 = 8;
const IPV4_HEADER: i32 = 20;
const IPV6_HEADER: i32 = 40;
const TCP_HEADER: i32 = 20;
/// The low 12 bits of a tag.
const VLAN: i32 = 0x0fff;
const PACKET_HOST: i32 = 0;

/// The program, with room for so many leases and ports.
///
/// # Panics
/// Never: the program is the same but for that room, and its tests assemble it.
#[must_use]
pub fn program(leases: u32, ports: u32) -> Program {
    let mut it = Assembler::new("lease");
    it.map(MapSpec::hash::<Key, u32>("keys", leases));
    it.map(MapSpec::hash::<u32, Port>("ports", ports));
    it.map(MapSpec::array::<Terms>("terms", 1).of_kind(MapKind::MappedArray));
    it.map(MapSpec::array::<Lease>("leases", leases).of_kind(MapKind::MappedArray));
    let miss = it.label("miss");
    find_port(&mut it);
    let key = read_key(&mut it, miss);
    find_lease(&mut it, key, miss);
    check_length(&mut it, miss);
    repeat(&mut it);
    it.bind(miss);
    to_userspace(&mut it);
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

/// Writes the key; leaves the frame's start in r8 and its ethertype in r9.
fn read_key(it: &mut Assembler, miss: Label) -> Local<Key> {
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
    read_source(it, key, miss);
    key
}

/// Copies fields that lie in the frame as in the key, from `at` on.
fn copy<const N: usize>(it: &mut Assembler, key: Local<Key>, fields: [Field<Key>; N], mut at: i16) {
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
    it.load(R2, R6.field(field!(SkBuff.len)));
    it.jump_if(R9.is(big_endian(IPV6)), ipv6);
    it.note("no address to be locked to");
    it.jump_if(R9.is_not(big_endian(IPV4)), miss);
    check_ipv4(it, miss);
    copy(it, key, [part(0)], 26);
    it.jump(done);
    it.bind(ipv6);
    check_ipv6(it, miss);
    copy(it, key, [0, 1, 2, 3].map(part), 22);
    it.bind(done);
}

/// Goes on if the IPv4 header is sound and has no options. The frame's length is in r2.
fn check_ipv4(it: &mut Assembler, miss: Label) {
    it.load(R1, R8.at(14, Size::U8));
    it.note("version 4, header of 20 bytes");
    it.jump_if(R1.is_not(0x45), miss);
    it.load(R1, R8.at(16, Size::U16));
    it.big_endian(R1, Size::U16);
    it.note("the packet's length");
    it.jump_if(R1.below(IPV4_HEADER), miss);
    it.sub(R2, ETHERNET);
    it.jump_if(R1.above(R2), miss);
}

/// Goes on if the IPv6 header is sound and TCP or UDP follow, soundly. The frame's length is in r2.
fn check_ipv6(it: &mut Assembler, miss: Label) {
    it.load(R1, R8.at(14, Size::U8));
    it.shift_right(R1, 4);
    it.note("the version").jump_if(R1.is_not(6), miss);
    // The payload's length in r3.
    it.load(R3, R8.at(18, Size::U16));
    it.big_endian(R3, Size::U16);
    it.mov(R1, R3);
    it.add(R1, ETHERNET + IPV6_HEADER);
    it.note("the packet's length").jump_if(R1.above(R2), miss);
    it.load(R1, R6.field(field!(SkBuff.data_end)));
    it.mov(R2, R8);
    it.add(R2, ETHERNET + IPV6_HEADER + UDP_HEADER);
    it.jump_if(R2.above(R1), miss);
    it.load(R4, R8.at(20, Size::U8));
    it.when_else(
        R4.is(TCP),
        |it| {
            it.mov(R2, R8);
            it.add(R2, ETHERNET + IPV6_HEADER + TCP_HEADER);
            it.jump_if(R2.above(R1), miss);
            it.load(R4, R8.at(66, Size::U8));
            it.shift_right(R4, 4);
            it.note("words of a TCP header").shift_left(R4, 2);
            it.jump_if(R4.below(TCP_HEADER), miss);
        },
        |it| {
            it.note("neither TCP nor UDP").jump_if(R4.is_not(UDP), miss);
            it.load(R4, R8.at(58, Size::U16));
            it.big_endian(R4, Size::U16);
            it.note("a datagram's length");
            it.jump_if(R4.below(UDP_HEADER), miss);
        },
    );
    it.jump_if(R4.above(R3), miss);
}

/// Leaves the lease in r8 and the time in r9.
fn find_lease(it: &mut Assembler, key: Local<Key>, miss: Label) {
    let slot = it.local::<u32>("slot");
    lookup(it, map::KEYS, key);
    it.note("no lease").jump_if(R0.is(0), miss);
    it.load(R1, R0.at(0, Size::U32));
    it.store(slot.value(), R1);
    lookup(it, map::LEASES, slot);
    it.note("no such slot").jump_if(R0.is(0), miss);
    it.mov(R8, R0);
    it.load(R1, R8.field(field!(Lease.open)));
    it.note("taken back").jump_if(R1.is(0), miss);
    compare_key(it, key, miss);
    it.call(Helper::KtimeGetCoarseNs);
    it.mov(R9, R0);
    it.load_map_value(R1, map::TERMS, 0);
    it.load(R1, R1.field(field!(Terms.until)));
    it.note("all leases have ended")
        .jump_if(R9.at_least(R1), miss);
}

/// Goes on if the lease in r8 is the key's: between the two lookups the key may have been removed and its
/// entry been given to another one.
fn compare_key(it: &mut Assembler, key: Local<Key>, miss: Label) {
    const { assert!(size_of::<Key>().is_multiple_of(8)) };
    for at in (0..size_of::<Key>()).step_by(8) {
        it.load(R1, R8.field(field!(Lease.key).part(at, Size::U64)));
        it.load(R2, key.part(at, Size::U64));
        it.note("of another key").jump_if(R1.is_not(R2), miss);
    }
}

/// A packet, or the packets that a superframe will become, must not be longer than the receiver takes:
/// a redirected one is not checked any more.
fn check_length(it: &mut Assembler, miss: Label) {
    let checked = it.label("length known");
    it.load(R1, R6.field(field!(SkBuff.len)));
    it.sub(R1, ETHERNET);
    it.load(R2, R6.field(field!(SkBuff.gso_size)));
    it.jump_if(R2.is(0), checked);
    segment_length(it, miss);
    it.bind(checked);
    it.load(R2, R8.field(field!(Lease.mtu)));
    it.note("longer than the receiver takes")
        .jump_if(R1.above(R2), miss);
}

/// The length of a superframe's packets in r1: their headers, and as much as `gso_size`.
fn segment_length(it: &mut Assembler, miss: Label) {
    let [ipv6, known] = [it.label("segments of IPv6"), it.label("header known")];
    it.load(R1, R6.field(field!(SkBuff.data)));
    it.load(R2, R6.field(field!(SkBuff.data_end)));
    it.mov(R3, R1);
    it.add(R3, LEAST);
    it.jump_if(R3.above(R2), miss);
    // The IP header's length in r0, the protocol in r4.
    it.load(R3, R1.at(ETHERTYPE, Size::U16));
    it.jump_if(R3.is(big_endian(IPV6)), ipv6);
    it.jump_if(R3.is_not(big_endian(IPV4)), miss);
    it.load(R0, R1.at(14, Size::U8));
    it.and(R0, 0x0f);
    it.note("words of an IPv4 header").shift_left(R0, 2);
    it.load(R4, R1.at(23, Size::U8));
    it.jump(known);
    it.bind(ipv6);
    it.mov(R0, IPV6_HEADER);
    it.load(R4, R1.at(20, Size::U8));
    it.bind(known);
    // The transport header's length in r3.
    it.add(R1, R0);
    it.mov(R3, R1);
    it.add(R3, ETHERNET + TCP_HEADER_LENGTH + 1);
    it.jump_if(R3.above(R2), miss);
    it.when_else(
        R4.is(TCP),
        |it| {
            let length = i16::try_from(ETHERNET + TCP_HEADER_LENGTH).unwrap_or(0);
            it.load(R3, R1.at(length, Size::U8));
            it.shift_right(R3, 4);
            it.note("words of a TCP header").shift_left(R3, 2);
        },
        |it| {
            it.jump_if(R4.is_not(UDP), miss);
            it.mov(R3, UDP_HEADER);
        },
    );
    it.load(R1, R6.field(field!(SkBuff.gso_size)));
    it.add(R1, R0);
    it.add(R1, R3);
}

/// Counts the frame in the lease and sends it.
fn repeat(it: &mut Assembler) {
    it.mov(R1, 1);
    it.atomic(AtomicOp::Add, R8.field(field!(Lease.frames)), R1);
    it.load(R1, R6.field(field!(SkBuff.len)));
    it.load(R2, R6.field(field!(SkBuff.vlan_present)));
    it.note("the tag that lies beside it");
    it.when(R2.is_not(0), |it| it.add(R1, 4));
    it.atomic(AtomicOp::Add, R8.field(field!(Lease.bytes)), R1);
    it.store(R8.field(field!(Lease.last)), R9);
    // The host's end has another MAC address, so the frame is marked as somebody else's.
    it.mov(R1, R6);
    it.mov(R2, PACKET_HOST);
    it.call(Helper::SkbChangeType);
    it.load(R1, R8.field(field!(Lease.out)));
    it.mov(R2, 0);
    it.load(R3, R8.field(field!(Lease.way)));
    it.when_else(
        R3.is(Way::Peer as i32),
        |it| it.call(Helper::RedirectPeer),
        |it| it.call(Helper::Redirect),
    );
    it.exit();
}

/// Counts the frame in the port and sends it to the port's TAP.
fn to_userspace(it: &mut Assembler) {
    it.mov(R1, 1);
    it.atomic(AtomicOp::Add, R7.field(field!(Port.missed)), R1);
    it.load(R1, R7.field(field!(Port.tap)));
    it.mov(R2, 0);
    it.call(Helper::Redirect);
    it.exit();
}

/// The number that a load of two bytes in the network's order gives.
fn big_endian(number: u16) -> i32 {
    i32::from(number.to_be())
}

#[cfg(test)]
mod tests;
