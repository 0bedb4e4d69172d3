//! What the daemon does to the kernel's network configuration, and takes back.
//!
//! ```text
//!   Netns::by_name("web")?            which namespace that is, remembered by device and inode
//!     .run(|inside| {                 a fresh thread that entered it, and ends with the closure
//!         inside.links()?             rtnetlink, spoken from there
//!             .configure("eth0", ..)? MAC, MTU, up: one request
//!     })
//! ```
//! [`execute()`] carries out a list of steps and takes the done ones back when one fails;
//! [`teardown()`] goes on past failures and lists them. What the steps are is the caller's
//! business: this crate knows namespaces, links, addresses and routes.
//!
//! Calls block for as long as the kernel takes (well below a millisecond each) and may be made
//! from any thread; an asynchronous caller makes them where blocking is allowed.

mod capture;
pub mod doctor;
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

pub use capture::{Captures, Ports};
pub use error::Error;
pub use execute::{Failed, execute, teardown};
pub use facts::Facts;
pub use gateway_port::{Gateway, GatewayPort, Stack};
pub use links::{LinkState, Links};
pub use monitor::Monitor;
pub use netns::{Identity, Inside, Netns, Place};
pub use private::Private;
pub use routes::Route;
pub use uplink::{Uplink, UplinkConfig};
