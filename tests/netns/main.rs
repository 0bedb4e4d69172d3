//! Clearway on the real kernel: containers are network namespaces with the kernel's own stack, the
//! daemon is the built binary. `host`, `ports` and `programs` are the crates that talk to the kernel, each on
//! its own. Needs root. Every namespace is anonymous and the daemon's own is one of them, so nothing
//! of the machine's network is touched and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod binary;
mod daemon;
mod datapath;
mod fixture;
mod host;
mod hostile;
mod lab;
mod lifecycle;
mod nat;
mod plain;
mod ports;
mod programs;
mod stacks;
mod switching;
mod uplink;
mod vlans;
