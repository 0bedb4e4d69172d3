//! A change to the state, and how it is taken back.

use crate::attachment::{Attachment, Hidden, Uplink};
use crate::desired::{Network, Operation};
use crate::model::{Endpoint, EndpointId, Port};
use crate::placed::NetworkPlace;
use crate::publication::{Publication, PublicationId};
use crate::{State, stored};
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};

/// What [`State::commit`] does. Made by the state's own checks, or by a commit as its undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "a change does nothing until it is committed"]
pub enum Change {
    /// Change what is wanted.
    Desire(Operation),
    /// Give a network a place on this host, or replace the place that has its id.
    PutPlace(Box<NetworkPlace>),
    /// Take a network's place away.
    DropPlace(#[serde(with = "stored::form")] NetworkId),
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
        Self::Desire(Operation::put(network))
    }

    pub(crate) fn put_place(place: NetworkPlace) -> Self {
        Self::PutPlace(Box::new(place))
    }
}

impl State {
    /// Makes the change and returns what takes it back. The numbers of networks, endpoints and
    /// publications alone stay used up.
    pub fn commit(&mut self, change: Change) -> Change {
        match change {
            Change::Desire(operation) => {
                let undo = self.desired.apply(operation);
                undo.map_or(Change::Nothing, Change::Desire)
            }
            Change::PutPlace(place) => {
                let (id, after) = (place.id, place.number.saturating_add(1));
                self.placed.next_network = self.placed.next_network.max(after);
                let old = self.placed.networks.insert(id, *place);
                old.map_or(Change::DropPlace(id), Change::put_place)
            }
            Change::DropPlace(id) => {
                let old = self.placed.networks.remove(&id);
                old.map_or(Change::Nothing, Change::put_place)
            }
            Change::PutEndpoint(both) => {
                let (endpoint, port) = *both;
                let id = endpoint.id;
                self.placed.next_endpoint = self.placed.next_endpoint.max(id.0.saturating_add(1));
                let old_port = self.placed.ports.insert(port.id, port);
                match (self.placed.endpoints.insert(id, endpoint), old_port) {
                    (Some(endpoint), Some(port)) => Change::PutEndpoint(Box::new((endpoint, port))),
                    _ => Change::DropEndpoint(id),
                }
            }
            Change::DropEndpoint(id) => {
                let Some(endpoint) = self.placed.endpoints.remove(&id) else {
                    return Change::Nothing;
                };
                match self.placed.ports.remove(&endpoint.port) {
                    Some(port) => Change::PutEndpoint(Box::new((endpoint, port))),
                    None => Change::Nothing,
                }
            }
            Change::PutPort(port) => {
                let id = port.id;
                let old = self.placed.ports.insert(id, *port);
                old.map_or(Change::DropPort(id), |old| Change::PutPort(Box::new(old)))
            }
            Change::DropPort(id) => self
                .placed
                .ports
                .remove(&id)
                .map_or(Change::Nothing, |port| Change::PutPort(Box::new(port))),
            Change::PutPublication(publication) => {
                let id = publication.id;
                self.placed.next_publication =
                    self.placed.next_publication.max(id.0.saturating_add(1));
                self.placed
                    .publications
                    .insert(id, publication)
                    .map_or(Change::DropPublication(id), Change::PutPublication)
            }
            Change::DropPublication(id) => self
                .placed
                .publications
                .remove(&id)
                .map_or(Change::Nothing, Change::PutPublication),
            Change::SetUplinks(uplinks) => {
                Change::SetUplinks(std::mem::replace(&mut self.placed.uplinks, uplinks))
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
