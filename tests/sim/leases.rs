//! The pipeline beside itself with a kernel in front of it: whatever is sent, what leaves is the same, and so
//! is what is known of every connection.
//!
//! One rig sees every frame. The other one sees what the program of leases, run by the interpreter, has no
//! lease for, and lends leases as the daemon would.

use crate::rig::{Left, Rig};
use crate::site::{A, B, DB, Guest, HOP, OURS, Site, WEB, WORLD, WORLD6, packet};
use bpf::Program;
use bpf::interpreter::{Interpreter, Packet};
use dataplane::Outcome;
use lease::program::{Room, map, program};
use lease::{Change, FlowKey, FlowLease, Out, Port, Said, Terms, UNJUDGED, Way, ends};
use nat::tcp::Side;
use nat::{Arrival, Entry, Ledger, Over, Repeatable, Repeated, SessionId, repeatable};
use pipeline::{Frame, Instant, PortId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};
use wire::craft::{TcpSegment, superframe, unfinish};
use wire::{Headers, IpProtocol, TcpFlags, VnetHeader};

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    program(Room {
        leases: 1,
        flows: 4096,
        ports: 16,
    })
});

/// The host's end of a port's veth, and its TAP.
fn interface(port: PortId) -> u32 {
    10 + u32::from(port.0)
}
const TAP: u32 = 100;

/// The kernel's maps, and how much of each slot was taken.
#[derive(Debug)]
struct Kernel {
    it: Mutex<Interpreter<'static>>,
    taken: Mutex<BTreeMap<u32, (u64, u64)>>,
}

impl Ledger for Kernel {
    fn take(&self, slot: u32) -> Repeated {
        let lease: FlowLease = self.it.lock().unwrap().lookup(map::FLOWS, &slot).unwrap();
        let mut taken = self.taken.lock().unwrap();
        let before = taken
            .insert(slot, (lease.frames, lease.bytes))
            .unwrap_or_default();
        Repeated {
            packets: lease.frames - before.0,
            bytes: lease.bytes - before.1,
            last: Instant::from_nanos(lease.last),
            said: (lease.key.protocol == 6).then_some(nat::tcp::Said {
                end: lease.said.end,
                ack: lease.said.ack,
                window: lease.said.window,
                finished: lease.said.finished != 0,
            }),
        }
    }
}

/// The lease for one direction, to be lent once the other one is known.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    key: FlowKey,
    to: PortId,
    change: Change,
    decision: Repeatable,
}

struct Both {
    now: Instant,
    all: Rig,
    split: Rig,
    kernel: Arc<Kernel>,
    candidates: BTreeMap<SessionId, [Option<Candidate>; 2]>,
    keys: BTreeMap<u32, FlowKey>,
    slots: u32,
    repeated: usize,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Initiator => 0,
        Side::Responder => 1,
    }
}

impl Both {
    fn new() -> Self {
        let site = || {
            Site::new()
                .publish(IpProtocol::TCP, 8080, A, 80)
                .inside(WEB, |role| role.peers = vec![DB])
                .inside(DB, |role| role.peers = vec![WEB])
        };
        let mut it = Interpreter::new(&PROGRAM);
        for guest in [A, B, HOP] {
            let port = Port {
                tap: TAP,
                locked: 0,
                gateway: crate::site::gateway(guest.network).0,
                flows: 0,
                missed: 0,
            };
            it.insert(map::PORTS, &interface(guest.port), &port);
        }
        let terms = Terms {
            generation: 1,
            until: u64::MAX,
        };
        it.insert(map::TERMS, &0_u32, &terms);
        let kernel = Arc::new(Kernel {
            it: Mutex::new(it),
            taken: Mutex::default(),
        });
        let split = site().rig();
        let ledger: Arc<dyn Ledger> = kernel.clone();
        split.router().live.tables.keep_ledger(&ledger);
        Self {
            now: Instant::from_secs(1000),
            all: site().rig(),
            split,
            kernel,
            candidates: BTreeMap::new(),
            keys: BTreeMap::new(),
            slots: 0,
            repeated: 0,
        }
    }

    /// Sends a frame through both; what left.
    fn carry(&mut self, from: PortId, bytes: &[u8], vnet: VnetHeader) -> Vec<Left> {
        let expected = self.all.carry(from, bytes, vnet, self.now);
        let left = match self.repeat(from, bytes, vnet) {
            Some((port, bytes)) => {
                self.repeated += 1;
                vec![Left {
                    port,
                    bytes,
                    vnet,
                    tunnel: pipeline::Tunnel::default(),
                }]
            }
            None => {
                let left = self.split.carry(from, bytes, vnet, self.now);
                self.lend(from, bytes, vnet);
                left
            }
        };
        assert_eq!(left, expected);
        self.take_back();
        left
    }

