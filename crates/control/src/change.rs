//! A change to the state, and how it is taken back.

use crate::model::{Endpoint, EndpointId, Network, Port};
use crate::publish::{Publication, PublicationId};
use crate::uplink::{Attachment, Hidden, Uplink};
use crate::{State, stored};
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};

/// What [`State::commit`] does. Made by the state's own checks, or by a commit as its undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "a change does nothing until it is committed"]
pub enum Change {
    /// Add a network, or replace the one that has its id.
    PutNetwork(Box<Network>),
    /// Remove a network.
    DropNetwork(#[serde(with = "stored::form")] NetworkId),
    /// Add an endpoint with its port, or replace those that have its id.
    PutEndpoint(Box<(Endpoint, Port)>),
    /// Remove an endpoint with its port.
    DropEndpoint(EndpointId),
    /// Add a port, or replace the one that has its id.
    PutPort(Box<Port>),
    /// Remove a port.
    DropPort(#[serde(with = "stored::form")] PortId),
    /// Add a publication, or replace the one that has its id.
    PutPublication(Publication),
    /// Remove a publication.
    DropPublication(PublicationId),
    /// Make these the uplinks, the first being the one networks use that name none.
    SetUplinks(Vec<Uplink>),
    /// Give the host's stack or the services a place, or none.
    SetHidden(Hidden, Option<Attachment>),
    /// Nothing.
    Nothing,
    /// Several, in order.
    All(Vec<Self>),
}

impl Change {
    pub(crate) fn put_network(network: Network) -> Self {
        Self::PutNetwork(Box::new(network))
    }
}

impl State {
    /// Makes the change and answers what takes it back. The ids of endpoints and publications alone
    /// stay used up.
    pub fn commit(&mut self, change: Change) -> Change {
        match change {
            Change::PutNetwork(network) => {
                let id = network.id;
                self.networks
                    .insert(id, *network)
                    .map_or(Change::DropNetwork(id), Change::put_network)
            }
            Change::DropNetwork(id) => self
                .networks
                .remove(&id)
                .map_or(Change::Nothing, Change::put_network),
            Change::PutEndpoint(both) => {
                let (endpoint, port) = *both;
                let id = endpoint.id;
                self.next_endpoint = self.next_endpoint.max(id.0.saturating_add(1));
                let old_port = self.ports.insert(port.id, port);
                match (self.endpoints.insert(id, endpoint), old_port) {
                    (Some(endpoint), Some(port)) => Change::PutEndpoint(Box::new((endpoint, port))),
                    _ => Change::DropEndpoint(id),
                }
            }
            Change::DropEndpoint(id) => {
                let Some(endpoint) = self.endpoints.remove(&id) else {
                    return Change::Nothing;
                };
                match self.ports.remove(&endpoint.port) {
                    Some(port) => Change::PutEndpoint(Box::new((endpoint, port))),
                    None => Change::Nothing,
                }
            }
            Change::PutPort(port) => {
                let id = port.id;
                let old = self.ports.insert(id, *port);
                old.map_or(Change::DropPort(id), |old| Change::PutPort(Box::new(old)))
            }
            Change::DropPort(id) => self
                .ports
                .remove(&id)
                .map_or(Change::Nothing, |port| Change::PutPort(Box::new(port))),
            Change::PutPublication(publication) => {
                let id = publication.id;
                self.next_publication = self.next_publication.max(id.0.saturating_add(1));
                self.publications
                    .insert(id, publication)
                    .map_or(Change::DropPublication(id), Change::PutPublication)
            }
            Change::DropPublication(id) => self
                .publications
                .remove(&id)
                .map_or(Change::Nothing, Change::PutPublication),
            Change::SetUplinks(uplinks) => {
                Change::SetUplinks(std::mem::replace(&mut self.uplinks, uplinks))
            }
            Change::SetHidden(which, place) => {
                Change::SetHidden(which, std::mem::replace(self.hidden_mut(which), place))
            }
            Change::Nothing => Change::Nothing,
            Change::All(changes) => {
                let mut undo: Vec<_> = changes
                    .into_iter()
                    .map(|change| self.commit(change))
                    .collect();
                undo.reverse();
                Change::All(undo)
            }
        }
    }
}
