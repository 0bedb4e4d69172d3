//! Decisions that may be repeated, and others, by the packets of real routers.

use super::*;
use crate::config::{Config, EndpointRules, InsideRole, InterfaceConfig, Role, UplinkRole};
use crate::{
    Action, Dependence, Live, Nat, Policy, PortRange, Publication, Routed, Routing, Rule,
    RuleDirection, TransportAddr, bridge, route,
};
use pipeline::{Frame, PortId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use wire::craft::{Link, Packet, TcpSegment};
use wire::{Fragment, Headers, TcpFlags, VnetHeader};

const WEB: NetworkId = NetworkId(0);
const DB: NetworkId = NetworkId(1);
const UP: NetworkId = NetworkId(2);
const NOW: Instant = Instant::from_secs(1_000);
const OURS: [u8; 4] = [198, 51, 100, 1];
const WORLD: [u8; 4] = [198, 51, 100, 99];
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 99]);
const A: [u8; 4] = [10, 0, 0, 2];
const B: [u8; 4] = [10, 0, 0, 3];
const C: [u8; 4] = [10, 1, 0, 2];
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN.union(ACK);

/// The MAC address of whoever has an address inside.
const fn mac([_, network, _, host]: [u8; 4]) -> MacAddr {
    MacAddr([2, 0, 0, 0, network, host])
}

fn interface(network: NetworkId, role: Role, own: &str, peer: Option<MacAddr>) -> InterfaceConfig {
    let known = |of: [u8; 4]| (IpAddr::from(of), mac(of));
    InterfaceConfig {
        network,
        role,
        mac: MacAddr([2, 0, 0, 0, 0xff, network.0.to_le_bytes()[0]]),
        addresses: vec![own.parse().unwrap()],
        mtu: 1500,
        neighbours: BTreeMap::from([A, B, C].map(known)),
        peer,
    }
}

/// Two networks that are peers, an uplink, and port 8080 published for B.
fn router(peer: Option<MacAddr>, ruled: bool) -> Router {
    let inside = |to| {
        Role::Inside(InsideRole {
            settings: Routing {
                nat: Nat {
                    mapping: Some(Dependence::EndpointIndependent),
                    filtering: Some(Dependence::EndpointIndependent),
                    ..Nat::default()
                },
                ..Routing::default()
            },
            overlapping: false,
            peers: vec![to],
            uplink: Some(UP),
            leases: BTreeMap::new(),
        })
    };
    let uplink = Role::Uplink(UplinkRole {
        gateways: vec![],
        ports: PortRange::DYNAMIC,
        spared: BTreeSet::new(),
    });
    let publication = Publication {
        protocol: IpProtocol::TCP,
        host: None,
        ports: PortRange::new(8080, 8080).unwrap(),
        to: crate::Inside {
            network: WEB,
            addr: TransportAddr::new(B.into(), 80),
        },
    };
    let rule = Rule {
        action: Action::Allow,
        direction: RuleDirection::In,
        peer: None,
        protocol: Some(IpProtocol::TCP),
        ports: PortRange::new(80, 80),
    };
    let rules = EndpointRules {
        network: WEB,
        ip: B.into(),
        policy: Policy {
            default: Action::Allow,
            rules: vec![rule],
        },
    };
    let config = Config {
        interfaces: vec![
            interface(WEB, inside(DB), "10.0.0.1/24", None),
            interface(DB, inside(WEB), "10.1.0.1/24", None),
            interface(UP, uplink, "198.51.100.1/24", peer),
        ],
        publications: vec![publication],
        rules: if ruled { vec![rules] } else { vec![] },
    };
    Router::new(config, Arc::new(Live::new(1000, 7))).unwrap()
}

fn plain(peer: Option<MacAddr>) -> Router {
    router(peer, false)
}

type End = ([u8; 4], u16);

fn packet(from: End, to: End) -> Packet {
    Link::new(mac(from.0), GATEWAY).ipv4(from.0.into(), to.0.into())
}

