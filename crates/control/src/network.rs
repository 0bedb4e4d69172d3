//! Requests about networks.

use crate::desired::{Network, Operation, Subnet, network_uuid};
use crate::model::Port;
use crate::placed::{Bridge, NetworkPlace, PlacedNetwork};
use crate::{Change, Error, State};
use ipnet::IpNet;
use model::{NetworkCreate, check_ifname};
use pipeline::NetworkId;
use std::net::IpAddr;
use std::ops::RangeInclusive;

impl State {
    /// Checks a network to be made. `overlapping_route` says which route of the host leads to
    /// addresses of a range, if there is one.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn add_network(
        &self,
        request: &NetworkCreate,
        overlapping_route: impl Fn(IpNet) -> Option<String>,
    ) -> Result<(NetworkId, Change), Error> {
        self.make_network(request, None, overlapping_route)
    }

    /// Checks a network to be made that stands in for a bridge of the host's.
    ///
    /// # Errors
    /// See [`State::add_network`]; [`Error::Adopted`].
    pub fn adopt_bridge(
        &self,
        request: &NetworkCreate,
        bridge: Bridge,
        overlapping_route: impl Fn(IpNet) -> Option<String>,
    ) -> Result<(NetworkId, Change), Error> {
        self.check_bridge(&bridge)?;
        self.make_network(request, Some(bridge), overlapping_route)
    }

    fn make_network(
        &self,
        request: &NetworkCreate,
        bridge: Option<Bridge>,
        overlapping_route: impl Fn(IpNet) -> Option<String>,
    ) -> Result<(NetworkId, Change), Error> {
        request.check()?;
        let name = request.name.as_str();
        if self.network_named(name).is_ok() {
            return Err(Error::NameTaken {
                what: "network",
                name: name.to_owned(),
            });
        }
        let subnets = self.check_subnets(request)?;
        self.check_routing(name, &subnets, &request.routing)?;
        for net in subnets
            .iter()
            .map(|s| s.net)
            .filter(|_| !request.allow_overlap && !request.overlapping)
        {
            if let Some(route) = overlapping_route(net) {
                return Err(Error::RouteOverlaps { net, route });
            }
        }
        let number = self.placed.next_network;
        let network = Network {
            uuid: network_uuid(self.placed.seed, number),
            name: name.to_owned(),
            subnets,
            mtu: request.mtu,
            forward_reserved: request.forward_reserved,
            default_vlan: request.default_vlan,
            fdb: request.fdb(),
            storm: request.storm,
            reserved: request.reserved.clone(),
            overlapping: request.overlapping,
            routing: request.routing.clone(),
            labels: request.labels.clone(),
        };
        let place = NetworkPlace {
            id: self.free_network_id(),
            network: network.uuid,
            number,
            bridge,
            statics: Vec::new(),
        };
        let id = place.id;
        let changes = vec![Change::put_network(network), Change::put_place(place)];
        Ok((id, Change::All(changes)))
    }

    /// Checks the removal of a network: nothing may use it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NetworkInUse`].
    pub fn remove_network(&self, name: &str) -> Result<Change, Error> {
        let network = self.network_named(name)?;
        let ports: Vec<_> = self.ports_of(network.id).map(|p| p.name.clone()).collect();
        if !ports.is_empty() {
            return Err(Error::NetworkInUse {
                name: name.to_owned(),
                ports,
            });
        }
        Ok(Change::All(vec![
            Change::DropPlace(network.id),
            Change::Desire(Operation::DropNetwork(network.uuid)),
        ]))
    }

    /// The ports of a network, in the order of ids.
    pub fn ports_of(&self, network: NetworkId) -> impl Iterator<Item = &Port> + '_ {
        self.ports().filter(move |p| p.network == Some(network))
    }

    /// The network that stands in for a bridge of the host's.
    ///
    /// # Errors
    /// [`Error::NotAdopted`].
    pub fn network_for(&self, bridge: &str) -> Result<PlacedNetwork<'_>, Error> {
        let stands_in =
            |n: &PlacedNetwork<'_>| n.place.bridge.as_ref().is_some_and(|b| b.ifname == bridge);
        let not_adopted = || Error::NotAdopted(bridge.to_owned());
        self.networks().find(stands_in).ok_or_else(not_adopted)
    }

    /// A bridge has one network at most.
    fn check_bridge(&self, bridge: &Bridge) -> Result<(), Error> {
        check_ifname("bridge", &bridge.ifname)?;
        if !bridge.mac.is_valid_source() {
            return Err(Error::BadMac(bridge.mac));
        }
        match self.network_for(&bridge.ifname) {
            Err(_) => Ok(()),
            Ok(network) => Err(Error::Adopted {
                bridge: bridge.ifname.clone(),
                network: network.name.clone(),
            }),
        }
    }

    fn check_subnets(&self, request: &NetworkCreate) -> Result<Vec<Subnet>, Error> {
        let subnet = |&net: &IpNet| {
            let mut subnet = Subnet { net, gateway: None };
            check_subnet(&subnet)?;
            subnet.gateway = match &request.gateways {
                None => Some(subnet.first_host()),
                Some(all) => all.iter().copied().find(|gateway| net.contains(gateway)),
            };
            check_subnet(&subnet)?;
            if !request.overlapping {
                apart(net, self.ranges())?;
            }
            Ok(subnet)
        };
        request.subnets.iter().map(subnet).collect()
    }

    /// Returns what addresses of networks lie in that no other network may have, and what the world knows
    /// addresses by.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (&str, IpNet)> {
        self.networks().flat_map(|n| {
            let n = n.network;
            let prefix = n.routing.nptv6.get().map(IpNet::V6);
            let nets = n.subnets.iter().filter(|_| !n.overlapping).map(|s| s.net);
            nets.chain(prefix).map(|net| (n.name.as_str(), net))
        })
    }
}

