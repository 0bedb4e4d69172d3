//! RFC 4861 7, RFC 4862 5.4, RFC 6980.

use super::{GATEWAY, Lab, NETWORK, OTHER, PEER, PORT, role};
use crate::NeighbourState;
use crate::config::Role;
use crate::gateway::NextHop;
use crate::outbox::{Origin, Post};
use pipeline::DropReason;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress};
use std::net::Ipv6Addr;
use wire::craft::Link;
use wire::{Fragment, Headers, Icmpv6, IpProtocol, MacAddr, Net};

pub(super) fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub(super) fn us() -> Ipv6Addr {
    ip("2001:db8:1::1")
}

fn them() -> Ipv6Addr {
    ip("2001:db8:1::9")
}

fn group() -> Ipv6Addr {
    ip("ff02::1:ff00:1")
}

fn link(from: MacAddr) -> Link {
    Link::new(from, MacAddr([0x33, 0x33, 0xff, 0, 0, 1]))
}

/// A message of any bytes, its checksum right.
fn message(src: Ipv6Addr, dst: Ipv6Addr, hops: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::emit::Envelope {
        src_mac: PEER,
        dst_mac: GATEWAY,
        ends: wire::emit::Ends::V6(src, dst),
        hops,
        traffic_class: 0,
    }
    .emit(&mut out, IpProtocol::ICMPV6, |out| {
        out.extend_from_slice(bytes);
    });
    out
}

/// An advertisement of `them`, at `mac`, with these flags.
fn advert(mac: MacAddr, flags: u8) -> Vec<u8> {
    let mut bytes = vec![Icmpv6::NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0];
    bytes.extend(them().octets());
    bytes.extend([2, 1]);
    bytes.extend(mac.0);
    message(them(), us(), 255, &bytes)
}

pub(super) fn solicitation(src: Ipv6Addr) -> Vec<u8> {
    message(
        src,
        ip("ff02::2"),
        255,
        &[Icmpv6::ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0],
    )
}

/// Calls `then` with what smoltcp reads: destination MAC, source, destination and message.
pub(super) fn read(frame: &[u8], then: impl FnOnce(MacAddr, Ipv6Addr, Ipv6Addr, NdiscRepr<'_>)) {
    let headers = Headers::parse(frame).unwrap();
    let Net::Ipv6(net) = headers.net else {
        panic!("not IPv6");
    };
    assert_eq!(net.hop_limit, 255);
    let packet = Icmpv6Packet::new_checked(&frame[54..]).unwrap();
    let caps = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&net.src, &net.dst, &packet, &caps).unwrap() {
        Icmpv6Repr::Ndisc(message) => then(headers.dst, net.src, net.dst, message),
        other => panic!("{other:?}"),
    }
}

fn is_advert(
    frame: &[u8],
    to: (MacAddr, Ipv6Addr),
    from: Ipv6Addr,
    target: Ipv6Addr,
    flags: NdiscNeighborFlags,
) {
    read(frame, |mac, src, dst, message| {
        assert_eq!(((mac, dst), src), (to, from));
        let lladdr = Some(RawHardwareAddress::from_bytes(&GATEWAY.0));
        let wanted = NdiscRepr::NeighborAdvert {
            flags,
            target_addr: target,
            lladdr,
        };
        assert_eq!(message, wanted);
    });
}

fn known(lab: &Lab) -> Vec<(MacAddr, NeighbourState)> {
    let list = lab.live.neighbours.list(NETWORK, lab.now).into_iter();
    list.map(|n| (n.mac.unwrap_or(MacAddr::ZERO), n.state))
        .collect()
}

pub(super) fn all_nodes() -> (MacAddr, Ipv6Addr) {
    (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ip("ff02::1"))
}

const ROS: NdiscNeighborFlags = NdiscNeighborFlags::all();

