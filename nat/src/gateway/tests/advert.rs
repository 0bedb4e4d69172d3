//! RFC 4861 6.2, RFC 4862 5.5, RFC 8106; RFC 5227 3 and RFC 4861 7.2.6.

use super::ndp::{all_nodes, ip, read, solicitation, us};
use super::{GATEWAY, Lab, OTHER, PEER, role};
use crate::Routing;
use crate::config::{InsideRole, Role, UplinkRole};
use pipeline::DropReason;
use pnet::packet::Packet as _;
use pnet::packet::icmpv6::ndp::{NdpOptionTypes, RouterAdvertPacket};
use smoltcp::wire::{NdiscRepr, NdiscRouterFlags, RawHardwareAddress};
use wire::craft::Link;
use wire::{Headers, Icmpv6, MacAddr};

fn advertising(slaac: bool, dhcp: bool, internal: bool) -> Lab {
    let settings = Routing {
        slaac,
        dhcp,
        internal,
        ..Routing::default()
    };
    Lab::with(Role::Inside(InsideRole { settings, ..role() }))
}

#[test]
fn rfc_4861_6_2_6_a_solicitation_of_routers_is_answered_to_its_sender() {
    for (slaac, dhcp, internal) in [
        (true, false, false),
        (false, true, false),
        (true, true, true),
    ] {
        let mut lab = advertising(slaac, dhcp, internal);
        let asks = solicitation(ip("fe80::9"));
        assert!(lab.claims(&asks));
        assert_eq!(lab.hear(&asks), Ok(()));
        let from = lab.interface.link_local;
        read(&lab.answer(), |mac, src, dst, message| {
            assert_eq!((mac, src, dst), (PEER, from, ip("fe80::9")));
            let NdiscRepr::RouterAdvert {
                hop_limit,
                flags,
                router_lifetime,
                lladdr,
                mtu,
                prefix_info,
                ..
            } = message
            else {
                panic!("{message:?}");
            };
            let managed = NdiscRouterFlags::MANAGED | NdiscRouterFlags::OTHER;
            assert_eq!(
                flags,
                if slaac {
                    NdiscRouterFlags::empty()
                } else {
                    managed
                }
            );
            assert_eq!(router_lifetime.secs(), if internal { 0 } else { 1800 });
            assert_eq!((hop_limit, mtu), (64, Some(1500)));
            assert_eq!(lladdr, Some(RawHardwareAddress::from_bytes(&GATEWAY.0)));
            let prefix = prefix_info.unwrap();
            assert_eq!((prefix.prefix, prefix.prefix_len), (ip("2001:db8:1::"), 64));
            assert_eq!(prefix.flags.bits(), if slaac { 0xc0 } else { 0x80 });
            assert_eq!(
                (
                    prefix.valid_lifetime.secs(),
                    prefix.preferred_lifetime.secs()
                ),
                (2_592_000, 604_800)
            );
        });
    }
}

#[test]
fn rfc_8106_5_1_the_dns_server_is_the_gateway() {
    let mut lab = advertising(true, false, false);
    assert_eq!(lab.hear(&solicitation(ip("fe80::9"))), Ok(()));
    let frame = lab.answer();
    let packet = RouterAdvertPacket::new(&frame[54..]).unwrap();
    let options = packet.get_options();
    let kinds: Vec<u8> = options.iter().map(|o| o.option_type.0).collect();
    assert_eq!(
        kinds,
        [
            NdpOptionTypes::SourceLLAddr.0,
            NdpOptionTypes::MTU.0,
            NdpOptionTypes::PrefixInformation.0,
            25
        ]
    );
    let rdnss = &options[3];
    assert_eq!(rdnss.length, 3);
    assert_eq!(rdnss.data[2..6], 1800_u32.to_be_bytes());
    assert_eq!(rdnss.data[6..], us().octets());
    assert!(!packet.payload().is_empty() || packet.packet().len() == frame.len() - 54);
}

#[test]
fn rfc_8106_5_2_the_search_domain_is_advertised() {
    let settings = Routing {
        slaac: true,
        search_domain: "corp.example".parse().unwrap(),
        ..Routing::default()
    };
    let mut lab = Lab::with(Role::Inside(InsideRole { settings, ..role() }));
    assert_eq!(lab.hear(&solicitation(ip("fe80::9"))), Ok(()));
    let frame = lab.answer();
    let packet = RouterAdvertPacket::new(&frame[54..]).unwrap();
    let options = packet.get_options();
    let list = options.last().unwrap();
    assert_eq!((list.option_type.0, list.length), (31, 3));
    assert_eq!(list.data[2..6], 1800_u32.to_be_bytes());
    assert_eq!(list.data[6..], *b"\x04corp\x07example\x00\x00\x00");
    assert_eq!(frame.len() % 8, 54 % 8, "zeros fill the last eight");
}

