//! Decisions of each stage, as tables to be read.

#![cfg(test)]

use clearway_switch as switch;
use pipeline::{Context, DropReason, Instant, Meter, NetworkId, NoTrace, PeerId, PortId, Tunnel};
use std::net::Ipv6Addr;
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{
    Admitted, Effects, Flood, Form, Forward, Gateway, Ingress, Lock, Mirror, Network, Outputs,
    Port, Storm, Topology, TopologyError, VlanMode, vlan as vlans,
};
use wire::craft::Link;
use wire::{EtherType, Headers, IpProtocol, MacAddr, VlanId, VlanTag};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const GROUP: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const LLDP: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
const NET: NetworkId = NetworkId(0);
const NOW: Instant = Instant::from_secs(1);

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

fn ctag(tci: u16) -> VlanTag {
    VlanTag {
        tpid: VlanTag::CTAG,
        tci,
    }
}

fn stag(tci: u16) -> VlanTag {
    VlanTag {
        tpid: VlanTag::STAG,
        tci,
    }
}

fn trunk(allowed: &[u16], native: Option<(u16, bool)>) -> VlanMode {
    VlanMode::Trunk {
        allowed: allowed
            .iter()
            .map(|&id| vlan(id))
            .collect::<Vec<_>>()
            .into(),
        native: native.map(|(vid, _)| vlan(vid)),
        native_tagged: native.is_some_and(|(_, tagged)| tagged),
    }
}

/// A network without a gateway.
fn network() -> Network {
    Network {
        id: NET,
        mtu: 1500,
        forward_reserved: false,
        fdb: Arc::new(Fdb::new(FdbConfig::default(), 1)),
        key: None,
        gateway: None,
    }
}

/// The context of a frame that is really there.
fn live() -> Context<NoTrace> {
    Context::live(NOW, NoTrace)
}

/// Returns whether `network` takes `frame` from `port`.
fn admit(network: &Network, port: &Port, frame: &[u8]) -> Result<(), DropReason> {
    let headers = Headers::parse(frame).unwrap();
    switch::admit(
        &mut live(),
        Ingress {
            port,
            network,
            peer: PeerId::NONE,
        },
        &headers,
    )
    .map(drop)
}

/// The headers of a frame with these tags.
fn with_tags(tags: &[VlanTag]) -> Headers {
    let link = tags
        .iter()
        .fold(Link::new(OWN, OTHER), |link, &tag| link.tag(tag));
    Headers::parse(&link.raw(EtherType(0x88b5), &[0; 46])).unwrap()
}

#[test]
fn which_vlan_a_frame_is_in() {
    use DropReason::{VlanNotAllowed, VlanTaggedRefused, VlanUntaggedRefused};
    let access = VlanMode::Access { vid: vlan(5) };
    let tunnel = VlanMode::Dot1qTunnel { vid: vlan(7) };
    // PCP 5 and DEI ride along with VLAN 6.
    let urgent = ctag(0xb006);
    let table: &[(&VlanMode, &[VlanTag], Result<u16, DropReason>)] = &[
        (&access, &[], Ok(5)),
        (&access, &[ctag(0x6000)], Ok(5)),
        (&access, &[ctag(5)], Err(VlanTaggedRefused)),
        (&access, &[ctag(6)], Err(VlanTaggedRefused)),
        (&access, &[stag(6), ctag(1)], Err(VlanTaggedRefused)),
        (&tunnel, &[], Ok(7)),
        (&tunnel, &[ctag(6)], Ok(7)),
        (&tunnel, &[stag(4095), ctag(0)], Ok(7)),
        (&trunk(&[6], None), &[urgent], Ok(6)),
        (&trunk(&[6], None), &[stag(6), ctag(9)], Ok(6)),
        (&trunk(&[6], None), &[ctag(7)], Err(VlanNotAllowed)),
        (&trunk(&[6], None), &[ctag(4095)], Err(VlanNotAllowed)),
        (&trunk(&[6], None), &[], Err(VlanUntaggedRefused)),
        (&trunk(&[6], None), &[ctag(0)], Err(VlanUntaggedRefused)),
        (&trunk(&[6], Some((8, false))), &[], Ok(8)),
        (&trunk(&[6], Some((8, false))), &[ctag(0)], Ok(8)),
        (&trunk(&[6], Some((8, false))), &[ctag(8)], Ok(8)),
        (&trunk(&[6], Some((8, true))), &[], Ok(8)),
        (&trunk(&[2], None), &[ctag(1)], Err(VlanNotAllowed)),
    ];
    for (mode, tags, expected) in table {
        let found = vlans::classify(mode, &with_tags(tags)).map(|admitted| admitted.vlan.get());
        assert_eq!(found, *expected, "{mode:?} {tags:?}");
    }
}

