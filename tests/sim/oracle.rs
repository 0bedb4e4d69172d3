//! The real switch beside the dumb one: the same random transitions drive both, and after each
//! one what left, why not, every counter and every known address must be equal.
//!
//! Before each frame the real switch is asked what would become of it, without effects: the answer
//! must be what then happens, and asking must have changed nothing.

mod steps;

use crate::reasons::BEYOND_STEPS;
use crate::rig::{Left, Rig};
use pipeline::{
    Destination, DropReason, Instant, Location, Meter, NetworkId, PeerId, Peers, PortId, Stage,
    Tunnel,
};
use port::memory::MemoryConfig;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sim::reference::{Bucket, Counts, Ends, RefNetwork, RefPort, Reference, Spec, Verdict, Vlans};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use steps::{HUB, KEY, NETWORKS, PEERS, PORTS, Step, vlan};
use switch::fdb::{Entry, Fdb, FdbConfig, FdbStats, FlushFilter, Kind, Removal};
use switch::{Gateway, Horizon, Membership, Mirror, Network, Port, Storm, VlanMode};
use wire::MacAddr;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_switch_and_the_reference_agree(steps in prop::collection::vec(steps::step(), 1..120)) {
        let mut both = Both::new(Rig::new());
        for step in &steps {
            both.take(step)?;
        }
    }
}

/// Frames that come again after each step, twice each.
const ECHOES: usize = 4;

