//! Ports of the world that lead to an endpoint, or to one of several: the publication's backends.
//!
//! A range is one entry, however long. A publication loses an endpoint that leaves, and goes with the
//! last one.

use crate::model::{Endpoint, EndpointId};
use crate::network::is_special;
use crate::state::not_found;
use crate::{Change, Error, State, stored};
use model::{OneOrMore, Outside, PortRange};
use nat::{Inside, TransportAddr};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use wire::IpProtocol;

/// A publication's identity: never used again in the life of a state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicationId(pub u32);

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pub-{}", self.0)
    }
}

/// A range of external ports that leads to endpoints: as many ports there, from `to` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its identity.
    pub id: PublicationId,
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The external address. `0.0.0.0` and `::` are every one of the family, none is every one of
    /// both.
    pub host: Option<IpAddr>,
    /// The external ports.
    #[serde(with = "stored::form")]
    pub ports: PortRange,
    /// The endpoint; of several each is a backend.
    pub endpoint: OneOrMore<EndpointId>,
    /// The first port there.
    pub to: u16,
    /// Who listens to the external ports on the host itself.
    #[serde(default)]
    pub listener: Listener,
}

/// Who listens to published ports on the host itself, and serves what it sends to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// We do, which keeps other programs off the ports.
    #[default]
    Ours,
    /// Another program has the ports.
    Another,
}

/// A publication to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationRequest {
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The external address; see [`Publication::host`].
    pub host: Option<IpAddr>,
    /// The external ports.
    pub ports: PortRange,
    /// The endpoint, by id, port or name; of several each is a backend.
    pub endpoint: OneOrMore<String>,
    /// The first port there.
    pub to: u16,
    /// Who listens to the external ports on the host itself.
    pub listener: Listener,
}

impl Publication {
    fn outside(&self) -> Outside {
        Outside {
            host: self.host,
            ports: self.ports,
            protocol: self.protocol,
        }
    }

    /// Returns whether one external address and port would lead to two endpoints' ports.
    fn conflicts(&self, other: &Self) -> bool {
        self.ports.meets(other.ports)
            && self.protocol == other.protocol
            && hosts_meet(self.host, other.host)
    }
}

/// `[HOST:]PORTS->PORTS/PROTOCOL`, as Docker shows it.
impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        let inside = self.ports.moved_to(self.to).unwrap_or(self.ports);
        write!(f, "{}->{}:{inside}", self.ports, self.endpoint)?;
        write!(f, "/{}", self.protocol)
    }
}