/// Nobody has addresses in `net` already.
pub(crate) fn apart<'n>(
    net: IpNet,
    mut taken: impl Iterator<Item = (&'n str, IpNet)>,
) -> Result<(), Error> {
    match taken.find(|(_, other)| overlap(net, *other)) {
        None => Ok(()),
        Some((network, other)) => Err(Error::SubnetOverlaps {
            net,
            other,
            network: network.to_owned(),
        }),
    }
}

/// Two ranges of whole prefixes overlap exactly when one holds the other.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

pub(crate) fn check_subnet(subnet: &Subnet) -> Result<(), Error> {
    let net = subnet.net;
    let refuse = |why: String| Err(Error::BadSubnet { net, why });
    if net.trunc() != net {
        return refuse(format!(
            "its host bits are not zero; {} is one",
            net.trunc()
        ));
    }
    let lengths = if net.addr().is_ipv4() {
        PREFIX_V4
    } else {
        PREFIX_V6
    };
    if !lengths.contains(&net.prefix_len()) {
        return refuse(format!(
            "its prefix length is not in {} to {}",
            lengths.start(),
            lengths.end()
        ));
    }
    if is_special(net.addr()) {
        return refuse("it lies in a loopback, link-local, multicast or reserved range".to_owned());
    }
    let Some(gateway) = subnet.gateway else {
        return Ok(());
    };
    let (first, last) = subnet.hosts();
    if gateway.is_ipv4() != net.addr().is_ipv4() || gateway < first || gateway > last {
        return Err(Error::BadGateway { gateway, net });
    }
    Ok(())
}

/// Returns whether no host has an address like this one.
pub(crate) fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0 || v4.is_loopback() || v4.is_link_local() || v4.octets()[0] >= 224
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
        }
    }
}

/// Room for a router and at least one endpoint beside network and broadcast address.
const PREFIX_V4: RangeInclusive<u8> = 8..=30;
const PREFIX_V6: RangeInclusive<u8> = 16..=126;
