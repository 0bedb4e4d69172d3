//! What a network's gateway does, and who talks to whom: everything of a network that may be
//! changed while containers are in it.

use crate::names::check_name;
use crate::network::apart;
use crate::network::check_range;
use crate::state::not_found;
use crate::{Change, Error, Network, State, Subnet, stored};
use ipnet::{IpNet, Ipv6Net};
use nat::config::Masquerade;
use nat::{Behaviour, Filtering, Mapping, PrefixPair, Preset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a network's gateway does, and who talks to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// Nothing is routed into the network or out of it; the gateway itself still answers.
    pub internal: bool,
    /// Whether endpoints of the network talk to each other.
    pub icc: bool,
    /// The names of networks it may exchange packets with; only those count that name it as well.
    pub peers: BTreeSet<String>,
    /// Where packets for the world leave.
    pub uplink: UplinkChoice,
    /// Which of them leave with the uplink's address; the others with their own.
    #[serde(with = "stored::word")]
    pub masquerade: Masquerade,
    /// The prefix that the world knows the network's IPv6 addresses by instead (RFC 6296).
    pub prefix: Option<Ipv6Net>,
    /// How its NAT behaves.
    pub nat: Nat,
    /// Whether the host and the containers reach each other, where there is a gateway.
    pub host_access: bool,
    /// Whether router advertisements tell hosts to make addresses of their own (SLAAC).
    pub slaac: bool,
    /// Whether the gateway leases endpoints their addresses (DHCP).
    pub dhcp: bool,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            internal: false,
            icc: true,
            peers: BTreeSet::new(),
            uplink: UplinkChoice::Auto,
            masquerade: Masquerade::On,
            prefix: None,
            nat: Nat::default(),
            host_access: true,
            slaac: false,
            dhcp: false,
        }
    }
}

/// Where a network's packets for the world leave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UplinkChoice {
    /// Through the first uplink there is.
    #[default]
    Auto,
    /// Nowhere.
    None,
    /// Through the one of this name.
    Named(String),
}

/// A preset and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nat {
    /// The named behaviour.
    #[serde(with = "stored::word")]
    pub preset: Preset,
    /// Whether the external port depends on the peer; as the preset has it if `None`.
    #[serde(with = "stored::word_option")]
    pub mapping: Option<Mapping>,
    /// Who may answer; as the preset has it if `None`.
    #[serde(with = "stored::word_option")]
    pub filtering: Option<Filtering>,
    /// Whether TCP segments outside the window pass; as the preset has it if `None`.
    pub tcp_liberal: Option<bool>,
    /// Connections one address may hold.
    pub quota: u32,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            mapping: None,
            filtering: None,
            tcp_liberal: None,
            quota: 65_536,
        }
    }
}

impl Nat {
    /// The preset's behaviour with the differences.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        let preset = self.preset.behaviour();
        Behaviour {
            mapping: self.mapping.unwrap_or(preset.mapping),
            filtering: self.filtering.unwrap_or(preset.filtering),
            tcp_liberal: self.tcp_liberal.unwrap_or(preset.tcp_liberal),
            ..preset
        }
    }
}

impl State {
    /// Checks new settings of a network.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn set_network(&self, name: &str, routing: Routing) -> Result<(Network, Change), Error> {
        let network = self.network_named(name)?;
        self.check_routing(name, &network.subnets, &routing)?;
        let network = Network {
            routing,
            ..network.clone()
        };
        Ok((network.clone(), Change::put_network(network)))
    }

    /// Checks a new name of `network`, which may differ from the present one in more. Those that
    /// name it as their peer name it by the new one.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::BadName`], [`Error::OwnPeer`].
    pub fn rename_network(&self, network: &Network, new: &str) -> Result<(Network, Change), Error> {
        let old = network.name.as_str();
        check_name("network", new)?;
        if old != new && self.network_named(new).is_ok() {
            return Err(Error::NameTaken {
                what: "network",
                name: new.to_owned(),
            });
        }
        if network.routing.peers.contains(new) {
            return Err(Error::OwnPeer(new.to_owned()));
        }
        let network = Network {
            name: new.to_owned(),
            ..network.clone()
        };
        let befriended = |other: &&Network| other.routing.peers.contains(old);
        let mut changes: Vec<_> = self
            .networks()
            .filter(befriended)
            .map(|other| {
                let mut other = other.clone();
                other.routing.peers.remove(old);
                other.routing.peers.insert(new.to_owned());
                Change::put_network(other)
            })
            .collect();
        changes.push(Change::put_network(network.clone()));
        Ok((network, Change::All(changes)))
    }

    /// A peer need not exist yet: of two networks that name each other one is made first.
    pub(crate) fn check_routing(
        &self,
        name: &str,
        subnets: &[Subnet],
        routing: &Routing,
    ) -> Result<(), Error> {
        check_range("quota", routing.nat.quota.into(), QUOTA)?;
        if routing.peers.contains(name) {
            return Err(Error::OwnPeer(name.to_owned()));
        }
        if let Some(prefix) = routing.prefix {
            self.check_prefix(name, subnets, prefix)?;
        }
        match &routing.uplink {
            UplinkChoice::Named(uplink) if self.uplink_named(uplink).is_none() => {
                Err(not_found("uplink", uplink))
            }
            UplinkChoice::Named(_) | UplinkChoice::Auto | UplinkChoice::None => Ok(()),
        }
    }
}

impl State {
    /// Nobody else has addresses in the prefix, and the network's own can be translated to it.
    fn check_prefix(&self, name: &str, subnets: &[Subnet], prefix: Ipv6Net) -> Result<(), Error> {
        let own = subnets.iter().find_map(|subnet| match subnet.net {
            IpNet::V6(net) if subnet.gateway.is_some() => Some(net),
            IpNet::V4(_) | IpNet::V6(_) => None,
        });
        let own = own.ok_or_else(|| Error::NothingToTranslate {
            network: name.to_owned(),
            prefix,
        })?;
        PrefixPair::new(own, prefix)?;
        let others = self.ranges().filter(|(network, _)| *network != name);
        let own = subnets.iter().map(|s| (name, s.net));
        apart(prefix.into(), others.chain(own))
    }
}

const QUOTA: std::ops::RangeInclusive<u64> = 1..=1 << 24;