impl State {
    /// Every publication, in the order of ids.
    pub fn publications(&self) -> impl Iterator<Item = &Publication> + '_ {
        self.placed.publications.values()
    }

    /// The publication of this id.
    #[must_use]
    pub fn publication(&self, id: PublicationId) -> Option<&Publication> {
        self.placed.publications.get(&id)
    }

    /// The publications of an endpoint.
    pub fn publications_of(&self, id: EndpointId) -> impl Iterator<Item = &Publication> + '_ {
        self.publications()
            .filter(move |p| p.endpoint.contains(&id))
    }

    /// Checks a publication to be made.
    ///
    /// # Errors
    /// Which value does not do, and what would; [`Error::PublicationTaken`] names the one that has
    /// a port already.
    pub fn publish(&self, request: &PublicationRequest) -> Result<(Publication, Change), Error> {
        let named = |name: &String| self.endpoint_named(name).map(|endpoint| endpoint.id);
        let endpoint = request.endpoint.try_map(named)?;
        let publication = Publication {
            id: PublicationId(self.placed.next_publication),
            protocol: request.protocol,
            host: request.host,
            ports: request.ports,
            endpoint,
            to: request.to,
            listener: request.listener,
        };
        self.check_publication(&publication)?;
        Ok((publication.clone(), Change::PutPublication(publication)))
    }

    /// Checks the removal of the publication whose id (`pub-3`) is `id`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn unpublish(&self, id: &str) -> Result<(Publication, Change), Error> {
        let publication = self
            .publications()
            .find(|p| p.id.to_string() == id)
            .ok_or_else(|| not_found("publication", id))?;
        let change = Change::DropPublication(publication.id);
        Ok((publication.clone(), change))
    }

    /// Returns what leads to endpoints' ports from outside: what is published at a loopback address is for
    /// the host itself, whose listener needs no translation.
    pub(crate) fn published_to_the_world(&self) -> impl Iterator<Item = nat::Publication> + '_ {
        let here = |p: &&Publication| p.host.is_some_and(|host| host.is_loopback());
        let all = self.publications().filter(move |p| !here(p));
        all.flat_map(|publication| self.expanded(publication))
    }

    /// Returns what leads to the endpoints' ports, one record for each endpoint and each family that it and the
    /// publication have in common. Endpoints whose ports are down get no connections while there is
    /// another.
    pub fn expanded(&self, publication: &Publication) -> Vec<nat::Publication> {
        let record = |endpoint: &Endpoint, ip: IpAddr| nat::Publication {
            protocol: publication.protocol,
            host: publication.host.filter(|host| !host.is_unspecified()),
            ports: publication.ports,
            to: Inside {
                network: endpoint.network,
                addr: TransportAddr::new(ip, publication.to),
            },
        };
        let is_up = |e: &Endpoint| self.port(e.port).is_some_and(|port| port.settings.up);
        let endpoints = publication
            .endpoint
            .iter()
            .filter_map(|id| self.endpoint(*id));
        let all: Vec<_> = endpoints
            .flat_map(|endpoint| {
                let addresses = self.published_addresses(endpoint, publication.host);
                let records = addresses.into_iter().map(|ip| record(endpoint, ip));
                records.map(|record| (record, is_up(endpoint)))
            })
            .collect();
        let family_is_up = |ip: IpAddr| {
            all.iter()
                .any(|(record, up)| *up && record.to.addr.ip.is_ipv4() == ip.is_ipv4())
        };
        all.iter()
            .filter(|(record, up)| *up || !family_is_up(record.to.addr.ip))
            .map(|(record, _)| *record)
            .collect()
    }

    /// The first address of each family that has a gateway and that `host` admits.
    fn published_addresses(&self, endpoint: &Endpoint, host: Option<IpAddr>) -> Vec<IpAddr> {
        let Some(network) = self.network(endpoint.network) else {
            return Vec::new();
        };
        let routed = |ip: &IpAddr| network.subnet_of(*ip).is_some_and(|s| s.gateway.is_some());
        let first = |ipv4: bool| {
            let mut own = endpoint.addresses.iter().map(ipnet::IpNet::addr);
            own.find(|ip| ip.is_ipv4() == ipv4 && routed(ip))
        };
        [true, false]
            .into_iter()
            .filter(|ipv4| host.is_none_or(|host| host.is_ipv4() == *ipv4))
            .filter_map(first)
            .collect()
    }

    pub(crate) fn check_publication(&self, publication: &Publication) -> Result<(), Error> {
        publication.outside().leads_to(publication.to)?;
        let fits = |ip: IpAddr| !is_special(ip) || ip.is_unspecified() || ip.is_loopback();
        if let Some(host) = publication.host.filter(|host| !fits(*host)) {
            return Err(Error::BadHost(host));
        }
        for (place, &id) in publication.endpoint.iter().enumerate() {
            let endpoint = self.endpoint_with(id)?;
            if publication.endpoint[..place].contains(&id) {
                return Err(Error::BackendTwice(self.name_of(endpoint.port)));
            }
            if self
                .published_addresses(endpoint, publication.host)
                .is_empty()
            {
                return Err(Error::NotRouted {
                    endpoint: self.name_of(endpoint.port),
                    host: publication.host,
                });
            }
        }
        self.check_unpublished(publication)
    }

    fn check_unpublished(&self, publication: &Publication) -> Result<(), Error> {
        let taken = self
            .publications()
            .find(|other| other.id != publication.id && other.conflicts(publication));
        match taken {
            None => Ok(()),
            Some(taken) => Err(Error::PublicationTaken {
                asked: publication.to_string(),
                id: taken.id.to_string(),
                taken: taken.to_string(),
            }),
        }
    }

    /// Takes an endpoint out of every publication, and removes those that it was the last one of.
    pub(crate) fn unpublish_all(&self, id: EndpointId) -> Vec<Change> {
        let without = |p: &Publication| {
            let others = p.endpoint.iter().copied().filter(|other| *other != id);
            match OneOrMore::try_from(others.collect::<Vec<_>>()) {
                Ok(endpoint) => Change::PutPublication(Publication {
                    endpoint,
                    ..p.clone()
                }),
                Err(_) => Change::DropPublication(p.id),
            }
        };
        self.publications_of(id).map(without).collect()
    }
}

/// Returns whether two external addresses have one in common.
fn hosts_meet(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
        }
    }
}
