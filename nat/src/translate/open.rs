//! How a session begins: who is called, may it be, is there room, and by which external port?
//!
//! Everything that can refuse comes before anything is changed: a connection that is refused has
//! cost nobody theirs. A question ([`pipeline::Effects::None`]) stops before the changes.

use super::{Caller, External, Passed, outer};
use crate::flow::{Flow, Segment};
use crate::table::{
    Addr, Admission, Candidate, Class, End, Endpoint, External as Outer, Hold, Key, Link, OURS,
    Party, Session, Shard, Tally, Traffic, UNLEASED, View,
};
use crate::tcp::{Side, Tracker};
use crate::{Dependence, Inside, Published, Tables, Translation, TransportAddr, Tuple};
use pipeline::{DropReason, NetworkId};

/// A session that may begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opening<'a> {
    /// From inside to the world.
    Out { caller: Caller<'a>, to: NetworkId },
    /// From the world to a published port, or to whoever holds it.
    In { external: &'a External<'a> },
    /// From inside to a published port.
    Back { caller: Caller<'a> },
    /// Without translation.
    Followed { from: NetworkId, to: NetworkId },
}

/// The packet that may begin it.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) published: &'a Published,
    pub(super) tables: &'a Tables,
    pub(super) flow: &'a Flow,
    /// A session whose place it takes.
    pub(super) stale: Option<u32>,
    /// The tally of the endpoint that will hold it, where it is known already.
    pub(super) tally: Option<Tally>,
}

impl Request<'_> {
    /// The endpoint that the called port is published for: of several backends the one that falls to
    /// this client.
    fn callee(&self, from: NetworkId) -> Option<Inside> {
        let Tuple { protocol, src, dst } = self.flow.tuple;
        let client = Inside {
            network: from,
            addr: src,
        };
        let draw = || self.tables.draw_for(protocol, client);
        self.published.inside_of(protocol, dst, draw)
    }
}

/// Why no session begins.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may not.
    Drop(DropReason),
    /// The shard does not know the endpoint: come again with its tally.
    Unknown(Endpoint),
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// A session that is about to be made.
#[derive(Debug, Clone, Copy)]
struct NewSession {
    initiator: Party,
    responder: Party,
    held_by: Side,
    hold: Hold,
    /// The uplink that has the external addresses.
    uplink: NetworkId,
    /// The first session of a mapping that has to end for it.
    evicts: Option<u32>,
}

/// Begins a session; `admit` is asked whether the one it calls may be called.
#[inline(never)]
pub(super) fn open(
    shard: &mut Shard,
    opening: &Opening<'_>,
    asked: &Request<'_>,
    admit: impl FnOnce(Inside) -> Result<(), DropReason>,
) -> Result<Passed, Refusal> {
    let view = asked.view;
    let mut draft = draft(shard, opening, asked)?;
    let tracker = match &asked.flow.segment {
        Segment::Tcp(segment) => Some(Tracker::new(segment)?),
        Segment::Other => None,
    };
    admit(Inside {
        network: draft.responder.network,
        addr: draft.responder.addr,
    })?;
    let endpoint = draft.endpoint();
    let Some(tally) = shard.tally(endpoint).or_else(|| asked.tally.clone()) else {
        return Err(Refusal::Unknown(endpoint));
    };
    let rules = view.settings.rules(endpoint.network);
    let victim = shard.room((endpoint, &tally, rules.quota), asked.stale, view)?;
    // The callee's connection does not go for a call to it (hairpin), which would find nobody.
    if victim.is_some_and(|at| shard.is_known_as(at, asked.flow.tuple.dst)) {
        return Err(DropReason::NatTableFull.into());
    }
    match opening {
        Opening::Out { caller, .. } | Opening::Back { caller, .. } => {
            draft.leave(shard, caller, asked)?;
        }
        Opening::In { .. } | Opening::Followed { .. } => {}
    }
    if !draft.is_unanswered(shard, asked) {
        return Err(opening.taken().into());
    }
    let carried = Passed {
        translation: Translation {
            src: draft.initiator.seen_as.unwrap_or(draft.initiator.addr),
            dst: draft.responder.addr,
        },
        receiver: Inside {
            network: draft.responder.network,
            addr: draft.responder.addr,
        },
    };
    if view.is_live() {
        let permits =
            rules.behaviour.filtering == Dependence::AddressDependent && draft.hold.is_exclusive();
        let session = draft
            .session(shard, asked, tracker, permits)
            .ok_or(DropReason::NatTableFull)?;
        if let Some(first) = draft.evicts {
            shard.evict_mapping(first, view);
        }
        if let Some(victim) = victim {
            shard.evict(victim, view);
        }
        shard.insert(session, (endpoint, tally), view.now);
    }
    Ok(carried)
}