#[test]
fn how_a_frame_leaves() {
    let plain = Admitted {
        vlan: vlan(6),
        tag: None,
        tpid: VlanTag::CTAG,
    };
    let urgent = Admitted {
        tag: Some(ctag(0xb006)),
        ..plain
    };
    let priority = Admitted {
        tag: Some(ctag(0xe000)),
        ..plain
    };
    let cargo = Admitted {
        tpid: VlanTag::STAG,
        ..plain
    };
    let (untagged, tagged) = (Some(Form::Untagged), |tag| Some(Form::Tagged(tag)));
    let table = [
        (VlanMode::Access { vid: vlan(6) }, plain, untagged),
        (VlanMode::Access { vid: vlan(6) }, urgent, untagged),
        (VlanMode::Access { vid: vlan(7) }, plain, None),
        (VlanMode::Dot1qTunnel { vid: vlan(6) }, cargo, untagged),
        (VlanMode::Dot1qTunnel { vid: vlan(7) }, cargo, None),
        (trunk(&[6], None), plain, tagged(ctag(6))),
        (trunk(&[6], None), urgent, tagged(ctag(0xb006))),
        (trunk(&[6], None), priority, tagged(ctag(0xe006))),
        (trunk(&[6], None), cargo, tagged(stag(6))),
        (trunk(&[7], None), plain, None),
        (trunk(&[9], Some((6, false))), urgent, untagged),
        (trunk(&[6], Some((6, false))), urgent, untagged),
        (trunk(&[9], Some((6, true))), plain, tagged(ctag(6))),
        (trunk(&[6], Some((8, false))), plain, tagged(ctag(6))),
    ];
    for (mode, admitted, expected) in table {
        assert_eq!(
            vlans::form(&mode, &admitted),
            expected,
            "{mode:?} {admitted:?}"
        );
    }
}

