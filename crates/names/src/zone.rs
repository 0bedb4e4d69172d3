//! Who is called what, in which network, and who may know: one immutable table.
//!
//! A container sees the names of the network whose gateway it asked, and then those of the other
//! networks that its sandbox is in. It sees no others: the names of a network are not an address
//! book for whoever shares the host. Who asks is told by the gateway's address that was asked and
//! by the source address, which a locked port cannot forge.
//!
//! Pure; a [`Zones`] never changes once built.

use crate::HostName;
use crate::host_name::strip;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// A network's identity, as the owner of the table numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkKey(pub u32);

/// A sandbox's identity, as the owner of the table numbers them: endpoints that have the same one
/// share a network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxKey(pub u64);

/// Whether a network's containers reach the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// They do.
    Outside,
    /// They do not, so neither do their questions.
    Internal,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its identity.
    pub key: NetworkKey,
    /// Its name, under which `NAME.NETWORK` answers; none when DNS cannot carry it.
    pub name: Option<HostName>,
    /// Whether what is not ours may be asked outside.
    pub reach: Reach,
    /// Its ranges: reverse questions about them are answered here and nowhere else.
    pub subnets: Vec<IpNet>,
}

/// A member of a network.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The network it is in; one that the table does not have is no error, and nobody's answer.
    pub network: NetworkKey,
    /// The sandbox it belongs to; none for what is not a container, such as the gateway.
    pub sandbox: Option<SandboxKey>,
    /// Its names: its own first, which reverse answers give, then its aliases.
    /// Others may have the same ones.
    pub names: Vec<HostName>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The table's answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a, T: ?Sized> {
    /// The name is one of ours, and this is what it stands for.
    Ours(&'a T),
    /// Only this table could know the name, and it does not.
    Absent,
    /// Others may know.
    NotOurs,
}

/// The whole table.
#[derive(Debug, Default)]
pub struct Zones {
    domain: Option<HostName>,
    networks: HashMap<NetworkKey, Zone>,
    attached: HashMap<SandboxKey, BTreeSet<NetworkKey>>,
}

/// One network's part of it.
#[derive(Debug)]
struct Zone {
    name: Option<HostName>,
    reach: Reach,
    subnets: Vec<IpNet>,
    names: HashMap<HostName, Vec<IpAddr>>,
    pointers: HashMap<IpAddr, HostName>,
    sandboxes: HashMap<IpAddr, SandboxKey>,
}

impl Zones {
    /// The table of these networks and endpoints. Under `domain`, when there is one, names answer
    /// as well (`NAME.DOMAIN`, `NAME.NETWORK.DOMAIN`), and nobody outside is asked about it.
    #[must_use]
    pub fn new(
        domain: Option<HostName>,
        networks: impl IntoIterator<Item = Network>,
        endpoints: impl IntoIterator<Item = Endpoint>,
    ) -> Self {
        let mut zones = Self {
            domain,
            networks: networks.into_iter().map(Zone::empty).collect(),
            attached: HashMap::new(),
        };
        for endpoint in endpoints {
            zones.add(&endpoint);
        }
        zones
    }

    /// Returns what a client sees that asked the gateway of `network`, from the address `client`.
    #[must_use]
    pub fn view(&self, network: NetworkKey, client: IpAddr) -> View<'_> {
        let asked = self.networks.get(&network);
        let sandbox = asked.and_then(|zone| zone.sandboxes.get(&client.to_canonical()));
        let others = sandbox.and_then(|sandbox| self.attached.get(sandbox));
        let others = others.into_iter().flatten().filter(|key| **key != network);
        let others = others.filter_map(|key| self.networks.get(key));
        View {
            domain: self.domain.as_ref(),
            zones: asked.into_iter().chain(others).collect(),
        }
    }

    fn add(&mut self, endpoint: &Endpoint) {
        let Some(zone) = self.networks.get_mut(&endpoint.network) else {
            return;
        };
        zone.add(endpoint, self.domain.as_ref());
        if let Some(sandbox) = endpoint.sandbox {
            let networks = self.attached.entry(sandbox).or_default();
            networks.insert(endpoint.network);
        }
    }
}