fn tcp(from: End, to: End, flags: TcpFlags, seq: u32, ack: u32) -> Vec<u8> {
    packet(from, to).tcp(TcpSegment {
        src_port: from.1,
        dst_port: to.1,
        flags,
        seq,
        ack,
        window: 1000,
        ..TcpSegment::default()
    })
}

fn udp(from: End, to: End) -> Vec<u8> {
    packet(from, to).udp(from.1, to.1, &[7; 20])
}

/// Whether a decision may be repeated, and the packet's ends as it left.
type Got = (Result<Repeatable, Barrier>, End, End);

/// Routes a packet, or lets it stay in its network.
fn pass(router: &Router, network: NetworkId, mut bytes: Vec<u8>, stays: bool) -> Got {
    let headers = Headers::parse(&bytes).unwrap();
    let end = bytes.len();
    let mut frame = Frame::new(&mut bytes, 0, end, VnetHeader::default());
    let arrival = Arrival {
        network,
        from: PortId(0),
        frame: &frame,
        headers: &headers,
    };
    let mut context = Context::live(NOW, NoTrace);
    if stays {
        bridge(&mut context, router, &arrival).unwrap();
        return (repeatable(router, &arrival, None, NOW), (A, 0), (A, 0));
    }
    let routed = route(&mut context, router, &arrival, &mut Outbox::default()).unwrap();
    let Routed::Forward(into, rewrite) = routed else {
        panic!("it goes on");
    };
    let got = repeatable(router, &arrival, Some((into, &rewrite)), NOW);
    rewrite.apply(&mut frame, &headers);
    let headers = Headers::parse(frame.bytes()).unwrap();
    let (src, dst, _) = crate::addresses(&headers).unwrap();
    let (src_port, dst_port) = headers.transport.ports().unwrap_or_default();
    let octets = |ip| match ip {
        IpAddr::V4(ip) => Ipv4Addr::octets(&ip),
        IpAddr::V6(_) => panic!("IPv4"),
    };
    (got, (octets(src), src_port), (octets(dst), dst_port))
}

fn send(router: &Router, network: NetworkId, bytes: Vec<u8>) -> Got {
    pass(router, network, bytes, false)
}

/// The handshake of a connection; answers who calls and who is called, as the called end sees them.
fn open(router: &Router, from: (NetworkId, End), to: End, called_in: NetworkId) -> (End, End) {
    let (first, src, dst) = send(router, from.0, tcp(from.1, to, SYN, 100, 0));
    assert_eq!(first, Err(Barrier::Control));
    let (second, ..) = send(router, called_in, tcp(dst, src, SYN.union(ACK), 500, 101));
    assert_eq!(second, Err(Barrier::Control));
    (src, dst)
}

#[test]
fn an_established_connection_is_repeated_both_ways_until_both_have_finished() {
    let cases = [
        (WEB, (A, 4000), (WORLD, 80), UP),
        (UP, (WORLD, 4000), (OURS, 8080), WEB),
        (WEB, (A, 4000), (C, 80), DB),
        // A hairpin to a published port is one session.
        (DB, (C, 4000), (OURS, 8080), WEB),
    ];
    for (network, caller, called, there) in cases {
        let router = plain(Some(GATEWAY));
        let (src, dst) = open(&router, (network, caller), called, there);
        let out = |flags, seq, ack| send(&router, network, tcp(caller, called, flags, seq, ack)).0;
        let back = |flags, seq, ack| send(&router, there, tcp(dst, src, flags, seq, ack)).0;
        // The third packet of the handshake is the first that makes it established.
        let there_and_back = [out(ACK, 101, 501), back(ACK, 501, 101)].map(Result::unwrap);
        assert_eq!(
            there_and_back.map(|it| it.side),
            [Side::Initiator, Side::Responder]
        );
        assert_eq!(there_and_back[0].session, there_and_back[1].session);
        assert!(
            there_and_back
                .iter()
                .all(|it| it.direction.is_some() && it.next_hop.is_none())
        );
        assert!(out(FIN, 101, 501).is_ok());
        assert!(back(ACK, 501, 102).is_ok());
        assert_eq!(back(FIN, 501, 102), Err(Barrier::Opening));
        assert_eq!(out(ACK, 102, 502), Err(Barrier::Opening));
    }
}