/// Frames that a port locked to `OWN`, 10.0.0.1 and fd00::1 may send.
#[test]
fn what_a_locked_port_may_say() {
    use DropReason::{
        SourceInvalid, SpoofedArp, SpoofedIp, SpoofedMac, SpoofedRouter, Unverifiable,
    };
    let own4 = [10, 0, 0, 1].into();
    let other4 = [10, 0, 0, 2].into();
    let none4 = [0, 0, 0, 0].into();
    let [own6, other6, local, none6]: [Ipv6Addr; 4] =
        ["fd00::1", "fd00::2", "fe80::9", "::"].map(|ip| ip.parse().unwrap());
    let link = || Link::new(OWN, OTHER);
    let v6 = |src| link().ipv6(src, other6);
    let hidden = (0..9).fold(v6(own6), |packet, _| {
        packet.extension(IpProtocol::DESTINATION, &[0; 7])
    });
    let three = link().tag(ctag(0)).tag(ctag(1)).tag(ctag(1));
    let mut foreign_arp = link().arp_reply(own4, other4);
    foreign_arp[22..28].copy_from_slice(&OTHER.0);
    let table: &[(&str, Vec<u8>, Result<(), DropReason>)] = &[
        ("own IPv4", link().ipv4(own4, other4).udp(1, 2, b""), Ok(())),
        (
            "another's MAC",
            Link::new(OTHER, OWN).ipv4(own4, other4).udp(1, 2, b""),
            Err(SpoofedMac),
        ),
        (
            "a group as source",
            Link::new(GROUP, OWN).ipv4(own4, other4).udp(1, 2, b""),
            Err(SourceInvalid),
        ),
        (
            "nobody as source",
            Link::new(MacAddr::ZERO, OWN)
                .ipv4(own4, other4)
                .udp(1, 2, b""),
            Err(SourceInvalid),
        ),
        (
            "another's IPv4",
            link().ipv4(other4, own4).udp(1, 2, b""),
            Err(SpoofedIp),
        ),
        (
            "a DHCP request",
            link().ipv4(none4, other4).udp(68, 67, b""),
            Ok(()),
        ),
        (
            "a DHCP answer without address",
            link().ipv4(none4, other4).udp(67, 68, b""),
            Err(SpoofedIp),
        ),
        (
            "anything else without address",
            link().ipv4(none4, other4).udp(68, 53, b""),
            Err(SpoofedIp),
        ),
        ("own ARP answer", link().arp_reply(own4, other4), Ok(())),
        ("an ARP question", link().arp_request(own4, other4), Ok(())),
        ("an ARP probe", link().arp_request(none4, other4), Ok(())),
        (
            "another's IPv4 in ARP",
            link().arp_reply(other4, own4),
            Err(SpoofedArp),
        ),
        ("another's MAC in ARP", foreign_arp, Err(SpoofedArp)),
        ("own IPv6", v6(own6).udp(1, 2, b""), Ok(())),
        ("own link-local IPv6", v6(local).udp(1, 2, b""), Ok(())),
        ("another's IPv6", v6(other6).udp(1, 2, b""), Err(SpoofedIp)),
        ("no address, UDP", v6(none6).udp(1, 2, b""), Err(SpoofedIp)),
        (
            "no address, duplicate detection",
            link().neighbour_solicit(none6, other6, own6),
            Ok(()),
        ),
        (
            "a question about another",
            link().neighbour_solicit(own6, other6, other6),
            Ok(()),
        ),
        (
            "own advertisement",
            link().neighbour_advert(own6, other6, own6),
            Ok(()),
        ),
        (
            "own link-local advertisement",
            link().neighbour_advert(local, other6, local),
            Ok(()),
        ),
        (
            "another's advertisement",
            link().neighbour_advert(own6, other6, other6),
            Err(SpoofedArp),
        ),
        (
            "a router's",
            link().router_advert(local, other6),
            Err(SpoofedRouter),
        ),
        (
            "a redirect",
            v6(local).raw(IpProtocol::ICMPV6, &[[137].as_slice(), &[0; 39]].concat()),
            Err(SpoofedRouter),
        ),
        (
            "something behind too many headers",
            hidden.raw(IpProtocol::ICMPV6, &[134; 16]),
            Err(Unverifiable),
        ),
        (
            "half a neighbour message",
            v6(own6).raw(IpProtocol::ICMPV6, &[136, 0, 0, 0, 0, 0, 0, 0]),
            Err(Unverifiable),
        ),
        (
            "half an IPv4 header",
            link().raw(EtherType::IPV4, &[0x45; 10]),
            Err(Unverifiable),
        ),
        (
            "half an ARP",
            link().raw(EtherType::ARP, &[0; 10]),
            Err(Unverifiable),
        ),
        (
            "IPv4 behind three tags",
            three.ipv4(other4, own4).udp(1, 2, b""),
            Err(Unverifiable),
        ),
        (
            "another's IPv4 behind a priority tag",
            link().tag(ctag(0)).ipv4(other4, own4).udp(1, 2, b""),
            Err(SpoofedIp),
        ),
        (
            "another protocol",
            link().raw(EtherType(0x88b5), &[0; 46]),
            Ok(()),
        ),
    ];
    let lock = Lock {
        mac: OWN,
        ipv4: vec![own4],
        ipv6: vec![own6],
    };
    let port = Port {
        lock: Some(lock),
        ..Port::plain(PortId(0), NET)
    };
    for (what, frame, expected) in table {
        assert_eq!(admit(&network(), &port, frame), *expected, "{what}");
    }
}

