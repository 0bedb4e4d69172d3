//! `docker run --publish` in every form: from outside with the caller's own address, from the
//! machine itself, refused where another has the port, given back when the container stops.

use crate::talk::{Teller, ask_tcp, ask_udp, is_refused};
use crate::world::{HOST, LOOPBACK, OUTSIDE, SOON, World, at};
use std::net::{TcpListener, UdpSocket};
use testbed::docker::Container;
use testbed::wait_until;

/// Fails unless the container behind `port` sees the world's own addresses.
#[track_caller]
fn is_seen_as_itself(world: &World, port: u16) {
    for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
        let seen = ask_tcp(&world.outside, at(host, port));
        let seen = seen.unwrap_or_else(|why| panic!("{host} port {port}: {why}"));
        assert_eq!(seen.ip(), outside, "port {port}");
    }
}

/// The host's port that leads to `container_port`, by the daemon's own list: `docker port` shows
/// none for a plugin's network.
#[track_caller]
fn port_of(world: &World, container_port: u16) -> u16 {
    let all = world.clearway.client().publications().unwrap();
    let found = all.iter().find(|p| p.spec.to == container_port);
    let found = found.unwrap_or_else(|| panic!("{container_port} in {all:?}"));
    found.spec.ports.first()
}

/// Returns whether `clearway ports` says that `port` leads to `container_port` of a container.
fn is_listed(world: &World, name: &str, port: u16, container_port: u16) -> bool {
    let table = world.clearway.told("ports");
    let parts = [name, &port.to_string(), &container_port.to_string()];
    table
        .lines()
        .any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn every_form_of_publish_is_reached_as_it_says() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop = world.run(
        "--network web -p 8081:80 -p 8053:53/udp -p 9000-9002:9000-9002 -p 198.51.100.2:8088:80",
    );
    let ns = world.ns(&shop);
    let _tellers = [80, 53, 9000, 9001, 9002].map(|port| Teller::start(&ns, port));
    for port in [8081, 9000, 9001, 9002] {
        is_seen_as_itself(&world, port);
    }
    for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
        assert_eq!(
            ask_udp(&world.outside, at(host, 8053)).unwrap().ip(),
            outside
        );
        // Not of the other protocol, nor beside the range.
        for port in [8053, 8999, 9003] {
            is_refused(&world.outside, at(host, port));
        }
    }
    for ip in LOOPBACK.into_iter().chain(HOST) {
        for port in [8081, 9001] {
            ask_tcp(world.host(), at(ip, port)).unwrap_or_else(|why| panic!("{ip}:{port}: {why}"));
        }
    }
    let seen = ask_tcp(&world.outside, at(HOST[0], 8088)).unwrap();
    assert_eq!(seen.ip(), OUTSIDE[0]);
    is_refused(&world.outside, at(HOST[1], 8088));
    is_refused(world.host(), at(LOOPBACK[0], 8088));
    world.has_no_bridge();
}

/// A port of the machine's own address is for the machine alone.
#[test]
fn a_port_at_a_loopback_address_is_not_for_the_world() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop =
        world.run("--network web -p 127.0.0.1:5353:53/udp -p 127.0.0.1:8086:80 -p [::1]:8087:80");
    let ns = world.ns(&shop);
    let _tellers = [80, 53].map(|port| Teller::start(&ns, port));
    ask_udp(world.host(), at(LOOPBACK[0], 5353)).unwrap();
    ask_tcp(world.host(), at(LOOPBACK[0], 8086)).unwrap();
    ask_tcp(world.host(), at(LOOPBACK[1], 8087)).unwrap();
    is_refused(world.host(), at(LOOPBACK[1], 8086));
    is_refused(world.host(), at(LOOPBACK[0], 8087));
    for host in HOST {
        for port in [8086, 8087] {
            is_refused(&world.outside, at(host, port));
            is_refused(world.host(), at(host, port));
        }
    }
}

