//! The gateway itself, the host behind it, and who of the networks reaches whom.

use super::talk::{Teller, ask_tcp, ask_udp, is_deaf, is_refused, is_silent};
use super::{HOST, Outside, WORLD, at, gateway};
use crate::fixture::SOON;
use api::{Name, NetworkSet};
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::wait_until;

impl Outside {
    pub(super) fn set(&self, network: &Name, change: impl FnOnce(&mut NetworkSet)) {
        let mut set = NetworkSet::default();
        change(&mut set);
        self.clearway.client().network_set(network, &set).unwrap();
    }
}

#[test]
fn the_gateway_answers_pings() {
    let outside = Outside::start();
    let web = outside.clearway.network("web", 1);
    let container = outside.clearway.container(&web);
    for ip in gateway(1) {
        container.reaches(ip);
        assert!(container.ping(ip, 5).is_complete(), "{ip}");
    }
}

#[test]
fn host_and_container_reach_each_other() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let inside = Teller::start(&container.ns, 7001);
    for (index, gateway) in gateway(1).into_iter().enumerate() {
        let own = container.ip(index);
        // At the gateway's address and at its own: the host sees the container as it is.
        for host in [gateway, HOST[index]] {
            let on_host = Teller::start_at(outside.host(), at(host, 7000));
            let seen = ask_tcp(&container.ns, on_host.at(host)).unwrap();
            assert_eq!(seen.ip(), own, "TCP to {host}");
            let seen = ask_udp(&container.ns, on_host.at(host)).unwrap();
            assert_eq!(seen.ip(), own, "UDP to {host}");
        }
        assert_eq!(
            ask_tcp(outside.host(), inside.at(own)).unwrap().ip(),
            gateway
        );
        let ping = ping(outside.host(), &Ping::new(own)).unwrap();
        assert!(ping.is_complete(), "{own} from the host");
        tcp_exact(&container.ns, outside.host(), own, 20_000_000).unwrap();
        tcp_exact(outside.host(), &container.ns, gateway, 20_000_000).unwrap();
    }
}

#[test]
fn without_host_access_the_gateway_refuses() {
    let outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let on_host = Teller::start(outside.host(), 7000);
    ask_tcp(&container.ns, on_host.at(gateway(1)[0])).unwrap();
    outside.set(&web, |set| set.host_access = Some(false));
    for (index, gateway) in gateway(1).into_iter().enumerate() {
        for host in [gateway, HOST[index]] {
            let before = outside.clearway.dropped("host_denied");
            is_refused(&container.ns, on_host.at(host));
            outside.counted("host_denied", before);
        }
        // The gateway is still a gateway.
        assert!(container.ping(gateway, 2).is_complete());
        assert!(container.ping(WORLD[index], 2).is_complete());
    }
    let routes = outside.host().ip("route").unwrap();
    assert!(!routes.contains("10.1."), "{routes}");
    outside.set(&web, |set| set.host_access = Some(true));
    wait_until("the host again", SOON, || {
        ask_tcp(&container.ns, on_host.at(gateway(1)[0])).is_ok()
    })
    .unwrap();
}

#[test]
fn networks_do_not_reach_each_other_and_say_nothing() {
    let outside = Outside::with_uplink();
    let (_, one) = outside.web();
    let other = outside.clearway.network("other", 2);
    let two = outside.clearway.container(&other);
    let inside = Teller::start(&two.ns, 7000);
    for index in 0..2 {
        let before = outside.clearway.dropped("network_isolated");
        is_silent(&one.ns, inside.at(two.ip(index)));
        is_deaf(&one.ns, two.ip(index));
        outside.counted("network_isolated", before + 1);
    }
}

#[test]
fn peers_reach_each_other_when_both_say_so() {
    let outside = Outside::with_uplink();
    let (web, one) = outside.web();
    let other = outside.clearway.network("other", 2);
    let two = outside.clearway.container(&other);
    let inside = Teller::start(&two.ns, 7000);
    outside.set(&web, |set| set.peers = Some([other.clone()].into()));
    is_silent(&one.ns, inside.at(two.ip(0)));
    outside.set(&other, |set| set.peers = Some([web.clone()].into()));
    for index in 0..2 {
        one.reaches(two.ip(index));
        // As it is: peers are not translated.
        let seen = ask_tcp(&one.ns, inside.at(two.ip(index))).unwrap();
        assert_eq!(seen.ip(), one.ip(index));
        tcp_exact(&two.ns, &one.ns, two.ip(index), 20_000_000).unwrap();
    }
    outside.set(&web, |set| set.peers = Some([].into()));
    is_silent(&one.ns, inside.at(two.ip(0)));
}

#[test]
fn an_internal_network_goes_nowhere() {
    let outside = Outside::with_uplink();
    let vault = outside
        .clearway
        .network_with("vault", 3, |network| network.routing.internal = true);
    let (one, two) = (
        outside.clearway.container(&vault),
        outside.clearway.container(&vault),
    );
    let on_host = Teller::start(outside.host(), 7000);
    let inside = Teller::start(&two.ns, 7000);
    for (index, gateway) in gateway(3).into_iter().enumerate() {
        one.reaches(two.ip(index));
        ask_tcp(&one.ns, inside.at(two.ip(index))).unwrap();
        assert!(one.ping(gateway, 2).is_complete(), "{gateway}");
        is_silent(&one.ns, on_host.at(gateway));
    }
    // It has no way out, and one of its own making leads nowhere.
    assert!(!one.ns.ip("route").unwrap().contains("default"));
    one.ns.ip("route add default via 10.3.0.1").unwrap();
    one.ns.ip("-6 route add default via 2001:db8:3::1").unwrap();
    for world in WORLD {
        let before = outside.clearway.dropped("network_internal");
        is_deaf(&one.ns, world);
        outside.counted("network_internal", before);
    }
}

#[test]
fn without_icc_containers_reach_the_world_and_not_each_other() {
    let outside = Outside::with_uplink();
    let web = outside
        .clearway
        .network_with("web", 1, |network| network.routing.icc = false);
    let (one, two) = (
        outside.clearway.container(&web),
        outside.clearway.container(&web),
    );
    let inside = Teller::start(&two.ns, 7000);
    for (index, world) in WORLD.into_iter().enumerate() {
        one.reaches(world);
        two.reaches(world);
        is_deaf(&one.ns, two.ip(index));
        is_silent(&one.ns, inside.at(two.ip(index)));
    }
    outside.set(&web, |set| set.icc = Some(true));
    for index in 0..2 {
        one.reaches(two.ip(index));
        ask_tcp(&one.ns, inside.at(two.ip(index))).unwrap();
    }
}

#[test]
fn without_an_uplink_the_world_is_unreachable_and_said_to_be() {
    let outside = Outside::start();
    let web = outside.clearway.network("web", 1);
    let container = outside.clearway.container(&web);
    container.reaches(gateway(1)[0]);
    for world in WORLD {
        let before = outside.clearway.dropped("no_route");
        let why = super::talk::connect(&container.ns, at(world, 80)).unwrap_err();
        let kind = why.kind();
        assert!(
            [
                std::io::ErrorKind::NetworkUnreachable,
                std::io::ErrorKind::HostUnreachable
            ]
            .contains(&kind),
            "{world}: {why}"
        );
        outside.counted("no_route", before);
    }
    outside.uplink();
    for world in WORLD {
        container.reaches(world);
    }
}
