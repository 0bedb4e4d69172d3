//! Connections as people see them.

use super::session::{Class, Externals, Session, Traffic};
use crate::TransportAddr;
use crate::tcp::Side;
use pipeline::{Instant, NetworkId};
use std::time::Duration;
use wire::IpProtocol;

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The transport protocol.
    pub protocol: IpProtocol,
    /// Who began it.
    pub initiator: Party,
    /// Who was called.
    pub responder: Party,
    /// The inside endpoint, whose quota it counts to.
    pub holder: Holder,
    /// How far it has come, in a word or two.
    pub state: &'static str,
    /// How far it has come.
    pub phase: Phase,
    /// Packets and bytes that the initiator sent.
    pub sent: Traffic,
    /// Packets and bytes that the responder sent.
    pub answered: Traffic,
    /// How long it may be silent from now on; zero in an event, and when it is over but not yet
    /// swept.
    pub remaining: Duration,
    /// How long ago it began.
    pub age: Duration,
}

/// One end of a connection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Party {
    /// Its network: an uplink for somebody outside.
    #[serde(with = "super::stored::network")]
    pub network: NetworkId,
    /// Its own address.
    pub addr: TransportAddr,
    /// The address that the other end knows it by, when it is another one.
    pub seen_as: Option<TransportAddr>,
}

/// Who talks to whom, by which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) protocol: IpProtocol,
    pub(crate) initiator: Party,
    pub(crate) responder: Party,
}

/// Which end is the inside endpoint.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Holder {
    /// Who began.
    Initiator,
    /// Who was called.
    Responder,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Only one side has spoken; of TCP, the handshake is not done.
    Opening,
    /// Both have.
    Established,
    /// It is over, as TCP understands it.
    Closing,
}

impl Entry {
    /// The inside end.
    #[must_use]
    pub const fn inside(&self) -> &Party {
        match self.holder {
            Holder::Initiator => &self.initiator,
            Holder::Responder => &self.responder,
        }
    }

    /// The other end.
    #[must_use]
    pub const fn peer(&self) -> &Party {
        match self.holder {
            Holder::Initiator => &self.responder,
            Holder::Responder => &self.initiator,
        }
    }
}

impl Session {
    pub(super) fn ends(&self, externals: &Externals) -> Ends {
        let party = |side| {
            let inside = self.inside(side);
            Party {
                network: inside.network,
                addr: inside.addr,
                seen_as: self.seen_as(side, externals),
            }
        };
        Ends {
            protocol: self.protocol,
            initiator: party(Side::Initiator),
            responder: party(Side::Responder),
        }
    }

    /// As people see it, when it may be silent for `timeout` nanoseconds.
    pub(super) fn entry(&self, externals: &Externals, timeout: u64, now: Instant) -> Entry {
        let Ends {
            protocol,
            initiator,
            responder,
        } = self.ends(externals);
        let until = self.last.saturating_add(timeout);
        let [sent, answered] = self.traffic;
        Entry {
            protocol,
            initiator,
            responder,
            holder: match self.held_by {
                Side::Initiator => Holder::Initiator,
                Side::Responder => Holder::Responder,
            },
            state: match (&self.tracker, self.answered) {
                (Some(tracker), _) => tracker.label(),
                (None, true) => "two-way",
                (None, false) => "one-way",
            },
            phase: match self.class {
                Class::Opening => Phase::Opening,
                Class::Established => Phase::Established,
                Class::Closing => Phase::Closing,
            },
            sent,
            answered,
            remaining: Duration::from_nanos(until.saturating_sub(now.as_nanos())),
            age: Duration::from_nanos(now.as_nanos().saturating_sub(self.born)),
        }
    }
}
