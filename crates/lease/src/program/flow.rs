//! The way of a frame that is looked up by flow: read, found, changed, sent.
//!
//! What is not as it was when the decision was made, or might be decided otherwise, goes to userspace: a
//! fragment, options, extension headers, a packet without hops left, a wrong header checksum, lengths that
//! cannot be, and of TCP all that resets a connection, and what lies outside of the window. Of that the
//! two directions' leases know as much as userspace would, because each keeps what its sender said. A FIN is
//! repeated, and told. A SYN is carried only where a grant lets it begin a connection (`grant.rs`), and the answer to
//! one only if that one was.
//!
//! The frame is changed by helpers and never written to directly: for a program with a direct write the kernel
//! would copy the headers of every frame that somebody else may still read, the switched ones included. A
//! transport checksum is moved by what changed, in whichever state it is; the helper knows which.

use super::headers::{
    ETHERNET, IPV4_END, IPV6, IPV6_END, TCP, TCP_HEADER, UDP, UDP_HEADER, at, check_ipv4,
    check_ipv6, check_length, check_transport,
};
use super::options::{self, Offers};
use super::{big_endian, check_terms, copy, count, find_slot, grant, lookup, map, send};
use crate::{Changes, FlowKey, FlowLease, Key, Said, scale};
use bpf::Register::{R0, R1, R2, R3, R4, R5, R6, R8, R9};
use bpf::{Assembler, Field, Helper, Label, Local, Place, Register, Size, field};
use std::mem::offset_of;

/// Of an IPv4 header: more fragments, and the offset.
const FRAGMENT: u16 = 0x3fff;
const FIN: i32 = 0x01;
pub(super) const SYN: i32 = 0x02;
const RST: i32 = 0x04;
const ACK: i32 = 0x10;
/// The flags that are kept.
const CONTROL: i32 = FIN | SYN | ACK;
/// A window that every side is thought to have offered when it comes to old segments, as in userspace.
const MIN_BACKLOG: i32 = 0xffff;
/// Of `ringbuf_output`.
const NO_WAKEUP: i32 = 1;
/// Places in a TCP header.
const SEQUENCE: i32 = 4;
const ACKNOWLEDGEMENT: i32 = 8;
const FLAGS: i32 = 13;
const WINDOW: i32 = 14;
/// Places in a frame.
const TTL: i32 = 22;
const IPV4_CHECKSUM: i32 = 24;
const IPV4_ENDS: i32 = 26;
const HOP_LIMIT: i32 = 21;
const IPV6_ENDS: i32 = 22;
/// Flags of `l4_csum_replace`: the pseudo-header changed; 0 means none, as in UDP.
const PSEUDO_HEADER: i32 = 0x10;
const MARK_MANGLED_0: i32 = 0x20;

/// The parts of a frame that are read before its lease is found.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) key: Local<FlowKey>,
    /// Of TCP: SYN, FIN and ACK; 0 of a datagram.
    pub(super) control: Local<u32>,
    pub(super) said: Local<Said>,
    /// Of a SYN.
    pub(super) offers: Offers,
    /// One hop less.
    hops: Local<u8>,
    /// The slot of its lease.
    pub(super) slot: Local<u32>,
}

/// Carries a frame whose key begins as `head`; its start is in r8, its ethertype in r9. With `grants` it may begin
/// a flow.
pub(super) fn repeat(it: &mut Assembler, head: Local<Key>, grants: bool, miss: Label) {
    let read = Read {
        key: it.local("flow key"),
        control: it.local("control"),
        said: it.local("said"),
        offers: Offers {
            mss: it.local("largest segment"),
            scale: it.local("offered scale"),
        },
        hops: it.local("hops"),
        slot: it.local("slot of a flow"),
    };
    read_packet(it, read, head, miss);
    let [unknown, found] = [it.label("no lease of a flow"), it.label("lease of a flow")];
    find_slot(
        it,
        [map::FLOW_KEYS, map::FLOWS],
        (read.key, read.slot),
        [unknown, miss],
    );
    it.load(R1, R8.field(field!(FlowLease.open)));
    check_terms(it, read.key, miss);
    check_length(it, R8.field(field!(FlowLease.mtu)), miss);
    judge(it, read, miss);
    it.jump(found);
    it.bind(unknown);
    if grants {
        grant::begin(it, read, miss);
    } else {
        it.jump(miss);
    }
    it.bind(found);
    make_writable(it, read.key, miss);
    let [frames, bytes] = [field!(FlowLease.frames), field!(FlowLease.bytes)];
    count(
        it,
        [frames, bytes, field!(FlowLease.last)].map(|it| R8.field(it)),
    );
    let carried = it.label("nothing to take in");
    it.load(R1, read.control.value());
    it.note("a datagram").jump_if(R1.is(0), carried);
    it.note("a SYN").jump_if(R1.any_bit(SYN), carried);
    take_in(it, read);
    it.bind(carried);
    it.load(R1, R8.field(field!(FlowLease.changes)));
    it.when(R1.is_not(Changes::Nothing as i32), |it| change(it, read));
    let way = [field!(FlowLease.out), field!(FlowLease.way)];
    send(it, way.map(|it| R8.field(it)));
}

