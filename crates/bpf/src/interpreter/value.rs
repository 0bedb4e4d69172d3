//! What a register holds.

use super::Wrong;
use super::arithmetic::{calculate, low};
use crate::{AluOp, Test, Width};

/// The contents of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: it was never written, or a call lost it.
    Unwritten,
    Number(u64),
    Pointer(Pointer),
}

impl Value {
    pub(super) fn number(self) -> Result<u64, Wrong> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Pointer(_) | Self::Unwritten => Err(Wrong::NoNumber),
        }
    }
}

/// An address: something, and how far into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) region: Region,
    pub(super) offset: i64,
}

/// The memory that a pointer points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Context,
    /// Offsets are negative.
    Stack,
    /// The packet's bytes, as they lay after so many moves.
    Packet {
        moves: u32,
    },
    /// Their end, which can be compared with and no more.
    PacketEnd {
        moves: u32,
    },
    Map(usize),
    Value {
        map: usize,
        place: usize,
    },
    Record(usize),
    Socket(usize),
}

impl Pointer {
    pub(super) const fn to(region: Region) -> Self {
        Self { region, offset: 0 }
    }

    pub(super) const fn plus(self, bytes: i64) -> Self {
        Self {
            offset: self.offset.wrapping_add(bytes),
            ..self
        }
    }

    /// Whether it can be moved.
    const fn moves(self) -> bool {
        match self.region {
            Region::Stack | Region::Packet { .. } | Region::Value { .. } | Region::Record(_) => {
                true
            }
            Region::Context | Region::PacketEnd { .. } | Region::Map(_) | Region::Socket(_) => {
                false
            }
        }
    }

    /// How far the other one is into the same thing.
    fn same(self, other: Self) -> Option<(u64, u64)> {
        let same = match (self.region, other.region) {
            (
                Region::Packet { moves: a } | Region::PacketEnd { moves: a },
                Region::Packet { moves: b } | Region::PacketEnd { moves: b },
            ) => a == b,
            (a, b) => a == b,
        };
        same.then(|| (self.offset.cast_unsigned(), other.offset.cast_unsigned()))
    }
}

/// `a op b`.
pub(super) fn alu(width: Width, op: AluOp, a: Value, b: Value) -> Result<Value, Wrong> {
    use Value::{Number, Pointer as To};
    if let (Number(a), Number(b)) = (a, b) {
        return Ok(Number(calculate(width, op, a, b)));
    }
    match (width, op, a, b) {
        (Width::W64, AluOp::Move, _, it) => Ok(it),
        (Width::W64, AluOp::Add, To(pointer), Number(by))
        | (Width::W64, AluOp::Add, Number(by), To(pointer))
            if pointer.moves() =>
        {
            Ok(To(pointer.plus(by.cast_signed())))
        }
        (Width::W64, AluOp::Sub, To(pointer), Number(by)) if pointer.moves() => {
            Ok(To(pointer.plus(by.cast_signed().wrapping_neg())))
        }
        (Width::W64, AluOp::Sub, To(a), To(b)) => {
            let (a, b) = a.same(b).ok_or(Wrong::PointerArithmetic)?;
            Ok(Number(a.wrapping_sub(b)))
        }
        _ => Err(Wrong::PointerArithmetic),
    }
}

/// Whether `a test b` holds.
pub(super) fn test(width: Width, test: Test, a: Value, b: Value) -> Result<bool, Wrong> {
    use Value::{Number, Pointer as To};
    match (a, b) {
        (Number(a), Number(b)) => Ok(holds(width, test, a, b)),
        (To(_), Number(0)) if width == Width::W64 && test == Test::Equal => Ok(false),
        (To(_), Number(0)) if width == Width::W64 && test == Test::NotEqual => Ok(true),
        (To(a), To(b)) if width == Width::W64 => {
            let (a, b) = a.same(b).ok_or(Wrong::PointerArithmetic)?;
            Ok(holds(width, test, a, b))
        }
        _ => Err(Wrong::PointerArithmetic),
    }
}

fn holds(width: Width, test: Test, a: u64, b: u64) -> bool {
    let (a, b, signed) = match width {
        Width::W64 => (a, b, a.cast_signed().cmp(&b.cast_signed())),
        Width::W32 => {
            let (a, b) = (low(a), low(b));
            let signed = a.cast_signed().cmp(&b.cast_signed());
            (u64::from(a), u64::from(b), signed)
        }
    };
    match test {
        Test::Equal => a == b,
        Test::NotEqual => a != b,
        Test::Above => a > b,
        Test::AtLeast => a >= b,
        Test::Below => a < b,
        Test::AtMost => a <= b,
        Test::AnyBit => a & b != 0,
        Test::SignedAbove => signed.is_gt(),
        Test::SignedAtLeast => signed.is_ge(),
        Test::SignedBelow => signed.is_lt(),
        Test::SignedAtMost => signed.is_le(),
    }
}
