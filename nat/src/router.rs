//! The router at one moment: what it is configured to be, made into tables for the hot path, and
//! the live state that outlives a change of it.
//!
//! Like the switch's topology a [`Router`] is immutable and published whole. [`Live`] is shared
//! between the snapshots: connections, neighbours, fragments and rate limits go on.

use crate::config::{Config, Interface, Role};
use crate::outbox::Outbox;
use ipnet::IpNet;
use pipeline::{Instant, NetworkId};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use wire::{Headers, MacAddr};

/// Everything a frame needs to know of the router.
#[derive(Debug, Default)]
pub struct Router {
    /// By network id.
    faces: Vec<Option<Face>>,
    /// What lives longer than the configuration.
    pub live: Arc<Live>,
}

/// An interface, ready for the hot path.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) network: NetworkId,
    pub(crate) role: Role,
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpNet>,
    /// The router's own link-local address, made of its MAC (RFC 4291, appendix A).
    pub(crate) link_local: Ipv6Addr,
    pub(crate) mtu: u16,
    pub(crate) neighbours: BTreeMap<IpAddr, MacAddr>,
    pub(crate) peer: Option<MacAddr>,
}

/// What lives longer than a configuration. Safe to use from every worker at once.
#[derive(Debug, Default)]
pub struct Live {}

/// Why a configuration does not make a router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two interfaces are in one network.
    #[error("{0} has two interfaces")]
    DuplicateInterface(NetworkId),
}

impl Router {
    /// The router that `config` describes, with the state of `live`.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn new(config: Config, live: Arc<Live>) -> Result<Self, ConfigError> {
        let mut faces: Vec<Option<Face>> = Vec::new();
        for interface in config.interfaces {
            let id = interface.network;
            if faces.len() <= id.index() {
                faces.resize_with(id.index() + 1, || None);
            }
            if faces[id.index()].replace(Face::new(interface)).is_some() {
                return Err(ConfigError::DuplicateInterface(id));
            }
        }
        Ok(Self { faces, live })
    }

    pub(crate) fn face(&self, network: NetworkId) -> Option<&Face> {
        self.faces.get(network.index())?.as_ref()
    }

    /// Whether a frame that would be flooded in `network` is the router's business instead: an
    /// ARP request or neighbour solicitation for an address it answers for, a router
    /// solicitation, a DHCP request where it leases.
    #[must_use]
    pub fn claims(
        &self,
        network: NetworkId,
        headers: &Headers,
        frame: &pipeline::Frame<'_>,
    ) -> bool {
        let _ = (self.face(network), headers, frame);
        false
    }

    /// What is due: questions asked again, announcements, advertisements, and the forgetting of
    /// what is over. Called about once a second by one caller.
    pub fn poll(&self, now: Instant, outbox: &mut Outbox) {
        let _ = (now, outbox);
    }
}

impl Face {
    pub(crate) fn new(interface: Interface) -> Self {
        let Interface {
            network,
            role,
            mac,
            addresses,
            mtu,
            neighbours,
            peer,
        } = interface;
        Self {
            network,
            role,
            mac,
            addresses,
            link_local: link_local(mac),
            mtu,
            neighbours,
            peer,
        }
    }

    /// Whether `ip` is one of the router's own addresses here.
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == ip) || ip == IpAddr::V6(self.link_local)
    }
}

/// fe80::/64 and the modified EUI-64 of `mac`.
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}