/// Goes on if a segment with a lease, in r8, is what comes next of its connection.
fn judge(it: &mut Assembler, read: Read, miss: Label) {
    let judged = it.label("judged");
    it.load(R1, read.control.value());
    it.note("a datagram").jump_if(R1.is(0), judged);
    it.note("a connection that is begun anew")
        .jump_if(R1.is(SYN), miss);
    it.when_else(
        R1.is(SYN | ACK),
        |it| answer(it, read, miss),
        |it| {
            it.load(R1, R8.field(field!(FlowLease.scale)));
            it.note("goes on before it answered");
            it.jump_if(R1.any_bit(scale::UNHEARD.cast_signed()), miss);
            scale_window(it, read.said);
            check_window(it, read.said, miss);
        },
    );
    it.bind(judged);
}

/// Takes in the answer to a SYN that the program let begin a connection: it acknowledges that SYN, and nothing was
/// heard of its sender before. From then on its window is known, and by how much both are scaled.
fn answer(it: &mut Assembler, read: Read, miss: Label) {
    let (Read { said, offers, .. }, [end, ack, window]) = (read, FIGURES);
    let scaling = field!(FlowLease.scale);
    it.load(R1, R8.field(scaling));
    it.and(R1, scale::UNHEARD.cast_signed());
    it.note("was heard before").jump_if(R1.is(0), miss);
    find_twin(it);
    it.note("of no connection of the program's")
        .jump_if(R0.is(0), miss);
    it.load(R1, figure(R0, end));
    it.load(R2, said.field(ack));
    it.note("answers another SYN").jump_if(R1.is_not(R2), miss);
    check_mss(it, read, miss);
    it.load(R1, offers.scale.value());
    it.load(R2, R0.field(scaling));
    let both = it.label("both scale");
    it.mov(R3, R1);
    it.and(R3, R2);
    it.jump_if(R3.any_bit(scale::OFFERED.cast_signed()), both);
    it.mov(R1, 0);
    it.store(R0.field(scaling), scale::UNACKED.cast_signed());
    it.bind(both);
    for field in [end, ack, window] {
        it.load(R2, said.field(field));
        it.store(figure(R8, field), R2);
    }
    // The initiator may acknowledge this number, and none before it.
    it.load(R2, said.field(end));
    it.store(figure(R0, ack), R2);
    it.store(R8.field(scaling), R1);
}

/// Goes on if a SYN takes no larger segments than fit both links, of the lease in r8 and its twin in r0.
fn check_mss(it: &mut Assembler, read: Read, miss: Label) {
    it.load(R1, R8.field(field!(FlowLease.mtu)));
    it.load(R2, R0.field(field!(FlowLease.mtu)));
    it.when(R1.above(R2), |it| it.mov(R1, R2));
    it.load(R2, read.offers.mss.value());
    it.add(R2, IPV4_END - ETHERNET + TCP_HEADER);
    it.load(
        R3,
        read.key.field(field!(FlowKey.ethertype).part(0, Size::U16)),
    );
    it.when(R3.is(big_endian(IPV6)), |it| {
        it.add(R2, IPV6_END - IPV4_END);
    });
    it.note("an MSS to be lowered").jump_if(R2.above(R1), miss);
}

