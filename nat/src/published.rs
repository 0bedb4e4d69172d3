//! Published ports: which endpoints an external port leads to, and which external port an endpoint
//! is known by.
//!
//! Both questions are asked for every packet, so neither may cost more because a hundred thousand
//! ports are published (with one process or one rule a port, that is what hurts elsewhere):
//!
//! ```text
//!   inside_of    protocol, family, port --> page of 256 --> publication        two loads
//!   external_of  hash of (network, address, protocol) --> sorted ranges        one probe, a bisection
//! ```
//! The first table is kept once for the publications of every address and once for each address
//! that has its own. A range of 65,536 ports is one publication and 256 pages of 1 KiB.
//!
//! Publications of the same external ports are *backends*: a new connection goes to one of them. Where
//! the packets of a connection are looked for must not depend on which one, so all of them lead to the
//! same inside ports.
//!
//! Immutable, part of the router's snapshot; safe to share.

use crate::{Inside, Publication, TransportAddr};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use pipeline::NetworkId;
use std::fmt;
use std::net::IpAddr;
use wire::IpProtocol;

/// Every published port, ready for the hot path.
#[derive(Debug, Clone, Default)]
pub struct Published {
    entries: Vec<Publication>,
    /// All backends of a publication that has several, by the first one.
    backends: HashMap<usize, Vec<usize>, FixedState>,
    /// Of every address, by [`lane`].
    everywhere: [Ports; LANES],
    /// Of one address.
    bound: HashMap<(IpAddr, u8), Ports, FixedState>,
    endpoints: HashMap<(NetworkId, IpAddr, u8), Known, FixedState>,
    segments: Vec<Vec<Segment>>,
}

/// Summary of an endpoint's published ports, enough for most of its packets.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The lowest and the highest of its published ports.
    first: u16,
    last: u16,
    /// Whether all between them are, at every address.
    plain: bool,
    /// Its place among the segments.
    at: u32,
}

/// Why publications cannot stand together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A protocol without ports.
    #[error("{} has no ports to publish: TCP, UDP and SCTP have", .0.title())]
    Protocol(IpProtocol),
    /// Port 0, which nobody can talk to.
    #[error("port 0 cannot be published: 1 to 65535 can")]
    Zero(Publication),
    /// The range reaches past the endpoint's last port.
    #[error("{} ports from {} on reach past port 65535", .0.ports.count(), .0.to.addr)]
    TooLong(Publication),
    /// IPv4 on one side, IPv6 on the other.
    #[error("{} cannot be published at {host}: both must be IPv4 or both IPv6", .publication.to.addr.ip)]
    Family {
        /// The publication.
        publication: Publication,
        /// Its external address.
        host: IpAddr,
    },
    /// Backends of one publication with different ports.
    #[error("the backends of a publication have the same ports: {} and {}", Shown(.0), Shown(.1))]
    Ports(Publication, Publication),
    /// Two publications claim one port.
    #[error("port {port} is published twice: {} and {}", Shown(.first), Shown(.second))]
    Overlap {
        /// The one that came first.
        first: Publication,
        /// The one that overlaps it.
        second: Publication,
        /// The lowest port they share.
        port: u16,
    },
}

impl Published {
    /// Tables for `publications`. Those with the same external ports are backends. Their order matters where several lead to one endpoint's port:
    /// what the endpoint itself begins leaves by the first one.
    ///
    /// # Errors
    /// The first publication that contradicts itself or an earlier one.
    pub fn new(publications: &[Publication]) -> Result<Self, PublishError> {
        let mut published = Self::default();
        for &publication in publications {
            published.add(check(publication)?)?;
        }
        published.index_endpoints();
        Ok(published)
    }

    /// The endpoint that `external` leads to: of several backends the one that `draw` selects, all
    /// numbers being equally likely.
    #[must_use]
    pub fn inside_of(
        &self,
        protocol: IpProtocol,
        external: TransportAddr,
        draw: impl FnOnce() -> u32,
    ) -> Option<Inside> {
        let first = self.at(protocol, external)?;
        let Some(all) = self.backends.get(&first) else {
            return Some(self.inside(first, external));
        };
        let place = (u64::from(draw()) * all.len() as u64) >> 32;
        Some(self.inside(all[usize::try_from(place).ok()?], external))
    }

