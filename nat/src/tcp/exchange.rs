//! Honest connections for the tracker's property test: two hosts, and between each of them and the
//! tracker a wire that loses nothing but delays, reorders and repeats.
//!
//! ```text
//!   host --- near wire ---> tracker --- far wire ---> other host
//! ```
//! Positions in a stream are counted from its SYN in 64 bits; only the segment that the tracker
//! sees has wrapped 32-bit numbers. A segment is late by a window at most: later ones are refused,
//! rightly, and it takes an algorithm of its own to tell the two apart (`Net::may_overtake`).

use super::{Phase, Segment, Side, Tracker};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::TcpFlags;

/// A connection to be played.
#[derive(Debug, Clone)]
struct Plan {
    initial: [u32; 2],
    scales: [Option<u8>; 2],
    windows: [u32; 2],
    bytes: [u64; 2],
    simultaneous: bool,
    acts: Vec<(Act, bool, u32)>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Send,
    Resend,
    Ack,
    KeepAlive,
    Window,
    Near,
    NearTwice,
    Far,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    from: usize,
    flags: TcpFlags,
    start: u64,
    end: u64,
    ack: Option<u64>,
    /// How far it lets the other side send.
    edge: u64,
    segment: Segment,
}

#[derive(Debug, Clone)]
struct Host {
    initial: u32,
    scale: Option<u8>,
    window: u32,
    /// One past its last byte; its FIN has this position.
    finish: u64,
    una: u64,
    nxt: u64,
    received: u64,
    beyond: Vec<(u64, u64)>,
    /// How far it let the other side send.
    promised: u64,
    /// How far it may send.
    edge: u64,
    syn_arrived: bool,
}

struct Net {
    hosts: [Host; 2],
    scaled: bool,
    near: Vec<Sent>,
    far: Vec<Sent>,
    tracker: Option<Tracker>,
    /// The same connection to whoever sees some of its segments only, and takes in what the others said.
    partly: Option<Tracker>,
    /// The largest window of each that the tracker let pass.
    offered: [u64; 2],
}

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;

impl Net {
    fn new(plan: &Plan) -> Self {
        let host = |side: usize| Host {
            initial: plan.initial[side],
            scale: plan.scales[side],
            window: plan.windows[side],
            finish: 1 + plan.bytes[side],
            una: 0,
            nxt: 0,
            received: 0,
            beyond: Vec::new(),
            promised: 0,
            edge: 1,
            syn_arrived: false,
        };
        Self {
            hosts: [host(0), host(1)],
            scaled: plan.scales.iter().all(Option::is_some),
            near: Vec::new(),
            far: Vec::new(),
            tracker: None,
            partly: None,
            offered: [0; 2],
        }
    }

    /// Puts what `from` sends on its near wire.
    fn emit(&mut self, from: usize, flags: TcpFlags, start: u64, len: u32) {
        let (scaled, other) = (self.scaled, self.hosts[1 - from].initial);
        let host = &mut self.hosts[from];
        let syn = flags.contains(SYN);
        let flags = if host.syn_arrived {
            flags.union(ACK)
        } else {
            flags
        };
        let shift = if scaled && !syn {
            host.scale.unwrap()
        } else {
            0
        };
        let edge = host.promised.max(host.received + u64::from(host.window));
        let window = u16::try_from((edge - host.received) >> shift).unwrap_or(u16::MAX);
        let edge = host.received + (u64::from(window) << shift);
        host.promised = host.promised.max(edge);
        let end = start + u64::from(len) + u64::from(syn) + u64::from(flags.contains(FIN));
        host.nxt = host.nxt.max(end);
        let ack = host.syn_arrived.then_some(host.received);
        let segment = Segment {
            flags,
            seq: wrapped(host.initial, start),
            ack: ack.map_or(0, |ack| wrapped(other, ack)),
            window,
            len,
            window_scale: if syn { host.scale } else { None },
        };
        self.near.push(Sent {
            from,
            flags,
            start,
            end,
            ack,
            edge,
            segment,
        });
    }

