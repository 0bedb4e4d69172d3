//! Configured entries of the forwarding databases: those that were asked for, and those that
//! every locked endpoint brings along, so that its first frame is not flooded and nobody else can be
//! learned with its address.

use crate::model::{Endpoint, Port};
use crate::placed::StaticEntry;
use crate::{Change, Error, PlacedNetwork, State};
use model::VlanMode;
use pipeline::{NetworkId, PortId};
use std::collections::BTreeMap;
use wire::{MacAddr, VlanId};

impl State {
    /// Checks an entry to be configured.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::BadMac`], [`Error::MacTaken`], [`Error::NotInNetwork`],
    /// [`Error::StaticElsewhere`].
    pub fn add_static(&self, network: &str, entry: StaticEntry) -> Result<Change, Error> {
        let network = self.network_named(network)?;
        let StaticEntry { vlan, mac, port } = entry;
        if !mac.is_valid_source() {
            return Err(Error::BadMac(mac));
        }
        if network.has_gateway() && mac == self.gateway_mac(network.id) {
            let owner = format!("the gateway of network `{}`", network.name);
            return Err(Error::MacTaken { mac, owner });
        }
        let Some(port) = self.port(port).filter(|p| p.network == Some(network.id)) else {
            return Err(Error::NotInNetwork {
                port: self.name_of(port),
                network: network.name.clone(),
            });
        };
        let mut changed = network.place.clone();
        match self.statics(network.id).get(&(vlan, mac)) {
            Some(&on) if on != port.id => {
                let (network, port) = (network.name.clone(), self.name_of(on));
                return Err(Error::StaticElsewhere {
                    network,
                    vlan,
                    mac,
                    port,
                });
            }
            Some(_) => {}
            None => changed.statics.push(entry),
        }
        Ok(Change::put_place(changed))
    }

    /// Checks the removal of a configured entry; a change of nothing when there is none.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StaticOfEndpoint`].
    pub fn remove_static(
        &self,
        network: &str,
        vlan: VlanId,
        mac: MacAddr,
    ) -> Result<Change, Error> {
        let network = self.network_named(network)?;
        let mut changed = network.place.clone();
        changed.statics.retain(|s| (s.vlan, s.mac) != (vlan, mac));
        if changed.statics.len() < network.place.statics.len() {
            return Ok(Change::put_place(changed));
        }
        // What is static and was not asked for came with an endpoint.
        match self.statics(network.id).get(&(vlan, mac)) {
            Some(&port) => Err(Error::StaticOfEndpoint {
                vlan,
                mac,
                endpoint: self.name_of(port),
            }),
            None => Ok(Change::Nothing),
        }
    }

    /// Removes the configured entries that `of` names from a network; endpoints keep theirs.
    pub fn flush_statics(
        &self,
        network: PlacedNetwork<'_>,
        of: impl Fn(&StaticEntry) -> bool,
    ) -> Change {
        let mut changed = network.place.clone();
        changed.statics.retain(|s| !of(s));
        if changed == *network.place {
            Change::Nothing
        } else {
            Change::put_place(changed)
        }
    }

    /// Every static entry that a network's database is to have.
    pub(crate) fn statics(&self, network: NetworkId) -> Statics {
        self.all_statics().remove(&network).unwrap_or_default()
    }

    /// The same for all networks that have any.
    pub(crate) fn all_statics(&self) -> BTreeMap<NetworkId, Statics> {
        let mut all: BTreeMap<NetworkId, Statics> = BTreeMap::new();
        for network in self.networks() {
            // An entry of a port that left the network waits for its return.
            let here = |s: &&StaticEntry| {
                self.port(s.port)
                    .is_some_and(|p| p.network == Some(network.id))
            };
            for entry in network.place.statics.iter().filter(here) {
                all.entry(network.id)
                    .or_default()
                    .insert((entry.vlan, entry.mac), entry.port);
            }
        }
        // An endpoint that is not locked may change its address: it is learned like any other.
        let locked = |e: &&Endpoint| self.port(e.port).is_some_and(|p| p.settings.lock.is_some());
        for endpoint in self.endpoints().filter(locked) {
            if let Some(vlan) = self.home_vlan(endpoint) {
                all.entry(endpoint.network)
                    .or_default()
                    .insert((vlan, endpoint.mac), endpoint.port);
            }
        }
        all
    }

    /// The VLAN mode of a port: its own, or access to its network's default VLAN.
    #[must_use]
    pub fn vlan_of(&self, port: &Port) -> VlanMode {
        let default = || {
            port.network
                .and_then(|id| self.network(id))
                .map_or(VlanId::DEFAULT, |n| n.default_vlan)
        };
        port.settings
            .vlan
            .clone()
            .unwrap_or_else(|| VlanMode::Access { vid: default() })
    }

    /// The VLAN of an endpoint's untagged frames.
    fn home_vlan(&self, endpoint: &Endpoint) -> Option<VlanId> {
        self.vlan_of(self.port(endpoint.port)?).untagged()
    }
}

/// Which port an address in a VLAN is configured on.
pub(crate) type Statics = BTreeMap<(VlanId, MacAddr), PortId>;
