//! Traffic between namespaces without external programs.
//!
//! Servers bind port 0 and tell the client where. A socket keeps the namespace it was made in,
//! so only its making happens inside; the bytes are moved by ordinary scoped threads with
//! blocking sockets. Nothing here waits longer than [`PATIENCE`] for a sign of life: a path that
//! carries nothing is an error or a counted loss, never a hang.

mod connections;
mod meet;
mod ping;
mod tcp;
mod trace;
mod udp;
mod way;

pub use connections::{Connections, ConnectionsReport, tcp_connections};
pub use meet::{Meeting, tcp_meet};
pub use ping::{Ping, PingReport, ping};
pub use tcp::{Amount, BulkReport, LatencyReport, tcp_bulk, tcp_bulk_by, tcp_exact, tcp_ping_pong};
pub use trace::{Hop, trace};
pub use udp::{UdpLoad, UdpReport, udp_count};
pub use way::Way;

use std::time::Duration;

/// How long a peer may stay silent before it counts as dead.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Smallest, middle and largest of some durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The smallest.
    pub min: Duration,
    /// The middle one.
    pub median: Duration,
    /// The largest.
    pub max: Duration,
}

impl Spread {
    /// The spread of `times`; `None` when there are none.
    #[must_use]
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        Some(Self {
            min: *sorted.first()?,
            median: sorted[sorted.len() / 2],
            max: *sorted.last()?,
        })
    }
}
