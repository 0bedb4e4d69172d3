//! From the desired state to a topology, and the live tables that outlast topologies.
//!
//! A topology is made anew for every change, but what the switch has learned must survive it:
//! [`Live`] keeps each network's forwarding database and each port's meters and puts the same ones
//! into every topology. It remembers which static entries it wrote and where each port was, so it
//! can tell what a change has made obsolete.
//!
//! ```text
//!   topology = live.topology(&state)?     new tables made, static entries written
//!   publish(topology)                     no worker uses the old one when this is done
//!   live.settle(&state)                   what old ports and VLANs had taught is forgotten
//! ```
//! Forgetting comes last: a frame in flight under the old topology could teach it again.

use crate::ipam::mix;
use crate::model::{FdbLimits, Lock, Network, Port, StormLimits};
use crate::{Error, State};
use pipeline::Meter;
use pipeline::{NetworkId, PortId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::fdb::{Fdb, FdbConfig, FlushFilter};
use switch::{Mirror, Storm, Topology, VlanMode};
use wire::{MacAddr, VlanId};

/// The tables that live as long as their networks and ports do.
#[derive(Debug)]
pub struct Live {
    secret: u64,
    /// Tables made so far: each has a seed of its own.
    made: u64,
    networks: BTreeMap<NetworkId, Table>,
    meters: BTreeMap<PortId, (StormLimits, Storm)>,
    places: BTreeMap<PortId, Place>,
}

#[derive(Debug)]
struct Table {
    limits: FdbLimits,
    fdb: Arc<Fdb>,
    /// The limits of ports that have their own.
    port_limits: BTreeMap<PortId, u32>,
    statics: BTreeMap<(VlanId, MacAddr), PortId>,
}

/// Where a port's addresses were learned.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    fdb: NetworkId,
    vlan: VlanMode,
}

