//! Fuzz targets as plain functions.
//!
//! A target takes any bytes and panics when something that must hold does not. It stands here
//! rather than in a fuzzer's own kind of file, so that it builds on stable, is linted with the
//! rest, and runs as an ordinary test over the committed corpus (`tests/replay.rs`). What a fuzzer
//! needs beside it is a line each, in `libfuzzer/`. `README.md` says how to run one.

mod carry;
mod forward;
mod nat;
mod parse;

pub mod seeds;
mod segment;

pub use carry::pipeline;
pub use forward::forward;
pub use nat::nat;
pub use parse::parse;
pub use segment::segment;

/// A target's name, which is also its directory under `corpus/`, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("parse", parse),
    ("segment", segment),
    ("pipeline", pipeline),
    ("forward", forward),
    ("nat", nat),
];
