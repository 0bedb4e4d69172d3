//! The real router beside a plain, slow NAT: the same random transitions drive both through the
//! whole pipeline, and after each one what left, as whom, or why not must agree, and now and then
//! the connections that live.
//!
//! The reference (`reference.rs`) is a list and the words of RFC 4787, 5382 and 5508. It chooses no
//! ports: it is told which one was chosen, and judges whether it might be. Time is the test's.

mod frames;
mod reference;
mod steps;
mod tcp;

use crate::rig::Rig;
use crate::site::{A, B, C, GUESTS, Guest, HOP, OURS, Site, UP, WORLD2};
use frames::{at, frame, tuple, tuple_of, unreachable};
use nat::{Change, Ending, Inside, Live, PortRange, TransportAddr, Tuple};
use pipeline::{DropReason, Instant};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reference::{Conn, Reference, Refused};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use steps::{Act, Conversation, Side, Step};
use tcp::Seg;
use wire::{Headers, IpProtocol, Quoted, VnetHeader};

/// The published ports: UDP to B's 53, TCP to A's 80.
const NAMES: u16 = 7_000;
const WEBSITE: u16 = 8_080;
const CONVERSATIONS: usize = 300;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_router_and_the_reference_agree(steps in prop::collection::vec(steps::step(LIVELY), 1..250)) {
        run(&steps, PortRange::DYNAMIC, 10);
    }

    #[test]
    fn they_agree_when_ports_run_out(steps in prop::collection::vec(steps::step(LIVELY), 1..400)) {
        run(&steps, SCARCE, 10);
    }
}

/// How often time passes, and a network or a container is treated otherwise (see [`steps::step`]).
const LIVELY: (u32, u32) = (200, 10);
const CALM: (u32, u32) = (10, 2);

/// Two ports of either parity in each shard.
const SCARCE: PortRange = PortRange::new(50_000, 50_063).expect("a range");

#[test]
fn they_agree_about_thousands_of_flows() {
    for (range, count) in [(PortRange::DYNAMIC, 30_000), (SCARCE, 10_000)] {
        let mut runner = TestRunner::deterministic();
        let tree = prop::collection::vec(steps::step(CALM), count).new_tree(&mut runner);
        let both = run(&tree.unwrap().current(), range, 500);
        println!("{} connections at once, {:?}", both.most, both.met);
        // Else the properties above would prove little.
        let wanted: BTreeSet<_> = both.met.iter().copied().collect();
        for reason in [
            DropReason::NoMapping,
            DropReason::Filtered,
            DropReason::TcpNotSyn,
            DropReason::IcmpUnrelated,
        ] {
            assert!(wanted.contains(&reason), "{reason} never happened");
        }
        let scarce = range == SCARCE;
        assert_eq!(wanted.contains(&DropReason::PortsExhausted), scarce);
        assert!(scarce || both.most > 2_000, "{} at once", both.most);
    }
}

fn run(steps: &[Step], range: PortRange, compared: usize) -> Both {
    let mut both = Both::new(range);
    for (n, step) in steps.iter().enumerate() {
        both.take(step);
        if n % compared == 0 {
            both.compare();
        }
    }
    both.compare();
    both
}

struct Both {
    now: Instant,
    site: Site,
    live: Arc<Live>,
    real: Rig,
    dumb: Reference,
    talks: Vec<Conversation>,
    /// Segments that others overtake.
    late: Vec<(usize, Side, Seg)>,
    most: usize,
    met: BTreeSet<DropReason>,
}

/// What became of a frame: where it left and as what.
type Got = Result<(Guest, Vec<u8>), DropReason>;