    fn act(&mut self, act: Act, side: usize, size: u32) {
        let host = &self.hosts[side];
        let open = host.syn_arrived && host.una > 0;
        match act {
            Act::Send if open => self.send(side, size),
            Act::Resend if open && host.una < host.nxt => {
                let (una, finish) = (host.una, host.finish);
                let len = u64::from(size).min(host.nxt.min(finish) - una.min(finish));
                let fin = una + len == finish && host.nxt > finish;
                let flags = if fin { FIN } else { ACK };
                self.emit(side, flags, una, u32::try_from(len).unwrap());
            }
            Act::Resend if host.nxt > 0 && host.una == 0 => self.emit(side, SYN, 0, 0),
            Act::Ack if open => self.emit(side, ACK, host.nxt, 0),
            Act::KeepAlive if open && host.una == host.nxt => self.emit(side, ACK, host.nxt - 1, 0),
            Act::Window => self.hosts[side].window = size,
            Act::Near | Act::NearTwice => self.pass(size, matches!(act, Act::NearTwice)),
            Act::Far => self.deliver(size),
            Act::Send | Act::Resend | Act::Ack | Act::KeepAlive => {}
        }
    }

    /// New data as far as the window lets it, or a byte to probe a closed one.
    fn send(&mut self, side: usize, size: u32) {
        let host = &self.hosts[side];
        let (nxt, unsent) = (host.nxt, host.finish.saturating_sub(host.nxt));
        let room = host.edge.saturating_sub(nxt);
        if room == 0 {
            if host.una == nxt && unsent > 0 {
                self.emit(side, ACK, nxt, 1);
            }
            return;
        }
        let len = u64::from(size.max(1)).min(room).min(unsent);
        if len == unsent && len < room && nxt <= host.finish {
            self.emit(side, FIN, nxt, u32::try_from(len).unwrap());
        } else if len > 0 {
            self.emit(side, ACK, nxt, u32::try_from(len).unwrap());
        }
    }

    /// Lets the tracker see a segment: one of the first few, or the oldest.
    fn pass(&mut self, pick: u32, twice: bool) {
        if self.near.is_empty() {
            return;
        }
        let index = usize::try_from(pick).unwrap() % self.near.len().min(6);
        let index = if self.may_overtake(index) { index } else { 0 };
        let sent = if twice {
            self.near[index]
        } else {
            self.near.remove(index)
        };
        let side = if sent.from == 0 {
            Side::Initiator
        } else {
            Side::Responder
        };
        match &mut self.tracker {
            None => {
                self.tracker = Some(Tracker::new(&sent.segment).unwrap());
                self.partly = self.tracker;
            }
            Some(tracker) => {
                let before = *tracker;
                let answer = tracker.advance(side, &sent.segment, false);
                assert_eq!(answer, Ok(()), "{sent:?} at {before:?}");
                let elsewhere = before.phase() != Phase::Opening && !sent.flags.contains(SYN);
                if let Some(partly) = self.partly.as_mut()
                    && (!elsewhere || pick.is_multiple_of(4))
                {
                    partly.take_in(
                        [Side::Initiator, Side::Responder].map(|it| Some(before.said(it))),
                        false,
                    );
                    assert_eq!(partly.label(), before.label(), "{sent:?} at {before:?}");
                    let answer = partly.advance(side, &sent.segment, false);
                    assert_eq!(answer, Ok(()), "{sent:?} at {partly:?}");
                }
            }
        }
        let window = sent.edge - sent.ack.unwrap_or(0);
        self.offered[sent.from] = self.offered[sent.from].max(window);
        self.far.push(sent);
    }

    /// Returns whether a segment may pass before all older ones. What it acknowledges must not leave one
    /// of those a whole window behind, and the first SYN comes first.
    fn may_overtake(&self, index: usize) -> bool {
        let ack = self.near[index].ack.unwrap_or(0);
        let window = |side: usize| self.offered[side].max(0xffff);
        self.tracker.is_some()
            && self.near[..index].iter().all(|old| {
                if old.flags.contains(SYN) {
                    return false;
                }
                if old.from == self.near[index].from {
                    old.ack.is_none_or(|acked| ack <= acked + window(old.from))
                } else {
                    ack <= old.end + window(1 - old.from)
                }
            })
    }

