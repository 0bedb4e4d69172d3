//! Containers that lie, flood and loop; operators who err. Everyone else goes on.

use crate::binary::binary;
use crate::fixture::{Clearway, SOON};
use api::{PortSet, StormLimits};
use std::process::Command;
use testbed::traffic::{UdpLoad, tcp_exact, udp_count};
use testbed::{Namespace, link, wait_until};

#[test]
fn a_container_cannot_take_anothers_address() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b, thief) = (
        clearway.container(&net),
        clearway.container(&net),
        clearway.container(&net),
    );
    a.reaches(b.ip(0));

    thief
        .ns
        .ip(&format!("address add {}/16 dev eth0", b.ip(0)))
        .unwrap();
    let _ = thief.ns.output(
        "arping",
        &["-U", "-c", "2", "-I", "eth0", &b.ip(0).to_string()],
    );
    wait_until("a refused claim", SOON, || {
        clearway.dropped("spoofed_arp") > 0
    })
    .unwrap();

    let from = testbed::traffic::Ping {
        from: Some(b.ip(0)),
        count: 1,
        ..testbed::traffic::Ping::new(a.ip(0))
    };
    thief
        .ns
        .ip(&format!(
            "neigh replace {} lladdr {} dev eth0",
            a.ip(0),
            a.endpoint.mac
        ))
        .unwrap();
    let _ = testbed::traffic::ping(&thief.ns, &from);
    wait_until("a refused source", SOON, || {
        clearway.dropped("spoofed_ip") > 0
    })
    .unwrap();

    thief
        .ns
        .ip(&format!("link set eth0 address {}", b.endpoint.mac))
        .unwrap();
    let _ = thief.ns.output(
        "arping",
        &["-c", "1", "-w", "1", "-I", "eth0", &a.ip(0).to_string()],
    );
    wait_until("a refused MAC", SOON, || {
        clearway.dropped("spoofed_mac") > 0
    })
    .unwrap();
    assert!(a.ping(b.ip(0), 5).is_complete());
}

#[test]
fn two_ports_with_one_mac_harm_only_each_other() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let free = || clearway.container_with(&net, |a| a.locked = false);
    let (a, b, x, y) = (
        clearway.container(&net),
        clearway.container(&net),
        free(),
        free(),
    );
    for twin in [&x, &y] {
        twin.ns
            .ip("link set eth0 address 02:00:00:00:00:77")
            .unwrap();
        twin.ns.ip("address flush dev eth0").unwrap();
    }
    link::address(&x.ns, "eth0", "10.10.50.1/16").unwrap();
    link::address(&y.ns, "eth0", "10.10.50.2/16").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| x.ping(a.ip(0), 20));
        scope.spawn(|| y.ping(a.ip(0), 20));
        tcp_exact(&b.ns, &a.ns, b.ip(0), 50 << 20).unwrap();
    });
}

#[test]
fn a_flood_of_macs_evicts_only_the_flooders_own() {
    let clearway = Clearway::start();
    let net = clearway.network_with("blue", 10, |n| {
        n.max_macs = 64;
        n.max_macs_per_port = 32;
    });
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    let flooder = clearway.container_with(&net, |attach| attach.locked = false);
    a.reaches(b.ip(0));
    for n in 0..200 {
        flooder
            .ns
            .ip(&format!("link set eth0 address 02:00:00:00:01:{n:02x}"))
            .unwrap();
        let _ = flooder.ns.output(
            "arping",
            &[
                "-c",
                "1",
                "-w",
                "1",
                "-f",
                "-I",
                "eth0",
                &a.ip(0).to_string(),
            ],
        );
        if clearway.client().status().unwrap().macs >= 34 {
            break;
        }
    }
    let entries = clearway.client().fdb(&api::Filter::default()).unwrap();
    let held = entries
        .iter()
        .filter(|e| e.port == flooder.endpoint.port)
        .count();
    assert!(held <= 32, "{held} entries");
    for good in [&a, &b] {
        assert!(entries.iter().any(|e| e.mac == good.endpoint.mac));
    }
    assert!(a.ping(b.ip(0), 5).is_complete());
}

#[test]
fn a_loop_is_bounded_and_the_others_go_on() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    // A namespace that bridges two ports of one network: what floods out of one comes in at the other.
    let looper = Namespace::new().unwrap();
    let storm = Some(StormLimits {
        broadcast: Some(500),
        multicast: Some(500),
        unknown_unicast: Some(500),
    });
    for (port, veth, peer) in [("l0", "v0", "p0"), ("l1", "v1", "p1")] {
        link::veth(&clearway.host, veth, &looper, peer).unwrap();
        clearway.packet_port(port, veth, |p| {
            p.network = Some(net.clone());
            p.storm = storm;
        });
    }
    link::bridge(&looper, "br0", &["p0", "p1"]).unwrap();
    let _ = a.ns.output(
        "arping",
        &["-c", "2", "-w", "2", "-I", "eth0", "10.10.200.200"],
    );
    wait_until("the storm limit", SOON, || {
        clearway.dropped("storm_broadcast") + clearway.dropped("storm_multicast") > 0
    })
    .unwrap();
    tcp_exact(&b.ns, &a.ns, b.ip(0), 20 << 20).unwrap();
}

