//! Instructions as the kernel takes them: `struct bpf_insn` of `linux/bpf.h`.

use crate::{
    AluOp, AtomicOp, Endian, Helper, Instruction, MapId, Register, Size, Source, Test, Width,
};

mod class {
    pub(super) const LDX: u8 = 0x01;
    pub(super) const ST: u8 = 0x02;
    pub(super) const STX: u8 = 0x03;
    pub(super) const ALU: u8 = 0x04;
    pub(super) const JMP: u8 = 0x05;
    pub(super) const JMP32: u8 = 0x06;
    pub(super) const ALU64: u8 = 0x07;
    pub(super) const MASK: u8 = 0x07;
}

/// The operand is a register.
const BY_REGISTER: u8 = 0x08;
const NEGATE: u8 = 0x80;
const SWAP: u8 = 0xd0;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const LOAD_WIDE: u8 = 0x18;
const MODE_MEMORY: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
/// `src` of a wide load: the constant is a map's descriptor, or a place in a map's value.
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;

const fn size_code(size: Size) -> u8 {
    match size {
        Size::U32 => 0x00,
        Size::U16 => 0x08,
        Size::U8 => 0x10,
        Size::U64 => 0x18,
    }
}

fn size_of_code(code: u8) -> Size {
    match code & 0x18 {
        0x00 => Size::U32,
        0x08 => Size::U16,
        0x10 => Size::U8,
        _ => Size::U64,
    }
}

/// One slot: `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    code: u8,
    dst: u8,
    src: u8,
    offset: i16,
    constant: i32,
}

impl Slot {
    fn to_bytes(self) -> [u8; 8] {
        // Two bit fields share the byte: the first is the low half on a little-endian machine.
        let registers = if cfg!(target_endian = "little") {
            self.src << 4 | self.dst
        } else {
            self.dst << 4 | self.src
        };
        let mut bytes = [0; 8];
        bytes[0] = self.code;
        bytes[1] = registers;
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.constant.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 8]) -> Self {
        let [code, registers, o0, o1, c0, c1, c2, c3] = bytes;
        let (low, high) = (registers & 0x0f, registers >> 4);
        let (dst, src) = if cfg!(target_endian = "little") {
            (low, high)
        } else {
            (high, low)
        };
        Self {
            code,
            dst,
            src,
            offset: i16::from_ne_bytes([o0, o1]),
            constant: i32::from_ne_bytes([c0, c1, c2, c3]),
        }
    }
}

impl Instruction {
    /// How many slots of 8 bytes it takes.
    #[must_use]
    pub const fn slots(&self) -> usize {
        match self {
            Self::LoadConstant { .. } | Self::LoadMap { .. } | Self::LoadMapValue { .. } => 2,
            Self::Alu { .. }
            | Self::Negate { .. }
            | Self::Swap { .. }
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Atomic { .. }
            | Self::Jump { .. }
            | Self::JumpIf { .. }
            | Self::Call(_)
            | Self::Exit => 1,
        }
    }

    /// Its operation code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.first_slot(&|_| 0).code
    }

    /// Appends its bytes, in the machine's order; `descriptor` says what stands for a map.
    pub fn encode(&self, descriptor: &dyn Fn(MapId) -> i32, bytes: &mut Vec<u8>) {
        bytes.extend(self.first_slot(descriptor).to_bytes());
        let mut second = |constant| bytes.extend(slot(0, 0, 0, 0, constant).to_bytes());
        if let Self::LoadConstant { value, .. } = self {
            second(halves(*value).1);
        } else if let Self::LoadMapValue { offset, .. } = self {
            second(offset.cast_signed());
        } else if let Self::LoadMap { .. } = self {
            second(0);
        }
    }

    fn first_slot(&self, descriptor: &dyn Fn(MapId) -> i32) -> Slot {
        match *self {
            Self::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let (by, register, constant) = source(src);
                slot(alu(width) | op as u8 | by, dst as u8, register, 0, constant)
            }
            Self::Negate { width, dst } => slot(alu(width) | NEGATE, dst as u8, 0, 0, 0),
            Self::Swap { to, size, dst } => {
                let order = match to {
                    Endian::Little => 0,
                    Endian::Big => BY_REGISTER,
                };
                let bits =
                    [16, 32, 64][usize::from(size.bytes() > 2) + usize::from(size.bytes() > 4)];
                slot(class::ALU | SWAP | order, dst as u8, 0, 0, bits)
            }
            Self::Load {
                size,
                dst,
                src,
                offset,
            } => {
                let code = class::LDX | MODE_MEMORY | size_code(size);
                slot(code, dst as u8, src as u8, offset, 0)
            }
            Self::Store {
                size,
                dst,
                offset,
                src,
            } => {
                let (class, register, constant) = match src {
                    Source::Register(register) => (class::STX, register as u8, 0),
                    Source::Constant(constant) => (class::ST, 0, constant),
                };
                let code = class | MODE_MEMORY | size_code(size);
                slot(code, dst as u8, register, offset, constant)
            }
            Self::Atomic {
                width,
                op,
                dst,
                offset,
                src,
            } => {
                let size = match width {
                    Width::W32 => Size::U32,
                    Width::W64 => Size::U64,
                };
                let code = class::STX | MODE_ATOMIC | size_code(size);
                slot(code, dst as u8, src as u8, offset, op.code())
            }
            Self::LoadConstant { dst, value } => slot(LOAD_WIDE, dst as u8, 0, 0, halves(value).0),
            Self::LoadMap { dst, map } => {
                slot(LOAD_WIDE, dst as u8, PSEUDO_MAP_FD, 0, descriptor(map))
            }
            Self::LoadMapValue { dst, map, .. } => {
                slot(LOAD_WIDE, dst as u8, PSEUDO_MAP_VALUE, 0, descriptor(map))
            }
            Self::Jump { offset } => slot(class::JMP, 0, 0, offset, 0),
            Self::JumpIf {
                width,
                test,
                dst,
                src,
                offset,
            } => {
                let class = match width {
                    Width::W32 => class::JMP32,
                    Width::W64 => class::JMP,
                };
                let (by, register, constant) = source(src);
                slot(
                    class | test as u8 | by,
                    dst as u8,
                    register,
                    offset,
                    constant,
                )
            }
            Self::Call(helper) => slot(CALL, 0, 0, 0, helper.number().cast_signed()),
            Self::Exit => slot(EXIT, 0, 0, 0, 0),
        }
    }

    /// Reads the instruction that `bytes` begin with. A map's number is read as a [`MapId`].
    ///
    /// # Errors
    /// [`DecodeError`] when it is none of this set.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut slots = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|it| Slot::from_bytes(*it));
        let first = slots.next().ok_or(DecodeError::Short)?;
        if first.code == LOAD_WIDE {
            let second = slots.next().ok_or(DecodeError::Short)?;
            return decode_wide(first, second);
        }
        decode_one(first).ok_or(DecodeError::Unknown(first.code))
    }
}

