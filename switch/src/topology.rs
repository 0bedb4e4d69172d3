//! The switch's configuration, as one immutable snapshot.
//!
//! A change builds a new [`Topology`] and publishes it whole; a worker looks at one for as long as
//! a batch lasts, so a frame never meets half a change. The live state a snapshot points to
//! (forwarding database, meters) is shared between snapshots by [`Arc`] and has its own
//! thread-safety; carrying it over is the publisher's business.

use crate::fdb::Fdb;
use crate::rate::Limiter;
use model::{StormLimits, VlanMode};
use pipeline::{DropReason, Location, Meter, NetworkId, PeerId, Peers, PortId, Tunnel, TunnelKey};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use wire::{MacAddr, VlanId};

/// A network: a bridge domain, isolated from every other.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its identity.
    pub id: NetworkId,
    /// The largest IP packet carried, in bytes from the IP header on.
    pub mtu: u16,
    /// Whether frames to 01:80:C2:00:00:0x are carried like any other (labs want LLDP, LACP, STP).
    pub forward_reserved: bool,
    /// Where each MAC is.
    pub fdb: Arc<Fdb>,
    /// The router's place in it, if it has one.
    pub gateway: Option<Gateway>,
    /// The key of its frames in tunnels; none keeps it out of them.
    pub key: Option<TunnelKey>,
}

/// The router's place in a network: it has no port, and what is sent to its MAC leaves layer 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Its MAC address, which nobody else may use.
    pub mac: MacAddr,
    /// The VLAN it is in.
    pub vlan: VlanId,
}

/// A port's place in the switch.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its identity.
    pub id: PortId,
    /// The networks it belongs to.
    pub membership: Membership,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its VLANs.
    pub vlan: VlanMode,
    /// A protected port: it exchanges nothing with other protected ports.
    pub isolated: bool,
    /// The addresses it may speak for; `None` trusts it with any.
    pub lock: Option<Lock>,
    /// How many flooded frames a second it may send.
    pub storm: Storm,
    /// How much it may send.
    pub sends: Limiter,
    /// How much it may receive.
    pub receives: Limiter,
    /// Where copies of its frames go.
    pub mirror: Option<Mirror>,
}

impl Port {
    /// A port of `network` that is up, in the default VLAN, trusted and unlimited.
    #[must_use]
    pub fn plain(id: PortId, network: NetworkId) -> Self {
        Self {
            id,
            membership: Membership::Network(network),
            up: true,
            vlan: VlanMode::Access {
                vid: VlanId::DEFAULT,
            },
            isolated: false,
            lock: None,
            storm: Storm::default(),
            sends: Limiter::default(),
            receives: Limiter::default(),
            mirror: None,
        }
    }

    /// Returns whether router advertisements from it are admitted: those of a locked port never are (RFC 6105).
    pub(crate) const fn may_advertise(&self) -> bool {
        self.lock.is_none()
    }
}

/// The networks that a port belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// None: it carries nothing.
    None,
    /// This one.
    Network(NetworkId),
    /// Every network that has a tunnel key: the key of a frame says in which it is. The port leads
    /// to many far ends.
    Tunnel(Horizon),
}

impl From<Option<NetworkId>> for Membership {
    fn from(network: Option<NetworkId>) -> Self {
        network.map_or(Self::None, Self::Network)
    }
}

/// Whether frames go from one far end of a port to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Horizon {
    /// Never: each reaches the others by itself, as in a mesh of tunnels.
    Split,
    /// Yes, though never back to the one that sent the frame: the port is the hub of a star.
    Reflect,
}

/// The only addresses a port may speak for, by family. One without IP addresses binds the MAC alone: the
/// host finds its IP addresses itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IPv4 addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses; link-local ones are always allowed beside them.
    pub ipv6: Vec<Ipv6Addr>,
}

impl Lock {
    /// The addresses of `lock`, with those that a host makes of its MAC address in the prefixes that
    /// are advertised to it (RFC 4862, 5.5.3): it was asked to.
    #[must_use]
    pub fn new(lock: &model::Lock, advertised: impl IntoIterator<Item = Ipv6Addr>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for ip in &lock.ips {
            match ip {
                IpAddr::V4(v4) => ipv4.push(*v4),
                IpAddr::V6(v6) => ipv6.push(*v6),
            }
        }
        if !lock.ips.is_empty() {
            ipv6.extend(advertised.into_iter().map(|net| lock.mac.eui64_in(net)));
        }
        Self {
            mac: lock.mac,
            ipv4,
            ipv6,
        }
    }
}

