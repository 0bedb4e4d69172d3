//! The pipeline beside itself with a kernel in front of it: whatever is sent, what leaves is the same, and so
//! is what is known of every connection.
//!
//! One rig sees every frame. The other one sees what the program of leases, run by the interpreter, has no
//! lease for, and lends leases as the daemon would.

mod changes;

use crate::rig::{Left, Rig};
use crate::site::{A, B, DB, Guest, HOP, OURS, Site, WEB, WORLD, WORLD6, packet};
use nat::Entry;
use pipeline::{Instant, PortId};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;
use wire::craft::{TcpSegment, superframe, unfinish};
use wire::{Headers, IpProtocol, TcpFlags, VnetHeader};

struct Both {
    now: Instant,
    all: Rig,
    split: Rig,
}

impl Both {
    fn new() -> Self {
        let site = || {
            Site::new()
                .publish(IpProtocol::TCP, 8080, A, 80)
                .inside(WEB, |role| role.peers = vec![DB])
                .inside(DB, |role| role.peers = vec![WEB])
        };
        Self {
            now: Instant::from_secs(1000),
            all: site().rig(),
            split: site().repeating(),
        }
    }

    /// Sends a frame through both; what left.
    fn carry(&mut self, from: PortId, bytes: &[u8], vnet: VnetHeader) -> Vec<Left> {
        let expected = self.all.carry(from, bytes, vnet, self.now);
        let left = self.split.carry(from, bytes, vnet, self.now);
        assert_eq!(left, expected);
        left
    }

    /// Lets time pass; what is repeated is looked after once a second.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_secs(1));
            let [all, split] = [&mut self.all, &mut self.split].map(|rig| rig.poll(self.now));
            assert_eq!(split, all);
            self.split.sweep(self.now);
        }
    }

    fn check(&mut self) {
        self.split.take_begun(self.now);
        let [all, split] = [&self.all, &self.split].map(|rig| connections(rig, self.now));
        assert_eq!(split, all);
    }
}

