//! What the verifier refuses without following any data.

use crate::{AluOp, Instruction, Line, MapSpec, Register, Source, Width};

/// Bytes of a program's stack.
pub(crate) const STACK: i64 = 512;
/// The longest program that a loader with `CAP_BPF` may load.
const MAX_SLOTS: usize = 1_000_000;

/// A mistake in a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// It has no instruction.
    #[error("a program without an instruction")]
    Empty,
    /// It has more instructions than the kernel takes.
    #[error("{slots} instructions, the kernel takes at most {MAX_SLOTS}")]
    TooLong {
        /// How many it has.
        slots: usize,
    },
    /// A jump leads to a label that is nowhere.
    #[error("a jump leads to the label `{label}`, which is bound nowhere")]
    Unbound {
        /// The label.
        label: &'static str,
    },
    /// A label is at two places.
    #[error("the label `{label}` is bound twice")]
    BoundTwice {
        /// The label.
        label: &'static str,
    },
    /// A jump is too far for its 16 bits.
    #[error("a jump to `{label}` is {distance} instructions long, at most 32767 are possible")]
    JumpRange {
        /// The label.
        label: &'static str,
        /// How far it is.
        distance: isize,
    },
    /// The last instruction lets the program go on behind its end.
    #[error("the program goes on behind its last instruction")]
    FallsOff,
    /// No way leads to an instruction.
    #[error("instruction {slot} is never reached")]
    Unreachable {
        /// Its number.
        slot: usize,
    },
    /// Locals take more than the stack has.
    #[error("no room for `{local}`: the stack has {STACK} bytes")]
    StackFull {
        /// The local that did not fit.
        local: &'static str,
    },
    /// A load or store lies outside of the stack.
    #[error(
        "instruction {slot} accesses {bytes} bytes at r10 {offset:+}: the stack is r10 -512 to r10 -1"
    )]
    StackRange {
        /// The instruction's number.
        slot: usize,
        /// Relative to the frame pointer.
        offset: i16,
        /// How many.
        bytes: usize,
    },
    /// A place is too far from its register.
    #[error("`{name}` is {offset} bytes away, at most 32767 are possible")]
    OffsetRange {
        /// The place.
        name: &'static str,
        /// How far.
        offset: i64,
    },
    /// No instruction moves so many bytes at once.
    #[error("`{name}` has {bytes} bytes, which no such instruction moves: take a part of it")]
    NotScalar {
        /// The place.
        name: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// The frame pointer is written.
    #[error("instruction {slot} writes r10, which is read only")]
    WritesFramePointer {
        /// The instruction's number.
        slot: usize,
    },
    /// A constant is no possible operand: a shift by the width or more, a division by 0.
    #[error("instruction {slot} shifts by too much or divides by 0")]
    Operand {
        /// The instruction's number.
        slot: usize,
    },
    /// A map is of another program.
    #[error("instruction {slot} names a map that the program does not have")]
    UnknownMap {
        /// The instruction's number.
        slot: usize,
    },
    /// A map's value has no address that can be loaded.
    #[error(
        "instruction {slot}: only of an array with one value an address can be loaded, within it"
    )]
    MapValue {
        /// The instruction's number.
        slot: usize,
    },
}

/// Checks a whole program.
pub(crate) fn check(lines: &[Line], maps: &[MapSpec]) -> Result<(), AssembleError> {
    let last = lines.last().ok_or(AssembleError::Empty)?;
    let slots = last.slot + last.instruction.slots();
    if slots > MAX_SLOTS {
        return Err(AssembleError::TooLong { slots });
    }
    for line in lines {
        check_one(line, maps)?;
    }
    check_flow(lines)
}

fn check_one(line: &Line, maps: &[MapSpec]) -> Result<(), AssembleError> {
    let (slot, instruction) = (line.slot, line.instruction);
    if written(instruction) == Some(Register::R10) {
        return Err(AssembleError::WritesFramePointer { slot });
    }
    if let Instruction::Alu {
        width,
        op,
        src: Source::Constant(constant),
        ..
    } = instruction
        && !is_operand(width, op, constant)
    {
        return Err(AssembleError::Operand { slot });
    }
    if let Instruction::LoadMap { map, .. } | Instruction::LoadMapValue { map, .. } = instruction
        && map.0 >= maps.len()
    {
        return Err(AssembleError::UnknownMap { slot });
    }
    if let Instruction::LoadMapValue { map, offset, .. } = instruction
        && !has_place(&maps[map.0], offset)
    {
        return Err(AssembleError::MapValue { slot });
    }
    match accessed(instruction) {
        Some((Register::R10, offset, bytes)) => check_stack(slot, offset, bytes),
        Some(_) | None => Ok(()),
    }
}

