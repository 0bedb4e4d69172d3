//! TAPs by which a stack of ours meets containers at their gateways' addresses.
//!
//! ```text
//!   host's stack ──── cw-host TAP ──┐                   10.1.0.1/32, 10.2.0.1/32 on the TAP
//!                                   ├── router ── networks     10.1.0.0/24 dev TAP src 10.1.0.1
//!   daemon's servers ─ TAP ─────────┘                   10.2.0.0/24 dev TAP src 10.2.0.1
//!     (in a namespace of their own)
//! ```
//! The gateway's address is an address of the TAP, alone (a /32 or /128), so that what a container
//! sends to its gateway ends here; its subnet is routed to the TAP, so that what is sent to a
//! container leaves here, from the gateway's address unless its sender chose another. That route is
//! also what lets a strict reverse path filter pass what containers send, so no such filter needs
//! to be changed.
//!
//! What shaped it: a subnet that the host already has a route into would take that route's packets
//! away from the host (its own network, a VPN), so it is refused, in words. The one route that may
//! be there is that of a bridge whose ports we have: the bridge keeps its address, by which its
//! owner knows it again (dockerd chooses another subnet for a bridge without), and our route stands
//! in front of the bridge's own.

use crate::execute::Failed;
use crate::note::Note;
use crate::{Error, Links, sysctl};
use ipnet::IpNet;
use std::net::IpAddr;

/// Such a TAP, in the namespace of the stack that uses it. What is on it goes when it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPort {
    ifname: String,
}

/// Whose stack it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// The host's.
    Host,
    /// The daemon's own servers'.
    Services,
}

/// A container network as seen from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// The gateway's address.
    pub address: IpAddr,
    /// The network's subnet.
    pub subnet: IpNet,
}

impl GatewayPort {
    /// Sets up a TAP for it, or takes over one that an earlier process set up; what that one put
    /// on it stays.
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::Sysctl`].
    pub fn open(links: &Links, ifname: &str, stack: Stack, mtu: u16) -> Result<Self, Error> {
        let note = match stack {
            Stack::Host => Note::Host,
            Stack::Services => Note::Services,
        };
        links.set_alias(ifname, &note.alias())?;
        sysctl::quiet_ipv6(ifname)?;
        links.set_mtu(ifname, mtu)?;
        links.set_up(ifname, true)?;
        Ok(Self {
            ifname: ifname.to_owned(),
        })
    }

    /// Joins a network to the stack. Adding it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Overlaps`] when a route of somebody else's leads into the subnet; [`Error::Link`].
    /// Nothing of it is there then.
    pub fn add(&self, links: &Links, gateway: Gateway) -> Result<(), Failed<Error>> {
        self.add_beside(links, gateway, None)
    }

    /// Joins a network to the stack that stands in for `bridge`: the bridge keeps its addresses and
    /// its routes, and ours come first.
    ///
    /// # Errors
    /// As [`GatewayPort::add`].
    pub fn add_in_front_of(
        &self,
        links: &Links,
        gateway: Gateway,
        bridge: &str,
    ) -> Result<(), Failed<Error>> {
        self.add_beside(links, gateway, Some(bridge))
    }

    fn add_beside(
        &self,
        links: &Links,
        gateway: Gateway,
        bridge: Option<&str>,
    ) -> Result<(), Failed<Error>> {
        let subnet = gateway.subnet;
        let but = [self.ifname.as_str(), bridge.unwrap_or(&self.ifname)];
        if let Some(route) = links.overlapping(subnet, &but)? {
            return Err(Failed::from(Error::Overlaps {
                subnet,
                route: route.to_string(),
            }));
        }
        let joined = self.join(links, gateway, bridge.is_some());
        joined.map_err(|error| Failed {
            error,
            left_behind: self.remove(links, gateway),
        })
    }

    /// Parts a network from the stack. Lists what could not be undone.
    #[must_use = "what could not be undone is still there"]
    pub fn remove(&self, links: &Links, gateway: Gateway) -> Vec<Error> {
        let route = links.remove_route(&self.ifname, gateway.subnet);
        let address = links.remove_address(&self.ifname, alone(gateway.address));
        [route, address]
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }

    /// The gateways' addresses that are on it.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn addresses(&self, links: &Links) -> Result<Vec<IpAddr>, Error> {
        let all = links.addresses(&self.ifname)?;
        let ours = all
            .iter()
            .filter(|net| net.prefix_len() == net.max_prefix_len());
        Ok(ours.map(IpNet::addr).collect())
    }

    /// The interface.
    #[must_use]
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    fn join(&self, links: &Links, gateway: Gateway, in_front: bool) -> Result<(), Error> {
        let address = alone(gateway.address);
        if !links.addresses(&self.ifname)?.contains(&address) {
            links.add_address(&self.ifname, address)?;
        }
        if in_front {
            return links.add_route_in_front(&self.ifname, gateway.subnet, gateway.address);
        }
        links.add_route(&self.ifname, gateway.subnet, gateway.address)
    }
}

/// The address without a subnet.
fn alone(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
