//! What hostile or broken stations do, and that the others do not notice.

use super::{NET, finish, hosts, lan, network, port, world};
use pipeline::{DropReason, Instant, Meter, NetworkId, PortId};
use sim::{Bulk, HostConfig, Packet, Ping, Reach, Rng, Talker, TcpReceive, TcpSend, Wire, World};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Lock, Membership, Port, Storm, VlanMode, VlanSet};
use wire::craft::Link;
use wire::{EtherType, MacAddr, VlanId, VlanTag};

fn transfer(world: &mut World, from: (u16, &HostConfig), to: (u16, &HostConfig), len: usize) {
    let bulk = Bulk {
        len,
        seed: u64::from(from.0),
    };
    let tcp_port = 5000 + from.0;
    world.start(PortId(to.0), TcpReceive::new(tcp_port, bulk));
    world.start(
        PortId(from.0),
        TcpSend::new(SocketAddr::new(IpAddr::V4(to.1.ipv4), tcp_port), bulk),
    );
}

fn vlan(id: u16) -> VlanId {
    VlanId::new(id).unwrap()
}

#[test]
fn a_flood_of_macs_leaves_the_others_tcp_going() {
    let mut world = world();
    world.configure(|networks, _| {
        // A table that the flood fills many times over.
        networks[0].fdb = Arc::new(Fdb::new(
            FdbConfig {
                max_entries: 64,
                ..FdbConfig::default()
            },
            1,
        ));
    });
    let all = hosts(&mut world, 4, lan());
    let flooder = Talker::new(
        Instant::ZERO,
        20_000,
        Duration::from_micros(50),
        flood_of_macs(),
    );
    let attacked = Port {
        storm: Storm {
            unknown: Some(Arc::new(Meter::new(1000, 100))),
            ..Storm::default()
        },
        ..port(9)
    };
    world.talker(attacked, flooder, lan());
    transfer(&mut world, (1, &all[0]), (2, &all[1]), 5_000_000);
    transfer(&mut world, (3, &all[2]), (4, &all[3]), 5_000_000);
    let report = finish(&mut world, &[DropReason::StormUnknown]);
    let stolen = report.line(PortId(9)).unwrap().downward.entered;
    // ARP and a few first frames are flooded to everybody; the transfers are not.
    assert!(stolen < 20, "the flooder overheard {stolen} frames");
    assert!(report.totals(PortId(9)).dropped(DropReason::StormUnknown) > 15_000);
}

/// Every frame from another random address to another random address.
fn flood_of_macs() -> sim::Script {
    let mut rng = Rng::new(77);
    let mut mac = move || {
        let [a, b, c, d, e, f, ..] = rng.next_u64().to_le_bytes();
        MacAddr([(a & 0xfc) | 2, b, c, d, e, f])
    };
    Box::new(move |_| Packet::finished(Link::new(mac(), mac()).raw(EtherType(0x88b5), &[0; 46])))
}

#[test]
fn a_cable_between_two_ports_is_bounded_by_the_storm_limit() {
    let mut world = world();
    let all = hosts(&mut world, 2, lan());
    let limited = |id| {
        let meter = || Some(Arc::new(Meter::new(100, 10)));
        Port {
            storm: Storm {
                broadcast: meter(),
                multicast: meter(),
                unknown: meter(),
            },
            ..port(id)
        }
    };
    world.cable(limited(8), limited(9), lan());
    world.start(
        PortId(1),
        Ping::new(
            all[0].addresses(),
            vec![IpAddr::V4(all[1].ipv4)],
            Reach::All,
        ),
    );
    // Whether the ping gets through a loop is luck: addresses seem to move. What counts is the bound.
    world.run_for(Duration::from_secs(10));
    let report = world.report();
    println!("{report}");
    let heard = report.line(PortId(2)).unwrap().downward.entered;
    // Two looped ports, each with 10 + 100 a second of a kind, and what host 1 sent itself.
    assert!(
        heard <= 2 * 2 * (10 + 100 * 10) + 100,
        "host 2 heard {heard} frames"
    );
    assert!(
        report.drops().contains_key(&DropReason::StormBroadcast),
        "the loop never reached its limit"
    );
}

#[test]
fn a_port_dies_and_returns_and_only_its_peer_notices() {
    let mut world = world();
    let all = hosts(
        &mut world,
        4,
        Wire {
            bandwidth: Some(20_000_000),
            ..lan()
        },
    );
    transfer(&mut world, (1, &all[0]), (2, &all[1]), 1_000_000);
    transfer(&mut world, (3, &all[2]), (4, &all[3]), 1_000_000);
    world.run_for(Duration::from_millis(100));
    world.close(PortId(2));
    world.run_for(Duration::from_secs(2));
    world.reopen(PortId(2));
    let report = finish(&mut world, &[DropReason::TxGone]);
    assert!(
        report.totals(PortId(1)).dropped(DropReason::TxGone) > 0,
        "the port was not missed"
    );
    assert_eq!(
        report.totals(PortId(3)).dropped_in_all() + report.totals(PortId(4)).dropped_in_all(),
        0
    );
}

