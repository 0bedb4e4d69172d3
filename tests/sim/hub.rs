//! One port, many far ends, and two networks that tunnel keys tell apart: what an overlay stands on.
//!
//! ```text
//!   port 1 (blue) --+                 +-- peer 1
//!   port 2 (red) ---+-- switch -- hub +-- peer 2     blue has the tunnel key 7, red the key 9
//!                                     +-- peer 3
//! ```

use crate::rig::{Left, Rig};
use crate::scenarios;
use crate::site::{A, C, HOP, OURS, Site, UP, WEB, WORLD, bare_network, gateway, packet};
use pipeline::{
    Decision, Destination, DropReason, Instant, Location, NetworkId, PeerId, Peers, PortId, Tunnel,
    TunnelKey,
};
use port::Offloads;
use port::memory::MemoryConfig;
use switch::{Flood, Forward, Horizon, Membership, Mirror, Network, Port, TopologyError};
use wire::craft::{self, Link, TcpSegment};
use wire::{EtherType, MacAddr, VnetHeader};

const BLUE: NetworkId = NetworkId(0);
const RED: NetworkId = NetworkId(1);
const NEAR: PortId = PortId(1);
const FAR: PortId = PortId(2);
const HUB: PortId = PortId(3);
const SPAN: PortId = PortId(4);
const NOW: Instant = Instant::from_secs(5);
const ALL: MacAddr = MacAddr::BROADCAST;

const fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

const fn key(network: NetworkId) -> TunnelKey {
    TunnelKey(7 + 2 * network.0)
}

const fn through(peer: u16, network: NetworkId) -> Tunnel {
    Tunnel {
        peer: PeerId(peer),
        key: key(network),
    }
}

fn network(id: NetworkId) -> Network {
    Network {
        key: Some(key(id)),
        ..scenarios::network(id)
    }
}

fn tunnel_port(horizon: Horizon) -> Port {
    Port {
        membership: Membership::Tunnel(horizon),
        ..Port::plain(HUB, BLUE)
    }
}

/// The picture above.
fn rig(horizon: Horizon) -> Rig {
    with_ports(vec![tunnel_port(horizon)], MemoryConfig::default())
}

/// The picture above, with these ports in place of the hub's.
fn with_ports(more: Vec<Port>, hub: MemoryConfig) -> Rig {
    let mut ports = vec![Port::plain(NEAR, BLUE), Port::plain(FAR, RED)];
    ports.extend(more);
    let mut rig = Rig::of(vec![network(BLUE), network(RED)], ports);
    rig.open_hub(HUB, 3, hub);
    rig
}

fn frame(src: MacAddr, dst: MacAddr) -> Vec<u8> {
    Link::new(src, dst).raw(EtherType(0x88b5), &[0; 46])
}

/// The ports, peers and keys that a frame from a plain port reaches.
fn from_port(rig: &mut Rig, from: PortId, src: MacAddr, dst: MacAddr) -> Vec<(PortId, Tunnel)> {
    let plain = VnetHeader::default();
    reached(&rig.carry(from, &frame(src, dst), plain, NOW))
}

/// The ports, peers and keys that a frame from a peer reaches.
fn from_peer(rig: &mut Rig, tunnel: Tunnel, src: MacAddr, dst: MacAddr) -> Vec<(PortId, Tunnel)> {
    let plain = VnetHeader::default();
    reached(&rig.carry_through(HUB, tunnel, &frame(src, dst), plain, NOW))
}

fn reached(left: &[Left]) -> Vec<(PortId, Tunnel)> {
    left.iter().map(|one| (one.port, one.tunnel)).collect()
}

fn at(port: PortId) -> (PortId, Tunnel) {
    (port, Tunnel::default())
}

fn peers<const N: usize>(network: NetworkId, peers: [u16; N]) -> Vec<(PortId, Tunnel)> {
    peers.map(|peer| (HUB, through(peer, network))).into()
}

