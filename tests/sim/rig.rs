//! The real switch on memory ports, one frame at a time: what the table tests and the oracle drive.

use crate::repeater::Repeater;
use dataplane::{
    Explanation, Forwarder, Outlet, Reply, View, explain, explain_reply, sweep_leases, take_begun,
};
use nat::{Outbox, Router};
use pipeline::{BatchLimits, DropReason, Instant, PortId, PortTotals, Tunnel, WorkerId};
use port::memory::{self, MemoryConfig, Peer, Spoke};
use port::{Offloads, Rx};
use std::collections::BTreeMap;
use std::sync::Arc;
use switch::{Network, Port, Topology};
use wire::{MacAddr, VnetHeader};

/// A frame that left, as the far end of the wire got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) port: PortId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) vnet: VnetHeader,
    /// The far end that got it, and with which key; the default one where there is but one.
    pub(crate) tunnel: Tunnel,
}

/// The other end of a port.
enum Far {
    Wire(Peer),
    Hub(Vec<Spoke>),
}

impl Far {
    fn send(&self, tunnel: Tunnel, bytes: &[u8], vnet: VnetHeader) {
        let sent = match self {
            Self::Wire(peer) => peer.send(bytes, vnet),
            Self::Hub(spokes) => {
                let spoke = spokes.iter().find(|spoke| spoke.peer() == tunnel.peer);
                spoke
                    .expect("a peer of the hub")
                    .send(tunnel.key, bytes, vnet)
            }
        };
        assert_eq!(sent, Ok(()));
    }

    fn collect(&self, port: PortId) -> Vec<Left> {
        match self {
            Self::Wire(peer) => std::iter::from_fn(|| peer.recv())
                .map(|(bytes, vnet)| Left {
                    port,
                    bytes,
                    vnet,
                    tunnel: Tunnel::default(),
                })
                .collect(),
            Self::Hub(spokes) => spokes.iter().flat_map(|spoke| heard(port, spoke)).collect(),
        }
    }
}

fn heard(port: PortId, spoke: &Spoke) -> impl Iterator<Item = Left> {
    let peer = spoke.peer();
    std::iter::from_fn(|| spoke.recv()).map(move |(key, bytes, vnet)| Left {
        port,
        bytes,
        vnet,
        tunnel: Tunnel { peer, key },
    })
}

