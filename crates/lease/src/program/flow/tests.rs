//! The way of a flow's frames against the parser and the rewrite of the pipeline.

use crate::program::tests::{ROOM, TAPS, missed};
use crate::program::{map, program};
use crate::{
    Change, Direction, FlowKey, FlowLease, Out, Port, Said, TAGGED, Terms, UNJUDGED, Way, ends,
};
use bpf::interpreter::{Interpreter, Outcome, Packet, Redirect};
use bpf::verdict;
use nat::tcp::{Segment, Side, Tracker};
use nat::{Rewrite, Translation};
use pipeline::{Frame, HEADROOM};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;
use wire::checksum::{Verified, verify_ipv4};
use wire::craft::{Link, TcpSegment, superframe, unfinish};
use wire::{Headers, MacAddr, Net, TcpFlags, Transport, TransportAddr, VlanTag, VnetHeader};

const PORT: u32 = 4;
const OUT: u32 = 5;
const SLOT: u32 = 3;
const TWIN: u32 = 7;
const NOW: u64 = 1000;
const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const NEXT: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);

/// A frame that arrives.
#[derive(Debug, Clone)]
struct Arrival {
    bytes: Vec<u8>,
    vnet: VnetHeader,
    /// Tag protocol and tag.
    tag: Option<(u16, u16)>,
}

impl Arrival {
    fn headers(&self) -> Headers {
        Headers::parse(&self.bytes).unwrap()
    }

    fn packet(&self) -> Packet {
        let mut packet = Packet::new(self.bytes.clone(), PORT);
        packet.context.pkt_type = 3; // PACKET_OTHERHOST
        packet.context.gso_size = self.vnet.gso_size.into();
        packet.unfinished = self.vnet.needs_csum();
        if let Some((protocol, tag)) = self.tag {
            packet.context.vlan_present = 1;
            packet.context.vlan_proto = u32::from(protocol.to_be());
            packet.context.vlan_tci = u32::from(tag);
        }
        packet
    }

    /// The key of the lease that would carry it.
    fn key(&self) -> Option<FlowKey> {
        let vlan = match self.tag {
            None => 0,
            Some((VlanTag::CTAG, tag)) => tag & 0xfff | TAGGED,
            Some(_) => return None,
        };
        let key = FlowKey::of(3, PORT, &self.headers())?;
        Some(FlowKey { vlan, ..key })
    }

    /// Whether it is one that a decision may be repeated for: the specification.
    fn is_plain(&self) -> bool {
        let headers = self.headers();
        let hops = match headers.net {
            Net::Ipv4(ip) => ip.ttl,
            Net::Ipv6(ip) => ip.hop_limit,
            Net::Arp(_) | Net::Malformed(_) | Net::Other => 0,
        };
        let goes_on = match headers.transport {
            Transport::Tcp(tcp) => tcp.flags.0 & 0x16 == TcpFlags::ACK.0,
            Transport::Udp(_) => true,
            Transport::Sctp(_)
            | Transport::Icmp(_)
            | Transport::Icmpv6(_)
            | Transport::Malformed(_)
            | Transport::None => false,
        };
        headers.dst.0[0] & 1 == 0
            && hops > 1
            && goes_on
            && verify_ipv4(&self.bytes, &headers) != Verified::Wrong
    }

    /// Its segment, if it is TCP.
    fn segment(&self) -> Option<Segment> {
        let headers = self.headers();
        let Transport::Tcp(tcp) = headers.transport else {
            return None;
        };
        Some(Segment::of(&self.bytes, &headers, &tcp))
    }
}

/// The host as it is when a frame arrives.
#[derive(Debug, Clone)]
struct Host {
    tap: u32,
    key: FlowKey,
    change: Option<(MacAddr, MacAddr, Option<Translation>)>,
    /// The connection as it was followed until now, and the side that sends.
    tracker: Tracker,
    side: Side,
    /// Whether segments outside of the window pass.
    liberal: bool,
    open: bool,
    mtu: u32,
    way: Way,
    until: u64,
    /// Whether every frame goes by flow; else what is for the router.
    flows: bool,
    gateway: MacAddr,
}

