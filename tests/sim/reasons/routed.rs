//! The router's reasons.

use super::{DropReason, Scenario};
use crate::rig::Rig;
use crate::site::{A, B, Guest, HOP, OURS, Site, UP, WEB, WORLD, WORLD2, gateway, packet};
use nat::config::EndpointRules;
use nat::{Action, Policy};
use pipeline::Instant;
use std::net::Ipv4Addr;
use std::time::Duration;
use wire::craft::{Link, TcpSegment, superframe};
use wire::{Fragment, IpProtocol, TcpFlags, VnetHeader};

pub(super) fn scenarios() -> Vec<(DropReason, Scenario)> {
    use DropReason as R;
    vec![
        (R::IpInvalid, || {
            let mut frame = to(A, WORLD).udp(1, 2, b"");
            frame[HEADER_CHECKSUM] ^= 1;
            after(&Site::new(), &[(A, frame)])
        }),
        (R::Martian, || {
            let frame = to(A, Ipv4Addr::LOCALHOST).udp(1, 2, b"");
            after(&Site::new(), &[(A, frame)])
        }),
        (R::LandAttack, || {
            let frame = to(A, A.v4).udp(1, 1, b"");
            after(&Site::new(), &[(A, frame)])
        }),
        (R::SourceRouted, || {
            let loose = to(A, WORLD).options(&[1, 131, 7, 4, 10, 2, 0, 2]);
            after(&Site::new(), &[(A, loose.udp(1, 2, b""))])
        }),
        (R::NoRoute, || {
            let site = Site::new().inside(WEB, |web| web.uplink = None);
            after(&site, &[(A, to(A, WORLD).udp(1, 2, b""))])
        }),
        (R::NetworkInternal, || {
            let site = Site::new().inside(WEB, |web| web.settings.internal = true);
            after(&site, &[(A, to(A, WORLD).udp(1, 2, b""))])
        }),
        (R::NetworkIsolated, || {
            after(&Site::new(), &[(A, to(A, B.v4).udp(1, 2, b""))])
        }),
        (R::HostDenied, || {
            let site = Site::new().inside(WEB, |web| web.settings.host_access = false);
            after(&site, &[(A, to(A, GATEWAY).udp(1, 2, b""))])
        }),
        (R::GatewayClosed, || {
            // Where addresses are leased, the servers' ports are the gateway's own; this one is
            // that of the other family.
            let site = Site::new().inside(WEB, |web| web.settings.dhcp = true);
            after(&site, &[(A, to(A, GATEWAY).udp(546, 547, b""))])
        }),
        (R::GatewayIgnored, || {
            let answer = Link::new(A.mac, gateway(WEB)).arp_reply(A.v4, GATEWAY);
            after(&Site::new(), &[(A, answer)])
        }),
        (R::TtlExceeded, || {
            after(&Site::new(), &[(A, to(A, WORLD).hops(1).udp(1, 2, b""))])
        }),
        (R::FragmentationNeeded, || {
            let site = Site::new().interface(UP, |up| up.mtu = 1000);
            after(&site, &[(A, to(A, WORLD).udp(1, 2, &[0; 1000]))])
        }),
        (R::NextHopUnknown, || {
            // Too large to wait until the next hop has answered.
            let site = Site::new().interface(UP, |up| up.neighbours.clear());
            let mut frame = to(A, WORLD).tcp(TcpSegment {
                flags: TcpFlags::SYN,
                payload: &[7; 5000],
                ..segment(50_000, 80)
            });
            let vnet = superframe(&mut frame, 1400).unwrap();
            let mut rig = site.rig();
            rig.carry(A.port, &frame, vnet, Instant::ZERO);
            rig
        }),
        (R::PolicyDenied, || {
            let rules = EndpointRules {
                network: WEB,
                ip: A.v4.into(),
                policy: Policy {
                    default: Action::Deny,
                    ..Policy::default()
                },
            };
            let site = Site::new().configured(|config| config.rules.push(rules));
            after(&site, &[(A, to(A, WORLD).udp(1, 2, b""))])
        }),
        (R::NoMapping, || {
            after(&Site::new(), &[(HOP, from(WORLD).udp(53, 50_000, b""))])
        }),
        (R::Filtered, || {
            let out = to(A, WORLD).udp(50_000, 53, b"");
            let stranger = from(WORLD2).udp(53, 50_000, b"");
            after(&Site::new(), &[(A, out), (HOP, stranger)])
        }),
        (R::PortsExhausted, || {
            // One port in all; the second connection's port belongs to the same shard.
            let site = Site::new().ports(50_000, 50_000);
            let [first, second] = [50_000, 50_032].map(|port| to(A, WORLD).udp(port, 53, b""));
            after(&site, &[(A, first), (A, second)])
        }),
        (R::NatTableFull, || {
            // One connection a shard, and the one there is in use.
            let site = Site::new().capacity(1);
            let [first, second] = [50_000, 50_032].map(|port| to(A, WORLD).udp(port, 53, b""));
            let answer = from(WORLD).udp(53, 50_000, b"");
            after(&site, &[(A, first), (HOP, answer), (A, second)])
        }),
        (R::QuotaExceeded, || {
            let site = Site::new().inside(WEB, |web| web.settings.nat.quota = 1);
            let [first, second] = [50_000, 50_032].map(|port| to(A, WORLD).udp(port, 53, b""));
            after(&site, &[(A, first), (A, second)])
        }),
        (R::TcpNotSyn, || {
            let ack = TcpSegment {
                flags: TcpFlags::ACK,
                ..segment(50_000, 80)
            };
            after(&Site::new(), &[(A, to(A, WORLD).tcp(ack))])
        }),
        (R::TcpOutOfWindow, || {
            let mut frames = handshake();
            frames.push((
                HOP,
                from(WORLD).tcp(TcpSegment {
                    flags: TcpFlags::ACK,
                    seq: 1_000_000,
                    ack: 101,
                    payload: b"injected",
                    ..segment(80, 50_000)
                }),
            ));
            after(&Site::new(), &frames)
        }),
        (R::TcpInvalid, || {
            let christmas = TcpSegment {
                flags: TcpFlags::SYN.union(TcpFlags::FIN),
                ..segment(50_000, 80)
            };
            after(&Site::new(), &[(A, to(A, WORLD).tcp(christmas))])
        }),
        (R::IcmpUnrelated, || {
            let quoted = Link::new(A.mac, gateway(WEB))
                .ipv4(OURS, WORLD)
                .udp(50_000, 53, b"");
            after(&Site::new(), &[(HOP, unreachable(&quoted))])
        }),
        (R::Untranslatable, || {
            let gre = to(A, WORLD).raw(IpProtocol(47), &[0; 16]);
            after(&Site::new(), &[(A, gre)])
        }),
        (R::FragmentInvalid, || {
            // The second piece brings bytes of the first one again.
            let [first, second] =
                [(0, true), (8, false)].map(|(at, more)| piece(at, more, &[7; 16]));
            after(&Site::new(), &[(A, first), (A, second)])
        }),
        (R::FragmentLimit, || {
            // As many as may wait for their first one, and one more.
            let pieces = (1..=129).map(|n| (A, piece(8 * n, true, &[7; 8])));
            after(&Site::new(), &pieces.collect::<Vec<_>>())
        }),
        (R::FragmentTimeout, || {
            let mut rig = after(&Site::new(), &[(A, piece(8, false, &[7; 8]))]);
            rig.poll(Instant::from_secs(31));
            rig
        }),
        (R::HairpinLoop, || {
            let site = Site::new().publish(IpProtocol::UDP, 8080, A, 80);
            after(&site, &[(A, to(A, OURS).udp(80, 8080, b""))])
        }),
    ]
}

