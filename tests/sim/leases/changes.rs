//! Ten thousand changes of the configuration while frames flow: after each one, what leaves is what the pipeline of
//! that configuration lets leave, and nothing goes by what was decided before.
//!
//! Frames from before a change are sent again after it: leases were out for them.

mod plan;

use super::{Act, CALLS, Step, Talk, connections, frame, handshake, say};
use crate::rig::{Left, Rig};
use crate::site::{A, B, C, GUESTS, Guest};
use nat::Live;
use pipeline::{Instant, Meter, PortId};
use plan::{CONTAINERS, Change, Plan, SPY, V10, pick};
use port::memory::MemoryConfig;
use sim::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use switch::fdb::FlushFilter;
use switch::{Limiter, Network};
use wire::craft::{Link, Packet};
use wire::{Headers, TcpFlags, Transport};
use wire::{VlanId, VnetHeader};

const SEED: u64 = 10;
const CHANGES: usize = 10_000;
/// Frames that may be sent again.
const RECENT: usize = 12;

#[test]
fn no_frame_passes_by_what_was_decided_before_a_change() {
    let mut town = Town::new(SEED);
    for _ in 0..CHANGES {
        town.change();
        town.traffic();
    }
    let [all, split] = &town.halves;
    assert_eq!(all.rig.hits, 0);
    let hits = split.rig.hits;
    assert!(
        hits > 2 * CHANGES as u64,
        "seed {SEED}: {hits} were repeated"
    );
}

/// A switch with its own tables and connections.
struct Half {
    rig: Rig,
    tables: Vec<Network>,
    live: Arc<Live>,
    limits: BTreeMap<PortId, [Limiter; 2]>,
}

impl Half {
    fn new(rig: Rig, plan: &Plan) -> Self {
        let mut half = Self {
            rig,
            tables: plan.tables(),
            live: Arc::new(Live::new(1 << 16, 7)),
            limits: BTreeMap::new(),
        };
        for port in GUESTS.map(|guest| guest.port).into_iter().chain([SPY]) {
            half.rig.open(port, MemoryConfig::default());
        }
        // The containers' stations are learned.
        for guest in GUESTS.iter().filter(|it| !CONTAINERS.contains(it)) {
            half.pin(*guest, guest.port);
        }
        half
    }

    fn table(&self, guest: Guest) -> &Network {
        let mut tables = self.tables.iter();
        tables.find(|table| table.id == guest.network).unwrap()
    }

    fn pin(&self, guest: Guest, at: PortId) {
        let fdb = &self.table(guest).fdb;
        fdb.remove(VlanId::DEFAULT, guest.mac);
        fdb.add_static(VlanId::DEFAULT, guest.mac, at.into())
            .unwrap();
    }

    /// Makes the part of a change that is not in the plan.
    fn take(&mut self, change: &Change, plan: &Plan) {
        match change {
            Change::Detach(port) => self.rig.close(*port),
            Change::Attach(port) => self.rig.open(*port, MemoryConfig::default()),
            Change::Limits(port, rates) => {
                let limiter = |rate: Option<u32>| Limiter {
                    packets: rate.map(|rate| Arc::new(Meter::new(rate, 3))),
                    bytes: None,
                };
                self.limits.insert(*port, rates.map(limiter));
            }
            Change::Pin(guest) => self.pin(*guest, plan.seat(*guest)),
            Change::Forget(guest) => {
                self.table(*guest).fdb.remove(VlanId::DEFAULT, guest.mac);
            }
            Change::Flush => {
                let all = FlushFilter {
                    port: None,
                    vlan: None,
                    statics: false,
                };
                self.tables.iter().for_each(|table| {
                    table.fdb.flush(all);
                });
            }
            Change::Set(_) | Change::Swap(_) => {}
        }
    }

    /// Publishes the plan, as the daemon does.
    fn publish(&mut self, plan: &Plan, now: Instant) {
        let (networks, ports) = plan.topology(&self.tables, &self.limits);
        self.rig.publish(networks, ports);
        self.rig.reroute(plan.site.router_on(&self.live), now);
    }
}

#[derive(Debug, Clone)]
struct Sent {
    from: Guest,
    bytes: Vec<u8>,
    vnet: VnetHeader,
}

/// Every call, and the same by datagrams.
fn talks() -> Vec<Talk> {
    let calls = 0..2 * CALLS.len();
    let talk = |index: usize| {
        let mut talk = Talk::new(index % CALLS.len());
        if let (true, Some(caller)) = (index >= CALLS.len(), &mut talk.ends[0]) {
            talk.tcp = false;
            caller.own.1 += 100;
        }
        talk
    };
    calls.map(talk).collect()
}

/// Both switches, and who talks.
struct Town {
    rng: Rng,
    now: Instant,
    plan: Plan,
    /// Without a kernel that repeats, and with one.
    halves: [Half; 2],
    talks: Vec<Talk>,
    recent: VecDeque<Sent>,
    /// The changes until now, and the last of them.
    changes: usize,
    last: VecDeque<Change>,
}

impl Town {
    fn new(seed: u64) -> Self {
        let plan = Plan::new();
        let now = Instant::from_secs(1000);
        let halves = [Rig::new(), Rig::repeating()].map(|rig| {
            let mut half = Half::new(rig, &plan);
            half.publish(&plan, now);
            half
        });
        Self {
            rng: Rng::new(seed),
            now,
            plan,
            halves,
            talks: talks(),
            recent: VecDeque::new(),
            changes: 0,
            last: VecDeque::new(),
        }
    }

