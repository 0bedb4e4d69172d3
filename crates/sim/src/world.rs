//! The event loop: virtual time jumps from one event to the next.
//!
//! ```text
//!   station --- wire, upward ---> memory port ==> Forwarder ==> memory port --- wire, downward ---> station
//!           Event::Enter                    (no time passes)                    Event::Leave
//! ```
//! A router, where there is one, is polled at the forwarder's deadlines, as by a worker of the daemon,
//! and forgets old connections once a second, as the manager has it do.
//! Events of one moment happen in the order in which they were scheduled, so a run depends on its
//! seed and its configuration alone. Nothing here reads a clock or starts a thread.

use crate::app::App;
use crate::host::{Host, HostConfig};
use crate::link::{Direction, Wire};
use crate::nic::Packet;
use crate::report::{Line, Report, Station};
use crate::rng::Rng;
use crate::talker::Talker;
use dataplane::{Forwarder, Outlet, View};
use nat::Router;
use pipeline::{BatchLimits, Instant, PortId, WorkerId};
use port::memory::{self, MemoryConfig, Peer};
use port::{Offloads, Rx};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;
use switch::{Network, Port, Topology};

/// A switch, its stations, and the time they live in.
#[derive(Debug)]
pub struct World {
    seed: u64,
    rng: Rng,
    now: Instant,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    networks: Vec<Network>,
    ports: Vec<Port>,
    view: View,
    forwarder: Forwarder,
    plugs: BTreeMap<PortId, Plug>,
    /// Whether there is a router.
    routed: bool,
    /// The forwarder's deadline, as it was scheduled last.
    deadline: Option<Instant>,
}

/// A port of the switch with its wire and what hangs at the far end.
#[derive(Debug)]
struct Plug {
    socket: Option<Socket>,
    offloads: Offloads,
    /// One for each time the port was opened.
    outlets: Vec<Arc<Outlet>>,
    upward: Direction,
    downward: Direction,
    /// Frames that reached a closed port.
    unheard: u64,
    end: End,
    wake: Option<Instant>,
}

/// An open memory port: our half of the wire, and the switch's.
#[derive(Debug)]
struct Socket {
    peer: Peer,
    rx: Box<dyn Rx>,
}

#[derive(Debug)]
enum End {
    Host(Box<Host>),
    Talker(Talker),
    /// A cable to another port of the switch.
    Cable(PortId),
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A frame reaches the switch at a port.
    Enter(PortId, Packet),
    /// A frame reaches the station at a port.
    Leave(PortId, Packet),
    /// The station at a port wanted to be asked.
    Wake(PortId),
    /// The router does what is due.
    Poll,
    /// The router forgets connections that are over.
    Expire,
}