#[test]
fn an_address_is_found_behind_the_peer_it_was_heard_from_last() {
    let mut rig = rig(Horizon::Split);
    assert_eq!(
        from_peer(&mut rig, through(2, BLUE), mac(9), ALL),
        [at(NEAR)]
    );
    let sent = from_port(&mut rig, NEAR, mac(1), mac(9));
    assert_eq!(sent, peers(BLUE, [2]));

    // It moves within the port, and the explanation says so.
    let plain = VnetHeader::default();
    let asked = rig.explain_through(HUB, through(3, BLUE), &frame(mac(9), mac(1)), plain, NOW);
    let place = |peer| Location {
        port: HUB,
        peer: PeerId(peer),
    };
    let moved = Decision::SourceMoved {
        mac: mac(9),
        from: place(2),
        to: place(3),
    };
    let came = Decision::FromTunnel {
        from: place(3),
        key: key(BLUE).0,
    };
    assert!(asked.steps.contains(&moved) && asked.steps.contains(&came));
    assert_eq!(asked.verdict.map(drop), Ok(()));
    let sent = from_peer(&mut rig, through(3, BLUE), mac(9), mac(1));
    assert_eq!(sent, [at(NEAR)]);
    let sent = from_port(&mut rig, NEAR, mac(1), mac(9));
    assert_eq!(sent, peers(BLUE, [3]));
    assert_eq!(rig.dropped_in_all(), 0);
}

#[test]
fn a_key_says_in_which_network_a_frame_is() {
    let mut rig = rig(Horizon::Split);
    // One address in both networks, behind different peers.
    assert_eq!(
        from_peer(&mut rig, through(1, BLUE), mac(9), ALL),
        [at(NEAR)]
    );
    assert_eq!(from_peer(&mut rig, through(2, RED), mac(9), ALL), [at(FAR)]);
    let blue = from_port(&mut rig, NEAR, mac(1), mac(9));
    let red = from_port(&mut rig, FAR, mac(1), mac(9));
    assert_eq!((blue, red), (peers(BLUE, [1]), peers(RED, [2])));
    let unknown = Tunnel {
        peer: PeerId(1),
        key: TunnelKey(8),
    };
    assert_eq!(from_peer(&mut rig, unknown, mac(9), ALL), []);
    assert_eq!(rig.dropped(DropReason::UnknownTunnelKey), 1);
    assert_eq!(rig.dropped_in_all(), 1);
}

#[test]
fn two_networks_with_one_key_make_no_topology() {
    let red = Network {
        key: Some(key(BLUE)),
        ..network(RED)
    };
    let topology = switch::Topology::new(vec![network(BLUE), red], Vec::new());
    let twice = TopologyError::DuplicateKey(BLUE, RED, key(BLUE));
    assert_eq!(topology.map(drop), Err(twice));
}

#[test]
fn a_network_without_a_key_stays_out_of_the_tunnels() {
    let red = Network {
        key: None,
        ..network(RED)
    };
    let ports = vec![
        Port::plain(NEAR, BLUE),
        Port::plain(FAR, RED),
        tunnel_port(Horizon::Split),
    ];
    let mut rig = Rig::of(vec![network(BLUE), red], ports);
    rig.open_hub(HUB, 3, MemoryConfig::default());
    assert_eq!(from_port(&mut rig, FAR, mac(2), ALL), []);
    assert_eq!(rig.dropped(DropReason::NoReceiver), 1);
    let sent = from_port(&mut rig, NEAR, mac(1), ALL);
    assert_eq!(sent, peers(BLUE, [1, 2, 3]));
}

#[test]
fn behind_a_split_horizon_peers_reach_each_other_without_us() {
    let mut rig = rig(Horizon::Split);
    assert_eq!(
        from_peer(&mut rig, through(1, BLUE), mac(1), ALL),
        [at(NEAR)]
    );
    assert_eq!(from_peer(&mut rig, through(2, BLUE), mac(2), mac(1)), []);
    assert_eq!(rig.dropped(DropReason::SamePort), 1);
    assert_eq!(rig.dropped_in_all(), 1);
}

