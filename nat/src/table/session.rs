//! One connection: two ends, and what has been seen of them.
//!
//! ```text
//!   outbound    initiator A:a seen as E:x  <->  responder P:p
//!   inbound     initiator P:p              <->  responder A:a seen as E:x
//!   hairpin     initiator A:a seen as E:x  <->  responder B:b seen as E:y
//!   followed    initiator A:a              <->  responder B:b
//! ```
//! A packet from one end to the other has the sender's own address and the address that the
//! receiver is seen as; it leaves with the address that the sender is seen as and the receiver's
//! own. So one rule translates all four, in both directions.
//!
//! A session is three cache lines: who it is (all that a lookup reads), how it is going, how much.
//! External addresses are few and stand in a list; a session holds its place there.

use super::key::{Addr, Ip, Key, Kind, OURS};
use crate::tcp::{Phase, Side, Tracker};
use crate::{Inside, Translation, TransportAddr};
use pipeline::NetworkId;
use std::num::NonZeroU16;
use wire::IpProtocol;

/// One connection.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Session {
    pub(crate) ends: [End; 2],
    pub(crate) owner: u32,
    pub(crate) protocol: IpProtocol,
    pub(crate) v6: bool,
    pub(crate) class: Class,
    pub(crate) hold: Hold,

    /// Nanoseconds of the last packet that counts.
    pub(crate) last: u64,
    /// Nanoseconds of the first packet.
    pub(crate) born: u64,
    pub(crate) tracker: Option<Tracker>,

    pub(crate) traffic: [Traffic; 2],
    /// Others of the same mapping.
    pub(crate) siblings: Link,
    /// Others of the same owner and class.
    pub(crate) peers: Link,
    /// Which end holds it: the endpoint whose quota it counts to.
    pub(crate) held_by: Side,
    /// Whether the responder has spoken.
    pub(crate) answered: bool,
    /// Whether the peer's address is counted among those that may answer.
    pub(crate) permits: bool,
    /// Tells it from others at the same place, before and after it.
    pub(crate) serial: u32,
    /// The slots of the leases by which it also passes, by who sends.
    pub(crate) leases: [u32; 2],
}

/// A session and its share of the indices fit into what is promised (see `table.rs`).
const _: () = assert!(size_of::<Option<Session>>() <= 192);

/// One end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ip: Ip,
    pub(crate) network: NetworkId,
    pub(crate) port: u16,
    pub(crate) seen_port: u16,
    /// The place of the address it is seen as; `None` when that is its own.
    pub(crate) seen_as: Option<NonZeroU16>,
}

/// How useful a session is, as an eviction sees it; picks the timeout too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Closing,
    Opening,
    Established,
}

/// A session's share of its external port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Hold {
    /// Nothing: the port is published, or there is none.
    Nothing,
    /// It is one of a mapping's sessions, whatever their peers.
    Endpoint,
    /// It is one of a mapping's sessions, all with the same peer's address.
    Address,
    /// It alone is the mapping.
    Alone,
    /// The port is shared with sessions that have other peers.
    Shared,
}

/// Packets and bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// Packets, a superframe being one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// A place in a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

/// The end of a list.
pub(crate) const NIL: u32 = u32::MAX;

impl Link {
    pub(crate) const ALONE: Self = Self {
        prev: NIL,
        next: NIL,
    };
}

impl Hold {
    /// Returns whether nobody else's session may use the port.
    pub(crate) const fn is_exclusive(self) -> bool {
        matches!(self, Self::Endpoint | Self::Address | Self::Alone)
    }
}

impl Class {
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl From<Phase> for Class {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Opening => Self::Opening,
            Phase::Established => Self::Established,
            Phase::Closing => Self::Closing,
        }
    }
}

/// The external addresses in use, by their place; places begin at 1.
#[derive(Debug, Default)]
pub(crate) struct Externals(Vec<External>);

/// An external address: the uplink, and the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct External {
    pub(crate) network: NetworkId,
    pub(crate) ip: Ip,
    pub(crate) v6: bool,
}

impl Externals {
    #[inline]
    pub(crate) fn get(&self, place: NonZeroU16) -> &External {
        &self.0[usize::from(place.get()) - 1]
    }

