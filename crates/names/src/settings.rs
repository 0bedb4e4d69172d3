//! The bounds, in one place. The defaults are for a host; tests shorten the waits.

use std::time::Duration;

/// Limits of a [`crate::Server`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long one of the host's resolvers may take for one answer.
    pub upstream_timeout: Duration,
    /// How often each of them is asked before the answer is SERVFAIL.
    pub upstream_tries: u32,
    /// Questions of one client address that may wait for an answer from outside at once.
    pub client_in_flight: usize,
    /// Questions of all clients that may.
    pub total_in_flight: usize,
    /// Questions a second from one client address, answered from anywhere; as many may come at
    /// once. Below what one network's loop can answer, so that dropping the rest keeps it free.
    pub client_rate: u32,
    /// TCP connections of one client address.
    pub client_connections: usize,
    /// TCP connections of all clients.
    pub total_connections: usize,
    /// How long a TCP client may take for its next question, and to read an answer
    /// (RFC 7766 section 6.2.3: a few seconds).
    pub tcp_idle: Duration,
    /// Answers from outside that are remembered.
    pub cache_entries: usize,
    /// Bytes that they may take.
    pub cache_bytes: usize,
    /// The longest that an answer is remembered, and the longest TTL that is passed on.
    pub max_ttl: Duration,
    /// The longest that the absence of a name is remembered (RFC 2308 section 5).
    pub max_negative_ttl: Duration,
    /// How long a failure is remembered (RFC 9520 section 3.2: at least a second): a client that
    /// repeats a question nobody answers does not keep the host's resolvers busy with it.
    pub failure_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upstream_timeout: Duration::from_secs(2),
            upstream_tries: 2,
            client_in_flight: 64,
            total_in_flight: 1024,
            client_rate: 10_000,
            client_connections: 16,
            total_connections: 256,
            tcp_idle: Duration::from_secs(5),
            cache_entries: 8192,
            cache_bytes: 4 << 20,
            max_ttl: Duration::from_secs(3600),
            max_negative_ttl: Duration::from_secs(60),
            failure_ttl: Duration::from_secs(1),
        }
    }
}
