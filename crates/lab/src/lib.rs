//! `clearway lab`: containers in namespaces of their own, to see the switch work.
//!
//! The lab is the first thing a stranger runs, on a machine of which nothing is known but that it
//! has Linux and Rust. So it needs no other program (no `ip`, `ping`, `iperf3`, no docker), touches
//! nothing of the machine's own network, and says in one sentence what is missing when it cannot
//! run.
//!
//! ```text
//!   this process ── api::Client ──> daemon (its own binary, in a namespace that stands for a host)
//!        |                            |  TAPs                      |  uplink: eth0 ──veth── world
//!        |                      ann bob cat dan eve mal   sam      anonymous namespaces
//!        └── rtnetlink ──> left ── Linux bridge ── right           the same traffic, to compare
//!                          container ── docker0 with NAT ── world
//! ```
//! * [`scenes`]: what is shown, one file each; a scene answers a [`finding::Finding`].
//! * [`render`]: findings to text, pure. [`finding::Report`] is also the `--json` document.
//! * [`running`]: the daemon and everything it needs; dropping it takes it all away.
//! * [`interrupt`]: Ctrl-C and SIGTERM drop it too. Namespaces have no name and the daemon is
//!   killed with this process, so that even SIGKILL leaves only an empty directory in `/tmp`.
//! * [`rootless`]: being root for a while, in a user namespace.

mod args;
mod bridge;
mod container;
mod contest;
mod docker0;
mod finding;
mod frames;
mod interrupt;
mod lab;
mod links;
mod outside;
mod render;
mod rootless;
mod running;
mod scenes;
mod screen;
#[allow(unsafe_code)]
mod sys;

pub use args::Args;
pub use lab::run;
