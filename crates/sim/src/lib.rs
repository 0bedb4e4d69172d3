//! A deterministic simulation of the switch and the hosts around it.
//!
//! The real pipeline carries real frames (`dataplane::Forwarder` over `port::memory` ports)
//! between hosts with a TCP/IP stack of their own (smoltcp), over wires that lose, repeat, delay
//! and reorder as a seed says, in a time that jumps from event to event: an hour of traffic takes
//! seconds, and the same seed gives the same run to the last byte of its [`Report`].
//!
//! ```
//! # use clearway_sim as sim;
//! use sim::{HostConfig, Ping, Reach, Wire, World};
//! # use {pipeline::{NetworkId, PortId}, switch::{Port, fdb::{Fdb, FdbConfig}}, std::time::Duration};
//! # let network = switch::Network { id: NetworkId(0), mtu: 1500, forward_reserved: false, fdb: Fdb::new(FdbConfig::default(), 1).into(), gateway: None, key: None };
//! let mut world = World::new(7);
//! world.network(network);
//! let [a, b] = [1, 2].map(HostConfig::numbered);
//! let port = world.host(Port::plain(PortId(0), NetworkId(0)), &a, Wire::of(Duration::from_micros(50)));
//! world.host(Port::plain(PortId(1), NetworkId(0)), &b, Wire::default());
//! world.start(port, Ping::new(a.addresses(), b.addresses().to_vec(), Reach::All));
//! assert!(world.run_to_end(Duration::from_secs(10)));
//! assert_eq!(world.report().faults(&[]), Vec::<String>::new());
//! ```
//! [`reference`](mod@reference) is the other half of the crate: a switch so dumb that it can be believed.

mod app;
mod host;
mod link;
mod nic;
pub mod reference;
mod report;
mod rng;
mod talker;
mod world;

pub use app::{
    App, Bulk, Complaint, Ping, Probe, Reach, TRIES, TcpReceive, TcpSend, UdpAsk, UdpEcho,
    UdpReceive, UdpSend,
};
pub use host::{HostConfig, Stack};
pub use link::{Fate, Wire};
pub use nic::{Packet, Refused};
pub use report::{Line, Report, Station};
pub use rng::Rng;
pub use talker::{Script, Talker};
pub use world::World;
