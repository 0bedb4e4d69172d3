//! Offers: decisions that a worker just took and that the kernel may repeat.
//!
//! Frames of the same sender may still wait in the port's queue when a decision is taken. The kernel would
//! overtake them. So an offer waits until a round of the worker found the queue empty, and only then becomes a
//! lease; a queue that never is empty is not waited for long.

use crate::process::Outcome;
use crate::sweep::is_at;
use crate::view::{Hook, View};
use lease::{Basis, Change, Flow, FlowKey, Key, Lease, Leases, Out, Station, ends};
use nat::{Arrival, Repeatable, Rewrite};
use pipeline::{Frame, Instant, Location, NetworkId, PortId};
use switch::{Forward, Ingress, Outputs, VlanMode};
use wire::{Headers, MacAddr, VlanId, VlanTag};

/// The offers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    waiting: Vec<Offer>,
    round: u64,
}

#[derive(Debug)]
struct Offer {
    decision: Decision,
    /// The port that the frame came from.
    from: PortId,
    /// The round in which it was made, and the last one in which its queue had frames.
    made: u64,
    served: u64,
}

/// A decision that can be repeated.
#[derive(Debug)]
enum Decision {
    Switched(Lease, Basis),
    Flow(Box<Flow>),
}

/// Offers that wait at once. More come again with their next frame.
const MOST: usize = 64;
/// Rounds after which an offer waits no longer: 64 rounds carry more than a queue holds.
const PATIENCE: u64 = 64;

/// A frame that was carried.
#[derive(Clone, Copy)]
pub(crate) struct Carried<'a> {
    pub(crate) view: &'a View,
    /// The port that it came from.
    pub(crate) from: PortId,
    pub(crate) hook: &'a Hook,
    /// The frame as it left.
    pub(crate) frame: &'a Frame<'a>,
    /// Its copies.
    pub(crate) out: &'a Outputs,
    pub(crate) now: Instant,
}

impl Offers {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that the queue of a port had frames in this round.
    pub(crate) fn served(&mut self, port: PortId) {
        for offer in &mut self.waiting {
            if offer.from == port {
                offer.served = self.round;
            }
        }
    }

    /// Offers what was decided about a frame, if the kernel can do the same.
    pub(crate) fn offer(&mut self, carried: Carried<'_>, outcome: &Outcome) {
        if self.waiting.len() >= MOST {
            return;
        }
        let decision = match outcome {
            Outcome::Switched(Forward::Unicast(to)) => carried.path(*to).and_then(|path| {
                if path.is_judged() {
                    let headers = Headers::parse(carried.frame.bytes()).ok()?;
                    self.flow(&path, &headers, None)
                } else {
                    self.switched(&path)
                }
            }),
            Outcome::Routed {
                network,
                forward: Forward::Unicast(to),
                rewrite,
                headers,
            } => carried
                .path(*to)
                .and_then(|path| self.flow(&path, headers, Some((*network, rewrite)))),
            Outcome::Switched(_) | Outcome::Routed { .. } | Outcome::Taken => None,
        };
        if let Some(decision) = decision {
            let (made, served) = (self.round, self.round);
            self.waiting.push(Offer {
                decision,
                from: carried.from,
                made,
                served,
            });
        }
    }

    /// The lease for a frame that was switched, unless it waits already.
    fn switched(&self, path: &Path<'_>) -> Option<Decision> {
        let (lease, basis) = path.switched()?;
        let waits =
            |it: &Offer| matches!(&it.decision, Decision::Switched(it, _) if it.key == lease.key);
        let waits = self.waiting.iter().any(waits);
        (!waits).then_some(Decision::Switched(lease, basis))
    }

    /// The lease for a frame whose connection was looked at, unless it waits already.
    fn flow(
        &self,
        path: &Path<'_>,
        headers: &Headers,
        routed: Option<(NetworkId, &Rewrite)>,
    ) -> Option<Decision> {
        let key = path.flow_key(headers)?;
        let waits = |it: &Offer| matches!(&it.decision, Decision::Flow(it) if it.key == key);
        if self.waiting.iter().any(waits) {
            return None;
        }
        let flow = path.flow(key, headers, routed)?;
        Some(Decision::Flow(Box::new(flow)))
    }

    /// Ends a round: lends what waited long enough.
    pub(crate) fn end_round(&mut self, view: &View, leases: &Leases, now: Instant) {
        let round = self.round;
        self.round += 1;
        let tables = &view.router.live.tables;
        let holds = |basis: &Basis| {
            let both = [basis.sender, basis.receiver];
            both.iter().all(|it| is_at(&view.topology, it, now))
        };
        self.waiting.retain(|offer| {
            if offer.served == round && round - offer.made < PATIENCE {
                return true;
            }
            match &offer.decision {
                Decision::Switched(lease, basis) => leases.lend(lease, *basis, || holds(basis)),
                Decision::Flow(flow) => leases.lend_flow(flow, tables, now, holds),
            };
            false
        });
    }
}

/// The way of a frame that went from one hook to another one, in one copy and in the form in which it came, at
/// no port with limits.
struct Path<'a> {
    carried: Carried<'a>,
    ingress: Ingress<'a>,
    to: PortId,
    receiver: &'a Hook,
}