impl Host {
    fn lease(&self) -> FlowLease {
        let change = self.change.map(|(to, from, outer)| Change {
            to,
            from,
            ends: outer.map(|it| ends(it.src, it.dst)),
        });
        let out = Out {
            interface: OUT,
            way: self.way,
            mtu: self.mtu,
        };
        let mut direction = Direction::NONE;
        if self.key.protocol == 6 {
            direction = Direction {
                twin: if self.liberal { UNJUDGED } else { TWIN },
                scale: self.tracker.scale(self.side).into(),
                said: said(&self.tracker, self.side),
            };
        }
        FlowLease {
            open: self.open.into(),
            ..FlowLease::new(self.key, out, change, direction)
        }
    }

    /// The lease of what the other side sends.
    fn twin(&self) -> FlowLease {
        FlowLease {
            said: said(&self.tracker, other(self.side)),
            ..self.lease()
        }
    }

    /// The connection once the frame has passed, if it may.
    fn after(&self, it: &Arrival) -> Option<Tracker> {
        let mut tracker = self.tracker;
        let segment = it.segment()?;
        (tracker.advance(self.side, &segment, self.liberal).is_ok()).then_some(tracker)
    }

    fn rewrite(&self) -> Option<Rewrite> {
        self.change.map(|(dst_mac, src_mac, outer)| Rewrite {
            dst_mac,
            src_mac,
            outer,
            quoted: None,
            mss: None,
            fragment: None,
        })
    }

    fn repeats(&self, it: &Arrival) -> bool {
        let length = wire::wire_mtu(&it.vnet, &it.headers(), it.bytes.len());
        (self.flows || self.gateway == it.headers().dst)
            && it.key() == Some(self.key)
            && it.is_plain()
            && self.open
            && NOW < self.until
            && u32::try_from(length).unwrap() <= self.mtu
            && (self.key.protocol != 6 || self.after(it).is_some())
    }

    /// The outcome, the lease and the port afterwards, and the slots that were told to have finished.
    fn run(&self, arrival: &Arrival) -> (Outcome, FlowLease, Port, Vec<Vec<u8>>) {
        let program = program(ROOM);
        let mut it = Interpreter::new(&program);
        it.nanoseconds = NOW;
        it.insert(map::FLOW_KEYS, &self.key, &SLOT);
        it.insert(map::FLOWS, &SLOT, &self.lease());
        it.insert(map::FLOWS, &TWIN, &self.twin());
        let port = Port {
            tap: self.tap,
            locked: 0,
            gateway: self.gateway.0,
            flows: self.flows.into(),
            missed: 0,
        };
        it.insert(map::PORTS, &PORT, &port);
        let terms = Terms {
            generation: 0x1_0000_0003,
            until: self.until,
            begins: 0,
        };
        it.insert(map::TERMS, &0_u32, &terms);
        let outcome = it.run(arrival.packet()).unwrap();
        let lease = it.lookup(map::FLOWS, &SLOT).unwrap();
        let told = it.records(map::FINISHED);
        (outcome, lease, it.lookup(map::PORTS, &PORT).unwrap(), told)
    }
}

fn said(tracker: &Tracker, side: Side) -> Said {
    let said = tracker.said(side);
    Said {
        end: said.end,
        ack: said.ack,
        window: said.window,
        finished: said.finished.into(),
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Initiator => Side::Responder,
        Side::Responder => Side::Initiator,
    }
}

const NO_SEGMENT: Segment = Segment {
    flags: TcpFlags::ACK,
    seq: 0,
    ack: 0,
    window: 0,
    len: 0,
    window_scale: None,
};

/// A connection of which `side` may next say `seq` and `ack`: established, and perhaps finished by some.
fn connection(
    (side, seq, ack): (Side, u32, u32),
    windows: [u16; 2],
    scales: [Option<u8>; 2],
    flags: [TcpFlags; 2],
) -> Tracker {
    let number = |of: Side| if of == side { seq } else { ack };
    let [first, second] = [Side::Initiator, Side::Responder];
    let syn = |from: Side, flags, scale| Segment {
        flags,
        seq: number(from).wrapping_sub(1),
        ack: number(other(from)),
        window: 1000,
        window_scale: scale,
        ..NO_SEGMENT
    };
    let answer = TcpFlags::SYN.union(TcpFlags::ACK);
    let mut tracker = Tracker::new(&syn(first, TcpFlags::SYN, scales[0])).unwrap();
    let answer = syn(second, answer, scales[1]);
    tracker.advance(second, &answer, false).unwrap();
    for ((from, window), flags) in [first, second].into_iter().zip(windows).zip(flags) {
        let segment = Segment {
            flags: flags.union(TcpFlags::ACK),
            seq: number(from),
            ack: number(other(from)),
            window,
            ..NO_SEGMENT
        };
        tracker.advance(from, &segment, false).unwrap();
    }
    tracker
}

