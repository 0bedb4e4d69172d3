//! An interpreter for programs of traffic control: correct before fast.
//!
//! A value is a number, or a pointer that knows what it points into; nothing is an address. So the
//! interpreter refuses, on the way that a packet takes, what the verifier refuses on any way: bytes
//! outside of the stack, the packet, a map's value; registers and stack that were not written; pointers
//! into a packet that a helper moved; a record or a socket that was not given back. Ways that no packet
//! takes are the verifier's to judge.
//!
//! Numbers, maps and helpers act as the kernel's do. What the kernel brings (time, processor, sockets)
//! is given by the caller.

mod arithmetic;
mod checksum;
mod fault;
mod helpers;
mod memory;
mod packet;
mod tables;
mod value;

pub use fault::{Fault, Wrong};
pub use packet::{Packet, Redirect, Way};

use crate::{AtomicOp, Endian, Instruction, MapId, Program, Register, Size, Source, Width};
use memory::Memory;
use std::collections::{BTreeMap, BTreeSet};
use value::{Pointer, Region, Value};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The verifier follows no more instructions than these.
const STEPS: usize = 1_000_000;

/// The end of a run, and the packet as it is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The program's answer, one of [`verdict`](crate::verdict).
    pub verdict: i32,
    /// All 64 bits of it.
    pub answer: u64,
    /// Where the packet goes if the verdict is a redirect: what the last helper was told.
    pub redirect: Option<Redirect>,
    /// The packet as the program left it.
    pub packet: Packet,
    /// How many instructions were carried out.
    pub steps: usize,
}

/// A program with its maps, as the kernel has them after it was loaded.
#[derive(Debug)]
pub struct Interpreter<'p> {
    program: &'p Program,
    /// The line of each slot that an instruction begins at.
    starts: BTreeMap<usize, usize>,
    tables: Vec<tables::Table>,
    sockets: BTreeSet<(u32, Vec<u8>)>,
    /// Answered for both clocks.
    pub nanoseconds: u64,
    /// The processor's number.
    pub processor: u32,
    /// The state of the random numbers.
    pub random: u32,
}

impl<'p> Interpreter<'p> {
    /// A program whose maps are as the kernel makes them: hashes empty, arrays zero.
    #[must_use]
    pub fn new(program: &'p Program) -> Self {
        let starts = program.lines().iter().enumerate();
        Self {
            program,
            starts: starts.map(|(index, line)| (line.slot, index)).collect(),
            tables: program.maps().iter().map(tables::Table::new).collect(),
            sockets: BTreeSet::new(),
            nanoseconds: 1,
            processor: 0,
            random: 1,
        }
    }

    /// Puts a value into a map.
    ///
    /// # Panics
    /// When the map is not of these types, or is full: a mistake of a test.
    pub fn insert<K, V>(&mut self, map: MapId, key: &K, value: &V)
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        self.tables[map.0]
            .update(key.as_bytes(), value.as_bytes(), 0)
            .expect("the map takes the value");
    }

    /// The value of a key.
    ///
    /// # Panics
    /// When the map's values are not of this type: a mistake of a test.
    #[must_use]
    pub fn lookup<K, V>(&self, map: MapId, key: &K) -> Option<V>
    where
        K: IntoBytes + Immutable,
        V: FromBytes,
    {
        let table = &self.tables[map.0];
        let place = table.find(key.as_bytes())?;
        Some(V::read_from_bytes(table.value(place)).expect("a value of the map's type"))
    }

    /// Removes a key; says whether it was there.
    pub fn remove<K: IntoBytes + Immutable>(&mut self, map: MapId, key: &K) -> bool {
        self.tables[map.0].delete(key.as_bytes()).is_ok()
    }

    /// Takes all records out of a ring, as its reader does.
    pub fn records(&mut self, ring: MapId) -> Vec<Vec<u8>> {
        self.tables[ring.0].drain()
    }

    /// Opens a socket that `lookup` (one of the `SkLookup` helpers) finds by this `struct bpf_sock_tuple`.
    pub fn open_socket(&mut self, lookup: crate::Helper, tuple: &[u8]) {
        self.sockets.insert((lookup.number(), tuple.to_vec()));
    }

    /// Runs the program on a packet.
    ///
    /// # Errors
    /// [`Fault`] says which instruction did what no program may.
    pub fn run(&mut self, packet: Packet) -> Result<Outcome, Fault> {
        let mut run = Run {
            registers: [Value::Unwritten; 11],
            memory: Memory::new(packet),
            redirect: None,
            machine: self,
        };
        run.registers[1] = Value::Pointer(Pointer::to(Region::Context));
        run.registers[10] = Value::Pointer(Pointer::to(Region::Stack));
        let mut slot = 0;
        for steps in 1..=STEPS {
            let line = run.machine.starts.get(&slot).copied();
            let Some(line) = line.and_then(|it| run.machine.program.lines().get(it)) else {
                return Err(Fault {
                    slot,
                    wrong: Wrong::NoInstruction,
                });
            };
            let next = slot + line.instruction.slots();
            let fault = |wrong| Fault { slot, wrong };
            match run.step(line.instruction).map_err(fault)? {
                Then::Next => slot = next,
                Then::Jump(by) => slot = next.wrapping_add_signed(isize::from(by)),
                Then::Exit => return run.end(steps).map_err(fault),
            }
        }
        Err(Fault {
            slot,
            wrong: Wrong::TooManySteps,
        })
    }
}

/// The way on after an instruction.
enum Then {
    Next,
    Jump(i16),
    Exit,
}

/// One run of a program.
struct Run<'m, 'p> {
    registers: [Value; 11],
    memory: Memory,
    redirect: Option<Redirect>,
    machine: &'m mut Interpreter<'p>,
}

