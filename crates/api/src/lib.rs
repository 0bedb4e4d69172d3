//! What may be asked of the daemon, what it answers, and the client that asks.
//!
//! Every request is a plain value with a `check` that compares it with the ranges its fields name;
//! the daemon checks again what only it can know (does the network exist, is the name free).
//! Words that have a form of their own (a name, a MAC address, a VLAN) are types that cannot hold
//! anything else, so a path such as `../../etc` never gets as far as a file name.
//!
//! The crate knows nothing of the dataplane: these types are the interface's, and stay when the
//! inside changes. `calls.rs` is the one table of calls, which the server, the client and the OpenAPI
//! description share.

mod adoption;
mod calls;
mod client;
mod declare;
mod doctor;
mod error;
mod explain;
mod fdb;
mod nat;
mod net_words;
mod network;
mod policy;
mod port;
mod publish;
mod routing;
#[cfg(feature = "server")]
pub mod server;
mod status;
#[cfg(feature = "stub")]
mod stub;
mod trace;
mod uplink;
mod words;

mod endpoint;

pub use adoption::{Adopt, Adoption};
pub use calls::CALLS;
#[cfg(feature = "server")]
pub use calls::{
    AdoptionCalls, EndpointCalls, FdbCalls, NatCalls, NetworkCalls, PortCalls, PublicationCalls,
    Service, UplinkCalls, WatchCalls,
};
pub use client::{Client, ClientError, Stream};
pub use doctor::{Cleaned, Finding};
pub use endpoint::{Attach, Detach, Endpoint, EndpointSet, Join, Via};
pub use error::{ApiError, ErrorCode};
pub use explain::{
    ArpFields, ArpOperation, DropInfo, ExplainRequest, Explanation, FrameSpec, IcmpFields,
    LinkFields, Output, Reply, Step, TagType, TcpFields, TcpFlag, UdpFields, Verdict, VlanTag,
    parse_hex,
};
pub use fdb::{FdbAdd, FdbEntry, FdbFilter, FdbFlush, FdbKey, FdbKind, Flushed};
pub use nat::*;
pub use net_words::{AddressRange, PortRange, Protocol};
pub use network::{Network, NetworkCreate, StormLimits};
pub use policy::{Action, Policy, Rule, Way};
pub use port::{
    AdminState, Counters, Direction, Lock, Mirror, PcapSpeed, Port, PortAdd, PortKind, PortSet,
    PortState, Rate, VlanMode,
};
pub use publish::{Listener, Outside, Publication, PublicationCreate};
pub use routing::{
    Dependence, ExternalPrefix, Masquerade, Nat, NetworkSet, Preset, Routing, UplinkChoice,
};
pub use status::{DropRow, Drops, PortDrops, PortsStatus, Status, WorkerStatus};
#[cfg(feature = "stub")]
pub use stub::{Asked, Stub};
pub use trace::{TraceCount, TraceEvent, TraceRequest, TracedFrame};
pub use uplink::{Uplink, UplinkAdd, UplinkState};
pub use words::{Mac, Name, Netns, ParseWordError, VlanId};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/clearway/clearway.sock";

/// Where the interface describes itself.
pub const OPENAPI: &str = "/openapi.json";

/// How a call is asked.
pub use hyper::Method;