/// Writes the key and what else is needed of the packet.
fn read_packet(it: &mut Assembler, read: Read, head: Local<Key>, miss: Label) {
    let key = read.key;
    const { assert!(offset_of!(Key, source) == offset_of!(FlowKey, ends)) };
    for at in (0..offset_of!(FlowKey, ends)).step_by(8) {
        it.load(R1, head.part(at, Size::U64));
        it.store(key.part(at, Size::U64), R1);
    }
    // Datagrams say nothing.
    it.store(read.control.value(), 0);
    let [end, ack, window] = FIGURES;
    for field in [end, ack, window, field!(Said.finished)] {
        it.store(read.said.field(field), 0);
    }
    let word = |word: usize| field!(FlowKey.ends).part(4 * word, Size::U32);
    it.when_else(
        R9.is(big_endian(IPV6)),
        |it| {
            check_ipv6(it, miss);
            it.store(key.field(field!(FlowKey.protocol)), R4);
            check_transport(
                it,
                IPV6_END,
                |it| read_segment(it, read, IPV6_END, miss),
                miss,
            );
            read_hops(it, read.hops, HOP_LIMIT, miss);
            copy(it, key, [0, 1, 2, 3, 4, 5, 6, 7, 8].map(word), 22);
        },
        |it| {
            it.note("not IP")
                .jump_if(R9.is_not(big_endian(super::IPV4)), miss);
            check_ipv4(it, miss);
            it.load(R1, at(20, Size::U16));
            it.note("a fragment")
                .jump_if(R1.any_bit(big_endian(FRAGMENT)), miss);
            it.store(key.field(field!(FlowKey.protocol)), R4);
            check_transport(
                it,
                IPV4_END,
                |it| read_segment(it, read, IPV4_END, miss),
                miss,
            );
            read_hops(it, read.hops, TTL, miss);
            check_checksum(it, miss);
            copy(it, key, [0, 1, 2].map(word), 26);
            for unused in 3..9 {
                it.store(key.field(word(unused)), 0);
            }
        },
    );
}

/// Goes on with a TCP segment that begins a connection, or in the midst of it, or at its end, and keeps what its
/// sender says. The payload's length is in r3, that of TCP's header in r4.
fn read_segment(it: &mut Assembler, read: Read, start: i32, miss: Label) {
    let [end, ack, window] = FIGURES;
    let Read { said, control, .. } = read;
    it.load(R2, at(start + FLAGS, Size::U8));
    it.note("resets").jump_if(R2.any_bit(RST), miss);
    it.and(R2, CONTROL);
    it.store(control.value(), R2);
    let sound = it.label("flags that go together");
    it.jump_if(R2.is(ACK), sound);
    it.jump_if(R2.is(FIN | ACK), sound);
    it.note("neither opens nor goes on");
    it.mov(R1, R2);
    it.or(R1, ACK);
    it.jump_if(R1.is_not(SYN | ACK), miss);
    it.note("a SYN with data").jump_if(R3.is_not(R4), miss);
    options::read(it, read.offers, start, miss);
    it.bind(sound);
    it.load(R2, control.value());
    it.and(R2, FIN);
    it.store(said.field(field!(Said.finished)), R2);
    it.load(R1, at(start + SEQUENCE, Size::U32));
    it.big_endian(R1, Size::U32);
    it.add(R1, R3);
    it.sub(R1, R4);
    it.load(R2, control.value());
    it.and(R2, FIN | SYN);
    it.note("a SYN and a FIN have a number");
    it.when(R2.is_not(0), |it| it.add(R1, 1));
    it.store(said.field(end), R1);
    it.load(R1, at(start + ACKNOWLEDGEMENT, Size::U32));
    it.big_endian(R1, Size::U32);
    it.store(said.field(ack), R1);
    it.load(R1, at(start + WINDOW, Size::U16));
    it.big_endian(R1, Size::U16);
    it.store(said.field(window), R1);
}

/// Goes on if the packet has hops left.
fn read_hops(it: &mut Assembler, hops: Local<u8>, place: i32, miss: Label) {
    it.load(R1, at(place, Size::U8));
    it.note("no hop left").jump_if(R1.at_most(1), miss);
    it.sub(R1, 1);
    it.store(hops.value(), R1);
}

/// Goes on if the checksum of the IPv4 header is right: the sum of all its words has all bits set.
fn check_checksum(it: &mut Assembler, miss: Label) {
    it.load(R1, at(14, Size::U32));
    for place in [18, 22, 26, 30] {
        it.load(R2, at(place, Size::U32));
        it.add(R1, R2);
    }
    // 35 bits, then 32 at most, then 17, then 16.
    it.mov32(R2, R1);
    it.shift_right(R1, 32);
    it.add(R1, R2);
    for _ in 0..3 {
        it.mov(R2, R1);
        it.and(R2, 0xffff);
        it.shift_right(R1, 16);
        it.add(R1, R2);
    }
    it.note("a wrong checksum").jump_if(R1.is_not(0xffff), miss);
}