impl<'a> Carried<'a> {
    /// The lease for the packet that began a connection, with this frame, and whether it can be the connection's: see
    /// [`nat::begun`].
    pub(crate) fn begun(
        self,
        to: Location,
        headers: &Headers,
        routed: Option<(NetworkId, &Rewrite)>,
    ) -> Option<(Flow, bool)> {
        let path = self.path(to)?;
        let key = path.flow_key(headers)?;
        let arrival = path.arrival(headers);
        let (decision, is_first) =
            nat::begun(&self.view.router, &arrival, routed, self.now).ok()?;
        Some((path.lease_of(key, headers, routed, decision)?, is_first))
    }

    /// `None` where the kernel could do less, or another thing, than was done.
    fn path(self, to: Location) -> Option<Path<'a>> {
        let Carried { view, out, .. } = self;
        let receiver = view.outlet(to.port)?.hook()?;
        let ingress = view.topology.ingress(self.from, self.frame.tunnel).ok()?;
        // No mirror, no tag pushed or popped.
        let &[copy] = &out.transmits[..] else {
            return None;
        };
        if copy.port != to.port || copy.form != out.arrived {
            return None;
        }
        let egress = view.topology.port(to.port)?;
        let is_free = ingress.port.sends.is_unlimited() && egress.receives.is_unlimited();
        is_free.then_some(Path {
            carried: self,
            ingress,
            to: to.port,
            receiver,
        })
    }
}

impl Path<'_> {
    /// Whether rules about connections were asked.
    fn is_judged(&self) -> bool {
        self.carried.view.router.judges(self.ingress.network.id)
    }

    fn switched(&self) -> Option<(Lease, Basis)> {
        let Carried {
            view, frame, hook, ..
        } = self.carried;
        let (bytes, locked) = (frame.bytes(), self.ingress.port.lock.is_some());
        let key = Key::of(bytes, hook.interface, view.lease_generation(), locked)?;
        let way = self.receiver.way(MacAddr(key.to));
        let mtu = self.ingress.network.mtu.into();
        let lease = Lease::new(key, self.receiver.interface, way, mtu);
        let vlan = vlan(&self.ingress.port.vlan, *bytes[12..].first_chunk()?)?;
        let basis = Basis {
            sender: self.sender(vlan, MacAddr(key.from)),
            receiver: Station {
                mac: MacAddr(key.to),
                port: self.to,
                ..self.sender(vlan, MacAddr(key.from))
            },
        };
        Some((lease, basis))
    }

    fn sender(&self, vlan: VlanId, mac: MacAddr) -> Station {
        Station {
            network: self.ingress.network.id,
            vlan,
            mac,
            port: self.carried.from,
        }
    }

    fn flow_key(&self, headers: &Headers) -> Option<FlowKey> {
        let Carried { view, hook, .. } = self.carried;
        FlowKey::of(view.lease_generation(), hook.interface, headers)
    }

    /// The lease for a packet in the midst of a connection, if that is worth it or tells of a grant.
    fn flow(
        &self,
        key: FlowKey,
        headers: &Headers,
        routed: Option<(NetworkId, &Rewrite)>,
    ) -> Option<Flow> {
        let Carried { view, now, .. } = self.carried;
        let arrival = self.arrival(headers);
        let decision = nat::repeatable(&view.router, &arrival, routed, now).ok()?;
        let leases = view.leases()?;
        if !leases.is_worth(decision.packets) && !leases.may_grant(&key, &decision) {
            return None;
        }
        self.lease_of(key, headers, routed, decision)
    }

    fn arrival<'b>(&'b self, headers: &'b Headers) -> Arrival<'b> {
        Arrival {
            network: self.ingress.network.id,
            from: self.carried.from,
            frame: self.carried.frame,
            headers,
        }
    }

    fn lease_of(
        &self,
        key: FlowKey,
        headers: &Headers,
        routed: Option<(NetworkId, &Rewrite)>,
        decision: Repeatable,
    ) -> Option<Flow> {
        let view = self.carried.view;
        let tag = headers.outer.map_or([0; 4], VlanTag::to_bytes);
        let vlan = vlan(&self.ingress.port.vlan, tag)?;
        let sender = self.sender(vlan, headers.src);
        let receiver = match routed {
            None => Station {
                mac: headers.dst,
                port: self.to,
                ..sender
            },
            // A tag would have to be another one there.
            Some(_) if headers.outer.is_some() => return None,
            Some((into, rewrite)) => Station {
                network: into,
                vlan: view.topology.gateway(into)?.1.vlan,
                mac: rewrite.dst_mac,
                port: self.to,
            },
        };
        let out = Out {
            interface: self.receiver.interface,
            way: self.receiver.way(receiver.mac),
            mtu: view.topology.network(receiver.network)?.mtu.into(),
        };
        Some(Flow {
            key,
            out,
            change: routed.map(|(_, rewrite)| Change {
                to: rewrite.dst_mac,
                from: rewrite.src_mac,
                ends: rewrite.outer.map(|it| ends(it.src, it.dst)),
            }),
            basis: Basis { sender, receiver },
            decision,
        })
    }
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
