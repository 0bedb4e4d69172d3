//! Calls about the forwarding databases.

use super::refuse::refused;
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, filter, translate};
use api::{
    ApiError, FdbAdd, FdbCalls, FdbEntry, FdbFlush, FdbKey, FdbKind, Filter, Flushed, Name, VlanId,
};
use control::{Change, PlacedNetwork, State, StaticEntry};
use lease::Station;
use observe::{Flow, Subject};
use pipeline::PortId;
use std::collections::HashMap;
use switch::fdb::{Entry, FlushFilter, Kind, Removal};

impl FdbCalls for Manager {
    fn fdb(&self, filter: &Filter) -> Result<Vec<FdbEntry>, ApiError> {
        self.now().fdb(filter)
    }

    fn fdb_add(&self, entry: &FdbAdd) -> Result<FdbEntry, ApiError> {
        self.change(|writer| writer.fdb_add(entry))
    }

    fn fdb_remove(&self, key: &FdbKey) -> Result<(), ApiError> {
        self.change(|writer| writer.fdb_remove(key))
    }

    fn fdb_flush(&self, which: &FdbFlush) -> Result<Flushed, ApiError> {
        self.change(|writer| writer.fdb_flush(which))
    }
}

impl Snapshot {
    /// The addresses that pass the filter, by network, VLAN and address.
    pub(super) fn fdb(&self, filter: &Filter) -> Result<Vec<FdbEntry>, ApiError> {
        let wanted = filter::compile(&filter.filter, Subject::Entries, &self.state)?;
        let (now, leases) = (self.dataplane.now(), self.leases_by_station());
        let mut shown = Vec::new();
        let networks = self.state.networks();
        for network in networks.filter(|n| wanted.may_match_in(n.id)) {
            let entries = self
                .fdb_of(network.id)
                .map(|fdb| fdb.entries(now))
                .unwrap_or_default();
            let wanted = entries.iter().filter(|e| {
                wanted.matches(&Flow::entry(network.id, e.vlan.get(), e.mac, e.at.port))
            });
            shown.extend(wanted.filter_map(|entry| self.shown_entry(network, entry, &leases)));
        }
        shown.sort_by(|a, b| (&a.network, a.vlan, a.mac).cmp(&(&b.network, b.vlan, b.mac)));
        Ok(shown)
    }

    fn shown_entry(
        &self,
        network: PlacedNetwork<'_>,
        entry: &Entry,
        leases: &HashMap<Station, u64>,
    ) -> Option<FdbEntry> {
        let station = Station {
            network: network.id,
            vlan: entry.vlan,
            mac: entry.mac,
            port: entry.at.port,
        };
        let (kind, age_seconds) = match entry.kind {
            Kind::Learned => (FdbKind::Learned, Some(entry.age.as_secs())),
            Kind::Static => (FdbKind::Static, None),
        };
        Some(FdbEntry {
            network: translate::name(&network.name),
            vlan: VlanId::try_from(entry.vlan.get()).ok()?,
            mac: entry.mac,
            port: translate::name(&self.state.port(entry.at.port)?.name),
            kind,
            age_seconds,
            leases: leases.get(&station).copied().unwrap_or(0),
        })
    }
}

impl Writer {
    /// Writes a static entry.
    pub(super) fn fdb_add(&mut self, entry: &FdbAdd) -> Result<FdbEntry, ApiError> {
        let network = self
            .state
            .network_named(entry.network.as_str())
            .map_err(|error| refused(&error))?;
        let vlan = entry.vlan.unwrap_or(network.default_vlan);
        let port = self
            .state
            .port_named(entry.port.as_str())
            .map_err(|error| refused(&error))?;
        let entry = StaticEntry {
            vlan,
            mac: entry.mac,
            port: port.id,
        };
        let answer = FdbEntry {
            network: translate::name(&network.name),
            vlan,
            mac: entry.mac,
            port: translate::name(&port.name),
            kind: FdbKind::Static,
            age_seconds: None,
            leases: 0,
        };
        let change = self
            .state
            .add_static(answer.network.as_str(), entry)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        Ok(answer)
    }

    /// Removes one entry, learned or static.
    pub(super) fn fdb_remove(&mut self, key: &FdbKey) -> Result<(), ApiError> {
        let network = self
            .state
            .network_named(key.network.as_str())
            .map_err(|error| refused(&error))?;
        let (id, mac) = (network.id, key.mac);
        let vlan = key.vlan.unwrap_or(network.default_vlan);
        let change = self
            .state
            .remove_static(key.network.as_str(), vlan, mac)
            .map_err(|error| refused(&error))?;
        if change != Change::Nothing {
            return self.change(change);
        }
        let removed = self.live.fdb(id).map(|fdb| fdb.remove(vlan, mac));
        self.dataplane.recall();
        match removed {
            Some(Removal::Removed { .. }) => Ok(()),
            Some(Removal::Absent) | None => Err(ApiError::not_found(format!(
                "network {} knows no {mac} in VLAN {vlan}",
                key.network
            ))),
        }
    }

    /// Forgets entries. Those of endpoints stay: they go with the endpoint.
    pub(super) fn fdb_flush(&mut self, flush: &FdbFlush) -> Result<Flushed, ApiError> {
        let port = port_id(&self.state, flush.port.as_ref())?;
        let vlan = flush.vlan;
        let meant = |s: &StaticEntry| {
            port.is_none_or(|id| s.port == id) && vlan.is_none_or(|v| s.vlan == v)
        };
        let (mut removed, mut changes, mut tables) = (0, Vec::new(), Vec::new());
        for network in networks_named(&self.state, flush.network.as_ref())? {
            tables.extend(self.live.fdb(network.id).cloned());
            if flush.include_static {
                removed += network.place.statics.iter().filter(|s| meant(s)).count();
                changes.push(self.state.flush_statics(network, meant));
            }
        }
        changes.retain(|change| *change != Change::Nothing);
        if !changes.is_empty() {
            self.change(Change::All(changes))?;
        }
        removed += tables
            .iter()
            .map(|fdb| {
                fdb.flush(FlushFilter {
                    port,
                    vlan,
                    statics: false,
                })
            })
            .sum::<usize>();
        self.dataplane.recall();
        Ok(Flushed {
            removed: removed as u64,
        })
    }
}

fn networks_named<'s>(
    state: &'s State,
    name: Option<&Name>,
) -> Result<Vec<PlacedNetwork<'s>>, ApiError> {
    match name {
        Some(name) => state
            .network_named(name.as_str())
            .map(|n| vec![n])
            .map_err(|error| refused(&error)),
        None => Ok(state.networks().collect()),
    }
}

fn port_id(state: &State, name: Option<&Name>) -> Result<Option<PortId>, ApiError> {
    let id = |name: &Name| state.port_named(name.as_str()).map(|p| p.id);
    name.map(id).transpose().map_err(|error| refused(&error))
}