/// A connection whose side says `seq` and `ack` next, or something near the edges of what it may.
fn followed((seq, ack): (u32, u32)) -> impl Strategy<Value = (Tracker, Side)> {
    let side = prop::sample::select(&[Side::Initiator, Side::Responder][..]);
    let window = || prop_oneof![Just(0_u16), any::<u16>()];
    let scale = || prop::option::weighted(0.8, 0..=14_u8);
    let fin = || prop_oneof![4 => Just(TcpFlags(0)), 1 => Just(TcpFlags::FIN)];
    let edge = || (0..8_u8, any::<bool>(), -3..4_i32, any::<u32>());
    (
        side,
        [window(), window()],
        [scale(), scale()],
        [fin(), fin()],
        [edge(), edge()],
    )
        .prop_map(move |(side, windows, scales, flags, edges)| {
            let [seq, ack] = [(seq, edges[0]), (ack, edges[1])].map(|(number, edge)| {
                let (kind, back, by, any) = edge;
                let at = |side: usize| u32::from(windows[side]) << scales[side].unwrap_or(0);
                let far = match kind {
                    0..4 => 0,
                    4 => at(0),
                    5 => at(1),
                    6 => 0xffff,
                    _ => any,
                };
                let number = number.wrapping_add_signed(by);
                if back {
                    number.wrapping_sub(far)
                } else {
                    number.wrapping_add(far)
                }
            });
            (connection((side, seq, ack), windows, scales, flags), side)
        })
}

fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(move |bits| {
        if v6 {
            IpAddr::V6((bits | 1 << 127).into())
        } else {
            let [a, b, c, d, ..] = bits.to_be_bytes();
            IpAddr::V4([a, b, c, d].into())
        }
    })
}

fn translation(v6: bool) -> impl Strategy<Value = Translation> {
    let end = || {
        // Words at the edges of the checksum's arithmetic are no rarity.
        let port = prop_oneof![any::<u16>(), Just(0), Just(0xffff)];
        (address(v6), port).prop_map(|(ip, port)| TransportAddr::new(ip, port))
    };
    (end(), end()).prop_map(|(src, dst)| Translation { src, dst })
}

/// A frame of a flow, not yet cut or damaged.
fn sound() -> impl Strategy<Value = (bool, Arrival)> {
    let length = prop_oneof![2 => 0..60_usize, 2 => 1380..1480_usize, 1 => 3000..20_000_usize];
    let payload = (length, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]);
    let flags = prop_oneof![6 => Just(0x10), 2 => Just(0x18), 1 => any::<u8>()];
    let options = prop_oneof![
        Just(&[][..]),
        Just(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2][..])
    ];
    let hops = prop_oneof![4 => Just(64_u8), 1 => 0..4_u8];
    let state = 0..3_u8;
    let tag = prop_oneof![
        4 => Just(None),
        1 => any::<u16>().prop_map(|tag| Some((VlanTag::CTAG, tag & 0xe00f))),
        1 => Just(Some((0x88a8, 1))),
    ];
    let to = prop_oneof![8 => Just(ROUTER), 1 => Just(MacAddr([0xff; 6])), 1 => Just(NEXT)];
    let numbers = (any::<u32>(), any::<u32>(), any::<u16>());
    any::<bool>()
        .prop_flat_map(|v6| (Just(v6), translation(v6)))
        .prop_flat_map(move |(v6, at)| {
            let of = (any::<bool>(), flags.clone(), options.clone(), numbers);
            let frame = (
                payload.clone(),
                hops.clone(),
                state.clone(),
                tag.clone(),
                to.clone(),
            );
            (Just((v6, at)), of, frame)
        })
        .prop_map(
            |((v6, at), (tcp, flags, options, (seq, ack, window)), frame)| {
                let (payload, hops, state, tag, to) = frame;
                let link = Link::new(STATION, to);
                let packet = match (at.src.ip, at.dst.ip) {
                    (IpAddr::V4(src), IpAddr::V4(dst)) => link.ipv4(src, dst),
                    (IpAddr::V6(src), IpAddr::V6(dst)) => link.ipv6(src, dst),
                    _ => unreachable!("both are of one family"),
                };
                let packet = packet.hops(hops);
                let (src_port, dst_port) = (at.src.port, at.dst.port);
                let mut bytes = if tcp {
                    packet.tcp(TcpSegment {
                        src_port,
                        dst_port,
                        flags: TcpFlags(flags),
                        seq,
                        ack,
                        window,
                        options,
                        payload: &payload,
                    })
                } else {
                    packet.udp(src_port, dst_port, &payload)
                };
                let vnet = match state {
                    _ if payload.len() > 2000 => superframe(&mut bytes, 1400).unwrap(),
                    0 => unfinish(&mut bytes).unwrap(),
                    1 if !tcp && !v6 => {
                        bytes[40..42].fill(0);
                        VnetHeader::default()
                    }
                    _ => VnetHeader::default(),
                };
                (v6, Arrival { bytes, vnet, tag })
            },
        )
}