impl Live {
    /// No tables yet. `secret` is random and told to nobody: it keeps attackers from choosing
    /// where in a table their addresses stand.
    #[must_use]
    pub fn new(secret: u64) -> Self {
        Self {
            secret,
            made: 0,
            networks: BTreeMap::new(),
            meters: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// The forwarding database of a network.
    #[must_use]
    pub fn fdb(&self, network: NetworkId) -> Option<&Arc<Fdb>> {
        self.networks.get(&network).map(|table| &table.fdb)
    }

    /// The topology of `state`, with the tables there are and new ones where there are none.
    ///
    /// # Errors
    /// [`Error::TableFull`] when a static entry finds no room. The tables then hold a part of the
    /// new entries; asking for the old state's topology takes them out again.
    pub fn topology(&mut self, state: &State) -> Result<Topology, Error> {
        self.networks
            .retain(|&id, table| state.network(id).is_some_and(|n| n.fdb == table.limits));
        let mut networks = Vec::new();
        let mut statics = state.all_statics();
        let mut limits = port_limits(state);
        for network in state.networks() {
            let table = self.table(network);
            table.write_statics(network, statics.remove(&network.id).unwrap_or_default())?;
            table.write_limits(limits.remove(&network.id).unwrap_or_default());
            networks.push(switch::Network {
                id: network.id,
                mtu: network.mtu,
                forward_reserved: network.forward_reserved,
                fdb: Arc::clone(&table.fdb),
                gateway: None,
            });
        }
        self.meters.retain(|&id, _| state.port(id).is_some());
        let mirrors = mirrors(state);
        let ports = state
            .ports()
            .map(|port| self.port(state, port, mirrors.get(&port.id).copied()))
            .collect();
        Topology::new(networks, ports).map_err(|error| Error::Contradiction(error.to_string()))
    }

    /// Forgets what was learned at ports that are gone or moved, once no worker uses a topology
    /// older than the last one made of `state`.
    pub fn settle(&mut self, state: &State) {
        let place = |port: &Port| {
            let place = port.network.map(|fdb| Place {
                fdb,
                vlan: state.vlan_of(port),
            });
            place.map(|place| (port.id, place))
        };
        let now: BTreeMap<_, _> = state.ports().filter_map(place).collect();
        for (id, old) in self
            .places
            .iter()
            .filter(|(id, old)| now.get(id) != Some(old))
        {
            if let Some(table) = self.networks.get(&old.fdb) {
                table.fdb.flush(FlushFilter {
                    port: Some(*id),
                    ..FlushFilter::default()
                });
            }
        }
        self.places = now;
    }

    fn table(&mut self, network: &Network) -> &mut Table {
        self.networks.entry(network.id).or_insert_with(|| {
            self.made += 1;
            let FdbLimits {
                max_entries,
                max_per_port,
                ageing_secs,
            } = network.fdb;
            let config = FdbConfig {
                max_entries,
                max_per_port,
                ageing: Duration::from_secs(ageing_secs.into()),
            };
            let seed = mix(mix(self.secret) ^ self.made);
            Table {
                limits: network.fdb,
                fdb: Arc::new(Fdb::new(config, seed)),
                port_limits: BTreeMap::new(),
                statics: BTreeMap::new(),
            }
        })
    }

    fn port(&mut self, state: &State, port: &Port, mirror: Option<Mirror>) -> switch::Port {
        let settings = &port.settings;
        // A mirror's destination whose watched ports are all gone still must not send.
        let idle_mirror = settings.mirror.as_ref().is_some_and(|m| m.of.is_empty());
        switch::Port {
            id: port.id,
            network: port.network.filter(|_| !idle_mirror),
            up: settings.up,
            vlan: state.vlan_of(port),
            isolated: settings.isolated,
            lock: settings.lock.as_ref().map(Lock::to_switch),
            storm: self.storm(state, port),
            mirror,
        }
    }

    /// The port's meters, the same as long as its limits are.
    fn storm(&mut self, state: &State, port: &Port) -> Storm {
        let inherited = || {
            port.network
                .and_then(|id| state.network(id))
                .map(|n| n.storm)
        };
        let limits = port.settings.storm.or_else(inherited).unwrap_or_default();
        let (made_for, storm) = self.meters.entry(port.id).or_default();
        if *made_for != limits {
            *made_for = limits;
            *storm = storm_of(limits);
        }
        storm.clone()
    }
}

impl Table {
    /// Makes the ports' own limits be `wanted`.
    fn write_limits(&mut self, wanted: BTreeMap<PortId, u32>) {
        for port in self
            .port_limits
            .keys()
            .filter(|port| !wanted.contains_key(port))
        {
            self.fdb.set_port_limit(*port, None);
        }
        for (port, limit) in &wanted {
            if self.port_limits.get(port) != Some(limit) {
                self.fdb.set_port_limit(*port, Some(*limit));
            }
        }
        self.port_limits = wanted;
    }

    /// Makes the table's static entries be `wanted`.
    fn write_statics(
        &mut self,
        network: &Network,
        wanted: BTreeMap<(VlanId, MacAddr), PortId>,
    ) -> Result<(), Error> {
        self.statics.retain(|key, port| {
            let stays = wanted.get(key) == Some(port);
            if !stays {
                let (vlan, mac) = *key;
                // Absent or there, it is gone afterwards.
                let _ = self.fdb.remove(vlan, mac);
            }
            stays
        });
        for ((vlan, mac), port) in wanted {
            if self.statics.contains_key(&(vlan, mac)) {
                continue;
            }
            let full = |why: switch::fdb::FdbError| {
                Error::TableFull(network.name.clone(), why.to_string())
            };
            self.fdb.add_static(vlan, mac, port).map_err(full)?;
            self.statics.insert((vlan, mac), port);
        }
        Ok(())
    }
}

impl Lock {
    fn to_switch(&self) -> switch::Lock {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for address in &self.addresses {
            match address {
                IpAddr::V4(v4) => ipv4.push(*v4),
                IpAddr::V6(v6) => ipv6.push(*v6),
            }
        }
        switch::Lock {
            mac: self.mac,
            ipv4,
            ipv6,
        }
    }
}

/// The limits of ports that have their own, by network.
fn port_limits(state: &State) -> BTreeMap<NetworkId, BTreeMap<PortId, u32>> {
    let mut limits: BTreeMap<NetworkId, BTreeMap<PortId, u32>> = BTreeMap::new();
    for port in state.ports() {
        if let (Some(network), Some(max)) = (port.network, port.settings.max_macs) {
            limits.entry(network).or_default().insert(port.id, max);
        }
    }
    limits
}

/// Where each watched port's frames are copied to.
fn mirrors(state: &State) -> BTreeMap<PortId, Mirror> {
    let destinations = state
        .ports()
        .filter_map(|p| p.settings.mirror.as_ref().map(|m| (p.id, m)));
    let watched = destinations.flat_map(|(to, m)| {
        m.of.iter().map(move |&of| {
            (
                of,
                Mirror {
                    to,
                    ingress: m.ingress,
                    egress: m.egress,
                },
            )
        })
    });
    watched.collect()
}

/// Buckets that hold a second's worth: a host that wakes up and asks for all its neighbours at
/// once is no storm.
fn storm_of(limits: StormLimits) -> Storm {
    let meter = |rate: Option<u32>| rate.map(|rate| Arc::new(Meter::new(rate, rate)));
    Storm {
        broadcast: meter(limits.broadcast),
        multicast: meter(limits.multicast),
        unknown: meter(limits.unknown),
    }
}
