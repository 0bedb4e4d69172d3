//! `clearway adopt docker0`: containers of Docker's own bridge on a network of ours, without their or
//! dockerd's doing anything else than ever; and the way back.

use crate::talk::{Teller, ask_tcp, ask_udp, is_refused};
use crate::world::{HOST, LOOPBACK, OUTSIDE, SOON, World, at};
use nix::sys::signal::Signal;
use std::net::{IpAddr, Ipv4Addr};
use testbed::docker::{Bridge, Container, Firewall, OnStop, Proxy, Settings};
use testbed::{link, wait_until};

/// docker0's, and so what a container sees of whoever comes through docker-proxy.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));

/// A dockerd with docker0 and without rules in the firewall.
fn world(on_stop: OnStop) -> Option<World> {
    World::start_with(Settings {
        bridge: Bridge::Docker0,
        on_stop,
        ..Settings::default()
    })
}

/// Returns who the container behind the host's `port` is talked to by, when the world calls.
#[track_caller]
fn seen(world: &World, port: u16) -> IpAddr {
    let seen = ask_tcp(&world.outside, at(HOST[0], port));
    seen.unwrap_or_else(|why| panic!("port {port}: {why}")).ip()
}

/// Waits until the world is seen as itself at the host's `port`.
#[track_caller]
fn is_seen_as_itself(world: &World, port: u16) {
    let seen = || ask_tcp(&world.outside, at(HOST[0], port)).is_ok_and(|s| s.ip() == OUTSIDE[0]);
    wait_until("the world's own address", SOON, seen).unwrap();
}

#[track_caller]
fn adopt(world: &World, bridge: &str, endpoints: usize) {
    assert_eq!(
        world.clearway.told(&format!("adopt {bridge}")).trim(),
        bridge
    );
    world.has_endpoints(endpoints);
    is_joined(world);
}

/// Waits until each endpoint has its interface.
#[track_caller]
fn is_joined(world: &World) {
    let client = world.clearway.client();
    let joined = || {
        client
            .endpoints()
            .unwrap()
            .iter()
            .all(|e| e.netns.is_some())
    };
    wait_until("interfaces", SOON, joined).unwrap();
}

/// The ports of a bridge.
fn ports_of(world: &World, bridge: &str) -> usize {
    let ports = world.host().ip(&format!("-o link show master {bridge}"));
    ports.unwrap().lines().count()
}

/// All of the host's network, but for clocks.
fn footprint(world: &World) -> String {
    let shown = ["-d link", "-d address", "route show table all"];
    let shown = shown
        .map(|words| world.host().ip(words).unwrap())
        .join("---");
    link::without_timers(&shown)
}

fn web(world: &World) -> (Container, Teller) {
    let web = world.run("--name web -p 8080:80");
    let teller = Teller::start(&world.ns(&web), 80);
    (web, teller)
}

#[test]
fn an_unchanged_docker_run_is_carried_by_us_and_given_back() {
    let Some(world) = world(OnStop::Stop) else {
        return;
    };
    let (web, teller) = web(&world);
    assert_eq!(seen(&world, 8080), GATEWAY);
    world.does_not_reach(&web, &OUTSIDE[0].to_string());
    wait_until("addresses that may be used", SOON, || {
        !footprint(&world).contains("tentative")
    })
    .unwrap();
    let before = footprint(&world);

    adopt(&world, "docker0", 1);
    is_seen_as_itself(&world, 8080);
    assert_eq!(ports_of(&world, "docker0"), 0);
    for ip in [LOOPBACK[0], HOST[0]] {
        ask_tcp(world.host(), at(ip, 8080)).unwrap_or_else(|why| panic!("{ip}: {why}"));
    }
    world.reaches(&web, &OUTSIDE[0].to_string());
    world.reaches(&web, &GATEWAY.to_string());
    let ports = world.clearway.told("ports");
    assert!(ports.contains("web") && ports.contains("8080"), "{ports}");

    // One that is started afterwards.
    let late = world.run("--name late -p 8090:80");
    world.has_endpoints(2);
    is_joined(&world);
    let late_teller = Teller::start(&world.ns(&late), 80);
    is_seen_as_itself(&world, 8090);
    let ip = web.ip(&world.engine, "bridge").unwrap();
    world.reaches(&late, &ip.to_string());
    drop(late_teller);
    late.remove(&world.engine).unwrap();
    world.has_endpoints(1);
    is_refused(&world.outside, at(HOST[0], 8090));

    assert_eq!(world.clearway.told("release docker0").trim(), "docker0");
    world.has_endpoints(0);
    assert_eq!(ports_of(&world, "docker0"), 1);
    wait_until("the host's network as it was", SOON, || {
        footprint(&world) == before
    })
    .unwrap_or_else(|error| panic!("{error}:\n{}\n{before}", footprint(&world)));
    assert_eq!(seen(&world, 8080), GATEWAY);
    drop(teller);
}

