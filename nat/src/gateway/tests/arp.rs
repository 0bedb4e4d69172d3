//! RFC 826 and RFC 5227.

use super::{GATEWAY, Lab, NETWORK, OTHER, PEER};
use crate::NeighbourState;
use pipeline::DropReason;
use smoltcp::wire::{ArpOperation, ArpPacket, EthernetFrame};
use std::net::Ipv4Addr;
use wire::craft::Link;
use wire::{Arp, MacAddr};

const US: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);

fn broadcast(from: MacAddr) -> Link {
    Link::new(from, MacAddr::BROADCAST)
}

/// Destination MAC, operation, sender, target.
type Read = (
    MacAddr,
    ArpOperation,
    (MacAddr, Ipv4Addr),
    (MacAddr, Ipv4Addr),
);

fn read(frame: &[u8]) -> Read {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    let arp = ArpPacket::new_checked(ethernet.payload()).unwrap();
    let mac = |bytes: &[u8]| MacAddr(bytes.try_into().unwrap());
    let ip = |bytes: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap());
    (
        MacAddr(ethernet.dst_addr().0),
        arp.operation(),
        (
            mac(arp.source_hardware_addr()),
            ip(arp.source_protocol_addr()),
        ),
        (
            mac(arp.target_hardware_addr()),
            ip(arp.target_protocol_addr()),
        ),
    )
}

fn known(lab: &Lab) -> Vec<(String, Option<MacAddr>, NeighbourState)> {
    let list = lab.live.neighbours.list(NETWORK, lab.now).into_iter();
    list.map(|n| (n.ip.to_string(), n.mac, n.state)).collect()
}

#[test]
fn a_request_for_our_address_is_answered_and_its_sender_learned() {
    let mut lab = Lab::new();
    let request = broadcast(PEER).arp_request(THEM, US);
    assert!(lab.claims(&request));
    assert_eq!(lab.hear(&request), Ok(()));
    let reply = (PEER, ArpOperation::Reply, (GATEWAY, US), (PEER, THEM));
    assert_eq!(read(&lab.answer()), reply);
    assert_eq!(
        known(&lab),
        [("10.1.0.9".to_owned(), Some(PEER), NeighbourState::Stale)]
    );
}

#[test]
fn a_request_for_somebody_else_is_not_ours() {
    let mut lab = Lab::new();
    for target in ["10.1.0.2", "10.2.0.5", "198.51.100.1", "0.0.0.0"] {
        let request = broadcast(PEER).arp_request(THEM, target.parse().unwrap());
        assert!(!lab.claims(&request), "{target}");
        assert_eq!(lab.hear(&request), Err(DropReason::GatewayIgnored));
    }
    assert!(lab.sent().is_empty() && known(&lab).is_empty());
}

#[test]
fn a_proxy_answers_for_what_it_routes_to() {
    let mut lab = Lab::proxy();
    let request = broadcast(PEER).arp_request(THEM, [10, 2, 0, 77].into());
    assert!(lab.claims(&request));
    assert_eq!(lab.hear(&request), Ok(()));
    let (_, _, sender, _) = read(&lab.answer());
    assert_eq!(sender, (GATEWAY, [10, 2, 0, 77].into()));
    // What announces itself is not asking.
    let announcement = broadcast(PEER).arp_request([10, 2, 0, 77].into(), [10, 2, 0, 77].into());
    assert!(!lab.claims(&announcement));
    assert_eq!(lab.hear(&announcement), Err(DropReason::GatewayIgnored));
    assert!(lab.sent().is_empty());
}

#[test]
fn rfc_5227_2_1_1_a_probe_for_our_address_is_defended() {
    let mut lab = Lab::new();
    let probe = broadcast(PEER).arp_request(Ipv4Addr::UNSPECIFIED, US);
    assert!(lab.claims(&probe));
    assert_eq!(lab.hear(&probe), Ok(()));
    let (dst, operation, sender, _) = read(&lab.answer());
    assert_eq!(
        (dst, operation, sender),
        (PEER, ArpOperation::Reply, (GATEWAY, US))
    );
    assert!(known(&lab).is_empty(), "a probe claims nothing");
}

#[test]
fn rfc_5227_2_4_a_conflict_is_answered_once_in_ten_seconds() {
    let mut lab = Lab::new().settled();
    let announcement = (
        MacAddr::BROADCAST,
        ArpOperation::Request,
        (GATEWAY, US),
        (MacAddr::ZERO, US),
    );
    let theft = broadcast(PEER).arp_request(US, US);
    assert!(!lab.claims(&theft), "the others are to hear it");
    lab.observe(&theft);
    assert_eq!(read(&lab.answer()), announcement);
    lab.pass(9);
    assert_eq!(lab.hear(&theft), Err(DropReason::GatewayIgnored));
    assert!(lab.sent().is_empty());
    lab.pass(1);
    // A reply and a request in our name are as bad.
    assert_eq!(lab.hear(&broadcast(PEER).arp_reply(US, THEM)), Ok(()));
    assert_eq!(read(&lab.answer()), announcement);
    assert!(known(&lab).is_empty());
}

#[test]
fn what_nobody_asked_for_makes_no_entry_but_changes_one() {
    let mut lab = Lab::new();
    for frame in [
        broadcast(PEER).arp_request(THEM, THEM),
        broadcast(PEER).arp_reply(THEM, THEM),
        broadcast(PEER).arp_reply(THEM, US),
        broadcast(PEER).arp_request(THEM, [10, 1, 0, 2].into()),
    ] {
        lab.observe(&frame);
        assert!(known(&lab).is_empty());
    }
    assert_eq!(lab.hear(&broadcast(PEER).arp_request(THEM, US)), Ok(()));
    lab.observe(&broadcast(OTHER).arp_request(THEM, THEM));
    assert_eq!(known(&lab)[0].1, Some(OTHER), "it moved, and said so");
}

#[test]
fn a_sender_that_cannot_be_one_is_ignored() {
    let mut lab = Lab::new();
    for mac in [
        MacAddr::ZERO,
        MacAddr::BROADCAST,
        MacAddr([1, 0, 94, 0, 0, 1]),
        GATEWAY,
    ] {
        let lie = Arp {
            operation: Arp::REQUEST,
            sender_mac: mac,
            sender_ip: THEM,
            target_mac: MacAddr::ZERO,
            target_ip: US,
        };
        assert_eq!(
            lab.hear(&broadcast(PEER).arp(&lie)),
            Err(DropReason::GatewayIgnored),
            "{mac}"
        );
    }
    // An address that no neighbour has is answered, and not remembered.
    let request = broadcast(PEER).arp_request([198, 51, 100, 9].into(), US);
    assert_eq!(lab.hear(&request), Ok(()));
    assert_eq!(read(&lab.answer()).0, PEER);
    assert!(known(&lab).is_empty());
}
