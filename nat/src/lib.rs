//! NAT and gateway: pure, no I/O, no clock, no threads.
//!
//! The router is attached to networks of the switch (`config.rs` draws how). A frame that is sent
//! to the router's MAC leaves layer 2 and meets two stages:
//!
//! ```text
//!   5 route       to whom does it go, may it?          route.rs, gateway/, policy.rs
//!   6 translate   with which addresses?                translate.rs, published.rs, table/
//!        |
//!        v
//!   Forward(network, Rewrite) | Taken | DropReason
//! ```
//! They decide; [`Rewrite::apply`] changes the frame afterwards. What the router says itself (ARP,
//! echo, ICMP errors, advertisements) goes to an [`Outbox`].
//!
//! **One shard a frame.** Connections are kept in shards, each with a lock of its own. The shard
//! follows from the port on *our* side: of an outbound packet its source port, of an inbound one
//! the external port it comes to. An external port is only ever given to an inside port of the
//! same shard, so both directions, and the ICMP errors about them, meet in one shard. A published
//! port leads, through the immutable configuration, to an inside port; its connections are spread
//! by the peer's address instead, which both directions know as well. Nothing ever holds two
//! locks.

mod arrival;
mod bridge;
pub mod config;
mod due;
mod flow;
mod fragments;
mod gateway;
mod icmp;
mod interface;
mod leave;
mod martian;
mod nptv6;
mod outbox;
mod policy;
mod ports;
mod published;
mod relate;
mod repeat;
mod revoke;
mod rewrite;
mod route;
mod router;
mod routes;
mod suppose;
mod table;
pub mod tcp;
mod translate;
mod tuple;

pub use arrival::{Arrival, Routed};
pub use bridge::{bridge, observe};
pub use config::{Config, InterfaceConfig, Publication, Role};
pub use due::Due;
pub use flow::{Flow, Segment};
pub use fragments::{Fragments, Later, Lost, PacketVerdict, Piece};
pub use gateway::{Gateway, Neighbour, Neighbours};
pub use icmp::{Translations, quoted_tuple, translations};
pub use model::{
    Action, Behaviour, Dependence, ExternalPrefix, Masquerade, Nat, NeighbourState, Policy,
    PortChoice, PortRange, Preset, Routing, Rule, RuleDirection, Timeouts,
};
pub use nptv6::{PrefixError, PrefixPair};
pub use outbox::{Origin, Outbox, Post};
pub use published::{PublishError, Published};
pub use repeat::{Barrier, Direction, NextHop, Repeatable, begun, repeatable};
pub use rewrite::{Rewrite, Translation};
pub use route::route;
pub use router::{ConfigError, Live, Router};
pub use table::{
    Change, Ending, Entry, Event, Gap, Hold, Holder, Imported, Ledger, NatSettings, Over, Party,
    Phase, Repeated, SessionId, Settings, Stored, Tables, Traffic,
};
pub use translate::{External, Related, Translator};
pub use tuple::{Inside, Kind, TransportAddr, Tuple, addresses, classify};
