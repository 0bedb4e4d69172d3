//! Networks that the world knows addresses of: routed as they are, or by another prefix.

use super::talk::{Teller, ask_tcp, ask_udp, is_silent};
use super::{HOST, Outside, WORLD, at, settled};
use crate::fixture::Container;
use api::ExternalPrefix;
use nat::PrefixPair;
use std::net::IpAddr;
use testbed::traffic::{Amount, Ping, Way, ping, tcp_bulk_by, tcp_exact};

const MIB: u64 = 1 << 20;

/// How each sees the other when either calls.
fn talk_both_ways(outside: &Outside, container: &Container, ip: IpAddr, seen_as: IpAddr) {
    let world_ip = WORLD[usize::from(ip.is_ipv6())];
    let world = &outside.world;
    let in_world = Teller::start(world, 7000);
    let inside = Teller::start(&container.ns, 7001);
    container.reaches(world_ip);
    for seen in [
        ask_tcp(&container.ns, in_world.at(world_ip)).unwrap(),
        ask_udp(&container.ns, in_world.at(world_ip)).unwrap(),
    ] {
        assert_eq!(seen.ip(), seen_as);
    }
    for seen in [
        ask_tcp(world, inside.at(seen_as)).unwrap(),
        ask_udp(world, inside.at(seen_as)).unwrap(),
    ] {
        assert_eq!(seen.ip(), world_ip);
    }
    tcp_exact(world, &container.ns, world_ip, 20 * MIB).unwrap();
    let way = Way {
        listen: at(ip, 0),
        to: at(seen_as, 0),
    };
    let report = tcp_bulk_by(&container.ns, world, way, Amount::Bytes(20 * MIB), 1).unwrap();
    assert_eq!(report.bytes, 20 * MIB);
    for size in [56, 5000] {
        let echo = Ping {
            size,
            ..Ping::new(seen_as)
        };
        assert!(ping(world, &echo).unwrap().is_complete(), "{size} bytes");
    }
}

#[test]
fn without_masquerade_the_world_sees_and_reaches_the_container() {
    let outside = Outside::with_uplink();
    let open = outside.clearway.network_with("open", 4, |network| {
        network.routing.masquerade = api::Masquerade::Off;
    });
    let container = outside.clearway.container(&open);
    let world = &outside.world;
    world.ip("route add 10.4.0.0/16 via 198.51.100.2").unwrap();
    world
        .ip("-6 route add 2001:db8:4::/64 via 2001:db8:ffff::2")
        .unwrap();
    for index in 0..2 {
        let ip = container.ip(index);
        talk_both_ways(&outside, &container, ip, ip);
    }
    // The host itself is reached as ever, and a network that hides is not.
    assert!(ping(world, &Ping::new(HOST[0])).unwrap().is_complete());
    let hidden = outside.clearway.network("web", 1);
    let shy = outside.clearway.container(&hidden);
    let teller = Teller::start(&shy.ns, 7001);
    world.ip("route add 10.1.0.0/16 via 198.51.100.2").unwrap();
    is_silent(world, teller.at(shy.ip(0)));
}

#[test]
fn one_ip_version_is_routed_and_the_other_masqueraded() {
    let outside = Outside::with_uplink();
    let mixed = outside.clearway.network_with("mixed", 4, |network| {
        network.routing.masquerade = api::Masquerade::Ipv4;
    });
    let container = outside.clearway.container(&mixed);
    let world = &outside.world;
    world.ip("route add 10.4.0.0/16 via 198.51.100.2").unwrap();
    world
        .ip("-6 route add 2001:db8:4::/64 via 2001:db8:ffff::2")
        .unwrap();
    talk_both_ways(&outside, &container, container.ip(1), container.ip(1));
    let teller = Teller::start(world, 7002);
    let seen = ask_tcp(&container.ns, teller.at(WORLD[0])).unwrap();
    assert_eq!(seen.ip(), HOST[0]);
    let hidden = Teller::start(&container.ns, 7003);
    is_silent(world, hidden.at(container.ip(0)));
    // Live, the other way round.
    outside.set(&mixed, |set| set.masquerade = Some(api::Masquerade::Ipv6));
    for (to, seen_as) in [(WORLD[0], container.ip(0)), (WORLD[1], HOST[1])] {
        let seen = ask_tcp(&container.ns, teller.at(to)).unwrap();
        assert_eq!(seen.ip(), seen_as);
    }
}

#[test]
fn the_world_knows_a_network_by_another_prefix() {
    let outside = Outside::with_uplink();
    let elsewhere = "2001:db8:aaaa::/64".parse().unwrap();
    let net = outside.clearway.network_with("inner", 5, |network| {
        network.routing.nptv6 = ExternalPrefix::Prefix(elsewhere);
    });
    let [one, two] = [(); 2].map(|()| outside.clearway.container(&net));
    let world = &outside.world;
    world
        .ip("-6 route add 2001:db8:aaaa::/64 via 2001:db8:ffff::2")
        .unwrap();
    settled(world);
    let pair = PrefixPair::new("2001:db8:5::/64".parse().unwrap(), elsewhere).unwrap();
    let known = |container: &Container| match container.ip(1) {
        IpAddr::V6(ip) => IpAddr::V6(pair.outward(ip).unwrap()),
        IpAddr::V4(ip) => panic!("{ip} is of the other family"),
    };
    talk_both_ways(&outside, &one, one.ip(1), known(&one));
    // IPv4 is masqueraded as ever, and neighbours meet by either name.
    let teller = Teller::start(world, 7002);
    let seen = ask_tcp(&one.ns, teller.at(WORLD[0])).unwrap();
    assert_eq!(seen.ip(), HOST[0]);
    let neighbour = Teller::start(&two.ns, 7003);
    let seen = ask_tcp(&one.ns, neighbour.at(known(&two))).unwrap();
    assert_eq!(seen.ip(), known(&one));
    let seen = ask_tcp(&one.ns, neighbour.at(two.ip(1))).unwrap();
    assert_eq!(seen.ip(), one.ip(1));
    // Live, back to masquerading.
    outside.set(&net, |set| set.nptv6 = Some(ExternalPrefix::None));
    let seen = ask_tcp(&one.ns, teller.at(WORLD[1])).unwrap();
    assert_eq!(seen.ip(), HOST[1]);
    is_silent(world, neighbour.at(known(&two)));
}