pub(crate) struct Rig {
    view: View,
    /// The kernel, where it repeats what was decided.
    repeater: Option<Repeater>,
    /// Frames that it carried itself.
    repeated: Vec<Left>,
    /// How many it carried in all.
    pub(crate) hits: u64,
    /// Frames that come now were on their way to userspace already.
    pub(crate) under_way: bool,
    forwarder: Forwarder,
    wires: BTreeMap<PortId, (Far, Box<dyn Rx>)>,
    /// The counters of every port that was ever open: they go on when it opens again.
    outlets: BTreeMap<PortId, Vec<Arc<Outlet>>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let forwarder = Forwarder::new(WorkerId(0), BatchLimits::default());
        Self {
            view: View::new(1),
            repeater: None,
            repeated: Vec::new(),
            hits: 0,
            under_way: false,
            forwarder,
            wires: BTreeMap::new(),
            outlets: BTreeMap::new(),
        }
    }

    /// A rig whose plain ports have a kernel in front of them that repeats what was decided.
    pub(crate) fn repeating() -> Self {
        let mut rig = Self::new();
        let repeater = Repeater::new();
        rig.view = rig.view.with_leases(Some(Arc::clone(&repeater.leases)));
        rig.repeater = Some(repeater);
        rig
    }

    /// Puts another view in the place of this one, as the dataplane does: what the kernel repeats by the old
    /// one is taken back.
    fn replace(&mut self, view: View) {
        self.view = view;
        self.view.generation += 1;
        if let Some(repeater) = &self.repeater {
            repeater.leases.begin(self.view.lease_generation());
            self.view.tell_hooks();
            self.view.keep_ledger();
        }
    }

    /// Takes back all that the kernel repeats.
    pub(crate) fn recall(&mut self) {
        self.replace(self.view.clone());
    }

    /// Returns whether the kernel has begun something that was not taken in.
    pub(crate) fn has_begun(&self) -> bool {
        let repeater = self.repeater.as_ref();
        repeater.is_some_and(|it| it.leases.has_begun())
    }

    /// Takes in what the kernel has begun, as is done before anybody looks.
    pub(crate) fn take_begun(&mut self, now: Instant) {
        if let Some(repeater) = &self.repeater {
            let mut letters = Outbox::default();
            take_begun(&repeater.leases, &self.view, now, &mut letters);
            self.forwarder.post(&self.view, now, letters);
        }
    }

    /// Looks after what the kernel repeats, as is done every second.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.take_begun(now);
        if let Some(repeater) = &self.repeater {
            let mut letters = Outbox::default();
            let View {
                topology, router, ..
            } = &self.view;
            sweep_leases(&repeater.leases, topology, router, now, &mut letters);
            self.forwarder.post(&self.view, now, letters);
        }
    }

    /// These networks and ports, every port open and taking everything.
    pub(crate) fn of(networks: Vec<Network>, ports: Vec<Port>) -> Self {
        let mut rig = Self::new();
        rig.open_all(networks, ports);
        rig
    }

    /// Opens these ports, and publishes them.
    pub(crate) fn open_all(&mut self, networks: Vec<Network>, ports: Vec<Port>) {
        for port in &ports {
            self.open(port.id, MemoryConfig::default());
        }
        self.publish(networks, ports);
    }

    pub(crate) fn publish(&mut self, networks: Vec<Network>, ports: Vec<Port>) {
        let topology = Topology::new(networks, ports).expect("a sound configuration");
        let router = Arc::clone(&self.view.router);
        self.replace(self.view.with_configuration(Arc::new(topology), router));
    }

    /// Gives the networks this router.
    pub(crate) fn route(&mut self, router: Router) {
        let topology = Arc::clone(&self.view.topology);
        self.replace(self.view.with_configuration(topology, Arc::new(router)));
        self.view.router.live.due.now();
    }

    /// Gives the networks another router, and forgets the connections that it would not let begin.
    pub(crate) fn reroute(&mut self, router: Router, now: Instant) {
        let before = Arc::clone(&self.view.router);
        self.route(router);
        self.view.router.revoke_since(&before, now);
    }

    pub(crate) fn open(&mut self, id: PortId, config: MemoryConfig) {
        let (port, peer) = memory::pair_with(config).unwrap();
        self.plug(id, port, Far::Wire(peer));
    }

    /// Opens a port with so many far ends.
    pub(crate) fn open_hub(&mut self, id: PortId, peers: u16, config: MemoryConfig) {
        let (port, spokes) = memory::hub(peers, config).unwrap();
        self.plug(id, port, Far::Hub(spokes));
    }

    fn plug(&mut self, id: PortId, port: port::Port, far: Far) {
        let mut outlet = Outlet::new(port.tx, 1);
        if let (Some(repeater), Far::Wire(_)) = (&self.repeater, &far) {
            // The address of a station that moves about.
            outlet = repeater.hook(id, outlet, MacAddr([2, 0, 0, 0, 0, 1]));
        }
        let outlet = Arc::new(outlet);
        let rx = port.queues.into_iter().next().unwrap();
        self.wires.insert(id, (far, rx));
        self.outlets
            .entry(id)
            .or_default()
            .push(Arc::clone(&outlet));
        self.replace(self.view.with_outlet(id, Some(outlet)));
    }

    /// Puts another sending half where the port's was.
    pub(crate) fn replace_tx(&mut self, id: PortId, tx: Arc<dyn port::Tx>) {
        let outlet = Arc::new(Outlet::new(tx, 1));
        self.outlets
            .entry(id)
            .or_default()
            .push(Arc::clone(&outlet));
        self.replace(self.view.with_outlet(id, Some(outlet)));
    }

    pub(crate) fn open_plain(&mut self, id: PortId) {
        self.open(
            id,
            MemoryConfig {
                offloads: Offloads::NONE,
                ..MemoryConfig::default()
            },
        );
    }

    pub(crate) fn close(&mut self, id: PortId) {
        self.wires.remove(&id);
        self.replace(self.view.with_outlet(id, None));
        if let Some(repeater) = &self.repeater {
            repeater.leases.close_port(id);
        }
    }

    /// Carries one frame from `from`; answers what left, by port.
    pub(crate) fn carry(
        &mut self,
        from: PortId,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Vec<Left> {
        self.carry_through(from, Tunnel::default(), bytes, vnet, now)
    }

    /// Carries one frame that comes to `from` through a tunnel; answers what left, by port.
    pub(crate) fn carry_through(
        &mut self,
        from: PortId,
        tunnel: Tunnel,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Vec<Left> {
        self.serve(from, tunnel, &[(bytes, vnet)], now);
        self.collect()
    }

    pub(crate) fn router(&self) -> &Router {
        &self.view.router
    }

    /// Lets the router do what is due, and forget what is over; answers what left.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Left> {
        if self.view.router.live.due.claim(now) {
            self.forwarder.poll(&self.view, now);
        }
        self.view.router.expire(now);
        self.collect()
    }

    /// Carries several frames in one batch, and leaves what left in the queues.
    pub(crate) fn carry_all(&mut self, from: PortId, frames: &[Vec<u8>], now: Instant) {
        let finished = |bytes: &Vec<u8>| (bytes.clone(), VnetHeader::default());
        let frames: Vec<_> = frames.iter().map(finished).collect();
        let frames: Vec<_> = frames
            .iter()
            .map(|(bytes, vnet)| (bytes.as_slice(), *vnet))
            .collect();
        self.serve(from, Tunnel::default(), &frames, now);
    }

    fn serve(
        &mut self,
        from: PortId,
        tunnel: Tunnel,
        frames: &[(&[u8], VnetHeader)],
        now: Instant,
    ) {
        let is_repeated = |(bytes, vnet): &&(&[u8], VnetHeader)| {
            let repeater = self.repeater.as_ref().filter(|_| !self.under_way)?;
            let hook = self.view.outlet(from)?.hook();
            hook.and_then(|_| repeater.repeat(from, bytes, *vnet, now))
        };
        if let [frame] = frames
            && let Some((port, bytes)) = is_repeated(&frame)
        {
            let vnet = frame.1;
            let tunnel = Tunnel::default();
            self.repeated.push(Left {
                port,
                bytes,
                vnet,
                tunnel,
            });
            self.hits += 1;
            return;
        }
        let (far, rx) = self.wires.get_mut(&from).expect("an open port");
        for (bytes, vnet) in frames {
            far.send(tunnel, bytes, *vnet);
        }
        let view = &self.view;
        let served = self.forwarder.serve(from, &mut **rx, || (now, view));
        assert_eq!(served, Ok(frames.len()));
        // The queue is empty in the round after.
        for _ in 0..2 {
            self.forwarder.end_round(view, now);
        }
    }

    pub(crate) fn explain(
        &self,
        from: PortId,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Explanation {
        self.explain_through(from, Tunnel::default(), bytes, vnet, now)
    }

    pub(crate) fn explain_through(
        &self,
        from: PortId,
        tunnel: Tunnel,
        bytes: &[u8],
        vnet: VnetHeader,
        now: Instant,
    ) -> Explanation {
        explain(&self.view, from, tunnel, bytes, vnet, now)
    }

    pub(crate) fn explain_reply(
        &self,
        from: PortId,
        bytes: &[u8],
        explained: &Explanation,
        now: Instant,
    ) -> Option<Reply> {
        explain_reply(&self.view, from, Tunnel::default(), bytes, explained, now)
    }

    /// Returns whether no frame has left anything behind: no connection, no piece of a packet.
    pub(crate) fn is_untouched(&self) -> bool {
        let live = &self.view.router.live;
        live.tables.is_empty() && live.fragments.usage() == (0, 0)
    }

    /// Returns what was counted at a port, one set for each time it was open.
    pub(crate) fn totals(&self, id: PortId) -> Vec<PortTotals> {
        let outlets = self.outlets.get(&id).into_iter().flatten();
        outlets.map(|outlet| outlet.totals()).collect()
    }

    /// How often `reason` was counted anywhere.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.outlets
            .keys()
            .flat_map(|&id| self.totals(id))
            .chain([self.view.router_totals()])
            .map(|totals| totals.dropped(reason))
            .sum()
    }

    /// How often anything was dropped anywhere.
    pub(crate) fn dropped_in_all(&self) -> u64 {
        self.outlets
            .keys()
            .flat_map(|&id| self.totals(id))
            .chain([self.view.router_totals()])
            .map(|totals| totals.dropped_in_all())
            .sum()
    }

    pub(crate) fn is_open(&self, id: PortId) -> bool {
        self.wires.contains_key(&id)
    }

    fn collect(&mut self) -> Vec<Left> {
        let wires = self.wires.iter();
        let carried = wires.flat_map(|(&id, (far, _))| far.collect(id));
        carried.chain(self.repeated.drain(..)).collect()
    }
}