/// Why bytes are no instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are too few of them.
    #[error("an instruction is 8 bytes, a wide one 16")]
    Short,
    /// The code, or what goes with it, is not of this set.
    #[error("code {0:#04x} with its operands is no instruction of this set")]
    Unknown(u8),
}

const fn slot(code: u8, dst: u8, src: u8, offset: i16, constant: i32) -> Slot {
    Slot {
        code,
        dst,
        src,
        offset,
        constant,
    }
}

const fn alu(width: Width) -> u8 {
    match width {
        Width::W32 => class::ALU,
        Width::W64 => class::ALU64,
    }
}

fn source(source: Source) -> (u8, u8, i32) {
    match source {
        Source::Register(register) => (BY_REGISTER, register as u8, 0),
        Source::Constant(constant) => (0, 0, constant),
    }
}

/// The low half and the high one.
fn halves(value: u64) -> (i32, i32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        i32::from_le_bytes([a, b, c, d]),
        i32::from_le_bytes([e, f, g, h]),
    )
}

fn register(number: u8) -> Option<Register> {
    Register::ALL.get(usize::from(number)).copied()
}

fn decode_wide(first: Slot, second: Slot) -> Result<Instruction, DecodeError> {
    let unknown = DecodeError::Unknown(first.code);
    let dst = register(first.dst).ok_or(unknown)?;
    let map = MapId(first.constant.cast_unsigned() as usize);
    let offset = second.constant.cast_unsigned();
    match first.src {
        0 => Ok(Instruction::LoadConstant {
            dst,
            value: u64::from(offset) << 32 | u64::from(first.constant.cast_unsigned()),
        }),
        PSEUDO_MAP_FD => Ok(Instruction::LoadMap { dst, map }),
        PSEUDO_MAP_VALUE => Ok(Instruction::LoadMapValue { dst, map, offset }),
        _ => Err(unknown),
    }
}

fn decode_one(slot: Slot) -> Option<Instruction> {
    let (dst, src) = (register(slot.dst)?, register(slot.src)?);
    let by_register = slot.code & BY_REGISTER != 0;
    let source = if by_register {
        Source::Register(src)
    } else {
        Source::Constant(slot.constant)
    };
    let (kind, op, offset) = (slot.code & class::MASK, slot.code & 0xf0, slot.offset);
    let width = match kind {
        class::ALU | class::JMP32 => Width::W32,
        _ => Width::W64,
    };
    let size = size_of_code(slot.code);
    let mode = slot.code & 0xe0;
    Some(match kind {
        class::ALU if op == SWAP => Instruction::Swap {
            to: if by_register {
                Endian::Big
            } else {
                Endian::Little
            },
            size: Size::of(usize::try_from(slot.constant).ok()? / 8)?,
            dst,
        },
        class::ALU | class::ALU64 if op == NEGATE => Instruction::Negate { width, dst },
        class::ALU | class::ALU64 => Instruction::Alu {
            width,
            op: AluOp::ALL.into_iter().find(|it| *it as u8 == op)?,
            dst,
            src: source,
        },
        class::LDX if mode == MODE_MEMORY => Instruction::Load {
            size,
            dst,
            src,
            offset,
        },
        class::ST if mode == MODE_MEMORY => Instruction::Store {
            size,
            dst,
            offset,
            src: Source::Constant(slot.constant),
        },
        class::STX if mode == MODE_MEMORY => Instruction::Store {
            size,
            dst,
            offset,
            src: Source::Register(src),
        },
        class::STX if mode == MODE_ATOMIC => Instruction::Atomic {
            width: match size {
                Size::U32 => Width::W32,
                Size::U64 => Width::W64,
                Size::U8 | Size::U16 => return None,
            },
            op: AtomicOp::ALL
                .into_iter()
                .find(|it| it.code() == slot.constant)?,
            dst,
            offset,
            src,
        },
        class::JMP if slot.code == CALL => {
            Instruction::Call(Helper::by_number(slot.constant.cast_unsigned())?)
        }
        class::JMP if slot.code == EXIT => Instruction::Exit,
        class::JMP if slot.code == class::JMP => Instruction::Jump { offset },
        class::JMP | class::JMP32 => Instruction::JumpIf {
            width,
            test: Test::ALL.into_iter().find(|it| *it as u8 == op)?,
            dst,
            src: source,
            offset,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