impl Run<'_, '_> {
    fn get(&self, register: Register) -> Result<Value, Wrong> {
        let value = self.registers[usize::from(register.number())];
        if value == Value::Unwritten {
            return Err(Wrong::Unwritten(register));
        }
        Ok(value)
    }

    fn set(&mut self, register: Register, value: Value) {
        self.registers[usize::from(register.number())] = value;
    }

    fn source(&self, source: Source) -> Result<Value, Wrong> {
        match source {
            Source::Register(register) => self.get(register),
            Source::Constant(constant) => Ok(Value::Number(i64::from(constant).cast_unsigned())),
        }
    }

    fn number(&self, register: Register) -> Result<u64, Wrong> {
        self.get(register)?.number()
    }

    fn pointer(&self, register: Register, offset: i16) -> Result<Pointer, Wrong> {
        let Value::Pointer(pointer) = self.get(register)? else {
            return Err(Wrong::NoPointer(register));
        };
        Ok(pointer.plus(i64::from(offset)))
    }

    fn step(&mut self, instruction: Instruction) -> Result<Then, Wrong> {
        match instruction {
            Instruction::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let src = self.source(src)?;
                let old = if op == crate::AluOp::Move {
                    src
                } else {
                    self.get(dst)?
                };
                self.set(dst, value::alu(width, op, old, src)?);
            }
            Instruction::Negate { width, dst } => {
                let zero = Value::Number(0);
                let negated = value::alu(width, crate::AluOp::Sub, zero, self.get(dst)?)?;
                self.set(dst, negated);
            }
            Instruction::Swap { to, size, dst } => {
                let swapped = swap(to, size, self.number(dst)?);
                self.set(dst, Value::Number(swapped));
            }
            Instruction::Load {
                size,
                dst,
                src,
                offset,
            } => {
                let from = self.pointer(src, offset)?;
                let value = self.memory.load(&self.machine.tables, from, size)?;
                self.set(dst, value);
            }
            Instruction::Store {
                size,
                dst,
                offset,
                src,
            } => {
                let (to, value) = (self.pointer(dst, offset)?, self.source(src)?);
                let tables = &mut self.machine.tables;
                self.memory.store(tables, to, size, value)?;
            }
            Instruction::Atomic {
                width,
                op,
                dst,
                offset,
                src,
            } => self.atomic(width, op, self.pointer(dst, offset)?, src)?,
            Instruction::LoadConstant { dst, value } => self.set(dst, Value::Number(value)),
            Instruction::LoadMap { dst, map } => {
                self.set(dst, Value::Pointer(Pointer::to(Region::Map(map.0))));
            }
            Instruction::LoadMapValue { dst, map, offset } => {
                let first = Pointer::to(Region::Value {
                    map: map.0,
                    place: 0,
                });
                self.set(dst, Value::Pointer(first.plus(i64::from(offset))));
            }
            Instruction::Jump { offset } => return Ok(Then::Jump(offset)),
            Instruction::JumpIf {
                width,
                test,
                dst,
                src,
                offset,
            } => {
                if value::test(width, test, self.get(dst)?, self.source(src)?)? {
                    return Ok(Then::Jump(offset));
                }
            }
            Instruction::Call(helper) => self.call(helper)?,
            Instruction::Exit => return Ok(Then::Exit),
        }
        Ok(Then::Next)
    }

    fn atomic(
        &mut self,
        width: Width,
        op: AtomicOp,
        at: Pointer,
        src: Register,
    ) -> Result<(), Wrong> {
        if matches!(at.region, Region::Context | Region::Packet { .. }) {
            return Err(Wrong::AtomicPlace);
        }
        let size = match width {
            Width::W32 => Size::U32,
            Width::W64 => Size::U64,
        };
        let narrow = |number: u64| match width {
            Width::W32 => number & u64::from(u32::MAX),
            Width::W64 => number,
        };
        let old = self.memory.load(&self.machine.tables, at, size)?.number()?;
        let operand = narrow(self.number(src)?);
        let new = match op {
            AtomicOp::Add | AtomicOp::FetchAdd => old.wrapping_add(operand),
            AtomicOp::FetchOr => old | operand,
            AtomicOp::FetchAnd => old & operand,
            AtomicOp::FetchXor => old ^ operand,
            AtomicOp::Exchange => operand,
            AtomicOp::CompareExchange if narrow(self.number(Register::R0)?) == old => operand,
            AtomicOp::CompareExchange => old,
        };
        let tables = &mut self.machine.tables;
        self.memory.store(tables, at, size, Value::Number(new))?;
        if let Some(register) = op.answers_in(src) {
            self.set(register, Value::Number(old));
        }
        Ok(())
    }

    fn end(self, steps: usize) -> Result<Outcome, Wrong> {
        let answer = self.number(Register::R0)?;
        self.memory.check_given_back()?;
        let [a, b, c, d, ..] = answer.to_le_bytes();
        Ok(Outcome {
            verdict: i32::from_le_bytes([a, b, c, d]),
            answer,
            redirect: self.redirect,
            packet: self.memory.into_packet(),
            steps,
        })
    }
}

/// The low bytes, from the machine's order to another one; the rest becomes 0.
fn swap(to: Endian, size: Size, number: u64) -> u64 {
    let (number, unused) = (number.to_le_bytes(), 8 - size.bytes());
    let mut low = [0; 8];
    low[..size.bytes()].copy_from_slice(&number[..size.bytes()]);
    let low = u64::from_le_bytes(low);
    let as_machine_has_it = match to {
        Endian::Little => cfg!(target_endian = "little"),
        Endian::Big => cfg!(target_endian = "big"),
    };
    if as_machine_has_it {
        low
    } else {
        low.swap_bytes() >> (8 * unused)
    }
}

#[cfg(test)]
mod tests;