    /// Every endpoint that `external` leads to.
    pub fn backends_of(
        &self,
        protocol: IpProtocol,
        external: TransportAddr,
    ) -> impl Iterator<Item = Inside> {
        let first = self.at(protocol, external);
        let more = first.and_then(|first| self.backends.get(&first));
        let more = more.into_iter().flatten().copied().skip(1);
        let all = first.into_iter().chain(more);
        all.map(move |entry| self.inside(entry, external))
    }

    /// The inside port that `external` leads to, which all backends share.
    pub(crate) fn inside_port(&self, protocol: IpProtocol, external: TransportAddr) -> Option<u16> {
        let first = self.at(protocol, external)?;
        Some(self.inside(first, external).addr.port)
    }

    /// The external port by which `inside` is known, and the address when it is published at one
    /// only: of several the first.
    #[must_use]
    pub fn external_port_of(
        &self,
        protocol: IpProtocol,
        inside: Inside,
    ) -> Option<(Option<IpAddr>, u16)> {
        self.exits(protocol, inside).next()
    }

    /// The external port by which `inside` is known at an uplink with these addresses. One step
    /// for each address it is published at by itself.
    #[inline]
    #[must_use]
    pub fn external_at(
        &self,
        protocol: IpProtocol,
        inside: Inside,
        addresses: &[IpAddr],
    ) -> Option<(Option<IpAddr>, u16)> {
        self.exits(protocol, inside)
            .find(|(host, _)| host.is_none_or(|host| addresses.contains(&host)))
    }

    /// Returns whether `external` leads to an endpoint.
    #[inline]
    #[must_use]
    pub fn leads_inside(&self, protocol: IpProtocol, external: TransportAddr) -> bool {
        self.at(protocol, external).is_some()
    }

    /// Returns whether [`Self::external_at`] knows a port.
    #[inline]
    #[must_use]
    pub fn leads_outside(
        &self,
        protocol: IpProtocol,
        inside: Inside,
        addresses: &[IpAddr],
    ) -> bool {
        let Some(known) = self.known(protocol, inside) else {
            return false;
        };
        known.plain || self.external_at(protocol, inside, addresses).is_some()
    }

