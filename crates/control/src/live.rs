//! From the desired state to a topology, and the live tables that outlast topologies.
//!
//! A topology is made anew for every change, but what the switch has learned must survive it:
//! [`Live`] keeps each network's forwarding database and each port's meters and puts the same ones
//! into every topology. It remembers which static entries it wrote and where each port was, so it
//! can tell what a change has made obsolete.
//!
//! ```text
//!   topology = live.topology(&state, ..)? new tables made, static entries written
//!   publish(topology)                     no worker uses the old one when this is done
//!   live.settle(&state)                   what old ports and VLANs had taught is forgotten
//! ```
//! Forgetting comes last: a frame in flight under the old topology could teach it again.

use crate::attachment::Attachment;
use crate::desired::{Network, Subnet};
use crate::facts::UplinkFacts;
use crate::hash::mix;
use crate::model::{Isolation, Port};
use crate::uplink::HIDDEN_FDB;
use crate::{Error, State};
use ipnet::IpNet;
use model::{FdbLimits, Rate, StormLimits, VlanMode};
use pipeline::{NetworkId, PortId};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use switch::fdb::{Fdb, FlushFilter};
use switch::{Limiter, Mirror, Storm, Topology};
use wire::{MacAddr, VlanId};

/// The tables that live as long as their networks and ports do.
#[derive(Debug)]
pub struct Live {
    secret: u64,
    /// Tables made so far: each has a seed of its own.
    made: u64,
    networks: BTreeMap<NetworkId, Table>,
    meters: BTreeMap<PortId, Meters>,
    places: BTreeMap<PortId, LearnedIn>,
}

#[derive(Debug)]
struct Table {
    limits: FdbLimits,
    fdb: Arc<Fdb>,
    /// The limits of ports that have their own.
    port_limits: BTreeMap<PortId, u32>,
    statics: BTreeMap<(VlanId, MacAddr), PortId>,
}

/// A port's meters, and what they were made for.
#[derive(Debug, Default)]
struct Meters {
    limits: StormLimits,
    storm: Storm,
    rate: Option<Rate>,
    sends: Limiter,
    receives: Limiter,
}

/// The table and the VLANs in which a port's addresses were learned.
#[derive(Debug, PartialEq, Eq)]
struct LearnedIn {
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

    /// The topology of `state`, with the tables there are and new ones where there are none, on a
    /// host that is as `facts` say.
    ///
    /// # Errors
    /// [`Error::TableFull`] when a static entry finds no room. The tables then hold a part of the
    /// new entries; asking for the old state's topology takes them out again.
    pub fn topology(&mut self, state: &State, facts: &UplinkFacts) -> Result<Topology, Error> {
        self.networks
            .retain(|&id, table| fdb_limits(state, id) == Some(table.limits));
        let mut networks = Vec::new();
        let mut statics = state.all_statics();
        let mut limits = port_limits(state);
        for network in state.networks() {
            let table = self.table(network.id, network.fdb);
            table.write_statics(&network, statics.remove(&network.id).unwrap_or_default())?;
            table.write_limits(limits.remove(&network.id).unwrap_or_default());
            networks.push(switch::Network {
                id: network.id,
                mtu: network.mtu,
                forward_reserved: network.forward_reserved,
                fdb: Arc::clone(&table.fdb),
                gateway: network.has_gateway().then(|| switch::Gateway {
                    mac: state.gateway_mac(network.id),
                    vlan: network.default_vlan,
                }),
                key: None,
            });
        }
        networks.extend(state.hidden().map(|place| self.hidden(state, place, facts)));
        self.meters.retain(|&id, _| state.port(id).is_some());
        let mirrors = mirrors(state);
        let ports = state
            .ports()
            .map(|port| self.port(state, port, mirrors.get(&port.id).copied()))
            .chain(
                state
                    .hidden()
                    .map(|place| switch::Port::plain(place.port, place.network)),
            )
            .collect();
        Topology::new(networks, ports).map_err(|error| Error::Contradiction(error.to_string()))
    }

