//! Every drop reason happens: one scenario each, in which nothing else is dropped.

mod routed;

use crate::rig::Rig;
use pipeline::{Destination, DropReason, Frame, Instant, MAX_FRAME, Meter, NetworkId, PortId};
use port::memory::MemoryConfig;
use port::{Offloads, Tx};
use std::collections::BTreeMap;
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Gateway, Horizon, Limiter, Lock, Membership, Mirror, Network, Port, Storm, VlanMode};
use wire::craft::{self, Link, TcpSegment};
use wire::{EtherType, MacAddr, VlanId, VlanTag, VnetHeader};

type Scenario = fn() -> Rig;

/// Returns what shows each reason. A reason that has no line fails the test.
fn scenarios() -> Vec<(DropReason, Scenario)> {
    use DropReason as R;
    vec![
        (R::FrameTooShort, || from_a(Network1::plain(), &[0; 13])),
        // A port reads into this much room: a frame that fills it was cut off.
        (R::FrameTooLong, || {
            from_a(Network1::plain(), &vec![2; MAX_FRAME])
        }),
        (R::VnetInvalid, || {
            let vnet = VnetHeader {
                gso_type: 77,
                gso_size: 1,
                ..VnetHeader::default()
            };
            carried(Network1::plain(), &frame(A, B), vnet)
        }),
        (R::SourceInvalid, || {
            from_a(Network1::plain(), &frame(MacAddr::BROADCAST, B))
        }),
        (R::IngressDown, || {
            from_a(Network1::plain().port_a(|a| a.up = false), &frame(A, B))
        }),
        (R::NoNetwork, || {
            from_a(
                Network1::plain().port_a(|a| a.membership = Membership::None),
                &frame(A, B),
            )
        }),
        // A memory port's frames come with the key 0.
        (R::UnknownTunnelKey, || {
            let tunnel = Membership::Tunnel(Horizon::Split);
            from_a(
                Network1::plain().port_a(|a| a.membership = tunnel),
                &frame(A, B),
            )
        }),
        (R::MirrorIngress, || {
            let mirror = Mirror {
                to: PORT_A,
                ingress: true,
                egress: true,
            };
            from_a(
                Network1::plain().port_b(|b| b.mirror = Some(mirror)),
                &frame(A, B),
            )
        }),
        (R::VlanTaggedRefused, || {
            from_a(Network1::plain(), &tagged(5))
        }),
        (R::VlanUntaggedRefused, || {
            from_a(
                Network1::plain().port_a(|a| a.vlan = trunk(&[5])),
                &frame(A, B),
            )
        }),
        (R::VlanNotAllowed, || {
            from_a(
                Network1::plain().port_a(|a| a.vlan = trunk(&[5])),
                &tagged(6),
            )
        }),
        (R::SpoofedMac, || {
            from_a(
                Network1::plain().port_a(|a| a.lock = Some(lock())),
                &frame(B, A),
            )
        }),
        (R::SpoofedIp, || {
            let packet = Link::new(A, B)
                .ipv4([10, 0, 0, 66].into(), [10, 0, 0, 2].into())
                .udp(1, 2, b"");
            from_a(Network1::plain().port_a(|a| a.lock = Some(lock())), &packet)
        }),
        (R::SpoofedArp, || {
            let claim = Link::new(A, B).arp_reply([10, 0, 0, 66].into(), [10, 0, 0, 2].into());
            from_a(Network1::plain().port_a(|a| a.lock = Some(lock())), &claim)
        }),
        (R::SpoofedRouter, || {
            let advert = Link::new(A, B)
                .router_advert("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
            from_a(Network1::plain().port_a(|a| a.lock = Some(lock())), &advert)
        }),
        (R::Unverifiable, || {
            let broken = Link::new(A, B).raw(EtherType::IPV4, &[0; 46]);
            from_a(Network1::plain().port_a(|a| a.lock = Some(lock())), &broken)
        }),
        (R::ReservedAddress, || {
            from_a(
                Network1::plain(),
                &frame(A, MacAddr([0x01, 0x80, 0xc2, 0, 0, 0])),
            )
        }),
        (R::StormBroadcast, || {
            from_a(
                Network1::plain().port_a(|a| a.storm = exhausted()),
                &frame(A, MacAddr::BROADCAST),
            )
        }),
        (R::StormMulticast, || {
            from_a(
                Network1::plain().port_a(|a| a.storm = exhausted()),
                &frame(A, MacAddr([1, 0, 0x5e, 0, 0, 1])),
            )
        }),
        (R::StormUnknown, || {
            from_a(
                Network1::plain().port_a(|a| a.storm = exhausted()),
                &frame(A, B),
            )
        }),
        (R::StaticElsewhere, || {
            let setup = Network1::plain();
            setup
                .fdb
                .add_static(VlanId::DEFAULT, A, PORT_B.into())
                .unwrap();
            from_a(setup, &frame(A, B))
        }),
        (R::SamePort, || {
            let setup = Network1::plain();
            setup
                .fdb
                .add_static(VlanId::DEFAULT, B, PORT_A.into())
                .unwrap();
            from_a(setup, &frame(A, B))
        }),
        (R::Isolated, || {
            from_a(
                Network1::b_is_known()
                    .port_a(|a| a.isolated = true)
                    .port_b(|b| b.isolated = true),
                &frame(A, B),
            )
        }),
        (R::EgressDown, || {
            from_a(
                Network1::b_is_known().port_b(|b| b.up = false),
                &frame(A, B),
            )
        }),
        (R::EgressVlan, || {
            from_a(
                Network1::b_is_known().port_b(|b| b.vlan = trunk(&[5])),
                &frame(A, B),
            )
        }),
        (R::MtuExceeded, || {
            from_a(
                Network1::b_is_known(),
                &Link::new(A, B).raw(EtherType(0x88b5), &[0; 1501]),
            )
        }),
        (R::NoReceiver, || {
            from_a(
                Network1::plain().port_b(|b| b.membership = Membership::None),
                &frame(A, B),
            )
        }),
        (R::TxFull, || {
            let mut rig = Network1::b_is_known().rig();
            rig.open(
                PORT_B,
                MemoryConfig {
                    capacity: 1,
                    ..MemoryConfig::default()
                },
            );
            // Nobody empties the queue between the two.
            rig.carry_all(PORT_A, &[frame(A, B), frame(A, B)], Instant::ZERO);
            rig
        }),
        (R::TxDown, || refused_with(R::TxDown)),
        (R::TxGone, || {
            let mut rig = Network1::b_is_known().rig();
            rig.close(PORT_B);
            rig.carry(PORT_A, &frame(A, B), VnetHeader::default(), Instant::ZERO);
            rig
        }),
        (R::TxRefused, || refused_with(R::TxRefused)),
        (R::CannotSegment, || {
            // Behind a third tag nobody sees TCP any more: a superframe of a customer with two tags
            // of its own, whose tunnel ends at a port that takes no superframes.
            let setup = Network1::plain()
                .port_a(|a| a.vlan = VlanMode::Dot1qTunnel { vid: vlan(9) })
                .port_b(|b| b.vlan = trunk(&[9]));
            let mut rig = setup.rig();
            rig.open_plain(PORT_B);
            let link = Link::new(A, B).vlan(vlan(1)).vlan(vlan(2));
            let segment = TcpSegment {
                payload: &[7; 5000],
                ..TcpSegment::default()
            };
            let mut frame = link
                .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
                .tcp(segment);
            let vnet = craft::superframe(&mut frame, 1400).unwrap();
            rig.carry(PORT_A, &frame, vnet, Instant::ZERO);
            rig
        }),
        (R::SpoofedGateway, || {
            from_a(Network1::plain().gateway(A), &frame(A, B))
        }),
        (R::RateLimited, || {
            let setup = Network1::plain().port_a(|a| a.sends = no_packets());
            from_a(setup, &frame(A, B))
        }),
        (R::ReceiverLimited, || {
            let setup = Network1::b_is_known().port_b(|b| b.receives = no_packets());
            from_a(setup, &frame(A, B))
        }),
    ]
}

/// Reasons of the switch that the random steps of the oracle never meet: they need an interface that
/// refuses, a frame that no port delivers, or a limit.
pub(crate) const BEYOND_STEPS: &[DropReason] = &[
    DropReason::FrameTooLong,
    DropReason::RateLimited,
    DropReason::ReceiverLimited,
    DropReason::TxFull,
    DropReason::TxDown,
    DropReason::TxRefused,
    DropReason::CannotSegment,
];

#[test]
fn every_reason_happens_alone_and_once() {
    let all = scenarios().into_iter().chain(routed::scenarios());
    let scenarios: BTreeMap<_, _> = all.collect();
    for &reason in DropReason::ALL {
        let Some(scenario) = scenarios.get(&reason) else {
            panic!("no scenario shows {reason}");
        };
        let rig = scenario();
        let happened: Vec<_> = DropReason::ALL
            .iter()
            .map(|&r| (r, rig.dropped(r)))
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(happened, [(reason, 1)], "the scenario of {reason}");
    }
}

#[test]
fn the_longest_frame_is_a_64_kib_packet_behind_two_tags() {
    let rig = Network1::plain().rig();
    let verdict = |len| {
        let bytes = Link::new(A, B).raw(EtherType(0x88b5), &vec![0; len - 14]);
        let told = rig.explain(PORT_A, &bytes, VnetHeader::default(), Instant::ZERO);
        told.verdict
    };
    assert_eq!(verdict(65_535 + 14 + 8), Err(DropReason::MtuExceeded));
    assert_eq!(verdict(65_535 + 14 + 8 + 1), Err(DropReason::FrameTooLong));
    assert_eq!(verdict(MAX_FRAME + 1000), Err(DropReason::FrameTooLong));
}

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const PORT_A: PortId = PortId(0);
const PORT_B: PortId = PortId(1);
const NET: NetworkId = NetworkId(0);

/// Two plain ports in one network, to be spoilt.
struct Network1 {
    ports: [Port; 2],
    fdb: Arc<Fdb>,
    gateway: Option<Gateway>,
}

impl Network1 {
    fn plain() -> Self {
        let fdb = Arc::new(Fdb::new(FdbConfig::default(), 1));
        Self {
            ports: [PORT_A, PORT_B].map(|id| Port::plain(id, NET)),
            fdb,
            gateway: None,
        }
    }

    fn b_is_known() -> Self {
        let setup = Self::plain();
        setup
            .fdb
            .add_static(VlanId::DEFAULT, B, PORT_B.into())
            .unwrap();
        setup
    }

    fn port_a(mut self, spoil: impl FnOnce(&mut Port)) -> Self {
        spoil(&mut self.ports[0]);
        self
    }

    fn port_b(mut self, spoil: impl FnOnce(&mut Port)) -> Self {
        spoil(&mut self.ports[1]);
        self
    }

    fn gateway(self, mac: MacAddr) -> Self {
        let vlan = VlanId::DEFAULT;
        Self {
            gateway: Some(Gateway { mac, vlan }),
            ..self
        }
    }

    fn rig(self) -> Rig {
        let network = Network {
            id: NET,
            mtu: 1500,
            forward_reserved: false,
            fdb: self.fdb,
            key: None,
            gateway: self.gateway,
        };
        Rig::of(vec![network], self.ports.into())
    }
}

fn from_a(setup: Network1, bytes: &[u8]) -> Rig {
    carried(setup, bytes, VnetHeader::default())
}

fn carried(setup: Network1, bytes: &[u8], vnet: VnetHeader) -> Rig {
    let mut rig = setup.rig();
    rig.carry(PORT_A, bytes, vnet, Instant::ZERO);
    rig
}

fn refused_with(reason: DropReason) -> Rig {
    let mut rig = Network1::b_is_known().rig();
    rig.replace_tx(PORT_B, Arc::new(Refusing(reason)));
    rig.carry(PORT_A, &frame(A, B), VnetHeader::default(), Instant::ZERO);
    rig
}

/// An interface that sends nothing.
#[derive(Debug)]
struct Refusing(DropReason);

impl Tx for Refusing {
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn transmit(&self, _: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        Err(self.0)
    }
}

fn frame(src: MacAddr, dst: MacAddr) -> Vec<u8> {
    Link::new(src, dst).raw(EtherType(0x88b5), &[0; 46])
}

fn tagged(vid: u16) -> Vec<u8> {
    let tag = VlanTag {
        tpid: VlanTag::CTAG,
        tci: vid,
    };
    Link::new(A, B).tag(tag).raw(EtherType(0x88b5), &[0; 46])
}

fn trunk(vids: &[u16]) -> VlanMode {
    VlanMode::Trunk {
        allowed: vids.iter().map(|&vid| vlan(vid)).collect::<Vec<_>>().into(),
        native: None,
        native_tagged: false,
    }
}

fn vlan(vid: u16) -> VlanId {
    VlanId::new(vid).unwrap()
}

fn lock() -> Lock {
    Lock {
        mac: A,
        ipv4: vec![[10, 0, 0, 1].into()],
        ipv6: vec!["fd00::1".parse().unwrap()],
    }
}

/// A limit that lets nothing pass.
fn no_packets() -> Limiter {
    Limiter {
        packets: Some(Arc::new(Meter::new(0, 0))),
        ..Limiter::default()
    }
}

/// A rate of nothing.
fn exhausted() -> Storm {
    let meter = || Some(Arc::new(Meter::new(0, 0)));
    Storm {
        broadcast: meter(),
        multicast: meter(),
        unknown: meter(),
    }
}