/// Makes the headers, of a frame that may be shared, our own. What is changed behind this cannot fail.
fn make_writable(it: &mut Assembler, key: Local<FlowKey>, miss: Label) {
    headers_end(it, key, R2);
    it.mov(R1, R6);
    it.call(Helper::SkbPullData);
    it.note("no memory").jump_if(R0.is_not(0), miss);
}

/// Where the transport header ends, options of TCP aside.
fn headers_end(it: &mut Assembler, key: Local<FlowKey>, into: Register) {
    it.mov(into, IPV4_END + TCP_HEADER);
    it.load(R1, key.field(field!(FlowKey.ethertype).part(0, Size::U16)));
    it.when(R1.is(big_endian(IPV6)), |it| {
        it.add(into, IPV6_END - IPV4_END);
    });
    it.load(R1, key.field(field!(FlowKey.protocol)));
    it.when(R1.is(UDP), |it| it.sub(into, TCP_HEADER - UDP_HEADER));
}

/// The figures of a sender that are compared.
pub(super) const FIGURES: [Field<Said>; 3] =
    [field!(Said.end), field!(Said.ack), field!(Said.window)];

/// A figure of the lease that the register points to.
pub(super) fn figure(lease: Register, figure: Field<Said>) -> Place {
    lease.field(field!(FlowLease.said).part(figure.offset, Size::U32))
}

/// Brings the window to bytes.
fn scale_window(it: &mut Assembler, said: Local<Said>) {
    it.load(R1, said.field(field!(Said.window)));
    it.load(R2, R8.field(field!(FlowLease.scale)));
    it.note("at most 14").and(R2, scale::BITS.cast_signed());
    it.shift_left(R1, R2);
    it.store(said.field(field!(Said.window)), R1);
}

/// Goes on if the segment lies in the window, and acknowledges what was sent and not long ago: the judgement of
/// `nat::tcp`, where the picture of the window is.
fn check_window(it: &mut Assembler, said: Local<Said>, miss: Label) {
    let [end, ack, window] = FIGURES;
    find_twin(it);
    it.when(R0.is_not(0), |it| {
        it.load(R1, R0.field(field!(FlowLease.scale)));
        it.note("the other side has not answered");
        it.jump_if(R1.any_bit(scale::UNHEARD.cast_signed()), miss);
        // Up to two bytes more: a probe of a closed window, and a FIN.
        it.load(R1, figure(R0, ack));
        it.load(R2, figure(R0, window));
        it.load(R3, said.field(end));
        it.mov(R4, R1);
        it.add(R4, R2);
        it.add(R4, 2);
        it.note("beyond the window");
        miss_if_before(it, R4, R3, miss);
        oldest(it, [R1, R2]);
        it.note("long received");
        miss_if_before(it, R3, R1, miss);
        it.load(R1, figure(R0, end));
        it.load(R3, said.field(ack));
        it.note("was not sent");
        miss_if_before(it, R1, R3, miss);
        it.load(R1, figure(R8, ack));
        it.load(R2, figure(R8, window));
        it.load(R4, R8.field(field!(FlowLease.scale)));
        let oldest_known = it.label("nothing acknowledged yet");
        it.jump_if(R4.any_bit(scale::UNACKED.cast_signed()), oldest_known);
        oldest(it, [R1, R2]);
        it.bind(oldest_known);
        it.note("long acknowledged");
        miss_if_before(it, R3, R1, miss);
    });
}

/// Leaves the lease of the other direction in r0; 0 where there is none.
fn find_twin(it: &mut Assembler) {
    let twin = it.local::<u32>("twin");
    it.load(R1, R8.field(field!(FlowLease.twin)));
    it.store(twin.value(), R1);
    lookup(it, map::FLOWS, twin);
}

/// Misses if `a` comes before `b` (RFC 9293, 3.4); `a` is lost.
fn miss_if_before(it: &mut Assembler, a: Register, b: Register, miss: Label) {
    it.sub32(a, b);
    it.jump_if(a.above(i32::MAX), miss);
}

/// A number and a window become the oldest number that still passes.
fn oldest(it: &mut Assembler, [number, window]: [Register; 2]) {
    it.when(window.below(MIN_BACKLOG), |it| it.mov(window, MIN_BACKLOG));
    it.sub32(number, window);
}

