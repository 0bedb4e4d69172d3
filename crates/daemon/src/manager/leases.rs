//! Calls about what the kernel repeats.

use super::snapshot::Snapshot;
use super::{Manager, translate};
use api::{ApiError, Flushed, IpProtocol, Lease, LeaseCalls, LeasedFlow, Name, NatTuple, VlanId};
use lease::{Basis, Held, Station};
use nat::TransportAddr;
use pipeline::{Names, NetworkId};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// One direction of a connection: the network that its packets come from, and their source and destination as
/// they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Direction {
    pub(super) network: NetworkId,
    pub(super) protocol: IpProtocol,
    pub(super) ends: [TransportAddr; 2],
}

impl LeaseCalls for Manager {
    fn leases(&self) -> Result<Vec<Lease>, ApiError> {
        Ok(self.now().leases())
    }

    fn leases_flush(&self) -> Result<Flushed, ApiError> {
        let now = self.now();
        let removed = now.leases().len() as u64;
        now.dataplane.recall();
        Ok(Flushed { removed })
    }
}

impl Snapshot {
    /// The decisions that the kernel repeats, by network, VLAN, port and receiver.
    pub(super) fn leases(&self) -> Vec<Lease> {
        let Some(leases) = self.dataplane.leases() else {
            return Vec::new();
        };
        let switched = leases.list();
        let switched = switched.iter().filter_map(|held| self.shown_switched(held));
        let flows = leases.list_flows();
        let flows = flows.iter().filter_map(|held| self.shown_flow(held));
        let grants = leases.list_grants();
        let grants = grants.iter().filter_map(|held| self.shown_grant(held));
        let mut shown: Vec<_> = switched.chain(flows).chain(grants).collect();
        let order = |it: &Lease| (it.network.clone(), it.vlan, it.from.clone(), it.receiver);
        shown.sort_by_cached_key(order);
        shown
    }

    /// How many of them rest on each station.
    pub(super) fn leases_by_station(&self) -> HashMap<Station, u64> {
        let mut stations = HashMap::new();
        if let Some(leases) = self.dataplane.leases() {
            let switched = leases.list().into_iter().map(|held| held.basis);
            let flows = leases.list_flows().into_iter().map(|held| held.basis);
            for station in switched.chain(flows).flat_map(|basis| basis.stations()) {
                *stations.entry(station).or_default() += 1;
            }
        }
        stations
    }

    /// The directions of connections that the kernel repeats.
    pub(super) fn leased_directions(&self) -> HashSet<Direction> {
        let flows = self.dataplane.leases().map(lease::Leases::list_flows);
        let direction = |held: Held<lease::FlowLease>| {
            let protocol = u8::try_from(held.lease.key.protocol).ok()?;
            Some(Direction {
                network: held.basis.sender.network,
                protocol: IpProtocol(protocol),
                ends: held.lease.arrives(),
            })
        };
        let flows = flows.unwrap_or_default().into_iter();
        flows.filter_map(direction).collect()
    }

    fn shown_switched(&self, held: &Held<lease::Lease>) -> Option<Lease> {
        let key = &held.lease.key;
        Some(Lease {
            source: key.address(),
            ..self.shown_lease(held, key.ethertype)?
        })
    }

    /// A grant as the first direction of what it begins; frames are counted where each flow is shown.
    fn shown_grant(&self, held: &Held<lease::Grant>) -> Option<Lease> {
        let asks = Held {
            lease: held.lease.flows[0],
            basis: held.basis,
            carried: lease::Carried::default(),
        };
        Some(Lease {
            begun: Some(held.carried.frames),
            ..self.shown_flow(&asks)?
        })
    }

    fn shown_flow(&self, held: &Held<lease::FlowLease>) -> Option<Lease> {
        let Held { lease, basis, .. } = held;
        let tuple = |[src, dst]: [TransportAddr; 2]| {
            let [src, dst] = [src, dst].map(|it| SocketAddr::new(it.ip, it.port));
            NatTuple { src, dst }
        };
        Some(Lease {
            source: Some(lease.arrives()[0].ip),
            flow: Some(LeasedFlow {
                protocol: IpProtocol(u8::try_from(lease.key.protocol).ok()?),
                arrives: tuple(lease.arrives()),
                leaves: tuple(lease.leaves()),
                into: self.shown_network(basis.receiver.network)?,
            }),
            ..self.shown_lease(held, lease.key.ethertype)?
        })
    }

    /// Nothing where a port was removed meanwhile.
    fn shown_lease<L>(&self, held: &Held<L>, ethertype: [u8; 2]) -> Option<Lease> {
        let Basis { sender, receiver } = held.basis;
        let port = |id| Some(translate::name(Names::port(&*self.state, id)?));
        Some(Lease {
            network: self.shown_network(sender.network)?,
            vlan: VlanId::try_from(sender.vlan.get()).ok()?,
            from: port(sender.port)?,
            sender: sender.mac,
            source: None,
            receiver: receiver.mac,
            to: port(receiver.port)?,
            flow: None,
            begun: None,
            ethertype: u16::from_be_bytes(ethertype),
            frames: held.carried.frames,
            bytes: held.carried.bytes,
        })
    }

    fn shown_network(&self, id: NetworkId) -> Option<Name> {
        Some(translate::name(Names::network(&*self.state, id)?))
    }
}