#[test]
fn vlans_isolate_and_a_trunk_carries_them() {
    let mut world = world();
    let mut members = Vec::new();
    for (id, vid) in [(1, 10), (2, 10), (3, 20), (4, 20)] {
        let config = HostConfig::numbered(id);
        world.host(
            Port {
                vlan: VlanMode::Access { vid: vlan(vid) },
                ..port(id)
            },
            &config,
            lan(),
        );
        members.push((id, vid, config));
    }
    // A host with a VLAN device on a trunk: a member of VLAN 10 by its tag.
    let tag = Some(VlanTag {
        tpid: VlanTag::CTAG,
        tci: 10,
    });
    let tagged = HostConfig {
        tag,
        superframes: true,
        ..HostConfig::numbered(5)
    };
    let allowed = VlanSet::listed(&[vlan(10), vlan(20)]);
    world.host(
        Port {
            vlan: VlanMode::Trunk {
                allowed,
                native: None,
                native_tagged: false,
            },
            ..port(5)
        },
        &tagged,
        lan(),
    );
    members.push((5, 10, tagged));
    let reached = |me: usize, reach| {
        let (_, my_vid, config) = members[me];
        let others = members.iter().filter(|(_, vid, other)| {
            other.mac != config.mac && (*vid == my_vid) == (reach == Reach::All)
        });
        Ping::new(
            config.addresses(),
            others.flat_map(|(.., other)| other.addresses()).collect(),
            reach,
        )
    };
    for (me, reach) in [
        (0, Reach::All),
        (1, Reach::None),
        (2, Reach::All),
        (3, Reach::None),
        (4, Reach::All),
    ] {
        world.start(PortId(members[me].0), reached(me, reach));
    }
    transfer(&mut world, (5, &tagged), (1, &members[0].2), 500_000);
    let report = world.run_to_end(Duration::from_secs(600));
    assert!(report);
    // A frame of VLAN 20 reaches the tagged host's trunk and is not its own.
    let report = world.report();
    println!("{report}");
    assert_eq!(report.drops().into_iter().collect::<Vec<_>>(), []);
    assert!(report.lines.iter().all(|line| line.station.succeeded));
    let refused = report.line(PortId(5)).unwrap().station.refused;
    assert!(
        refused.other_vlan > 0 && refused.damaged + refused.unfinished == 0,
        "{refused:?}"
    );
}

#[test]
fn two_networks_of_equal_addresses_never_meet() {
    let mut world = world();
    let other = NetworkId(1);
    world.network(network(other));
    let [a, b, lonely] = [1, 2, 3].map(HostConfig::numbered);
    // The same three addresses twice, except that the second network lacks host 3.
    for (id, net, config) in [
        (1, NET, &a),
        (2, NET, &b),
        (3, NET, &lonely),
        (11, other, &a),
        (12, other, &b),
    ] {
        world.host(
            Port {
                membership: Membership::Network(net),
                ..port(id)
            },
            config,
            lan(),
        );
    }
    world.start(
        PortId(1),
        Ping::new(
            a.addresses(),
            b.addresses()
                .into_iter()
                .chain(lonely.addresses())
                .collect(),
            Reach::All,
        ),
    );
    world.start(
        PortId(11),
        Ping::new(a.addresses(), lonely.addresses().to_vec(), Reach::None),
    );
    world.start(
        PortId(12),
        Ping::new(b.addresses(), a.addresses().to_vec(), Reach::All),
    );
    finish(&mut world, &[]);
}

#[test]
fn a_locked_port_cannot_take_over_its_neighbours_connection() {
    let mut world = world();
    let all = hosts(&mut world, 2, lan());
    let [victim, mac] = [all[1].mac, MacAddr([2, 0, 0, 0, 0, 9])];
    let lock = Lock {
        mac,
        ipv4: vec!["10.0.0.9".parse().unwrap()],
        ipv6: Vec::new(),
    };
    // Claims the victim's MAC by sending from it, and its IP by ARP from its own MAC.
    let script = Box::new(move |number: u64| {
        let claimed = [10, 0, 0, 2].into();
        let src = if number.is_multiple_of(2) {
            victim
        } else {
            mac
        };
        Packet::finished(Link::new(src, MacAddr::BROADCAST).arp_reply(claimed, claimed))
    });
    world.talker(
        Port {
            lock: Some(lock),
            ..port(9)
        },
        Talker::new(Instant::ZERO, 1000, Duration::from_micros(100), script),
        lan(),
    );
    transfer(&mut world, (1, &all[0]), (2, &all[1]), 2_000_000);
    let report = finish(
        &mut world,
        &[DropReason::SpoofedMac, DropReason::SpoofedArp],
    );
    assert_eq!(
        report.totals(PortId(9)).dropped(DropReason::SpoofedMac),
        500
    );
    assert_eq!(
        report.totals(PortId(9)).dropped(DropReason::SpoofedArp),
        500
    );
}

#[test]
fn protected_ports_meet_only_through_an_unprotected_one() {
    let mut world = world();
    let all: Vec<_> = (1..=3).map(HostConfig::numbered).collect();
    for (id, config) in (1..).zip(&all) {
        world.host(
            Port {
                isolated: id != 3,
                ..port(id)
            },
            config,
            lan(),
        );
    }
    world.start(
        PortId(1),
        Ping::new(all[0].addresses(), all[1].addresses().to_vec(), Reach::None),
    );
    world.start(
        PortId(2),
        Ping::new(all[1].addresses(), all[2].addresses().to_vec(), Reach::All),
    );
    // The flooded questions are never drops; nothing is ever unicast between the two.
    finish(&mut world, &[]);
}