#[test]
fn a_namespace_that_vanishes_under_traffic_harms_nobody() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    std::thread::scope(|scope| {
        let judge = scope.spawn(|| tcp_exact(&b.ns, &a.ns, b.ip(0), 300 << 20).unwrap());
        for _ in 0..5 {
            let (x, y) = (clearway.container(&net), clearway.container(&net));
            x.reaches(y.ip(0));
            let load = UdpLoad {
                size: 64,
                packets: 20_000,
                per_second: None,
            };
            std::thread::scope(|inner| {
                inner.spawn(|| udp_count(&y.ns, &x.ns, y.ip(0), &load));
                x.ns.ip("link set eth0 down").unwrap();
                y.ns.ip("link del eth0").unwrap();
            });
        }
        judge.join().unwrap();
    });
    wait_until("the vanished to be gone", SOON, || {
        clearway.client().endpoints().unwrap().len() == 2
    })
    .unwrap();
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused() {
    let clearway = Clearway::start();
    let mut second = Command::new(binary());
    second
        .arg("daemon")
        .arg("--socket")
        .arg(clearway.socket())
        .arg("--state-dir")
        .arg(clearway.dir.path().join("other"));
    let out = second.output().unwrap();
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains(&clearway.socket().display().to_string()),
        "{said}"
    );
    assert!(clearway.client().status().is_ok(), "the first goes on");
}

#[test]
fn two_daemons_live_side_by_side() {
    let (one, other) = (Clearway::start(), Clearway::start());
    one.network("blue", 10);
    assert!(other.client().networks().unwrap().is_empty());
}

#[test]
fn a_config_with_an_unknown_key_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "wrokers = 2\n").unwrap();
    let mut daemon = Command::new(binary());
    daemon
        .arg("daemon")
        .arg("--config")
        .arg(&config)
        .arg("--socket")
        .arg(dir.path().join("s"))
        .arg("--state-dir")
        .arg(dir.path());
    let out = daemon.output().unwrap();
    assert!(!out.status.success());
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("wrokers"),
        "{out:?}"
    );
}

#[test]
fn overlapping_networks_and_wrong_words_are_refused_with_the_reason() {
    let clearway = Clearway::start();
    clearway.network("blue", 10);
    for (words, expected) in [
        ("network create red --subnet 10.10.128.0/24", "blue"),
        ("network create blue", "blue"),
        ("network create red --mtu 70", "576"),
        (
            "attach --netns /nonexistent/ns --network blue",
            "/nonexistent/ns",
        ),
        ("attach --netns /proc/self/ns/net --network green", "green"),
        ("port show nobody", "nobody"),
        ("explain --port nobody --hex 00", "nobody"),
    ] {
        let out = clearway.cli(words);
        assert!(!out.status.success(), "{words}");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains(expected), "{words}: {said}");
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_nothing_is_left_half_made() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    // No file can be made in a directory that is not there any more.
    let state = clearway.dir.path().join("state");
    std::fs::rename(&state, clearway.dir.path().join("gone")).unwrap();
    let ns = Namespace::new().unwrap();
    let attach = api::Attach::new(net.clone(), api::Netns::Path(ns.path()));
    let refused = clearway.client().attach(&attach).unwrap_err().to_string();
    assert!(refused.contains("state"), "{refused}");
    assert!(
        !ns.ip("-o link").unwrap().contains("eth0"),
        "no interface is left"
    );
    assert_eq!(clearway.client().endpoints().unwrap().len(), 2);
    a.reaches(b.ip(0));
    std::fs::rename(clearway.dir.path().join("gone"), &state).unwrap();
    clearway.client().attach(&attach).unwrap();
}

#[test]
fn a_damaged_state_file_is_kept_aside_and_reported() {
    let mut clearway = Clearway::start();
    clearway.network("blue", 10);
    clearway.stop();
    let state = clearway.dir.path().join("state");
    let file = std::fs::read_dir(&state)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "json"))
        .unwrap();
    std::fs::write(&file, "{ not json").unwrap();
    clearway.restart();
    assert!(!clearway.client().status().unwrap().warnings.is_empty());
    let kept = std::fs::read_dir(&state)
        .unwrap()
        .any(|e| std::fs::read_to_string(e.unwrap().path()).is_ok_and(|t| t == "{ not json"));
    assert!(kept, "the damaged file is kept");
}

#[test]
fn a_port_set_down_carries_nothing() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    let admin = |state| PortSet {
        admin: Some(state),
        ..PortSet::default()
    };
    clearway
        .client()
        .port_set(&b.endpoint.port, &admin(api::AdminState::Down))
        .unwrap();
    assert_eq!(a.ping(b.ip(0), 2).received, 0);
    assert!(clearway.dropped("egress_down") > 0);
    clearway
        .client()
        .port_set(&b.endpoint.port, &admin(api::AdminState::Up))
        .unwrap();
    a.reaches(b.ip(0));
}
