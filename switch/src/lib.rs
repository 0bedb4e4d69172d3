//! The layer-2 switch, pure: no I/O, no clock, no threads.
//!
//! A frame meets four stages, each a plain function in a file of its own:
//!
//! ```text
//!   parsed headers
//!        |  admit    may this port send it, in which VLAN?     admit.rs, vlan.rs
//!        |  learn    remember where its source is              learn.rs, fdb.rs
//!        |  forward  Unicast(port) | Flood(kind)               forward.rs, snoop.rs
//!        v  egress   which ports, tagged how?                  egress.rs
//!   Vec<Transmit>
//! ```
//! Configuration is an immutable [`Topology`]; the live state it points to ([`fdb::Fdb`],
//! [`pipeline::Meter`]) is safe to share between workers. With [`pipeline::Effects::None`] the same stages
//! answer a question and change nothing.

mod admit;
mod egress;
pub mod fdb;
mod forward;
mod learn;
mod rate;
mod snoop;
mod topology;
pub mod vlan;

pub use admit::admit;
pub use egress::{Outputs, Transmit, arrive, egress, reform};
pub use forward::{Flood, Forward, forward};
pub use learn::learn;
pub use model::{VlanMode, VlanSet};
pub use pipeline::Effects;
pub use rate::{Limiter, shape, within_rate};
pub use snoop::snoop;
pub use topology::{
    Gateway, Horizon, Ingress, Lock, Membership, Mirror, Network, Port, Storm, Topology,
    TopologyError,
};
pub use vlan::{Admitted, Form};
