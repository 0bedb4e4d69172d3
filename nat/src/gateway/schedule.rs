//! What was said on a link unasked, and when more of it is due.

use pipeline::Instant;
use std::net::IpAddr;
use wire::MacAddr;

/// What was announced on a link.
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
    /// What was told, as a hash.
    pub(super) told: u64,
    /// How often, since it became that.
    pub(super) times: u32,
    pub(super) last: Option<Instant>,
    pub(super) next: Instant,
}