#[test]
fn datagrams_are_repeated_from_the_first_one_on() {
    let router = plain(Some(GATEWAY));
    let (out, src, dst) = send(&router, WEB, udp((A, 4000), (WORLD, 53)));
    let (back, ..) = send(&router, UP, udp(dst, src));
    let [out, back] = [out, back].map(Result::unwrap);
    assert_eq!((out.side, back.side), (Side::Initiator, Side::Responder));
    assert_eq!((out.session, out.direction), (back.session, None));
}

#[test]
fn what_depends_on_more_is_not_repeated() {
    let router = plain(Some(GATEWAY));
    let (a, world) = ((A, 4000), (WORLD, 53));
    let barrier = |bytes| send(&router, WEB, bytes).0.unwrap_err();
    assert_eq!(
        barrier(packet(a, world).echo_request(1, 1, &[])),
        Barrier::Protocol
    );
    let first = Fragment {
        id: 1,
        offset: 0,
        more: true,
    };
    let piece = packet(a, world).fragment(first).udp(a.1, world.1, &[7; 24]);
    assert_eq!(barrier(piece), Barrier::Protocol);
    let large = packet(a, world)
        .dont_fragment(false)
        .udp(a.1, world.1, &[7; 1600]);
    assert_eq!(barrier(large), Barrier::Rewrite);
    // To a dynamic port: out by one session, in by another.
    let (_, external, _) = send(&router, WEB, udp((B, 5000), world));
    assert_eq!(barrier(udp(a, (OURS, external.1))), Barrier::Session);
}

#[test]
fn a_next_hop_that_was_learned_is_told_and_can_be_asked_about() {
    let router = plain(None);
    let mut outbox = Outbox::default();
    let hear = |from: MacAddr, outbox: &mut Outbox| {
        let bytes =
            Link::new(from, MacAddr([2, 0, 0, 0, 0xff, 2])).arp_request(WORLD.into(), OURS.into());
        let headers = Headers::parse(&bytes).unwrap();
        let mut bytes = bytes;
        let end = bytes.len();
        let frame = Frame::new(&mut bytes, 0, end, VnetHeader::default());
        let arrival = Arrival {
            network: UP,
            from: PortId(5),
            frame: &frame,
            headers: &headers,
        };
        let routed = route(&mut Context::live(NOW, NoTrace), &router, &arrival, outbox);
        assert_eq!(routed, Ok(Routed::Taken));
    };
    hear(GATEWAY, &mut outbox);
    let got = send(&router, WEB, udp((A, 4000), (WORLD, 53))).0.unwrap();
    let hop = NextHop {
        network: UP,
        ip: WORLD.into(),
        mac: GATEWAY,
    };
    assert_eq!(got.next_hop, Some(hop));
    assert!(router.reaches(&hop, NOW, &mut outbox));
    hear(MacAddr([2, 0, 0, 0, 0, 98]), &mut outbox);
    assert!(!router.reaches(&hop, NOW, &mut outbox), "it moved");
    router.live.gateway.neighbours.flush(UP);
    assert!(!router.reaches(&hop, NOW, &mut outbox), "it is forgotten");
}

#[test]
fn what_rules_were_asked_about_is_repeated_in_its_network() {
    let router = router(Some(GATEWAY), true);
    let (a, b) = ((A, 4000), (B, 80));
    let stays =
        |from, to, flags, seq, ack| pass(&router, WEB, tcp(from, to, flags, seq, ack), true).0;
    assert_eq!(stays(a, b, SYN, 100, 0), Err(Barrier::Control));
    assert_eq!(stays(b, a, SYN.union(ACK), 500, 101), Err(Barrier::Control));
    assert_eq!(stays(a, b, ACK, 101, 501).unwrap().side, Side::Initiator);
    assert_eq!(stays(b, a, ACK, 501, 101).unwrap().side, Side::Responder);
    // One that is older than the rules passes, and nobody follows it.
    assert_eq!(stays((A, 4001), b, ACK, 1, 1), Err(Barrier::Session));
}
