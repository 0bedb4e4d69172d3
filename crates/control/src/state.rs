//! Everything that is wanted at one moment, and how to find things in it.

use crate::Error;
use crate::desired::Desired;
use crate::model::{Endpoint, EndpointId, NamespaceId, Port, PortKind, Sandbox};
use crate::placed::{NetworkPlace, Placed, PlacedNetwork};
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The desired and the placed state together, as the state file holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(crate) desired: Desired,
    pub(crate) placed: Placed,
}

impl State {
    /// Nothing yet. `seed` is random, so that two daemons derive different MAC addresses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            desired: Desired::default(),
            placed: Placed::new(seed),
        }
    }

    /// The state's seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.placed.seed
    }

    /// Every network, in the order of ids.
    pub fn networks(&self) -> impl Iterator<Item = PlacedNetwork<'_>> + '_ {
        let places = self.placed.networks.values();
        places.filter_map(|place| self.placed(place))
    }

    fn placed<'s>(&'s self, place: &'s NetworkPlace) -> Option<PlacedNetwork<'s>> {
        let network = self.desired.networks.get(&place.network)?;
        Some(PlacedNetwork {
            id: place.id,
            network,
            place,
        })
    }

    /// Every endpoint, in the order of ids.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> + '_ {
        self.placed.endpoints.values()
    }

    /// Every port, in the order of ids.
    pub fn ports(&self) -> impl Iterator<Item = &Port> + '_ {
        self.placed.ports.values()
    }

    /// The network `id`.
    #[must_use]
    pub fn network(&self, id: NetworkId) -> Option<PlacedNetwork<'_>> {
        self.placed(self.placed.networks.get(&id)?)
    }

    /// The endpoint `id`.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.placed.endpoints.get(&id)
    }

    /// The port `id`.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.placed.ports.get(&id)
    }

    /// The network named `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn network_named(&self, name: &str) -> Result<PlacedNetwork<'_>, Error> {
        self.networks()
            .find(|n| n.name == name)
            .ok_or_else(|| not_found("network", name))
    }

    /// The port named `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn port_named(&self, name: &str) -> Result<&Port, Error> {
        self.placed
            .ports
            .values()
            .find(|p| p.name == name)
            .ok_or_else(|| not_found("port", name))
    }

    /// The endpoint whose id (`ep-3`) or port is named `name`, or the one endpoint that has this
    /// name of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Ambiguous`] when endpoints of several networks have the name.
    pub fn endpoint_named(&self, name: &str) -> Result<&Endpoint, Error> {
        let is = |e: &&Endpoint| {
            e.id.to_string() == name || self.port(e.port).is_some_and(|p| p.name == name)
        };
        if let Some(endpoint) = self.placed.endpoints.values().find(is) {
            return Ok(endpoint);
        }
        let named: Vec<_> = self
            .placed
            .endpoints
            .values()
            .filter(|e| e.name.as_ref().is_some_and(|n| n.as_str() == name))
            .collect();
        match named.as_slice() {
            [] => Err(not_found("endpoint", name)),
            [one] => Ok(one),
            [..] => Err(Error::Ambiguous {
                name: name.to_owned(),
                ids: named.iter().map(|e| e.id.to_string()).collect(),
            }),
        }
    }

    /// The endpoints of one namespace, in the order of ids.
    pub fn endpoints_in(&self, namespace: NamespaceId) -> impl Iterator<Item = &Endpoint> + '_ {
        self.placed
            .endpoints
            .values()
            .filter(move |e| e.is_in(namespace))
    }

    /// The endpoint that `port` belongs to.
    #[must_use]
    pub fn endpoint_of(&self, port: &Port) -> Option<&Endpoint> {
        match port.kind {
            PortKind::Endpoint(id) => self.endpoint(id),
            PortKind::Own { .. } => None,
        }
    }

    /// The namespace whose end is the port's; none for one that ends with the daemon only.
    #[must_use]
    pub fn sandbox_of(&self, port: &Port) -> Option<Sandbox> {
        match &port.kind {
            PortKind::Endpoint(id) => self.endpoint(*id)?.sandbox.clone(),
            PortKind::Own { kind, identity } => Some(Sandbox {
                namespace: kind.netns()?.clone(),
                identity: *identity,
            }),
        }
    }

    /// The namespace and name of the interface behind `port`, as we know it. No namespace is the
    /// daemon's own, one without identity is not there yet; `None` in all is a port without an
    /// interface.
    #[must_use]
    pub fn interface_of<'a>(
        &'a self,
        port: &'a Port,
    ) -> Option<(Option<Option<NamespaceId>>, &'a str)> {
        match &port.kind {
            PortKind::Endpoint(id) => {
                let (sandbox, ifname) = self.endpoint(*id)?.interface()?;
                Some((sandbox.map(|sandbox| sandbox.identity), ifname))
            }
            PortKind::Own { kind, identity } => {
                Some((kind.netns().map(|_| *identity), kind.ifname()?))
            }
        }
    }

    /// The lowest id no network has: ids index tables, so they stay dense.
    pub(crate) fn free_network_id(&self) -> NetworkId {
        let hidden = self.hidden().map(|place| place.network.0);
        let taken: BTreeSet<u32> = self
            .placed
            .networks
            .keys()
            .map(|id| id.0)
            .chain(hidden)
            .collect();
        NetworkId(lowest_free(taken.into_iter()))
    }

    /// The lowest id no port has. The caller [checked](State::check_room) that there is one, or is
    /// one of the two that have theirs kept.
    pub(crate) fn free_port_id(&self) -> PortId {
        let hidden = self.hidden().map(|place| place.port.0);
        let taken = self
            .placed
            .ports
            .keys()
            .map(|id| id.0)
            .chain(hidden)
            .map(u32::from);
        let taken: BTreeSet<u32> = taken.collect();
        let free = u16::try_from(lowest_free(taken.into_iter()));
        PortId(free.expect("an id is kept for the host and for the servers"))
    }

    /// Refuses one port more than there may be.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        if self.placed.ports.len() + self.placed.uplinks.len() < MAX_PORTS {
            return Ok(());
        }
        Err(Error::PortsFull(MAX_PORTS))
    }

    /// Refuses a second interface `ifname` in one namespace.
    pub(crate) fn check_interface_free(
        &self,
        sandbox: Option<&Sandbox>,
        ifname: &str,
    ) -> Result<(), Error> {
        let wanted = Some((sandbox.map(|s| s.identity), ifname));
        let owner = self
            .placed
            .ports
            .values()
            .find(|p| self.interface_of(p) == wanted);
        let Some(owner) = owner else { return Ok(()) };
        let sandbox = sandbox.map_or_else(
            || "the daemon's namespace".to_owned(),
            |s| s.namespace.to_string(),
        );
        Err(Error::IfnameTaken {
            sandbox,
            ifname: ifname.to_owned(),
            owner: owner.name.clone(),
        })
    }
}

