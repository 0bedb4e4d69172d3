//! A packet's headers, as far as the program reads them: where they are, and whether they are sound.

use super::big_endian;
use bpf::Register::{R0, R1, R2, R3, R4, R6, R8};
use bpf::{Assembler, Label, Place, Size, SkBuff, field};

/// Bytes that every frame with a lease has: to the end of an IPv6 source address.
pub(super) const LEAST: i32 = 38;
pub(super) const ETHERNET: i32 = 14;
pub(super) const ETHERTYPE: i16 = 12;
/// Ethertypes, tags and protocols.
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const TAG: u16 = 0x8100;
pub(super) const TCP: i32 = 6;
pub(super) const UDP: i32 = 17;
/// The low 12 bits of a tag.
pub(super) const VLAN: i32 = 0x0fff;
const IPV4_HEADER: i32 = 20;
const IPV6_HEADER: i32 = 40;
pub(super) const TCP_HEADER: i32 = 20;
pub(super) const UDP_HEADER: i32 = 8;
/// Where a TCP header says how long it is, a datagram how long that is.
const TCP_HEADER_LENGTH: i32 = 12;
const UDP_LENGTH: i32 = 4;
/// Where the transport header is, behind an IP header without options or extensions.
pub(super) const IPV4_END: i32 = ETHERNET + IPV4_HEADER;
pub(super) const IPV6_END: i32 = ETHERNET + IPV6_HEADER;

/// A place in the frame whose start is in r8.
pub(super) fn at(offset: i32, size: Size) -> Place {
    R8.at(i16::try_from(offset).unwrap_or(i16::MAX), size)
}

/// Goes on if the IPv4 header is sound and has no options. Leaves the payload's length in r3 and its protocol
/// in r4.
pub(super) fn check_ipv4(it: &mut Assembler, miss: Label) {
    it.load(R1, at(14, Size::U8));
    it.note("version 4, header of 20 bytes");
    it.jump_if(R1.is_not(0x45), miss);
    it.load(R3, at(16, Size::U16));
    it.big_endian(R3, Size::U16);
    it.note("the packet's length");
    it.jump_if(R3.below(IPV4_HEADER), miss);
    it.load(R2, R6.field(field!(SkBuff.len)));
    it.sub(R2, ETHERNET);
    it.jump_if(R3.above(R2), miss);
    it.sub(R3, IPV4_HEADER);
    it.load(R4, at(23, Size::U8));
}

/// Goes on if the IPv6 header is sound. Leaves the payload's length in r3 and its protocol in r4.
pub(super) fn check_ipv6(it: &mut Assembler, miss: Label) {
    it.load(R1, at(14, Size::U8));
    it.shift_right(R1, 4);
    it.note("the version").jump_if(R1.is_not(6), miss);
    it.load(R3, at(18, Size::U16));
    it.big_endian(R3, Size::U16);
    it.mov(R1, R3);
    it.add(R1, IPV6_END);
    it.load(R2, R6.field(field!(SkBuff.len)));
    it.note("the packet's length").jump_if(R1.above(R2), miss);
    it.load(R4, at(20, Size::U8));
}

/// Goes on if the payload, of r3 bytes and of the protocol in r4, is TCP or UDP and sound. `of_tcp` may read
/// TCP's header, the length of which is in r4; that the payload is as long is asked behind it.
pub(super) fn check_transport(
    it: &mut Assembler,
    start: i32,
    of_tcp: impl FnOnce(&mut Assembler),
    miss: Label,
) {
    it.load(R1, R6.field(field!(SkBuff.data_end)));
    it.mov(R2, R8);
    it.add(R2, start + UDP_HEADER);
    it.jump_if(R2.above(R1), miss);
    it.when_else(
        R4.is(TCP),
        |it| {
            it.mov(R2, R8);
            it.add(R2, start + TCP_HEADER);
            it.jump_if(R2.above(R1), miss);
            it.load(R4, at(start + TCP_HEADER_LENGTH, Size::U8));
            it.shift_right(R4, 4);
            it.note("words of a TCP header").shift_left(R4, 2);
            it.jump_if(R4.below(TCP_HEADER), miss);
            of_tcp(it);
        },
        |it| {
            it.note("neither TCP nor UDP").jump_if(R4.is_not(UDP), miss);
            it.load(R4, at(start + UDP_LENGTH, Size::U16));
            it.big_endian(R4, Size::U16);
            it.note("a datagram's length");
            it.jump_if(R4.below(UDP_HEADER), miss);
        },
    );
    it.jump_if(R4.above(R3), miss);
}

/// A packet, or the packets that a superframe will become, must not be longer than the receiver takes:
/// a redirected one is not checked any more.
pub(super) fn check_length(it: &mut Assembler, mtu: Place, miss: Label) {
    let checked = it.label("length known");
    it.load(R1, R6.field(field!(SkBuff.len)));
    it.sub(R1, ETHERNET);
    it.load(R2, R6.field(field!(SkBuff.gso_size)));
    it.jump_if(R2.is(0), checked);
    segment_length(it, miss);
    it.bind(checked);
    it.load(R2, mtu);
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
