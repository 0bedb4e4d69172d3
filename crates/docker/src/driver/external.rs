//! Published ports: `-p` and `-P`, which Docker leaves to the driver whole.
//!
//! [`crate::portmap`] says what is wanted and which ports to try; here they are tried. All ports of
//! one call are had, or none: what was published before one could not be had is taken back.

use super::Driver;
use super::messages::{EndpointRef, Program};
use crate::error::{Refusal, gone, refused_with};
use crate::labels;
use crate::portmap::{self, Candidates, OneOf, Ports, Whole, Wish};
use api::{ErrorCode, Name, Publication, PublicationCreate};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

impl Driver {
    /// Publishes an endpoint's ports; content with those that are published already.
    pub(crate) fn program(&self, request: &Program) -> Result<(), Refusal> {
        let portmap = &request.options.portmap;
        let endpoint = self.endpoint(&request.endpoint_id)?;
        if portmap.is_empty() {
            return Ok(());
        }
        let host = self.default_host(&request.network_id)?;
        let published = self.client.publications()?;
        let own: Vec<_> = published
            .iter()
            .filter(|p| p.spec.endpoint == endpoint.id)
            .map(|p| &p.spec)
            .collect();
        let wishes = portmap::wishes(portmap, host, &own)?;
        let mut made = Vec::new();
        let all = wishes
            .iter()
            .try_for_each(|wish| self.grant(wish, &endpoint.id, &published, &mut made));
        if all.is_err() {
            self.take_back(&made);
        }
        all
    }

    /// Takes back everything that is published of an endpoint.
    pub(crate) fn revoke(&self, request: &EndpointRef) -> Result<(), Refusal> {
        let Some(endpoint) = self.find_endpoint(&request.endpoint_id)? else {
            return Ok(());
        };
        let published = self.client.publications()?.into_iter();
        for own in published.filter(|p| p.spec.endpoint == endpoint.id) {
            gone(self.client.unpublish(&own.id))?;
        }
        Ok(())
    }

    /// Returns where ports are published when none says where: what the network was made with.
    fn default_host(&self, network_id: &str) -> Result<Option<IpAddr>, Refusal> {
        let network = self.find_network(network_id)?;
        let label = network.and_then(|mut n| n.spec.labels.remove(labels::HOST_BINDING));
        Ok(label.and_then(|text| text.parse().ok()))
    }

    fn grant(
        &self,
        wish: &Wish,
        endpoint: &Name,
        published: &[Publication],
        made: &mut Vec<Name>,
    ) -> Result<(), Refusal> {
        match wish {
            Wish::Whole(whole) => self.grant_whole(*whole, endpoint, made),
            Wish::OneOf(one) => self.grant_one(*one, endpoint, published, made),
        }
    }

    /// Publishes a range as one entry. When that cannot be, its halves are tried, down to the port
    /// that is to blame.
    fn grant_whole(
        &self,
        whole: Whole,
        endpoint: &Name,
        made: &mut Vec<Name>,
    ) -> Result<(), Refusal> {
        let error = match self.client.publish(&whole.of(endpoint)) {
            Ok(publication) => {
                made.push(publication.id);
                return Ok(());
            }
            Err(error) => error,
        };
        let Some(why) = refused_with(&error, ErrorCode::AlreadyExists) else {
            return Err(error.into());
        };
        let Some((low, high)) = whole.halves() else {
            return Err(Refusal::PortTaken {
                host: whole.outside.host,
                ports: Ports(whole.outside.ports),
                why: why.clone(),
            });
        };
        self.grant_whole(low, endpoint, made)?;
        self.grant_whole(high, endpoint, made)
    }

    /// Publishes the first of some ports that can be had.
    fn grant_one(
        &self,
        one: OneOf,
        endpoint: &Name,
        published: &[Publication],
        made: &mut Vec<Name>,
    ) -> Result<(), Refusal> {
        let after = match one.among {
            Candidates::Any => self.last_port.load(Ordering::Relaxed),
            Candidates::Range(_) => 0,
        };
        let mut why = None;
        for port in one.candidates(after, published) {
            let spec: PublicationCreate = one.at(port).of(endpoint);
            match self.client.publish(&spec) {
                Ok(publication) => {
                    made.push(publication.id);
                    if one.among == Candidates::Any {
                        self.last_port.store(port.first(), Ordering::Relaxed);
                    }
                    return Ok(());
                }
                Err(error) => match refused_with(&error, ErrorCode::AlreadyExists) {
                    Some(taken) => why = Some(taken.clone()),
                    None => return Err(error.into()),
                },
            }
        }
        Err(Refusal::NoPortFree {
            host: one.host,
            ports: Ports(one.among.ports()),
            why,
        })
    }

    /// Undoes what a failed call published; the call's own error is the one to tell.
    fn take_back(&self, made: &[Name]) {
        for id in made.iter().rev() {
            if let Err(error) = gone(self.client.unpublish(id)) {
                tracing::warn!(publication = %id, %error, "cannot be taken back");
            }
        }
    }
}
