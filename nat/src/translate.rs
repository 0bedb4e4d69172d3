//! Stage 6, translate: with which addresses does a packet go on?
//!
//! ```text
//!                    outbound                                      A:a -> P:p   ==>   E:x -> P:p
//!    inside A:a  ------------------>  world P:p
//!                    inbound                                       P:p -> E:x   ==>   P:p -> A:a
//!               <------------------
//!                    hairpin                                       A:a -> E:y   ==>   E:x -> B:b
//!    inside A:a  ------------------>  inside B:b, known as E:y
//!                    follow                                        nothing is translated
//!    anybody     <----------------->  anybody
//! ```
//! All four do the same: the packet's key leads to a session, which lets it pass and says its
//! addresses; else the packet may begin one. Policy is asked exactly then (`admit`). ICMP errors
//! are in `related.rs`.
//!
//! # What is refused, and why so silently
//! A packet from outside that no mapping wants is dropped and never answered. For a SYN that is
//! more than RFC 5382 REQ-4 asks (six seconds of silence, in which the inside may send a SYN of its
//! own, which opens both ways, REQ-2).
//!
//! # Hairpin to a dynamic port
//! Such a packet goes out by the caller's mapping and in by the callee's, as if it had met itself in
//! the world (RFC 4787 REQ-9): the callee's filter sees the caller's *external* address, and two
//! hosts behind this NAT punch holes as two hosts elsewhere do. It takes two sessions and two
//! shards, one after the other. A port that many endpoints share cannot be called so.

mod known;
mod open;
mod related;
#[cfg(test)]
mod tests;

pub(crate) use known::Known;
pub use related::Related;

use crate::flow::Flow;
use crate::table::{External as Outer, Key, OURS, SessionLookup, Shard, View, other, pool_of};
use crate::tcp::Side;
use crate::{Inside, PortRange, Published, Settings, Tables, Translation, Tuple};
use open::{Opening, Refusal, Request, open};
use pipeline::{DropReason, Effects, Instant, NetworkId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::IpProtocol;

/// An uplink, to who translates.
#[derive(Debug, Clone, Copy)]
pub struct External<'a> {
    /// Its network.
    pub network: NetworkId,
    /// Every address of it that [`Translator::inbound`] is called for. Those of a family are a pool:
    /// an endpoint keeps to one of them.
    pub addresses: &'a [IpAddr],
    /// The ports that mappings are made of.
    pub ports: PortRange,
    /// Except these.
    pub spared: &'a BTreeSet<(IpProtocol, u16)>,
}

/// The stage: the live tables, the snapshot's, and the moment.
#[derive(Debug, Clone, Copy)]
pub struct Translator<'a> {
    /// The connections.
    pub tables: &'a Tables,
    /// The published ports.
    pub published: &'a Published,
    /// How inside networks are treated.
    pub settings: &'a Settings,
    /// The time.
    pub now: Instant,
    /// Whether the packet is really there. If not, nothing changes, and the answer is what a live
    /// packet would get.
    pub effects: Effects,
}