    /// Returns whether every port leads to the same endpoint by `other`, as far as the lists of publications
    /// tell.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        self.entries == other.entries
    }

    /// Returns whether nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The endpoint that `external` leads to by the publication at `entry`.
    fn inside(&self, entry: usize, external: TransportAddr) -> Inside {
        let publication = &self.entries[entry];
        let mut to = publication.to;
        to.addr.port += external.port - publication.ports.first();
        to
    }

    #[inline]
    fn at(&self, protocol: IpProtocol, external: TransportAddr) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let lane = lane(protocol, external.ip)?;
        self.everywhere[lane].get(external.port).or_else(|| {
            if self.bound.is_empty() {
                return None;
            }
            self.bound
                .get(&(external.ip, protocol.0))?
                .get(external.port)
        })
    }

    #[inline]
    fn exits(
        &self,
        protocol: IpProtocol,
        inside: Inside,
    ) -> impl Iterator<Item = (Option<IpAddr>, u16)> {
        let port = inside.addr.port;
        self.segment(protocol, inside)
            .into_iter()
            .flat_map(|segment| &segment.exits)
            .map(move |&entry| {
                let publication = &self.entries[entry];
                let offset = port - publication.to.addr.port;
                (publication.host, publication.ports.first() + offset)
            })
    }

    fn segment(&self, protocol: IpProtocol, inside: Inside) -> Option<&Segment> {
        let known = self.known(protocol, inside)?;
        let segments = self.segments.get(known.at as usize)?;
        let after = segments.partition_point(|segment| segment.first <= inside.addr.port);
        let segment = segments.get(after.checked_sub(1)?)?;
        (inside.addr.port <= segment.last).then_some(segment)
    }

    #[inline]
    fn known(&self, protocol: IpProtocol, inside: Inside) -> Option<&Known> {
        if self.endpoints.is_empty() {
            return None;
        }
        self.endpoints
            .get(&(inside.network, inside.addr.ip, protocol.0))
            .filter(|known| known.first <= inside.addr.port && inside.addr.port <= known.last)
    }

    fn add(&mut self, publication: Publication) -> Result<(), PublishError> {
        let Some(lane) = lane(publication.protocol, publication.to.addr.ip) else {
            return Err(PublishError::Protocol(publication.protocol));
        };
        let index = self.entries.len();
        if let Some((first, port)) = self.clash(&publication, lane) {
            self.add_backend((first, port), publication)?;
            self.entries.push(publication);
            return Ok(());
        }
        let ports = match publication.host {
            None => &mut self.everywhere[lane],
            Some(host) => self
                .bound
                .entry((host, publication.protocol.0))
                .or_default(),
        };
        for port in publication.ports.iter() {
            ports.set(port, index);
        }
        self.entries.push(publication);
        Ok(())
    }

    /// Notes that `new`, the next entry, is a backend of the publication at `first`, which has its
    /// external port `port`.
    fn add_backend(
        &mut self,
        (first, port): (usize, u16),
        new: Publication,
    ) -> Result<(), PublishError> {
        let own = self.entries[first];
        let is_to = |&entry: &usize| self.entries[entry].to == new.to;
        let is_there = match self.backends.get(&first) {
            Some(all) => all.iter().any(is_to),
            None => is_to(&first),
        };
        if (own.host, own.ports) != (new.host, new.ports) || is_there {
            return Err(PublishError::Overlap {
                first: own,
                second: new,
                port,
            });
        }
        if own.to.addr.port != new.to.addr.port {
            return Err(PublishError::Ports(own, new));
        }
        let next = self.entries.len();
        let all = self.backends.entry(first).or_insert_with(|| vec![first]);
        all.push(next);
        Ok(())
    }

    /// An earlier publication that claims one of the same ports, and the port.
    fn clash(&self, new: &Publication, lane: usize) -> Option<(usize, u16)> {
        let rivals: Vec<&Ports> = match new.host {
            Some(host) => std::iter::once(&self.everywhere[lane])
                .chain(self.bound.get(&(host, new.protocol.0)))
                .collect(),
            None => std::iter::once(&self.everywhere[lane])
                .chain(
                    self.bound
                        .iter()
                        .filter(|((host, protocol), _)| {
                            *protocol == new.protocol.0
                                && host.is_ipv4() == new.to.addr.ip.is_ipv4()
                        })
                        .map(|(_, ports)| ports),
                )
                .collect(),
        };
        let (port, index) = rivals
            .into_iter()
            .filter_map(|ports| {
                new.ports
                    .iter()
                    .find_map(|port| Some((port, ports.get(port)?)))
            })
            .min()?;
        Some((index, port))
    }

    /// Cuts each endpoint's published ports where a publication begins or ends, so that between
    /// two cuts the same publications lead there.
    fn index_endpoints(&mut self) {
        let mut by_endpoint: HashMap<_, Vec<usize>, FixedState> = HashMap::default();
        for (index, entry) in self.entries.iter().enumerate() {
            let to = entry.to;
            by_endpoint
                .entry((to.network, to.addr.ip, entry.protocol.0))
                .or_default()
                .push(index);
        }
        for (endpoint, indices) in by_endpoint {
            let segments = segments(&self.entries, &indices);
            let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
                continue;
            };
            let is_plain = segments
                .iter()
                .all(|segment| self.entries[segment.exits[0]].host.is_none())
                && segments.windows(2).all(|w| w[0].last + 1 == w[1].first);
            let known = Known {
                first: first.first,
                last: last.last,
                plain: is_plain,
                at: u32::try_from(self.segments.len()).expect("fewer endpoints than addresses"),
            };
            self.endpoints.insert(endpoint, known);
            self.segments.push(segments);
        }
    }
}