#[test]
fn a_hub_that_reflects_never_sends_back_to_the_sender() {
    let mut rig = rig(Horizon::Reflect);
    let flooded = from_peer(&mut rig, through(1, BLUE), mac(1), ALL);
    assert_eq!(flooded, [vec![at(NEAR)], peers(BLUE, [2, 3])].concat());
    let sent = from_peer(&mut rig, through(2, BLUE), mac(2), mac(1));
    assert_eq!(sent, peers(BLUE, [1]));
    assert_eq!(rig.dropped_in_all(), 0);
    // To a station that is behind the very peer that asks for it.
    assert_eq!(from_peer(&mut rig, through(1, BLUE), mac(3), mac(1)), []);
    assert_eq!(rig.dropped(DropReason::SamePort), 1);
    // Protected ports exchange nothing, and so do the far ends of one.
    let isolated = Port {
        isolated: true,
        ..tunnel_port(Horizon::Reflect)
    };
    let mut rig = with_ports(vec![isolated], MemoryConfig::default());
    assert_eq!(
        from_peer(&mut rig, through(1, BLUE), mac(1), ALL),
        [at(NEAR)]
    );
    assert_eq!(from_peer(&mut rig, through(2, BLUE), mac(2), mac(1)), []);
    assert_eq!(rig.dropped(DropReason::Isolated), 1);
}

#[test]
fn a_flood_is_one_transmit_that_the_port_copies() {
    let mut rig = rig(Horizon::Split);
    let plain = VnetHeader::default();
    let asked = rig.explain(NEAR, &frame(mac(1), ALL), plain, NOW);
    let [only] = asked.outputs.as_slice() else {
        panic!("{asked:?}")
    };
    let all = Destination {
        peers: Peers::All,
        key: key(BLUE),
    };
    assert_eq!((only.port, only.to), (HUB, all));
    let told = Decision::ToAllPeers { key: key(BLUE).0 };
    assert!(asked.steps.contains(&told));
    let sent = from_port(&mut rig, NEAR, mac(1), ALL);
    assert_eq!(sent, peers(BLUE, [1, 2, 3]));
    let sent: u64 = rig.totals(HUB).iter().map(|one| one.tx_frames).sum();
    assert_eq!(sent, 1);
}

#[test]
fn mirrors_copy_what_a_hub_hears_and_says_and_may_be_behind_a_hub() {
    let mirror = |to| {
        Some(Mirror {
            to,
            ingress: true,
            egress: true,
        })
    };
    let watched = Port {
        mirror: mirror(SPAN),
        ..tunnel_port(Horizon::Split)
    };
    let span = Port::plain(SPAN, BLUE);
    let mut rig = with_ports(vec![watched, span], MemoryConfig::default());
    let heard = from_peer(&mut rig, through(2, BLUE), mac(9), ALL);
    assert_eq!(heard, [at(NEAR), at(SPAN)]);
    let said = from_port(&mut rig, NEAR, mac(1), ALL);
    assert_eq!(said, [peers(BLUE, [1, 2, 3]), vec![at(SPAN)]].concat());

    let mut watched = with_ports(vec![tunnel_port(Horizon::Split)], MemoryConfig::default());
    let ports = vec![
        Port {
            mirror: mirror(HUB),
            ..Port::plain(NEAR, BLUE)
        },
        tunnel_port(Horizon::Split),
    ];
    watched.publish(vec![network(BLUE), network(RED)], ports);
    let copies = from_port(&mut watched, NEAR, mac(1), ALL);
    assert_eq!(copies, peers(BLUE, [1, 2, 3]));
    assert_eq!(from_peer(&mut watched, through(1, BLUE), mac(9), ALL), []);
    assert_eq!(watched.dropped(DropReason::MirrorIngress), 1);
}

