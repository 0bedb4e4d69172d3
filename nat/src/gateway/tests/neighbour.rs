//! RFC 1122 2.3.2 and RFC 4861 7.3: a neighbour's life, and a container that scans.

use super::{GATEWAY, Lab, NETWORK, OTHER, PEER, PORT};
use crate::NeighbourState;
use crate::gateway::held::PendingPacket;
use crate::gateway::table::{Heard, MAX_KNOWN, MAX_OPEN, MAX_OPEN_OF_A_PORT};
use crate::gateway::{Link, NextHop};
use crate::outbox::{Origin, Outbox, Post};
use pipeline::{Effects, PacketId, PortId, Tunnel};
use proptest::prelude::*;
use smoltcp::wire::{ArpPacket, EthernetFrame, EthernetProtocol};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use wire::craft;
use wire::{Headers, MacAddr, Nd, Transport, VnetHeader};

const US: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const HOP: &str = "10.1.0.9";
const HOP6: &str = "2001:db8:1::9";

fn hop() -> Ipv4Addr {
    HOP.parse().unwrap()
}

/// A packet that was sent to the gateway and goes on.
fn packet(n: u16) -> Vec<u8> {
    craft::Link::new(OTHER, GATEWAY)
        .ipv4([10, 1, 0, 5].into(), hop())
        .udp(n, 53, b"held")
}

fn answer(lab: &mut Lab, mac: MacAddr) {
    let reply = craft::Link::new(mac, GATEWAY).arp_reply(hop(), US);
    assert_eq!(lab.hear(&reply), Ok(()));
}

/// To whom the router puts its questions, and about whom.
fn questions(lab: &mut Lab) -> Vec<(MacAddr, IpAddr)> {
    let asked = |frame: &Vec<u8>| {
        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        let dst = MacAddr(ethernet.dst_addr().0);
        if ethernet.ethertype() == EthernetProtocol::Arp {
            let arp = ArpPacket::new_checked(ethernet.payload()).unwrap();
            let target: [u8; 4] = arp.target_protocol_addr().try_into().unwrap();
            assert_eq!(arp.source_protocol_addr(), US.octets());
            return (dst, IpAddr::from(target));
        }
        match Headers::parse(frame).unwrap().transport {
            Transport::Icmpv6(icmp) => match icmp.nd {
                Some(Nd::NeighbourSolicit { target, lladdr }) => {
                    assert_eq!(lladdr, Some(GATEWAY));
                    (dst, target.into())
                }
                _ => panic!("not a question"),
            },
            _ => panic!("not a question"),
        }
    };
    lab.sent().iter().map(asked).collect()
}

fn state(lab: &Lab) -> Option<NeighbourState> {
    let list = lab.live.neighbours.list(NETWORK, lab.now);
    list.first().map(|n| n.state)
}

/// The origin of every packet here.
fn origin() -> Origin {
    Origin {
        tunnel: Tunnel::default(),
        from: PORT,
        vnet: VnetHeader::default(),
        id: PacketId::default(),
    }
}

#[test]
fn a_configured_neighbour_is_known_and_nobody_changes_that() {
    let mut lab = Lab::new();
    lab.configure(|interface| interface.neighbours = [(HOP.parse().unwrap(), PEER)].into());
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::At(PEER));
    let _ = lab.hear(&craft::Link::new(OTHER, GATEWAY).arp_reply(hop(), US));
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::At(PEER));
    lab.configure(|interface| interface.peer = Some(OTHER));
    assert_eq!(
        lab.next_hop("198.51.100.1", &packet(1), PORT),
        NextHop::At(OTHER)
    );
    assert!(lab.sent().is_empty() && state(&lab).is_none());
}

