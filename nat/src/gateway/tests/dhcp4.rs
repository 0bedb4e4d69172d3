//! RFC 2131, with the client's half made and read by smoltcp.

use super::{GATEWAY, Lab, OTHER, PEER, leasing};
use pipeline::DropReason;
use smoltcp::wire::{DhcpMessageType as Kind, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};
use std::net::Ipv4Addr;
use wire::craft::Link;
use wire::{Headers, MacAddr, Net, Transport};

const US: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 77);
const WRONG: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 78);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Returns what a client says, as smoltcp's client would.
fn request(kind: Kind) -> DhcpRepr<'static> {
    DhcpRepr {
        message_type: kind,
        transaction_id: 0x0102_0304,
        secs: 1,
        client_hardware_address: EthernetAddress(PEER.0),
        client_ip: NONE,
        your_ip: NONE,
        server_ip: NONE,
        router: None,
        subnet_mask: None,
        relay_agent_ip: NONE,
        broadcast: false,
        requested_ip: None,
        client_identifier: Some(EthernetAddress(PEER.0)),
        server_identifier: None,
        parameter_request_list: Some(&[1, 3, 6]),
        dns_servers: None,
        max_size: Some(1432),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    }
}

fn message(repr: &DhcpRepr<'_>) -> Vec<u8> {
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
        .unwrap();
    bytes
}

fn frame(repr: &DhcpRepr<'_>) -> Vec<u8> {
    let link = Link::new(PEER, MacAddr::BROADCAST);
    let packet = link.ipv4(repr.client_ip, Ipv4Addr::BROADCAST);
    packet.udp(68, 67, &message(repr))
}