#[test]
fn a_killed_daemon_takes_up_what_it_had_and_without_one_docker_has_it_back() {
    let Some(mut world) = world(OnStop::Stop) else {
        return;
    };
    let (_web, teller) = web(&world);
    adopt(&world, "docker0", 1);
    is_seen_as_itself(&world, 8080);
    world.clearway.end(Signal::SIGKILL);
    world.clearway.start_again();
    is_seen_as_itself(&world, 8080);
    world.has_endpoints(1);

    world.clearway.end(Signal::SIGTERM);
    assert_eq!(ports_of(&world, "docker0"), 1);
    assert_eq!(seen(&world, 8080), GATEWAY);
    world.clearway.start_again();
    is_seen_as_itself(&world, 8080);
    drop(teller);
}

#[test]
fn dockerd_may_be_restarted_meanwhile() {
    let Some(mut world) = world(OnStop::GoOn) else {
        return;
    };
    let (web, teller) = web(&world);
    adopt(&world, "docker0", 1);
    is_seen_as_itself(&world, 8080);
    world.engine.kill().unwrap();
    is_seen_as_itself(&world, 8080);
    world.engine.start_again().unwrap();
    // It has its bridge with the addresses it knows.
    let late = world.run("-p 8090:80");
    assert_eq!(
        late.ip(&world.engine, "bridge")
            .unwrap()
            .to_string()
            .rsplit_once('.')
            .unwrap()
            .0,
        "172.17.0"
    );
    world.has_endpoints(2);
    is_joined(&world);
    world.reaches(&late, &web.ip(&world.engine, "bridge").unwrap().to_string());
    is_seen_as_itself(&world, 8080);
    drop(teller);
}

/// Docker's rules are about docker0, by which nothing passes any more.
#[test]
fn dockers_own_rules_are_in_nobodys_way_and_a_restarted_container_is_followed() {
    let Some(world) = World::start_with(Settings {
        firewall: Firewall::Rules,
        bridge: Bridge::Docker0,
        ..Settings::default()
    }) else {
        return;
    };
    let (web, teller) = web(&world);
    adopt(&world, "docker0", 1);
    is_seen_as_itself(&world, 8080);
    for ip in [LOOPBACK[0], HOST[0]] {
        ask_tcp(world.host(), at(ip, 8080)).unwrap_or_else(|why| panic!("{ip}: {why}"));
    }
    world.reaches(&web, &OUTSIDE[0].to_string());
    let endpoint = || world.clearway.client().endpoints().unwrap()[0].id.clone();
    let before = world.clearway.client().publications().unwrap()[0]
        .id
        .clone();
    drop(teller);
    world.docker("restart web");
    let teller = Teller::start(&world.ns(&web), 80);
    is_seen_as_itself(&world, 8080);
    world.has_endpoints(1);
    assert_eq!(endpoint().as_str(), "web");
    assert_ne!(
        world.clearway.client().publications().unwrap()[0].id,
        before
    );
    // Out of the network and in again, as it runs.
    world.docker("network disconnect bridge web");
    world.has_endpoints(0);
    world.docker("network connect bridge web");
    world.has_endpoints(1);
    is_joined(&world);
    world.reaches(&web, &OUTSIDE[0].to_string());
    drop(teller);
}