#[test]
fn a_superframe_is_cut_for_a_hub_and_every_piece_goes_to_its_peers() {
    let hub = MemoryConfig {
        offloads: Offloads::NONE,
        ..MemoryConfig::default()
    };
    let mut rig = with_ports(vec![tunnel_port(Horizon::Reflect)], hub);
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let superframe = |to| {
        let segment = TcpSegment {
            payload: &[5; 3000],
            ..TcpSegment::default()
        };
        let mut bytes = Link::new(mac(1), to).ipv4(src, dst).tcp(segment);
        let vnet = craft::superframe(&mut bytes, 1000).unwrap();
        (bytes, vnet)
    };
    let (bytes, vnet) = superframe(mac(9));
    let flooded = rig.carry(NEAR, &bytes, vnet, NOW);
    assert_eq!(
        reached(&flooded),
        peers(BLUE, [1, 1, 1, 2, 2, 2, 3, 3, 3]),
        "unknown: to all"
    );
    // From a peer, and cut for the others: the pieces keep away from the sender, too.
    let flooded = rig.carry_through(HUB, through(2, BLUE), &bytes, vnet, NOW);
    let (near, hub): (Vec<_>, Vec<_>) = flooded.into_iter().partition(|one| one.port == NEAR);
    assert_eq!(near[0].bytes, bytes, "whole for a port that takes it");
    assert_eq!(reached(&hub), peers(BLUE, [1, 1, 1, 3, 3, 3]));
    assert_eq!(
        from_peer(&mut rig, through(3, BLUE), mac(9), mac(7)).len(),
        3
    );
    let sent = rig.carry(NEAR, &bytes, vnet, NOW);
    assert_eq!(reached(&sent), peers(BLUE, [3, 3, 3]));
}

/// The site of the router's tests, with the hub in place of A's wire: A is behind peer 2.
fn routed() -> Rig {
    let ports = vec![
        tunnel_port(Horizon::Split),
        Port::plain(C.port, WEB),
        Port::plain(HOP.port, UP),
    ];
    let web = Network {
        key: Some(key(WEB)),
        ..bare_network(WEB)
    };
    let mut rig = Rig::of(vec![web, bare_network(UP)], ports);
    rig.open_hub(HUB, 3, MemoryConfig::default());
    // Nobody knows where the next hop is.
    let site = Site::new().interface(UP, |up| up.neighbours.clear());
    rig.route(site.router());
    let _ = rig.poll(NOW);
    rig
}

#[test]
fn the_router_answers_the_peer_that_asks() {
    let mut rig = routed();
    let ask = Link::new(A.mac, ALL).arp_request(A.v4, [10, 1, 0, 1].into());
    let left = rig.carry_through(HUB, through(2, WEB), &ask, VnetHeader::default(), NOW);
    let answer: Vec<_> = left.iter().filter(|one| one.port == HUB).collect();
    let [answer] = answer.as_slice() else {
        panic!("{left:?}")
    };
    assert_eq!(answer.tunnel, through(2, WEB));
    assert_eq!(answer.bytes[..6], A.mac.0);
    assert_eq!(answer.bytes[6..12], gateway(WEB).0);
}

#[test]
fn a_packet_that_was_held_goes_on_as_from_its_peer_and_its_answer_comes_back_there() {
    let mut rig = routed();
    let plain = VnetHeader::default();
    let datagram = packet(A, A.v4.into(), WORLD.into()).udp(5000, 53, b"?");
    let asked = rig.carry_through(HUB, through(2, WEB), &datagram, plain, NOW);
    assert!(asked.iter().all(|one| one.port == HOP.port), "{asked:?}");
    let known = Link::new(HOP.mac, gateway(UP)).arp_reply(HOP.v4, OURS);
    let resumed = rig.carry(HOP.port, &known, plain, NOW);
    let [resumed] = resumed.as_slice() else {
        panic!("{resumed:?}")
    };
    assert_eq!(resumed.port, HOP.port);
    let headers = wire::Headers::parse(&resumed.bytes).unwrap();
    let wire::Transport::Udp(udp) = headers.transport else {
        panic!("{headers:?}")
    };
    let answer = Link::new(HOP.mac, gateway(UP))
        .ipv4(WORLD, OURS)
        .udp(53, udp.src_port, b"!");
    let back = rig.carry(HOP.port, &answer, plain, NOW);
    assert_eq!(reached(&back), peers(WEB, [2]));
}

#[test]
fn a_question_about_an_unknown_address_behind_a_hub_says_where_it_floods() {
    let rig = rig(Horizon::Reflect);
    let plain = VnetHeader::default();
    let asked = rig.explain_through(HUB, through(1, BLUE), &frame(mac(1), mac(2)), plain, NOW);
    let flooded = dataplane::Outcome::Switched(Forward::Flood(Flood::Unknown));
    assert_eq!(asked.verdict, Ok(flooded));
    let others = Decision::ToOtherPeers {
        peer: 1,
        key: key(BLUE).0,
    };
    assert!(asked.steps.contains(&others));
}