#[test]
fn what_is_configured_from_outside_is_not_advertised() {
    let v4_only = {
        let mut lab = advertising(true, true, false);
        lab.configure(|interface| interface.addresses.truncate(1));
        lab
    };
    for mut lab in [Lab::new(), Lab::proxy(), v4_only] {
        let asks = solicitation(ip("fe80::9"));
        assert!(!lab.claims(&asks));
        assert_eq!(lab.hear(&asks), Err(DropReason::GatewayIgnored));
        lab = lab.settled();
        lab.pass(2000);
        assert!(lab.sent().is_empty());
    }
}

#[test]
fn solicitations_beyond_the_rate_are_not_answered() {
    let mut lab = advertising(true, false, false);
    let asks = solicitation(ip("fe80::9"));
    let answered = (0..200).filter(|_| lab.hear(&asks).is_ok()).count();
    assert_eq!((answered, lab.sent().len()), (50, 50));
}

/// The seconds in which everybody was advertised to.
fn advertised(lab: &mut Lab, seconds: u64) -> Vec<u64> {
    let mut at = Vec::new();
    for second in 0..seconds {
        lab.pass(second.min(1));
        let adverts = lab
            .sent()
            .into_iter()
            .filter(|frame| frame.get(54) == Some(&Icmpv6::ROUTER_ADVERT));
        at.extend(adverts.map(|frame| {
            assert_eq!(Headers::parse(&frame).unwrap().dst, all_nodes().0);
            second
        }));
    }
    at
}

#[test]
fn rfc_4861_6_2_4_everybody_is_told_three_times_and_then_now_and_then() {
    let mut lab = advertising(true, false, false);
    assert_eq!(advertised(&mut lab, 60), [0, 10, 20]);
    let later = advertised(&mut lab, 20_000);
    assert!(
        later
            .windows(2)
            .all(|w| (200..=601).contains(&(w[1] - w[0]))),
        "{later:?}"
    );
    assert!(later.len() >= 30 && later.windows(3).any(|w| w[1] - w[0] != w[2] - w[1]));
    // Told anew when there is something new, and when a host without an address asks.
    lab.configure(|interface| interface.mtu = 1400);
    assert_eq!(advertised(&mut lab, 25), [0, 10, 20]);
    assert_eq!(lab.hear(&solicitation(ip("::"))), Ok(()));
    assert!(lab.sent().is_empty());
    assert_eq!(advertised(&mut lab, 5), [0]);
    for _ in 0..2 {
        assert_eq!(lab.hear(&solicitation(ip("::"))), Ok(()));
    }
    assert_eq!(advertised(&mut lab, 5).len(), 1);
}

#[test]
fn a_new_address_is_announced_three_times_a_second_apart() {
    let mut lab = Lab::new();
    let per_second = |lab: &mut Lab| {
        let mut counts = Vec::new();
        for second in 0..6_u64 {
            lab.pass(second.min(1));
            counts.push(lab.sent().len());
        }
        counts
    };
    // IPv4, IPv6 and link-local.
    assert_eq!(per_second(&mut lab), [3, 3, 3, 0, 0, 0]);
    lab.configure(|interface| interface.addresses.push("10.9.0.1/24".parse().unwrap()));
    lab.pass(0);
    let announcement = Link::new(GATEWAY, MacAddr::BROADCAST)
        .arp_request([10, 9, 0, 1].into(), [10, 9, 0, 1].into());
    assert_eq!(lab.answer(), announcement);
    assert_eq!(per_second(&mut lab)[..4], [0, 1, 1, 0]);
    // The same addresses at another MAC are new.
    lab.configure(|interface| interface.mac = OTHER);
    lab.pass(0);
    assert_eq!(lab.outbox.len(), 4);
}

#[test]
fn an_uplink_s_addresses_are_the_host_s_to_announce() {
    let uplink = UplinkRole {
        gateways: Vec::new(),
        ports: crate::PortRange::DYNAMIC,
        spared: std::collections::BTreeSet::new(),
    };
    let mut lab = Lab::with(Role::Uplink(uplink));
    lab.pass(10);
    assert!(lab.sent().is_empty());
}
