//! The listing of a program: each instruction as the kernel's disassembler writes it, with its meaning.

use crate::{
    AluOp, AtomicOp, Endian, Instruction, Line, MapId, Program, Register, Size, Source, Test, Width,
};
use std::fmt::{self, Display, Formatter};

/// The column in which meanings begin.
const MEANINGS: usize = 56;

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: Linux {} or newer", self.name, self.since())?;
        for map in &self.maps {
            writeln!(
                f,
                "map[{}]: {:?}, key {}, value {}, entries {}",
                map.name, map.kind, map.key, map.value, map.entries
            )?;
        }
        self.lines
            .iter()
            .try_for_each(|line| self.write_line(f, line))
    }
}

impl Program {
    fn write_line(&self, f: &mut Formatter<'_>, line: &Line) -> fmt::Result {
        for label in &line.labels {
            writeln!(f, "{label}:")?;
        }
        let text = format!(
            "{:4}: ({:02x}) {}",
            line.slot,
            line.instruction.code(),
            self.text(line.instruction)
        );
        let meaning = match line.target {
            Some(label) if line.note.is_empty() => format!("to {label}"),
            Some(label) => format!("to {label}: {}", line.note),
            None => line.note.clone(),
        };
        if meaning.is_empty() {
            writeln!(f, "{text}")
        } else {
            writeln!(f, "{text:MEANINGS$}; {meaning}")
        }
    }

    /// An instruction as the kernel's disassembler writes it, maps by name.
    fn text(&self, instruction: Instruction) -> String {
        match instruction {
            Instruction::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let (dst, src) = (named(width, dst), operand(width, src));
                format!("{dst} {} {src}", alu_sign(op))
            }
            Instruction::Negate { width, dst } => {
                let dst = named(width, dst);
                format!("{dst} = -{dst}")
            }
            Instruction::Swap { to, size, dst } => {
                let order = match to {
                    Endian::Little => "le",
                    Endian::Big => "be",
                };
                format!("{dst} = {order}{} {dst}", size.bytes() * 8)
            }
            Instruction::Load {
                size,
                dst,
                src,
                offset,
            } => format!("{dst} = {}", place(size, src, offset)),
            Instruction::Store {
                size,
                dst,
                offset,
                src,
            } => {
                let src = operand(Width::W64, src);
                format!("{} = {src}", place(size, dst, offset))
            }
            Instruction::Atomic {
                width,
                op,
                dst,
                offset,
                src,
            } => atomic(width, op, dst, offset, src),
            Instruction::LoadConstant { dst, value } => format!("{dst} = {value:#x}"),
            Instruction::LoadMap { dst, map } => format!("{dst} = map[{}]", self.map_name(map)),
            Instruction::LoadMapValue { dst, map, offset } => {
                format!("{dst} = map[{}][0]+{offset}", self.map_name(map))
            }
            Instruction::Jump { offset } => format!("goto pc{offset:+}"),
            Instruction::JumpIf {
                width,
                test,
                dst,
                src,
                offset,
            } => {
                let src = match src {
                    Source::Register(_) => operand(width, src),
                    Source::Constant(constant) => format!("{constant:#x}"),
                };
                let (dst, test) = (named(width, dst), test_sign(test));
                format!("if {dst} {test} {src} goto pc{offset:+}")
            }
            Instruction::Call(helper) => {
                format!("call bpf_{}#{}", helper.name(), helper.number())
            }
            Instruction::Exit => "exit".to_owned(),
        }
    }

    fn map_name(&self, map: MapId) -> &'static str {
        self.maps.get(map.0).map_or("?", |map| map.name)
    }
}

impl Display for Register {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.number())
    }
}

fn named(width: Width, register: Register) -> String {
    match width {
        Width::W32 => format!("w{}", register.number()),
        Width::W64 => register.to_string(),
    }
}

fn operand(width: Width, source: Source) -> String {
    match source {
        Source::Register(register) => named(width, register),
        Source::Constant(constant) => constant.to_string(),
    }
}

fn place(size: Size, base: Register, offset: i16) -> String {
    format!("*(u{} *)({base} {offset:+})", size.bytes() * 8)
}

fn atomic(width: Width, op: AtomicOp, dst: Register, offset: i16, src: Register) -> String {
    let (size, wide) = match width {
        Width::W32 => (Size::U32, ""),
        Width::W64 => (Size::U64, "64"),
    };
    let place = place(size, dst, offset);
    // An address, where a load has what is there.
    let address = place.trim_start_matches('*');
    let name = match op {
        AtomicOp::Add => return format!("lock {place} += {src}"),
        AtomicOp::CompareExchange => {
            return format!("r0 = atomic{wide}_cmpxchg({address}, r0, {src})");
        }
        AtomicOp::Exchange => "xchg",
        AtomicOp::FetchAdd => "fetch_add",
        AtomicOp::FetchOr => "fetch_or",
        AtomicOp::FetchAnd => "fetch_and",
        AtomicOp::FetchXor => "fetch_xor",
    };
    format!("{src} = atomic{wide}_{name}({address}, {src})")
}

const fn alu_sign(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::ShiftLeft => "<<=",
        AluOp::ShiftRight => ">>=",
        AluOp::Rem => "%=",
        AluOp::Xor => "^=",
        AluOp::Move => "=",
        AluOp::ShiftRightSigned => "s>>=",
    }
}

const fn test_sign(test: Test) -> &'static str {
    match test {
        Test::Equal => "==",
        Test::Above => ">",
        Test::AtLeast => ">=",
        Test::AnyBit => "&",
        Test::NotEqual => "!=",
        Test::SignedAbove => "s>",
        Test::SignedAtLeast => "s>=",
        Test::Below => "<",
        Test::AtMost => "<=",
        Test::SignedBelow => "s<",
        Test::SignedAtMost => "s<=",
    }
}