impl Both {
    fn new(range: PortRange) -> Self {
        let site = Site::new()
            .ports(range.first(), range.last())
            .publish(IpProtocol::UDP, NAMES, B, 53)
            .publish(IpProtocol::TCP, WEBSITE, A, 80);
        let live = Arc::new(Live::new(1 << 16, 7));
        let mut real = site.rig();
        real.route(site.router_on(&live));
        live.tables.watch(1 << 16);
        Self {
            now: Instant::from_secs(1),
            site,
            live,
            real,
            dumb: Reference::new(range),
            talks: (0..CONVERSATIONS).map(Conversation::new).collect(),
            late: Vec::new(),
            most: 0,
            met: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Out(guest, protocol, port, peer) => {
                let guest = INSIDE[guest];
                self.leave(
                    guest,
                    tuple(protocol, at(guest.v4, port), steps::peer(protocol, peer)),
                    None,
                );
            }
            Step::Back(nth, stranger) => self.back(nth, stranger),
            Step::Call(peer) => {
                let call = tuple(
                    IpProtocol::UDP,
                    steps::peer(IpProtocol::UDP, peer),
                    at(OURS, NAMES),
                );
                self.enter(call, None);
            }
            Step::Turn(guest, port, nth) => self.turn(INSIDE[guest], port, nth),
            Step::Tcp(talk, side, act) => self.talk(talk, side, act),
            Step::Late(talk, side, act) => {
                if let Some(segment) = self.talks[talk].says(side, act, &self.dumb) {
                    self.late.push((talk, side, segment));
                }
            }
            Step::Arrive(nth) if !self.late.is_empty() => {
                let (talk, side, segment) = self.late.remove(nth % self.late.len());
                self.send(talk, side, segment, true);
            }
            Step::Arrive(_) => {}
            Step::Error(nth, inside, lie) => self.error(nth, inside, lie),
            Step::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.real.poll(self.now);
                // What was swept stays so, whatever the timers become.
                self.dumb.forget(self.now);
            }
            Step::Preset(network, preset) => {
                self.dumb.behaviours.insert(network, preset.behaviour());
                let site = std::mem::replace(&mut self.site, Site::new());
                self.site = site.inside(network, |role| role.settings.nat.preset = preset);
                self.real.route(self.site.router_on(&self.live));
                // Shorter timers: a port that many shared is known to be free once it was swept.
                self.real.poll(self.now);
            }
            Step::Flush(guest) => {
                let guest = INSIDE[guest];
                let own = |inside: &Inside| inside.addr.ip == IpAddr::V4(guest.v4);
                self.dumb.forget(self.now);
                self.dumb.conns.retain(|conn| !own(&conn.inside));
                let ip = Some(guest.v4.into());
                let keep = |entry: &nat::Entry| Some(entry.inside().addr.ip) != ip;
                self.real.router().retain_connections(self.now, keep);
            }
        }
        self.most = self.most.max(self.dumb.conns.len());
    }

    /// Carries a frame after asking about it: it leaves once, or one drop is counted.
    fn carry(&mut self, from: Guest, frame: &[u8]) -> Got {
        let vnet = VnetHeader::default();
        let told = self.real.explain(from.port, frame, vnet, self.now);
        let before = self.real.dropped_in_all();
        let left = self.real.carry(from.port, frame, vnet, self.now);
        assert_eq!(
            left.len() as u64 + self.real.dropped_in_all() - before,
            1,
            "{left:?}"
        );
        let Some(one) = left.into_iter().next() else {
            let reason = told.verdict.expect_err("nothing left");
            self.met.insert(reason);
            return Err(reason);
        };
        assert_eq!(told.verdict.err(), None, "{:?}", told.steps);
        let guest = GUESTS.into_iter().find(|guest| guest.port == one.port);
        Ok((guest.unwrap(), one.bytes))
    }

    /// Who was pushed out: only where nothing was free.
    fn evicted(&mut self) {
        let mut events = Vec::new();
        assert_eq!(self.live.tables.events(&mut events), 0);
        events.retain(|event| event.change == Change::Ended(Ending::Evicted));
        let gone: Vec<_> = events.into_iter().map(|event| event.entry).collect();
        self.dumb.evicted(&gone, self.now);
    }

    /// A packet from inside to the world.
    fn leave(&mut self, guest: Guest, sent: Tuple, segment: Option<Seg>) -> Option<TransportAddr> {
        let from = Inside {
            network: guest.network,
            addr: sent.src,
        };
        let got = self.carry(guest, &frame(guest, &sent, segment));
        self.evicted();
        let got = got.map(|(to, bytes)| {
            let left = tuple_of(&bytes);
            assert_eq!(
                (to, left.dst, left.src.ip),
                (HOP, sent.dst, IpAddr::V4(OURS))
            );
            left.src
        });
        self.dumb
            .out(sent.protocol, from, sent.dst, segment, got, self.now);
        got.ok()
    }

    /// A packet from the world to us.
    fn enter(&mut self, sent: Tuple, segment: Option<Seg>) -> bool {
        let got = self.carry(HOP, &frame(HOP, &sent, segment));
        let peer = Inside {
            network: UP,
            addr: sent.src,
        };
        let wanted = self
            .dumb
            .enter(sent.protocol, peer, sent.dst, segment, self.now);
        same(got, sent.src, wanted)
    }

    /// A packet to the external address of a connection, from its peer or another.
    fn back(&mut self, nth: usize, stranger: Option<u8>) {
        self.dumb.forget(self.now);
        let Some(conn) = self
            .dumb
            .nth(nth, |conn| conn.tcp.is_none() && conn.is_of_the_world())
        else {
            return;
        };
        let (protocol, external) = (conn.protocol, conn.external);
        let src = stranger.map_or(conn.peer.addr, |peer| steps::peer(protocol, peer));
        self.enter(tuple(protocol, src, external), None);
    }

    /// A packet from inside to one of our own addresses: published, or some connection's.
    fn turn(&mut self, guest: Guest, port: u16, nth: usize) {
        self.dumb.forget(self.now);
        let own = at(guest.v4, port);
        let known = self.dumb.nth(nth, |conn| conn.protocol == IpProtocol::UDP);
        let dst = known
            .filter(|_| !nth.is_multiple_of(3))
            .map_or_else(|| at(OURS, NAMES), |conn| conn.external);
        let sent = tuple(IpProtocol::UDP, own, dst);
        let got = self.carry(guest, &frame(guest, &sent, None));
        self.evicted();
        let caller = Inside {
            network: guest.network,
            addr: own,
        };
        // Where the far end refuses it, what it became is not to be seen on any wire.
        let listed = self.real.router().connections(self.now, |entry| {
            let (inside, peer) = (entry.inside(), entry.peer());
            inside.network == caller.network
                && inside.addr == own
                && entry.protocol == IpProtocol::UDP
                && peer.seen_as.unwrap_or(peer.addr) == dst
        });
        let seen = listed.first().and_then(|entry| entry.inside().seen_as);
        let known_as = match &got {
            Ok((_, bytes)) => Ok(tuple_of(bytes).src),
            Err(reason) => seen.ok_or(*reason),
        };
        let wanted = self.dumb.turn(caller, dst, known_as, self.now);
        let src = got.as_ref().map_or(dst, |(_, bytes)| tuple_of(bytes).src);
        same(got, src, wanted);
    }

    /// One end of a TCP connection says something.
    fn talk(&mut self, talk: usize, side: Side, act: Act) {
        if let Some(segment) = self.talks[talk].says(side, act, &self.dumb) {
            self.send(talk, side, segment, !matches!(act, Act::Lost));
        }
    }

    fn send(&mut self, index: usize, side: Side, segment: Seg, arrives: bool) {
        let talk = self.talks[index].clone();
        let (from, sent) = talk.packet(side, segment.port);
        let (passed, seen) = if from == HOP {
            (self.enter(sent, Some(segment)), None)
        } else {
            let seen = self.leave(from, sent, Some(segment));
            (seen.is_some(), seen)
        };
        self.talks[index].heard(side, segment, passed, seen, arrives);
    }

    /// An ICMP error about a packet of a connection, or about one that nobody sent.
    fn error(&mut self, nth: usize, inside: bool, lie: bool) {
        self.dumb.forget(self.now);
        let Some(conn) = self.dumb.nth(nth, Conn::is_of_the_world).cloned() else {
            return;
        };
        let Conn {
            protocol,
            external,
            peer,
            inside: Inside { network, addr: own },
            ..
        } = conn;
        let guest = GUESTS
            .into_iter()
            .find(|g| g.network == network && own.ip == g.v4)
            .unwrap();
        let sender = if inside { guest } else { HOP };
        let mut quoted = if inside {
            tuple(protocol, peer.addr, own)
        } else {
            tuple(protocol, external, peer.addr)
        };
        if lie {
            // A port that no peer has.
            let end = if inside {
                &mut quoted.src
            } else {
                &mut quoted.dst
            };
            *end = TransportAddr::new(WORLD2.into(), end.port);
        }
        let ends = if inside {
            (guest.v4, quoted.src.ip)
        } else {
            (WORLD2, OURS.into())
        };
        let about = frame(
            HOP,
            &quoted,
            Some(Seg::QUOTED).filter(|_| protocol == IpProtocol::TCP),
        );
        let before = self.dumb.conns.len();
        let got = self.carry(sender, &unreachable(sender, ends, &about));
        if lie {
            assert_eq!(got.err(), Some(DropReason::IcmpUnrelated));
            return;
        }
        let (to, bytes) = got.expect("an error about a connection passes");
        let headers = Headers::parse(&bytes).unwrap();
        let (src, dst, _) = nat::addresses(&headers).unwrap();
        let told = Quoted::parse(&bytes, &headers).unwrap();
        if inside {
            assert_eq!((to, src, dst), (HOP, IpAddr::V4(OURS), peer.addr.ip));
            assert_eq!((told.src, told.dst), (peer.addr.ip, external.ip));
        } else {
            assert_eq!((to, src, dst), (guest, IpAddr::V4(WORLD2), own.ip));
            assert_eq!((told.src, told.dst), (own.ip, peer.addr.ip));
        }
        assert_eq!(self.dumb.conns.len(), before);
    }

    /// The same connections live in both.
    fn compare(&mut self) {
        self.dumb.forget(self.now);
        let real = self.real.router().connections(self.now, |_| true);
        let real = real.iter().map(|entry| {
            let (inside, peer) = (entry.inside(), entry.peer());
            let own = (inside.network, inside.addr, inside.seen_as);
            (entry.protocol, own, peer.network, peer.addr)
        });
        let dumb = self.dumb.conns.iter().map(|conn| {
            let own = (conn.inside.network, conn.inside.addr, Some(conn.external));
            (conn.protocol, own, conn.peer.network, conn.peer.addr)
        });
        let (real, dumb): (BTreeSet<_>, BTreeSet<_>) = (real.collect(), dumb.collect());
        let (ours, theirs): (Vec<_>, Vec<_>) = (
            real.difference(&dumb).collect(),
            dumb.difference(&real).collect(),
        );
        assert!(
            ours.is_empty() && theirs.is_empty(),
            "only here {ours:?}, only there {theirs:?}"
        );
    }
}

/// Returns whether the packet passed; it must have gone to whom the reference wants, and come from `src`.
fn same(got: Got, src: TransportAddr, wanted: Result<Inside, Refused>) -> bool {
    match (got, wanted) {
        (Ok((guest, bytes)), Ok(to)) => {
            let left = tuple_of(&bytes);
            assert_eq!(
                (guest.network, left.dst, left.src),
                (to.network, to.addr, src)
            );
            true
        }
        (Err(reason), Err(refused)) => {
            assert!(refused.covers(reason), "{reason}, not {refused:?}");
            false
        }
        (got, wanted) => panic!(
            "{:?}, not {wanted:?}",
            got.map(|(guest, bytes)| (guest, tuple_of(&bytes)))
        ),
    }
}

/// The containers.
const INSIDE: [Guest; 3] = [A, B, C];
