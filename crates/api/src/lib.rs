//! Requests to the daemon, its answers, and the client that asks.
//!
//! Every request is a plain value with a `check` that compares it with the ranges its fields name;
//! the daemon checks again what only it can know (does the network exist, is the name free).
//! The nouns that users name are `model`'s: those that have a form of their own (a name, a MAC
//! address, a VLAN) cannot hold anything else, so a path such as `../../etc` never gets as far as a
//! file name. What is added here is what the daemon answers: things as they are.
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
mod filter;
mod lease;
mod nat;
mod network;
mod port;
mod publish;
#[cfg(feature = "server")]
pub mod server;
pub mod socket;
mod status;
#[cfg(feature = "stub")]
mod stub;
mod trace;
mod uplink;

mod endpoint;

pub use adoption::{Adopt, Adoption};
pub use calls::CALLS;
#[cfg(feature = "server")]
pub use calls::{
    AdoptionCalls, EndpointCalls, FdbCalls, LeaseCalls, NatCalls, NetworkCalls, PortCalls,
    PublicationCalls, Service, UplinkCalls, WatchCalls,
};
pub use client::{Client, ClientError, Stream};
pub use doctor::{Cleaned, Finding};
pub use endpoint::{Detach, Endpoint};
pub use error::{ApiError, ErrorCode};
pub use explain::{
    ArpFields, ArpOperation, DropInfo, ExplainRequest, Explanation, FrameSpec, IcmpFields,
    LinkFields, Output, Reply, Step, TagType, TcpFields, TcpFlag, UdpFields, Verdict, VlanTag,
    parse_hex,
};
pub use fdb::{FdbAdd, FdbEntry, FdbFlush, FdbKey, FdbKind, Flushed};
pub use filter::Filter;
pub use lease::{Lease, Leased, LeasedFlow};
pub use model::{
    Action, AddressRange, AdminState, Attach, Datapath, DatapathKind, Dependence, Direction,
    EndpointSet, ExternalPrefix, FdbLimits, Invalid, IpProtocol, Join, Listener, Lock,
    MacAddr as Mac, Masquerade, Mirror, Name, Nat, NatChange, NatState, NeighbourState, Netns,
    NetworkCreate, NetworkSet, OneOrMore, Outside, ParseMacError, PcapSpeed, Policy, PortAdd,
    PortKind, PortRange, PortSet, Preset, PublicationCreate, Rate, Routing, Rule, RuleDirection,
    SETTINGS, Setting, StormLimits, UplinkAdd, UplinkChoice, Via, VlanId, VlanMode, VlanSet,
    on_or_off,
};
pub use nat::{NatCount, NatEntry, NatEvent, NatTuple, Neighbour};
pub use network::Network;
pub use port::{Counters, Port, PortState};
pub use publish::Publication;
pub use status::{DatapathStatus, DropRow, Drops, PortDrops, PortsStatus, Status, WorkerStatus};
#[cfg(feature = "stub")]
pub use stub::{Asked, Stub};
pub use trace::{TraceCount, TraceEvent, TraceRequest, TracedFrame};
pub use uplink::{Uplink, UplinkState};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/clearway/clearway.sock";

/// Where the interface describes itself.
pub const OPENAPI: &str = "/openapi.json";

/// How a call is asked.
pub use hyper::Method;
