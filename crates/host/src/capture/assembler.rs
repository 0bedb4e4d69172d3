//! An assembler for classic BPF, the packet filter language of 1993 that the kernel takes from
//! everybody who may set up traffic control: no loops, no maps, no verifier to argue with.
//!
//! Programs are written with labels. All jumps go forward, so [`Assembler::finish`] works from the
//! end to the start and knows where each label is when a jump to it comes. A conditional jump
//! reaches 255 instructions far; a farther one becomes two.
//!
//! Reading past the end of a packet ends a program with 0: "no match".

/// One instruction, as `struct sock_filter` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

impl Instruction {
    /// The longest program the kernel takes (`BPF_MAXINSNS`).
    pub(crate) const MAX: usize = 4096;

    /// The bytes of `struct sock_filter`.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.code.to_ne_bytes());
        bytes[2] = self.if_true;
        bytes[3] = self.if_false;
        bytes[4..].copy_from_slice(&self.operand.to_ne_bytes());
        bytes
    }
}

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// What a conditional jump asks of the accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum If {
    Equal(u32),
    /// Equal to the index register.
    EqualIndex,
    NotEqual(u32),
    AtLeast(u32),
    AnyBit(u32),
}

/// Where a load reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// At this offset from the start of the frame, or one of the kernel's notes on the packet.
    Frame(u32),
    /// This far behind where the index register points.
    Index(u32),
}

impl At {
    /// The place `bytes` further on.
    pub(crate) fn plus(self, bytes: u32) -> Self {
        match self {
            Self::Frame(at) => Self::Frame(at + bytes),
            Self::Index(at) => Self::Index(at + bytes),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Here(Label),
    Op(u16, u32),
    Jump(Label),
    JumpIf(If, Label),
}

/// A program being written.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    items: Vec<Item>,
    labels: usize,
}

pub(crate) mod code {
    //! `linux/bpf_common.h`.
    pub(crate) const LOAD_WORD: u16 = 0x20;
    pub(crate) const LOAD_HALF: u16 = 0x28;
    pub(crate) const LOAD_BYTE: u16 = 0x30;
    /// Added to a load: relative to the index register.
    pub(crate) const INDEXED: u16 = 0x20;
    pub(crate) const LOAD_CONSTANT: u16 = 0x00;
    pub(crate) const LOAD_MEMORY: u16 = 0x60;
    pub(crate) const STORE: u16 = 0x02;
    pub(crate) const INDEX_CONSTANT: u16 = 0x01;
    pub(crate) const INDEX_IPV4_LENGTH: u16 = 0xb1;
    pub(crate) const ADD: u16 = 0x04;
    pub(crate) const ADD_INDEX: u16 = 0x0c;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const SHIFT_LEFT: u16 = 0x64;
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const JUMP_EQUAL: u16 = 0x15;
    pub(crate) const JUMP_EQUAL_INDEX: u16 = 0x1d;
    pub(crate) const JUMP_AT_LEAST: u16 = 0x35;
    pub(crate) const JUMP_ANY_BIT: u16 = 0x45;
    pub(crate) const RETURN: u16 = 0x06;
    pub(crate) const TO_INDEX: u16 = 0x07;
}

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// `label` is here.
    pub(crate) fn here(&mut self, label: Label) {
        self.items.push(Item::Here(label));
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.items.push(Item::Jump(to));
    }

    pub(crate) fn jump_if(&mut self, condition: If, to: Label) {
        self.items.push(Item::JumpIf(condition, to));
    }

    pub(crate) fn load_byte(&mut self, at: At) {
        self.load(code::LOAD_BYTE, at);
    }

    pub(crate) fn load_half(&mut self, at: At) {
        self.load(code::LOAD_HALF, at);
    }

    pub(crate) fn load_word(&mut self, at: At) {
        self.load(code::LOAD_WORD, at);
    }

    fn load(&mut self, width: u16, at: At) {
        match at {
            At::Frame(at) => self.op(width, at),
            At::Index(at) => self.op(width + code::INDEXED, at),
        }
    }

    /// Any other instruction that is no jump.
    pub(crate) fn op(&mut self, code: u16, operand: u32) {
        self.items.push(Item::Op(code, operand));
    }

    /// The program.
    pub(crate) fn finish(self) -> Vec<Instruction> {
        // From the end: `places` says how many instructions follow each label.
        let mut reversed: Vec<Instruction> = Vec::new();
        let mut places = vec![0; self.labels];
        for item in self.items.into_iter().rev() {
            let follow = reversed.len();
            match item {
                Item::Here(Label(label)) => places[label] = follow,
                Item::Op(code, operand) => reversed.push(plain(code, operand)),
                Item::Jump(Label(label)) if places[label] == follow => {}
                Item::Jump(Label(label)) => reversed.push(far(follow - places[label])),
                Item::JumpIf(condition, Label(label)) => {
                    branch(&mut reversed, condition, follow - places[label]);
                }
            }
        }
        reversed.reverse();
        reversed
    }
}

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        if_true: 0,
        if_false: 0,
        operand,
    }
}

fn far(distance: usize) -> Instruction {
    let distance = u32::try_from(distance).expect("a program is shorter than 4 Gi instructions");
    plain(code::JUMP, distance)
}

fn branch(reversed: &mut Vec<Instruction>, condition: If, distance: usize) {
    let (code, operand, jump_when) = match condition {
        If::Equal(operand) => (code::JUMP_EQUAL, operand, true),
        If::EqualIndex => (code::JUMP_EQUAL_INDEX, 0, true),
        If::NotEqual(operand) => (code::JUMP_EQUAL, operand, false),
        If::AtLeast(operand) => (code::JUMP_AT_LEAST, operand, true),
        If::AnyBit(operand) => (code::JUMP_ANY_BIT, operand, true),
    };
    let (jump, stay) = if let Ok(near) = u8::try_from(distance) {
        (near, 0)
    } else {
        reversed.push(far(distance));
        (0, 1)
    };
    let (if_true, if_false) = if jump_when {
        (jump, stay)
    } else {
        (stay, jump)
    };
    reversed.push(Instruction {
        if_true,
        if_false,
        ..plain(code, operand)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::interpreter::run;

    #[test]
    fn near_and_far_jumps_lead_to_the_same_place() {
        for between in [0, 1, 254, 255, 256, 1000] {
            for (condition, value, jumps) in [
                (If::Equal(7), 7, true),
                (If::Equal(7), 8, false),
                (If::NotEqual(7), 8, true),
                (If::NotEqual(7), 7, false),
                (If::AtLeast(7), 6, false),
                (If::AtLeast(7), 7, true),
                (If::AnyBit(6), 4, true),
                (If::AnyBit(6), 9, false),
            ] {
                let mut it = Assembler::default();
                let there = it.label();
                it.load_byte(At::Frame(0));
                it.jump_if(condition, there);
                for _ in 0..between {
                    it.op(code::LOAD_CONSTANT, 0);
                }
                it.op(code::RETURN, 1);
                it.here(there);
                it.op(code::RETURN, 2);
                let program = it.finish();
                let want = if jumps { 2 } else { 1 };
                assert_eq!(
                    run(&program, &[value], 0, 0),
                    want,
                    "{condition:?} {between}"
                );
            }
        }
    }
}
