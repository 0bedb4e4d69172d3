//! What is left in the host's namespace by a daemon that ended, well or not: nothing, or what can
//! be taken over, seen, undone.

use super::gateway_port::gateway;
use super::rig::{HOST4, LIMIT, NIC, Rig, STOLEN, TAP, captures, handshake, transmit};
use crate::fixture::without_a_daemon;
use api::Finding;
use host::{GatewayPort, Stack, doctor};
use offload::{Interfaces, Offload, Room};
use port::tap::{Tap, TapConfig};
use std::process::Stdio;
use testbed::traffic::{Ping, ping};
use testbed::{Child, wait_until};
use wire::craft::TcpSegment;
use wire::{TcpFlags, VnetHeader};

/// Who listens to changes of traffic control, as a bit of a netlink socket's groups.
const RTNLGRP_TC: u32 = 1 << 3;

#[test]
fn an_uplink_outlives_its_process_and_is_taken_over() {
    let rig = Rig::new();
    let before = rig.footprint();
    let tap = rig.tap();
    let first = rig.open(&captures());
    drop(tap);
    // Nobody reads: what is stolen is swallowed, and the host still does not answer.
    let wire = rig.wire();
    let syn = TcpSegment {
        dst_port: STOLEN,
        flags: TcpFlags::SYN,
        ..TcpSegment::default()
    };
    transmit(&wire, &rig.inward(0).tcp(syn), VnetHeader::default());
    assert!(
        ping(&rig.world, &Ping::new(HOST4.into()))
            .unwrap()
            .is_complete()
    );
    assert_eq!(rig.resets(), 0);

    let mut tap = rig.tap();
    let second = rig.open(&captures());
    assert_eq!(second, first);
    handshake(&rig, &mut tap, STOLEN);
    rig.close(&second);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
}

#[test]
fn what_a_dead_daemon_left_is_seen_and_undone() {
    let rig = Rig::new();
    rig.host
        .output(
            "sysctl",
            &["-qw", "net.ipv4.ip_local_reserved_ports=55000-55010,8080"],
        )
        .unwrap();
    let before = rig.footprint();
    let config = TapConfig {
        persistent: true,
        ..TapConfig::new("cw-host".parse().unwrap())
    };
    let ports = [
        rig.tap(),
        rig.host.run(|| Tap::open(config)).unwrap().into_port(),
    ];
    rig.open(&captures());
    rig.links(|links| {
        let port = GatewayPort::open(links, "cw-host", Stack::Host, 1500).unwrap();
        for net in ["10.1.0.1/24", "2001:db8:1::1/64"] {
            port.add(links, gateway(net)).unwrap();
        }
    });
    drop(ports);

    let findings = rig.links(doctor::inspect).unwrap();
    let seen: Vec<_> = findings
        .iter()
        .map(|it| format!("{}: {}", it.at, it.what))
        .collect();
    for want in [
        "eth0: filter: packets for containers go to the uplink's TAP",
        "eth0: filter: packets for both go to the uplink's TAP too",
        "eth0: qdisc clsact",
        "cw-uplink: filter: everything goes out by the uplink's NIC",
        "net.ipv4.ip_local_reserved_ports: reserved ports 50000-54999,55011-60000",
        "cw-uplink: interface: clearway uplink of eth0, reserved ports 50000-54999,55011-60000",
        "cw-host: interface: clearway host port",
        "cw-host: address 10.1.0.1/32",
        "cw-host: address 2001:db8:1::1/128",
        "cw-host: route 10.1.0.0/24 dev cw-host",
        "cw-host: route 2001:db8:1::/64 dev cw-host",
    ] {
        assert!(seen.iter().any(|it| it == want), "{want} in {seen:#?}");
    }
    without_a_daemon(&rig.host, &["doctor", "--clean"]);
    assert_eq!(rig.footprint(), before);
    assert_eq!(rig.links(doctor::inspect).unwrap(), []);
}

#[test]
fn the_commands_that_a_finding_names_undo_it() {
    let rig = Rig::new();
    let before = rig.footprint();
    let _tap = rig.tap();
    rig.open(&captures());
    for finding in rig.links(doctor::inspect).unwrap() {
        let words: Vec<_> = finding.undo.split(' ').collect();
        rig.host.output(words[0], &words[1..]).unwrap();
    }
    assert_eq!(rig.footprint(), before);
}

/// A program stays in the kernel when its daemon is gone.
#[test]
fn the_program_at_a_nic_is_seen_and_undone() {
    let rig = Rig::new();
    let before = rig.footprint();
    let index = rig.links(|links| links.state(NIC)).unwrap().unwrap().index;
    for by_hand in [true, false] {
        let _tap = rig.tap();
        rig.open(&captures());
        let offload = rig.host.run(|| Offload::open(Room::default())).unwrap();
        let attached = rig.host.run(|| offload.attach(Interfaces::nic(index)));
        attached.unwrap();
        drop(offload);
        let found = without_a_daemon(&rig.host, &["doctor", "-o", "json"]);
        let found: Vec<Finding> = serde_json::from_str(&found).unwrap();
        let program = Finding {
            what: "filter: what has a lease goes straight to its container".to_owned(),
            r#where: NIC.to_owned(),
            undo: "tc filter delete dev eth0 ingress protocol all pref 6 handle 0xc1ea bpf"
                .to_owned(),
        };
        assert!(found.contains(&program), "{found:#?}");
        if by_hand {
            for finding in found {
                let words: Vec<_> = finding.undo.split(' ').collect();
                rig.host.output(words[0], &words[1..]).unwrap();
            }
        } else {
            without_a_daemon(&rig.host, &["doctor", "--clean"]);
        }
        assert_eq!(rig.footprint(), before);
    }
}

#[test]
fn what_others_put_there_stays() {
    let rig = Rig::new();
    rig.tc("qdisc add dev eth0 clsact");
    rig.tc(
        "filter add dev eth0 ingress prio 100 protocol ip u32 match ip dport 9 0xffff \
            action mirred egress mirror dev lo",
    );
    let before = rig.footprint();
    let _tap = rig.tap();
    let uplink = rig.open(&captures());
    rig.close(&uplink);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
}

#[test]
fn a_long_program_can_be_found_and_removed() {
    let rig = Rig::new();
    let before = rig.footprint();
    let mut tap = rig.tap();
    let mut captures = captures();
    captures.addresses[0]
        .1
        .tcp
        .extend((0..800).map(|n| 10_000 + 3 * n..=10_000 + 3 * n));
    let uplink = rig.open(&captures);
    assert!(rig.links(|links| uplink.is_in_place(links)).unwrap());
    handshake(&rig, &mut tap, STOLEN);
    // The kernel describes what goes to whoever listens.
    let mut monitor = rig.host.command("tc");
    monitor.arg("monitor").stdout(Stdio::null());
    let _listening = Child::spawn(&mut monitor).unwrap();
    let listening = || {
        let sockets = rig.host.output("cat", &["/proc/net/netlink"]).unwrap();
        sockets.lines().skip(1).any(|line| {
            let groups = line.split_whitespace().nth(3).unwrap();
            u32::from_str_radix(groups, 16).unwrap() & RTNLGRP_TC != 0
        })
    };
    wait_until("a listener", LIMIT, listening).unwrap();
    rig.close(&uplink);
    rig.links(|links| links.remove(TAP)).unwrap();
    assert_eq!(rig.footprint(), before);
}
