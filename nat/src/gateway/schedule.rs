//! Messages that were sent on a link unasked, and when more are due.

use pipeline::Instant;
use std::net::IpAddr;
use wire::MacAddr;

/// Addresses that were announced on a link.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    pub(super) mac: Option<MacAddr>,
    pub(super) told: Vec<Announced>,
}

/// One address, and how often it was announced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) ip: IpAddr,
    pub(super) times: u8,
    pub(super) last: Instant,
}

/// When a link is advertised to everybody.
#[derive(Debug, Default)]
pub(super) struct Advertisements {
    /// The content that was sent, as a hash.
    pub(super) told: u64,
    /// How often, since it became that.
    pub(super) times: u32,
    pub(super) last: Option<Instant>,
    pub(super) next: Instant,
}
