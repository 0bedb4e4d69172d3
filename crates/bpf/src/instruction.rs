//! The instruction set of RFC 9669 as far as programs here use it.

use crate::{Helper, MapId};

/// A register. `R10` is the frame pointer: it is read only, the stack lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
#[repr(u8)]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

impl Register {
    /// Every register, by number.
    pub const ALL: [Self; 11] = [
        Self::R0,
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R10,
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Half a register or all of it. An instruction on half clears the other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Width {
    W32,
    W64,
}

/// How many bytes a load or store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Size {
    U8,
    U16,
    U32,
    U64,
}

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    /// The size of so many bytes; `None` where one instruction cannot move them.
    #[must_use]
    pub const fn of(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::U8),
            2 => Some(Self::U16),
            4 => Some(Self::U32),
            8 => Some(Self::U64),
            _ => None,
        }
    }
}

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A register.
    Register(Register),
    /// A constant, extended by its sign to 64 bits.
    Constant(i32),
}

impl From<Register> for Source {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Source {
    fn from(constant: i32) -> Self {
        Self::Constant(constant)
    }
}

/// An operation of arithmetic or logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
#[repr(u8)]
pub enum AluOp {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    /// Unsigned; a divisor of 0 gives 0.
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    /// Unsigned; a divisor of 0 leaves the dividend.
    Rem = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
    /// Keeps the sign.
    ShiftRightSigned = 0xc0,
}

impl AluOp {
    /// Every operation.
    pub const ALL: [Self; 12] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Or,
        Self::And,
        Self::ShiftLeft,
        Self::ShiftRight,
        Self::Rem,
        Self::Xor,
        Self::Move,
        Self::ShiftRightSigned,
    ];
}

/// The question of a conditional jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Test {
    /// `==`
    Equal = 0x10,
    /// `>`
    Above = 0x20,
    /// `>=`
    AtLeast = 0x30,
    /// `&`: a bit is set in both.
    AnyBit = 0x40,
    /// `!=`
    NotEqual = 0x50,
    /// `>` of signed numbers.
    SignedAbove = 0x60,
    /// `>=` of signed numbers.
    SignedAtLeast = 0x70,
    /// `<`
    Below = 0xa0,
    /// `<=`
    AtMost = 0xb0,
    /// `<` of signed numbers.
    SignedBelow = 0xc0,
    /// `<=` of signed numbers.
    SignedAtMost = 0xd0,
}

impl Test {
    /// Every test.
    pub const ALL: [Self; 11] = [
        Self::Equal,
        Self::Above,
        Self::AtLeast,
        Self::AnyBit,
        Self::NotEqual,
        Self::SignedAbove,
        Self::SignedAtLeast,
        Self::Below,
        Self::AtMost,
        Self::SignedBelow,
        Self::SignedAtMost,
    ];

    /// The test that is true where this one is not; `None` for [`Test::AnyBit`], which has none.
    #[must_use]
    pub const fn inverse(self) -> Option<Self> {
        Some(match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Above => Self::AtMost,
            Self::AtMost => Self::Above,
            Self::AtLeast => Self::Below,
            Self::Below => Self::AtLeast,
            Self::SignedAbove => Self::SignedAtMost,
            Self::SignedAtMost => Self::SignedAbove,
            Self::SignedAtLeast => Self::SignedBelow,
            Self::SignedBelow => Self::SignedAtLeast,
            Self::AnyBit => return None,
        })
    }
}

/// An operation on memory that no other processor comes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    /// Adds, without an answer: in every kernel.
    Add,
    /// Adds; the register has what was there before. Since 5.12, as all that follow.
    FetchAdd,
    /// Ors; the register has what was there before.
    FetchOr,
    /// Ands; the register has what was there before.
    FetchAnd,
    /// Xors; the register has what was there before.
    FetchXor,
    /// Stores; the register has what was there before.
    Exchange,
    /// Stores if it is what `R0` says; `R0` has what was there before.
    CompareExchange,
}

impl AtomicOp {
    /// Every operation.
    pub const ALL: [Self; 7] = [
        Self::Add,
        Self::FetchAdd,
        Self::FetchOr,
        Self::FetchAnd,
        Self::FetchXor,
        Self::Exchange,
        Self::CompareExchange,
    ];

    /// The register that has the answer; `None` where there is no answer.
    #[must_use]
    pub const fn answers_in(self, src: Register) -> Option<Register> {
        match self {
            Self::Add => None,
            Self::CompareExchange => Some(Register::R0),
            Self::FetchAdd | Self::FetchOr | Self::FetchAnd | Self::FetchXor | Self::Exchange => {
                Some(src)
            }
        }
    }

    /// Its number in an instruction.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Add => 0x00,
            Self::FetchAdd => 0x01,
            Self::FetchOr => 0x41,
            Self::FetchAnd => 0x51,
            Self::FetchXor => 0xa1,
            Self::Exchange => 0xe1,
            Self::CompareExchange => 0xf1,
        }
    }
}

/// An order of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Endian {
    Little,
    Big,
}

/// One instruction. Jumps say how many slots of 8 bytes lie between, as the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields of all variants mean the same")]
pub enum Instruction {
    /// `dst = dst op src`
    Alu {
        width: Width,
        op: AluOp,
        dst: Register,
        src: Source,
    },
    /// `dst = -dst`
    Negate { width: Width, dst: Register },
    /// Brings the low `size` bytes from the machine's order to this one, or back; clears the rest.
    Swap {
        to: Endian,
        size: Size,
        dst: Register,
    },
    /// `dst = *(size *)(src + offset)`, without sign.
    Load {
        size: Size,
        dst: Register,
        src: Register,
        offset: i16,
    },
    /// `*(size *)(dst + offset) = src`
    Store {
        size: Size,
        dst: Register,
        offset: i16,
        src: Source,
    },
    /// `op` on `*(dst + offset)` with `src`.
    Atomic {
        width: Width,
        op: AtomicOp,
        dst: Register,
        offset: i16,
        src: Register,
    },
    /// A constant of 64 bits. Takes two slots, as the next two do.
    LoadConstant { dst: Register, value: u64 },
    /// The map itself, for helpers.
    LoadMap { dst: Register, map: MapId },
    /// The address `offset` bytes into the first value of an array map. Since 5.2.
    LoadMapValue {
        dst: Register,
        map: MapId,
        offset: u32,
    },
    /// Goes on `offset` slots behind the next instruction.
    Jump { offset: i16 },
    /// The same if the test holds.
    JumpIf {
        width: Width,
        test: Test,
        dst: Register,
        src: Source,
        offset: i16,
    },
    /// Calls a helper with `R1` to `R5`; the answer is in `R0`, and `R1` to `R5` are lost.
    Call(Helper),
    /// Ends the program with `R0`.
    Exit,
}

impl Instruction {
    /// How far it jumps, if it does.
    #[must_use]
    pub const fn jump(&self) -> Option<i16> {
        if let Self::Jump { offset } | Self::JumpIf { offset, .. } = self {
            Some(*offset)
        } else {
            None
        }
    }

    /// Whether the next instruction never follows it.
    #[must_use]
    pub const fn leaves(&self) -> bool {
        matches!(self, Self::Jump { .. } | Self::Exit)
    }
}