/// Keeps what a TCP sender said, where it goes further than what it said before, and tells of its first FIN.
fn take_in(it: &mut Assembler, Read { said, slot, .. }: Read) {
    let ([end, ..], finished) = (FIGURES, field!(Said.finished));
    let scaling = R8.field(field!(FlowLease.scale));
    it.load(R1, scaling);
    it.when(R1.any_bit(scale::UNACKED.cast_signed()), |it| {
        it.and(R1, !scale::UNACKED.cast_signed());
        it.store(scaling, R1);
    });
    for field in FIGURES {
        let known = it.label("known");
        it.load(R1, said.field(field));
        it.load(R2, figure(R8, field));
        it.jump_if(R1.is(R2), known);
        it.mov(R3, R1);
        it.sub32(R3, R2);
        it.jump_if(R3.above(i32::MAX), known);
        it.store(figure(R8, field), R1);
        if field.offset == end.offset {
            it.note("nothing comes behind a FIN: it was none");
            it.store(figure(R8, finished), 0);
        }
        it.bind(known);
    }
    let done = it.label("said");
    it.load(R1, said.field(finished));
    it.jump_if(R1.is(0), done);
    it.load(R1, figure(R8, finished));
    it.note("not the first").jump_if(R1.is_not(0), done);
    it.load(R1, said.field(end));
    it.load(R2, figure(R8, end));
    it.jump_if(R1.is_not(R2), done);
    it.store(figure(R8, finished), 1);
    it.load_map(R1, map::FINISHED);
    it.address(R2, slot);
    it.mov(R3, 4);
    it.mov(R4, NO_WAKEUP);
    it.call(Helper::RingbufOutput);
    it.bind(done);
}

/// Changes a routed frame as [`FlowLease`] says.
fn change(it: &mut Assembler, Read { key, hops, .. }: Read) {
    let kept = |field: Field<FlowLease>| (R8, field.offset);
    // Both addresses.
    const { assert!(offset_of!(FlowLease, from) == offset_of!(FlowLease, to) + 6) };
    put(it, 0, kept(field!(FlowLease.to)), 12);
    it.address(R3, hops);
    it.load(R1, key.field(field!(FlowKey.ethertype).part(0, Size::U16)));
    it.when_else(
        R1.is(big_endian(IPV6)),
        |it| {
            put_from_r3(it, HOP_LIMIT, 1);
            translated(it, |it| {
                put(it, IPV6_ENDS, kept(field!(FlowLease.ends)), 36);
            });
        },
        |it| {
            put_from_r3(it, TTL, 1);
            it.load(R4, R8.field(field!(FlowLease.header)));
            it.mov(R1, R6);
            it.mov(R2, IPV4_CHECKSUM);
            it.mov(R3, 0);
            it.mov(R5, 0);
            it.call(Helper::L3CsumReplace);
            translated(it, |it| {
                put(it, IPV4_ENDS, kept(field!(FlowLease.ends)), 12);
            });
        },
    );
    translated(it, |it| move_checksum(it, key));
}

/// Does `body` where the lease translates.
fn translated(it: &mut Assembler, body: impl FnOnce(&mut Assembler)) {
    it.load(R1, R8.field(field!(FlowLease.changes)));
    it.when(R1.is(Changes::Translated as i32), body);
}

/// Puts so many bytes of the lease into the frame.
fn put(it: &mut Assembler, to: i32, (from, offset): (Register, usize), bytes: i32) {
    it.mov(R3, from);
    it.add(R3, i32::try_from(offset).unwrap_or(i32::MAX));
    put_from_r3(it, to, bytes);
}

fn put_from_r3(it: &mut Assembler, to: i32, bytes: i32) {
    it.mov(R1, R6);
    it.mov(R2, to);
    it.mov(R4, bytes);
    it.mov(R5, 0);
    it.call(Helper::SkbStoreBytes);
}

/// Moves the transport's checksum by what changed.
fn move_checksum(it: &mut Assembler, key: Local<FlowKey>) {
    for (change, flags) in [
        (field!(FlowLease.pseudo), PSEUDO_HEADER),
        (field!(FlowLease.ports), 0),
    ] {
        // In both headers it stands before the last 2 or 4 bytes.
        headers_end(it, key, R9);
        it.mov(R5, flags | MARK_MANGLED_0);
        it.load(R1, key.field(field!(FlowKey.protocol)));
        it.when(R1.is(TCP), |it| {
            it.sub(R9, 2);
            it.mov(R5, flags);
        });
        it.sub(R9, 2);
        it.mov(R1, R6);
        it.mov(R2, R9);
        it.mov(R3, 0);
        it.load(R4, R8.field(change));
        it.call(Helper::L4CsumReplace);
    }
}

#[cfg(test)]
mod tests;
