//! Two networks with the same addresses: each reaches the world and is reached by it, and nothing
//! else finds a way in by an address that two containers have.

use crate::reply::holds;
use crate::site::{A, B, C, DB, HOP, OURS, STACK, Site, WEB, WORLD, packet};
use nat::config::InsideRole;
use nat::{Inside, PortRange, Publication, TransportAddr};
use pipeline::{DropReason, Instant, NetworkId};
use wire::craft::TcpSegment;
use wire::{IpProtocol, TcpFlags, VnetHeader};

const NOW: Instant = Instant::from_secs(5);

/// Returns what is sent with A's address: by A itself in `web`, and by B in `db`.
fn twins() -> Site {
    let flag = |role: &mut InsideRole| {
        role.overlapping = true;
        role.settings.host_access = false;
    };
    let mut web = Vec::new();
    let site = Site::new()
        .inside(WEB, flag)
        .interface(WEB, |i| web.clone_from(&i.addresses));
    site.inside(DB, flag).interface(DB, |db| {
        db.addresses = web;
        db.neighbours.insert(A.v4.into(), B.mac);
    })
}

fn publish(site: Site, port: u16, network: NetworkId) -> Site {
    site.configured(|config| {
        config.publications.push(Publication {
            protocol: IpProtocol::TCP,
            host: None,
            ports: PortRange::new(port, port).expect("a range"),
            to: Inside {
                network,
                addr: TransportAddr::new(A.v4.into(), 80),
            },
        });
    })
}

fn syn(packet: &wire::craft::Packet, dst_port: u16) -> Vec<u8> {
    packet.tcp(TcpSegment {
        src_port: 33_000,
        dst_port,
        flags: TcpFlags::SYN,
        ..TcpSegment::default()
    })
}

#[test]
fn each_reaches_the_world_and_is_answered() {
    let site = twins();
    for guest in [A, B] {
        let out = syn(&packet(guest, A.v4.into(), WORLD.into()), 443);
        assert_eq!(holds(&site, guest, &out), Ok(()));
    }
    // At once, too: the same addresses and ports leave as two.
    let mut rig = site.rig();
    let plain = VnetHeader::default();
    let mut carry = |guest: crate::site::Guest| {
        let frame = packet(guest, A.v4.into(), WORLD.into()).udp(33_000, 53, b"?");
        let left = rig.carry(guest.port, &frame, plain, NOW);
        assert_eq!((left.len(), left[0].port), (1, HOP.port));
        left[0].bytes.clone()
    };
    assert_ne!(carry(A), carry(B));
}

#[test]
fn what_is_published_leads_to_its_own_network() {
    let site = publish(publish(twins(), 8080, WEB), 8081, DB);
    for (port, guest) in [(8080, A), (8081, B)] {
        let inbound = syn(&packet(HOP, WORLD.into(), OURS.into()), port);
        let left = site
            .rig()
            .carry(HOP.port, &inbound, VnetHeader::default(), NOW);
        assert_eq!((left.len(), left[0].port), (1, guest.port));
    }
}

#[test]
fn nobody_comes_in_by_address() {
    let mut rig = twins().rig();
    let plain = VnetHeader::default();
    let host = syn(&packet(STACK, STACK.v4.into(), A.v4.into()), 80);
    assert_eq!(rig.carry(STACK.port, &host, plain, NOW), []);
    assert_eq!(rig.dropped(DropReason::NoRoute), 1);
    // Its own neighbour is meant, whom the gateway does not lead to.
    let near = syn(&packet(B, A.v4.into(), C.v4.into()), 80);
    assert_eq!(rig.carry(B.port, &near, plain, NOW), []);
    assert_eq!(rig.dropped(DropReason::NetworkIsolated), 1);
}
