//! What the operator wants: networks, endpoints, sandboxes and ports, in the words of Docker's
//! container network model.
//!
//! ```text
//!   sandbox (a container's namespace)         network (bridge domain, subnets, MTU)
//!        |                                         |
//!        +-- endpoint (interface, MAC, addresses) -+
//!                  |
//!                port (a place in the switch) <-- also: plain TAPs, NICs, capture files
//! ```
//! Beside them stand what the router is told: uplinks, publications, policies (`router.rs` makes a
//! [`nat::Config`] of them).
//!
//! Everything here is a value: no I/O, no clock, no randomness. A request is checked against the
//! [`State`] first and whole, and answered with a [`Change`] to the state and, where the kernel
//! has work to do, an [`InterfacePlan`] for it:
//!
//! ```text
//!   state.attach(request)? ==> (change, plan)     nothing has happened yet
//!   carry out plan                                the shell's work, undone on failure
//!   undo = state.commit(change)                   cannot fail
//!   write the state file, else state.commit(undo)
//!   publish state.topology(&mut live)
//! ```
//! What there is beside endpoints' interfaces, and all of it after a restart, is compared with the
//! kernel as a whole: [`mod@reconcile`].
//!
//! Two requests must not interleave between check and commit; whoever owns the state holds one
//! lock across both.

mod attach;
mod attachment;
mod change;
mod check;
mod desired;
mod error;
mod facts;
mod file;
mod hash;
mod interface;
mod ipam;
mod join;
mod live;
mod model;
mod named;
mod network;
mod placed;
mod plan;
mod policy;
mod port;
mod publication;
mod publish;
pub mod reconcile;
mod router;
mod routing;
mod state;
mod statics;
mod stored;
mod uplink;

pub use attachment::{Attachment, Hidden, Uplink};
pub use change::Change;
pub use desired::{Network, Operation, Subnet};
pub use error::Error;
pub use facts::{LinkFacts, UplinkFacts};
pub use file::{FileError, VERSION, read_json};
pub use interface::HostSide;
pub use live::Live;
pub use model::{
    Endpoint, EndpointId, Isolation, Mirror, NamespaceId, Port, PortKind, PortSettings, Sandbox,
};
pub use placed::{Bridge, NetworkPlace, PlacedNetwork, StaticEntry};
pub use plan::{InterfacePlan, InterfaceStep, TAP_MTU_MAX};
pub use publication::{Publication, PublicationId};
pub use reconcile::{Action, Observed, Plan, reconcile};
pub use state::State;
