//! Brings a [`bpf::Program`] into the kernel: makes its maps, loads it, runs it on a packet of one's own,
//! attaches it to an interface, reads what it tells. By the system call alone: no library in C, no BTF.
//! It takes `CAP_BPF` and `CAP_NET_ADMIN`.
//!
//! * [`Maps`] are the maps of a program; a [`Map`] is looked up, changed and emptied by keys or in batches.
//! * [`Loaded`] is a program that the verifier passed. [`Loaded::test_run`] runs it on a packet.
//! * [`Ring`] reads records, [`Words`] shares numbers with a program, both by shared memory.
//! * [`tcx`] attaches by a link that ends with its descriptor (Linux 6.6), [`clsact`] by a filter that
//!   outlives its maker.
//! * [`probe`] tries all of it on this machine and says what works and why the rest does not.
//!
//! All `unsafe` of the crate is in `sys`, which has no function that a caller could misuse.

pub mod clsact;
mod error;
mod map;
mod probe;
mod program;
mod ring;
#[allow(unsafe_code)]
mod sys;
pub mod tcx;
mod words;

pub use error::LoadError;
pub use map::{Batch, Map, Maps};
pub use probe::{Finding, Probe, Trial, probe};
pub use program::{Loaded, TestRun};
pub use ring::Ring;
pub use words::Words;

/// The side of an interface, as the host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Frames that come in by the interface.
    Ingress,
    /// Frames that go out by it.
    Egress,
}