/// Limits on the frames a port makes the switch flood. The port's worker is their one writer.
#[derive(Debug, Clone, Default)]
pub struct Storm {
    /// Frames to ff:ff:ff:ff:ff:ff.
    pub broadcast: Option<Arc<Meter>>,
    /// Frames to other group addresses.
    pub multicast: Option<Arc<Meter>>,
    /// Frames to an address nobody was seen with.
    pub unknown: Option<Arc<Meter>>,
}

/// Buckets that hold a second's worth: a host that wakes up and asks for all its neighbours at
/// once is no storm.
impl From<StormLimits> for Storm {
    fn from(limits: StormLimits) -> Self {
        let meter = |rate: Option<u32>| rate.map(|rate| Arc::new(Meter::new(rate, rate)));
        Self {
            broadcast: meter(limits.broadcast),
            multicast: meter(limits.multicast),
            unknown: meter(limits.unknown_unicast),
        }
    }
}

/// Where copies of a port's frames go (SPAN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// The port that gets the copies. It sends nothing else, and what it sends us is dropped.
    pub to: PortId,
    /// Copy what arrives at the port, also what is then dropped.
    pub ingress: bool,
    /// Copy what leaves it.
    pub egress: bool,
}

/// Where a frame entered the switch.
#[derive(Debug, Clone, Copy)]
pub struct Ingress<'t> {
    /// Through which port.
    pub port: &'t Port,
    /// Into which network.
    pub network: &'t Network,
    /// From which far end of the port.
    pub peer: PeerId,
}

impl Ingress<'_> {
    /// The place that the frame came from.
    #[must_use]
    pub fn location(&self) -> Location {
        Location {
            port: self.port.id,
            peer: self.peer,
        }
    }

    /// Returns whether the frame may go to a station at `to`.
    pub(crate) fn may_reach(&self, to: Location) -> bool {
        to.port != self.port.id || (self.is_reflected() && to.peer != self.peer)
    }

    /// The far ends of the port `to` that may have the frame; `None` where none of them may.
    pub(crate) fn flooded(&self, to: PortId) -> Option<Peers> {
        if to != self.port.id {
            Some(Peers::All)
        } else {
            self.is_reflected().then_some(Peers::AllBut(self.peer))
        }
    }

    fn is_reflected(&self) -> bool {
        self.port.membership == Membership::Tunnel(Horizon::Reflect)
    }
}

/// Why networks and ports do not make a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Two networks have one id.
    #[error("{0} is there twice")]
    DuplicateNetwork(NetworkId),
    /// Two ports have one id.
    #[error("{0} is there twice")]
    DuplicatePort(PortId),
    /// A port's network is not there.
    #[error("{0} belongs to {1}, which does not exist")]
    UnknownNetwork(PortId, NetworkId),
    /// Two networks have one tunnel key.
    #[error("{0} and {1} both have the tunnel key {2}")]
    DuplicateKey(NetworkId, NetworkId, TunnelKey),
    /// A mirror's destination is not there, or is the mirrored port itself.
    #[error("{0} is mirrored to {1}, which is not another port")]
    BadMirror(PortId, PortId),
}

#[derive(Debug)]
struct Domain {
    network: Network,
    members: Vec<PortId>,
    /// The port that frames of the gateway come from: trusted, and no member.
    gateway: Port,
}

#[derive(Debug)]
struct Member {
    port: Port,
    mirror_destination: bool,
}

/// Networks and ports at one moment.
#[derive(Debug, Default)]
pub struct Topology {
    networks: Vec<Option<Domain>>,
    ports: Vec<Option<Member>>,
    keys: BTreeMap<TunnelKey, NetworkId>,
}

impl Topology {
    /// The snapshot of these networks and ports.
    ///
    /// # Errors
    /// [`TopologyError`]: the first contradiction found.
    pub fn new(networks: Vec<Network>, ports: Vec<Port>) -> Result<Self, TopologyError> {
        let mut topology = Self::default();
        for network in networks {
            let id = network.id;
            if let Some(key) = network.key
                && let Some(other) = topology.keys.insert(key, id)
            {
                return Err(TopologyError::DuplicateKey(other, id, key));
            }
            let domain = Domain {
                network,
                members: Vec::new(),
                gateway: Port::plain(PortId::GATEWAY, id),
            };
            if slot(&mut topology.networks, id.index())
                .replace(domain)
                .is_some()
            {
                return Err(TopologyError::DuplicateNetwork(id));
            }
        }
        for port in ports {
            let id = port.id;
            if slot(&mut topology.ports, id.index())
                .replace(Member {
                    port,
                    mirror_destination: false,
                })
                .is_some()
            {
                return Err(TopologyError::DuplicatePort(id));
            }
        }
        topology.link_mirrors()?;
        topology.list_members()?;
        Ok(topology)
    }