    /// Its place, when it has one. Addresses of uplinks are few; who configures a thousand pays for
    /// it at new connections only.
    pub(crate) fn find(&self, external: &External) -> Option<NonZeroU16> {
        let at = self.0.iter().position(|known| known == external)?;
        NonZeroU16::new(u16::try_from(at + 1).ok()?)
    }

    /// Its place, given now if it has none; `None` when 65,535 have one.
    pub(crate) fn place(&mut self, external: External) -> Option<NonZeroU16> {
        if let Some(place) = self.find(&external) {
            return Some(place);
        }
        let place = NonZeroU16::new(u16::try_from(self.0.len() + 1).ok()?)?;
        self.0.push(external);
        Some(place)
    }
}

impl End {
    #[inline]
    pub(crate) const fn own(&self) -> Addr {
        Addr {
            ip: self.ip,
            port: self.port,
        }
    }

    /// The address the other end knows it by.
    #[inline]
    pub(crate) fn seen(&self, externals: &Externals) -> Addr {
        match self.seen_as {
            Some(place) => Addr {
                ip: externals.get(place).ip,
                port: self.seen_port,
            },
            None => self.own(),
        }
    }
}

#[inline]
pub(crate) const fn other(side: Side) -> Side {
    match side {
        Side::Initiator => Side::Responder,
        Side::Responder => Side::Initiator,
    }
}

#[inline]
pub(crate) const fn index(side: Side) -> usize {
    match side {
        Side::Initiator => 0,
        Side::Responder => 1,
    }
}

impl Session {
    #[inline]
    pub(crate) fn end(&self, side: Side) -> &End {
        &self.ends[index(side)]
    }

    /// The end whose quota it counts to: inside.
    #[inline]
    pub(crate) fn holder(&self) -> &End {
        self.end(self.held_by)
    }

    /// The other one.
    pub(crate) fn peer(&self) -> &End {
        self.end(other(self.held_by))
    }

    #[inline]
    pub(crate) fn is_translated(&self) -> bool {
        self.ends[0].seen_as.is_some() || self.ends[1].seen_as.is_some()
    }

    /// Returns what packets from `side` are looked up by.
    #[inline]
    pub(crate) fn key(&self, side: Side, externals: &Externals) -> Key {
        let (sender, receiver) = (self.end(side), self.end(other(side)));
        Key {
            kind: Kind {
                protocol: self.protocol,
                v6: self.v6,
                translated: self.is_translated(),
            },
            from: sender.network,
            to: match receiver.seen_as {
                Some(_) => OURS,
                None => receiver.network,
            },
            src: sender.own(),
            dst: receiver.seen(externals),
        }
    }

    /// The side that sends packets of this key.
    #[inline]
    pub(crate) fn side_of(&self, key: &Key, externals: &Externals) -> Option<Side> {
        [Side::Initiator, Side::Responder]
            .into_iter()
            .find(|&side| self.end(side).own() == key.src && self.key(side, externals) == *key)
    }

    /// Returns what packets from `side` leave with.
    #[inline]
    pub(crate) fn translation(&self, side: Side, externals: &Externals) -> Translation {
        Translation {
            src: self.end(side).seen(externals).to_transport(self.v6),
            dst: self.end(other(side)).own().to_transport(self.v6),
        }
    }

    /// The endpoint at `side`.
    #[inline]
    pub(crate) fn inside(&self, side: Side) -> Inside {
        let end = self.end(side);
        Inside {
            network: end.network,
            addr: end.own().to_transport(self.v6),
        }
    }

    /// The address that the end at `side` is seen as, when it is not its own.
    pub(crate) fn seen_as(&self, side: Side, externals: &Externals) -> Option<TransportAddr> {
        let end = self.end(side);
        end.seen_as?;
        Some(end.seen(externals).to_transport(self.v6))
    }

    /// The class that its state makes it.
    #[inline]
    pub(crate) fn state(&self) -> Class {
        match &self.tracker {
            Some(tracker) => tracker.phase().into(),
            None if self.answered => Class::Established,
            None => Class::Opening,
        }
    }
}