#[test]
fn a_port_that_was_left_open_is_chosen_and_told() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 7070 --expose 7171 -P");
    let ns = world.ns(&shop);
    let _tellers = [7070, 7171].map(|port| Teller::start(&ns, port));
    let mut chosen = Vec::new();
    for container_port in [7070, 7171] {
        let published = port_of(&world, container_port);
        assert_ne!(published, 0);
        is_seen_as_itself(&world, published);
        // Docker is asked for the name after it has started the container.
        wait_until(&format!("{published} of shop"), SOON, || {
            is_listed(&world, "shop", published, container_port)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", world.clearway.told("ports")));
        chosen.push(published);
    }
    assert_ne!(chosen[0], chosen[1]);
}

#[test]
fn of_a_range_the_first_free_port_is_taken() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    // A program of the machine's has the first.
    let _theirs = world.host().run(|| TcpListener::bind("[::]:9100").unwrap());
    let publish = "--network web -p 9100-9102:80";
    let [one, two] = [(); 2].map(|()| world.run(publish));
    let _tellers = [&one, &two].map(|c| Teller::start(&world.ns(c), 80));
    for port in [9101, 9102] {
        is_seen_as_itself(&world, port);
    }
    let refused = world.run_refused(publish);
    assert!(
        refused.contains("9100") && refused.contains("9102"),
        "{refused}"
    );
}

#[test]
fn a_taken_port_is_refused_in_words_and_given_back() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 8081:80 -p 8081:80/udp");
    let refused = world.run_refused("--network web --name late -p 8081:80");
    assert!(refused.contains("8081"), "{refused}");
    // Nothing of the one that was refused stays.
    world.docker("rm late");
    world.has_endpoints(1);
    assert_eq!(world.clearway.client().publications().unwrap().len(), 2);

    world.docker("stop shop");
    for host in HOST {
        is_refused(&world.outside, at(host, 8081));
    }
    bind_both(&world, 8081);
    world.docker("start shop");
    let teller = Teller::start(&world.ns(&shop), 80);
    is_seen_as_itself(&world, 8081);
    drop(teller);
    world.docker("restart shop");
    let teller = Teller::start(&world.ns(&shop), 80);
    is_seen_as_itself(&world, 8081);
    drop(teller);
    shop.remove(&world.engine).unwrap();
    bind_both(&world, 8081);
    assert_eq!(world.clearway.client().publications().unwrap(), []);
}

/// Waits until a program of the machine's may have `port`.
fn bind_both(world: &World, port: u16) {
    wait_until("a port given back", SOON, || {
        world.host().run(|| {
            TcpListener::bind(("::", port)).is_ok() && UdpSocket::bind(("::", port)).is_ok()
        })
    })
    .unwrap();
}

/// A program of the machine's is not robbed of its port.
#[test]
fn the_port_of_a_program_is_refused() {
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24");
    let theirs = world
        .host()
        .run(|| TcpListener::bind("0.0.0.0:8081").unwrap());
    let refused = world.run_refused("--network web --name shop -p 8081:80");
    assert!(
        refused.contains("8081") && refused.contains("in use"),
        "{refused}"
    );
    drop(theirs);
    world.docker("start shop");
    assert_eq!(port_of(&world, 80), 8081);
}

/// Another container reaches it by the machine's address, over networks that are apart.
#[test]
fn containers_reach_a_published_port_by_the_hosts_address() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    world.dual("other", 2);
    let shop = world.run("--network web -p 8081:80");
    let callers = ["web", "other"].map(|network| world.run(&format!("--network {network}")));
    let _teller = Teller::start(&world.ns(&shop), 80);
    for caller in &callers {
        for host in HOST {
            let seen = ask_tcp(&world.ns(caller), at(host, 8081));
            assert_eq!(
                seen.unwrap().ip(),
                host,
                "as the world sees it (RFC 4787 REQ-9)"
            );
        }
    }
}

/// `clearway ports`, which stands for the column that `docker ps` leaves empty.
#[test]
fn the_list_of_ports_names_containers() {
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24");
    let names = ["shop", "till"];
    let containers: Vec<Container> = (1..)
        .zip(names)
        .map(|(n, name)| world.run(&format!("--network web --name {name} -p 808{n}:80")))
        .collect();
    let told = |name: &str, port: u16| is_listed(&world, name, port, 80);
    for (port, name) in (8081..).zip(names) {
        wait_until(&format!("{name} at {port}"), SOON, || told(name, port)).unwrap();
    }
    // Names are Docker's, and change with it.
    world.docker("rename till box");
    wait_until("the new name", SOON, || told("box", 8082)).unwrap();
    for container in containers {
        container.remove(&world.engine).unwrap();
    }
    assert!(!told("shop", 8081));
}
