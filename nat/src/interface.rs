//! An interface of the router: its place in one network, ready for the hot path.

use crate::config::{InsideRole, InterfaceConfig, Role, UplinkRole};
use crate::nptv6::{PrefixError, PrefixPair};
use ipnet::IpNet;
use pipeline::NetworkId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use wire::MacAddr;

/// An interface, ready for the hot path.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) network: NetworkId,
    pub(crate) role: Role,
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpNet>,
    /// The same addresses without their subnets.
    pub(crate) ips: Vec<IpAddr>,
    /// The router's own link-local address, made of its MAC (RFC 4291, appendix A).
    pub(crate) link_local: Ipv6Addr,
    pub(crate) mtu: u16,
    pub(crate) neighbours: BTreeMap<IpAddr, MacAddr>,
    pub(crate) peer: Option<MacAddr>,
}

impl Interface {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        let InterfaceConfig {
            network,
            role,
            mac,
            addresses,
            mtu,
            neighbours,
            peer,
        } = config;
        Self {
            network,
            role,
            mac,
            ips: addresses.iter().map(IpNet::addr).collect(),
            addresses,
            link_local: mac.link_local(),
            mtu,
            neighbours,
            peer,
        }
    }

    /// Returns whether `ip` is one of the router's own addresses here.
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip) || ip == IpAddr::V6(self.link_local)
    }

    /// How a network of containers is treated; `None` of any other.
    pub(crate) fn inside(&self) -> Option<&InsideRole> {
        match &self.role {
            Role::Inside(role) => Some(role),
            Role::Uplink(_) | Role::Host(_) | Role::Services => None,
        }
    }

    /// The translation between the network's own prefix and the one that the world knows it by.
    pub(crate) fn prefixes(&self) -> Option<Result<(NetworkId, PrefixPair), PrefixError>> {
        let outside = self.inside()?.settings.nptv6.get()?;
        let inside = self.addresses.iter().find_map(|net| match net {
            IpNet::V6(net) => Some(*net),
            IpNet::V4(_) => None,
        })?;
        Some(PrefixPair::new(inside, outside).map(|pair| (self.network, pair)))
    }

    /// Returns who is asked for the MAC of `dst`'s next hop: `dst` itself where it is on the link.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> Option<IpAddr> {
        match &self.role {
            Role::Inside(_) | Role::Host(_) | Role::Services => Some(dst),
            Role::Uplink(UplinkRole { gateways, .. }) => {
                if self.addresses.iter().any(|net| net.contains(&dst)) {
                    return Some(dst);
                }
                gateways
                    .iter()
                    .copied()
                    .find(|g| g.is_ipv4() == dst.is_ipv4())
            }
        }
    }
}