/// The part of the table that one client sees.
#[derive(Debug)]
pub struct View<'a> {
    domain: Option<&'a HostName>,
    /// The network that was asked first, then the others.
    zones: Vec<&'a Zone>,
}

impl<'a> View<'a> {
    /// The addresses of `name`, of both families: those of the first network that has it.
    #[must_use]
    pub fn addresses(&self, name: &HostName) -> Found<'a, [IpAddr]> {
        let relative = self.domain.and_then(|domain| name.within(domain));
        for asked in [Some(name.as_str()), relative].into_iter().flatten() {
            if let Some(addresses) = self.zones.iter().find_map(|zone| zone.find(asked)) {
                return Found::Ours(addresses);
            }
        }
        match relative {
            // A name that others are under exists, though it has no addresses (RFC 8020).
            Some(parent) if self.is_network(parent) => Found::Ours(&[]),
            None if self.domain == Some(name) => Found::Ours(&[]),
            Some(_) => Found::Absent,
            None => Found::NotOurs,
        }
    }

    /// The full name of whoever has `address`.
    #[must_use]
    pub fn pointer(&self, address: IpAddr) -> Found<'a, HostName> {
        if let Some(name) = self
            .zones
            .iter()
            .find_map(|zone| zone.pointers.get(&address))
        {
            return Found::Ours(name);
        }
        let mut subnets = self.zones.iter().flat_map(|zone| &zone.subnets);
        if subnets.any(|subnet| subnet.contains(&address)) {
            Found::Absent
        } else {
            Found::NotOurs
        }
    }

    /// Returns whether the client may ask outside: one of its networks is enough, since it could ask
    /// through that one itself. A network that is unknown reaches nothing.
    #[must_use]
    pub fn reach(&self) -> Reach {
        if self.zones.iter().any(|zone| zone.reach == Reach::Outside) {
            Reach::Outside
        } else {
            Reach::Internal
        }
    }

    fn is_network(&self, name: &str) -> bool {
        let mut names = self.zones.iter().filter_map(|zone| zone.name.as_ref());
        names.any(|network| network.as_str() == name)
    }
}

impl Zone {
    fn empty(network: Network) -> (NetworkKey, Self) {
        let zone = Self {
            name: network.name,
            reach: network.reach,
            subnets: network.subnets,
            names: HashMap::new(),
            pointers: HashMap::new(),
            sandboxes: HashMap::new(),
        };
        (network.key, zone)
    }

    fn add(&mut self, endpoint: &Endpoint, domain: Option<&HostName>) {
        for name in &endpoint.names {
            let addresses = self.names.entry(name.clone()).or_default();
            for &address in &endpoint.addresses {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        let full = endpoint.names.first().map(|name| self.full(name, domain));
        for &address in &endpoint.addresses {
            if let Some(full) = &full {
                let pointer = self.pointers.entry(address);
                pointer.or_insert_with(|| full.clone());
            }
            if let Some(sandbox) = endpoint.sandbox {
                self.sandboxes.insert(address, sandbox);
            }
        }
    }

    /// `name.NETWORK.DOMAIN`, or as much of that as there is and DNS can carry.
    fn full(&self, name: &HostName, domain: Option<&HostName>) -> HostName {
        let mut full = name.clone();
        for suffix in [self.name.as_ref(), domain].into_iter().flatten() {
            full = full.join(suffix).unwrap_or(full);
        }
        full
    }

    /// The addresses of `name`, with or without the network's own name at its end.
    fn find(&self, name: &str) -> Option<&[IpAddr]> {
        let exact = self.names.get(name);
        let qualified = || self.names.get(strip(name, self.name.as_ref()?)?);
        exact.or_else(qualified).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
