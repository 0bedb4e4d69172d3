//! Connections as they outlive a restart.
//!
//! What is stored is what cannot be told from anything else; indices, lists and owners are made
//! anew. A connection is taken back only where packets would look for it today: not when its port
//! was published or unpublished since, when its port is somebody else's, or when there is no room.
//!
//! A file that cannot be trusted (damaged, of an older daemon) yields connections that nobody has at
//! worst: what no packet could have made is refused.

use super::leases::UNLEASED;
use super::{
    Class, End, Endpoint, External, Hold, Holder, Link, Party, Session, Settings, Shard, Tables,
    Traffic, View,
};
use crate::tcp::{Phase, Side, Tracker};
use crate::{Dependence, Inside, Published};
use pipeline::{Effects, Instant, NetworkId};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire::IpProtocol;

/// A connection, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The transport protocol.
    #[serde(with = "protocol")]
    pub protocol: IpProtocol,
    /// Who began it.
    pub initiator: Party,
    /// Who was called.
    pub responder: Party,
    /// Which end is the inside endpoint.
    pub holder: Holder,
    /// The uplink that has the external addresses; any network when there are none.
    #[serde(with = "network")]
    pub uplink: NetworkId,
    /// Its share of its external port.
    pub hold: Hold,
    /// How far TCP has come.
    pub tracker: Option<Tracker>,
    /// Whether the responder has spoken.
    pub answered: bool,
    /// Packets and bytes that the initiator and the responder sent.
    pub traffic: [Traffic; 2],
    /// How long ago the last packet was that counts.
    pub idle: Duration,
    /// How long ago it began.
    pub age: Duration,
}

/// Whether a stored connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It does.
    Added,
    /// It is over, there is no room for it, or packets would not find it.
    Refused,
}

/// The traffic that may have passed between the export and the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gap {
    /// Nothing: it was exported when no packet passed any more.
    Silent,
    /// Packets that were not followed.
    Unseen,
}

impl Tables {
    /// Every connection that is not over.
    #[must_use]
    pub fn export(&self, settings: &Settings, now: Instant) -> Vec<Stored> {
        let view = View {
            settings,
            now,
            effects: Effects::None,
        };
        let mut all = Vec::new();
        self.walk(|shard, at| all.extend(shard.stored(at, &view)));
        all
    }

    /// Takes back a connection. Quotas do not refuse it: it was admitted once.
    pub fn import(
        &self,
        stored: &Stored,
        (published, settings): (&Published, &Settings),
        now: Instant,
    ) -> Imported {
        let Some(home) = self.home(stored, published) else {
            return Imported::Refused;
        };
        let endpoint = stored.endpoint();
        let tally = self.tally(endpoint, Effects::Live);
        let view = View {
            settings,
            now,
            effects: Effects::Live,
        };
        let mut shard = self.lock(home);
        match shard.restored(stored, &view) {
            Some(session) => {
                shard.insert(session, (endpoint, tally), now);
                Imported::Added
            }
            None => Imported::Refused,
        }
    }

    /// The shard where its packets are looked up (see `table.rs`), if both directions agree.
    fn home(&self, stored: &Stored, published: &Published) -> Option<usize> {
        let (holder, peer) = stored.ends();
        let inside = |party: &Party| Inside {
            network: party.network,
            addr: party.addr,
        };
        let protocol = stored.protocol;
        let Some(seen) = holder.seen_as else {
            let pair = self.of_pair(protocol, inside(holder), inside(peer));
            return (peer.seen_as.is_none() && stored.hold == Hold::Nothing).then_some(pair);
        };
        let is_published = published.leads_inside(protocol, seen);
        let is_callee = peer.seen_as.map(|seen| {
            let mut backends = published.backends_of(protocol, seen);
            backends.any(|to| to == inside(peer))
        });
        match (is_published, stored.hold, is_callee) {
            (true, Hold::Nothing, None) => Some(self.of_peer(protocol, peer.addr)),
            (true, Hold::Nothing, Some(true)) => {
                Some(self.of_ports(protocol, holder.addr.port, peer.addr.port))
            }
            (_, Hold::Nothing, _) | (true, ..) | (false, _, Some(false)) => None,
            (false, ..) => {
                let port = Self::of_port(seen.port);
                (port == Self::of_port(holder.addr.port)).then_some(port)
            }
        }
    }
}

impl Stored {
    pub(crate) fn is_established(&self) -> bool {
        self.tracker.map_or(self.answered, |tracker| {
            tracker.phase() == Phase::Established
        })
    }

