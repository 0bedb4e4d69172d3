//! What a network's gateway does, and who talks to whom: everything of a network that may be
//! changed while containers are in it.

use crate::network::apart;
use crate::state::not_found;
use crate::{Change, Error, Network, PlacedNetwork, State, Subnet};
use ipnet::{IpNet, Ipv6Net};
use model::{Name, Routing, UplinkChoice};
use nat::PrefixPair;

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
            ..network.network.clone()
        };
        Ok((network.clone(), Change::put_network(network)))
    }

    /// Checks a new name of `network`, which may differ from the present one in more. Those that
    /// name it as their peer name it by the new one.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::Invalid`], [`Error::OwnPeer`].
    pub fn rename_network(&self, network: &Network, new: &str) -> Result<(Network, Change), Error> {
        let old = network.name.as_str();
        let peer: Name = new.parse()?;
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
        let befriended = |other: &PlacedNetwork<'_>| other.routing.peers.contains(old);
        let mut changes: Vec<_> = self
            .networks()
            .filter(befriended)
            .map(|other| {
                let mut other = other.network.clone();
                other.routing.peers.remove(old);
                other.routing.peers.insert(peer.clone());
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
        routing.check()?;
        if routing.peers.contains(name) {
            return Err(Error::OwnPeer(name.to_owned()));
        }
        if let Some(prefix) = routing.nptv6.get() {
            self.check_prefix(name, subnets, prefix)?;
        }
        match &routing.uplink {
            UplinkChoice::Named(uplink) if self.uplink_named(uplink.as_str()).is_none() => {
                Err(not_found("uplink", uplink.as_str()))
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
