//! What no program may do.

use crate::{Helper, Register};

/// An instruction that did what no program may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("instruction {slot}: {wrong}")]
pub struct Fault {
    /// The instruction's number, as in the listing.
    pub slot: usize,
    /// Its fault.
    pub wrong: Wrong,
}

/// A fault of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A register is read that nobody wrote, or that a call lost.
    #[error("{0} was not written")]
    Unwritten(Register),
    /// Bytes of the stack or of a record are read that nobody wrote.
    #[error("{bytes} bytes at {offset} were not all written")]
    UnwrittenMemory {
        /// Where: below the frame pointer, or into the record.
        offset: i64,
        /// How many.
        bytes: usize,
    },
    /// Bytes outside of what a pointer points into.
    #[error("{bytes} bytes at {offset} are outside of the {size} bytes of {region}")]
    Bounds {
        /// The memory that the pointer points into.
        region: &'static str,
        /// How far into it.
        offset: i64,
        /// How many.
        bytes: usize,
        /// How many there are; of a packet, those that can be read by address.
        size: usize,
    },
    /// A number is used as an address: a lookup that found nothing, for one.
    #[error("{0} holds a number, not a pointer")]
    NoPointer(Register),
    /// A pointer is used as a number.
    #[error("a pointer is used as a number")]
    NoNumber,
    /// Two pointers into different things are compared, or one is calculated with.
    #[error("pointers can be moved by a number and compared with pointers into the same only")]
    PointerArithmetic,
    /// A pointer into the packet is used after a helper that may have moved it.
    #[error("the pointer into the packet is from before a helper that may move it")]
    MovedPacket,
    /// A part of a pointer on the stack.
    #[error("a part of a pointer that lies on the stack")]
    PartOfPointer,
    /// A pointer is stored where others can read it.
    #[error("a pointer is stored outside of the stack")]
    Leak,
    /// A field of the context that cannot be read or written so.
    #[error("{bytes} bytes at {offset} of the context cannot be accessed so")]
    Context {
        /// Where.
        offset: i64,
        /// How many.
        bytes: usize,
    },
    /// An atomic operation on the context or the packet.
    #[error("an atomic operation on the context or the packet")]
    AtomicPlace,
    /// A helper is given something else than it takes.
    #[error("bpf_{} does not take that in {register}", helper.name())]
    Argument {
        /// The helper.
        helper: Helper,
        /// The register.
        register: Register,
    },
    /// The program ends, and a record was neither submitted nor discarded, or a socket not released.
    #[error("a record or a socket is not given back")]
    NotGivenBack,
    /// There is no instruction.
    #[error("there is no instruction")]
    NoInstruction,
    /// The program does not come to an end.
    #[error("too many instructions were carried out")]
    TooManySteps,
}
