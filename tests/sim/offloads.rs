//! Unfinished frames through tags, tunnels, mirrors and ports that take only finished ones.

use crate::rig::{Left, Rig};
use pipeline::{Instant, NetworkId, PortId, Tunnel};
use proptest::prelude::*;
use std::sync::Arc;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Mirror, Network, Port, VlanMode, VlanSet};
use wire::checksum::{Verified, complete, verify_ipv4, verify_transport};
use wire::craft::{self, Link, TcpSegment};
use wire::{Headers, MacAddr, TcpFlags, Transport, VlanId, VnetHeader};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const NET: NetworkId = NetworkId(0);
const TEN: u16 = 10;

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Tcp,
    Udp,
}

/// A frame of `len` payload bytes as its sender's stack would leave it, and its payload.
fn unfinished(
    v6: bool,
    protocol: Protocol,
    len: usize,
    gso: Option<u16>,
    tag: Option<u16>,
) -> (Vec<u8>, VnetHeader, Vec<u8>) {
    let payload: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let link = match tag {
        Some(vid) => Link::new(A, B).vlan(vlan(vid)),
        None => Link::new(A, B),
    };
    let packet = if v6 {
        link.ipv6("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap())
    } else {
        link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    };
    let mut frame = match protocol {
        Protocol::Tcp => {
            let flags = TcpFlags::ACK.union(TcpFlags::PSH);
            packet.tcp(TcpSegment {
                src_port: 1,
                dst_port: 2,
                seq: 1000,
                flags,
                payload: &payload,
                ..TcpSegment::default()
            })
        }
        Protocol::Udp => packet.udp(1, 2, &payload),
    };
    let vnet = match gso {
        Some(size) => craft::superframe(&mut frame, size),
        None => craft::unfinish(&mut frame),
    };
    (frame, vnet.unwrap(), payload)
}

fn vlan(vid: u16) -> VlanId {
    VlanId::new(vid).unwrap()
}

fn trunk() -> VlanMode {
    VlanMode::Trunk {
        allowed: VlanSet::listed(&[vlan(TEN)]),
        native: None,
        native_tagged: false,
    }
}

/// Port 0 in the mode `from`, port 1 in the mode `to`.
fn rig(from: VlanMode, to: VlanMode) -> Rig {
    let fdb = Arc::new(Fdb::new(FdbConfig::default(), 1));
    let network = Network {
        id: NET,
        mtu: u16::MAX,
        forward_reserved: false,
        fdb,
        key: None,
        gateway: None,
    };
    let ports = [(0, from), (1, to)].map(|(id, vlan)| Port {
        vlan,
        ..Port::plain(PortId(id), NET)
    });
    Rig::of(vec![network], ports.into())
}

/// Finishes what `left` says is undone, as the kernel behind a TAP would.
fn finish(left: Left) -> Vec<Vec<u8>> {
    let Left {
        mut bytes,
        mut vnet,
        ..
    } = left;
    if !vnet.is_gso() {
        complete(&mut bytes, &mut vnet).unwrap();
        return vec![bytes];
    }
    let mut segments = Vec::new();
    let mut room = vec![0; 70_000];
    wire::segment(&bytes, &vnet, &mut room, 64, |room| {
        segments.push(room[64..].to_vec());
    })
    .unwrap();
    segments
}

/// Every frame is sound; answers their payloads joined.
fn verified(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut joined = Vec::new();
    for frame in frames {
        let headers = Headers::parse(frame).unwrap();
        assert_eq!(
            verify_transport(frame, &headers),
            Verified::Right,
            "{headers:?}"
        );
        assert_ne!(verify_ipv4(frame, &headers), Verified::Wrong);
        if let Transport::Tcp(tcp) = headers.transport {
            assert_eq!(usize::try_from(tcp.seq).unwrap(), 1000 + joined.len());
        }
        joined.extend_from_slice(&frame[headers.header_len()..][..headers.payload_len()]);
    }
    joined
}

proptest! {
    #[test]
    fn a_tag_pushed_and_popped_leaves_work_that_can_be_finished(
        v6 in any::<bool>(),
        udp in any::<bool>(),
        len in prop_oneof![1..1400usize, 1401..20_000usize],
        gso in prop::option::of(500..1400u16),
        plain in any::<bool>(),
        modes in 0..5usize,
    ) {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let native = |tagged| VlanMode::Trunk { allowed: VlanSet::listed(&[VlanId::DEFAULT]), native: Some(vlan(TEN)), native_tagged: tagged };
        let (from, to, tag_in, tag_out) = [
            (VlanMode::Access { vid: vlan(TEN) }, trunk(), None, Some(TEN)),
            (trunk(), VlanMode::Access { vid: vlan(TEN) }, Some(TEN), None),
            (VlanMode::Dot1qTunnel { vid: vlan(TEN) }, trunk(), Some(77), Some(TEN)),
            (trunk(), native(false), Some(TEN), None),
            (VlanMode::Access { vid: vlan(TEN) }, native(true), None, Some(TEN)),
        ][modes].clone();
        let (bytes, vnet, payload) = unfinished(v6, protocol, len, gso, tag_in);
        let mut rig = rig(from, to);
        if plain {
            rig.open_plain(PortId(1));
        }
        let left = rig.carry(PortId(0), &bytes, vnet, Instant::ZERO);
        for frame in &left {
            let headers = Headers::parse(&frame.bytes).unwrap();
            prop_assert_eq!(headers.outer.map(wire::VlanTag::vid), tag_out);
            prop_assert_eq!(wire::check_vnet(&frame.vnet, &headers, frame.bytes.len()), Ok(()));
            prop_assert!(!plain || frame.vnet == VnetHeader::default(), "left undone at a plain port");
        }
        let segments = gso.map_or(1, |size| len.div_ceil(usize::from(size)));
        let frames: Vec<_> = left.into_iter().flat_map(finish).collect();
        prop_assert_eq!(frames.len(), segments);
        prop_assert_eq!(verified(&frames), payload);
    }
}

/// Each copy of a flood is finished as its own port needs it, whatever the one before needed.
#[test]
fn a_flood_to_ports_of_every_kind_gives_each_what_it_takes() {
    let fdb = Arc::new(Fdb::new(FdbConfig::default(), 1));
    let network = Network {
        id: NET,
        mtu: u16::MAX,
        forward_reserved: false,
        fdb,
        key: None,
        gateway: None,
    };
    let modes = [
        VlanMode::Access { vid: vlan(TEN) },
        trunk(),
        VlanMode::Access { vid: vlan(TEN) },
        trunk(),
        VlanMode::Access { vid: vlan(TEN) },
        VlanMode::Dot1qTunnel { vid: vlan(TEN) },
    ];
    let mut ports: Vec<_> = (0..)
        .zip(modes)
        .map(|(id, vlan)| Port {
            vlan,
            ..Port::plain(PortId(id), NET)
        })
        .collect();
    ports.push(Port::plain(PortId(6), NET));
    ports[2].mirror = Some(Mirror {
        to: PortId(6),
        ingress: false,
        egress: true,
    });
    for (protocol, gso) in [
        (Protocol::Tcp, None),
        (Protocol::Tcp, Some(1000)),
        (Protocol::Udp, None),
        (Protocol::Udp, Some(1000)),
    ] {
        let mut rig = Rig::of(vec![network.clone()], ports.clone());
        for plain in [1, 4, 6] {
            rig.open_plain(PortId(plain));
        }
        let (bytes, vnet, payload) = unfinished(false, protocol, 3500, gso, None);
        let left = rig.carry(PortId(0), &bytes, vnet, Instant::ZERO);
        for id in 1..=6 {
            let frames: Vec<_> = left
                .iter()
                .filter(|left| left.port == PortId(id))
                .cloned()
                .flat_map(finish)
                .collect();
            assert_eq!(frames.len(), gso.map_or(1, |_| 4), "port {id}");
            assert_eq!(verified(&frames), payload, "port {id}");
        }
    }
}

/// What comes back from a trunk is what a container sent into it, work undone included.
#[test]
fn there_and_back_through_two_switches_is_the_identity() {
    for (v6, protocol, gso) in [
        (false, Protocol::Tcp, Some(1448)),
        (true, Protocol::Tcp, None),
        (false, Protocol::Udp, None),
        (true, Protocol::Udp, Some(1000)),
    ] {
        let (bytes, vnet, _) = unfinished(v6, protocol, 4000, gso, None);
        let mut out = rig(VlanMode::Access { vid: vlan(TEN) }, trunk());
        let mut back = rig(trunk(), VlanMode::Access { vid: vlan(TEN) });
        let tagged = out.carry(PortId(0), &bytes, vnet, Instant::ZERO).remove(0);
        let left = back.carry(PortId(0), &tagged.bytes, tagged.vnet, Instant::ZERO);
        assert_eq!(
            left,
            [Left {
                port: PortId(1),
                bytes,
                vnet,
                tunnel: Tunnel::default(),
            }]
        );
    }
}
