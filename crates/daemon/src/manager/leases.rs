//! Calls about what the kernel repeats.

use super::snapshot::Snapshot;
use super::{Manager, translate};
use api::{ApiError, Flushed, Lease, LeaseCalls, VlanId};
use lease::Held;

impl LeaseCalls for Manager {
    fn leases(&self) -> Result<Vec<Lease>, ApiError> {
        Ok(self.now().leases())
    }

    fn leases_flush(&self) -> Result<Flushed, ApiError> {
        let now = self.now();
        let held = now.dataplane.leases().map_or(0, |it| it.list().len());
        now.dataplane.recall();
        let removed = held as u64;
        Ok(Flushed { removed })
    }
}

impl Snapshot {
    /// The decisions that the kernel repeats, by network, VLAN, port and receiver.
    pub(super) fn leases(&self) -> Vec<Lease> {
        let held = self.dataplane.leases().map(lease::Leases::list);
        let held = held.unwrap_or_default();
        let mut shown: Vec<_> = held
            .iter()
            .filter_map(|held| self.shown_lease(held))
            .collect();
        let order = |it: &Lease| (it.network.clone(), it.vlan, it.from.clone(), it.receiver);
        shown.sort_by_cached_key(order);
        shown
    }

    /// Nothing where a port was removed meanwhile.
    fn shown_lease(&self, held: &Held) -> Option<Lease> {
        let Held {
            key,
            basis,
            carried,
        } = held;
        let port = |id| Some(translate::name(&self.state.port(id)?.name));
        Some(Lease {
            network: translate::name(&self.state.network(basis.network)?.name),
            vlan: VlanId::try_from(basis.vlan.get()).ok()?,
            from: port(basis.from)?,
            sender: held.sender(),
            source: key.address(),
            receiver: held.receiver(),
            to: port(basis.to)?,
            ethertype: u16::from_be_bytes(key.ethertype),
            frames: carried.frames,
            bytes: carried.bytes,
        })
    }
}
