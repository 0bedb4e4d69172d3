//! Docker's real engine against the plugin: the judge of what containers, `docker` and the world
//! see. Needs root and Docker, which each test runs on a machine of its own
//! ([`testbed::docker::Machine`]): nothing of the computer's network, files or engine is touched.
//!
//! `cargo test --test docker` asks the computer's engine; `cargo xtask engine --suite forky` installs
//! another Debian's in a directory and asks that one. A test may not depend on which it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adopt;
mod clearway;
mod compose;
mod engine;
mod hostile;
mod ipam;
mod many;
mod modes;
mod names;
mod network;
mod plugin;
mod publish;
mod rules;
mod survival;
mod web;
mod world;

#[path = "../netns/binary.rs"]
mod binary;
#[path = "../netns/nat/line.rs"]
#[allow(dead_code, reason = "what lines do is used in part")]
mod line;
#[path = "../netns/nat/talk.rs"]
#[allow(dead_code, reason = "what talkers say is used in part")]
mod talk;
