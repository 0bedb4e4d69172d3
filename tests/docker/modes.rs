//! Docker's own ways of giving a container a network stay as they are, beside ours.

use crate::talk::{Teller, ask_tcp, is_refused};
use crate::world::{HOST, OUTSIDE, World, at};
use std::path::Path;
use testbed::docker::{Bridge, Firewall, Settings};

/// `--network none`: loopback, and nothing of ours.
#[test]
fn none_is_nothing() {
    let Some(world) = World::start() else { return };
    let before = world.links();
    let lonely = world.run("--network none");
    let links = world.sh(&lonely, "ip link | grep -c mtu");
    assert_eq!(links, "1", "loopback alone");
    assert_eq!(world.sh(&lonely, "cat /proc/net/route | wc -l"), "1");
    world.has_endpoints(0);
    assert_eq!(world.links(), before);
    world.has_no_bridge();
}

/// `--network host`: the machine's own interfaces and ports.
#[test]
fn host_is_the_machine_itself() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let on_host = world
        .engine
        .run_script("--network host", "exec httpd -f -p 8080 -h /www")
        .unwrap();
    let inside = world.sh(&on_host, "ip -o link | cut -d: -f2");
    for link in world.links() {
        assert!(inside.contains(&link), "{link} in {inside}");
    }
    let beside = world.run("--network web");
    world.reaches(&beside, "10.1.0.1");
    // It is at the host's address for the world and for containers, without having been published.
    let fetch = |ip| format!("wget -q -O - http://{ip}:8080/ 2>&1 || true");
    let told = world.sh(&beside, &fetch(HOST[0]));
    assert!(told.contains("404"), "{told}");
    for (ns, ip) in [(&world.outside, HOST[0]), (&world.outside, HOST[1])] {
        crate::talk::connect(ns, at(ip, 8080)).unwrap();
    }
    on_host.remove(&world.engine).unwrap();
    is_refused(&world.outside, at(HOST[0], 8080));
    world.reaches(&beside, "198.51.100.1");
}

/// `--network container:ID` beside a container of ours: one stack, two containers.
#[test]
fn a_container_shares_the_network_of_one_of_ours() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let owner = world.run("--network web --name owner -p 8080:80 -p 8081:81");
    let guest = world.run("--network container:owner");
    let stack = "readlink /proc/self/ns/net";
    assert_eq!(world.sh(&owner, stack), world.sh(&guest, stack));
    world.has_endpoints(1);
    let ns = world.ns(&owner);
    let _tellers = [80, 81].map(|port| Teller::start(&ns, port));
    for port in [8080, 8081] {
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            let seen = ask_tcp(&world.outside, at(host, port)).unwrap();
            assert_eq!(seen.ip(), outside);
        }
    }
    let peer = world.run("--network web");
    for container in [&owner, &guest] {
        world.reaches(
            container,
            &peer.ip(&world.engine, "web").unwrap().to_string(),
        );
        world.reaches(container, "198.51.100.1");
    }
    // The guest goes, and its host has what it had.
    guest.remove(&world.engine).unwrap();
    ask_tcp(&world.outside, at(HOST[0], 8080)).unwrap();
    world.has_endpoints(2);
}

/// Docker's own bridge beside ours: each has what it publishes.
#[test]
fn dockers_own_bridge_stays_what_it_is() {
    let settings = Settings {
        bridge: Bridge::Docker0,
        firewall: Firewall::Rules,
        ..Settings::default()
    };
    let Some(world) = World::start_with(settings) else {
        return;
    };
    world.dual("web", 1);
    let theirs = world.run("--name theirs");
    let ours = world.run("--network web -p 8080:80");
    let gateway = theirs
        .inspect(&world.engine, "{{.NetworkSettings.Gateway}}")
        .unwrap();
    world.reaches(&theirs, &gateway);
    world.reaches(&ours, "10.1.0.1");
    let _teller = Teller::start(&world.ns(&ours), 80);
    let seen = ask_tcp(&world.outside, at(HOST[0], 8080)).unwrap();
    assert_eq!(seen.ip(), OUTSIDE[0]);
    // A network of each: ours comes and goes.
    world.docker("network connect web theirs");
    world.reaches(&theirs, &ours.ip(&world.engine, "web").unwrap().to_string());
    world.docker("network disconnect web theirs");
    world.reaches(&theirs, &gateway);
}

/// What the engine and the plugin write stays on their machine.
#[test]
fn the_computer_keeps_nothing() {
    let seen = || {
        [
            "/etc/docker",
            "/opt/containerd",
            "/run/clearway",
            "/run/docker",
            "/run/docker.pid",
            "/var/lib/clearway",
            "/var/lib/docker",
        ]
        .map(|at| {
            Path::new(at)
                .symlink_metadata()
                .and_then(|of| of.modified())
                .ok()
        })
    };
    let before = seen();
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24");
    world.run("--network web");
    let ours = world.machine.cgroup();
    let groups = ["", "memory", "pids", "devices"].map(|hierarchy| {
        let root = Path::new("/sys/fs/cgroup").join(hierarchy);
        root.join(ours.trim_start_matches('/'))
    });
    assert!(groups.iter().any(|at| at.exists()), "one of {groups:?}");
    drop(world);
    assert_eq!(seen(), before);
    for at in groups {
        assert!(!at.exists(), "{} is there", at.display());
    }
}
