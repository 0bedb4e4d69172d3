//! eBPF programs written in Rust, read by people, and run without a kernel.
//!
//! * [`Assembler`] takes typed instructions, labels, locals on the stack and maps, and gives a
//!   [`Program`]. What the verifier refuses without following any data (a label that is nowhere, a
//!   jump too far, code that is never reached, a stack offset out of range) is an error with a name.
//! * A [`Program`] prints its listing: number, instruction as the kernel and `bpftool` write it, meaning.
//! * [`field!`] names a field of a `#[repr(C)]` struct that the program and userspace share: the one
//!   Rust definition says where it is.
//! * [`Interpreter`](interpreter::Interpreter) runs a program on a frame, with maps in memory, and
//!   refuses what the verifier would refuse on the way taken: for property tests without root.
//!
//! Everything here is pure; the loader is a crate of its own.
//!
//! Why no crate that exists: aya and libbpf load what clang or a nightly rustc compiled, and neither
//! is to be needed for a build. rbpf 0.4 assembles text, knows neither maps nor atomics, and runs on
//! raw addresses: `data` of `__sk_buff` has 32 bits, so it runs other programs than the kernel does.

mod assembler;
mod check;
mod context;
mod encoding;
mod helper;
mod instruction;
pub mod interpreter;
mod layout;
mod listing;
mod map;
mod operand;
mod program;

pub use assembler::{Assembler, Label};
pub use check::AssembleError;
pub use context::{SkBuff, verdict};
pub use encoding::DecodeError;
pub use helper::{Helper, KernelVersion};
pub use instruction::{AluOp, AtomicOp, Endian, Instruction, Register, Size, Source, Test, Width};
pub use layout::{Field, field_of};
pub use map::{MapId, MapKind, MapSpec};
pub use operand::{Condition, Local, Place};
pub use program::{Line, Program};