/// The host finds its IP addresses itself, but gives nobody else's MAC away and plays no router.
#[test]
fn a_lock_without_ip_addresses_binds_the_mac_alone() {
    use DropReason::{SpoofedArp, SpoofedMac, SpoofedRouter, Unverifiable};
    let (any4, other4) = ([10, 0, 0, 7].into(), [10, 0, 0, 2].into());
    let [any6, other6, local]: [Ipv6Addr; 3] =
        ["fd00::7", "fd00::2", "fe80::9"].map(|ip| ip.parse().unwrap());
    let link = || Link::new(OWN, GROUP);
    let mut foreign_arp = link().arp_reply(any4, other4);
    foreign_arp[22..28].copy_from_slice(&OTHER.0);
    let redirect = [[137].as_slice(), &[0; 39]].concat();
    let three = link().tag(ctag(0)).tag(ctag(1)).tag(ctag(1));
    let table: &[(&str, Vec<u8>, Result<(), DropReason>)] = &[
        ("any IPv4", link().ipv4(any4, other4).udp(1, 2, b""), Ok(())),
        (
            "another's MAC",
            Link::new(OTHER, GROUP).ipv4(any4, other4).udp(1, 2, b""),
            Err(SpoofedMac),
        ),
        ("any IPv4 in ARP", link().arp_request(any4, other4), Ok(())),
        ("another's MAC in ARP", foreign_arp, Err(SpoofedArp)),
        ("any IPv6", link().ipv6(any6, other6).udp(1, 2, b""), Ok(())),
        (
            "any advertisement",
            link().neighbour_advert(any6, other6, any6),
            Ok(()),
        ),
        (
            "a router's advertisement",
            link().router_advert(local, other6),
            Err(SpoofedRouter),
        ),
        (
            "a redirect",
            link()
                .ipv6(local, other6)
                .raw(IpProtocol::ICMPV6, &redirect),
            Err(SpoofedRouter),
        ),
        (
            "half an ARP",
            link().raw(EtherType::ARP, &[0; 10]),
            Err(Unverifiable),
        ),
        (
            "IPv4 behind three tags",
            three.ipv4(any4, other4).udp(1, 2, b""),
            Err(Unverifiable),
        ),
        (
            "another protocol",
            link().raw(EtherType(0x88b5), &[0; 46]),
            Ok(()),
        ),
    ];
    let lock = Lock {
        mac: OWN,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
    };
    let port = Port {
        lock: Some(lock),
        ..Port::plain(PortId(0), NET)
    };
    for (what, frame, expected) in table {
        assert_eq!(admit(&network(), &port, frame), *expected, "{what}");
    }
}

/// Whoever had the gateway's MAC would get what everybody sends to the world.
#[test]
fn nobody_sends_with_the_gateways_mac() {
    let gateway = Gateway {
        mac: ROUTER,
        vlan: vlan(9),
    };
    let with = Network {
        gateway: Some(gateway),
        ..network()
    };
    let port = Port::plain(PortId(0), NET);
    let from = |mac| Link::new(mac, OTHER).raw(EtherType(0x88b5), &[0; 46]);
    // In no VLAN, its own or another.
    assert_eq!(
        admit(&with, &port, &from(ROUTER)),
        Err(DropReason::SpoofedGateway)
    );
    assert_eq!(admit(&with, &port, &from(OWN)), Ok(()));
    assert_eq!(admit(&network(), &port, &from(ROUTER)), Ok(()));
    // Not even a port that is locked to it.
    let lock = Lock {
        mac: ROUTER,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
    };
    let locked = Port {
        lock: Some(lock),
        ..port
    };
    assert_eq!(
        admit(&with, &locked, &from(ROUTER)),
        Err(DropReason::SpoofedGateway)
    );
}

/// Ports 0 to 5: two plain, two protected, one trunk of VLAN 9, one that is down. `OWN` is behind
/// port 0.
struct Six {
    ports: Vec<Port>,
    network: Network,
}

