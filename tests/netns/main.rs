//! Clearway on the real kernel: containers are network namespaces with the kernel's own stack, the
//! daemon is the built binary. Needs root. Every namespace is anonymous and the daemon's own is one
//! of them, so nothing of the machine's network is touched and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod binary;
mod fixture;
mod hostile;
mod lab;
mod lifecycle;
mod nat;
mod plain;
mod stacks;
mod switching;
mod uplink;
mod vlans;