/// A frame, and a host that has a lease for it or for one that differs in something.
fn situation() -> impl Strategy<Value = (Arrival, Host)> {
    // Versions, lengths, fragments, hops and protocols are damaged more often than payload.
    let place = prop_oneof![0..80_usize, 14..24_usize];
    let damage = prop_oneof![2 => Just(vec![]), 1 => vec((place, any::<u8>()), 1..3)];
    let damage = (damage, any::<bool>());
    let keep = prop_oneof![8 => Just(usize::MAX), 1 => 14..90_usize];
    let other = prop_oneof![7 => Just(None), 1 => (0..64_usize, 0..8_u8).prop_map(Some)];
    let mtu = prop_oneof![3 => Just(1500), 1 => 1400..1500_u32];
    let until = prop_oneof![9 => Just(u64::MAX), 1 => Just(NOW), 1 => Just(NOW + 1)];
    let way = prop::sample::select(&[Way::Out, Way::Peer][..]);
    let gateway = prop_oneof![6 => Just(ROUTER), 1 => Just(MacAddr([0; 6]))];
    let host = (
        prop::sample::select(&TAPS[..]),
        mtu,
        until,
        way,
        prop::bool::weighted(0.9),
        any::<bool>(),
        gateway,
        prop::bool::weighted(0.1),
    );
    sound()
        .prop_flat_map(|(v6, arrival)| {
            let numbers = arrival.segment().map_or((0, 0), |it| (it.seq, it.ack));
            let change = prop::option::of(prop::option::of(translation(v6)));
            (Just(arrival), change, followed(numbers))
        })
        .prop_flat_map(move |it| {
            (
                Just(it),
                damage.clone(),
                keep.clone(),
                other.clone(),
                host.clone(),
            )
        })
        .prop_map(
            |((mut arrival, change, (tracker, side)), (damage, mended), keep, other, host)| {
                // The lease is the whole frame's, or nobody's.
                let mut key = arrival.key().unwrap_or(FlowKey {
                    generation: 3,
                    port: PORT,
                    to: [2; 6],
                    from: [2; 6],
                    ethertype: [8, 0],
                    vlan: 0,
                    ends: [0; 36],
                    protocol: 6,
                });
                if let Some((at, bit)) = other {
                    let mut bytes: [u8; 64] = zerocopy::transmute!(key);
                    bytes[at] ^= 1 << bit;
                    key = zerocopy::transmute!(bytes);
                }
                for (at, byte) in damage {
                    if let Some(place) = arrival.bytes.get_mut(at) {
                        *place = byte;
                    }
                }
                if mended {
                    mend(&mut arrival.bytes);
                }
                arrival.bytes.truncate(keep);
                let (tap, mtu, until, way, open, flows, gateway, liberal) = host;
                let change = change.map(|outer| (NEXT, OURS, outer));
                (
                    arrival,
                    Host {
                        tap,
                        key,
                        change,
                        tracker,
                        side,
                        liberal,
                        open,
                        mtu,
                        way,
                        until,
                        flows,
                        gateway,
                    },
                )
            },
        )
}

