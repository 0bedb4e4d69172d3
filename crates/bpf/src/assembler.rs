//! The assembler: instructions with labels and meanings become a [`Program`].

use crate::check::{self, STACK};
use crate::{
    AluOp, AssembleError, AtomicOp, Condition, Endian, Helper, Instruction, Line, Local, MapId,
    MapSpec, Place, Program, Register, Size, Source, Width,
};

/// A place in the program, made by [`Assembler::label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

#[derive(Debug)]
struct Written {
    instruction: Instruction,
    to: Option<Label>,
    note: String,
}

#[derive(Debug)]
struct Bound {
    name: &'static str,
    /// The instruction behind it.
    at: Option<usize>,
}

/// A program being written. A mistake is kept and answered by [`Assembler::finish`], so that a program
/// reads as one list.
#[derive(Debug)]
pub struct Assembler {
    name: &'static str,
    written: Vec<Written>,
    labels: Vec<Bound>,
    maps: Vec<MapSpec>,
    /// Bytes of the stack that locals take.
    depth: i64,
    note: String,
    wrong: Option<AssembleError>,
}

macro_rules! arithmetic {
    ($($(#[$doc:meta])* $wide:ident $narrow:ident $op:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $wide(&mut self, dst: Register, src: impl Into<Source>) {
                self.alu(Width::W64, AluOp::$op, dst, src);
            }

            /// The same on the low half; the high half becomes 0.
            pub fn $narrow(&mut self, dst: Register, src: impl Into<Source>) {
                self.alu(Width::W32, AluOp::$op, dst, src);
            }
        )*
    };
}

