//! A change to the state, and how it is taken back.

use crate::State;
use crate::model::{Endpoint, EndpointId, Network, Port};
use pipeline::{NetworkId, PortId};

/// What [`State::commit`] does. Made by the state's own checks, or by a commit as its undo.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change does nothing until it is committed"]
pub enum Change {
    /// Add a network, or replace the one that has its id.
    PutNetwork(Network),
    /// Remove a network.
    DropNetwork(NetworkId),
    /// Add an endpoint with its port.
    PutEndpoint(Box<(Endpoint, Port)>),
    /// Remove an endpoint with its port.
    DropEndpoint(EndpointId),
    /// Add a port, or replace the one that has its id.
    PutPort(Box<Port>),
    /// Remove a port.
    DropPort(PortId),
    /// Nothing.
    Nothing,
    /// Several, in order.
    All(Vec<Self>),
}

impl State {
    /// Makes the change and answers what takes it back. Endpoint ids alone stay used up.
    pub fn commit(&mut self, change: Change) -> Change {
        match change {
            Change::PutNetwork(network) => {
                let id = network.id;
                self.networks
                    .insert(id, network)
                    .map_or(Change::DropNetwork(id), Change::PutNetwork)
            }
            Change::DropNetwork(id) => self
                .networks
                .remove(&id)
                .map_or(Change::Nothing, Change::PutNetwork),
            Change::PutEndpoint(both) => {
                let (endpoint, port) = *both;
                let id = endpoint.id;
                self.next_endpoint = self.next_endpoint.max(id.0.saturating_add(1));
                self.ports.insert(port.id, port);
                self.endpoints.insert(id, endpoint);
                Change::DropEndpoint(id)
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
