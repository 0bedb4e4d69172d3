//! Published ports: from the world, from the host itself, from other containers.

use super::talk::{Teller, ask_tcp, ask_udp, is_refused};
use super::{HOST, Outside, WORLD, at};
use crate::fixture::{SOON, name};
use api::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use testbed::{Namespace, wait_until};

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

impl Outside {
    pub(super) fn publish(&self, spec: &str) -> Name {
        let client = self.clearway.client();
        client.publish(&spec.parse().unwrap()).unwrap().id
    }
}

#[test]
fn the_world_reaches_a_published_port_and_is_seen_as_itself() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let teller = Teller::start(&shop.ns, 80);
    outside.publish("8080:shop:80/tcp");
    outside.publish("8053:shop:80/udp");
    for (host, world) in HOST.into_iter().zip(WORLD) {
        assert_eq!(ask_tcp(&outside.world, at(host, 8080)).unwrap().ip(), world);
        assert_eq!(ask_udp(&outside.world, at(host, 8053)).unwrap().ip(), world);
        // TCP is not UDP, and a port beside it is nobody's.
        is_refused(&outside.world, at(host, 8053));
        is_refused(&outside.world, at(host, 8081));
    }
    drop(teller);
    is_refused(&outside.world, at(HOST[0], 8080));
}

#[test]
fn the_host_reaches_a_published_port_at_every_address_of_its_own() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let _teller = Teller::start(&shop.ns, 80);
    outside.publish("8080:shop:80/tcp");
    outside.publish("8053:shop:80/udp");
    for ip in LOOPBACK.into_iter().chain(HOST) {
        let seen = ask_tcp(outside.host(), at(ip, 8080));
        let seen = seen.unwrap_or_else(|why| panic!("TCP to {ip}: {why}"));
        assert_eq!(seen.is_ipv4(), ip.is_ipv4());
        ask_udp(outside.host(), at(ip, 8053)).unwrap_or_else(|why| panic!("UDP to {ip}: {why}"));
    }
}

#[test]
fn another_container_reaches_a_published_port_by_the_hosts_address() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let other = outside.clearway.network("other", 2);
    let shop = outside.container(&web, "shop");
    let neighbour = outside.container(&web, "neighbour");
    let stranger = outside.container(&other, "stranger");
    let _teller = Teller::start(&shop.ns, 80);
    outside.publish("8080:shop:80/tcp");
    outside.publish("8053:shop:80/udp");
    for host in HOST {
        for client in [&neighbour, &stranger] {
            // It comes from the address that the world would see (RFC 4787 REQ-9).
            assert_eq!(ask_tcp(&client.ns, at(host, 8080)).unwrap().ip(), host);
            assert_eq!(ask_udp(&client.ns, at(host, 8053)).unwrap().ip(), host);
        }
        // Itself, too.
        assert_eq!(ask_tcp(&shop.ns, at(host, 8080)).unwrap().ip(), host);
    }
}

#[test]
fn a_port_with_two_backends_is_served_by_both_and_then_by_who_is_left() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let other = outside.clearway.network("other", 2);
    let backends = [
        outside.container(&web, "web1"),
        outside.container(&other, "web2"),
    ];
    let tellers = backends
        .each_ref()
        .map(|backend| Teller::start(&backend.ns, 80));
    outside.publish("8080:web1,web2:80");
    let served = || tellers.each_ref().map(Teller::served);
    let ask = |from: &Namespace, host: IpAddr| ask_tcp(from, at(host, 8080)).unwrap();
    for (host, world) in HOST.into_iter().zip(WORLD) {
        let before = served();
        for _ in 0..40 {
            assert_eq!(ask(&outside.world, host).ip(), world);
        }
        let [one, two] = [0, 1].map(|n| served()[n] - before[n]);
        assert_eq!(one + two, 40);
        assert!(one > 0 && two > 0, "{one} and {two} of 40 at {host}");
        // The host's own go through the listener, in turn.
        let before = served();
        for _ in 0..4 {
            ask(outside.host(), host);
        }
        assert_eq!(served(), before.map(|count| count + 2));
    }
    let client = outside.clearway.client();
    let up = |state: api::AdminState| api::PortSet {
        admin: Some(state),
        ..api::PortSet::default()
    };
    let port = &backends[0].endpoint.port;
    client.port_set(port, &up(api::AdminState::Down)).unwrap();
    let before = served();
    for _ in 0..10 {
        ask(&outside.world, HOST[0]);
        ask(outside.host(), LOOPBACK[0]);
    }
    assert_eq!(served(), [before[0], before[1] + 20], "its port is down");
    client.port_set(port, &up(api::AdminState::Up)).unwrap();

    client
        .detach(&api::Detach::Endpoint(backends[1].endpoint.id.clone()))
        .unwrap();
    let before = served();
    for _ in 0..20 {
        ask(&outside.world, HOST[0]);
        ask(&outside.world, HOST[1]);
        ask(outside.host(), LOOPBACK[0]);
    }
    assert_eq!(served(), [before[0] + 60, before[1]], "it is gone");
    let [left] = &client.publications().unwrap()[..] else {
        panic!("one publication");
    };
    assert_eq!(left.spec.endpoint, backends[0].endpoint.port);
}

