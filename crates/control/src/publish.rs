//! Requests about publications. A publication loses an endpoint that leaves, and goes with the last
//! one.

use crate::model::{Endpoint, EndpointId};
use crate::network::is_special;
use crate::publication::{Publication, PublicationId};
use crate::state::not_found;
use crate::{Change, Error, State};
use model::{Name, OneOrMore, PublicationCreate};
use nat::{Inside, TransportAddr};
use std::net::IpAddr;

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
    pub fn publish(&self, request: &PublicationCreate) -> Result<(Publication, Change), Error> {
        let named = |name: &Name| {
            self.endpoint_named(name.as_str())
                .map(|endpoint| endpoint.id)
        };
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