impl Assembler {
    /// A program of this name, without an instruction.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            written: Vec::new(),
            labels: Vec::new(),
            maps: Vec::new(),
            depth: 0,
            note: String::new(),
            wrong: None,
        }
    }

    /// Adds a map that the program uses.
    pub fn map(&mut self, map: MapSpec) -> MapId {
        self.maps.push(map);
        MapId(self.maps.len() - 1)
    }

    /// Takes room on the stack, at a multiple of 8. What is there is not initialised.
    pub fn local<S>(&mut self, name: &'static str) -> Local<S> {
        self.depth += i64::try_from(size_of::<S>().next_multiple_of(8)).unwrap_or(i64::MAX / 2);
        if self.depth > STACK {
            self.mistake(AssembleError::StackFull { local: name });
        }
        Local::new(name, -self.depth)
    }

    /// Gives the next instruction a meaning, for the listing.
    pub fn note(&mut self, meaning: impl Into<String>) -> &mut Self {
        self.note = meaning.into();
        self
    }

    /// Makes a label, to be bound where it shall be.
    pub fn label(&mut self, name: &'static str) -> Label {
        self.labels.push(Bound { name, at: None });
        Label(self.labels.len() - 1)
    }

    /// Binds the label: it is here.
    pub fn bind(&mut self, label: Label) {
        let here = self.written.len();
        let place = &mut self.labels[label.0];
        if place.at.replace(here).is_some() {
            let label = place.name;
            self.mistake(AssembleError::BoundTwice { label });
        }
    }

    /// Appends an instruction that is no jump.
    pub fn emit(&mut self, instruction: Instruction) {
        self.write(instruction, None);
    }

    fn write(&mut self, instruction: Instruction, to: Option<Label>) {
        let note = std::mem::take(&mut self.note);
        self.written.push(Written {
            instruction,
            to,
            note,
        });
    }

    fn mistake(&mut self, wrong: AssembleError) {
        self.wrong.get_or_insert(wrong);
    }

    /// Appends an operation of arithmetic or logic.
    pub fn alu(&mut self, width: Width, op: AluOp, dst: Register, src: impl Into<Source>) {
        let src = src.into();
        self.emit(Instruction::Alu {
            width,
            op,
            dst,
            src,
        });
    }

    arithmetic! {
        /// `dst = src`
        mov mov32 Move;
        /// `dst += src`
        add add32 Add;
        /// `dst -= src`
        sub sub32 Sub;
        /// `dst *= src`
        mul mul32 Mul;
        /// `dst /= src`
        div div32 Div;
        /// `dst %= src`
        rem rem32 Rem;
        /// `dst &= src`
        and and32 And;
        /// `dst |= src`
        or or32 Or;
        /// `dst ^= src`
        xor xor32 Xor;
        /// `dst <<= src`
        shift_left shift_left32 ShiftLeft;
        /// `dst >>= src`
        shift_right shift_right32 ShiftRight;
        /// `dst s>>= src`
        shift_right_signed shift_right_signed32 ShiftRightSigned;
    }

    /// `dst = -dst`
    pub fn negate(&mut self, dst: Register) {
        let width = Width::W64;
        self.emit(Instruction::Negate { width, dst });
    }

    /// Brings the low bytes from the machine's order to the network's, or back; clears the rest.
    pub fn big_endian(&mut self, dst: Register, size: Size) {
        let to = Endian::Big;
        self.emit(Instruction::Swap { to, size, dst });
    }

    /// Reads a place.
    pub fn load(&mut self, dst: Register, from: Place) {
        let Some((offset, size)) = self.scalar(from) else {
            return;
        };
        let src = from.base;
        self.emit(Instruction::Load {
            size,
            dst,
            src,
            offset,
        });
    }

    /// Writes a place.
    pub fn store(&mut self, to: Place, src: impl Into<Source>) {
        let Some((offset, size)) = self.scalar(to) else {
            return;
        };
        let (dst, src) = (to.base, src.into());
        self.emit(Instruction::Store {
            size,
            dst,
            offset,
            src,
        });
    }

    /// Works on a place of 4 or 8 bytes, and nobody comes between.
    pub fn atomic(&mut self, op: AtomicOp, at: Place, src: Register) {
        let Some((offset, size)) = self.scalar(at) else {
            return;
        };
        let width = match size {
            Size::U64 => Width::W64,
            Size::U32 => Width::W32,
            Size::U8 | Size::U16 => {
                let (name, bytes) = (at.name.unwrap_or("a place"), at.bytes);
                return self.mistake(AssembleError::NotScalar { name, bytes });
            }
        };
        let dst = at.base;
        self.emit(Instruction::Atomic {
            width,
            op,
            dst,
            offset,
            src,
        });
    }

    /// The offset and size as an instruction has them; names the place for the listing.
    fn scalar(&mut self, place: Place) -> Option<(i16, Size)> {
        let name = place.name.unwrap_or("a place");
        let Some(size) = Size::of(place.bytes) else {
            let bytes = place.bytes;
            self.mistake(AssembleError::NotScalar { name, bytes });
            return None;
        };
        let Ok(offset) = i16::try_from(place.offset) else {
            let offset = place.offset;
            self.mistake(AssembleError::OffsetRange { name, offset });
            return None;
        };
        if self.note.is_empty() {
            self.note = place.name.unwrap_or_default().to_owned();
        }
        Some((offset, size))
    }

    /// `dst = &local`
    pub fn address<S>(&mut self, dst: Register, local: Local<S>) {
        self.mov(dst, Register::R10);
        if self.note.is_empty() {
            self.note = format!("&{}", local.name);
        }
        let offset = i32::try_from(local.offset).unwrap_or(i32::MIN);
        self.add(dst, offset);
    }

    /// `dst = value`, of any 64 bits.
    pub fn constant(&mut self, dst: Register, value: u64) {
        self.emit(Instruction::LoadConstant { dst, value });
    }

    /// `dst = map`, for helpers.
    pub fn load_map(&mut self, dst: Register, map: MapId) {
        self.emit(Instruction::LoadMap { dst, map });
    }

    /// `dst = &array[0] + offset`, of an array with one value.
    pub fn load_map_value(&mut self, dst: Register, map: MapId, offset: u32) {
        self.emit(Instruction::LoadMapValue { dst, map, offset });
    }

    /// Goes on at the label.
    pub fn jump(&mut self, to: Label) {
        self.write(Instruction::Jump { offset: 0 }, Some(to));
    }

    /// Goes on at the label if the condition holds.
    pub fn jump_if(&mut self, condition: Condition, to: Label) {
        let Condition {
            width,
            test,
            dst,
            src,
        } = condition;
        let jump = Instruction::JumpIf {
            width,
            test,
            dst,
            src,
            offset: 0,
        };
        self.write(jump, Some(to));
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: Helper) {
        self.emit(Instruction::Call(helper));
    }

    /// Ends the program with what is in `R0`.
    pub fn exit(&mut self) {
        self.emit(Instruction::Exit);
    }

    /// Ends the program with this answer.
    pub fn answer(&mut self, verdict: i32) {
        self.mov32(Register::R0, verdict);
        self.exit();
    }

    /// Does `body` where the condition holds.
    pub fn when(&mut self, condition: Condition, body: impl FnOnce(&mut Self)) {
        let end = self.label("end");
        self.jump_unless(condition, end);
        body(self);
        self.bind(end);
    }

    /// Does `body` where the condition holds, else `otherwise`.
    pub fn when_else(
        &mut self,
        condition: Condition,
        body: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let [other, end] = [self.label("else"), self.label("end")];
        self.jump_unless(condition, other);
        body(self);
        if !self.has_left() {
            self.jump(end);
        }
        self.bind(other);
        otherwise(self);
        self.bind(end);
    }

    /// Goes on at the label if the condition does not hold.
    fn jump_unless(&mut self, condition: Condition, to: Label) {
        if let Some(test) = condition.test.inverse() {
            self.jump_if(Condition { test, ..condition }, to);
        } else {
            let yes = self.label("yes");
            self.jump_if(condition, yes);
            self.jump(to);
            self.bind(yes);
        }
    }

    /// Whether nothing comes from the last instruction to here.
    fn has_left(&self) -> bool {
        let here = Some(self.written.len());
        self.written
            .last()
            .is_some_and(|last| last.instruction.leaves())
            && self.labels.iter().all(|label| label.at != here)
    }

    /// The program.
    ///
    /// # Errors
    /// The first mistake, [`AssembleError`] names it.
    pub fn finish(self) -> Result<Program, AssembleError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let slots: Vec<usize> = self
            .written
            .iter()
            .scan(0, |next, it| {
                let slot = *next;
                *next += it.instruction.slots();
                Some(slot)
            })
            .collect();
        let mut lines = Vec::with_capacity(self.written.len());
        for (index, written) in self.written.into_iter().enumerate() {
            let mut line = Line {
                slot: slots[index],
                labels: labels_at(&self.labels, index),
                instruction: written.instruction,
                target: None,
                note: written.note,
            };
            if let Some(label) = written.to {
                let target = &self.labels[label.0];
                let label = target.name;
                let at = target.at.ok_or(AssembleError::Unbound { label })?;
                let to = slots.get(at).ok_or(AssembleError::FallsOff)?;
                let next = (line.slot + 1).cast_signed();
                let distance = to.cast_signed() - next;
                let offset = i16::try_from(distance)
                    .map_err(|_| AssembleError::JumpRange { label, distance })?;
                if let Instruction::Jump { offset: to } | Instruction::JumpIf { offset: to, .. } =
                    &mut line.instruction
                {
                    *to = offset;
                }
                line.target = Some(label);
            }
            lines.push(line);
        }
        check::check(&lines, &self.maps)?;
        Ok(Program {
            name: self.name,
            lines,
            maps: self.maps,
        })
    }
}

fn labels_at(labels: &[Bound], index: usize) -> Vec<&'static str> {
    let here = labels.iter().filter(|label| label.at == Some(index));
    here.map(|label| label.name).collect()
}

#[cfg(test)]
mod tests;