pub(crate) fn not_found(what: &'static str, name: &str) -> Error {
    Error::NotFound {
        what,
        name: name.to_owned(),
    }
}

/// Ports and uplinks at most: as many as there are ids, but for the one that stands for gateways and
/// the two that are kept for the host and the servers.
const MAX_PORTS: usize = PortId::GATEWAY.index() - 2;

/// The lowest number that is not among `taken`, which rise.
fn lowest_free(taken: impl Iterator<Item = u32>) -> u32 {
    let mut free = 0;
    for taken in taken {
        if taken != free {
            break;
        }
        free += 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hidden;
    use model::PortAdd;

    #[test]
    fn the_last_port_is_refused_and_the_host_and_the_servers_still_find_an_id() {
        let mut state = State::new(1);
        let request = |name: &str| PortAdd::new(name.parse().unwrap(), model::PortKind::Null);
        let (port, _) = state.add_port(&request("first"), None).unwrap();
        let ids = (1..MAX_PORTS).map(|id| PortId(u16::try_from(id).unwrap()));
        state
            .placed
            .ports
            .extend(ids.map(|id| (id, Port { id, ..port.clone() })));
        let (last, change) = state.add_port(&request("last"), None).unwrap();
        let _ = state.commit(change);
        assert_eq!(last.id, PortId(0));
        assert_eq!(
            state.add_port(&request("more"), None).map(drop),
            Err(Error::PortsFull(65_533))
        );
        for (which, id) in [(Hidden::Host, 65_533), (Hidden::Services, 65_534)] {
            let (place, change) = state.add_place(which);
            let _ = state.commit(change);
            assert_eq!(place.port, PortId(id));
        }
    }
}