    fn repeat(&self, from: PortId, bytes: &[u8], vnet: VnetHeader) -> Option<(PortId, Vec<u8>)> {
        let mut it = self.kernel.it.lock().unwrap();
        it.nanoseconds = self.now.as_nanos();
        let mut packet = Packet::new(bytes.to_vec(), interface(from));
        packet.context.gso_size = vnet.gso_size.into();
        packet.unfinished = vnet.needs_csum();
        let outcome = it.run(packet).unwrap();
        let to = outcome.redirect.unwrap().ifindex;
        let port = u16::try_from(to - 10).unwrap();
        (to != TAP).then_some((PortId(port), outcome.packet.bytes))
    }

    fn lend(&mut self, from: PortId, bytes: &[u8], vnet: VnetHeader) {
        let explained = self.split.explain(from, bytes, vnet, self.now);
        let Ok(Outcome::Routed {
            network,
            rewrite,
            headers,
            ..
        }) = explained.verdict
        else {
            return;
        };
        let mut room = bytes.to_vec();
        let end = room.len();
        let frame = Frame::new(&mut room, 0, end, vnet);
        let sender = [A, B, HOP].into_iter().find(|it| it.port == from).unwrap();
        let arrival = Arrival {
            network: sender.network,
            from,
            frame: &frame,
            headers: &headers,
        };
        let router = self.split.router();
        let decision = repeatable(router, &arrival, Some((network, &rewrite)), self.now);
        let key = FlowKey::of(1, interface(from), &headers);
        let (Ok(decision), Some(key), [copy]) = (decision, key, &explained.outputs[..]) else {
            return;
        };
        let candidate = Candidate {
            key,
            to: copy.port,
            change: Change {
                to: rewrite.dst_mac,
                from: rewrite.src_mac,
                ends: rewrite.outer.map(|it| ends(it.src, it.dst)),
            },
            decision,
        };
        let known = self.candidates.entry(decision.session).or_default();
        known[index(decision.side)] = Some(candidate);
        match (*known, decision.direction) {
            // Each of a connection's directions is judged by what the other one said.
            ([Some(first), Some(second)], Some(_)) => {
                let [a, b] = [self.slots, self.slots + 1];
                self.slots += 2;
                self.open(&first, a, b);
                self.open(&second, b, a);
            }
            (_, Some(_)) => {}
            (_, None) => {
                self.slots += 1;
                self.open(&candidate, self.slots - 1, UNJUDGED);
            }
        }
    }

    fn open(&mut self, candidate: &Candidate, slot: u32, twin: u32) {
        let Repeatable {
            session,
            side,
            direction,
            ..
        } = candidate.decision;
        let tables = &self.split.router().live.tables;
        let Some(said) = tables.lease(session, side, slot) else {
            return;
        };
        let mut begins = lease::Direction::NONE;
        if let (Some(said), Some(direction)) = (said, direction) {
            begins = lease::Direction {
                twin: if direction.liberal { UNJUDGED } else { twin },
                scale: direction.scale.into(),
                said: Said {
                    end: said.end,
                    ack: said.ack,
                    window: said.window,
                    finished: said.finished.into(),
                },
            };
        }
        let out = Out {
            interface: interface(candidate.to),
            way: Way::Peer,
            mtu: 1500,
        };
        let lease = FlowLease::new(candidate.key, out, Some(candidate.change), begins);
        let mut it = self.kernel.it.lock().unwrap();
        it.insert(map::FLOWS, &slot, &lease);
        it.insert(map::FLOW_KEYS, &candidate.key, &slot);
        self.keys.insert(slot, candidate.key);
    }

    /// Takes in what finished, and takes back what is over.
    fn take_back(&mut self) {
        let tables = &self.split.router().live.tables;
        let finished = self.kernel.it.lock().unwrap().records(map::FINISHED);
        if !finished.is_empty() {
            for session in self.candidates.keys() {
                tables.settle(*session, self.now);
            }
        }
        let mut over = Vec::new();
        if tables.has_over() {
            tables.take_over(&mut over);
        }
        for Over {
            slot,
            session,
            side,
        } in over
        {
            self.candidates.remove(&session);
            if let Some(key) = self.keys.remove(&slot) {
                let mut it = self.kernel.it.lock().unwrap();
                if it.lookup::<_, u32>(map::FLOW_KEYS, &key) == Some(slot) {
                    it.remove(map::FLOW_KEYS, &key);
                }
            }
            tables.release(session, side, self.now);
        }
    }

