//! Which external address and port a new connection from inside gets.
//!
//! | mapping, filtering | the port belongs to |
//! |---|---|
//! | endpoint-independent | the inside address and port, whoever is talked to (RFC 4787 REQ-1) |
//! | address-dependent | these and the peer's address |
//! | address- and port-dependent, filtering not as strict | these and the peer |
//! | address- and port-dependent, filtering too | each peer by itself: many share it |
//!
//! Only the last overloads ports (RFC 4787 REQ-3 forbids it where a mapping could be reached by
//! others than its peer): two connections share a port when their peers differ, so 16,384 ports
//! do for more connections than the table holds. Which is what Linux does.
//!
//! Of UDP a port's parity is kept where one such is free (REQ-4: RTP and RTCP are a pair); nobody
//! asks that of the others. When all are held, a mapping ends whose connections are over, the
//! oldest of those looked at and be it the endpoint's own: who opens short connections to one peer
//! for ever needs as many ports as it opens in four minutes, or these.
//!
//! An endpoint keeps to one external address of an uplink that has several (REQ-2, "paired"): the
//! one that wins in a rendezvous of hashes, so that an address more or less moves few endpoints.

use super::events::Ending;
use super::key::{Addr, Key, Kind, OURS, hash_of};
use super::mapping::Owned;
use super::session::{Class, External, Hold, Session};
use super::shard::{Shard, View};
use crate::ports::{Holder, Parity, Pool};
use crate::{Behaviour, Dependence, Inside, PortChoice, PortRange, Published, TransportAddr};
use pipeline::{DropReason, NetworkId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::IpProtocol;

/// A new connection that needs an external port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) inside: Inside,
    pub(crate) protocol: IpProtocol,
    pub(crate) behaviour: Behaviour,
    /// The uplink, its addresses and ports.
    pub(crate) uplink: NetworkId,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) range: PortRange,
    pub(crate) spared: &'a BTreeSet<(IpProtocol, u16)>,
    pub(crate) published: &'a Published,
    /// The peer's address, as the inside knows it.
    pub(crate) peer: Addr,
    /// Where the answers come from, and under which address.
    pub(crate) answers: (NetworkId, Addr),
    /// A session whose place the new one takes.
    pub(crate) stale: Option<u32>,
}

/// The external address and port that a candidate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) hold: Hold,
    /// The first session of the mapping that has to end for it.
    pub(crate) evicts: Option<u32>,
}

/// Whether the connection belongs to a mapping.
enum Joined {
    /// To this one.
    Mapping(Claim),
    /// To one that is over; its address and port.
    Over(TransportAddr),
    /// To none.
    None,
}

/// Mappings looked at for one that may be ended in favour of a new one.
const LOOKS: usize = 32;

impl Shard {
    /// The external address and port for `want`.
    pub(crate) fn claim(
        &mut self,
        want: &Candidate<'_>,
        view: &View<'_>,
    ) -> Result<Claim, DropReason> {
        let hold = hold_of(&want.behaviour);
        let over = match self.joined(want, hold, view) {
            Joined::Mapping(claim) => return Ok(claim),
            Joined::Over(seen) => Some(seen),
            Joined::None => None,
        };
        let ip = Self::paired(want.addresses, want.inside).ok_or(DropReason::NoRoute)?;
        let external = External {
            network: want.uplink,
            ip: ip.into(),
            v6: ip.is_ipv6(),
        };
        let own = want.inside.addr.port;
        let (parity, keep) = match want.behaviour.ports {
            PortChoice::Preserve => (parity(want.protocol, own), want.range.contains(own)),
            PortChoice::Random => (Parity::Any, false),
        };
        let wished = keep && self.may_take(&external, own, want, hold, view);
        let chosen = if wished {
            Some((own, None))
        } else {
            let over = over.filter(|seen| seen.ip == ip).map(|seen| seen.port);
            self.choose((&external, over), parity, want, hold, view)
        };
        let (port, evicts) = chosen.ok_or(DropReason::PortsExhausted)?;
        Ok(Claim {
            ip,
            port,
            hold,
            evicts,
        })
    }

