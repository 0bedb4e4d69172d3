//! Requests about networks.

use crate::desired::{Network, Operation, Subnet, network_uuid};
use crate::model::Port;
use crate::names::{check_ifname, check_name};
use crate::placed::{Bridge, NetworkPlace, PlacedNetwork};
use crate::{Change, Error, State};
use ipnet::IpNet;
use model::{AddressRange, FdbLimits, Routing, StormLimits};
use pipeline::NetworkId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use wire::VlanId;

/// A network to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// Where its addresses come from; none for a network that only switches.
    pub subnets: Vec<SubnetRequest>,
    /// The largest IP packet, in bytes.
    pub mtu: u32,
    /// Whether frames to 01:80:C2:00:00:0x are carried.
    pub forward_reserved: bool,
    /// The VLAN of ports that are told no other.
    pub default_vlan: VlanId,
    /// Bounds of the forwarding database.
    pub fdb: FdbLimits,
    /// What each port may flood that has no limits of its own.
    pub storm: StormLimits,
    /// Addresses that are given to nobody who does not ask for them.
    pub reserved: Vec<AddressRange>,
    /// What its gateway does, and who talks to whom.
    pub routing: Routing,
    /// The host's bridge that it stands in for.
    pub bridge: Option<Bridge>,
    /// Take the subnets although the host has routes to some of their addresses.
    pub allow_overlap: bool,
    /// Take them although other networks have some of their addresses, or may come to.
    pub overlapping: bool,
    /// Free words.
    pub labels: BTreeMap<String, String>,
}

/// A range of addresses of a network to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetRequest {
    /// The range.
    pub net: IpNet,
    /// The address of the network's gateway.
    pub gateway: Gateway,
}

/// Which address of a subnet its gateway has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gateway {
    /// The first one.
    #[default]
    First,
    /// This one.
    At(IpAddr),
    /// There is no gateway.
    None,
}

impl Default for NetworkRequest {
    fn default() -> Self {
        Self {
            name: String::new(),
            subnets: Vec::new(),
            mtu: 1500,
            forward_reserved: false,
            default_vlan: VlanId::DEFAULT,
            fdb: FdbLimits::default(),
            storm: StormLimits::default(),
            reserved: Vec::new(),
            routing: Routing::default(),
            bridge: None,
            allow_overlap: false,
            overlapping: false,
            labels: BTreeMap::new(),
        }
    }
}

impl State {
    /// Checks a network to be made. `overlapping_route` says which route of the host leads to
    /// addresses of a range, if there is one.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn add_network(
        &self,
        request: &NetworkRequest,
        overlapping_route: impl Fn(IpNet) -> Option<String>,
    ) -> Result<(NetworkId, Change), Error> {
        let NetworkRequest {
            name,
            subnets,
            mtu,
            fdb,
            ..
        } = request;
        check_name("network", name)?;
        self.check_bridge(request.bridge.as_ref())?;
        if self.network_named(name).is_ok() {
            return Err(Error::NameTaken {
                what: "network",
                name: name.clone(),
            });
        }
        fdb.check()?;
        let ipv6 = subnets.iter().any(|s| s.net.addr().is_ipv6());
        let range = if ipv6 { MTU_WITH_IPV6 } else { MTU };
        check_range("mtu", u64::from(*mtu), range)?;
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
        check_reserved(&subnets, &request.reserved)?;
        let number = self.placed.next_network;
        let network = Network {
            uuid: network_uuid(self.placed.seed, number),
            name: name.clone(),
            subnets,
            mtu: u16::try_from(*mtu).expect("the range ends at 65535"),
            forward_reserved: request.forward_reserved,
            default_vlan: request.default_vlan,
            fdb: *fdb,
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
            bridge: request.bridge.clone(),
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
    fn check_bridge(&self, bridge: Option<&Bridge>) -> Result<(), Error> {
        let Some(bridge) = bridge else {
            return Ok(());
        };
        check_ifname(&bridge.ifname)?;
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

    fn check_subnets(&self, request: &NetworkRequest) -> Result<Vec<Subnet>, Error> {
        let name = request.name.as_str();
        let mut accepted: Vec<Subnet> = Vec::new();
        for &SubnetRequest { net, gateway } in &request.subnets {
            check_subnet(&Subnet { net, gateway: None })?;
            let gateway = match gateway {
                Gateway::First => Some(Subnet { net, gateway: None }.first_host()),
                Gateway::At(gateway) => Some(gateway),
                Gateway::None => None,
            };
            let subnet = Subnet { net, gateway };
            check_subnet(&subnet)?;
            let own = accepted.iter().map(|s| (name, s.net));
            apart(net, own)?;
            if !request.overlapping {
                apart(net, self.ranges())?;
            }
            accepted.push(subnet);
        }
        Ok(accepted)
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

/// Refuses reserved ranges that are not ranges of one subnet.
pub(crate) fn check_reserved(subnets: &[Subnet], reserved: &[AddressRange]) -> Result<(), Error> {
    let is_in = |range: &AddressRange, net: IpNet| {
        net.contains(&range.first()) && net.contains(&range.last())
    };
    let lost = |range: &&AddressRange| !subnets.iter().any(|s| is_in(range, s.net));
    match reserved.iter().find(lost) {
        Some(range) => Err(Error::BadReservation(*range)),
        None => Ok(()),
    }
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

pub(crate) fn check_range(
    what: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::OutOfRange {
        what,
        value,
        min: *range.start(),
        max: *range.end(),
    })
}

/// From the packet every IPv4 host must take whole (RFC 791 3.1) to the largest there is.
const MTU: RangeInclusive<u64> = 576..=65_535;
/// IPv6 does not run below 1280 (RFC 8200 5).
const MTU_WITH_IPV6: RangeInclusive<u64> = 1280..=65_535;
/// Room for a router and at least one endpoint beside network and broadcast address.
const PREFIX_V4: RangeInclusive<u8> = 8..=30;
const PREFIX_V6: RangeInclusive<u8> = 16..=126;