impl Six {
    fn new() -> Self {
        let mut ports: Vec<_> = (0..6).map(|id| Port::plain(PortId(id), NET)).collect();
        (ports[2].isolated, ports[3].isolated) = (true, true);
        ports[4].vlan = trunk(&[9], None);
        ports[5].up = false;
        Self {
            ports,
            network: network(),
        }
    }

    fn topology(&self) -> Topology {
        Topology::new(vec![self.network.clone()], self.ports.clone()).unwrap()
    }

    /// Returns where a frame from port `from` to `dst` goes.
    fn forward(&self, from: usize, dst: MacAddr) -> Result<Forward, DropReason> {
        self.forward_in(VlanId::DEFAULT, from, dst)
    }

    fn forward_in(&self, vlan: VlanId, from: usize, dst: MacAddr) -> Result<Forward, DropReason> {
        let ingress = Ingress {
            port: &self.ports[from],
            network: &self.network,
            peer: PeerId::NONE,
        };
        switch::forward(&mut live(), ingress, vlan, OWN, dst)
    }

    /// By which ports a frame from port `from` leaves, when it is to go to `forward`.
    fn egress(
        &self,
        from: usize,
        forward: Forward,
        packet_len: usize,
    ) -> Result<Vec<u16>, DropReason> {
        let ingress = Ingress {
            port: &self.ports[from],
            network: &self.network,
            peer: PeerId::NONE,
        };
        leaves(&self.topology(), ingress, forward, packet_len)
    }
}

/// By which ports an untagged frame of the default VLAN leaves.
fn leaves(
    topology: &Topology,
    ingress: Ingress<'_>,
    forward: Forward,
    packet_len: usize,
) -> Result<Vec<u16>, DropReason> {
    let admitted = Admitted {
        vlan: VlanId::DEFAULT,
        tag: None,
        tpid: VlanTag::CTAG,
    };
    let mut out = Outputs::default();
    switch::egress(
        &mut live(),
        topology,
        ingress,
        &admitted,
        forward,
        packet_len,
        &mut out,
    )?;
    Ok(out.transmits.iter().map(|copy| copy.port.0).collect())
}

#[test]
fn where_a_frame_goes() {
    use DropReason::{ReservedAddress, SamePort};
    let mut six = Six::new();
    let _ = six
        .network
        .fdb
        .learn(VlanId::DEFAULT, OTHER, PortId(1).into(), NOW);
    assert_eq!(
        six.forward(0, OTHER),
        Ok(Forward::Unicast(PortId(1).into()))
    );
    assert_eq!(six.forward(1, OTHER), Err(SamePort));
    assert_eq!(
        six.forward(0, OWN),
        Err(SamePort),
        "its own source, even where the table does not know it"
    );
    assert_eq!(
        six.forward(0, MacAddr([4; 6])),
        Ok(Forward::Flood(Flood::Unknown))
    );
    assert_eq!(
        six.forward(0, MacAddr::BROADCAST),
        Ok(Forward::Flood(Flood::Broadcast))
    );
    assert_eq!(six.forward(0, GROUP), Ok(Forward::Flood(Flood::Multicast)));
    assert_eq!(six.forward(0, LLDP), Err(ReservedAddress));
    six.network.forward_reserved = true;
    assert_eq!(six.forward(0, LLDP), Ok(Forward::Flood(Flood::Multicast)));
}

#[test]
fn each_kind_of_flood_has_its_own_limit() {
    let mut six = Six::new();
    let meter = |burst| Some(Arc::new(Meter::new(1, burst)));
    six.ports[0].storm = Storm {
        broadcast: meter(1),
        multicast: meter(2),
        unknown: meter(3),
    };
    let kinds = [
        (MacAddr::BROADCAST, 1, DropReason::StormBroadcast),
        (GROUP, 2, DropReason::StormMulticast),
        (MacAddr([4; 6]), 3, DropReason::StormUnknown),
    ];
    for (dst, burst, reason) in kinds {
        for _ in 0..burst {
            assert!(six.forward(0, dst).is_ok());
        }
        assert_eq!(six.forward(0, dst), Err(reason));
    }
    // Another port's limits are its own, and a known address is no flood.
    assert!(six.forward(1, MacAddr::BROADCAST).is_ok());
    let _ = six
        .network
        .fdb
        .learn(VlanId::DEFAULT, OTHER, PortId(1).into(), NOW);
    assert!(six.forward(0, OTHER).is_ok());
}

