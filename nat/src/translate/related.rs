//! ICMP errors: to which connection does the packet belong that one quotes, and how did its
//! sender know it?
//!
//! An error about a packet of a connection goes to the packet's sender, and quotes it as that
//! sender sent it (RFC 5508, 4; RFC 4787 REQ-12). What it quotes travelled the other way than the
//! error does, so the error goes where an answer to the quoted packet would go:
//!
//! ```text
//!   A:a -> P:p   ==>   E:x -> P:p  --->  P, or a router before it
//!                      error to E, quotes E:x -> P:p    ==>    error to A, quotes A:a -> P:p
//! ```
//! Errors change nothing: no connection begins, lives longer or ends by one (RFC 5382 REQ-9, 10;
//! RFC 5508 REQ-4). An attacker can make them up, so one that quotes no live connection is dropped.

use super::{External, Translator, Turn, caller};
use crate::table::{Key, OURS, other};
use crate::{Inside, Translation, Tuple};
use pipeline::{DropReason, NetworkId};
use std::net::IpAddr;

/// How an ICMP error goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Related {
    /// Its receiver: the sender of the packet it quotes. Its network is the uplink for somebody
    /// outside.
    pub receiver: Inside,
    /// The error's destination address.
    pub dst: IpAddr,
    /// The source address of an error that an inside host sends: the address that the packet's
    /// receiver is known by. An error from outside keeps its own.
    pub src: IpAddr,
    /// The addresses of the packet it quotes, as that packet's sender wrote them.
    pub quoted: Translation,
}

impl Translator<'_> {
    /// An error that an inside host sends about a packet from the world; `quoted` is that packet as
    /// the host got it.
    ///
    /// # Errors
    /// `IcmpUnrelated` when it belongs to no live connection.
    pub fn related_outbound(
        &self,
        from: NetworkId,
        quoted: &Tuple,
        external: &External<'_>,
    ) -> Result<Related, DropReason> {
        let answer = quoted.reversed();
        let shard = self.shard_out(&caller(from, &answer, external), &answer);
        self.relate(shard, &Key::translated(from, external.network, &answer))
    }

    /// An error from the world about a packet that was sent there; `quoted` is that packet as it
    /// left.
    ///
    /// # Errors
    /// As [`Self::related_outbound`].
    pub fn related_inbound(
        &self,
        quoted: &Tuple,
        external: &External<'_>,
    ) -> Result<Related, DropReason> {
        let answer = quoted.reversed();
        let shard = self.shard_in(&answer);
        self.relate(shard, &Key::translated(external.network, OURS, &answer))
    }

    /// An error that an inside host sends to one of the uplink's own addresses, about a packet that
    /// was turned back (RFC 5508 REQ-7).
    ///
    /// # Errors
    /// As [`Self::related_outbound`].
    pub fn related_hairpin(
        &self,
        from: NetworkId,
        quoted: &Tuple,
        external: &External<'_>,
    ) -> Result<Related, DropReason> {
        let answer = quoted.reversed();
        match self.turn(&caller(from, &answer, external), &answer) {
            Turn::Once(shard) => {
                return self.relate(shard, &Key::translated(from, OURS, &answer));
            }
            Turn::Answer(shard) => {
                let related = self.relate(shard, &Key::translated(from, OURS, &answer));
                if related.is_ok() {
                    return related;
                }
            }
            Turn::Around => {}
        }
        // Two sessions: undo the second's translation, then the first's.
        let half = self.related_outbound(from, quoted, external)?;
        let met = Tuple {
            protocol: quoted.protocol,
            src: half.quoted.src,
            dst: half.quoted.dst,
        };
        self.related_inbound(&met, external)
    }

    /// An error about a packet that is not translated, in whichever direction.
    ///
    /// # Errors
    /// As [`Self::related_outbound`].
    pub fn related_followed(
        &self,
        from: NetworkId,
        to: NetworkId,
        quoted: &Tuple,
    ) -> Result<Related, DropReason> {
        let answer = quoted.reversed();
        let shard = self.shard_followed(from, to, &answer);
        self.relate(shard, &Key::followed(from, to, &answer))
    }

    /// The error goes as `answer` would.
    fn relate(&self, shard: usize, answer: &Key) -> Result<Related, DropReason> {
        let shard = self.tables.lock(shard);
        let (at, side) = shard.find(answer).ok_or(DropReason::IcmpUnrelated)?;
        let session = shard
            .get(at)
            .filter(|session| !self.view().is_over(session))
            .ok_or(DropReason::IcmpUnrelated)?;
        let answer = session.translation(side, &shard.externals);
        Ok(Related {
            receiver: session.inside(other(side)),
            dst: answer.dst.ip,
            src: answer.src.ip,
            quoted: Translation {
                src: answer.dst,
                dst: answer.src,
            },
        })
    }
}