/// The session as far as it is known before anybody was asked.
fn draft(
    shard: &mut Shard,
    opening: &Opening<'_>,
    asked: &Request<'_>,
) -> Result<NewSession, DropReason> {
    let (tuple, view) = (&asked.flow.tuple, asked.view);
    let plain = |network, addr| Party {
        network,
        addr,
        seen_as: None,
    };
    Ok(match *opening {
        Opening::Out { caller, to } => NewSession {
            initiator: plain(caller.inside.network, tuple.src),
            responder: plain(to, tuple.dst),
            held_by: Side::Initiator,
            hold: Hold::Nothing,
            uplink: to,
            evicts: None,
        },
        Opening::In { external } => {
            let (to, hold) = match asked.callee(external.network) {
                Some(to) => (to, Hold::Nothing),
                None => shard.resident_for(&outer(external, tuple.dst.ip), tuple, view)?,
            };
            NewSession {
                initiator: plain(external.network, tuple.src),
                responder: Party {
                    network: to.network,
                    addr: to.addr,
                    seen_as: Some(tuple.dst),
                },
                held_by: Side::Responder,
                hold,
                uplink: external.network,
                evicts: None,
            }
        }
        Opening::Back { caller } => {
            let callee = asked.callee(caller.inside.network);
            let to = callee.ok_or(DropReason::NoMapping)?;
            NewSession {
                initiator: plain(caller.inside.network, tuple.src),
                responder: Party {
                    network: to.network,
                    addr: to.addr,
                    seen_as: Some(tuple.dst),
                },
                held_by: Side::Initiator,
                hold: Hold::Nothing,
                uplink: caller.external.network,
                evicts: None,
            }
        }
        Opening::Followed { from, to } => NewSession {
            initiator: plain(from, tuple.src),
            responder: plain(to, tuple.dst),
            held_by: if !view.settings.is_inside(from) && view.settings.is_inside(to) {
                Side::Responder
            } else {
                Side::Initiator
            },
            hold: Hold::Nothing,
            uplink: from,
            evicts: None,
        },
    })
}

impl Opening<'_> {
    /// The reason when the answers would be those of another session: the same two ends already
    /// talk by another of the external ports that lead there.
    const fn taken(&self) -> DropReason {
        match self {
            Self::In { .. } => DropReason::Filtered,
            Self::Out { .. } | Self::Back { .. } | Self::Followed { .. } => {
                DropReason::PortsExhausted
            }
        }
    }
}

impl NewSession {
    /// Returns whether answers would find no session but this.
    fn is_unanswered(&self, shard: &Shard, asked: &Request<'_>) -> bool {
        let (answers, asks) = (&self.responder, &self.initiator);
        let answer = Tuple {
            protocol: asked.flow.tuple.protocol,
            src: answers.addr,
            dst: asks.seen_as.unwrap_or(asks.addr),
        };
        let to = match asks.seen_as {
            Some(_) => OURS,
            None => asks.network,
        };
        let key = match (asks.seen_as, answers.seen_as) {
            // Both directions are one key.
            (None, None) => return true,
            (Some(_), _) | (_, Some(_)) => Key::translated(answers.network, to, &answer),
        };
        let ends = |first| shard.is_in_mapping(&key, first);
        shard.is_free(&key, asked.stale, asked.view) || self.evicts.is_some_and(ends)
    }

