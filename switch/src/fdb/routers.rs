//! The ports behind which multicast routers are (RFC 4541, 2.1.1).
//!
//! A report that a host belongs to a group is of use to them alone. An entry is a port, however many
//! routers are behind it, so there are never more entries than ports. A container that plays router gets
//! what a switch without this table sends to everybody.

use super::sync::Mutex;
use pipeline::{Instant, PortId};
use std::sync::PoisonError;
use std::time::Duration;

/// The silence after which a router is forgotten. It is longer than routers are silent: queries are
/// 125 seconds apart unless configured otherwise (RFC 3376, 8.2; RFC 3810, 9.2), router advertisements 1800 at
/// most (RFC 4861, 6.2.1). To forget too late costs copies; to forget too early costs groups their members.
const SILENCE: Duration = Duration::from_secs(3600);

/// The ports, each with the time at which it is forgotten.
#[derive(Debug, Default)]
pub(super) struct Routers(Mutex<Vec<(PortId, Instant)>>);

impl Routers {
    /// Remembers that a router was heard on `port`, and forgets those that are silent.
    pub(super) fn hear(&self, port: PortId, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|&(other, until)| other != port && now < until);
        known.push((port, now + SILENCE));
    }

    /// Calls `each` with the ports on which a router was heard.
    pub(super) fn each(&self, now: Instant, mut each: impl FnMut(PortId)) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &(port, _) in known.iter().filter(|&&(_, until)| now < until) {
            each(port);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn known(routers: &Routers, now: u64) -> Vec<PortId> {
        let mut ports = Vec::new();
        routers.each(Instant::from_secs(now), |port| ports.push(port));
        ports
    }

    #[test]
    fn a_port_is_known_once_and_for_an_hour_after_it_was_heard_last() {
        let routers = Routers::default();
        assert_eq!(known(&routers, 0), []);
        for (port, at) in [(1, 0), (2, 100), (1, 200)] {
            routers.hear(PortId(port), Instant::from_secs(at));
        }
        assert_eq!(known(&routers, 3699), [PortId(2), PortId(1)]);
        assert_eq!(known(&routers, 3700), [PortId(1)]);
        assert_eq!(known(&routers, 3800), []);
        routers.hear(PortId(3), Instant::from_secs(3800));
        let held = routers.0.lock().unwrap().len();
        assert_eq!(held, 1, "what is forgotten takes no room");
    }
}
