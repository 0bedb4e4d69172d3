//! What must hold of the tables whatever happened before, seen through their listing.

use super::site::{self, INSIDE, PLACES, QUOTA};
use nat::{Entry, Inside, Router, TransportAddr};
use pipeline::{Instant, NetworkId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use wire::IpProtocol;

/// An external port, and who talks to it.
type Way = (IpProtocol, TransportAddr, (NetworkId, TransportAddr));

/// # Panics
/// When two connections would get the same packets; when one is at an address or port that is not
/// ours to give, or counted to nobody; when one is left after all were forgotten.
pub(super) fn check(router: &Router, now: Instant) {
    let tables = &router.live.tables;
    let all = router.connections(now, |_| true);
    assert!(all.len() <= tables.len() && tables.len() <= PLACES as usize);
    let mut ways: BTreeMap<Way, &Entry> = BTreeMap::new();
    let mut mapped: BTreeMap<(IpProtocol, TransportAddr), Inside> = BTreeMap::new();
    let mut held: BTreeMap<(NetworkId, IpAddr), u32> = BTreeMap::new();
    for entry in &all {
        assert!(entry.sent.packets > 0, "{entry:?} began with nothing");
        let ends = [
            (&entry.initiator, &entry.responder),
            (&entry.responder, &entry.initiator),
        ];
        for (own, peer) in ends {
            let Some(seen) = own.seen_as else { continue };
            let from = (peer.network, peer.addr);
            let twin = ways.insert((entry.protocol, seen, from), entry);
            assert!(twin.is_none(), "{entry:?} and {twin:?} are one");
            assert!(INSIDE.contains(&own.network), "{entry:?}");
            assert!(site::is_ours(seen.ip), "{entry:?}");
            let inside = Inside {
                network: own.network,
                addr: own.addr,
            };
            if let Some(to) = site::published(entry.protocol, seen) {
                assert_eq!(to, inside, "{entry:?}");
                continue;
            }
            assert!(site::is_dynamic(seen.port), "{entry:?}");
            // The first network's mappings are whole ports, and nobody else's.
            let port = (entry.protocol, seen);
            let other = *mapped.entry(port).or_insert(inside);
            let exclusive = [inside, other].iter().any(|i| i.network == INSIDE[0]);
            assert!(!exclusive || other == inside, "{entry:?} and {other:?}");
        }
        let holder = entry.inside();
        *held.entry((holder.network, holder.addr.ip)).or_default() += 1;
    }
    for ((network, ip), count) in held {
        let counted = tables.held_by(network, ip);
        assert!(count <= counted && counted <= QUOTA, "{count}, {counted}");
    }
    router.retain_connections(now, |_| false);
    assert!(tables.is_empty(), "{} are left", tables.len());
}