#[test]
fn by_which_ports_it_leaves() {
    use DropReason::{EgressDown, EgressVlan, Isolated, MtuExceeded, TxGone};
    let six = Six::new();
    let unicast = |from, to| six.egress(from, Forward::Unicast(PortId(to).into()), 1500);
    assert_eq!(unicast(0, 1), Ok(vec![1]));
    assert_eq!(unicast(2, 1), Ok(vec![1]));
    assert_eq!(unicast(2, 3), Err(Isolated));
    assert_eq!(unicast(0, 4), Err(EgressVlan));
    assert_eq!(unicast(0, 5), Err(EgressDown));
    assert_eq!(unicast(0, 77), Err(TxGone));
    let flood = |from, len| six.egress(from, Forward::Flood(Flood::Broadcast), len);
    assert_eq!(flood(0, 1500), Ok(vec![1, 2, 3]));
    assert_eq!(flood(2, 1500), Ok(vec![0, 1]));
    assert_eq!(flood(0, 1501), Err(MtuExceeded));
}

#[test]
fn a_frame_to_the_gateway_leaves_layer_2_in_the_gateways_vlan_alone() {
    use DropReason::{MtuExceeded, SamePort};
    let mut six = Six::new();
    six.network.gateway = Some(Gateway {
        mac: ROUTER,
        vlan: vlan(9),
    });
    let unknown = Ok(Forward::Flood(Flood::Unknown));
    assert_eq!(six.forward_in(vlan(9), 4, ROUTER), Ok(Forward::Gateway));
    assert_eq!(six.forward_in(vlan(9), 4, MacAddr([4; 6])), unknown);
    assert_eq!(six.forward(0, ROUTER), unknown, "it is not in VLAN 1");
    // An entry of the table takes no frame of the gateway's away, not even a static one.
    let fdb = &six.network.fdb;
    for vid in [1, 9] {
        fdb.add_static(vlan(vid), ROUTER, PortId(1).into()).unwrap();
    }
    assert_eq!(six.forward_in(vlan(9), 4, ROUTER), Ok(Forward::Gateway));
    assert_eq!(
        six.forward(0, ROUTER),
        Ok(Forward::Unicast(PortId(1).into()))
    );
    assert_eq!(six.forward(1, ROUTER), Err(SamePort));
    // Nothing of it is left to be sent, and it is no larger than others may be.
    assert_eq!(six.egress(0, Forward::Gateway, 1500), Ok(Vec::new()));
    assert_eq!(six.egress(0, Forward::Gateway, 1501), Err(MtuExceeded));
}

#[test]
fn a_frame_from_the_gateway_reaches_every_port_that_is_up_and_in_its_vlan() {
    use DropReason::{EgressDown, EgressVlan, MtuExceeded};
    let mut six = Six::new();
    assert!(six.topology().gateway(NET).is_none());
    let gateway = Gateway {
        mac: ROUTER,
        vlan: VlanId::DEFAULT,
    };
    six.network.gateway = Some(gateway);
    let topology = six.topology();
    assert!(topology.gateway(NetworkId(7)).is_none());
    let (ingress, found) = topology.gateway(NET).unwrap();
    assert_eq!((found, ingress.port.id), (gateway, PortId::GATEWAY));
    // 2 and 3 are protected ports: from each other, not from the gateway.
    let unicast = |to| {
        leaves(
            &topology,
            ingress,
            Forward::Unicast(PortId(to).into()),
            1500,
        )
    };
    for to in 0..=3 {
        assert_eq!(unicast(to), Ok(vec![to]));
    }
    assert_eq!(unicast(4), Err(EgressVlan));
    assert_eq!(unicast(5), Err(EgressDown));
    let flood = |len| leaves(&topology, ingress, Forward::Flood(Flood::Broadcast), len);
    assert_eq!(flood(1500), Ok(vec![0, 1, 2, 3]));
    assert_eq!(flood(1501), Err(MtuExceeded));
    assert!(topology.port(PortId::GATEWAY).is_none(), "it is no port");
    assert!(
        topology
            .members(NET)
            .iter()
            .all(|&id| id != PortId::GATEWAY)
    );
}

