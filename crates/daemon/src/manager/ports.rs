//! Calls about ports.

use super::endpoints::find;
use super::make;
use super::open::{self, Condition, OpenPort, Opened};
use super::refuse::{KernelError, refused};
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, translate};
use api::{AdminState, ApiError, Name, PortAdd, PortCalls, PortSet, PortState};
use control::{Port, PortKind, TAP_MTU_MAX};
use host::Netns;
use pipeline::PortId;
use std::collections::BTreeMap;

impl PortCalls for Manager {
    fn ports(&self) -> Result<Vec<api::Port>, ApiError> {
        Ok(self.now().ports())
    }

    fn port_add(&self, port: &PortAdd) -> Result<api::Port, ApiError> {
        self.change(|writer| writer.port_add(port))
    }

    fn port(&self, name: &Name) -> Result<api::Port, ApiError> {
        self.now().port(name)
    }

    fn port_set(&self, name: &Name, set: &PortSet) -> Result<api::Port, ApiError> {
        self.change(|writer| writer.port_set(name, set))
    }

    fn port_remove(&self, name: &Name) -> Result<(), ApiError> {
        self.change(|writer| writer.port_remove(name))
    }
}

impl Writer {
    /// Adds a port.
    pub(super) fn port_add(&mut self, port: &PortAdd) -> Result<api::Port, ApiError> {
        let identity = port.kind.netns().map(find).transpose()?;
        let (port, change) = self
            .state
            .add_port(port, identity)
            .map_err(|error| refused(&error))?;
        let (opened, netns) = self.open(&port, true).map_err(|error| error.to_api())?;
        let begun = self.begin(change)?;
        if let Err(error) = opened.persist() {
            self.revert(begun);
            return Err(error.to_api());
        }
        self.publish(begun);
        self.live.settle(&self.state);
        self.take_in(port.id, netns, opened)?;
        tracing::info!(port = %port.name, "added");
        Ok(self.show().shown_port(&port))
    }

    /// Changes a port. Setting it up opens it again when it was closed.
    pub(super) fn port_set(&mut self, name: &Name, set: &PortSet) -> Result<api::Port, ApiError> {
        let old = self
            .state
            .port_named(name.as_str())
            .map_err(|error| refused(&error))?;
        let id = old.id;
        let wanted = set.applied_to(&translate::port_spec(&self.state, old));
        let planned = self.state.port_settings(&wanted).and_then(|settings| {
            let network = self.state.network_id(wanted.network.as_ref())?;
            self.state.set_port(id, network, settings)
        });
        let (port, change) = planned.map_err(|error| refused(&error))?;
        let reopened = match set.admin {
            Some(AdminState::Up) if !self.is_open(id) => {
                let ended = |open: &OpenPort| matches!(open.condition(), Condition::Ended(_));
                if self.open.get(&id).is_some_and(ended) {
                    // A capture that was played to its end is still recording.
                    self.close_as(id, Condition::Down("the capture ended".to_owned()));
                }
                Some(self.reopen(&port).map_err(|error| error.to_api())?)
            }
            Some(AdminState::Up | AdminState::Down) | None => None,
        };
        self.change(change)?;
        if let Some((opened, netns)) = reopened {
            let programs = opened.programs;
            let ready = opened.persist().and_then(|()| self.put_programs(programs));
            ready.map_err(|error| error.to_api())?;
            self.take_in(id, netns, opened)?;
            tracing::info!(port = %port.name, "opened again");
        }
        Ok(self.show().shown_port(&port))
    }

    /// Takes a port away.
    pub(super) fn port_remove(&mut self, name: &Name) -> Result<(), ApiError> {
        let (port, change) = self
            .state
            .remove_port(name.as_str())
            .map_err(|error| refused(&error))?;
        let begun = self.begin(change)?;
        self.publish(begun);
        self.live.settle(&self.state);
        tracing::info!(port = %port.name, "removed");
        Ok(())
    }

    /// Opens a port that is not an endpoint's.
    pub(super) fn open(
        &self,
        port: &Port,
        fresh: bool,
    ) -> Result<(Opened, Option<Netns>), KernelError> {
        let network = port.network.and_then(|id| self.state.network(id));
        let mtu = network.map_or(1500, |n| n.mtu).min(TAP_MTU_MAX);
        make::open_port(port, mtu, fresh)
    }

    /// Opens a port of the state anew, whatever is behind it.
    pub(super) fn reopen(&self, port: &Port) -> Result<(Opened, Option<Netns>), KernelError> {
        match self.state.endpoint_of(port) {
            Some(endpoint) => {
                let opened = make::take_up_endpoint(&self.state, endpoint)?;
                Ok((opened, open::watched(endpoint)))
            }
            None => self.open(port, false),
        }
    }

    fn is_open(&self, id: PortId) -> bool {
        self.open
            .get(&id)
            .is_some_and(|open| *open.condition() == Condition::Open)
    }
}

impl Snapshot {
    /// All ports, by name.
    pub(super) fn ports(&self) -> Vec<api::Port> {
        let macs = self.macs();
        let shown = |port| self.port_with_macs(port, &macs);
        let mut all: Vec<_> = self.state.ports().map(shown).collect();
        all.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        all
    }

    /// One port.
    pub(super) fn port(&self, name: &Name) -> Result<api::Port, ApiError> {
        let port = self
            .state
            .port_named(name.as_str())
            .map_err(|error| refused(&error))?;
        Ok(self.shown_port(port))
    }

    fn shown_port(&self, port: &Port) -> api::Port {
        self.port_with_macs(port, &self.macs())
    }

    fn port_with_macs(&self, port: &Port, macs: &BTreeMap<PortId, u64>) -> api::Port {
        let (state, why) = self.port_state(port);
        api::Port {
            id: port.id.0.into(),
            spec: translate::port_spec(&self.state, port),
            state,
            why,
            endpoint: matches!(port.kind, PortKind::Endpoint(_))
                .then(|| translate::name(&port.name)),
            datapath: self
                .state
                .endpoint_of(port)
                .map_or_else(Default::default, |endpoint| endpoint.datapath),
            workers: self
                .dataplane
                .workers_of(port.id)
                .iter()
                .map(|w| w.0)
                .collect(),
            macs: macs.get(&port.id).copied().unwrap_or(0),
            counters: self.counted(port.id),
        }
    }

    /// Returns whether a port carries frames, and why it does not.
    pub(super) fn port_state(&self, port: &Port) -> (PortState, Option<String>) {
        let condition = self.ports.get(&port.id).map(|status| &status.condition);
        match condition {
            Some(Condition::Dead(why)) => (PortState::Dead, Some(why.clone())),
            Some(Condition::Down(why)) => (PortState::Down, Some(why.clone())),
            Some(_) if !port.settings.up => (PortState::Down, Some("it was set down".to_owned())),
            Some(Condition::Ended(why)) => (PortState::Up, Some(why.clone())),
            Some(Condition::Open) => (PortState::Up, None),
            None => (PortState::Dead, Some("it was never opened".to_owned())),
        }
    }

    /// Returns how many addresses each port has in the forwarding databases.
    fn macs(&self) -> BTreeMap<PortId, u64> {
        let now = self.dataplane.now();
        let fdbs = self.state.networks().filter_map(|n| self.fdb_of(n.id));
        let mut macs = BTreeMap::new();
        for entry in fdbs.flat_map(|fdb| fdb.entries(now)) {
            *macs.entry(entry.at.port).or_default() += 1;
        }
        macs
    }
}
