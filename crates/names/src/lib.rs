//! DNS on the gateway address of each network: the names of its containers, and everything else
//! from the host's resolvers.
//!
//! ```text
//!   publish(Zones) ──> Names                       one immutable snapshot, swapped whole
//!                        │
//!   query ──> server ──> message ──> answer ──┬──> ours: answered in place
//!             limits     parse       decide   ├──> refused, with its one named Refusal
//!                                             └──> forward ──> cache
//!                                                     └──> exchange ──> resolvers of the host
//! ```
//!
//! `zone`, `message`, `answer`, `relay`, `cache`, `limits` and `resolv_conf` are pure: bytes,
//! tables and an `Instant` that is passed in. `resolvers`, `exchange`, `forward` and `server` hold
//! the files, sockets and tasks.
//!
//! Of the DNS libraries the least that does the job is used: `hickory-proto`, for the messages.
//! `hickory-server` brings its own loops, which neither bound what one client may have in flight
//! nor tell by which gateway a query came, and a catalogue of zones where one table is enough.
//! `hickory-resolver` bounds its cache by entries and not by bytes, turns answers into lookups,
//! which loses what a relay must keep (the authority section, the bits AD and CD, records of types
//! unknown to it), and reads the host's configuration once.
//!
//! Attacks that it is designed against: a container that floods its resolver to starve the others
//! (`limits`), that answers itself in a resolver's place (`exchange`), that talks to the outside
//! from an internal network by names it asks for (`answer`), and that sends what no parser expects
//! (`message`).
//!
//! Every type here that is public may be used from any thread.

mod answer;
mod cache;
mod counters;
mod exchange;
mod forward;
mod host_name;
mod limits;
mod message;
mod published;
mod refusal;
mod relay;
mod resolv_conf;
mod resolvers;
mod server;
mod settings;
mod zone;

pub use answer::TTL;
pub use counters::Totals;
pub use host_name::{HostName, NotAHostName};
pub use published::Names;
pub use refusal::Refusal;
pub use resolvers::Resolvers;
pub use server::Server;
pub use settings::Settings;
pub use zone::{Endpoint, Found, Network, NetworkKey, Reach, SandboxKey, View, Zones};