#[test]
fn rfc_4861_7_2_4_a_solicitation_for_our_address_is_answered() {
    let mut lab = Lab::new();
    for target in [us(), lab.interface.link_local] {
        let asks = link(PEER).neighbour_solicit(them(), group(), target);
        assert!(lab.claims(&asks));
        assert_eq!(lab.hear(&asks), Ok(()));
        is_advert(&lab.answer(), (PEER, them()), target, target, ROS);
    }
    assert_eq!(known(&lab), [(PEER, NeighbourState::Stale)]);
    let asks = link(PEER).neighbour_solicit(them(), group(), ip("2001:db8:1::2"));
    assert!(!lab.claims(&asks));
    assert_eq!(lab.hear(&asks), Err(DropReason::GatewayIgnored));
}

#[test]
fn an_internal_network_s_gateway_does_not_call_itself_a_router() {
    let mut internal = role();
    internal.settings.internal = true;
    let mut lab = Lab::with(Role::Inside(internal));
    let asks = link(PEER).neighbour_solicit(them(), group(), us());
    assert_eq!(lab.hear(&asks), Ok(()));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    is_advert(&lab.answer(), (PEER, them()), us(), us(), flags);
}

#[test]
fn rfc_4861_7_2_8_a_proxy_does_not_override() {
    let mut lab = Lab::proxy();
    let target = ip("2001:db8:2::5");
    let asks = link(PEER).neighbour_solicit(them(), group(), target);
    assert_eq!(lab.hear(&asks), Ok(()));
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::ROUTER;
    let from = lab.interface.link_local;
    is_advert(&lab.answer(), (PEER, them()), from, target, flags);
}