/// Makes the checksum of an IPv4 header right, whatever it says.
fn mend(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0x0f) * 4;
    if frame[12..14] == [8, 0] && end >= 34 && end <= frame.len() {
        frame[24..26].fill(0);
        let sum = wire::checksum::Sum::of(&frame[14..end]).finished();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The frame as the pipeline sends it on.
fn carried(arrival: &Arrival, rewrite: Option<Rewrite>) -> Vec<u8> {
    let mut room = vec![0; HEADROOM];
    room.extend_from_slice(&arrival.bytes);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, arrival.vnet);
    if let Some(rewrite) = rewrite {
        rewrite.apply(&mut frame, &arrival.headers());
    }
    frame.bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn a_flow_is_repeated_as_the_pipeline_carries_it((arrival, host) in situation()) {
        let (outcome, lease, port, told) = host.run(&arrival);
        let mut expected = host.lease();
        if !host.repeats(&arrival) {
            prop_assert_eq!((outcome.verdict, outcome.redirect), missed(host.tap));
            prop_assert_eq!(lease, expected);
            prop_assert_eq!(port.missed, 1);
            prop_assert_eq!(outcome.packet.context.pkt_type, 3);
            prop_assert_eq!(outcome.packet.bytes, arrival.bytes);
            return Ok(());
        }
        expected.frames = 1;
        // A port shows the tag in its place.
        expected.bytes = arrival.bytes.len() as u64 + arrival.tag.map_or(0, |_| 4);
        expected.last = NOW;
        let mut finished: Vec<[u8; 4]> = vec![];
        if host.key.protocol == 6 {
            expected.said = said(&host.after(&arrival).unwrap(), host.side);
            let before = host.lease().said;
            let is_first = before.finished == 0 || before.end != expected.said.end;
            if expected.said.finished != 0 && is_first {
                finished.push(SLOT.to_ne_bytes());
            }
        }
        prop_assert_eq!(told, finished);
        let way = match host.way {
            Way::Out => bpf::interpreter::Way::Egress,
            Way::Peer => bpf::interpreter::Way::Peer,
        };
        let sent = Some(Redirect { ifindex: OUT, way });
        prop_assert_eq!((outcome.verdict, outcome.redirect), (verdict::REDIRECT, sent));
        prop_assert_eq!(outcome.packet.context.pkt_type, 0);
        prop_assert_eq!(lease, expected);
        prop_assert_eq!(port.missed, 0);
        prop_assert_eq!(outcome.packet.bytes, carried(&arrival, host.rewrite()));
    }
}

/// A datagram for the router, and its lease at a NIC.
fn leased() -> (Arrival, Host) {
    let link = Link::new(STATION, ROUTER);
    let packet = link.ipv4([198, 51, 100, 1].into(), [198, 51, 100, 2].into());
    let arrival = Arrival {
        bytes: packet.udp(53, 40_000, b"an answer"),
        vnet: VnetHeader::default(),
        tag: None,
    };
    let host = Host {
        tap: 0,
        key: arrival.key().unwrap(),
        change: Some((NEXT, OURS, None)),
        tracker: connection(
            (Side::Initiator, 0, 0),
            [1000; 2],
            [None; 2],
            [TcpFlags(0); 2],
        ),
        side: Side::Initiator,
        liberal: false,
        open: true,
        mtu: 1500,
        way: Way::Peer,
        until: u64::MAX,
        flows: false,
        gateway: ROUTER,
    };
    (arrival, host)
}

#[test]
fn a_nic_repeats_what_has_a_lease_and_lets_the_rest_pass_as_it_came() {
    let (arrival, host) = leased();
    let repeated = |host: &Host, arrival: &Arrival| {
        let (outcome, _, port, _) = host.run(arrival);
        if outcome.redirect.is_none() {
            assert_eq!((outcome.verdict, port.missed), (verdict::UNSPEC, 1));
            assert_eq!(outcome.packet.context.pkt_type, 3);
            assert_eq!(outcome.packet.bytes, arrival.bytes);
        }
        outcome.redirect.is_some()
    };
    assert!(repeated(&host, &arrival));
    let mut other = arrival.clone();
    other.bytes[5] ^= 1;
    assert!(!repeated(&host, &other), "for another MAC address");
    let mut other = arrival.clone();
    other.bytes[35] ^= 1;
    assert!(!repeated(&host, &other), "of another connection");
    let closed = Host {
        open: false,
        ..host
    };
    assert!(!repeated(&closed, &arrival), "taken back");
}