impl Translator<'_> {
    /// A packet from inside to the world: it leaves with an external source.
    ///
    /// # Errors
    /// The error of `admit` for a new connection; `Untranslatable`, `NoRoute` (the uplink has no address
    /// of the packet's family), `PortsExhausted`, `QuotaExceeded`, `NatTableFull`, `Tcp*`.
    #[inline]
    pub fn outbound(
        &self,
        from: NetworkId,
        flow: &Flow,
        external: &External<'_>,
        admit: impl FnOnce() -> Result<(), DropReason>,
    ) -> Result<Translation, DropReason> {
        let tuple = &flow.tuple;
        if pool_of(tuple.protocol).is_none() {
            return Err(DropReason::Untranslatable);
        }
        let caller = caller(from, tuple, external);
        let shard = self.shard_out(&caller, tuple);
        let key = Key::translated(from, external.network, tuple);
        let opening = Opening::Out {
            caller,
            to: external.network,
        };
        let carried = self.carry(shard, &key, flow, &opening, |_| admit())?;
        Ok(carried.translation)
    }

    /// A packet from the world to one of the uplink's addresses.
    ///
    /// # Errors
    /// `NoMapping`, `Filtered`, and those of [`Self::outbound`].
    #[inline]
    pub fn inbound(
        &self,
        flow: &Flow,
        external: &External<'_>,
        admit: impl FnOnce(Inside) -> Result<(), DropReason>,
    ) -> Result<(Inside, Translation), DropReason> {
        let tuple = &flow.tuple;
        let shard = self.shard_in(tuple);
        let key = Key::translated(external.network, OURS, tuple);
        let opening = Opening::In { external };
        let carried = self.carry(shard, &key, flow, &opening, admit)?;
        Ok((carried.receiver, carried.translation))
    }

    /// A packet from inside to one of the uplink's own addresses, and back inside from there.
    ///
    /// # Errors
    /// `HairpinLoop` when it would come back to its own sender; `Filtered`, also where the sender's
    /// network does not turn packets back; `NoMapping`; those of [`Self::outbound`].
    pub fn hairpin(
        &self,
        from: NetworkId,
        flow: &Flow,
        external: &External<'_>,
        admit: impl FnOnce(Inside) -> Result<(), DropReason>,
    ) -> Result<(Inside, Translation), DropReason> {
        let tuple = &flow.tuple;
        if pool_of(tuple.protocol).is_none() {
            return Err(DropReason::Untranslatable);
        }
        let caller = caller(from, tuple, external);
        let may = self.settings.rules(from).behaviour.hairpin;
        let admit = |to: Inside| {
            if to == caller.inside {
                return Err(DropReason::HairpinLoop);
            }
            if !may {
                return Err(DropReason::Filtered);
            }
            admit(to)
        };
        let key = Key::translated(from, OURS, tuple);
        match self.turn(&caller, tuple) {
            Turn::Once(shard) => {
                let opening = Opening::Back { caller };
                let carried = self.carry(shard, &key, flow, &opening, admit)?;
                Ok((carried.receiver, carried.translation))
            }
            Turn::Answer(shard) => {
                if let Some(carried) = self.known(shard, &key, flow)? {
                    return Ok((carried.receiver, carried.translation));
                }
                self.around(from, flow, external, admit)
            }
            Turn::Around => self.around(from, flow, external, admit),
        }
    }

    /// A packet that keeps its addresses: routed or bridged.
    ///
    /// # Errors
    /// The error of `admit` for a new connection; `QuotaExceeded`, `NatTableFull`, `Tcp*`.
    pub fn follow(
        &self,
        from: NetworkId,
        to: NetworkId,
        flow: &Flow,
        admit: impl FnOnce() -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        let shard = self.shard_followed(from, to, &flow.tuple);
        let key = Key::followed(from, to, &flow.tuple);
        let opening = Opening::Followed { from, to };
        self.carry(shard, &key, flow, &opening, |_| admit())
            .map(|_| ())
    }

    fn shard_followed(&self, from: NetworkId, to: NetworkId, tuple: &Tuple) -> usize {
        let end = |network, addr| Inside { network, addr };
        self.tables
            .of_pair(tuple.protocol, end(from, tuple.src), end(to, tuple.dst))
    }

    /// The shard of what an inside host and the world say to each other, from the inside.
    #[inline]
    fn shard_out(&self, caller: &Caller<'_>, tuple: &Tuple) -> usize {
        if self.is_published(caller, tuple) {
            self.tables.of_peer(tuple.protocol, tuple.dst)
        } else {
            Tables::of_port(tuple.src.port)
        }
    }

    /// The same, from the world.
    #[inline]
    fn shard_in(&self, tuple: &Tuple) -> usize {
        if self.published.leads_inside(tuple.protocol, tuple.dst) {
            self.tables.of_peer(tuple.protocol, tuple.src)
        } else {
            Tables::of_port(tuple.dst.port)
        }
    }

    /// Returns where a packet from inside to one of our own addresses is known.
    fn turn(&self, caller: &Caller<'_>, tuple: &Tuple) -> Turn {
        let target = self.published.inside_port(tuple.protocol, tuple.dst);
        match (self.is_published(caller, tuple), target) {
            (false, Some(_)) => Turn::Once(Tables::of_port(tuple.src.port)),
            (true, Some(port)) => {
                let own = caller.inside.addr.port;
                Turn::Once(self.tables.of_ports(tuple.protocol, own, port))
            }
            (true, None) => Turn::Answer(Tables::of_port(tuple.dst.port)),
            (false, None) => Turn::Around,
        }
    }

    #[inline]
    fn is_published(&self, caller: &Caller<'_>, tuple: &Tuple) -> bool {
        let addresses = caller.external.addresses;
        self.published
            .leads_outside(tuple.protocol, caller.inside, addresses)
    }

    /// Out by the sender's mapping, in by the receiver's.
    fn around(
        &self,
        from: NetworkId,
        flow: &Flow,
        external: &External<'_>,
        admit: impl FnOnce(Inside) -> Result<(), DropReason>,
    ) -> Result<(Inside, Translation), DropReason> {
        let tuple = &flow.tuple;
        let to = self.tables.lock(Tables::of_port(tuple.dst.port)).resident(
            &outer(external, tuple.dst.ip),
            tuple,
            &self.view(),
        )?;
        let mut admit = Some(admit);
        let mut ask = || admit.take().map_or(Ok(()), |admit| admit(to));
        let out = self.outbound(from, flow, external, &mut ask)?;
        let met = Flow {
            tuple: Tuple {
                protocol: tuple.protocol,
                src: out.src,
                dst: out.dst,
            },
            ..*flow
        };
        self.inbound(&met, external, |_| ask())
    }

    #[inline]
    fn view(&self) -> View<'_> {
        View {
            settings: self.settings,
            now: self.now,
            effects: self.effects,
        }
    }

    /// Lets a packet pass if it belongs to a session.
    fn known(&self, shard: usize, key: &Key, flow: &Flow) -> Result<Option<Passed>, DropReason> {
        let view = self.view();
        let mut shard = self.tables.lock(shard);
        match shard.see(key, &flow.segment, &view) {
            SessionLookup::Live(at, side) => pass(&mut shard, at, side, flow, &view).map(Some),
            SessionLookup::Stale(_) | SessionLookup::Absent => Ok(None),
        }
    }

    /// Lets a packet pass, or begin a session as `opening` says.
    #[inline]
    fn carry(
        &self,
        shard: usize,
        key: &Key,
        flow: &Flow,
        opening: &Opening<'_>,
        admit: impl FnOnce(Inside) -> Result<(), DropReason>,
    ) -> Result<Passed, DropReason> {
        let view = self.view();
        let mut admit = Some(admit);
        let mut tally = None;
        loop {
            let mut shard = self.tables.lock(shard);
            let stale = match shard.see(key, &flow.segment, &view) {
                SessionLookup::Live(at, side) => return pass(&mut shard, at, side, flow, &view),
                SessionLookup::Stale(at) => Some(at),
                SessionLookup::Absent => None,
            };
            let ask = |to| admit.take().map_or(Ok(()), |admit| admit(to));
            let asked = Request {
                view: &view,
                published: self.published,
                tables: self.tables,
                flow,
                stale,
                tally: tally.take(),
            };
            match open(&mut shard, opening, &asked, ask) {
                Ok(carried) => return Ok(carried),
                Err(Refusal::Drop(reason)) => return Err(reason),
                // An endpoint's first session in this shard; the shard is not held meanwhile.
                Err(Refusal::Unknown(endpoint)) => {
                    drop(shard);
                    tally = Some(self.tables.tally(endpoint, self.effects));
                }
            }
        }
    }
}