#[test]
fn a_network_of_dockers_own_driver_is_adopted_with_its_settings() {
    let Some(world) = world(OnStop::Stop) else {
        return;
    };
    let options = "-o com.docker.network.bridge.enable_icc=false --subnet 10.33.0.0/24";
    let id = world.docker(&format!("network create {options} shop"));
    let containers = ["one", "two"].map(|name| world.run(&format!("--network shop --name {name}")));
    let bridge = format!("br-{}", &id[..12]);
    adopt(&world, &bridge, 2);
    world.reaches(&containers[0], &OUTSIDE[0].to_string());
    let ip = containers[1].ip(&world.engine, "shop").unwrap().to_string();
    world.does_not_reach(&containers[0], &ip);
    let client = world.clearway.client();
    let network = client.network(&bridge.parse().unwrap()).unwrap();
    assert!(!network.spec.routing.icc);
    let names: Vec<_> = client
        .endpoints()
        .unwrap()
        .into_iter()
        .filter_map(|e| e.name)
        .collect();
    assert!(names.iter().any(|name| name.as_str() == "one"), "{names:?}");
    world.clearway.told(&format!("release {bridge}"));
    assert_eq!(ports_of(&world, &bridge), 2);
}

/// What comes from outside needs no docker-proxy. The host itself does: without one dockerd holds the
/// ports all the same, and answers nobody.
#[test]
fn ports_of_both_protocols_and_ip_versions_are_taken_over_with_docker_proxy_and_without() {
    for proxy in [Proxy::Runs, Proxy::None] {
        let Some(world) = World::start_with(Settings {
            bridge: Bridge::Docker0,
            proxy,
            ..Settings::default()
        }) else {
            return;
        };
        let nets = "--subnet 10.34.0.0/24 --subnet 2001:db8:34::/64";
        let id = world.docker(&format!("network create --ipv6 {nets} shop"));
        let shop = world.run("--network shop --name shop -p 8080:80 -p 8053:53/udp -p 8443:443");
        let ns = world.ns(&shop);
        let _tellers = [80, 53].map(|port| Teller::start(&ns, port));
        adopt(&world, &format!("br-{}", &id[..12]), 1);
        is_seen_as_itself(&world, 8080);
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            world.reaches(&shop, &outside.to_string());
            let seen = ask_tcp(&world.outside, at(host, 8080)).unwrap().ip();
            assert_eq!(seen, outside, "{proxy:?}");
            let seen = ask_udp(&world.outside, at(host, 8053)).unwrap().ip();
            assert_eq!(seen, outside, "{proxy:?}");
            // Nobody listens there in the container: it is the container that says so.
            is_refused(&world.outside, at(host, 8443));
        }
        let ips = LOOPBACK.into_iter().chain(HOST);
        for ip in ips.filter(|_| proxy == Proxy::Runs) {
            ask_tcp(world.host(), at(ip, 8080)).unwrap_or_else(|why| panic!("{ip}: {why}"));
        }
    }
}

#[test]
fn an_internal_network_of_dockers_own_stays_one() {
    let Some(world) = world(OnStop::Stop) else {
        return;
    };
    let id = world.docker("network create --internal --subnet 10.35.0.0/24 lab");
    let [one, two] = ["one", "two"].map(|name| world.run(&format!("--network lab --name {name}")));
    adopt(&world, &format!("br-{}", &id[..12]), 2);
    let ip = two.ip(&world.engine, "lab").unwrap().to_string();
    world.reaches(&one, &ip);
    world.does_not_reach(&one, &OUTSIDE[0].to_string());
}