#[test]
fn rfc_4862_5_4_3_a_duplicate_is_told_that_it_is_one() {
    let mut lab = Lab::new();
    let mut bytes = vec![Icmpv6::NEIGHBOUR_SOLICIT, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(us().octets());
    let detection = message(ip("::"), group(), 255, &bytes);
    assert!(lab.claims(&detection));
    assert_eq!(lab.hear(&detection), Ok(()));
    let flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
    is_advert(&lab.answer(), all_nodes(), us(), us(), flags);
    assert!(known(&lab).is_empty());
}

#[test]
fn rfc_4861_7_1_what_is_not_believed() {
    let solicit = |src: Ipv6Addr, dst: Ipv6Addr, hops, code, target: Ipv6Addr, option: bool| {
        let mut bytes = vec![Icmpv6::NEIGHBOUR_SOLICIT, code, 0, 0, 0, 0, 0, 0];
        bytes.extend(target.octets());
        if option {
            bytes.extend([1, 1]);
            bytes.extend(PEER.0);
        }
        message(src, dst, hops, &bytes)
    };
    let sound = solicit(them(), group(), 255, 0, us(), true);
    let mut damaged = sound.clone();
    damaged[56] ^= 1;
    let atomic = Fragment {
        id: 1,
        offset: 0,
        more: false,
    };
    let fragment = Link::new(PEER, GATEWAY)
        .ipv6(them(), group())
        .hops(255)
        .fragment(atomic)
        .raw(IpProtocol::ICMPV6, &sound[54..]);
    let cases = [
        ("from afar", solicit(them(), group(), 254, 0, us(), true)),
        ("another code", solicit(them(), group(), 255, 1, us(), true)),
        (
            "a group is asked for",
            solicit(them(), group(), 255, 0, ip("ff02::1"), true),
        ),
        (
            ":: names its MAC",
            solicit(ip("::"), group(), 255, 0, us(), true),
        ),
        (
            ":: asks one host",
            solicit(ip("::"), us(), 255, 0, us(), false),
        ),
        (
            "a group asks",
            solicit(ip("ff02::1"), group(), 255, 0, us(), true),
        ),
        ("we ask", solicit(us(), group(), 255, 0, us(), true)),
        ("damaged", damaged),
        ("RFC 6980: a fragment", fragment),
        (
            "router advertisement",
            Link::new(PEER, GATEWAY).router_advert(ip("fe80::9"), ip("ff02::1")),
        ),
        ("redirect", message(ip("fe80::9"), us(), 255, &[137; 48])),
    ];
    for (name, frame) in cases {
        let mut lab = Lab::new();
        assert_eq!(lab.hear(&frame), Err(DropReason::GatewayIgnored), "{name}");
        assert!(lab.sent().is_empty() && known(&lab).is_empty(), "{name}");
    }
    assert_eq!(Lab::new().hear(&sound), Ok(()));
}

#[test]
fn an_answer_releases_what_waits() {
    let mut lab = Lab::new();
    let packet = Link::new(OTHER, GATEWAY)
        .ipv6(ip("2001:db8:1::5"), them())
        .udp(1, 2, b"");
    assert_eq!(lab.next_hop("2001:db8:1::9", &packet, PORT), NextHop::Held);
    read(&lab.answer(), |mac, src, dst, message| {
        assert_eq!(
            (mac, dst),
            (MacAddr([0x33, 0x33, 0xff, 0, 0, 9]), ip("ff02::1:ff00:9"))
        );
        assert_eq!(src, us());
        let lladdr = Some(RawHardwareAddress::from_bytes(&GATEWAY.0));
        assert_eq!(
            message,
            NdiscRepr::NeighborSolicit {
                target_addr: them(),
                lladdr
            }
        );
    });
    assert_eq!(lab.hear(&advert(PEER, 0x60)), Ok(()));
    assert!(
        matches!(&lab.posted()[..], [(Post::Resume(Origin { from: PORT, .. }), frame)] if *frame == packet)
    );
    assert_eq!(known(&lab), [(PEER, NeighbourState::Reachable)]);
}

#[test]
fn rfc_4861_7_2_5_what_an_advertisement_changes() {
    use NeighbourState::{Reachable, Stale};
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;
    // From a reachable neighbour at PEER.
    for (mac, flags, becomes) in [
        (PEER, SOLICITED | OVERRIDE, (PEER, Reachable)),
        (PEER, SOLICITED, (PEER, Reachable)),
        (PEER, OVERRIDE, (PEER, Reachable)),
        (PEER, 0, (PEER, Reachable)),
        (OTHER, SOLICITED | OVERRIDE, (OTHER, Reachable)),
        (OTHER, OVERRIDE, (OTHER, Stale)),
        (OTHER, SOLICITED, (PEER, Stale)),
        (OTHER, 0, (PEER, Stale)),
    ] {
        let mut lab = Lab::new();
        let packet = Link::new(OTHER, GATEWAY)
            .ipv6(ip("2001:db8:1::5"), them())
            .udp(1, 2, b"");
        lab.next_hop("2001:db8:1::9", &packet, PORT);
        assert_eq!(lab.hear(&advert(PEER, 0x60)), Ok(()));
        lab.pass(2);
        assert_eq!(lab.hear(&advert(mac, flags)), Ok(()));
        assert_eq!(known(&lab), [becomes], "{mac} {flags:x}");
    }
    let mut lab = Lab::new();
    assert_eq!(
        lab.hear(&advert(PEER, 0x60)),
        Err(DropReason::GatewayIgnored)
    );
    assert!(known(&lab).is_empty(), "nobody asked");
}

#[test]
fn rfc_4862_5_4_4_our_address_is_defended() {
    let mut lab = Lab::new().settled();
    let theft = Link::new(PEER, all_nodes().0).neighbour_advert(us(), ip("ff02::1"), us());
    assert!(!lab.claims(&theft));
    // An advertisement to a group answers nobody's question, whatever its flags say.
    lab.observe(&theft);
    assert!(lab.sent().is_empty());
    let theft = Link::new(PEER, GATEWAY).neighbour_advert(us(), them(), us());
    assert_eq!(lab.hear(&theft), Ok(()));
    let flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
    is_advert(&lab.answer(), all_nodes(), us(), us(), flags);
    assert_eq!(lab.hear(&theft), Err(DropReason::GatewayIgnored));
}
