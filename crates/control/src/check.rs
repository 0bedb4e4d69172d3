//! Whether a state that came from a file hangs together.
//!
//! A file is edited by hand, cut short, or written by another version. Everything the requests
//! guarantee is checked again, so that what is loaded is as good as what was asked for.

use crate::model::{NamespaceId, PortKind};
use crate::network::{check_subnet, overlap};
use crate::{Error, State};
use ipnet::IpNet;
use model::{NetworkCreate, UplinkAdd};
use pipeline::NetworkId;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use uuid::Uuid;

impl State {
    /// Checks every rule that requests are checked against.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), Error> {
        self.check_networks()?;
        self.check_endpoints()?;
        self.check_ports()?;
        self.check_hidden()?;
        self.check_publications()
    }

    fn check_networks(&self) -> Result<(), Error> {
        let places = self.placed.networks.values().map(|place| place.network);
        unique("place of network", places.clone())?;
        let places: BTreeSet<Uuid> = places.collect();
        let wanted = self.desired.networks.keys().copied().collect();
        if let Some(uuid) = places.symmetric_difference(&wanted).next() {
            return Err(contradiction(format!(
                "network {uuid} has no place, or is none"
            )));
        }
        unique("network name", self.networks().map(|n| n.name.clone()))?;
        let bridges = self.networks().filter_map(|n| n.place.bridge.as_ref());
        unique("bridge", bridges.map(|b| b.ifname.clone()))?;
        let subnets: Vec<IpNet> = self.ranges().map(|(_, net)| net).collect();
        for (i, a) in subnets.iter().enumerate() {
            if let Some(b) = subnets[..i].iter().find(|b| overlap(*a, **b)) {
                return Err(contradiction(format!("subnets {b} and {a} overlap")));
            }
        }
        for network in self.networks() {
            network.subnets.iter().try_for_each(check_subnet)?;
            let subnets: Vec<IpNet> = network.subnets.iter().map(|s| s.net).collect();
            NetworkCreate::check_reserved(&subnets, &network.reserved)?;
            self.check_routing(&network.name, &network.subnets, &network.routing)?;
        }
        Ok(())
    }

    fn check_hidden(&self) -> Result<(), Error> {
        unique("uplink name", self.uplinks().map(|u| u.name.clone()))?;
        unique("uplink device", self.uplinks().map(|u| u.dev.clone()))?;
        self.uplinks()
            .try_for_each(|uplink| UplinkAdd::check_ports(uplink.ports))?;
        let networks = self.networks().map(|n| n.id);
        unique(
            "network id",
            networks.chain(self.hidden().map(|place| place.network)),
        )?;
        let ports = self.ports().map(|p| p.id);
        unique(
            "port id",
            ports.chain(self.hidden().map(|place| place.port)),
        )?;
        let too_high =
            |place: &crate::Attachment| place.network.index().max(place.port.index()) > MAX_ID;
        match self.hidden().find(too_high) {
            None => Ok(()),
            Some(place) => Err(contradiction(format!(
                "network id {} or port id {} is above {MAX_ID}",
                place.network.0, place.port.0
            ))),
        }
    }

    fn check_publications(&self) -> Result<(), Error> {
        for publication in self.publications() {
            if publication.id.0 >= self.placed.next_publication {
                return Err(contradiction(format!(
                    "the next publication's id is not after {}",
                    publication.id
                )));
            }
            self.check_publication(publication)?;
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), Error> {
        for endpoint in self.endpoints() {
            let id = endpoint.id;
            let Some(port) = self.port(endpoint.port) else {
                return Err(contradiction(format!("endpoint {id} has no port")));
            };
            if port.kind != PortKind::Endpoint(id) || port.network != Some(endpoint.network) {
                return Err(contradiction(format!(
                    "endpoint {id} and port `{}` disagree",
                    port.name
                )));
            }
            if endpoint.sandbox.is_some() && endpoint.interface().is_none() {
                return Err(contradiction(format!("endpoint {id} has no veth")));
            }
            if id.0 >= self.placed.next_endpoint {
                return Err(contradiction(format!(
                    "the next endpoint's id is not after {id}"
                )));
            }
        }
        let named = |e: &crate::Endpoint| e.name.clone().map(|name| (e.network, name));
        unique_debug("endpoint name", self.endpoints().filter_map(named))?;
        self.endpoints().try_for_each(|e| e.policy.check())?;
        let addresses = |e: &crate::Endpoint| -> Vec<(NetworkId, IpAddr)> {
            e.addresses.iter().map(|a| (e.network, a.addr())).collect()
        };
        unique_debug("address", self.endpoints().flat_map(addresses))?;
        unique_debug("MAC address", self.endpoints().map(|e| (e.network, e.mac)))
    }

    fn check_ports(&self) -> Result<(), Error> {
        unique("port name", self.ports().map(|p| p.name.clone()))?;
        for port in self.ports() {
            if let Some(network) = port.network.filter(|&id| self.network(id).is_none()) {
                return Err(contradiction(format!(
                    "port `{}` is in {network}, which does not exist",
                    port.name
                )));
            }
            if matches!(port.kind, PortKind::Endpoint(_))
                && self.endpoint_of(port).is_none_or(|e| e.port != port.id)
            {
                return Err(contradiction(format!(
                    "port `{}` has no endpoint",
                    port.name
                )));
            }
            // Ids index tables: one far above the number of ports would make them enormous.
            if port.id.index() > MAX_ID {
                return Err(contradiction(format!(
                    "port id {} is above {MAX_ID}",
                    port.id.0
                )));
            }
            self.check_settings(port)?;
        }
        if let Some(network) = self.networks().find(|n| n.id.index() > MAX_ID) {
            return Err(contradiction(format!(
                "network id {} is above {MAX_ID}",
                network.id.0
            )));
        }
        let interfaces = self.ports().filter_map(|p| self.interface_of(p));
        let named = interfaces.map(|(namespace, name)| (namespace, name.to_owned()));
        unique_debug::<(Option<Option<NamespaceId>>, String)>("interface", named)
    }
}

/// Ports and networks at most.
const MAX_ID: usize = 65_535;

fn unique<T: Ord + Clone + Display>(
    what: &str,
    mut values: impl Iterator<Item = T>,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    match values.find(|v| !seen.insert(v.clone())) {
        Some(twice) => Err(contradiction(format!("{what} `{twice}` is there twice"))),
        None => Ok(()),
    }
}

fn unique_debug<T: Ord + Clone + std::fmt::Debug>(
    what: &str,
    mut values: impl Iterator<Item = T>,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    match values.find(|v| !seen.insert(v.clone())) {
        Some(twice) => Err(contradiction(format!("{what} {twice:?} is there twice"))),
        None => Ok(()),
    }
}

fn contradiction(what: String) -> Error {
    Error::Contradiction(what)
}
