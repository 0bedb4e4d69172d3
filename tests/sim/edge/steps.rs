//! What may happen at the edge, at random: hosts, ports and peers few enough to meet.

use super::frames::{at, tuple};
use super::reference::Reference;
use super::tcp::{Seg, Tcp};
use super::{CONVERSATIONS, INSIDE, WEBSITE};
use crate::site::{A, DB, Guest, HOP, OURS, WEB};
use nat::{Inside, Preset, TransportAddr, Tuple};
use pipeline::NetworkId;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::Ipv4Addr;
use wire::{IpProtocol, TcpFlags};

/// One transition. Containers are named by their place in [`INSIDE`].
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A container sends to a peer in the world, by UDP or with an ICMP query.
    Out(usize, IpProtocol, u16, u8),
    /// The peer of some connection answers; or another peer tries that.
    Back(usize, Option<u8>),
    /// A peer calls the published port.
    Call(u8),
    /// A container sends to an external address of ours.
    Turn(usize, u16, usize),
    /// An end of a TCP connection says something.
    Tcp(usize, Side, Act),
    /// It does so, and others overtake the segment until it arrives.
    Late(usize, Side, Act),
    /// A late segment arrives.
    Arrive(usize),
    /// An ICMP error about some connection: sent from inside? About a packet that never was?
    Error(usize, bool, bool),
    /// Seconds pass.
    Wait(u64),
    /// A network is treated otherwise.
    Preset(NetworkId, Preset),
    /// A container's connections are forgotten.
    Flush(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// What comes next: a SYN, an acknowledgement, the FIN again.
    Speak,
    /// The same, and it is lost behind the router.
    Lost,
    Finish,
    Reset,
}

/// Any of them; of some 8000 so many are that time passes, and that a network is treated otherwise
/// or a container forgotten.
pub(super) fn step((waits, others): (u32, u32)) -> impl Strategy<Value = Step> {
    let guest = || 0..INSIDE.len();
    let protocol = select(vec![IpProtocol::UDP, IpProtocol::UDP, IpProtocol::ICMP]);
    let port = || prop_oneof![8 => 50_000..50_200u16, 4 => 1_000..1_200u16, 1 => Just(53)];
    let side = || select(vec![Side::Client, Side::Server]);
    let act = || prop_oneof![8 => Just(Act::Speak), 2 => Just(Act::Lost), 2 => Just(Act::Finish), 1 => Just(Act::Reset)];
    let wait = prop_oneof![20 => 0..3u64, 4 => 20..70u64, 1 => Just(300), 1 => Just(8_000)];
    let preset = select(Preset::ALL).prop_map(|(preset, _)| preset);
    let nth = any::<usize>;
    prop_oneof![
        2400 => (guest(), protocol, port(), 0..64u8).prop_map(|(g, p, port, peer)| Step::Out(g, p, port, peer)),
        1200 => (nth(), proptest::option::weighted(0.4, 0..64u8)).prop_map(|(nth, who)| Step::Back(nth, who)),
        200 => (0..64u8).prop_map(Step::Call),
        600 => (guest(), port(), nth()).prop_map(|(guest, port, nth)| Step::Turn(guest, port, nth)),
        2400 => (0..CONVERSATIONS, side(), act()).prop_map(|(n, side, act)| Step::Tcp(n, side, act)),
        200 => (0..CONVERSATIONS, side(), act()).prop_map(|(n, side, act)| Step::Late(n, side, act)),
        200 => nth().prop_map(Step::Arrive),
        400 => (nth(), any::<bool>(), any::<bool>()).prop_map(|(nth, inside, lie)| Step::Error(nth, inside, lie)),
        waits => wait.prop_map(Step::Wait),
        others => (select(vec![WEB, DB]), preset).prop_map(|(network, preset)| Step::Preset(network, preset)),
        others => guest().prop_map(Step::Flush),
    ]
}

/// Four addresses of sixteen ports; a query has none.
pub(super) fn peer(protocol: IpProtocol, peer: u8) -> TransportAddr {
    let ip = Ipv4Addr::new(198, 51, 100, 100 + peer / 16);
    let port = if protocol == IpProtocol::ICMP {
        0
    } else {
        53 + u16::from(peer % 16)
    };
    at(ip, port)
}

/// The honest ends of a TCP connection: who says what depends on what reached him.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    /// Who is inside, and whether he is called.
    guest: Guest,
    inward: bool,
    peer: TransportAddr,
    /// The client's port; another one in every life.
    port: u16,
    /// What the server knows the client as.
    seen: Option<TransportAddr>,
    /// Whether the server has heard that its SYN arrived.
    acked: bool,
    /// Whether each has heard the other's SYN, and FIN; and has sent a FIN itself.
    heard: [bool; 2],
    ended: [bool; 2],
    finished: [bool; 2],
}

