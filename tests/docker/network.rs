//! `docker network` with our driver: what it makes, shows, refuses and takes away.

use crate::talk::{Teller, ask_tcp};
use crate::world::{HOST, OUTSIDE, World, at};

#[test]
fn a_network_is_made_listed_inspected_and_removed() {
    let Some(world) = World::start() else { return };
    world.network("web", "--subnet 10.1.0.0/24 --label team=blue");
    let listed = world.docker("network ls --filter driver=clearway --format {{.Name}}/{{.Driver}}");
    assert_eq!(listed, "web/clearway");
    let inspect = |template| {
        let words = ["network", "inspect", "--format", template, "web"];
        world.engine.docker_words(&words).unwrap()
    };
    let config = inspect("{{json .IPAM.Config}}");
    assert!(config.contains(r#""Subnet":"10.1.0.0/24""#), "{config}");
    assert_eq!(world.clearway.client().networks().unwrap().len(), 1);
    let container = world.run("--network web --name shop");
    assert_eq!(inspect("{{range .Containers}}{{.Name}}{{end}}"), "shop");
    // It is in use until the container is gone.
    let refused = world.engine.refusal("network rm web").unwrap();
    assert!(refused.contains("active endpoints"), "{refused}");
    container.remove(&world.engine).unwrap();
    world.remove_network("web");
    assert_eq!(world.clearway.client().networks().unwrap(), []);
    world.has_no_bridge();
}

/// Without a subnet Docker's own address management finds one.
#[test]
fn a_network_without_a_subnet_gets_one() {
    let Some(world) = World::start() else { return };
    world.network("web", "");
    let [a, b] = [(); 2].map(|()| world.run("--network web"));
    let to = b.ip(&world.engine, "web").unwrap();
    world.reaches(&a, &to.to_string());
    world.reaches(&a, &OUTSIDE[0].to_string());
    // It is ours that has the gateway.
    let gateway = a
        .inspect(
            &world.engine,
            "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}",
        )
        .unwrap();
    world.reaches(&a, &gateway);
    world.has_no_bridge();
}

#[test]
fn addresses_are_what_was_asked_for() {
    let Some(world) = World::start() else { return };
    world.network(
        "web",
        "--ipv6 --subnet 10.1.0.0/24 --gateway 10.1.0.254 --ip-range 10.1.0.128/25 \
         --aux-address printer=10.1.0.129 --subnet 2001:db8:1::/64 --gateway 2001:db8:1::fe",
    );
    let asked = "--ip 10.1.0.77 --ip6 2001:db8:1::77 --mac-address 02:00:00:00:00:77";
    let shop = world.run(&format!("--network web {asked}"));
    let shown = world.sh(&shop, "ip addr show eth0");
    for part in ["10.1.0.77/24", "2001:db8:1::77/64", "02:00:00:00:00:77"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let routes = world.sh(&shop, "ip route; ip -6 route");
    for part in ["default via 10.1.0.254", "default via 2001:db8:1::fe"] {
        assert!(routes.contains(part), "{part} in {routes}");
    }
    for to in ["10.1.0.254", "2001:db8:1::fe"] {
        world.reaches(&shop, to);
    }
    for to in OUTSIDE {
        world.reaches(&shop, &to.to_string());
    }
    // The next has the first of the range that is not the printer's.
    let next = world.run("--network web");
    let given = next.ip(&world.engine, "web").unwrap();
    assert_eq!(given.to_string(), "10.1.0.128");
    let then = world.run("--network web").ip(&world.engine, "web").unwrap();
    assert_eq!(then.to_string(), "10.1.0.130", "the printer has 10.1.0.129");
    world.reaches(&next, "10.1.0.77");
    // Docker shows the hardware address that the container has.
    let shown = next
        .inspect(
            &world.engine,
            "{{(index .NetworkSettings.Networks \"web\").MacAddress}}",
        )
        .unwrap();
    assert!(
        world.sh(&next, "ip link show eth0").contains(&shown),
        "{shown}"
    );
    assert_eq!(shown.len(), 17, "`{shown}`");
}

#[test]
fn an_internal_network_has_no_way_out() {
    let Some(world) = World::start() else { return };
    world.network("lab", "--internal --subnet 10.1.0.0/24");
    world.network("web", "--subnet 10.2.0.0/24");
    let [a, b] = [(); 2].map(|()| world.run("--network lab"));
    let other = world.run("--network web");
    world.reaches(&a, &b.ip(&world.engine, "lab").unwrap().to_string());
    assert_eq!(world.sh(&a, "ip route | grep -c default || true"), "0");
    world.reaches(&other, &OUTSIDE[0].to_string());
    for to in [OUTSIDE[0], other.ip(&world.engine, "web").unwrap()] {
        world.does_not_reach(&a, &to.to_string());
    }
    // Nor with a route of the container's own.
    let routed = world.run("--network lab --cap-add NET_ADMIN");
    world.sh(&routed, "ip route add default via 10.1.0.1");
    world.does_not_reach(&routed, &OUTSIDE[0].to_string());
    world.has_no_bridge();
}

#[test]
fn the_mtu_is_the_networks() {
    let Some(world) = World::start() else { return };
    world.network(
        "narrow",
        "--subnet 10.1.0.0/24 -o com.docker.network.driver.mtu=1400",
    );
    world.network("usual", "--subnet 10.2.0.0/24");
    for (network, mtu) in [("narrow", "1400"), ("usual", "1500")] {
        let container = world.run(&format!("--network {network}"));
        assert_eq!(world.sh(&container, "cat /sys/class/net/eth0/mtu"), mtu);
        // What is larger than the MTU travels in pieces; an answer's that are too large for the
        // narrow network are cut once more.
        world.reaches(&container, &format!("-s 3000 {}", OUTSIDE[0]));
    }
}

#[test]
fn what_is_not_understood_is_refused_in_words() {
    let Some(world) = World::start() else { return };
    for (options, named) in [
        ("-o clearway.no_such_option=1", "clearway.no_such_option"),
        ("-o com.docker.network.driver.mtu=12", "12"),
        ("-o com.docker.network.driver.mtu=large", "large"),
        ("--subnet 10.1.0.0/24 --gateway 10.2.0.1", "10.2.0.1"),
    ] {
        let words = format!("network create --driver clearway {options} bad");
        let refused = world.engine.refusal(&words).unwrap();
        assert!(refused.contains(named), "{options}: {refused}");
        let there = world.docker("network ls --quiet --filter name=bad");
        assert_eq!(there, "", "{options}");
        assert_eq!(world.clearway.client().networks().unwrap(), [], "{options}");
    }
    // The name is free, and the driver works.
    world.network("bad", "--subnet 10.1.0.0/24");
    let container = world.run("--network bad");
    world.reaches(&container, &OUTSIDE[0].to_string());
}

/// Docker's own driver knows gateway modes from 27 on; this one for every engine.
#[test]
fn ipv6_is_routed_while_ipv4_is_masqueraded() {
    let Some(world) = World::start() else { return };
    let routed = "-o com.docker.network.bridge.gateway_mode_ipv6=routed";
    let nets = "--ipv6 --subnet 10.4.0.0/24 --subnet 2001:db8:4::/64";
    world.network("mixed", &format!("{nets} {routed}"));
    let shop = world.run("--network mixed");
    let route = "-6 route add 2001:db8:4::/64 via 2001:db8:ffff::2";
    world.outside.ip(route).unwrap();
    let own = shop.ip6(&world.engine, "mixed").unwrap();
    let inside = world.ns(&shop);
    let (_in, _out) = (
        Teller::start(&inside, 80),
        Teller::start(&world.outside, 7000),
    );
    for (outside, seen_as) in OUTSIDE.into_iter().zip([HOST[0], own]) {
        let seen = ask_tcp(&inside, at(outside, 7000)).unwrap();
        assert_eq!(seen.ip(), seen_as);
    }
    let seen = ask_tcp(&world.outside, at(own, 80)).unwrap();
    assert_eq!(seen.ip(), OUTSIDE[1]);
}

/// Networks do not reach each other, as Docker's own do not.
#[test]
fn networks_are_apart() {
    let Some(world) = World::start() else { return };
    world.dual("a", 1);
    world.dual("b", 2);
    let [a, b] = ["a", "b"].map(|network| world.run(&format!("--network {network}")));
    for (container, to) in [(&a, "10.1.0.1"), (&b, "10.2.0.1")] {
        world.reaches(container, to);
    }
    for to in [b.ip(&world.engine, "b"), b.ip6(&world.engine, "b")] {
        world.does_not_reach(&a, &to.unwrap().to_string());
    }
}
