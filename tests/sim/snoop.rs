//! Who gets what hosts say about groups and routers (RFC 4541).
//!
//! ```text
//!   port 1   a container, locked to its addresses        port 3   trusted
//!   port 2   another one                                 port 4   trusted
//! ```

use crate::rig::Rig;
use crate::scenarios;
use pipeline::{Decision, DropReason, Instant, PortId};
use switch::{Lock, Port};
use wire::craft::{Link, Packet};
use wire::{IpProtocol, MacAddr, VnetHeader};

const CONTAINER: PortId = PortId(1);
const OTHER: PortId = PortId(2);
const TRUSTED: PortId = PortId(3);
const ROUTER: PortId = PortId(4);
const NOW: Instant = Instant::from_secs(5);

/// The last byte of the addresses behind `port`.
const fn last(port: PortId) -> u8 {
    port.0.to_be_bytes()[1]
}

const fn mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last(port)])
}

fn network() -> Rig {
    let container = |id| Port {
        lock: Some(Lock {
            mac: mac(id),
            ipv4: vec![[10, 0, 0, last(id)].into()],
            ipv6: Vec::new(),
        }),
        ..Port::plain(id, scenarios::NET)
    };
    let trusted = |id| Port::plain(id, scenarios::NET);
    Rig::of(
        vec![scenarios::network(scenarios::NET)],
        vec![
            container(CONTAINER),
            container(OTHER),
            trusted(TRUSTED),
            trusted(ROUTER),
        ],
    )
}

fn v4(from: PortId, group: [u8; 4]) -> Packet {
    let [_, a, b, c] = group;
    let link = Link::new(mac(from), MacAddr([1, 0, 0x5e, a & 0x7f, b, c]));
    link.ipv4([10, 0, 0, last(from)].into(), group.into())
        .hops(1)
}

fn v6(from: PortId, group: u16) -> Packet {
    let [high, low] = group.to_be_bytes();
    let link = Link::new(mac(from), MacAddr([0x33, 0x33, 0, 0, high, low]));
    let source = format!("fe80::{}", from.0).parse().unwrap();
    link.ipv6(source, [0xff02, 0, 0, 0, 0, 0, 0, group].into())
        .hops(1)
}

fn igmp(from: PortId, group: [u8; 4], kind: u8) -> Vec<u8> {
    v4(from, group).raw(IpProtocol::IGMP, &[kind, 0, 0, 0, 239, 1, 2, 3])
}

/// With the router alert that MLD has (RFC 3810, 5).
fn mld(from: PortId, group: u16, kind: u8) -> Vec<u8> {
    v6(from, group)
        .extension(IpProtocol::HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0])
        .raw(IpProtocol::ICMPV6, &[&[kind][..], &[0; 23]].concat())
}

/// Reports, leaves and dones, in the order in which they were invented.
fn reports(from: PortId) -> Vec<Vec<u8>> {
    let own = [239, 1, 2, 3];
    vec![
        igmp(from, own, 0x12),
        igmp(from, own, 0x16),
        igmp(from, [224, 0, 0, 2], 0x17),
        igmp(from, [224, 0, 0, 22], 0x22),
        mld(from, 0x77, 131),
        mld(from, 2, 132),
        mld(from, 22, 143),
    ]
}

fn solicitation(from: PortId) -> Vec<u8> {
    v6(from, 2)
        .hops(255)
        .raw(IpProtocol::ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0])
}

/// Messages of routers, each of another kind.
fn routers(from: PortId) -> Vec<Vec<u8>> {
    let advert = Link::new(mac(from), MacAddr([0x33, 0x33, 0, 0, 0, 1]))
        .router_advert("fe80::4".parse().unwrap(), "ff02::1".parse().unwrap());
    vec![
        igmp(from, [224, 0, 0, 1], 0x11),
        igmp(from, [224, 0, 0, 1], 0x30),
        v4(from, [224, 0, 0, 13]).raw(IpProtocol::PIM, &[0x20, 0, 0, 0]),
        mld(from, 1, 130),
        mld(from, 0x6a, 151),
        v6(from, 13).raw(IpProtocol::PIM, &[0x20, 0, 0, 0]),
        advert,
    ]
}

/// The ports that get `bytes`.
fn reach(rig: &mut Rig, from: PortId, bytes: &[u8], now: Instant) -> Vec<PortId> {
    let left = rig.carry(from, bytes, VnetHeader::default(), now);
    left.iter().map(|copy| copy.port).collect()
}

