//! The session of a packet that has passed, found again.

use super::{External, Translator, Turn, caller};
use crate::table::{Class, Externals, Key, OURS, Session, SessionId};
use crate::tcp::Side;
use crate::{Translation, Tuple};
use pipeline::NetworkId;

/// A session, as it is to a packet of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) session: SessionId,
    /// Who sent the packet.
    pub(crate) side: Side,
    pub(crate) class: Class,
    /// By how many bits the sender's windows are scaled, if it is TCP.
    pub(crate) scale: Option<u8>,
    /// Whether segments outside of the window pass.
    pub(crate) liberal: bool,
    /// Its packets, of both sides.
    pub(crate) packets: u64,
    /// Those of the responder.
    pub(crate) answers: u64,
    /// As [`Repeatable::alike`](crate::Repeatable::alike).
    pub(crate) alike: bool,
}

impl Translator<'_> {
    /// The session of a packet that kept its ends.
    pub(crate) fn known_followed(
        &self,
        from: NetworkId,
        into: NetworkId,
        tuple: &Tuple,
    ) -> Option<Known> {
        let shard = self.shard_followed(from, into, tuple);
        self.find(shard, &Key::followed(from, into, tuple), None)
    }

    /// The session of a packet that left for the world as `outer` says.
    pub(crate) fn known_outbound(
        &self,
        from: NetworkId,
        tuple: &Tuple,
        external: &External<'_>,
        outer: &Translation,
    ) -> Option<Known> {
        let shard = self.shard_out(&caller(from, tuple, external), tuple);
        let key = Key::translated(from, external.network, tuple);
        self.find(shard, &key, Some(outer))
    }

    /// The session of a packet that came from the world.
    pub(crate) fn known_inbound(
        &self,
        tuple: &Tuple,
        external: &External<'_>,
        outer: &Translation,
    ) -> Option<Known> {
        let key = Key::translated(external.network, OURS, tuple);
        self.find(self.shard_in(tuple), &key, Some(outer))
    }

    /// The session of a packet that turned back inside, if that was a single one.
    pub(crate) fn known_hairpin(
        &self,
        from: NetworkId,
        tuple: &Tuple,
        external: &External<'_>,
        outer: &Translation,
    ) -> Option<Known> {
        match self.turn(&caller(from, tuple, external), tuple) {
            Turn::Once(shard) | Turn::Answer(shard) => {
                self.find(shard, &Key::translated(from, OURS, tuple), Some(outer))
            }
            Turn::Around => None,
        }
    }

    fn find(&self, shard: usize, key: &Key, outer: Option<&Translation>) -> Option<Known> {
        let mut shard = self.tables.lock(shard);
        let (at, side) = shard.find(key)?;
        shard.settle(at, self.now);
        let session = shard.get(at)?;
        let rules = self.settings.rules(session.holder().network);
        let fits = outer.is_none_or(|outer| session.translation(side, &shard.externals) == *outer);
        fits.then_some(Known {
            session: shard.identify(at)?,
            side,
            class: session.class,
            scale: session.tracker.map(|tracker| tracker.scale(side)),
            liberal: rules.behaviour.tcp_liberal,
            packets: session.traffic.iter().map(|it| it.packets).sum(),
            answers: session.traffic[1].packets,
            alike: self.is_alike(session, &shard.externals),
        })
    }

    /// Whether others from any port of the initiator go the same way: those of a port that is published for one
    /// endpoint, and those that keep their ends. Those that leave by a port of their own do not.
    fn is_alike(&self, session: &Session, externals: &Externals) -> bool {
        let called = session.seen_as(Side::Responder, externals);
        match (session.seen_as(Side::Initiator, externals), called) {
            (None, None) => true,
            (None, Some(called)) => {
                let mut backends = self.published.backends_of(session.protocol, called);
                backends.next().is_some() && backends.next().is_none()
            }
            (Some(_), _) => false,
        }
    }
}