/// Who begins a connection from inside.
#[derive(Debug, Clone, Copy)]
struct Caller<'a> {
    inside: Inside,
    external: &'a External<'a>,
}

#[inline]
fn caller<'e>(from: NetworkId, tuple: &Tuple, external: &'e External<'e>) -> Caller<'e> {
    Caller {
        inside: Inside {
            network: from,
            addr: tuple.src,
        },
        external,
    }
}

/// How many sessions turn a packet back, and where.
enum Turn {
    /// One, in this shard, to a published port's endpoint.
    Once(usize),
    /// One, in this shard, if the packet answers to one; else two.
    Answer(usize),
    /// Two.
    Around,
}

/// A packet that passes, with its translation and its receiver.
struct Passed {
    translation: Translation,
    receiver: Inside,
}

#[inline]
fn pass(
    shard: &mut Shard,
    at: u32,
    side: Side,
    flow: &Flow,
    view: &View<'_>,
) -> Result<Passed, DropReason> {
    let session = shard.get(at).ok_or(DropReason::NoMapping)?;
    let carried = Passed {
        translation: session.translation(side, &shard.externals),
        receiver: session.inside(other(side)),
    };
    shard.pass(at, side, flow, view)?;
    Ok(carried)
}

fn outer(external: &External<'_>, ip: IpAddr) -> Outer {
    Outer {
        network: external.network,
        ip: ip.into(),
        v6: ip.is_ipv6(),
    }
}