    fn change(&mut self) {
        let change = loop {
            let change = Change::draw(&mut self.rng);
            let is_detached = |port| self.plan.detached.contains(port);
            let is_void = matches!(&change, Change::Detach(port) if is_detached(port))
                || matches!(&change, Change::Attach(port) if !is_detached(port));
            if !is_void {
                break change;
            }
        };
        self.changes += 1;
        self.last.truncate(4);
        self.last.push_front(change.clone());
        self.pass();
        // As the dataplane does before each publication.
        self.halves[1].rig.take_begun(self.now);
        self.plan.take(&change);
        for half in &mut self.halves {
            half.take(&change, &self.plan);
            match &change {
                // A container that moves says so by its frames.
                Change::Swap(_) => {}
                Change::Pin(_) | Change::Forget(_) | Change::Flush => half.rig.recall(),
                Change::Set(_) | Change::Limits(..) | Change::Detach(_) | Change::Attach(_) => {
                    half.publish(&self.plan, self.now);
                }
            }
        }
        self.poll();
        if self.changes.is_multiple_of(50) {
            self.compare();
        }
    }

    /// Lets a moment pass. What is repeated is looked after now and then.
    fn pass(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.below(40));
        if self.rng.chance(200) {
            self.halves[1].rig.sweep(self.now);
        }
    }

    /// Lets the routers do what is due.
    fn poll(&mut self) {
        let now = self.now;
        let [all, split] = self.halves.each_mut().map(|half| half.rig.poll(now));
        assert_eq!(split, all, "{}", self.moment());
    }

    /// Compares what both know, and what they counted.
    fn compare(&mut self) {
        self.halves[1].rig.take_begun(self.now);
        let known = |half: &Half| {
            let ports = GUESTS.map(|guest| half.rig.totals(guest.port));
            (connections(&half.rig, self.now), ports)
        };
        let [all, split] = self.halves.each_ref().map(known);
        assert_eq!(split, all, "{}", self.moment());
    }

    fn moment(&self) -> String {
        let (changes, last) = (self.changes, &self.last);
        format!("seed {SEED}, after change {changes}; the last ones, newest first: {last:?}")
    }

    /// Frames that flowed before, a conversation, and switched frames; each of them more than once.
    fn traffic(&mut self) {
        for _ in 0..4 {
            if !self.recent.is_empty() {
                let at = self.rng.below(self.recent.len() as u64);
                let sent = self.recent[usize::try_from(at).unwrap()].clone();
                self.send(&sent);
            }
        }
        for _ in 0..2 {
            self.talk();
        }
        let switched = self.switched();
        self.recent.truncate(RECENT);
        self.recent.push_front(switched.clone());
        for _ in 0..2 {
            self.send(&switched);
        }
    }

    fn switched(&mut self) -> Sent {
        let rng = &mut self.rng;
        let (from, to) = pick(rng, &[(A, C), (C, A), (A, C), (C, A), (A, B)]);
        let link = Link::new(from.mac, to.mac);
        let link = match rng.below(10) {
            0 => link.vlan(V10),
            1 => link.vlan(VlanId::DEFAULT),
            _ => link,
        };
        let packet: Packet = match rng.chance(700) {
            true => link.ipv4(from.v4, to.v4),
            false => link.ipv6(from.v6, to.v6),
        };
        let length = pick(rng, &[10, 100, 1000]);
        Sent {
            from,
            bytes: packet.udp(5000, 6000, &vec![5; length]),
            vnet: VnetHeader::default(),
        }
    }

    /// Goes on with a conversation, or begins it anew.
    fn talk(&mut self) {
        let talks = self.talks.len() as u64;
        let index = usize::try_from(self.rng.below(talks)).unwrap();
        if self.rng.chance(200) {
            handshake(index).iter().for_each(|step| self.step(step));
        }
        for by in [0, 1].into_iter().cycle().take(6) {
            let length = pick(&mut self.rng, &[0, 100, 1200]);
            self.step(&Step {
                length,
                ..say(index, by, Act::Say)
            });
        }
    }

    fn step(&mut self, step: &Step) {
        let talk = &mut self.talks[step.talk];
        let by = if talk.ends[step.by].is_some() {
            step.by
        } else {
            0
        };
        let step = Step { by, ..*step };
        let speaker = talk.ends[by].unwrap();
        let (bytes, vnet) = frame(talk, &step, speaker);
        let sent = Sent {
            from: speaker.guest,
            bytes,
            vnet,
        };
        self.recent.truncate(RECENT);
        self.recent.push_front(sent.clone());
        let mut left = self.send(&sent);
        left.retain(|it| it.port != SPY);
        for it in &mut left {
            // Who is at that port now.
            let guests = GUESTS.into_iter();
            it.port = (guests.filter(|guest| self.plan.seat(*guest) == it.port))
                .map(|guest| guest.port)
                .next()
                .unwrap();
        }
        if by == 0 {
            self.talks[step.talk].learn(&left);
        }
    }

    /// Sends a frame through both; what left.
    fn send(&mut self, sent: &Sent) -> Vec<Left> {
        let port = self.plan.seat(sent.from);
        if self.plan.detached.contains(&port) {
            return Vec::new();
        }
        let now = self.now;
        let [all, split] =
            (self.halves.each_mut()).map(|half| half.rig.carry(port, &sent.bytes, sent.vnet, now));
        assert_eq!(split, all, "{}: {sent:x?}", self.moment());
        // What is begun in the midst of a connection is taken back when it is told: at once.
        let headers = Headers::parse(&sent.bytes).unwrap();
        if matches!(headers.transport, Transport::Tcp(tcp) if tcp.flags.contains(TcpFlags::SYN)) {
            self.halves[1].rig.take_begun(now);
        }
        split
    }
}