#[test]
fn the_first_packets_wait_for_the_answer() {
    let mut lab = Lab::new().settled();
    for n in 1..=4 {
        assert_eq!(lab.next_hop(HOP, &packet(n), PORT), NextHop::Held);
    }
    assert_eq!(
        questions(&mut lab),
        [(MacAddr::BROADCAST, hop().into())],
        "asked once"
    );
    assert_eq!(state(&lab), Some(NeighbourState::Incomplete));
    answer(&mut lab, PEER);
    // RFC 1122, 2.3.2.2: the latest are kept.
    let resumed = [2, 3, 4].map(|n| (Post::Resume(origin()), packet(n)));
    assert_eq!(lab.posted(), resumed);
    assert_eq!(lab.live.lost(), 1);
    assert_eq!(state(&lab), Some(NeighbourState::Reachable));
    assert_eq!(lab.next_hop(HOP, &packet(5), PORT), NextHop::At(PEER));
}

#[test]
fn a_large_packet_does_not_wait() {
    let mut lab = Lab::new();
    let large = craft::Link::new(OTHER, GATEWAY)
        .ipv4([10, 1, 0, 5].into(), hop())
        .udp(1, 2, &[0; 3000]);
    assert_eq!(lab.next_hop(HOP, &large, PORT), NextHop::Unknown);
    assert_eq!(questions(&mut lab).len(), 1);
}

#[test]
fn three_questions_a_second_apart_and_then_it_is_unreachable() {
    for (target, group) in [
        (HOP, MacAddr::BROADCAST),
        (HOP6, MacAddr([0x33, 0x33, 0xff, 0, 0, 9])),
    ] {
        let mut lab = Lab::new().settled();
        let ip: IpAddr = target.parse().unwrap();
        assert_eq!(lab.next_hop(target, &packet(1), PORT), NextHop::Held);
        for _ in 0..2 {
            assert_eq!(questions(&mut lab), [(group, ip)]);
            lab.pass(1);
        }
        assert_eq!(questions(&mut lab), [(group, ip)]);
        lab.pass(1);
        // The one that waited hears of it (RFC 1812, 4.3.3.1).
        let error = lab.answer();
        let headers = Headers::parse(&error).unwrap();
        assert!(
            matches!(headers.transport, Transport::Icmp(icmp) if (icmp.kind, icmp.code) == (3, 1))
        );
        assert_eq!(headers.dst, OTHER);
        assert_eq!(state(&lab), Some(NeighbourState::Failed));
        assert_eq!(lab.next_hop(target, &packet(2), PORT), NextHop::Unreachable);
        lab.pass(3);
        assert_eq!(state(&lab), None, "forgotten");
        assert_eq!(
            lab.next_hop(target, &packet(3), PORT),
            NextHop::Held,
            "asked anew"
        );
        assert_eq!(questions(&mut lab), [(group, ip)]);
    }
}

#[test]
fn a_question_is_put_again_at_its_time_and_not_at_the_next_second() {
    let mut lab = Lab::new().settled();
    lab.now = lab.now + Duration::from_millis(400);
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::Held);
    let asked = [(MacAddr::BROADCAST, hop().into())];
    assert_eq!(questions(&mut lab), asked);
    let due = lab.now + Duration::from_secs(1);
    lab.pass(0);
    assert_eq!((lab.sent().len(), lab.outbox.take_due()), (0, Some(due)));
    let interfaces = || std::iter::once(&lab.interface);
    lab.live.poll(interfaces(), lab.now, &mut lab.outbox);
    assert!(lab.outbox.is_empty(), "a poll too early says nothing");
    assert_eq!(lab.outbox.take_due(), Some(due));
    lab.live.poll(interfaces(), due, &mut lab.outbox);
    assert_eq!(questions(&mut lab), asked);
}