#[test]
fn ten_thousand_ports_are_one_publication() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    outside.publish("20000-29999:shop:10000/tcp");
    assert_eq!(outside.clearway.client().publications().unwrap().len(), 1);
    for port in [10_000, 14_321, 19_999] {
        let _teller = Teller::start(&shop.ns, port);
        for (host, world) in HOST.into_iter().zip(WORLD) {
            let to = at(host, port + 10_000);
            assert_eq!(ask_tcp(&outside.world, to).unwrap().ip(), world, "{to}");
        }
    }
    // Beside the range the host itself refuses.
    for port in [19_999, 30_000] {
        is_refused(&outside.world, at(HOST[0], port));
    }
}

#[test]
fn a_port_that_another_program_has_is_refused_in_words() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let _shop = outside.container(&web, "shop");
    let client = outside.clearway.client();
    let listening = outside
        .host()
        .run(|| TcpListener::bind("0.0.0.0:8080").unwrap());
    let publish = || client.publish(&"8080:shop:80".parse().unwrap());
    let refused = publish().unwrap_err().to_string();
    assert!(
        refused.contains("8080") && refused.contains("in use"),
        "{refused}"
    );
    assert_eq!(client.publications().unwrap(), []);
    drop(listening);
    publish().unwrap();
    let refused = publish().unwrap_err().to_string();
    assert!(refused.contains("8080"), "{refused}");
}

#[test]
fn unpublishing_ends_it() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let _teller = Teller::start(&shop.ns, 80);
    let id = outside.publish("8080:shop:80");
    ask_tcp(&outside.world, at(HOST[0], 8080)).unwrap();
    outside.clearway.client().unpublish(&id).unwrap();
    for host in HOST {
        is_refused(&outside.world, at(host, 8080));
        is_refused(outside.host(), at(host, 8080));
    }
    // The host's own programs may have it again.
    let bound = || {
        outside
            .host()
            .run(|| TcpListener::bind("[::]:8080"))
            .is_ok()
    };
    wait_until("the port is free", SOON, bound).unwrap();
}

#[test]
fn a_publication_at_one_address_is_not_at_the_others() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let _teller = Teller::start(&shop.ns, 80);
    outside.publish(&format!("{}:8080:shop:80", HOST[0]));
    assert!(ask_tcp(&outside.world, at(HOST[0], 8080)).is_ok());
    is_refused(&outside.world, at(HOST[1], 8080));
    is_refused(outside.host(), at(LOOPBACK[0], 8080));
}

#[test]
fn nmap_finds_the_published_port_open_and_the_others_shut() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let _teller = Teller::start(&shop.ns, 80);
    outside.publish("8080:shop:80");
    let words = ["-n", "-Pn", "--reason", "-p", "79-81,8079-8081"];
    for (host, family) in HOST.into_iter().zip([&[][..], &["-6"]]) {
        let to = host.to_string();
        let words = [&words[..], family, &[&to]].concat();
        let report = outside.world.output("nmap", &words).unwrap();
        for (port, state) in [
            (79, "closed"),
            (80, "closed"),
            (8079, "closed"),
            (8080, "open"),
            (8081, "closed"),
        ] {
            let line = report
                .lines()
                .find(|line| line.starts_with(&format!("{port}/tcp")));
            assert!(
                line.is_some_and(|line| line.contains(state)),
                "{port} is {state} at {host}: {report}"
            );
        }
    }
}

#[test]
fn a_published_endpoint_that_goes_takes_its_publication_along() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    outside.publish("8080:shop:80");
    let client = outside.clearway.client();
    client
        .detach(&api::Detach::Endpoint(shop.endpoint.id.clone()))
        .unwrap();
    assert_eq!(client.publications().unwrap(), []);
    is_refused(&outside.world, at(HOST[0], 8080));
    let again = outside.container(&web, "shop");
    let _teller = Teller::start(&again.ns, 80);
    outside.publish("8080:shop:80");
    assert!(ask_tcp(&outside.world, at(HOST[0], 8080)).is_ok());
    assert_eq!(again.endpoint.name, Some(name("shop")));
}
