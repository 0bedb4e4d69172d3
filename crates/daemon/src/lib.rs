//! The daemon: one process that owns ports, workers and state, and answers the API.
//!
//! ```text
//! run ── config      what the operator wrote
//!  ├──── socket      one daemon a socket: lock, mode, group
//!  ├──── api::server ◁── manager: networks, endpoints, ports, the dataplane
//!  └──── signals     SIGTERM, SIGINT: a clean stop
//! ```
//!
//! No frame ever comes here: the dataplane's workers carry them on threads of their own.

mod activation;
pub mod config;
pub mod craft;
pub mod leftovers;
mod listeners;
pub mod manager;
mod plan;
mod run;
mod socket;
mod store;

pub use run::{Args, run};