    fn link_mirrors(&mut self) -> Result<(), TopologyError> {
        let mirrors: Vec<_> = self
            .ports()
            .filter_map(|p| p.mirror.map(|m| (p.id, m.to)))
            .collect();
        for (from, to) in mirrors {
            match self.ports.get_mut(to.index()) {
                Some(Some(member)) if from != to => member.mirror_destination = true,
                _ => return Err(TopologyError::BadMirror(from, to)),
            }
        }
        Ok(())
    }

    fn list_members(&mut self) -> Result<(), TopologyError> {
        for Member {
            port,
            mirror_destination,
        } in self.ports.iter().flatten()
        {
            let networks: Vec<_> = match port.membership {
                Membership::None => Vec::new(),
                Membership::Network(id) => vec![id],
                Membership::Tunnel(_) => self.keys.values().copied().collect(),
            };
            for id in networks {
                let Some(Some(domain)) = self.networks.get_mut(id.index()) else {
                    return Err(TopologyError::UnknownNetwork(port.id, id));
                };
                if !mirror_destination {
                    domain.members.push(port.id);
                }
            }
        }
        Ok(())
    }

    /// The port `id`, if the snapshot has it.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.index())?.as_ref().map(|m| &m.port)
    }

    /// The network `id`, if the snapshot has it.
    #[must_use]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.domain(id).map(|d| &d.network)
    }

    /// Every port, in the order of ids.
    pub fn ports(&self) -> impl Iterator<Item = &Port> + '_ {
        self.ports.iter().flatten().map(|m| &m.port)
    }

    /// Every network, in the order of ids.
    pub fn networks(&self) -> impl Iterator<Item = &Network> + '_ {
        self.networks.iter().flatten().map(|d| &d.network)
    }

    /// The ports among which `network` floods, in the order of ids: mirror destinations are not.
    #[must_use]
    pub fn members(&self, network: NetworkId) -> &[PortId] {
        self.domain(network).map_or(&[], |d| &d.members)
    }

    /// Returns where frames of `network`'s gateway come from, if it has one: no port, but like one that is
    /// trusted, up and not isolated.
    #[must_use]
    pub fn gateway(&self, network: NetworkId) -> Option<(Ingress<'_>, Gateway)> {
        let domain = self.domain(network)?;
        let ingress = Ingress {
            port: &domain.gateway,
            network: &domain.network,
            peer: PeerId::NONE,
        };
        Some((ingress, domain.network.gateway?))
    }

    fn domain(&self, id: NetworkId) -> Option<&Domain> {
        self.networks.get(id.index())?.as_ref()
    }

    /// The port `id`, if frames of `network` may be sent to it: it is the network's and no mirror's
    /// destination.
    #[must_use]
    pub fn member(&self, network: &Network, id: PortId) -> Option<&Port> {
        let member = self.ports.get(id.index())?.as_ref()?;
        let belongs = match member.port.membership {
            Membership::None => false,
            Membership::Network(own) => own == network.id,
            Membership::Tunnel(_) => network.key.is_some(),
        };
        (belongs && !member.mirror_destination).then_some(&member.port)
    }

    /// The port and network in which a frame from `id` is to be looked at, which came through
    /// `tunnel`.
    ///
    /// # Errors
    /// [`DropReason::NoNetwork`], [`DropReason::UnknownTunnelKey`], [`DropReason::MirrorIngress`],
    /// [`DropReason::IngressDown`].
    pub fn ingress(&self, id: PortId, tunnel: Tunnel) -> Result<Ingress<'_>, DropReason> {
        let member = self
            .ports
            .get(id.index())
            .and_then(Option::as_ref)
            .ok_or(DropReason::NoNetwork)?;
        if member.mirror_destination {
            return Err(DropReason::MirrorIngress);
        }
        let network = match member.port.membership {
            Membership::None => None,
            Membership::Network(id) => self.network(id),
            Membership::Tunnel(_) => Some(self.keyed(tunnel.key)?),
        };
        let network = network.ok_or(DropReason::NoNetwork)?;
        if !member.port.up {
            return Err(DropReason::IngressDown);
        }
        Ok(Ingress {
            port: &member.port,
            network,
            peer: tunnel.peer,
        })
    }

    /// The network whose frames have `key` in tunnels.
    fn keyed(&self, key: TunnelKey) -> Result<&Network, DropReason> {
        let network = self.keys.get(&key).and_then(|&id| self.network(id));
        network.ok_or(DropReason::UnknownTunnelKey)
    }
}

/// The table's entry at `index`, the table grown to have it.
fn slot<T>(table: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    &mut table[index]
}