    fn endpoint(&self) -> Endpoint {
        let holder = match self.held_by {
            Side::Initiator => &self.initiator,
            Side::Responder => &self.responder,
        };
        Endpoint {
            network: holder.network,
            ip: holder.addr.ip.into(),
            v6: holder.addr.ip.is_ipv6(),
        }
    }

    /// Gives the caller its external address and port.
    fn leave(
        &mut self,
        shard: &mut Shard,
        caller: &Caller<'_>,
        asked: &Request<'_>,
    ) -> Result<(), DropReason> {
        let tuple = &asked.flow.tuple;
        let external = caller.external;
        let want = Candidate {
            inside: caller.inside,
            protocol: tuple.protocol,
            behaviour: asked.view.settings.rules(caller.inside.network).behaviour,
            uplink: external.network,
            addresses: external.addresses,
            range: external.ports,
            spared: external.spared,
            published: asked.published,
            peer: tuple.dst.into(),
            answers: (self.responder.network, Addr::from(self.responder.addr)),
            stale: asked.stale,
        };
        let exit = asked
            .published
            .external_at(tuple.protocol, caller.inside, external.addresses);
        let Some((host, port)) = exit else {
            let claim = shard.claim(&want, asked.view)?;
            self.initiator.seen_as = Some(TransportAddr::new(claim.ip, claim.port));
            self.hold = claim.hold;
            self.evicts = claim.evicts;
            return Ok(());
        };
        let ip = host
            .or_else(|| Shard::paired(external.addresses, caller.inside))
            .ok_or(DropReason::NoRoute)?;
        self.initiator.seen_as = Some(TransportAddr::new(ip, port));
        Ok(())
    }

    /// `None` when there is no place for another external address.
    fn session(
        &self,
        shard: &mut Shard,
        asked: &Request<'_>,
        tracker: Option<Tracker>,
        permits: bool,
    ) -> Option<Session> {
        let mut end = |party: &Party| {
            let seen_as = match party.seen_as {
                Some(seen) => Some(shard.externals.place(Outer {
                    network: self.uplink,
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
        let now = asked.view.now.as_nanos();
        Some(Session {
            ends: [end(&self.initiator)?, end(&self.responder)?],
            owner: 0,
            protocol: asked.flow.tuple.protocol,
            v6: asked.flow.tuple.src.ip.is_ipv6(),
            class: Class::Opening,
            hold: self.hold,
            last: now,
            born: now,
            tracker,
            traffic: [
                Traffic {
                    packets: 1,
                    bytes: asked.flow.len as u64,
                },
                Traffic::default(),
            ],
            siblings: Link::ALONE,
            peers: Link::ALONE,
            held_by: self.held_by,
            answered: false,
            permits,
            serial: 0,
            leases: UNLEASED,
        })
    }
}

impl Shard {
    /// Returns whose a dynamic port is, and what holds it, when the packet's sender may come in by it.
    fn resident_for(
        &mut self,
        external: &Outer,
        tuple: &Tuple,
        view: &View<'_>,
    ) -> Result<(Inside, Hold), DropReason> {
        let peer = Addr::from(tuple.src);
        match self.gate(external, tuple.protocol, tuple.dst.port, peer, view) {
            Admission::Nobody => Err(DropReason::NoMapping),
            Admission::Shut => Err(DropReason::Filtered),
            Admission::Open(first) => {
                let session = self.get(first).ok_or(DropReason::NoMapping)?;
                Ok((session.inside(session.held_by), session.hold))
            }
        }
    }

    fn is_known_as(&self, at: u32, addr: TransportAddr) -> bool {
        let seen = |session: &Session| session.seen_as(session.held_by, &self.externals);
        self.get(at).and_then(seen) == Some(addr)
    }

    /// Returns whose a dynamic port is.
    pub(super) fn resident(
        &mut self,
        external: &Outer,
        tuple: &Tuple,
        view: &View<'_>,
    ) -> Result<Inside, DropReason> {
        let first = self.tenant(external, tuple.protocol, tuple.dst.port, view)?;
        let session = self.get(first).ok_or(DropReason::NoMapping)?;
        Ok(session.inside(session.held_by))
    }
}