/// Inside ports that the same publications lead to.
#[derive(Debug, Clone)]
struct Segment {
    first: u16,
    last: u16,
    /// The publications; those of every address come first.
    exits: Vec<usize>,
}

fn segments(entries: &[Publication], indices: &[usize]) -> Vec<Segment> {
    let span = |index: usize| {
        let entry = &entries[index];
        let first = u32::from(entry.to.addr.port);
        first..first + entry.ports.count()
    };
    let mut starts: Vec<usize> = indices.to_vec();
    starts.sort_by_key(|&index| span(index).start);
    let mut cuts: Vec<u32> = indices
        .iter()
        .flat_map(|&index| [span(index).start, span(index).end])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();

    let mut open: Vec<usize> = Vec::new();
    let mut coming = starts.into_iter().peekable();
    let mut found = Vec::new();
    for pair in cuts.windows(2) {
        open.retain(|&index| span(index).end > pair[0]);
        while let Some(index) = coming.next_if(|&index| span(index).start == pair[0]) {
            open.push(index);
        }
        let mut exits = open.clone();
        exits.sort_by_key(|&index| (entries[index].host.is_some(), index));
        let (Ok(first), Ok(last)) = (u16::try_from(pair[0]), u16::try_from(pair[1] - 1)) else {
            continue;
        };
        if !exits.is_empty() {
            found.push(Segment { first, last, exits });
        }
    }
    found
}

/// Port to publication.
#[derive(Debug, Clone, Default)]
struct Ports(Vec<Option<Box<Page>>>);

/// One more than the index of a publication, 0 for none.
type Page = [u32; 256];

impl Ports {
    #[inline]
    fn get(&self, port: u16) -> Option<usize> {
        let [page, place] = port.to_be_bytes();
        let entry = self.0.get(usize::from(page))?.as_ref()?[usize::from(place)];
        (entry as usize).checked_sub(1)
    }

    fn set(&mut self, port: u16, index: usize) {
        let [page, place] = port.to_be_bytes();
        self.0.resize_with(256, || None);
        let page = self.0[usize::from(page)].get_or_insert_with(|| Box::new([0; 256]));
        page[usize::from(place)] =
            u32::try_from(index + 1).expect("fewer publications than there are addresses of ports");
    }
}

const LANES: usize = 6;

/// Returns which table of every address: protocol and family.
#[inline]
fn lane(protocol: IpProtocol, ip: IpAddr) -> Option<usize> {
    let protocol = match protocol {
        IpProtocol::TCP => 0,
        IpProtocol::UDP => 1,
        IpProtocol::SCTP => 2,
        _ => return None,
    };
    Some(protocol * 2 + usize::from(ip.is_ipv6()))
}

fn check(mut publication: Publication) -> Result<Publication, PublishError> {
    let (ports, to) = (publication.ports, publication.to.addr);
    if lane(publication.protocol, to.ip).is_none() {
        return Err(PublishError::Protocol(publication.protocol));
    }
    if to.port == 0 {
        return Err(PublishError::Zero(publication));
    }
    if ports.moved_to(to.port).is_none() {
        return Err(PublishError::TooLong(publication));
    }
    match publication.host {
        // What sockets call "any address" is one family's.
        Some(host) if host.is_ipv4() != to.ip.is_ipv4() => {
            Err(PublishError::Family { publication, host })
        }
        Some(host) => {
            publication.host = Some(host).filter(|host| !host.is_unspecified());
            Ok(publication)
        }
        None => Ok(publication),
    }
}

struct Shown<'p>(&'p Publication);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Publication {
            protocol,
            host,
            ports,
            to,
        } = self.0;
        let protocol = protocol.title();
        match host {
            Some(host) => write!(f, "{protocol} {host} ports ")?,
            None => write!(f, "{protocol} ports ")?,
        }
        write!(
            f,
            "{}-{} to {} in {}",
            ports.first(),
            ports.last(),
            to.addr,
            to.network
        )
    }
}

#[cfg(test)]
mod tests;