#[test]
fn a_used_neighbour_is_asked_again_and_goes_on_being_used() {
    let mut lab = Lab::new().settled();
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::Held);
    answer(&mut lab, PEER);
    lab.outbox.clear();
    for _ in 0..30 {
        lab.pass(1);
        assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::At(PEER));
    }
    assert_eq!(state(&lab), Some(NeighbourState::Stale));
    assert!(lab.sent().is_empty());
    // First itself, then everybody: it may have moved.
    for to in [PEER, PEER, MacAddr::BROADCAST] {
        lab.pass(1);
        assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::At(PEER));
        lab.pass(0);
        assert_eq!(questions(&mut lab), [(to, hop().into())]);
        assert_eq!(state(&lab), Some(NeighbourState::Probe));
    }
    answer(&mut lab, OTHER);
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::At(OTHER));
    assert_eq!(state(&lab), Some(NeighbourState::Reachable));
}

#[test]
fn a_used_neighbour_that_is_gone_becomes_unreachable() {
    let mut lab = Lab::new().settled();
    lab.next_hop(HOP, &packet(1), PORT);
    answer(&mut lab, PEER);
    for _ in 0..36 {
        lab.next_hop(HOP, &packet(1), PORT);
        lab.pass(1);
    }
    lab.outbox.clear();
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::Unreachable);
}

#[test]
fn an_unused_neighbour_is_not_asked_and_forgotten() {
    let mut lab = Lab::new().settled();
    lab.next_hop(HOP, &packet(1), PORT);
    answer(&mut lab, PEER);
    lab.outbox.clear();
    lab.pass(31);
    assert_eq!(state(&lab), Some(NeighbourState::Stale));
    lab.pass(298);
    assert_eq!(state(&lab), Some(NeighbourState::Stale));
    lab.pass(3);
    assert_eq!(state(&lab), None);
    assert!(lab.sent().is_empty());
}

#[test]
fn a_port_that_scans_gets_its_share_of_questions() {
    let mut lab = Lab::new();
    let scan = |lab: &mut Lab, port: u16| {
        let hosts = (0..=255).map(|host| format!("10.1.{port}.{host}"));
        let hosts: Vec<_> = hosts.collect();
        hosts
            .iter()
            .filter(|ip| lab.next_hop(ip, &packet(1), PortId(port)) == NextHop::Held)
            .count()
    };
    assert_eq!(scan(&mut lab, 1), MAX_OPEN_OF_A_PORT);
    assert_eq!(questions(&mut lab).len(), MAX_OPEN_OF_A_PORT);
    // Four of them fill the table; a fifth takes from each until all have about the same.
    for port in 2..=4 {
        assert_eq!(scan(&mut lab, port), MAX_OPEN_OF_A_PORT);
    }
    let fifth = scan(&mut lab, 5);
    assert!(
        (MAX_OPEN / 5 - 1..=MAX_OPEN / 5 + 1).contains(&fifth),
        "{fifth}"
    );
    // Nobody gains by asking again.
    lab.outbox.clear();
    let again: usize = (1..=5)
        .map(|port| scan(&mut lab, port).saturating_sub(fifth + 1))
        .sum();
    let asked = questions(&mut lab).len();
    assert!(asked <= 4, "{asked} more questions, {again}");
    // An honest port still gets its one question through.
    assert_eq!(lab.next_hop(HOP, &packet(1), PORT), NextHop::Held);
    assert_eq!(questions(&mut lab), [(MacAddr::BROADCAST, hop().into())]);
    answer(&mut lab, PEER);
    assert_eq!(lab.posted().len(), 1, "its packet was not pushed out");
}

#[test]
fn who_asks_from_many_addresses_is_remembered_so_far() {
    let mut lab = Lab::new();
    lab.configure(|interface| interface.addresses = vec!["10.0.0.1/8".parse().unwrap()]);
    for n in 2..=4000_u32 {
        let from = Ipv4Addr::from(0x0a00_0000 + n);
        let ask =
            craft::Link::new(PEER, MacAddr::BROADCAST).arp_request(from, [10, 0, 0, 1].into());
        assert_eq!(lab.hear(&ask), Ok(()));
        lab.outbox.clear();
    }
    let known = |lab: &Lab| lab.live.neighbours.list(NETWORK, lab.now).len();
    assert_eq!(known(&lab), MAX_KNOWN + MAX_OPEN);
    lab.pass(1);
    assert_eq!(known(&lab), MAX_KNOWN);
    lab.live.neighbours.flush(NETWORK);
    assert_eq!(known(&lab), 0);
}

