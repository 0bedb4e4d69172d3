//! What the daemon does to the kernel's network configuration, and takes back.
//!
//! ```text
//!   Netns::by_name("web")?            which namespace that is, remembered by device and inode
//!     .run(|inside| {                 a fresh thread that entered it, and ends with the closure
//!         inside.links()?             rtnetlink, spoken from there
//!             .configure("eth0", ..)? MAC, MTU, up: one request
//!     })
//! ```
//! What else it does there:
//!
//! * [`Uplink`] shares a NIC with the host: packets for containers are taken from it before the
//!   host's stack sees them ([`Captures`]), by traffic control alone.
//! * [`GatewayPort`] gives a stack (the host's, or that of the daemon's servers in a [`Private`]
//!   namespace) a TAP at the networks' gateways' addresses.
//! * [`Links::make_veth`] and [`Links::hide`] make a container's veth and what stands for it here.
//! * [`Links::take_over`] takes a container's veth off the bridge it is a port of, and
//!   [`Links::give_back`] puts it there again.
//! * [`Facts`] about the host are read afresh whenever a [`Monitor`] says that something changed.
//! * [`doctor`] finds and undoes all of it by its marks, when whoever made it is gone.
//!
//! [`execute()`] carries out a list of steps and takes the done ones back when one fails;
//! [`teardown()`] goes on past failures and lists them. What the steps are is the caller's
//! business: this crate knows namespaces, links, addresses, routes and traffic control.
//!
//! Calls block for as long as the kernel takes (well below a millisecond each) and may be made
//! from any thread; an asynchronous caller makes them where blocking is allowed.

mod bridge;
mod capture;
pub mod doctor;
mod endpoint;
mod error;
mod execute;
mod facts;
mod gateway_port;
mod links;
mod monitor;
mod netlink;
mod netns;
mod note;
mod private;
mod reserved;
mod routes;
mod sysctl;
mod traffic_control;
mod uplink;

pub use bridge::{Bridge, VethEnds};
pub use capture::{Captures, Ports};
pub use error::Error;
pub use execute::{Failed, execute, teardown};
pub use facts::Facts;
pub use gateway_port::{Gateway, GatewayPort, Stack};
pub use links::{LinkState, Links};
pub use monitor::Monitor;
pub use netns::{Identity, Inside, NamespaceRef, Netns};
pub use private::Private;
pub use routes::Route;
pub use uplink::{Uplink, UplinkConfig};