#[test]
fn a_mirror_gets_copies_and_nothing_else() {
    let mut six = Six::new();
    six.ports[1].mirror = Some(Mirror {
        to: PortId(0),
        ingress: true,
        egress: true,
    });
    let flood = Forward::Flood(Flood::Broadcast);
    assert_eq!(
        six.egress(2, flood, 60),
        Ok(vec![1, 0]),
        "port 0 hears a copy of what port 1 hears"
    );
    assert_eq!(
        six.egress(3, Forward::Unicast(PortId(1).into()), 60),
        Ok(vec![1, 0])
    );
    assert_eq!(
        six.egress(3, Forward::Unicast(PortId(0).into()), 60),
        Err(DropReason::TxGone)
    );
    assert_eq!(
        six.topology().ingress(PortId(0), Tunnel::default()).err(),
        Some(DropReason::MirrorIngress)
    );
    six.ports[0].up = false;
    assert_eq!(
        six.egress(2, flood, 60),
        Ok(vec![1]),
        "a mirror that is down gets no copy"
    );
}

#[test]
fn a_question_leaves_no_trace_and_gets_the_live_answer() {
    let mut six = Six::new();
    let meter = Arc::new(Meter::new(1, 1));
    six.ports[0].storm.unknown = Some(Arc::clone(&meter));
    let ingress = Ingress {
        port: &six.ports[0],
        network: &six.network,
        peer: PeerId::NONE,
    };
    let ask = |effects| {
        let mut context = Context { effects, ..live() };
        let learned = switch::learn(&mut context, ingress, VlanId::DEFAULT, OWN).map(drop);
        let forward = switch::forward(&mut context, ingress, VlanId::DEFAULT, OWN, OTHER);
        (learned, forward)
    };
    let before = (six.network.fdb.entries(NOW), format!("{meter:?}"));
    for _ in 0..3 {
        assert_eq!(
            ask(Effects::None),
            (Ok(()), Ok(Forward::Flood(Flood::Unknown)))
        );
    }
    assert_eq!((six.network.fdb.entries(NOW), format!("{meter:?}")), before);
    assert_eq!(
        ask(Effects::Live),
        (Ok(()), Ok(Forward::Flood(Flood::Unknown)))
    );
    assert_eq!(six.network.fdb.len(), 1);
    assert_eq!(ask(Effects::None).1, Err(DropReason::StormUnknown));
}

#[test]
fn contradictions_make_no_topology() {
    let six = Six::new();
    let build = |networks: &[&Network], ports: &[&Port]| {
        let networks = networks.iter().map(|&network| network.clone()).collect();
        let ports = ports.iter().map(|&port| port.clone()).collect();
        Topology::new(networks, ports).map(drop)
    };
    let network = &six.network;
    let port = &six.ports[0];
    let mirrored = |to| Port {
        mirror: Some(Mirror {
            to: PortId(to),
            ingress: true,
            egress: false,
        }),
        ..port.clone()
    };
    assert_eq!(
        build(&[network, network], &[]),
        Err(TopologyError::DuplicateNetwork(NET))
    );
    assert_eq!(
        build(&[network], &[port, port]),
        Err(TopologyError::DuplicatePort(PortId(0)))
    );
    assert_eq!(
        build(&[], &[port]),
        Err(TopologyError::UnknownNetwork(PortId(0), NET))
    );
    assert_eq!(
        build(&[network], &[&mirrored(0)]),
        Err(TopologyError::BadMirror(PortId(0), PortId(0)))
    );
    assert_eq!(
        build(&[network], &[&mirrored(9)]),
        Err(TopologyError::BadMirror(PortId(0), PortId(9)))
    );
    assert_eq!(build(&[network], &[port]), Ok(()));
}