#[test]
fn a_network_that_is_gone_takes_its_neighbours_along() {
    let mut lab = Lab::new();
    lab.next_hop(HOP, &packet(1), PORT);
    lab.live.poll(std::iter::empty(), lab.now, &mut lab.outbox);
    assert_eq!(state(&lab), None);
    lab.configure(|interface| interface.network = pipeline::NetworkId(99));
    lab.pass(11);
    assert_eq!(lab.live.lost(), 1, "what waited is counted");
}

#[test]
fn an_answer_on_another_worker_misses_no_packet() {
    let lab = Lab::new();
    let (interface, live, now) = (&lab.interface, &lab.live, lab.now);
    let neighbours = &live.neighbours;
    let link = || Link {
        interface,
        owns: &|_| false,
        live,
        now,
        effects: Effects::Live,
    };
    let start = Barrier::new(2);
    for _ in 0..2000 {
        neighbours.flush(NETWORK);
        let ip = hop().into();
        let (held, resumed) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let frame = packet(1);
                let pending = PendingPacket {
                    network: NETWORK,
                    origin: origin(),
                    frame: &frame,
                };
                let resolution = neighbours.resolve(link(), ip, PORT, &mut Outbox::default());
                start.wait();
                neighbours.hold(link(), ip, pending, resolution)
            });
            start.wait();
            let mut outbox = Outbox::default();
            neighbours.learn(link(), ip, PEER, Heard::Answer, &mut outbox);
            (sender.join().unwrap(), outbox.len())
        });
        assert_eq!(usize::from(held), resumed);
    }
}

/// An event that can happen to a neighbour.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Answer(u8),
    Announce(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send),
        2 => (1..4_u8).prop_map(Step::Answer),
        1 => (1..4_u8).prop_map(Step::Announce),
        3 => (1..40_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, a packet is held until an answer, an unanswered question ends, and what
    /// was held is resumed, lost or waiting: nothing disappears.
    #[test]
    fn nothing_waits_forever_and_nothing_disappears(steps in steps()) {
        let mut lab = Lab::new().settled();
        let (mut held, mut resumed) = (0_u64, 0);
        let mut told: Option<MacAddr> = None;
        for step in steps {
            let mac = |n| MacAddr([2, 0, 0, 0, 1, n]);
            match step {
                Step::Send => match lab.next_hop(HOP, &packet(1), PORT) {
                    NextHop::Held => held += 1,
                    NextHop::At(mac) => prop_assert_eq!(Some(mac), told),
                    NextHop::Unknown => prop_assert!(false, "a small packet of one port waits"),
                    NextHop::Unreachable => prop_assert_eq!(state(&lab), Some(NeighbourState::Failed)),
                },
                Step::Answer(n) => {
                    if lab.hear(&craft::Link::new(mac(n), GATEWAY).arp_reply(hop(), US)).is_ok() {
                        told = Some(mac(n));
                    }
                }
                Step::Announce(n) => {
                    if lab.hear(&craft::Link::new(mac(n), MacAddr::BROADCAST).arp_request(hop(), hop())).is_ok() {
                        told = Some(mac(n));
                    }
                }
                Step::Pass(seconds) => lab.pass(seconds),
            }
            let resumes = |(post, _): &(Post, Vec<u8>)| matches!(post, Post::Resume(..));
            resumed += lab.posted().iter().filter(|p| resumes(p)).count() as u64;
        }
        lab.pass(11);
        prop_assert_eq!(held, resumed + lab.live.lost());
    }
}