/// A kernel in front that repeats what the switch decided changes nothing that can be seen.
#[test]
fn a_switch_whose_decisions_are_repeated_agrees_as_well() {
    let hits = Cell::new(0);
    let config = ProptestConfig {
        cases: 200,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(steps::step(), 1..120);
    let agreed = TestRunner::new(config).run(&steps, |steps| {
        let mut both = Both::new(Rig::repeating());
        let mut frames = VecDeque::new();
        for step in &steps {
            both.take(step)?;
            if let Step::Frame(..) = step {
                frames.truncate(ECHOES - 1);
                frames.push_front(step);
            }
            // What came before comes again, since only then is anything repeated.
            for frame in frames.iter().flat_map(|&it| [it; 2]) {
                both.take(frame)?;
            }
        }
        hits.set(hits.get() + both.real.hits);
        Ok(())
    });
    if let Err(error) = agreed {
        panic!("{error}");
    }
    assert!(hits.get() > 200, "repeated {} frames only", hits.get());
}

/// The two switches.
struct Both {
    now: Instant,
    real: Rig,
    dumb: Reference,
    fdbs: BTreeMap<NetworkId, Arc<Fdb>>,
    /// The real switch's limits: their levels outlive a new configuration.
    meters: BTreeMap<PortId, Storm>,
}

const AGEING: u64 = 5;

impl Both {
    fn new(real: Rig) -> Self {
        let mut both = Self {
            now: Instant::ZERO,
            real,
            dumb: Reference::default(),
            fdbs: BTreeMap::new(),
            meters: BTreeMap::new(),
        };
        for id in NETWORKS {
            let config = FdbConfig {
                // Many times more than the addresses there are: nothing is ever evicted.
                max_entries: 512,
                ageing: Duration::from_secs(AGEING),
                ..FdbConfig::default()
            };
            both.fdbs
                .insert(id, Arc::new(Fdb::new(config, u64::from(id.0))));
            both.dumb.networks.insert(
                id,
                RefNetwork {
                    mtu: 1500,
                    forward_reserved: false,
                    gateway: None,
                    ageing: AGEING,
                    key: (id == NETWORKS[0]).then_some(KEY),
                    table: BTreeMap::new(),
                },
            );
        }
        for id in PORTS {
            both.open(id);
            let network = NETWORKS.get(id.index() / 4).copied();
            both.configure(
                id,
                &RefPort {
                    network,
                    tunnel: (id == HUB).then_some(Horizon::Reflect),
                    ..steps::plain_port()
                },
            );
        }
        both.publish();
        both
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Frame(from, tunnel, spec) if self.real.is_open(*from) => {
                let hub = *from == HUB;
                self.frame(*from, if hub { *tunnel } else { Tunnel::default() }, spec)?;
            }
            Step::Frame(..) => {}
            Step::Wait(span) => {
                // Once a second in a daemon: what is repeated is as young, or as old, as it was.
                self.real.sweep(self.now);
                self.now = self.now + *span;
                self.real.sweep(self.now);
            }
            Step::Configure(id, port) => {
                self.configure(*id, port);
                self.publish();
            }
            Step::Change(id, tweak) => {
                if let Some(port) = self.dumb.ports.get_mut(id) {
                    tweak.apply(port);
                    let sound = |mirror: &Mirror| mirror.to != *id;
                    port.mirror = port.mirror.filter(sound);
                    let to = port.mirror.map(|mirror| mirror.to);
                    if to.is_some_and(|to| !self.dumb.ports.contains_key(&to)) {
                        self.dumb.ports.get_mut(id).unwrap().mirror = None;
                    }
                    self.publish();
                }
            }
            Step::Remove(id) => {
                self.dumb.ports.remove(id);
                self.meters.remove(id);
                // A mirror's destination cannot leave before the mirror does.
                for port in self.dumb.ports.values_mut() {
                    port.mirror = port.mirror.filter(|mirror| mirror.to != *id);
                }
                self.publish();
            }
            Step::Open(id) if !self.real.is_open(*id) => self.open(*id),
            Step::Open(_) => {}
            Step::Close(id) => {
                self.real.close(*id);
                self.dumb.open.remove(id);
            }
            Step::Network(id, mtu, forward_reserved, gateway) => {
                let network = self.dumb.networks.get_mut(id).unwrap();
                network.mtu = usize::from(*mtu);
                (network.forward_reserved, network.gateway) = (*forward_reserved, *gateway);
                self.publish();
            }
            Step::Pin(network, vid, mac, at) => {
                self.pin(*network, *vid, *mac, *at)?;
                self.real.recall();
            }
            Step::Forget(network, vid, mac) => {
                let dumb = self
                    .dumb
                    .networks
                    .get_mut(network)
                    .unwrap()
                    .table
                    .remove(&(*vid, *mac));
                let real = self.fdbs[network].remove(vlan(*vid), *mac);
                prop_assert_eq!(real != Removal::Absent, dumb.is_some());
                self.real.recall();
            }
            Step::Flush(network, port, vid, statics) => {
                let hit = |p: PortId, v: u16, pinned: bool| {
                    port.is_none_or(|x| x == p)
                        && vid.is_none_or(|x| x == v)
                        && (*statics || !pinned)
                };
                let table = &mut self.dumb.networks.get_mut(network).unwrap().table;
                let before = table.len();
                table.retain(|(v, _), place| !hit(place.at.port, *v, place.seen.is_none()));
                let filter = FlushFilter {
                    port: *port,
                    vlan: vid.map(vlan),
                    statics: *statics,
                };
                prop_assert_eq!(self.fdbs[network].flush(filter), before - table.len());
                self.real.recall();
            }
            Step::Expire(network) => {
                // Sweeping changes nothing that can be seen; the dumb table sweeps along to count alike.
                let fdb = &self.fdbs[network];
                fdb.expire(self.now, fdb.places());
                let known = self.dumb.known(*network, self.now);
                self.dumb
                    .networks
                    .get_mut(network)
                    .unwrap()
                    .table
                    .retain(|key, _| known.iter().any(|(v, m, _)| (*v, *m) == *key));
            }
        }
        self.compare_tables()
    }

    fn frame(&mut self, from: PortId, tunnel: Tunnel, spec: &Spec) -> Result<(), TestCaseError> {
        let (bytes, vnet) = spec.render();
        let before = self.live_state();
        let told = self
            .real
            .explain_through(from, tunnel, &bytes, vnet, self.now);
        prop_assert_eq!(self.live_state(), before, "asking changed something");
        let hits = self.real.hits;
        let left = self
            .real
            .carry_through(from, tunnel, &bytes, vnet, self.now);
        let is_repeated = self.real.hits > hits;
        prop_assert!(told.leased.is_some() || !is_repeated, "{:?}", told.steps);
        let verdict = self.dumb.carry(spec, from, tunnel, self.now);
        prop_assert_eq!(told.verdict.err(), verdict.dropped, "{:?}", told.steps);
        prop_assert_eq!(
            told.outputs
                .iter()
                .map(|copy| (copy.port, copy.to))
                .collect::<Vec<_>>(),
            verdict
                .copies
                .iter()
                .map(|copy| (copy.port, destination(copy)))
                .collect::<Vec<_>>()
        );
        prop_assert_eq!(left, self.expected(spec, &verdict));
        for id in PORTS {
            prop_assert_eq!(
                self.counted(id),
                self.dumb.counts.get(&id).cloned().unwrap_or_default(),
                "at {}",
                id
            );
        }
        Ok(())
    }

    /// The bytes that should have left, in the order of ports.
    fn expected(&self, spec: &Spec, verdict: &Verdict) -> Vec<Left> {
        let open = verdict
            .copies
            .iter()
            .filter(|copy| self.dumb.open.contains(&copy.port));
        let mut left: Vec<_> = open
            .flat_map(|copy| {
                let (bytes, vnet) = spec.rendered_with(&copy.tags);
                tunnels(copy).into_iter().map(move |tunnel| Left {
                    port: copy.port,
                    bytes: bytes.clone(),
                    vnet,
                    tunnel,
                })
            })
            .collect();
        left.sort_by_key(|left| (left.port, left.tunnel.peer));
        left
    }

    fn counted(&self, id: PortId) -> Counts {
        let mut counts = Counts::default();
        for totals in self.real.totals(id) {
            counts.rx = (
                counts.rx.0 + totals.rx_frames,
                counts.rx.1 + totals.rx_bytes,
            );
            counts.tx = (
                counts.tx.0 + totals.tx_frames,
                counts.tx.1 + totals.tx_bytes,
            );
            for (reason, count) in totals.drops() {
                *counts.drops.entry(reason).or_default() += count;
            }
        }
        counts
    }

    fn pin(
        &mut self,
        network: NetworkId,
        vid: u16,
        mac: MacAddr,
        at: Location,
    ) -> Result<(), TestCaseError> {
        let table = &mut self.dumb.networks.get_mut(&network).unwrap().table;
        let held = table
            .get(&(vid, mac))
            .is_some_and(|place| place.seen.is_none() && place.at != at);
        let sound = mac.0[0].is_multiple_of(2) && mac.0 != [0; 6];
        if sound && !held {
            table.insert((vid, mac), sim::reference::Whereabouts { at, seen: None });
        }
        prop_assert_eq!(
            self.fdbs[&network].add_static(vlan(vid), mac, at).is_ok(),
            sound && !held
        );
        Ok(())
    }

    fn compare_tables(&self) -> Result<(), TestCaseError> {
        for (&id, fdb) in &self.fdbs {
            let mut real: Vec<_> = fdb
                .entries(self.now)
                .into_iter()
                .map(|e: Entry| (e.vlan.get(), e.mac, e.at, e.kind))
                .collect();
            real.sort_unstable();
            let known = self.dumb.known(id, self.now).into_iter();
            let dumb: Vec<_> = known
                .map(|(v, m, p)| {
                    (
                        v,
                        m,
                        p.at,
                        if p.seen.is_none() {
                            Kind::Static
                        } else {
                            Kind::Learned
                        },
                    )
                })
                .collect();
            prop_assert_eq!(real, dumb);
        }
        Ok(())
    }

    /// Everything that a frame may change in the real switch, to be compared.
    fn live_state(&self) -> LiveState {
        let tables = self
            .fdbs
            .values()
            .map(|fdb| (fdb.entries(self.now), fdb.stats()))
            .collect();
        (
            tables,
            format!("{:?}", self.meters),
            PORTS.map(|id| self.counted(id)).to_vec(),
        )
    }

    fn open(&mut self, id: PortId) {
        match id {
            HUB => self.real.open_hub(id, PEERS, MemoryConfig::default()),
            id => self.real.open(id, MemoryConfig::default()),
        }
        self.dumb.open.insert(id);
    }

    /// Configures the port in both; a limit starts full.
    fn configure(&mut self, id: PortId, port: &RefPort) {
        let mut port = port.clone();
        port.mirror = port
            .mirror
            .filter(|mirror| mirror.to != id && self.dumb.ports.contains_key(&mirror.to));
        let full = |bucket: Option<Bucket>| {
            bucket.map(|bucket| Bucket::new(bucket.limits().0, bucket.limits().1))
        };
        port.limits = port.limits.map(full);
        let meter = |bucket: Option<Bucket>| {
            bucket.map(|bucket| Arc::new(Meter::new(bucket.limits().0, bucket.limits().1)))
        };
        let [broadcast, multicast, unknown] = port.limits.map(meter);
        self.meters.insert(
            id,
            Storm {
                broadcast,
                multicast,
                unknown,
            },
        );
        self.dumb.ports.insert(id, port);
    }

    fn publish(&mut self) {
        let networks = self.dumb.networks.iter().map(|(&id, network)| Network {
            id,
            mtu: u16::try_from(network.mtu).unwrap(),
            forward_reserved: network.forward_reserved,
            fdb: Arc::clone(&self.fdbs[&id]),
            key: network.key,
            gateway: network.gateway.map(|(mac, vid)| Gateway {
                mac,
                vlan: vlan(vid),
            }),
        });
        let ports = self.dumb.ports.iter().map(|(&id, port)| Port {
            id,
            membership: match port.tunnel {
                Some(horizon) => Membership::Tunnel(horizon),
                None => port.network.into(),
            },
            up: port.up,
            vlan: mode(&port.vlans),
            isolated: port.isolated,
            lock: port.lock.clone(),
            storm: self.meters[&id].clone(),
            mirror: port.mirror,
            ..Port::plain(id, NETWORKS[0])
        });
        let (networks, ports) = (networks.collect(), ports.collect());
        self.real.publish(networks, ports);
    }
}

