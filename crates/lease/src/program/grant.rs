//! The beginning of a flow by a grant: the leases of both directions are made where its first packet is.
//!
//! The record that tells of it is reserved before anything is done, so no flow begins of which userspace does not
//! hear. Slots that turn out not to be needed go back by the same record.

use super::flow::{FIGURES, Read, SYN, figure};
use super::headers::check_length;
use super::{big_endian, check_terms, find_slot, lookup, map};
use crate::{Begun, FlowKey, FlowLease, Grant, Spares, Terms, scale};
use bpf::Register::{R0, R1, R2, R3, R4, R6, R8, R9};
use bpf::{Assembler, AtomicOp, Field, Helper, Label, Local, Size, SkBuff, field};
use std::mem::offset_of;

/// Of `map_update`: the key must be new.
const NOEXIST: i32 = 1;
/// Places of both ports among the ends.
const PORTS: [usize; 2] = [8, 32];

/// Two numbers or addresses, the initiator's first.
#[derive(Clone, Copy)]
struct Pair<T>([Local<T>; 2]);

/// The parts of a beginning.
#[derive(Clone, Copy)]
struct Beginning {
    read: Read,
    /// The key of the grant.
    asked: Local<FlowKey>,
    /// The initiator's port as it lies in the packet.
    port: Local<u16>,
    grant_slot: Local<u32>,
    /// Addresses of the grant and of the record.
    grant: Local<u64>,
    record: Local<u64>,
    slots: Pair<u32>,
    leases: Pair<u64>,
}

/// Begins a flow whose first packet was read, if there is a grant for it. Leaves its lease in r8 and the time in r9.
pub(super) fn begin(it: &mut Assembler, read: Read, miss: Label) {
    let its = Beginning {
        read,
        asked: it.local("asked"),
        port: it.local("initiator's port"),
        grant_slot: it.local("slot of the grant"),
        grant: it.local("grant"),
        record: it.local("record"),
        slots: Pair([it.local("initiator's slot"), it.local("responder's slot")]),
        leases: Pair([it.local("initiator's lease"), it.local("responder's lease")]),
    };
    find_grant(it, its, miss);
    let [taken, unused, done] = [it.label("taken"), it.label("unused"), it.label("begun")];
    reserve_record(it, its, miss);
    take_slots(it, its, unused);
    for side in [0, 1] {
        make_lease(it, its, side, taken);
    }
    lead(it, its, taken);
    tell(it, its);
    it.load(R8, its.leases.0[0].value());
    it.call(Helper::KtimeGetCoarseNs);
    it.mov(R9, R0);
    it.jump(done);
    it.bind(taken);
    it.note("the slots go back");
    give_back(it, its, Helper::RingbufSubmit);
    it.jump(miss);
    it.bind(unused);
    give_back(it, its, Helper::RingbufDiscard);
    it.jump(miss);
    it.bind(done);
}

/// Leaves the grant in r8, if it holds and the packet is one that it is for.
fn find_grant(it: &mut Assembler, its: Beginning, miss: Label) {
    let Beginning { read, asked, .. } = its;
    let opens = it.label("may begin a flow");
    it.load(R1, read.control.value());
    it.jump_if(R1.is(0), opens);
    it.note("goes on with what is not known")
        .jump_if(R1.is_not(SYN), miss);
    it.bind(opens);
    it.load(R1, read.key.field(field!(FlowKey.vlan)));
    it.note("tagged").jump_if(R1.is_not(0), miss);
    it.load(R1, R6.field(field!(SkBuff.gso_size)));
    it.note("a superframe, which the record does not tell of")
        .jump_if(R1.is_not(0), miss);
    for at in (0..size_of::<FlowKey>()).step_by(8) {
        it.load(R1, read.key.part(at, Size::U64));
        it.store(asked.part(at, Size::U64), R1);
    }
    by_version(it, read.key, |it, ports| {
        let port = asked.field(field!(FlowKey.ends).part(ports, Size::U16));
        it.load(R1, port);
        it.store(its.port.value(), R1);
        it.store(port, 0);
    });
    find_slot(
        it,
        [map::GRANT_KEYS, map::GRANTS],
        (asked, its.grant_slot),
        [miss, miss],
    );
    it.load(R1, R8.field(field!(Grant.open)));
    check_terms(it, asked, miss);
    it.load_map_value(R1, map::TERMS, 0);
    it.load(R1, R1.field(field!(Terms.begins)));
    it.note("userspace is away").jump_if(R9.at_least(R1), miss);
    check_length(
        it,
        R8.at(pattern(0, field!(FlowLease.mtu)), Size::U32),
        miss,
    );
    let fits = it.label("small segments");
    it.load(R1, read.control.value());
    it.jump_if(R1.is(0), fits);
    it.load(R1, read.offers.mss.value());
    it.load(R2, R8.field(field!(Grant.mss)));
    it.note("an MSS to be lowered").jump_if(R1.above(R2), miss);
    it.bind(fits);
    it.store(its.grant.value(), R8);
}

