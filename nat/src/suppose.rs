//! A router whose only connection is one that does not exist, for questions of the kind "what if".
//!
//! Whoever asks what would become of a packet asks next what would become of the answer. The packet
//! was not really there, so no connection was made for the answer to belong to: it is made here, in
//! a table of its own, and the live ones never hear of it.

use crate::arrival::Arrival;
use crate::flow::Segment;
use crate::leave::flow;
use crate::router::{Live, Router};
use crate::table::{Holder, Imported, Party, Stored, Tables, Traffic, hold_of};
use crate::tuple::{Kind, Tuple, classify};
use crate::{Translation, TransportAddr};
use pipeline::{Instant, NetworkId};
use std::sync::Arc;
use std::time::Duration;

impl Router {
    /// This router, as it would be once a packet has passed that arrived as `question` and left
    /// into `to`, changed by `outer`. `None` when that would change nothing: its connection is there
    /// already, or is not one.
    #[must_use]
    pub fn supposing(
        &self,
        question: &Arrival<'_>,
        to: NetworkId,
        outer: Option<Translation>,
        now: Instant,
    ) -> Option<Self> {
        let (Kind::Flow(tuple) | Kind::Portless(tuple)) = classify(question.headers)? else {
            return None;
        };
        if self.knows(question.network, &tuple, now) {
            return None;
        }
        let stored = self.begun(question, &tuple, to, outer)?;
        let live = Live {
            tables: Tables::new(ROOM, 0),
            fragments: crate::Fragments::default(),
            gateway: Arc::clone(&self.live.gateway),
            due: crate::Due::default(),
        };
        let tables = (&self.published, &self.settings);
        let added = live.tables.import(&stored, tables, now) == Imported::Added;
        added.then(|| {
            let mut supposed = self.clone();
            supposed.live = Arc::new(live);
            supposed
        })
    }

    /// Returns whether the packet is one of a connection already, as its initiator sends or its responder.
    fn knows(&self, from: NetworkId, tuple: &Tuple, now: Instant) -> bool {
        let sends = |own: &Party, other: &Party| {
            let called = other.seen_as.unwrap_or(other.addr);
            own.network == from && own.addr == tuple.src && called == tuple.dst
        };
        let all = self.connections(now, |entry| {
            entry.protocol == tuple.protocol
                && (sends(&entry.initiator, &entry.responder)
                    || sends(&entry.responder, &entry.initiator))
        });
        !all.is_empty()
    }

    fn begun(
        &self,
        question: &Arrival<'_>,
        tuple: &Tuple,
        to: NetworkId,
        outer: Option<Translation>,
    ) -> Option<Stored> {
        let from = question.network;
        let inner = self.prefixes.inner_tuple(tuple).ok()?;
        let outer = outer.unwrap_or(Translation {
            src: tuple.src,
            dst: tuple.dst,
        });
        let is_ours = |seen: TransportAddr| self.external.contains_key(&seen.ip);
        let initiator = Party {
            network: from,
            addr: inner.src,
            seen_as: Some(outer.src).filter(|seen| *seen != tuple.src && is_ours(*seen)),
        };
        let turned = outer.dst != tuple.dst && is_ours(tuple.dst);
        let responder = Party {
            network: to,
            addr: if turned { outer.dst } else { inner.dst },
            seen_as: turned.then_some(tuple.dst),
        };
        let inside = |network| self.settings.is_inside(network);
        let holder = if inside(from) || !inside(to) {
            Holder::Initiator
        } else {
            Holder::Responder
        };
        let (own, other) = match holder {
            Holder::Initiator => (&initiator, &responder),
            Holder::Responder => (&responder, &initiator),
        };
        let dynamic = own
            .seen_as
            .filter(|seen| !self.published.leads_inside(tuple.protocol, *seen));
        let seen = own.seen_as.or(other.seen_as);
        let tracker = match flow(question, *tuple).segment {
            Segment::Tcp(segment) => Some(crate::tcp::Tracker::new(&segment).ok()?),
            Segment::Other => None,
        };
        Some(Stored {
            protocol: tuple.protocol,
            initiator,
            responder,
            holder,
            uplink: seen.map_or(from, |seen| self.external[&seen.ip]),
            hold: dynamic.map_or(crate::Hold::Nothing, |_| {
                hold_of(&self.settings.rules(own.network).behaviour)
            }),
            tracker,
            answered: false,
            traffic: [Traffic::default(); 2],
            idle: Duration::ZERO,
            age: Duration::ZERO,
        })
    }
}

/// Connections: more than one, in whichever shard it belongs to.
const ROOM: u32 = 1 << 10;
