//! The options of a SYN: the largest segment, and whether windows are scaled.
//!
//! The program does not walk through options. It knows the few layouts that stacks send; with any other one the
//! packet goes to userspace.

use super::headers::{TCP_HEADER, at};
use crate::scale;
use bpf::Register::{R1, R2, R4, R6, R8};
use bpf::{Assembler, Label, Local, Size, SkBuff, field};

/// Words of 4 bytes behind a TCP header.
type Layout = &'static [Word];

#[derive(Clone, Copy)]
enum Word {
    /// Kind 2, the largest segment that its sender takes.
    Mss,
    /// Exactly these bytes.
    Is([u8; 4]),
    /// Kind 3, by how much windows are scaled, behind one byte of padding.
    Scale,
    /// Any: a time stamp.
    Any,
}

use Word::{Any, Is, Mss, Scale};

/// Kind 4, selective acknowledgements, and kind 8, time stamps, which fill three words.
const SACK_AND_TIMES: Word = Is([4, 2, 8, 10]);
const PADDED_TIMES: Word = Is([1, 1, 8, 10]);
const PADDED_SACK: Word = Is([1, 1, 4, 2]);
const SACK_AND_END: Word = Is([4, 2, 0, 0]);

/// Who offers nothing; Linux; Linux without time stamps, and without anything else; Windows; macOS; and who says no
/// more than the first option. Two of one length differ in their second word.
const LAYOUTS: [Layout; 7] = [
    &[],
    &[Mss, SACK_AND_TIMES, Any, Any, Scale],
    &[Mss, PADDED_SACK, Scale],
    &[Mss, Scale],
    &[Mss, Scale, PADDED_SACK],
    &[Mss, Scale, PADDED_TIMES, Any, Any, SACK_AND_END],
    &[Mss],
];

/// The offers of a SYN.
#[derive(Clone, Copy)]
pub(super) struct Offers {
    /// The largest segment; 0 where none is named.
    pub(super) mss: Local<u32>,
    /// As [`FlowLease::scale`](crate::FlowLease::scale).
    pub(super) scale: Local<u32>,
}

/// Reads the options of the TCP header at `start`, whose length is in r4. The frame's end was compared with that of
/// a header without options only.
pub(super) fn read(it: &mut Assembler, offers: Offers, start: i32, miss: Label) {
    let known = it.label("options known");
    it.load(R1, R6.field(field!(SkBuff.data_end)));
    for layout in LAYOUTS {
        let other = it.label("another layout");
        let length = TCP_HEADER + 4 * i32::try_from(layout.len()).unwrap_or(0);
        it.jump_if(R4.is_not(length), other);
        it.mov(R2, R8);
        it.add(R2, start + length);
        it.note("options are cut").jump_if(R2.above(R1), miss);
        for offer in [offers.mss, offers.scale] {
            it.store(offer.value(), 0);
        }
        for (word, offset) in layout.iter().zip((start + TCP_HEADER..).step_by(4)) {
            read_word(it, *word, offset, offers, other);
        }
        it.jump(known);
        it.bind(other);
    }
    it.note("options in another order").jump(miss);
    it.bind(known);
}

fn read_word(it: &mut Assembler, word: Word, offset: i32, offers: Offers, other: Label) {
    let half = |high: u8, low: u8| super::big_endian(u16::from_be_bytes([high, low]));
    let expect = |it: &mut Assembler, offset, pair| {
        it.load(R2, at(offset, Size::U16));
        it.jump_if(R2.is_not(pair), other);
    };
    match word {
        Any => {}
        Is([a, b, c, d]) => {
            expect(it, offset, half(a, b));
            expect(it, offset + 2, half(c, d));
        }
        Mss => {
            expect(it, offset, half(2, 4));
            it.load(R2, at(offset + 2, Size::U16));
            it.big_endian(R2, Size::U16);
            it.store(offers.mss.value(), R2);
        }
        Scale => {
            expect(it, offset, half(1, 3));
            it.load(R2, at(offset + 2, Size::U8));
            it.jump_if(R2.is_not(3), other);
            it.load(R2, at(offset + 3, Size::U8));
            it.note("more counts as 14 (RFC 7323, 2.3)");
            it.when(R2.above(14), |it| it.mov(R2, 14));
            it.or(R2, scale::OFFERED.cast_signed());
            it.store(offers.scale.value(), R2);
        }
    }
}
