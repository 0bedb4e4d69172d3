//! Connections that stand when what allowed them is taken back: they end, the others go on.

use super::line::{Line, are_dead};
use super::talk::{Teller, ask_from, hears_nothing, udp};
use super::{HOST, Outside, WORLD, at, gateway};
use api::{Action, Filter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Outside {
    /// Connections with this port.
    fn with_port(&self, port: u16) -> usize {
        let filter = Filter::new(format!("port {port}"));
        self.clearway.client().nat(&filter).unwrap().len()
    }
}

#[test]
fn unpublishing_ends_connections_from_the_world_and_the_host() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let going = outside.publish("8080:shop:80");
    outside.publish("8081:shop:81");
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let lines = |from: u16, to: u16| {
        let world = HOST.map(|host| Line::open((&shop.ns, to), &outside.world, at(host, from)));
        let host = loopback.map(|ip| Line::open((&shop.ns, to), outside.host(), at(ip, from)));
        world.into_iter().chain(host).collect::<Vec<_>>()
    };
    let (ending, staying) = (lines(8080, 80), lines(8081, 81));
    outside.clearway.client().unpublish(&going).unwrap();
    assert_eq!(outside.with_port(8080), 0);
    are_dead(&ending);
    staying.iter().for_each(Line::carries);
}

#[test]
fn unpublishing_ends_what_came_round_by_the_hosts_address() {
    let outside = Outside::with_uplink();
    let (web, neighbour) = outside.web();
    let shop = outside.container(&web, "shop");
    let going = outside.publish("8080:shop:80");
    let (ns, port) = (&shop.ns, 80);
    let around = HOST.map(|host| Line::open((ns, port), &neighbour.ns, at(host, 8080)));
    let straight = [0, 1].map(|index| {
        let to = at(shop.ip(index), port);
        Line::open((ns, port), &neighbour.ns, to)
    });
    outside.clearway.client().unpublish(&going).unwrap();
    are_dead(&around);
    straight.iter().for_each(Line::carries);
}

#[test]
fn a_peer_that_is_removed_loses_its_connections() {
    let outside = Outside::with_uplink();
    let (web, one) = outside.web();
    let [other, third] = [("other", 2), ("third", 3)].map(|(called, n)| {
        let network = outside.clearway.network(called, n);
        outside.set(&network, |set| set.peers = Some([web.clone()].into()));
        network
    });
    outside.set(&web, |set| {
        set.peers = Some([other.clone(), third.clone()].into());
    });
    let [two, three] = [&other, &third].map(|network| outside.clearway.container(network));
    let [ending, staying] = [&two, &three].map(|peer| {
        [0, 1].map(|index| {
            one.reaches(peer.ip(index));
            Line::open((&peer.ns, 80), &one.ns, at(peer.ip(index), 80))
        })
    });
    let world = WORLD.map(|ip| Line::open((&outside.world, 7000), &one.ns, at(ip, 7000)));
    outside.set(&web, |set| set.peers = Some([third.clone()].into()));
    are_dead(&ending);
    staying.iter().chain(&world).for_each(Line::carries);
}

#[test]
fn a_rule_ends_what_it_forbids() {
    let outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let neighbour = outside.clearway.container(&web);
    let lines = |port: u16| {
        let out = WORLD.map(|ip| Line::open((&outside.world, port), &container.ns, at(ip, port)));
        let host =
            gateway(1).map(|ip| Line::open((outside.host(), port), &container.ns, at(ip, port)));
        let near = [0, 1].map(|index| {
            let to = at(container.ip(index), port);
            Line::open((&container.ns, port), &neighbour.ns, to)
        });
        [out, host, near].into_iter().flatten().collect::<Vec<_>>()
    };
    let (ending, staying) = (lines(7000), lines(7001));
    outside.rule(
        &container,
        Action::Allow,
        &["deny out tcp :7000", "deny in tcp :7000"],
    );
    are_dead(&ending);
    staying.iter().for_each(Line::carries);
}

#[test]
fn a_rule_ends_a_conversation_in_datagrams() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let tellers = [7000, 7001].map(|port| Teller::start(&outside.world, port));
    for world in WORLD {
        let [ending, staying] = tellers.each_ref().map(|teller| {
            let socket = udp(&container.ns, world, 0);
            socket.connect(teller.at(world)).unwrap();
            ask_from(&socket).unwrap();
            socket
        });
        outside.rule(&container, Action::Allow, &["deny out udp :7000"]);
        assert_eq!(outside.with_port(7000), 0);
        hears_nothing(&ending);
        ask_from(&staying).unwrap();
        let client = outside.clearway.client();
        client.policy_clear(&container.endpoint.id).unwrap();
        ask_from(&ending).unwrap();
    }
}

#[test]
fn without_host_access_connections_to_the_host_end() {
    let outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let [to_host, to_world] = [(outside.host(), gateway(1)), (&outside.world, WORLD)]
        .map(|(ns, ips)| ips.map(|ip| Line::open((ns, 7000), &container.ns, at(ip, 7000))));
    let from_host = [0, 1].map(|index| {
        let to = at(container.ip(index), 7001);
        Line::open((&container.ns, 7001), outside.host(), to)
    });
    outside.set(&web, |set| set.host_access = Some(false));
    are_dead(&to_host);
    are_dead(&from_host);
    to_world.iter().for_each(Line::carries);
}

#[test]
fn an_internal_network_keeps_no_connection_to_the_world() {
    let outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let neighbour = outside.clearway.container(&web);
    let out = WORLD.map(|ip| Line::open((&outside.world, 7000), &container.ns, at(ip, 7000)));
    let near = [0, 1].map(|index| {
        let to = at(neighbour.ip(index), 7000);
        Line::open((&neighbour.ns, 7000), &container.ns, to)
    });
    outside.set(&web, |set| set.internal = Some(true));
    are_dead(&out);
    near.iter().for_each(Line::carries);
    // What was forgotten is not remembered.
    outside.set(&web, |set| set.internal = Some(false));
    for world in WORLD {
        container.reaches(world);
    }
    are_dead(&out);
}