    fn wait(&mut self, time: std::time::Duration) {
        self.now = self.now + time;
        let [all, split] = [&mut self.all, &mut self.split].map(|rig| rig.poll(self.now));
        assert_eq!(split, all);
        self.take_back();
    }

    fn check(&self) {
        let connections = |rig: &Rig| -> Vec<Entry> {
            let mut all = rig.router().connections(self.now, |_| true);
            all.sort_by_key(|it| (it.protocol.0, it.initiator, it.responder));
            all
        };
        assert_eq!(connections(&self.split), connections(&self.all));
    }
}

/// Who calls whom: a guest, its address, and whom it calls.
const CALLS: [(Guest, Callee, bool); 7] = [
    (A, Callee::World, true),
    (A, Callee::World6, true),
    (HOP, Callee::Published, true),
    (A, Callee::Peer, true),
    (B, Callee::Published, true),
    (A, Callee::World, false),
    (A, Callee::Peer6, false),
];

#[derive(Debug, Clone, Copy)]
enum Callee {
    World,
    World6,
    Published,
    Peer,
    Peer6,
}

/// One end of a conversation, as it speaks: a guest, its address and port, and the other end's.
#[derive(Debug, Clone, Copy)]
struct Speaker {
    guest: Guest,
    own: (IpAddr, u16),
    other: (IpAddr, u16),
}

#[derive(Debug)]
struct Talk {
    tcp: bool,
    /// The called end is known once it was called.
    ends: [Option<Speaker>; 2],
    /// The next sequence number of each.
    next: [u32; 2],
}

impl Talk {
    fn new(index: usize) -> Self {
        let (guest, callee, tcp) = CALLS[index];
        let other: IpAddr = match callee {
            Callee::World => WORLD.into(),
            Callee::World6 => WORLD6.into(),
            Callee::Published => OURS.into(),
            Callee::Peer => B.v4.into(),
            Callee::Peer6 => B.v6.into(),
        };
        let own: IpAddr = match other {
            IpAddr::V4(_) if guest.port == HOP.port => WORLD.into(),
            IpAddr::V4(_) => guest.v4.into(),
            IpAddr::V6(_) => guest.v6.into(),
        };
        let port = if matches!(callee, Callee::Published) {
            8080
        } else {
            80
        };
        let caller = Speaker {
            guest,
            own: (own, 40_000 + u16::try_from(index).unwrap()),
            other: (other, port),
        };
        Self {
            tcp,
            ends: [Some(caller), None],
            next: [100, u32::MAX - 1000],
        }
    }

    /// Learns from what left who was called, and as whom the caller is seen.
    fn learn(&mut self, left: &[Left]) {
        let [Left { port, bytes, .. }] = left else {
            return;
        };
        let headers = Headers::parse(bytes).unwrap();
        let (src, dst, _) = nat::addresses(&headers).unwrap();
        let (Some((from, to)), Some(guest)) = (
            headers.transport.ports(),
            [A, B, HOP].into_iter().find(|it| it.port == *port),
        ) else {
            return;
        };
        self.ends[1] = Some(Speaker {
            guest,
            own: (dst, to),
            other: (src, from),
        });
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Data or an acknowledgement, or a datagram.
    Say,
    Syn,
    Fin,
    /// The first with the number that is expected.
    Reset,
    Blind,
    /// Segments that were sent before, again.
    Again,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    talk: usize,
    by: usize,
    act: Act,
    length: usize,
    hops: u8,
    /// Its checksum is left to the interface.
    unfinished: bool,
    wait: u16,
    jump: u32,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        24 => Just(Act::Say),
        2 => Just(Act::Syn),
        2 => Just(Act::Fin),
        1 => Just(Act::Reset),
        2 => Just(Act::Blind),
        2 => Just(Act::Again),
    ];
    let length =
        prop_oneof![2 => Just(0), 4 => 0..1400_usize, 1 => 1440..1500_usize, 1 => 3000..9000_usize];
    let hops = prop_oneof![12 => Just(64_u8), 1 => 1..3_u8];
    let wait = prop_oneof![6 => Just(0_u16), 3 => 0..2000_u16, 1 => any::<u16>()];
    (
        0..CALLS.len(),
        0..2_usize,
        act,
        length,
        hops,
        any::<bool>(),
        wait,
        any::<u32>(),
    )
        .prop_map(
            |(talk, by, act, length, hops, unfinished, wait, jump)| Step {
                talk,
                by,
                act,
                length,
                hops,
                unfinished,
                wait,
                jump,
            },
        )
}