#[test]
fn a_report_goes_nowhere_while_no_router_was_heard_and_the_trace_says_so() {
    let mut rig = network();
    for report in reports(CONTAINER) {
        let told = rig.explain(CONTAINER, &report, VnetHeader::default(), NOW);
        assert_eq!(told.verdict, Err(DropReason::NoReceiver));
        assert!(told.steps.contains(&Decision::GroupReport), "{told:?}");
        assert_eq!(reach(&mut rig, CONTAINER, &report, NOW), []);
    }
    assert_eq!(rig.dropped(DropReason::NoReceiver), 7);
}

#[test]
fn what_a_router_says_goes_everywhere_and_reports_then_go_to_it_alone() {
    for said in routers(ROUTER) {
        let mut rig = network();
        let told = rig.explain(ROUTER, &said, VnetHeader::default(), NOW);
        let heard = Decision::RouterHeard { port: ROUTER };
        assert!(told.steps.contains(&heard), "{told:?}");
        assert_eq!(
            reach(&mut rig, CONTAINER, &reports(CONTAINER)[0], NOW),
            [],
            "a question is heard by nobody"
        );
        assert_eq!(
            reach(&mut rig, ROUTER, &said, NOW),
            [CONTAINER, OTHER, TRUSTED]
        );
        for report in reports(CONTAINER) {
            assert_eq!(reach(&mut rig, CONTAINER, &report, NOW), [ROUTER]);
        }
        let own = &reports(ROUTER)[0];
        assert_eq!(reach(&mut rig, ROUTER, own, NOW), [], "not back to itself");
    }
}

#[test]
fn a_container_that_asks_who_listens_is_told_by_the_others() {
    let mut rig = network();
    // A bridge without an address that snoops asks from 0.0.0.0; a locked port's lock knows no such.
    for (from, query) in [
        (OTHER, mld(OTHER, 1, 130)),
        (TRUSTED, igmp(TRUSTED, [224, 0, 0, 1], 0x11)),
    ] {
        assert_eq!(reach(&mut rig, from, &query, NOW).len(), 3);
    }
    let report = &reports(CONTAINER)[6];
    assert_eq!(reach(&mut rig, CONTAINER, report, NOW), [OTHER, TRUSTED]);
    let hour_later = Instant::from_secs(5 + 3600);
    assert_eq!(reach(&mut rig, CONTAINER, report, hour_later), []);
}

#[test]
fn a_solicitation_goes_where_an_advertisement_would_be_admitted() {
    let mut rig = network();
    assert_eq!(
        reach(&mut rig, CONTAINER, &solicitation(CONTAINER), NOW),
        [TRUSTED, ROUTER]
    );
    let answer = Link::new(mac(OTHER), mac(CONTAINER))
        .router_advert("fe80::2".parse().unwrap(), "fe80::1".parse().unwrap());
    assert_eq!(reach(&mut rig, OTHER, &answer, NOW), []);
    assert_eq!(rig.dropped(DropReason::SpoofedRouter), 1);
}

#[test]
fn what_everybody_may_need_still_goes_everywhere() {
    let mut rig = network();
    let all = [OTHER, TRUSTED, ROUTER];
    let detection = Link::new(mac(CONTAINER), MacAddr([0x33, 0x33, 0xff, 0, 0, 1]))
        .neighbour_solicit(
            "::".parse().unwrap(),
            "ff02::1:ff00:1".parse().unwrap(),
            "fe80::1".parse().unwrap(),
        );
    let to_everybody = [
        detection,
        v4(CONTAINER, [239, 1, 2, 3]).udp(5000, 5000, b"to a group"),
        v6(CONTAINER, 0xfb).udp(5353, 5353, b"to a group"),
        // Messages of these kinds are not known, or cannot be read.
        igmp(CONTAINER, [224, 0, 0, 22], 0x99),
        mld(CONTAINER, 22, 144),
        v4(CONTAINER, [224, 0, 0, 22]).raw(IpProtocol::IGMP, &[]),
    ];
    for frame in to_everybody {
        assert_eq!(reach(&mut rig, CONTAINER, &frame, NOW), all, "{frame:x?}");
    }
    // A report to one station, or to all, is no report to a switch.
    let mut broadcast = reports(CONTAINER)[0].clone();
    broadcast[..6].fill(0xff);
    assert_eq!(reach(&mut rig, CONTAINER, &broadcast, NOW), all);
}