/// Does `body` with the place of the ports for the packet's version of IP.
fn by_version(it: &mut Assembler, key: Local<FlowKey>, body: impl Fn(&mut Assembler, usize)) {
    it.load(R1, key.field(field!(FlowKey.ethertype).part(0, Size::U16)));
    it.when_else(
        R1.is(big_endian(super::IPV6)),
        |it| body(it, PORTS[1]),
        |it| body(it, PORTS[0]),
    );
}

/// The place of a field of one of a grant's patterns.
fn pattern(side: usize, field: Field<FlowLease>) -> i16 {
    let at = offset_of!(Grant, flows) + side * size_of::<FlowLease>() + field.offset;
    i16::try_from(at).unwrap_or(i16::MAX)
}

/// Reserves the record, and writes the packet to it.
fn reserve_record(it: &mut Assembler, its: Beginning, miss: Label) {
    it.load_map(R1, map::BEGUN);
    it.mov(R2, i32::try_from(size_of::<Begun>()).unwrap_or(0));
    it.mov(R3, 0);
    it.call(Helper::RingbufReserve);
    it.note("userspace is behind").jump_if(R0.is(0), miss);
    it.store(its.record.value(), R0);
    it.note("all of it is written: a shorter frame leaves some");
    for at in (0..size_of::<Begun>()).step_by(8) {
        it.store(R0.at(i16::try_from(at).unwrap_or(0), Size::U64), 0);
    }
    it.load(R1, R6.field(field!(SkBuff.len)));
    it.store(R0.field(field!(Begun.length)), R1);
    // At least what was read of it, at most the room for it.
    let [long, known] = [it.label("long"), it.label("length of the head")];
    let head = i32::try_from(Begun::HEAD).unwrap_or(0);
    it.mov(R4, R1);
    it.jump_if(R4.above(head), long);
    it.note("never, said so for the verifier");
    it.when(R4.is(0), |it| it.mov(R4, 1));
    it.jump(known);
    it.bind(long);
    it.mov(R4, head);
    it.bind(known);
    it.mov(R3, R0);
    it.add(R3, i32::try_from(offset_of!(Begun, frame)).unwrap_or(0));
    it.mov(R1, R6);
    it.mov(R2, 0);
    it.call(Helper::SkbLoadBytes);
}

/// Takes a pair of slots that was set aside.
fn take_slots(it: &mut Assembler, its: Beginning, unused: Label) {
    it.load_map_value(R1, map::SPARES, 0);
    it.mov(R2, 1);
    it.atomic(AtomicOp::FetchAdd, R1.field(field!(Spares.next)), R2);
    it.and(R2, i32::try_from(Spares::PAIRS - 1).unwrap_or(0));
    it.shift_left(R2, 3);
    it.add(R1, R2);
    it.mov(R3, 0);
    let pair = i16::try_from(offset_of!(Spares, pairs)).unwrap_or(0);
    it.atomic(AtomicOp::Exchange, R1.at(pair, Size::U64), R3);
    it.note("no slots set aside").jump_if(R3.is(0), unused);
    it.mov(R2, R3);
    it.shift_right(R2, 32);
    it.sub(R2, 1);
    it.sub(R3, 1);
    let Pair([first, second]) = its.slots;
    it.store(first.value(), R3);
    it.store(second.value(), R2);
    it.store(its.read.slot.value(), R3);
}