/// The frame of a step.
fn frame(talk: &mut Talk, step: &Step, speaker: Speaker) -> (Vec<u8>, VnetHeader) {
    let ((src, src_port), (dst, dst_port)) = (speaker.own, speaker.other);
    let packet = packet(speaker.guest, src, dst).hops(step.hops);
    let payload = vec![5; step.length];
    let mut bytes = if talk.tcp {
        let (mut seq, ack) = (talk.next[step.by], talk.next[1 - step.by]);
        let (flags, length) = match step.act {
            Act::Say => (TcpFlags::ACK, step.length),
            Act::Fin => (TcpFlags::ACK.union(TcpFlags::FIN), step.length),
            Act::Again => (TcpFlags::ACK, 0),
            Act::Reset | Act::Blind => (TcpFlags::RST, 0),
            Act::Syn => (TcpFlags::SYN, 0),
        };
        let flags = match (flags, step.by) {
            (TcpFlags::SYN, 1) => flags.union(TcpFlags::ACK),
            _ => flags,
        };
        match step.act {
            Act::Blind => seq = step.jump,
            Act::Again => seq = seq.wrapping_sub(step.jump % 2000),
            Act::Syn => seq = seq.wrapping_add(step.jump % 3),
            Act::Say | Act::Fin | Act::Reset => {}
        }
        if !matches!(step.act, Act::Again | Act::Blind | Act::Reset) {
            let own = u32::from(flags.contains(TcpFlags::SYN) || flags.contains(TcpFlags::FIN));
            talk.next[step.by] = seq.wrapping_add(u32::try_from(length).unwrap() + own);
        }
        packet.tcp(TcpSegment {
            src_port,
            dst_port,
            flags,
            seq,
            ack,
            window: 20_000,
            options: &[],
            payload: &payload[..length],
        })
    } else {
        packet.udp(src_port, dst_port, &payload)
    };
    let is_long = step.length > 2000 && bytes.len() > 2000;
    let vnet = match is_long {
        true => superframe(&mut bytes, 1400).unwrap(),
        false if step.unfinished => unfinish(&mut bytes).unwrap(),
        false => VnetHeader::default(),
    };
    (bytes, vnet)
}

fn run(steps: &[Step]) -> usize {
    let mut both = Both::new();
    let mut talks: Vec<Talk> = (0..CALLS.len()).map(Talk::new).collect();
    for step in steps {
        if step.wait > 0 {
            both.wait(std::time::Duration::from_millis(step.wait.into()));
        }
        let talk = &mut talks[step.talk];
        let by = if talk.ends[step.by].is_some() {
            step.by
        } else {
            0
        };
        let step = Step { by, ..*step };
        let speaker = talk.ends[by].unwrap();
        let (bytes, vnet) = frame(talk, &step, speaker);
        let left = both.carry(speaker.guest.port, &bytes, vnet);
        if by == 0 {
            talk.learn(&left);
        }
        // Whoever looks takes in what was repeated, so nobody looks after each frame.
        if step.jump.is_multiple_of(16) {
            both.check();
        }
    }
    both.check();
    both.repeated
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_can_tell_whether_the_kernel_repeats(
        opened in any::<[bool; CALLS.len()]>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let opened = (0..).zip(opened).filter(|(_, opened)| *opened);
        let mut all: Vec<Step> = opened.flat_map(|(talk, _)| handshake(talk)).collect();
        all.extend(steps);
        run(&all);
    }
}

fn say(talk: usize, by: usize, act: Act) -> Step {
    Step {
        talk,
        by,
        act,
        length: 100,
        hops: 64,
        unfinished: true,
        wait: 0,
        jump: 0,
    }
}

fn handshake(talk: usize) -> [Step; 4] {
    let steps = [(0, Act::Syn), (1, Act::Syn), (0, Act::Say), (1, Act::Say)];
    steps.map(|(by, act)| say(talk, by, act))
}

/// A handshake, data both ways, and an end: all but the handshake is repeated.
#[test]
fn most_of_a_connection_is_repeated() {
    for (talk, call) in CALLS.iter().enumerate() {
        let mut steps = handshake(talk).to_vec();
        for _ in 0..20 {
            steps.extend([say(talk, 0, Act::Say), say(talk, 1, Act::Say)]);
        }
        steps.extend([say(talk, 0, Act::Fin), say(talk, 1, Act::Fin)]);
        let repeated = run(&steps);
        assert!(repeated >= 40, "{repeated} of {call:?}");
    }
}
