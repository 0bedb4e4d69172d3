//! Calls about what the gateway does: policies, uplinks, publications.

use super::refuse::refused;
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, translate};
use api::{
    ApiError, Name, Policy, PublicationCalls, PublicationCreate, UplinkAdd, UplinkCalls,
    UplinkState,
};
use control::{Publication, Uplink};

impl UplinkCalls for Manager {
    fn uplinks(&self) -> Result<Vec<api::Uplink>, ApiError> {
        Ok(self.now().uplinks())
    }

    fn uplink_add(&self, uplink: &UplinkAdd) -> Result<api::Uplink, ApiError> {
        self.change(|writer| writer.uplink_add(uplink))
    }

    fn uplink_remove(&self, name: &Name) -> Result<(), ApiError> {
        self.change(|writer| writer.uplink_remove(name))
    }
}

impl PublicationCalls for Manager {
    fn publications(&self) -> Result<Vec<api::Publication>, ApiError> {
        Ok(self.now().publications())
    }

    fn publish(&self, ports: &PublicationCreate) -> Result<api::Publication, ApiError> {
        self.change(|writer| writer.publish_ports(ports))
    }

    fn unpublish(&self, id: &Name) -> Result<(), ApiError> {
        self.change(|writer| writer.unpublish(id))
    }
}

impl Writer {
    /// Says what an endpoint may send and receive.
    pub(super) fn policy_set(
        &mut self,
        endpoint: &Name,
        policy: &Policy,
    ) -> Result<Policy, ApiError> {
        let (endpoint, change) = self
            .state
            .set_policy(endpoint.as_str(), policy.clone())
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(endpoint = %endpoint.id, rules = endpoint.policy.rules.len(), "has rules");
        Ok(endpoint.policy)
    }

    /// Adds an uplink.
    pub(super) fn uplink_add(&mut self, uplink: &UplinkAdd) -> Result<api::Uplink, ApiError> {
        let (uplink, change) = self
            .state
            .add_uplink(uplink)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(uplink = %uplink.name, dev = %uplink.dev, "added");
        Ok(self.show().shown_uplink(&uplink))
    }

    /// Takes an uplink away.
    pub(super) fn uplink_remove(&mut self, name: &Name) -> Result<(), ApiError> {
        let (uplink, change) = self
            .state
            .remove_uplink(name.as_str())
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(uplink = %uplink.name, "removed");
        Ok(())
    }

    /// Publishes ports of an endpoint.
    pub(super) fn publish_ports(
        &mut self,
        ports: &PublicationCreate,
    ) -> Result<api::Publication, ApiError> {
        let planned = self.state.publish(ports).or_else(|_| {
            // Who has the port may be a container that ended since the last look.
            self.retire_gone();
            self.state.publish(ports)
        });
        let (publication, change) = planned.map_err(|error| refused(&error))?;
        let listeners = self.listen(&publication)?;
        self.listeners.insert(publication.id, listeners);
        if let Err(error) = self.change(change) {
            self.listeners.remove(&publication.id);
            return Err(error);
        }
        tracing::info!(%publication, "published");
        translate::publication(&self.state, &publication)
            .ok_or_else(|| ApiError::internal(format!("{} is not whole", publication.id)))
    }

    /// Takes a publication away.
    pub(super) fn unpublish(&mut self, id: &Name) -> Result<(), ApiError> {
        let (publication, change) = self
            .state
            .unpublish(id.as_str())
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(%publication, "no longer published");
        Ok(())
    }
}

impl Snapshot {
    /// Returns the rules about an endpoint.
    pub(super) fn policy(&self, endpoint: &Name) -> Result<Policy, ApiError> {
        self.state
            .endpoint_named(endpoint.as_str())
            .map(|endpoint| endpoint.policy.clone())
            .map_err(|error| refused(&error))
    }

    /// All uplinks.
    pub(super) fn uplinks(&self) -> Vec<api::Uplink> {
        self.state.uplinks().map(|u| self.shown_uplink(u)).collect()
    }

    /// All publications.
    pub(super) fn publications(&self) -> Vec<api::Publication> {
        let shown = |p: &Publication| translate::publication(&self.state, p);
        self.state.publications().filter_map(shown).collect()
    }

    fn shown_uplink(&self, uplink: &Uplink) -> api::Uplink {
        let facts = self.facts.uplinks.get(&uplink.name);
        let networks = self.state.networks().filter(|n| {
            let own = self.state.uplink_of(n);
            n.has_gateway() && own.is_some_and(|own| own.name == uplink.name)
        });
        api::Uplink {
            name: translate::name(&uplink.name),
            dev: uplink.dev.clone(),
            ports: uplink.ports,
            state: match facts {
                Some(_) => UplinkState::Up,
                None => UplinkState::Down,
            },
            why: self.down.get(&uplink.name).cloned(),
            mac: facts.map(|link| link.mac),
            addresses: facts.map_or_else(Vec::new, |link| link.addresses.clone()),
            gateways: facts.map_or_else(Vec::new, |link| link.gateways.clone()),
            networks: networks.map(|n| translate::name(&n.name)).collect(),
        }
    }
}