/// Where the header checksum of an untagged IPv4 packet begins.
const HEADER_CHECKSUM: usize = 14 + 10;
/// The gateway of the first network.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// A packet of a container's.
fn to(guest: Guest, dst: Ipv4Addr) -> wire::craft::Packet {
    packet(guest, guest.v4.into(), dst.into())
}

/// A piece of a UDP datagram from A to the world.
fn piece(offset: u16, more: bool, bytes: &[u8]) -> Vec<u8> {
    let fragment = Fragment {
        id: 7,
        offset,
        more,
    };
    to(A, WORLD).fragment(fragment).raw(IpProtocol::UDP, bytes)
}

/// A packet that comes from the world to us.
fn from(src: Ipv4Addr) -> wire::craft::Packet {
    packet(HOP, src.into(), OURS.into())
}

/// Returns what a site looks like after these frames, a millisecond apart.
fn after(site: &Site, frames: &[(Guest, Vec<u8>)]) -> Rig {
    let mut rig = site.rig();
    let mut now = Instant::ZERO;
    for (guest, frame) in frames {
        now = now + Duration::from_millis(1);
        rig.carry(guest.port, frame, VnetHeader::default(), now);
    }
    rig
}

fn segment(src_port: u16, dst_port: u16) -> TcpSegment<'static> {
    TcpSegment {
        src_port,
        dst_port,
        seq: 100,
        window: 1000,
        ..TcpSegment::default()
    }
}

/// A connects to port 80 of the world.
fn handshake() -> Vec<(Guest, Vec<u8>)> {
    let (ours, theirs) = (segment(50_000, 80), segment(80, 50_000));
    let syn = TcpSegment {
        flags: TcpFlags::SYN,
        ..ours
    };
    let answer = TcpSegment {
        flags: TcpFlags::SYN.union(TcpFlags::ACK),
        seq: 500,
        ack: 101,
        ..theirs
    };
    let ack = TcpSegment {
        flags: TcpFlags::ACK,
        seq: 101,
        ack: 501,
        ..ours
    };
    vec![
        (A, to(A, WORLD).tcp(syn)),
        (HOP, from(WORLD).tcp(answer)),
        (A, to(A, WORLD).tcp(ack)),
    ]
}

/// Somebody in the world tells us that what is in `frame` did not arrive.
fn unreachable(frame: &[u8]) -> Vec<u8> {
    from(WORLD).unreachable(3, frame)
}
