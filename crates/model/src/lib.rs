//! The nouns that users name, declared once: what a value may be, how it is spelled, and what is
//! said when it is wrong.
//!
//! The HTTP interface, the state, the command line, Docker's options and the dataplane use these
//! types. A value of one of them that was parsed is well formed; what is compared with other values
//! (does the network exist, is the address free) is `control`'s to check.
//!
//! Nothing here does I/O. `serde` adds the form in JSON, `schema` its description in OpenAPI.

mod invalid;
#[macro_use]
mod word;

mod connection;
mod datapath;
mod endpoint;
mod name;
mod nat;
mod network;
mod policy;
mod port;
mod publication;
mod range;
mod routing;
mod several;
mod uplink;

pub use connection::{NatChange, NatState, NeighbourState};
pub use datapath::{Datapath, DatapathKind};
pub use endpoint::{Attach, EndpointSet, Join, Via};
pub use invalid::Invalid;
pub use name::{Name, Netns, check_ifname};
pub use nat::{Behaviour, Dependence, Nat, PortChoice, Preset, Timeouts};
pub use network::{FdbLimits, NetworkCreate, StormLimits};
pub use policy::{Action, Policy, Rule, RuleDirection};
pub use port::{
    AdminState, Direction, Lock, Mirror, PcapSpeed, PortAdd, PortKind, PortSet, Rate, VlanMode,
    VlanSet, check_host_mac, check_limits,
};
pub use publication::{Listener, Outside, PublicationCreate};
pub use range::{AddressRange, PortRange};
pub use routing::*;
pub use several::OneOrMore;
pub use uplink::{ExternalPrefix, Masquerade, UplinkAdd, UplinkChoice};
pub use wire::{IpProtocol, MacAddr, ParseMacError, ParseVlanError, VlanId};