/// The number of each SYN.
const INITIAL: [u32; 2] = [100, 500];

impl Conversation {
    pub(super) fn new(number: usize) -> Self {
        let number = u16::try_from(number).unwrap();
        let inward = number % 4 == 0;
        Self {
            guest: if inward {
                A
            } else {
                INSIDE[usize::from(number) % 3]
            },
            inward,
            peer: at(
                Ipv4Addr::new(198, 51, 100, 100 + u8::try_from(number % 4).unwrap()),
                80,
            ),
            port: 20_000 + number,
            seen: None,
            acked: false,
            heard: [false; 2],
            ended: [false; 2],
            finished: [false; 2],
        }
    }

    fn ends(&self) -> (Inside, TransportAddr) {
        let (own, peer) = if self.inward {
            (80, at(self.peer.ip, self.port))
        } else {
            (self.port, self.peer)
        };
        let addr = at(self.guest.v4, own);
        (
            Inside {
                network: self.guest.network,
                addr,
            },
            peer,
        )
    }

    /// The segment that `side` sends, if it has one to send.
    pub(super) fn says(&self, side: Side, act: Act, known: &Reference) -> Option<Seg> {
        let own = side as usize;
        let (inside, peer) = self.ends();
        let (seq, other) = (INITIAL[own], INITIAL[1 - own]);
        let port = self.port;
        let begun = known.tcp(inside, peer);
        if !self.heard[own] {
            // A client asks again as long as nothing came of it.
            let asks = side == Side::Client && matches!(act, Act::Speak | Act::Lost);
            return asks.then_some(Seg {
                flags: TcpFlags::SYN,
                seq,
                ack: 0,
                port,
            });
        }
        if side == Side::Client && act == Act::Speak && begun.is_some_and(Tcp::is_over) {
            return Some(Seg {
                flags: TcpFlags::SYN,
                seq,
                ack: 0,
                port,
            });
        }
        let ack = other + 1 + u32::from(self.ended[own]);
        let answers = side == Side::Server && !self.acked;
        let fin = self.finished[own] || act == Act::Finish;
        let (flags, seq) = match act {
            Act::Speak | Act::Lost | Act::Finish if answers => (TcpFlags::SYN, seq),
            Act::Reset if answers => return None,
            Act::Reset => (TcpFlags::RST, seq + 1 + u32::from(self.finished[own])),
            Act::Speak | Act::Lost | Act::Finish if fin => (TcpFlags::FIN, seq + 1),
            Act::Speak | Act::Lost | Act::Finish => (TcpFlags::ACK, seq + 1),
        };
        Some(Seg {
            flags: flags.union(TcpFlags::ACK),
            seq,
            ack,
            port,
        })
    }

    /// Returns who sends what of this connection, as it is on the wire before the router.
    pub(super) fn packet(&self, side: Side, port: u16) -> (Guest, Tuple) {
        let own = |port| at(self.guest.v4, port);
        let tcp = |src, dst| tuple(IpProtocol::TCP, src, dst);
        match (side, self.inward) {
            (Side::Client, false) => (self.guest, tcp(own(port), self.peer)),
            (Side::Server, false) => (
                HOP,
                tcp(self.peer, self.seen.unwrap_or_else(|| at(OURS, port))),
            ),
            (Side::Client, true) => (HOP, tcp(at(self.peer.ip, port), at(OURS, WEBSITE))),
            (Side::Server, true) => (self.guest, tcp(own(80), at(self.peer.ip, port))),
        }
    }

    /// The router let a segment pass, or not; and it arrived, or not.
    pub(super) fn heard(
        &mut self,
        side: Side,
        segment: Seg,
        passed: bool,
        seen: Option<TransportAddr>,
        arrives: bool,
    ) {
        let own = side as usize;
        if segment.port != self.port {
            return;
        }
        if !passed {
            // A client whose connection is not known any more begins another one.
            if side == Side::Client && !segment.has(TcpFlags::SYN) {
                self.port += u16::try_from(CONVERSATIONS).unwrap();
                self.anew(None, [false; 2]);
            }
            return;
        }
        self.finished[own] |= segment.has(TcpFlags::FIN);
        if !arrives {
            return;
        }
        if segment.flags == TcpFlags::SYN {
            // A new life, or the same SYN again.
            self.anew(seen.or(self.seen), [false, true]);
            return;
        }
        self.heard[1 - own] |= segment.has(TcpFlags::SYN);
        self.ended[1 - own] |= segment.has(TcpFlags::FIN);
        self.acked |= side == Side::Client && segment.has(TcpFlags::ACK);
    }

    fn anew(&mut self, seen: Option<TransportAddr>, heard: [bool; 2]) {
        *self = Self {
            seen,
            heard,
            acked: false,
            ended: [false; 2],
            finished: [false; 2],
            ..*self
        };
    }
}
