//! Calls about adopted bridges: bridges of the host's for which a network of ours stands in.
//!
//! ```text
//!   before    container ═ vethX ── docker0 ── host's stack, iptables
//!   adopted   container ═ vethX ── network "docker0" ── router      docker0: as it was, without ports
//! ```
//! The network has the bridge's addresses for gateways and the bridge's MAC address for its own, so a
//! container that runs notices nothing. The bridge keeps both: the host's way to the containers is a
//! route in front of the bridge's own. A bridge that lost its addresses would be given others by a
//! dockerd that starts.
//!
//! Which containers there are is not found out here: whoever knows them joins them as endpoints, by
//! the veths they have. A clean stop gives all of them back, a killed daemon leaves notes.

use super::refuse::{KernelError, refused};
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, routes, translate};
use api::{Adopt, Adoption, AdoptionCalls, ApiError, Detach, Name, NetworkCreate};
use control::reconcile::{Left, is_link_local, leftovers};
use control::{PlacedNetwork, PortKind};
use host::{Links, Netns};
use ipnet::IpNet;
use pipeline::NetworkId;
use std::collections::BTreeMap;
use wire::MacAddr;

impl AdoptionCalls for Manager {
    fn adoptions(&self) -> Result<Vec<Adoption>, ApiError> {
        Ok(self.now().adoptions())
    }

    fn adopt(&self, adopt: &Adopt) -> Result<Adoption, ApiError> {
        let adopted = self.change(|writer| writer.adopt(adopt));
        self.adopted.notify_one();
        adopted
    }

    fn release(&self, bridge: &Name) -> Result<(), ApiError> {
        let released = self.change(|writer| writer.release(bridge));
        self.adopted.notify_one();
        released
    }
}

impl Writer {
    /// Lets a network stand in for a bridge.
    pub(super) fn adopt(&mut self, adopt: &Adopt) -> Result<Adoption, ApiError> {
        let ifname = adopt.bridge.as_str();
        let bridge = in_own_namespace(|links| links.bridge(ifname))?;
        let no_bridge = || ApiError::not_found(format!("there is no interface {ifname}"));
        let found = bridge.ok_or_else(no_bridge)?;
        let no_ethernet = |_| ApiError::invalid(format!("{ifname} carries no Ethernet frames"));
        let mac = found.link.mac.as_slice().try_into().map_err(no_ethernet)?;
        let bridge = control::Bridge {
            ifname: ifname.to_owned(),
            mac: MacAddr(mac),
        };
        let overlapping = |net| routes::overlapping_but(net, Some(ifname));
        let (id, change) = self
            .state
            .adopt_bridge(&request(&adopt.bridge, &found)?, bridge, overlapping)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(bridge = %ifname, "adopted");
        let now = self.show();
        let network = now.state.network(id);
        network
            .and_then(|network| now.shown_adoption(network))
            .ok_or_else(|| ApiError::internal(format!("{id} is not whole")))
    }

    /// Gives a bridge its ports back and takes the network away that stood in for it.
    pub(super) fn release(&mut self, bridge: &Name) -> Result<(), ApiError> {
        let network = match self.state.network_for(bridge.as_str()) {
            Ok(network) => network,
            Err(error) => return self.give_back_leftovers(bridge, &error),
        };
        let (id, name) = (network.id, network.name.clone());
        let strangers = self.strangers(id);
        if !strangers.is_empty() {
            return Err(refused(&control::Error::NetworkInUse {
                name,
                ports: strangers,
            }));
        }
        let ports: Vec<String> = self
            .state
            .ports_of(id)
            .map(|port| port.name.clone())
            .collect();
        for port in &ports {
            self.detach(&Detach::Endpoint(translate::name(port)))?;
        }
        let change = self
            .state
            .remove_network(&name)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(%bridge, "released");
        Ok(())
    }

    /// A bridge that nobody stands in for may have notes of a dead daemon's on its ports.
    fn give_back_leftovers(
        &mut self,
        bridge: &Name,
        not_adopted: &control::Error,
    ) -> Result<(), ApiError> {
        let taken = in_own_namespace(|links| links.taken_ports(bridge.as_str()))?;
        let left = taken.into_iter().map(Left::TakenPort).collect();
        let undoing = leftovers(&self.state, &left);
        if undoing.is_empty() {
            return Err(refused(not_adopted));
        }
        if let Some((_, why)) = self.carry_out(&undoing).pop() {
            return Err(ApiError::unavailable(why));
        }
        tracing::info!(%bridge, ports = undoing.len(), "given back what a daemon before had left");
        Ok(())
    }

    /// Ports of a network that the bridge never had.
    fn strangers(&self, network: NetworkId) -> Vec<String> {
        let is_stranger = |id| {
            let endpoint = self.state.endpoint(id);
            endpoint.is_some_and(|e| e.sandbox.is_some() && e.veth().is_none())
        };
        let strangers = self.state.ports_of(network).filter(|port| match port.kind {
            PortKind::Endpoint(id) => is_stranger(id),
            PortKind::Own { .. } => true,
        });
        strangers.map(|port| port.name.clone()).collect()
    }
}

impl Snapshot {
    /// All adopted bridges.
    pub(super) fn adoptions(&self) -> Vec<Adoption> {
        let adopted = self.state.networks().filter(|n| n.place.bridge.is_some());
        adopted.filter_map(|n| self.shown_adoption(n)).collect()
    }

    fn shown_adoption(&self, network: PlacedNetwork<'_>) -> Option<Adoption> {
        let bridge = network.place.bridge.as_ref()?;
        let ports = self.state.ports_of(network.id);
        Some(Adoption {
            bridge: translate::name(&bridge.ifname),
            network: translate::name(&network.name),
            addresses: network.gateways(),
            endpoints: ports
                .filter(|port| matches!(port.kind, PortKind::Endpoint(_)))
                .map(|port| translate::name(&port.name))
                .collect(),
        })
    }
}

/// The network that stands in for a bridge: of several addresses in one subnet the first is its
/// gateway's.
fn request(bridge: &Name, found: &host::Bridge) -> Result<NetworkCreate, ApiError> {
    let mut gateways: BTreeMap<IpNet, IpNet> = BTreeMap::new();
    for address in found.addresses.iter().filter(|a| !is_link_local(a.addr())) {
        gateways.entry(address.trunc()).or_insert(*address);
    }
    let mtu = found.link.mtu;
    let too_large = |_| ApiError::invalid(format!("{bridge} has an MTU of {mtu}"));
    Ok(NetworkCreate {
        subnets: gateways.keys().copied().collect(),
        gateways: Some(gateways.values().map(IpNet::addr).collect()),
        mtu: mtu.try_into().map_err(too_large)?,
        ..NetworkCreate::new(bridge.clone())
    })
}

fn in_own_namespace<T: Send>(
    work: impl FnOnce(&Links) -> Result<T, host::Error> + Send,
) -> Result<T, ApiError> {
    Netns::with_own_links(work).map_err(|error| KernelError::from(error).to_api())
}