/// The answer: to which MAC and address, and what it says.
fn answer(lab: &mut Lab, then: impl FnOnce(MacAddr, Ipv4Addr, &DhcpPacket<&[u8]>, DhcpRepr<'_>)) {
    let frame = lab.answer();
    let headers = Headers::parse(&frame).unwrap();
    let (Net::Ipv4(ip), Transport::Udp(udp)) = (headers.net, headers.transport) else {
        panic!("{headers:?}");
    };
    assert_eq!((ip.src, udp.src_port, udp.dst_port), (US, 67, 68));
    assert!(udp.len >= 308, "RFC 1542, 2.1");
    let packet = DhcpPacket::new_checked(&frame[42..]).unwrap();
    let repr = DhcpRepr::parse(&packet).unwrap();
    assert_eq!(repr.transaction_id, 0x0102_0304);
    assert_eq!(repr.client_hardware_address, EthernetAddress(PEER.0));
    assert_eq!(repr.server_identifier, Some(US));
    assert_eq!(
        repr.client_identifier,
        Some(EthernetAddress(PEER.0)),
        "RFC 6842"
    );
    then(headers.dst, ip.dst, &packet, repr);
}

fn raw(packet: &DhcpPacket<&[u8]>, kind: u8) -> Option<Vec<u8>> {
    let mut options = packet.options();
    options
        .find(|option: &DhcpOption<'_>| option.kind == kind)
        .map(|option| option.data.to_vec())
}

#[test]
fn rfc_2131_4_3_1_a_discovery_is_offered_the_lease() {
    let mut lab = leasing();
    let discover = frame(&request(Kind::Discover));
    assert!(lab.claims(&discover));
    assert_eq!(lab.hear(&discover), Ok(()));
    answer(&mut lab, |mac, ip, packet, repr| {
        assert_eq!((mac, ip), (PEER, LEASED));
        assert_eq!((repr.message_type, repr.your_ip), (Kind::Offer, LEASED));
        assert_eq!(repr.subnet_mask, Some([255, 255, 255, 0].into()));
        assert_eq!(repr.router, Some(US));
        assert_eq!(repr.dns_servers.unwrap()[..], [US]);
        assert_eq!(repr.lease_duration, Some(3600));
        assert_eq!(raw(packet, 12), Some(b"web-1".to_vec()));
        assert_eq!(raw(packet, 26), Some(vec![5, 220]));
    });
}

#[test]
fn rfc_2131_4_3_2_requests_in_every_state() {
    let ask = |server, wants, uses| DhcpRepr {
        server_identifier: server,
        requested_ip: wants,
        client_ip: uses,
        ..request(Kind::Request)
    };
    let cases = [
        (
            "selecting",
            ask(Some(US), Some(LEASED), NONE),
            Kind::Ack,
            LEASED,
        ),
        (
            "selecting another",
            ask(Some(US), Some(WRONG), NONE),
            Kind::Nak,
            NONE,
        ),
        (
            "rebooting",
            ask(None, Some(LEASED), NONE),
            Kind::Ack,
            LEASED,
        ),
        (
            "rebooting elsewhere",
            ask(None, Some(WRONG), NONE),
            Kind::Nak,
            NONE,
        ),
        ("renewing", ask(None, None, LEASED), Kind::Ack, LEASED),
        (
            "renewing another's",
            ask(None, None, WRONG),
            Kind::Nak,
            NONE,
        ),
    ];
    for (name, repr, kind, yours) in cases {
        let mut lab = leasing();
        assert_eq!(lab.hear(&frame(&repr)), Ok(()), "{name}");
        answer(&mut lab, |mac, ip, packet, answer| {
            assert_eq!(
                (answer.message_type, answer.your_ip),
                (kind, yours),
                "{name}"
            );
            // RFC 2131, 4.1: a NAK reaches one whose address is wrong.
            let all = (MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
            assert_eq!(
                (mac, ip),
                if kind == Kind::Nak {
                    all
                } else {
                    (PEER, LEASED)
                }
            );
            assert_eq!(raw(packet, 51).is_some(), kind == Kind::Ack, "{name}");
            assert_eq!(answer.router.is_some(), kind == Kind::Ack, "{name}");
        });
    }
    let mut lab = leasing();
    let chosen = ask(Some([10, 1, 0, 2].into()), Some(LEASED), NONE);
    assert_eq!(lab.hear(&frame(&chosen)), Err(DropReason::GatewayIgnored));
    assert!(lab.sent().is_empty(), "it chose another server");
}

#[test]
fn a_renewal_is_heard_by_unicast() {
    let mut lab = leasing();
    let renew = DhcpRepr {
        client_ip: LEASED,
        ..request(Kind::Request)
    };
    let packet = Link::new(PEER, GATEWAY).ipv4(LEASED, US);
    assert_eq!(lab.hear(&packet.udp(68, 67, &message(&renew))), Ok(()));
    answer(&mut lab, |mac, ip, _, repr| {
        assert_eq!((mac, ip, repr.message_type), (PEER, LEASED, Kind::Ack));
    });
}

#[test]
fn rfc_2131_4_1_the_broadcast_flag() {
    let mut lab = leasing();
    let discover = DhcpRepr {
        broadcast: true,
        ..request(Kind::Discover)
    };
    assert_eq!(lab.hear(&frame(&discover)), Ok(()));
    answer(&mut lab, |mac, ip, _, repr| {
        assert_eq!((mac, ip), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST));
        assert!(repr.broadcast);
    });
}

#[test]
fn rfc_2131_4_3_5_an_inform_gets_no_address() {
    let mut lab = leasing();
    let inform = DhcpRepr {
        client_ip: WRONG,
        ..request(Kind::Inform)
    };
    assert_eq!(lab.hear(&frame(&inform)), Ok(()));
    answer(&mut lab, |mac, ip, packet, repr| {
        assert_eq!((mac, ip), (PEER, WRONG));
        assert_eq!((repr.message_type, repr.your_ip), (Kind::Ack, NONE));
        assert_eq!((raw(packet, 51), repr.router), (None, Some(US)));
    });
}

#[test]
fn release_and_decline_change_nothing() {
    for kind in [Kind::Release, Kind::Decline] {
        let mut lab = leasing();
        assert_eq!(lab.hear(&frame(&request(kind))), Ok(()));
        assert!(lab.sent().is_empty());
    }
}

#[test]
fn an_internal_network_s_lease_has_no_router() {
    let mut lab = super::leasing_with(|role| role.settings.internal = true);
    assert_eq!(lab.hear(&frame(&request(Kind::Discover))), Ok(()));
    answer(&mut lab, |_, _, _, repr| {
        assert_eq!((repr.router, repr.your_ip), (None, LEASED));
    });
}

#[test]
fn rfc_2132_3_17_and_rfc_3397_the_search_domain_is_told() {
    let mut lab = super::leasing_with(|role| {
        role.settings.search_domain = "corp.example".parse().unwrap();
    });
    assert_eq!(lab.hear(&frame(&request(Kind::Discover))), Ok(()));
    answer(&mut lab, |_, _, packet, _| {
        let data = |kind: u8| packet.options().find(|o| o.kind == kind).map(|o| o.data);
        assert_eq!(data(15), Some(&b"corp.example"[..]));
        assert_eq!(data(119), Some(&b"\x04corp\x07example\x00"[..]));
    });
    let mut lab = leasing();
    assert_eq!(lab.hear(&frame(&request(Kind::Discover))), Ok(()));
    answer(&mut lab, |_, _, packet, _| {
        assert!(packet.options().all(|o| o.kind != 15 && o.kind != 119));
    });
}

#[test]
fn who_gets_no_answer() {
    let sound = request(Kind::Discover);
    let other = DhcpRepr {
        client_hardware_address: EthernetAddress(OTHER.0),
        ..sound.clone()
    };
    let relayed = DhcpRepr {
        relay_agent_ip: [10, 1, 0, 3].into(),
        ..sound.clone()
    };
    let link = Link::new(PEER, MacAddr::BROADCAST).ipv4(NONE, Ipv4Addr::BROADCAST);
    let changed = |at: usize, byte: u8| {
        let mut bytes = message(&sound);
        bytes[at] = byte;
        link.udp(68, 67, &bytes)
    };
    let mut damaged = frame(&sound);
    damaged[50] ^= 1;
    let stranger = Link::new(OTHER, MacAddr::BROADCAST)
        .ipv4(NONE, Ipv4Addr::BROADCAST)
        .udp(68, 67, &message(&other));
    for (name, frame) in [
        ("nobody attached it", stranger),
        ("in another's name", frame(&other)),
        ("through a relay", frame(&relayed)),
        ("an answer", changed(0, 2)),
        ("not Ethernet", changed(1, 6)),
        ("no cookie", changed(236, 0)),
        ("an option beyond the end", changed(241, 250)),
        ("a server's message", changed(242, 2)),
        ("an unknown kind", changed(242, 99)),
        ("cut short", link.udp(68, 67, &message(&sound)[..239])),
        ("no kind", link.udp(68, 67, &message(&sound)[..240])),
        ("damaged", damaged),
    ] {
        let mut lab = leasing();
        assert!(
            lab.claims(&frame),
            "{name}: it is no other server's business"
        );
        assert_eq!(lab.hear(&frame), Err(DropReason::GatewayIgnored), "{name}");
        assert!(lab.sent().is_empty(), "{name}");
    }
}

#[test]
fn where_nothing_is_leased_dhcp_is_somebody_else_s() {
    let mut lab = Lab::new();
    assert!(!lab.claims(&frame(&request(Kind::Discover))));
}

#[test]
fn answers_have_a_rate() {
    let mut lab = leasing();
    let discover = frame(&request(Kind::Discover));
    let answered = (0..300).filter(|_| lab.hear(&discover).is_ok()).count();
    assert_eq!((answered, lab.sent().len()), (100, 100));
}
