//! Calls about networks.

use super::refuse::refused;
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, routes, translate};
use api::{ApiError, Name, NetworkCalls, NetworkCreate, NetworkSet};
use control::PlacedNetwork;
use ipnet::IpNet;

impl NetworkCalls for Manager {
    fn networks(&self) -> Result<Vec<api::Network>, ApiError> {
        Ok(self.now().networks())
    }

    fn network_create(&self, network: &NetworkCreate) -> Result<api::Network, ApiError> {
        self.change(|writer| writer.network_create(network))
    }

    fn network(&self, name: &Name) -> Result<api::Network, ApiError> {
        self.now().network(name)
    }

    fn network_set(&self, name: &Name, set: &NetworkSet) -> Result<api::Network, ApiError> {
        self.change(|writer| writer.network_set(name, set))
    }

    fn network_remove(&self, name: &Name) -> Result<(), ApiError> {
        self.change(|writer| writer.network_remove(name))
    }
}

impl Writer {
    /// Makes a network.
    pub(super) fn network_create(
        &mut self,
        network: &NetworkCreate,
    ) -> Result<api::Network, ApiError> {
        let (_, change) = self
            .state
            .add_network(network, routes::overlapping)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(network = %network.name, "made");
        self.show().network(&network.name)
    }

    /// Changes a network while it is used.
    pub(super) fn network_set(
        &mut self,
        name: &Name,
        set: &NetworkSet,
    ) -> Result<api::Network, ApiError> {
        let old = self
            .state
            .network_named(name.as_str())
            .map_err(|error| refused(&error))?;
        let routing = set.applied_to(&old.routing);
        let (network, change) = self
            .state
            .set_network(name.as_str(), routing)
            .map_err(|error| refused(&error))?;
        let (network, change) = match &set.name {
            Some(new) => self
                .state
                .rename_network(&network, new.as_str())
                .map_err(|error| refused(&error))?,
            None => (network, change),
        };
        self.change(change)?;
        tracing::info!(network = %name, now = %network.name, "changed");
        self.show().network(set.name.as_ref().unwrap_or(name))
    }

    /// Takes a network away.
    pub(super) fn network_remove(&mut self, name: &Name) -> Result<(), ApiError> {
        let change = self
            .state
            .remove_network(name.as_str())
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(network = %name, "removed");
        Ok(())
    }
}

impl Snapshot {
    /// All networks, by name.
    pub(super) fn networks(&self) -> Vec<api::Network> {
        let mut all: Vec<_> = self
            .state
            .networks()
            .map(|network| self.shown(network))
            .collect();
        all.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        all
    }

    /// One network.
    pub(super) fn network(&self, name: &Name) -> Result<api::Network, ApiError> {
        self.state
            .network_named(name.as_str())
            .map(|network| self.shown(network))
            .map_err(|error| refused(&error))
    }

    fn shown(&self, network: PlacedNetwork<'_>) -> api::Network {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        api::Network {
            id: network.id.0,
            spec: translate::network_spec(&network),
            ports: count(self.state.ports_of(network.id).count()),
            endpoints: count(
                self.state
                    .endpoints()
                    .filter(|e| e.network == network.id)
                    .count(),
            ),
            macs: self.fdb_of(network.id).map_or(0, |fdb| fdb.len() as u64),
            gateway_mac: network
                .has_gateway()
                .then(|| self.state.gateway_mac(network.id)),
            gateways: network.gateways().iter().map(IpNet::addr).collect(),
            uplink: self
                .state
                .uplink_of(&network)
                .map(|uplink| translate::name(&uplink.name)),
            publications: self
                .publications()
                .into_iter()
                .filter(|p| p.network.iter().any(|own| own.as_str() == network.name))
                .collect(),
        }
    }
}