    /// The external address of an endpoint.
    pub(crate) fn paired(addresses: &[IpAddr], inside: Inside) -> Option<IpAddr> {
        let ip = inside.addr.ip;
        let mut own = addresses
            .iter()
            .copied()
            .filter(|address| address.is_ipv4() == ip.is_ipv4());
        let first = own.next()?;
        let weight = |address: IpAddr| {
            let key = (inside.network, ip, address);
            hash_of(&foldhash::fast::FixedState::default(), &key)
        };
        // Most uplinks have one address: no hash is needed.
        let best = own.fold(None, |best, address| {
            let (weighed, value) = best.unwrap_or_else(|| (first, weight(first)));
            let other = weight(address);
            Some(if other > value {
                (address, other)
            } else {
                (weighed, value)
            })
        });
        Some(best.map_or(first, |(address, _)| address))
    }

    /// Returns whether an answer to `external` and `port` would find no session.
    fn is_unanswered(
        &self,
        want: &Candidate<'_>,
        external: &External,
        port: u16,
        view: &View<'_>,
    ) -> bool {
        let (network, src) = want.answers;
        let key = Key {
            kind: Kind {
                protocol: want.protocol,
                v6: external.v6,
                translated: true,
            },
            from: network,
            to: OURS,
            src,
            dst: Addr {
                ip: external.ip,
                port,
            },
        };
        self.is_free(&key, want.stale, view)
    }

    /// The port of the mapping the connection belongs to.
    fn joined(&mut self, want: &Candidate<'_>, hold: Hold, view: &View<'_>) -> Joined {
        let owned = Owned {
            network: want.inside.network,
            addr: want.inside.addr.into(),
            protocol: want.protocol,
            v6: want.inside.addr.ip.is_ipv6(),
            uplink: want.uplink,
            peer: match hold {
                Hold::Endpoint => None,
                Hold::Address => Some(want.peer.ip),
                Hold::Nothing | Hold::Alone | Hold::Shared => return Joined::None,
            },
        };
        let Some(first) = self.mapping(&owned) else {
            return Joined::None;
        };
        let seen = |session: &Session| session.seen_as(session.held_by, &self.externals);
        let Some(seen) = self.get(first).and_then(seen) else {
            return Joined::None;
        };
        let Some(first) = self.first_alive(first, view) else {
            return Joined::Over(seen);
        };
        let is_ours =
            want.addresses.contains(&seen.ip) && !want.published.leads_inside(want.protocol, seen);
        if is_ours {
            return Joined::Mapping(Claim {
                ip: seen.ip,
                port: seen.port,
                hold,
                evicts: None,
            });
        }
        // The uplink has lost the address, or the port was published since.
        if view.is_live() {
            self.end_mapping(first, Ending::Flushed, view.now);
        }
        Joined::None
    }

    fn may_take(
        &mut self,
        external: &External,
        port: u16,
        want: &Candidate<'_>,
        hold: Hold,
        view: &View<'_>,
    ) -> bool {
        if want.is_reserved(external, port) {
            return false;
        }
        let holder = match self.holder(external, want.protocol, port, view) {
            // Its own, which ends for it: of another kind when the network is treated otherwise.
            Holder::Mapping(first) if want.stale == Some(first) && self.is_alone(first) => {
                Holder::Free
            }
            holder @ (Holder::Free | Holder::Mapping(_) | Holder::Shared(_)) => holder,
        };
        match (holder, hold) {
            (Holder::Free | Holder::Shared(_), Hold::Shared) => {
                self.is_unanswered(want, external, port, view)
            }
            (Holder::Free, _) => true,
            (Holder::Mapping(_) | Holder::Shared(_), _) => false,
        }
    }

    fn is_alone(&self, first: u32) -> bool {
        self.siblings(first).nth(1).is_none()
    }