/// Makes a direction's lease in its slot, of the grant's pattern.
fn make_lease(it: &mut Assembler, its: Beginning, side: usize, taken: Label) {
    let Beginning { read, slots, .. } = its;
    lookup(it, map::FLOWS, slots.0[side]);
    it.note("no such slot").jump_if(R0.is(0), taken);
    it.store(its.leases.0[side].value(), R0);
    it.mov(R9, R0);
    it.load(R8, its.grant.value());
    for at in (0..size_of::<FlowLease>()).step_by(8) {
        let place = i16::try_from(at).unwrap_or(i16::MAX);
        let from = place + pattern(side, field!(FlowLease.key));
        it.load(R1, R8.at(from, Size::U64));
        it.store(R9.at(place, Size::U64), R1);
    }
    // The initiator's port is the source port of what it sends, and the destination port of what it gets.
    it.load(R4, its.port.value());
    by_version(it, read.key, |it, ports| {
        let key = |at, size| field!(FlowLease.key).part(offset_of!(FlowKey, ends) + at, size);
        let ends = |at, size| field!(FlowLease.ends).part(at, size);
        let initiator = ports + 2 * side;
        it.store(R9.field(key(initiator, Size::U16)), R4);
        it.store(R9.field(ends(initiator, Size::U16)), R4);
        it.load(R1, R9.field(key(ports, Size::U32)));
        it.load(R2, R9.field(ends(ports, Size::U32)));
        write_difference(it);
    });
    it.load(R1, read.control.value());
    it.when(R1.is_not(0), |it| {
        it.load(R1, slots.0[1 - side].value());
        it.store(R9.field(field!(FlowLease.twin)), R1);
        if side == 0 {
            begin_direction(it, read);
        } else {
            it.store(
                R9.field(field!(FlowLease.scale)),
                scale::UNHEARD.cast_signed(),
            );
        }
    });
    it.store(R9.field(field!(FlowLease.open)), 1);
}

/// Writes what ports in r2 instead of those in r1 add to a checksum, to the lease in r9.
fn write_difference(it: &mut Assembler) {
    it.mov32(R3, -1);
    it.sub(R3, R1);
    it.add(R3, R2);
    for _ in 0..2 {
        it.mov32(R1, R3);
        it.shift_right(R3, 32);
        it.add(R3, R1);
    }
    it.store(R9.field(field!(FlowLease.ports)), R3);
}

/// The lease in r9 is of a connection whose SYN was read.
fn begin_direction(it: &mut Assembler, read: Read) {
    let [end, _, window] = FIGURES;
    for field in [end, window] {
        it.load(R1, read.said.field(field));
        it.store(figure(R9, field), R1);
    }
    it.load(R1, read.offers.scale.value());
    it.or(R1, scale::UNACKED.cast_signed());
    it.store(R9.field(field!(FlowLease.scale)), R1);
}

/// Leads frames to both leases, unless somebody else does.
fn lead(it: &mut Assembler, its: Beginning, taken: Label) {
    let insert = |it: &mut Assembler, side: usize| {
        it.load_map(R1, map::FLOW_KEYS);
        it.load(R2, its.leases.0[side].value());
        it.address(R3, its.slots.0[side]);
        it.mov(R4, NOEXIST);
        it.call(Helper::MapUpdate);
    };
    insert(it, 0);
    it.note("known by now, or no room")
        .jump_if(R0.is_not(0), taken);
    insert(it, 1);
    it.note("its answers are another flow's");
    it.when(R0.is_not(0), |it| {
        it.load_map(R1, map::FLOW_KEYS);
        it.load(R2, its.leases.0[0].value());
        it.call(Helper::MapDelete);
        it.jump(taken);
    });
}

/// Counts the flow and sends the record.
fn tell(it: &mut Assembler, its: Beginning) {
    it.load(R8, its.grant.value());
    it.mov(R1, 1);
    it.atomic(AtomicOp::Add, R8.field(field!(Grant.begun)), R1);
    it.call(Helper::KtimeGetCoarseNs);
    it.store(R8.field(field!(Grant.last)), R0);
    it.load(R1, its.record.value());
    it.store(R1.field(field!(Begun.at)), R0);
    name_slots(it, its);
    send_record(it, Helper::RingbufSubmit);
}

/// Gives the record back, and with it the slots.
fn give_back(it: &mut Assembler, its: Beginning, how: Helper) {
    if how == Helper::RingbufSubmit {
        name_slots(it, its);
        it.store(R1.field(field!(Begun.length)), 0);
    } else {
        it.load(R1, its.record.value());
    }
    send_record(it, how);
}

/// Leaves the record in r1, with the slots and the grant in it.
fn name_slots(it: &mut Assembler, its: Beginning) {
    it.load(R1, its.record.value());
    for (at, slot) in its.slots.0.into_iter().enumerate() {
        it.load(R2, slot.value());
        it.store(R1.field(field!(Begun.slots).part(4 * at, Size::U32)), R2);
    }
    it.load(R2, its.grant_slot.value());
    it.store(R1.field(field!(Begun.grant)), R2);
}

fn send_record(it: &mut Assembler, how: Helper) {
    it.mov(R2, 0);
    it.call(how);
}