    /// Forgets what was learned at ports that are gone or moved, once no worker uses a topology
    /// older than the last one made of `state`.
    pub fn settle(&mut self, state: &State) {
        let place = |port: &Port| {
            let place = port.network.map(|fdb| LearnedIn {
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

    /// A network that nobody made. Its packets are as large as the NIC's, which are its business.
    fn hidden(&mut self, state: &State, place: Attachment, facts: &UplinkFacts) -> switch::Network {
        let mac = state.hidden_mac(place.network, facts);
        switch::Network {
            id: place.network,
            mtu: u16::MAX,
            forward_reserved: false,
            fdb: Arc::clone(&self.table(place.network, HIDDEN_FDB).fdb),
            gateway: mac.map(|mac| switch::Gateway {
                mac,
                vlan: VlanId::DEFAULT,
            }),
            key: None,
        }
    }

    fn table(&mut self, id: NetworkId, limits: FdbLimits) -> &mut Table {
        self.networks.entry(id).or_insert_with(|| {
            self.made += 1;
            let seed = mix(mix(self.secret) ^ self.made);
            Table {
                limits,
                fdb: Arc::new(Fdb::new(limits.into(), seed)),
                port_limits: BTreeMap::new(),
                statics: BTreeMap::new(),
            }
        })
    }

    fn port(&mut self, state: &State, port: &Port, mirror: Option<Mirror>) -> switch::Port {
        let settings = &port.settings;
        // A mirror's destination whose watched ports are all gone still must not send.
        let idle_mirror = settings.mirror.as_ref().is_some_and(|m| m.of.is_empty());
        let meters = self.meters(state, port);
        switch::Port {
            id: port.id,
            membership: port.network.filter(|_| !idle_mirror).into(),
            up: settings.up,
            vlan: state.vlan_of(port),
            isolated: is_isolated(state, port),
            lock: settings
                .lock
                .as_ref()
                .map(|lock| switch::Lock::new(lock, advertised(state, port))),
            storm: meters.storm.clone(),
            sends: meters.sends.clone(),
            receives: meters.receives.clone(),
            mirror,
        }
    }

    /// The port's meters, the same as long as its limits are.
    fn meters(&mut self, state: &State, port: &Port) -> &Meters {
        let inherited = || {
            port.network
                .and_then(|id| state.network(id))
                .map(|n| n.storm)
        };
        let limits = port.settings.storm.or_else(inherited).unwrap_or_default();
        let meters = self.meters.entry(port.id).or_default();
        if meters.limits != limits {
            meters.limits = limits;
            meters.storm = limits.into();
        }
        if meters.rate != port.settings.rate {
            meters.rate = port.settings.rate;
            let limiter = || Limiter::new(port.settings.rate.unwrap_or_default());
            (meters.sends, meters.receives) = (limiter(), limiter());
        }
        meters
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
            self.fdb.add_static(vlan, mac, port.into()).map_err(full)?;
            self.statics.insert((vlan, mac), port);
        }
        Ok(())
    }
}

/// The prefixes that hosts at a port are told to make addresses in.
fn advertised(state: &State, port: &Port) -> Vec<Ipv6Addr> {
    let network = port.network.and_then(|id| state.network(id));
    let subnets = network
        .filter(|n| n.routing.slaac)
        .map(|n| &n.network.subnets);
    let fits = |subnet: &Subnet| match subnet.net {
        IpNet::V6(net) if net.prefix_len() == 64 => Some(net.network()),
        IpNet::V4(_) | IpNet::V6(_) => None,
    };
    subnets.into_iter().flatten().filter_map(fits).collect()
}

/// The limits of a network's forwarding database, hidden ones included.
fn fdb_limits(state: &State, id: NetworkId) -> Option<FdbLimits> {
    let hidden = || state.hidden().any(|place| place.network == id);
    match state.network(id) {
        Some(network) => Some(network.fdb),
        None => hidden().then_some(HIDDEN_FDB),
    }
}

/// Returns whether a port is protected: by what was said of it, else an endpoint's by its network.
fn is_isolated(state: &State, port: &Port) -> bool {
    let apart = || {
        let network = port.network.and_then(|id| state.network(id));
        state.endpoint_of(port).is_some() && network.is_some_and(|n| !n.routing.icc)
    };
    match port.settings.isolated {
        Isolation::On => true,
        Isolation::Off => false,
        Isolation::AsNetwork => apart(),
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

/// Returns where each watched port's frames are copied to.
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
                    ingress: m.direction.has_rx(),
                    egress: m.direction.has_tx(),
                },
            )
        })
    });
    watched.collect()
}