    /// A port that is not held, or that may be taken from its holder. `over` counts as not held.
    fn choose(
        &mut self,
        (external, over): (&External, Option<u16>),
        parity: Parity,
        want: &Candidate<'_>,
        hold: Hold,
        view: &View<'_>,
    ) -> Option<(u16, Option<u32>)> {
        let start = self.draw();
        let of = |parity| (self.number, want.range, parity);
        let (wished, any) = (of(parity), of(Parity::Any));
        if hold == Hold::Shared {
            return Pool::candidates(wished, start)
                .chain(Pool::candidates(any, start))
                .find(|&port| self.may_take(external, port, want, hold, view))
                .map(|port| (port, None));
        }
        let place = self.externals.find(external);
        let pool = place.map_or(Pool::EMPTY, |place| {
            self.mappings.pool(place, want.protocol)
        });
        let free = |which| pool.free(which, over, start, |port| !want.is_reserved(external, port));
        free(wished)
            .or_else(|| free(any))
            .map(|port| (port, None))
            .or_else(|| self.vacate(external, (any, start), want, hold, view))
    }

    /// All ports are held: one whose mapping is over, or else one that has to end in favour of this
    /// one because its endpoint holds many more connections, and that mapping's first session.
    fn vacate(
        &mut self,
        external: &External,
        (which, start): ((usize, PortRange, Parity), u32),
        want: &Candidate<'_>,
        hold: Hold,
        view: &View<'_>,
    ) -> Option<(u16, Option<u32>)> {
        let mine = self.held_by(want.inside);
        let mut worst: Option<((Class, u64), u32, u16)> = None;
        for port in Pool::candidates(which, start).take(LOOKS) {
            let first = match self.holder(external, want.protocol, port, view) {
                Holder::Free if self.may_take(external, port, want, hold, view) => {
                    return Some((port, None));
                }
                Holder::Free | Holder::Shared(_) => continue,
                // Nobody takes the port that he calls (hairpin): he would call himself.
                Holder::Mapping(_) if port == want.peer.port && external.ip == want.peer.ip => {
                    continue;
                }
                Holder::Mapping(first) => first,
            };
            let Some(worth) = self.worth(first, mine, view) else {
                continue;
            };
            if worst.is_none_or(|(least, ..)| worth < least) {
                worst = Some((worth, first, port));
            }
        }
        let (_, first, port) = worst?;
        Some((port, Some(first)))
    }

    /// How useful a mapping is, when its endpoint may lose it to one that holds `mine`: what is
    /// over, to one that holds as much, and so to itself.
    fn worth(&self, first: u32, mine: u32, view: &View<'_>) -> Option<(Class, u64)> {
        let session = self.get(first)?;
        let holds = self.owners.get(session.owner)?.count;
        let best = self
            .siblings(first)
            .take(8)
            .filter_map(|at| self.get(at))
            .map(|session: &Session| (session.class, session.last))
            .max()?;
        let may = match best.0 {
            Class::Closing => holds >= mine,
            Class::Opening => holds > mine + u32::from(!self.has_waited(first, view)),
            Class::Established => holds / 4 > mine,
        };
        may.then_some(best)
    }
}

impl Candidate<'_> {
    /// Returns whether the port has another purpose.
    fn is_reserved(&self, external: &External, port: u16) -> bool {
        let addr = TransportAddr::new(external.ip.to_addr(external.v6), port);
        self.spared.contains(&(self.protocol, port))
            || self.published.leads_inside(self.protocol, addr)
    }
}

fn parity(protocol: IpProtocol, port: u16) -> Parity {
    if protocol == IpProtocol::UDP {
        Parity::As(port)
    } else {
        Parity::Any
    }
}

/// Returns what a new mapping holds of its external port.
pub(crate) fn hold_of(behaviour: &Behaviour) -> Hold {
    match (behaviour.mapping, behaviour.filtering) {
        (Dependence::EndpointIndependent, _) => Hold::Endpoint,
        (Dependence::AddressDependent, _) => Hold::Address,
        (Dependence::AddressAndPortDependent, Dependence::AddressAndPortDependent) => Hold::Shared,
        (
            Dependence::AddressAndPortDependent,
            Dependence::EndpointIndependent | Dependence::AddressDependent,
        ) => Hold::Alone,
    }
}