/// The memory that an instruction accesses: base, offset, size.
fn accessed(instruction: Instruction) -> Option<(Register, i16, usize)> {
    match instruction {
        Instruction::Load {
            size, src, offset, ..
        } => Some((src, offset, size.bytes())),
        Instruction::Store {
            size, dst, offset, ..
        } => Some((dst, offset, size.bytes())),
        Instruction::Atomic {
            width, dst, offset, ..
        } => Some((dst, offset, width.bytes())),
        Instruction::Alu { .. }
        | Instruction::Negate { .. }
        | Instruction::Swap { .. }
        | Instruction::LoadConstant { .. }
        | Instruction::LoadMap { .. }
        | Instruction::LoadMapValue { .. }
        | Instruction::Jump { .. }
        | Instruction::JumpIf { .. }
        | Instruction::Call(_)
        | Instruction::Exit => None,
    }
}

impl Width {
    /// The number of bytes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::W32 => 4,
            Self::W64 => 8,
        }
    }
}

/// Whether the address of a place in the map's value can be loaded.
const fn has_place(map: &MapSpec, offset: u32) -> bool {
    map.kind.is_array() && map.entries == 1 && offset < map.value
}

fn check_stack(slot: usize, offset: i16, bytes: usize) -> Result<(), AssembleError> {
    let start = i64::from(offset);
    let end = start + bytes.cast_signed() as i64;
    if start < -STACK || end > 0 {
        return Err(AssembleError::StackRange {
            slot,
            offset,
            bytes,
        });
    }
    Ok(())
}

fn is_operand(width: Width, op: AluOp, constant: i32) -> bool {
    match op {
        AluOp::Div | AluOp::Rem => constant != 0,
        AluOp::ShiftLeft | AluOp::ShiftRight | AluOp::ShiftRightSigned => {
            usize::try_from(constant).is_ok_and(|bits| bits < width.bytes() * 8)
        }
        AluOp::Add
        | AluOp::Sub
        | AluOp::Mul
        | AluOp::Or
        | AluOp::And
        | AluOp::Xor
        | AluOp::Move => true,
    }
}

/// The register that an instruction writes, besides those that a call does.
fn written(instruction: Instruction) -> Option<Register> {
    match instruction {
        Instruction::Alu { dst, .. }
        | Instruction::Negate { dst, .. }
        | Instruction::Swap { dst, .. }
        | Instruction::Load { dst, .. }
        | Instruction::LoadConstant { dst, .. }
        | Instruction::LoadMap { dst, .. }
        | Instruction::LoadMapValue { dst, .. } => Some(dst),
        Instruction::Atomic { op, src, .. } => op.answers_in(src),
        Instruction::Store { .. }
        | Instruction::Jump { .. }
        | Instruction::JumpIf { .. }
        | Instruction::Call(_)
        | Instruction::Exit => None,
    }
}

/// Whether the end is reached only by leaving, and everything is reached at all.
fn check_flow(lines: &[Line]) -> Result<(), AssembleError> {
    let mut reached = vec![false; lines.len()];
    let mut pending = vec![0];
    while let Some(index) = pending.pop() {
        let line = lines.get(index).ok_or(AssembleError::FallsOff)?;
        if std::mem::replace(&mut reached[index], true) {
            continue;
        }
        let jump = |offset: i16| {
            let to = (line.slot + 1).checked_add_signed(isize::from(offset));
            to.and_then(|to| lines.binary_search_by_key(&to, |it| it.slot).ok())
                .ok_or(AssembleError::FallsOff)
        };
        if let Some(offset) = line.instruction.jump() {
            pending.push(jump(offset)?);
        }
        if !line.instruction.leaves() {
            pending.push(index + 1);
        }
    }
    match reached.iter().position(|it| !it) {
        Some(index) => Err(AssembleError::Unreachable {
            slot: lines[index].slot,
        }),
        None => Ok(()),
    }
}