/// All that a rig knows of connections.
fn connections(rig: &Rig, now: Instant) -> Vec<Entry> {
    let mut all = rig.router().connections(now, |_| true);
    all.sort_by_key(|it| (it.protocol.0, it.initiator, it.responder));
    all
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

    /// Begins to speak of another connection of the same kind: from another port.
    fn anew(&mut self) {
        let [caller, callee] = &mut self.ends;
        if let Some(caller) = caller {
            caller.own.1 += 100;
        }
        *callee = None;
        self.next = [100, u32::MAX - 1000];
    }

    /// Learns from what left who was called, and as whom the caller is seen.
    fn learn(&mut self, left: &[Left]) {
        let [Left { port, bytes, .. }] = left else {
            return;
        };
        let headers = Headers::parse(bytes).unwrap();
        let (Some((src, dst, _)), Some((from, to)), Some(guest)) = (
            nat::addresses(&headers),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Data or an acknowledgement, or a datagram.
    Say,
    Syn,
    /// The first of another connection.
    Anew,
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
    /// It was on its way to userspace when it was lent.
    under_way: bool,
    wait: u16,
    jump: u32,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        24 => Just(Act::Say),
        2 => Just(Act::Syn),
        3 => Just(Act::Anew),
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
        prop::bool::weighted(0.1),
        wait,
        any::<u32>(),
    )
        .prop_map(
            |(talk, by, act, length, hops, unfinished, under_way, wait, jump)| Step {
                talk,
                by,
                act,
                length,
                hops,
                unfinished,
                under_way,
                wait,
                jump,
            },
        )
}

/// Options of SYNs: of Linux with and without time stamps, of Windows and macOS; one that offers the largest shift
/// and more, one that takes larger segments than the links, one in an order that nobody sends, and none.
const OPTIONS: [&[u8]; 8] = [
    &[
        2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
    ],
    &[2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7],
    &[2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2],
    &[
        2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0,
    ],
    &[2, 4, 5, 180, 1, 3, 3, 200],
    &[2, 4, 0xff, 0xff],
    &[1, 3, 3, 2, 2, 4, 5, 180],
    &[],
];

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
            Act::Syn | Act::Anew => (TcpFlags::SYN, 0),
        };
        let flags = match (flags, step.by) {
            (TcpFlags::SYN, 1) => flags.union(TcpFlags::ACK),
            _ => flags,
        };
        match step.act {
            Act::Blind => seq = step.jump,
            Act::Again => seq = seq.wrapping_sub(step.jump % 2000),
            Act::Syn => seq = seq.wrapping_add(step.jump % 3),
            Act::Say | Act::Fin | Act::Reset | Act::Anew => {}
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
            options: match flags.contains(TcpFlags::SYN) {
                true => OPTIONS[step.jump as usize % OPTIONS.len()],
                false => &[],
            },
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

fn run(steps: &[Step]) -> u64 {
    let mut both = Both::new();
    let mut talks: Vec<Talk> = (0..CALLS.len()).map(Talk::new).collect();
    for step in steps {
        if step.wait > 0 {
            both.wait(Duration::from_millis(step.wait.into()));
        }
        let talk = &mut talks[step.talk];
        if step.act == Act::Anew {
            talk.anew();
        }
        let by = if talk.ends[step.by].is_some() {
            step.by
        } else {
            0
        };
        let step = Step { by, ..*step };
        let speaker = talk.ends[by].unwrap();
        let (bytes, vnet) = frame(talk, &step, speaker);
        both.split.under_way = step.under_way;
        let hits = both.split.hits;
        let left = both.carry(speaker.guest.port, &bytes, vnet);
        // Of what was begun just now nobody knows yet.
        let is_repeated = both.split.hits > hits && !both.split.has_begun();
        // What is begun in the midst of a connection is taken back when it is told: at once. What is new is told
        // some time.
        if step.act == Act::Syn {
            both.split.take_begun(both.now);
        }
        if by == 0 {
            talk.learn(&left);
        }
        // Whoever looks takes in what was repeated, so nobody looks after each frame.
        if step.jump.is_multiple_of(16) {
            let told = (both.split).explain(speaker.guest.port, &bytes, vnet, both.now);
            let repeated = told.leased.map_or(0, |carried| carried.frames);
            assert!(repeated > 0 || !is_repeated, "{step:?}: {:?}", told.steps);
            both.check();
        }
    }
    both.check();
    both.split.hits
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
        under_way: false,
        wait: 0,
        jump: 0,
    }
}

fn handshake(talk: usize) -> [Step; 4] {
    let steps = [(0, Act::Syn), (1, Act::Syn), (0, Act::Say), (1, Act::Say)];
    steps.map(|(by, act)| say(talk, by, act))
}

/// Each direction's figures are what the other one is judged by, so they are to be known of both ways.
#[test]
fn what_was_on_its_way_when_a_connection_was_lent_does_not_stop_it() {
    let mut steps = handshake(0).to_vec();
    let both = [say(0, 0, Act::Say), say(0, 1, Act::Say)];
    steps.extend(both.map(|step| Step {
        under_way: true,
        ..step
    }));
    steps.extend(both);
    assert_eq!(run(&steps), 2);
}

/// The first connection of a kind is carried by the pipeline until it is lent; the second one from its SYN on, where
/// it does not leave by a port of its own.
#[test]
fn the_second_connection_of_a_kind_is_begun_by_the_kernel() {
    for (talk, call) in CALLS.iter().enumerate() {
        let mut first = handshake(talk).to_vec();
        first.extend([say(talk, 0, Act::Say), say(talk, 1, Act::Say)]);
        let mut second = first.clone();
        second[0].act = Act::Anew;
        let frames = u64::try_from(second.len()).unwrap();
        let [alone, both] = [first.clone(), [first, second].concat()].map(|steps| run(&steps));
        let leaves = matches!(
            call,
            (A, Callee::World | Callee::World6, _) | (B, Callee::Published, _)
        );
        if leaves {
            assert!(both - alone < frames, "{call:?}");
        } else {
            assert_eq!(both - alone, frames, "{call:?}");
        }
    }
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