    fn deliver(&mut self, pick: u32) {
        if self.far.is_empty() {
            return;
        }
        let index = usize::try_from(pick).unwrap() % self.far.len().min(6);
        let sent = self.far.remove(index);
        let host = &mut self.hosts[1 - sent.from];
        let (known, open) = (host.syn_arrived, host.una > 0);
        if sent.flags.contains(SYN) && !known {
            host.syn_arrived = true;
            host.received = 1;
        }
        if !host.syn_arrived {
            return; // data before the SYN, to be sent again
        }
        if let Some(ack) = sent.ack {
            host.una = host.una.max(ack);
            host.nxt = host.nxt.max(ack);
            // A SYN that comes again is answered, and not listened to.
            if !(open && sent.flags.contains(SYN)) {
                host.edge = host.edge.max(sent.edge);
            }
        }
        if sent.start <= host.promised {
            host.beyond
                .push((sent.start, sent.end.min(host.promised + 1)));
        }
        while let Some(at) = host
            .beyond
            .iter()
            .position(|(start, _)| *start <= host.received)
        {
            let (_, end) = host.beyond.swap_remove(at);
            host.received = host.received.max(end);
        }
        // A probe of one byte, or a FIN, may have been taken beyond the promise.
        host.promised = host.promised.max(host.received);
        if sent.flags.contains(SYN) && !known && host.una == 0 {
            self.emit(1 - sent.from, SYN, 0, 0);
        } else if sent.end > sent.start {
            let nxt = self.hosts[1 - sent.from].nxt;
            self.emit(1 - sent.from, ACK, nxt, 0);
        }
    }

    /// Returns whether both have sent and received everything.
    fn is_over(&self) -> bool {
        let [a, b] = &self.hosts;
        a.una == a.finish + 1 && b.una == b.finish + 1
    }

    /// Everybody does what is left to be done, in order.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            if self.is_over() && self.near.is_empty() && self.far.is_empty() {
                return;
            }
            let idle = self.near.is_empty() && self.far.is_empty();
            for side in 0..2 {
                self.hosts[side].window = self.hosts[side].window.max(1 << 15);
                if idle {
                    self.act(Act::Resend, side, u32::MAX);
                    self.act(Act::Send, side, u32::MAX >> 8);
                    self.act(Act::Ack, side, 0);
                }
            }
            self.pass(0, false);
            self.deliver(0);
        }
        panic!("still not over");
    }
}

fn wrapped(initial: u32, position: u64) -> u32 {
    initial.wrapping_add(u32::try_from(position & 0xffff_ffff).unwrap())
}

fn plans() -> impl Strategy<Value = Plan> {
    let initial = || prop_oneof![any::<u32>(), (u32::MAX - 3000)..=u32::MAX];
    let scale = || prop::option::weighted(0.7, 0..=14_u8);
    let window = || prop_oneof![0..3000_u32, 1..70_000_u32, 1..4_000_000_u32];
    let bytes = || prop_oneof![Just(0), 0..5000_u64, 0..400_000_u64];
    let act = prop_oneof![
        6 => Just(Act::Send),
        2 => Just(Act::Resend),
        1 => Just(Act::Ack),
        1 => Just(Act::KeepAlive),
        1 => Just(Act::Window),
        8 => Just(Act::Near),
        1 => Just(Act::NearTwice),
        8 => Just(Act::Far),
    ];
    let size = prop_oneof![0..10_u32, 0..3000_u32, 0..65_000_u32];
    (
        [initial(), initial()],
        [scale(), scale()],
        [window(), window()],
        [bytes(), bytes()],
        prop::bool::weighted(0.2),
        vec((act, any::<bool>(), size), 0..400),
    )
        .prop_map(
            |(initial, scales, windows, bytes, simultaneous, acts)| Plan {
                initial,
                scales,
                windows,
                bytes,
                simultaneous,
                acts,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever sizes, windows, scales, wraps, delays and repetitions: every segment passes, and
    /// at the end both sides have closed.
    #[test]
    fn an_honest_exchange_is_never_refused(plan in plans()) {
        let mut net = Net::new(&plan);
        net.emit(0, SYN, 0, 0);
        if plan.simultaneous {
            net.emit(1, SYN, 0, 0);
        }
        for (act, side, size) in &plan.acts {
            net.act(*act, usize::from(*side), *size);
        }
        net.finish();
        prop_assert_eq!(net.tracker.unwrap().label(), "TIME_WAIT");
    }
}