    pub(crate) fn after(&self, gap: Gap, time: Duration) -> Self {
        let mut tracker = self.tracker;
        if let (Some(tracker), Gap::Unseen) = (&mut tracker, gap) {
            tracker.outdate();
        }
        Self {
            tracker,
            idle: self.idle.saturating_add(time),
            age: self.age.saturating_add(time),
            ..*self
        }
    }

    /// The inside end, and the other.
    const fn ends(&self) -> (&Party, &Party) {
        match self.holder {
            Holder::Initiator => (&self.initiator, &self.responder),
            Holder::Responder => (&self.responder, &self.initiator),
        }
    }

    fn endpoint(&self) -> Endpoint {
        let (holder, _) = self.ends();
        Endpoint {
            network: holder.network,
            ip: holder.addr.ip.into(),
            v6: holder.addr.ip.is_ipv6(),
        }
    }
}

impl Shard {
    fn stored(&mut self, at: u32, view: &View<'_>) -> Option<Stored> {
        self.settle(at, view.now);
        let session = self.get(at).filter(|session| !view.is_over(session))?;
        let entry = session.entry(&self.externals, 0, view.now);
        let external = session.ends.iter().find_map(|end| end.seen_as);
        Some(Stored {
            protocol: entry.protocol,
            initiator: entry.initiator,
            responder: entry.responder,
            holder: entry.holder,
            uplink: external.map_or(entry.initiator.network, |place| {
                self.externals.get(place).network
            }),
            hold: session.hold,
            tracker: session.tracker,
            answered: session.answered,
            traffic: session.traffic,
            idle: view.now.since(Instant::from_nanos(session.last)),
            age: entry.age,
        })
    }

    fn session_of(&mut self, stored: &Stored, view: &View<'_>) -> Option<Session> {
        let mut end = |party: &Party| {
            let seen_as = match party.seen_as {
                Some(seen) => Some(self.externals.place(External {
                    network: stored.uplink,
                    ip: seen.ip.into(),
                    v6: seen.ip.is_ipv6(),
                })?),
                None => None,
            };
            Some(End {
                ip: party.addr.ip.into(),
                network: party.network,
                port: party.addr.port,
                seen_port: party.seen_as.map_or(0, |seen| seen.port),
                seen_as,
            })
        };
        let ago = |time: Duration| {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            view.now.as_nanos().saturating_sub(nanos)
        };
        let behaviour = view.settings.rules(stored.endpoint().network).behaviour;
        Some(Session {
            ends: [end(&stored.initiator)?, end(&stored.responder)?],
            owner: 0,
            protocol: stored.protocol,
            v6: stored.initiator.addr.ip.is_ipv6(),
            class: Class::Opening,
            hold: stored.hold,
            last: ago(stored.idle),
            born: ago(stored.age),
            tracker: stored.tracker,
            traffic: stored.traffic,
            siblings: Link::ALONE,
            peers: Link::ALONE,
            held_by: match stored.holder {
                Holder::Initiator => Side::Initiator,
                Holder::Responder => Side::Responder,
            },
            answered: stored.answered,
            permits: behaviour.filtering == Dependence::AddressDependent
                && stored.hold.is_exclusive(),
            serial: 0,
            leases: UNLEASED,
        })
    }

    /// The session, if it may be added.
    fn restored(&mut self, stored: &Stored, view: &View<'_>) -> Option<Session> {
        let mut session = self.session_of(stored, view)?;
        session.class = session.state();
        let parties = [stored.initiator, stored.responder];
        let one_family = parties.iter().all(|party| {
            let seen = party.seen_as.unwrap_or(party.addr);
            party.addr.ip.is_ipv6() == session.v6 && seen.ip.is_ipv6() == session.v6
        });
        let is_tcp = session.protocol == IpProtocol::TCP;
        let fits = one_family
            && is_tcp == session.tracker.is_some()
            && session.tracker.is_none_or(|tracker| tracker.is_possible())
            && !view.is_over(&session)
            && self.len() < self.capacity;
        let is_new = [Side::Initiator, Side::Responder]
            .into_iter()
            .all(|side| self.find(&session.key(side, &self.externals)).is_none());
        (fits && is_new && self.may_hold(&session)).then_some(session)
    }
}

/// A protocol by its number.
mod protocol {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &IpProtocol, to: S) -> Result<S::Ok, S::Error> {
        it.0.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpProtocol, D::Error> {
        u8::deserialize(from).map(IpProtocol)
    }
}

/// A network by its number.
pub(super) mod network {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(in crate::table) fn serialize<S: Serializer>(
        it: &NetworkId,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        it.0.serialize(to)
    }

    pub(in crate::table) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<NetworkId, D::Error> {
        u32::deserialize(from).map(NetworkId)
    }
}