#[derive(Debug, PartialEq, Eq)]
struct Scheduled {
    at: Instant,
    number: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

const WORKER: WorkerId = WorkerId(0);
/// How often the router forgets connections that are over.
const EXPIRE: Duration = Duration::from_secs(1);
/// Frames a memory port holds in each direction: more than any batch makes it hold.
const CAPACITY: usize = 1024;

impl World {
    /// A switch without ports, at the origin of time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            now: Instant::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            networks: Vec::new(),
            ports: Vec::new(),
            view: View::new(1),
            forwarder: Forwarder::new(WORKER, BatchLimits::default()),
            plugs: BTreeMap::new(),
            routed: false,
            deadline: None,
        }
    }

    /// Adds a network.
    pub fn network(&mut self, network: Network) {
        self.networks.push(network);
        self.publish();
    }

    /// Gives the networks a router, or another one.
    pub fn router(&mut self, router: Router) {
        let topology = Arc::clone(&self.view.topology);
        self.view = self.view.with_configuration(topology, Arc::new(router));
        self.view.router.live.due.now();
        self.schedule(self.now, Event::Poll);
        if !std::mem::replace(&mut self.routed, true) {
            self.schedule(self.now, Event::Expire);
        }
    }

    /// Connects a host to a new port. The port finishes what the host's card does not take.
    pub fn host(&mut self, port: Port, config: &HostConfig, wire: Wire) -> PortId {
        let host = Host::new(config, self.rng.split());
        let offloads = if config.superframes {
            Offloads::ALL
        } else {
            Offloads::NONE
        };
        self.plug(port, End::Host(Box::new(host)), wire, offloads)
    }

    /// Connects a talker to a new port.
    pub fn talker(&mut self, port: Port, talker: Talker, wire: Wire) -> PortId {
        self.plug(port, End::Talker(talker), wire, Offloads::ALL)
    }

    /// Connects two new ports with a cable: a loop.
    pub fn cable(&mut self, one: Port, other: Port, wire: Wire) {
        let (a, b) = (one.id, other.id);
        self.plug(one, End::Cable(b), wire, Offloads::ALL);
        self.plug(other, End::Cable(a), wire, Offloads::ALL);
    }

    /// Starts a program on the host at `port`.
    ///
    /// # Panics
    /// When there is no host.
    pub fn start(&mut self, port: PortId, app: impl App + 'static) {
        let plug = self.plugs.get_mut(&port).expect("a program needs a port");
        let End::Host(host) = &mut plug.end else {
            panic!("{port} has no host")
        };
        host.apps.push(Box::new(app));
        self.wake(port, self.now);
    }

    /// Changes the configuration of networks and ports, as an administrator does.
    pub fn configure(&mut self, change: impl FnOnce(&mut Vec<Network>, &mut Vec<Port>)) {
        change(&mut self.networks, &mut self.ports);
        self.publish();
    }

    /// The interface behind `port` disappears; the port stays configured.
    pub fn close(&mut self, port: PortId) {
        if let Some(plug) = self.plugs.get_mut(&port) {
            plug.socket = None;
        }
        self.view = self.view.with_outlet(port, None);
    }

    /// The interface behind `port` is there again.
    pub fn reopen(&mut self, port: PortId) {
        let Some(plug) = self.plugs.get_mut(&port) else {
            return;
        };
        let (socket, outlet) = open(plug.offloads);
        plug.socket = Some(socket);
        plug.outlets.push(Arc::clone(&outlet));
        self.view = self.view.with_outlet(port, Some(outlet));
    }

    /// Lets `span` pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until every program and talker is done, at most for `limit`. Answers whether they are.
    pub fn run_to_end(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        while !self.done() {
            if !self.step(end) {
                return self.done();
            }
        }
        true
    }

    /// Returns what time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns what the switch looks like.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How everything went so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let lines = self.plugs.iter().map(|(&port, plug)| Line {
            port,
            totals: plug.outlets.iter().map(|outlet| outlet.totals()).collect(),
            upward: plug.upward.fate,
            downward: plug.downward.fate,
            unheard: plug.unheard,
            station: plug.end.tell(),
        });
        Report {
            seed: self.seed,
            duration: self.now.since(Instant::ZERO),
            lines: lines.collect(),
            router: self.view.router_totals(),
        }
    }
}

impl World {
    fn plug(&mut self, port: Port, end: End, wire: Wire, offloads: Offloads) -> PortId {
        let id = port.id;
        let (upward, downward) = (
            Direction::new(wire, self.rng.split()),
            Direction::new(wire, self.rng.split()),
        );
        let plug = Plug {
            socket: None,
            offloads,
            outlets: Vec::new(),
            upward,
            downward,
            unheard: 0,
            end,
            wake: None,
        };
        self.ports.push(port);
        self.plugs.insert(id, plug);
        self.publish();
        self.reopen(id);
        self.wake(id, self.now);
        id
    }

    fn publish(&mut self) {
        let topology = Topology::new(self.networks.clone(), self.ports.clone())
            .expect("the scenario's configuration is sound");
        let router = Arc::clone(&self.view.router);
        self.view = self.view.with_configuration(Arc::new(topology), router);
    }

    fn done(&self) -> bool {
        self.plugs.values().all(|plug| match &plug.end {
            End::Host(host) => host.done(),
            End::Talker(talker) => talker.done(),
            End::Cable(_) => true,
        })
    }

    /// Handles the next event that is not after `end`. False when there is none.
    fn step(&mut self, end: Instant) -> bool {
        if self.events.peek().is_none_or(|Reverse(next)| next.at > end) {
            return false;
        }
        let Some(Reverse(next)) = self.events.pop() else {
            return false;
        };
        self.now = next.at;
        match next.event {
            Event::Enter(port, packet) => self.enter(port, &packet),
            Event::Leave(port, packet) => self.leave(port, packet),
            Event::Wake(port) => {
                // Wishes are not taken back: only the last one counts.
                if self
                    .plugs
                    .get(&port)
                    .is_some_and(|plug| plug.wake == Some(next.at))
                {
                    self.run(port);
                }
            }
            Event::Poll => self.poll(),
            Event::Expire => {
                self.view.router.expire(self.now);
                self.schedule(self.now + EXPIRE, Event::Expire);
            }
        }
        self.follow_deadline();
        true
    }

