//! Offers: decisions that a worker just took and that the kernel may repeat.
//!
//! Frames of the same sender may still wait in the port's queue when a decision is taken. The kernel would
//! overtake them. So an offer waits until a round of the worker found the queue empty, and only then becomes a
//! lease; a queue that never is empty is not waited for long.

use crate::view::{Hook, View};
use lease::{Basis, Key, Lease, Leases, Way};
use pipeline::{Frame, Instant, Location, PortId};
use switch::fdb::Lookup;
use switch::{Network, Outputs, Topology, VlanMode};
use wire::{MacAddr, VlanId, VlanTag};

/// The offers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    waiting: Vec<Offer>,
    round: u64,
}

#[derive(Debug)]
struct Offer {
    lease: Lease,
    basis: Basis,
    /// The round in which it was made, and the last one in which its queue had frames.
    made: u64,
    served: u64,
}

/// Offers that wait at once. More come again with their next frame.
const MOST: usize = 64;
/// Rounds after which an offer waits no longer: 64 rounds carry more than a queue holds.
const PATIENCE: u64 = 64;

impl Offers {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that the queue of a port had frames in this round.
    pub(crate) fn served(&mut self, port: PortId) {
        for offer in &mut self.waiting {
            if offer.basis.from == port {
                offer.served = self.round;
            }
        }
    }

    /// Offers what was decided about `frame`, which came from the port `from` and went to `to`, if the kernel
    /// can do the same.
    pub(crate) fn offer(
        &mut self,
        view: &View,
        (from, hook): (PortId, &Hook),
        frame: &Frame<'_>,
        to: Location,
        out: &Outputs,
    ) {
        if self.waiting.len() >= MOST {
            return;
        }
        let Some((lease, basis)) = switched(view, (from, hook), frame, to, out) else {
            return;
        };
        if self.waiting.iter().all(|it| it.lease.key != lease.key) {
            let (made, served) = (self.round, self.round);
            self.waiting.push(Offer {
                lease,
                basis,
                made,
                served,
            });
        }
    }

    /// Ends a round: lends what waited long enough.
    pub(crate) fn end_round(&mut self, view: &View, leases: &Leases, now: Instant) {
        let round = self.round;
        self.round += 1;
        self.waiting.retain(|offer| {
            if offer.served == round && round - offer.made < PATIENCE {
                return true;
            }
            let Offer { lease, basis, .. } = offer;
            let ends = [lease.key.from, lease.key.to].map(MacAddr);
            leases.lend(lease, *basis, || holds(&view.topology, basis, ends, now));
            false
        });
    }
}

/// Returns the lease for a frame that was switched from one port to another: none where the kernel could do
/// less, or another thing, than was done.
fn switched(
    view: &View,
    (from, hook): (PortId, &Hook),
    frame: &Frame<'_>,
    to: Location,
    out: &Outputs,
) -> Option<(Lease, Basis)> {
    let receiver = view.outlet(to.port)?.hook()?;
    let ingress = view.topology.ingress(from, frame.tunnel).ok()?;
    let (port, network) = (ingress.port, ingress.network);
    // One copy, in the form in which it came: no mirror, no tag pushed or popped.
    let &[copy] = &out.transmits[..] else {
        return None;
    };
    if copy.port != to.port || copy.form != out.arrived {
        return None;
    }
    let limited = !port.sends.is_unlimited() || {
        let receiver = view.topology.port(to.port)?;
        !receiver.receives.is_unlimited()
    };
    if limited || view.router.judges(network.id) {
        return None;
    }
    let (bytes, locked) = (frame.bytes(), port.lock.is_some());
    let key = Key::of(bytes, hook.interface, view.lease_generation(), locked)?;
    // The container's own address: there is nobody behind its interface whom the kernel must ask.
    let way = if receiver.mac.0 == key.to {
        Way::Peer
    } else {
        Way::Out
    };
    let lease = Lease::new(key, receiver.interface, way, network.mtu.into());
    let tag = *bytes[12..].first_chunk::<4>()?;
    let basis = Basis {
        network: network.id,
        vlan: vlan(&port.vlan, tag)?,
        from,
        to: to.port,
    };
    Some((lease, basis))
}

/// Looks after what the kernel repeats: its senders are remembered, and a lease ends whose sender or receiver
/// is not where it was any more. To be called every second, and by no worker: it may wait for the kernel.
pub fn sweep(leases: &Leases, topology: &Topology, now: Instant) {
    leases.sweep(|held, is_used| {
        let Some(network) = topology.network(held.basis.network) else {
            return false;
        };
        let Basis { vlan, from, to, .. } = held.basis;
        let stays = is_at(network, vlan, held.sender(), from, now);
        if is_used && stays {
            // Nothing but its age changes.
            let _ = network.fdb.learn(vlan, held.sender(), from.into(), now);
        }
        stays && is_at(network, vlan, held.receiver(), to, now)
    });
    leases.settle();
}

/// Returns whether a lease's sender and receiver are where they were.
fn holds(topology: &Topology, basis: &Basis, [from, to]: [MacAddr; 2], now: Instant) -> bool {
    topology.network(basis.network).is_some_and(|network| {
        is_at(network, basis.vlan, from, basis.from, now)
            && is_at(network, basis.vlan, to, basis.to, now)
    })
}

fn is_at(network: &Network, vlan: VlanId, mac: MacAddr, port: PortId, now: Instant) -> bool {
    let found = network.fdb.lookup(vlan, mac, now);
    matches!(found, Lookup::Found { at, .. } if at.port == port)
}

/// The VLAN in which a frame is, if it is admitted, whose four bytes after the addresses are `tag`.
pub(crate) fn vlan(mode: &VlanMode, tag: [u8; 4]) -> Option<VlanId> {
    match mode {
        VlanMode::Access { vid } | VlanMode::Dot1qTunnel { vid } => Some(*vid),
        VlanMode::Trunk { native, .. } => VlanTag::from_bytes(tag)
            .and_then(|tag| VlanId::new(tag.vid()))
            .or(*native),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switch::VlanSet;
    use wire::Headers;

    const V10: Option<VlanId> = VlanId::new(10);
    const V20: Option<VlanId> = VlanId::new(20);

    /// A guess that differs from what admission says would warm the wrong entry, silently.
    #[test]
    fn the_guessed_vlan_is_the_one_that_admission_finds() {
        let modes = [
            VlanMode::Access { vid: V10.unwrap() },
            VlanMode::Dot1qTunnel { vid: V10.unwrap() },
            VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: V10,
                native_tagged: false,
            },
            VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: None,
                native_tagged: false,
            },
        ];
        let tags = [
            [0x08, 0, 0x45, 0],
            [0x81, 0, 0, 20],
            [0x81, 0, 0xe0, 20],
            [0x88, 0xa8, 0, 20],
            [0x81, 0, 0xe0, 0],
        ];
        let mut admitted = Vec::new();
        for (mode, tag) in modes.iter().flat_map(|mode| tags.map(|tag| (mode, tag))) {
            let bytes = [&[2; 12][..], &tag, &[0x86, 0xdd], &[0; 46]].concat();
            let headers = Headers::parse(&bytes).unwrap();
            if let Ok(found) = switch::vlan::classify(mode, &headers) {
                assert_eq!(vlan(mode, tag), Some(found.vlan), "{mode:?}, {tag:x?}");
                admitted.push(Some(found.vlan));
            }
        }
        assert!(admitted.contains(&V10) && admitted.contains(&V20));
    }
}
