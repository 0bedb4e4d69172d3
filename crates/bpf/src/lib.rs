//! eBPF programs written in Rust and read by people.
//!
//! * [`Assembler`] takes typed instructions, labels, locals on the stack and maps, and gives a
//!   [`Program`]. What the verifier refuses without following any data (a label that is nowhere, a
//!   jump too far, code that is never reached, a stack offset out of range) is an error with a name.
//! * A [`Program`] prints its listing: number, instruction as the kernel and `bpftool` write it, meaning.
//! * [`field!`] names a field of a `#[repr(C)]` struct that the program and userspace share: the one
//!   Rust definition says where it is.
//!
//! Everything here is pure; the loader is a crate of its own.
//!
//! Why no crate that exists: aya and libbpf load what clang or a nightly rustc compiled, and neither
//! is to be needed for a build.

mod assembler;
mod check;
mod context;
mod encoding;
mod helper;
mod instruction;
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