    /// The router does what is due, if anything is still.
    fn poll(&mut self) {
        if self.view.router.live.due.claim(self.now) {
            self.forwarder.poll(&self.view, self.now);
            self.collect();
        }
    }

    /// Schedules a poll for the forwarder's deadline, where that is another one than before.
    fn follow_deadline(&mut self) {
        let deadline = self.forwarder.deadline(&self.view);
        if std::mem::replace(&mut self.deadline, deadline) != deadline
            && let Some(at) = deadline
        {
            self.schedule(at.max(self.now), Event::Poll);
        }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        schedule(&mut self.events, &mut self.scheduled, at, event);
    }

    /// A frame reaches the switch, which carries it at once.
    fn enter(&mut self, port: PortId, packet: &Packet) {
        let Self {
            plugs,
            forwarder,
            view,
            now,
            ..
        } = self;
        let Some(plug) = plugs.get_mut(&port) else {
            return;
        };
        let Some(socket) = &mut plug.socket else {
            plug.unheard += 1;
            return;
        };
        socket
            .peer
            .send(&packet.bytes, packet.vnet)
            .expect("the port is open and empty");
        while forwarder
            .serve(port, &mut *socket.rx, || (*now, view))
            .expect("an open memory port receives")
            > 0
        {}
        self.collect();
    }

    /// Puts what the switch sent onto the wires.
    fn collect(&mut self) {
        let Self {
            plugs,
            now,
            events,
            scheduled,
            ..
        } = self;
        for (&port, plug) in plugs.iter_mut() {
            while let Some((bytes, vnet)) =
                plug.socket.as_ref().and_then(|socket| socket.peer.recv())
            {
                for at in plug.downward.carry(*now, bytes.len()) {
                    let packet = Packet {
                        bytes: bytes.clone(),
                        vnet,
                    };
                    schedule(events, scheduled, at, Event::Leave(port, packet));
                }
            }
        }
    }

    /// A frame reaches the far end of a port's wire.
    fn leave(&mut self, port: PortId, packet: Packet) {
        let Some(plug) = self.plugs.get_mut(&port) else {
            return;
        };
        match &mut plug.end {
            End::Host(host) => {
                host.take(packet);
                self.run(port);
            }
            End::Talker(talker) => talker.heard += 1,
            End::Cable(other) => {
                let other = *other;
                self.schedule(self.now, Event::Enter(other, packet));
            }
        }
    }

    /// Lets the station at `port` do what it can.
    fn run(&mut self, port: PortId) {
        let Self {
            plugs,
            now,
            events,
            scheduled,
            ..
        } = self;
        let Some(plug) = plugs.get_mut(&port) else {
            return;
        };
        let (packets, next) = match &mut plug.end {
            End::Host(host) => host.run(*now),
            End::Talker(talker) => talker.run(*now),
            End::Cable(_) => return,
        };
        for packet in packets {
            for at in plug.upward.carry(*now, packet.bytes.len()) {
                schedule(events, scheduled, at, Event::Enter(port, packet.clone()));
            }
        }
        if let Some(at) = next {
            self.wake(port, at);
        }
    }

    fn wake(&mut self, port: PortId, at: Instant) {
        if let Some(plug) = self.plugs.get_mut(&port) {
            plug.wake = Some(at);
            self.schedule(at, Event::Wake(port));
        }
    }
}

impl End {
    fn tell(&self) -> Station {
        match self {
            Self::Host(host) => Station {
                what: host.apps.iter().map(|app| app.tell()).collect(),
                succeeded: host.apps.iter().all(|app| app.succeeded()),
                refused: host.refused(),
            },
            Self::Talker(talker) => Station {
                what: vec![format!("{talker:?}")],
                succeeded: talker.done(),
                ..Station::default()
            },
            Self::Cable(to) => Station {
                what: vec![format!("cable to {to}")],
                succeeded: true,
                ..Station::default()
            },
        }
    }
}

fn schedule(
    events: &mut BinaryHeap<Reverse<Scheduled>>,
    scheduled: &mut u64,
    at: Instant,
    event: Event,
) {
    *scheduled += 1;
    events.push(Reverse(Scheduled {
        at,
        number: *scheduled,
        event,
    }));
}

fn open(offloads: Offloads) -> (Socket, Arc<Outlet>) {
    let config = MemoryConfig {
        offloads,
        capacity: CAPACITY,
    };
    let (port, peer) = memory::pair_with(config).expect("descriptors for a memory port");
    let rx = port
        .queues
        .into_iter()
        .next()
        .expect("a memory port has one queue");
    (Socket { peer, rx }, Arc::new(Outlet::new(port.tx, 1)))
}