/// Tables, the levels of the limits, counters.
type LiveState = (Vec<(Vec<Entry>, FdbStats)>, String, Vec<Counts>);

fn destination(copy: &sim::reference::Copy) -> Destination {
    let peers = match copy.to {
        Ends::All => Peers::All,
        Ends::Only(peer) => Peers::One(peer),
        Ends::Not(peer) => Peers::AllBut(peer),
    };
    Destination {
        peers,
        key: copy.key,
    }
}

/// The tunnels through which a copy leaves: the default one of a port that has one far end.
fn tunnels(copy: &sim::reference::Copy) -> Vec<Tunnel> {
    if copy.port != HUB {
        return vec![Tunnel::default()];
    }
    let meant = |peer: &PeerId| match copy.to {
        Ends::All => true,
        Ends::Only(one) => *peer == one,
        Ends::Not(one) => *peer != one,
    };
    let tunnel = |peer| Tunnel {
        peer,
        key: copy.key,
    };
    (1..=PEERS).map(PeerId).filter(meant).map(tunnel).collect()
}

fn mode(vlans: &Vlans) -> VlanMode {
    match vlans {
        Vlans::Access(vid) => VlanMode::Access { vid: vlan(*vid) },
        Vlans::Tunnel(vid) => VlanMode::Dot1qTunnel { vid: vlan(*vid) },
        Vlans::Trunk { allowed, native } => VlanMode::Trunk {
            allowed: allowed
                .iter()
                .map(|&vid| vlan(vid))
                .collect::<Vec<_>>()
                .into(),
            native: native.map(|(vid, _)| vlan(vid)),
            native_tagged: native.is_some_and(|(_, tagged)| tagged),
        },
    }
}

/// Random transitions come to every stage: else the property above would prove little.
#[test]
fn the_random_transitions_reach_the_reasons_that_frames_alone_can_cause() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1500 {
        let steps = prop::collection::vec(steps::step(), 1..120)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut both = Both::new(Rig::new());
        for step in &steps {
            both.take(step).unwrap();
        }
        seen.extend(
            both.dumb
                .counts
                .values()
                .flat_map(|counts| counts.drops.keys().copied()),
        );
    }
    let is_routers = |reason: DropReason| matches!(reason.stage(), Stage::Route | Stage::Translate);
    let missing: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| !seen.contains(reason))
        .filter(|reason| !BEYOND_STEPS.contains(reason) && !is_routers(**reason))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
