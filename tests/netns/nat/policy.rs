//! What endpoints may send and receive, and how much.

use super::talk::{Teller, ask_tcp, ask_udp, is_deaf, is_mute, is_silent, udp};
use super::{Outside, WORLD, gateway};
use crate::fixture::Container;
use api::{Action, Filter, Policy, Rate};
use std::time::Duration;
use testbed::traffic::{Amount, UdpLoad, tcp_bulk, udp_count};

impl Outside {
    pub(super) fn rule(&self, of: &Container, default: Action, rules: &[&str]) {
        let policy = Policy {
            default,
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        };
        let client = self.clearway.client();
        client.policy_set(&of.endpoint.id, &policy).unwrap();
    }
}

#[test]
fn what_may_not_be_sent_is_dropped_and_answers_pass() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let open = Teller::start(&outside.world, 7000);
    let shut = Teller::start(&outside.world, 7001);
    outside.rule(
        &container,
        Action::Deny,
        &["allow out tcp :7000", "allow out udp :7000", "allow in any"],
    );
    for world in WORLD {
        // The answers of what may be sent need no rule of their own.
        ask_tcp(&container.ns, open.at(world)).unwrap();
        ask_udp(&container.ns, open.at(world)).unwrap();
        let before = outside.clearway.dropped("policy_denied");
        is_silent(&container.ns, shut.at(world));
        is_mute(&container.ns, shut.at(world));
        is_deaf(&container.ns, world);
        outside.counted("policy_denied", before + 2);
    }
    let client = outside.clearway.client();
    client.policy_clear(&container.endpoint.id).unwrap();
    for world in WORLD {
        ask_tcp(&container.ns, shut.at(world)).unwrap();
        assert!(container.ping(world, 1).is_complete());
    }
}

#[test]
fn what_may_not_be_received_is_dropped_and_answers_pass() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    let in_world = Teller::start(&outside.world, 7000);
    let tellers = [80, 81].map(|port| Teller::start(&shop.ns, port));
    outside.publish("8080:shop:80");
    outside.publish("8081:shop:81");
    outside.rule(&shop, Action::Allow, &["allow in tcp :80", "deny in any"]);
    for (index, host) in super::HOST.into_iter().enumerate() {
        shop.reaches(WORLD[index]);
        ask_tcp(&shop.ns, in_world.at(WORLD[index])).unwrap();
        ask_tcp(&outside.world, super::at(host, 8080)).unwrap();
        is_silent(&outside.world, super::at(host, 8081));
        // The host is no exception.
        ask_tcp(outside.host(), tellers[0].at(shop.ip(index))).unwrap();
        is_silent(outside.host(), tellers[1].at(shop.ip(index)));
    }
}

#[test]
fn rules_hold_between_neighbours() {
    let outside = Outside::start();
    let web = outside.clearway.network("web", 1);
    let (one, two) = (
        outside.clearway.container(&web),
        outside.clearway.container(&web),
    );
    let tellers = [80, 81].map(|port| Teller::start(&two.ns, port));
    let back = Teller::start(&one.ns, 7000);
    for index in 0..2 {
        one.reaches(two.ip(index));
    }
    outside.rule(&two, Action::Allow, &["allow in tcp :80", "deny in any"]);
    for index in 0..2 {
        let to = two.ip(index);
        ask_tcp(&one.ns, tellers[0].at(to)).unwrap();
        let before = outside.clearway.dropped("policy_denied");
        is_silent(&one.ns, tellers[1].at(to));
        is_mute(&one.ns, tellers[0].at(to));
        is_deaf(&one.ns, to);
        outside.counted("policy_denied", before + 2);
        // The other way round it is an answer.
        ask_tcp(&two.ns, back.at(one.ip(index))).unwrap();
        ask_udp(&two.ns, back.at(one.ip(index))).unwrap();
        assert!(two.ping(one.ip(index), 1).is_complete());
    }
    outside.rule(&one, Action::Deny, &["allow out udp"]);
    for index in 0..2 {
        is_silent(&one.ns, tellers[0].at(two.ip(index)));
    }
}

#[test]
fn a_rule_about_addresses_is_about_those_alone() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let on_host = Teller::start(outside.host(), 7000);
    let in_world = Teller::start(&outside.world, 7000);
    outside.rule(
        &container,
        Action::Allow,
        &["deny out 198.51.100.1", "deny out tcp 2001:db8:ffff::1/128"],
    );
    for (world, gateway) in WORLD.into_iter().zip(gateway(1)) {
        is_silent(&container.ns, in_world.at(world));
        ask_tcp(&container.ns, on_host.at(gateway)).unwrap();
    }
}

#[test]
fn a_quota_bounds_one_endpoint_and_harms_no_other() {
    const QUOTA: u32 = 100;
    let outside = Outside::with_uplink();
    let (web, greedy) = outside.web();
    let other = outside.clearway.container(&web);
    let teller = Teller::start(&outside.world, 7000);
    outside.set(&web, |set| set.quota = Some(QUOTA));
    for (index, world) in WORLD.into_iter().enumerate() {
        other.reaches(world);
        let before = outside.clearway.dropped("quota_exceeded");
        for port in 20_000..25_000 {
            let socket = udp(&greedy.ns, world, port);
            socket.send_to(b"!", (world, 9)).unwrap();
        }
        outside.counted("quota_exceeded", before + 4_000);
        let held = Filter::new(format!("src {}", greedy.ip(index)));
        let held = outside.clearway.client().nat(&held).unwrap().len();
        assert_eq!(held, QUOTA as usize, "{world}");
        // It has what it may have, and the other has it all.
        is_mute(&greedy.ns, teller.at(world));
        for _ in 0..50 {
            ask_udp(&other.ns, teller.at(world)).unwrap();
        }
        ask_tcp(&other.ns, teller.at(world)).unwrap();
        assert!(other.ping(world, 3).is_complete());
    }
}

#[test]
fn a_rate_limit_is_met() {
    const LIMIT: f64 = 60e6;
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let slow = outside.clearway.container_with(&web, |attach| {
        attach.rate = Some(Rate {
            bits_per_second: Some(60_000_000),
            packets_per_second: None,
        });
    });
    slow.reaches(WORLD[0]);
    let amount = Amount::For(Duration::from_secs(3));
    let load = UdpLoad {
        size: 1400,
        packets: 30_000,
        per_second: Some(15_000),
    };
    for (what, server, client, to) in [
        ("sends", &outside.world, &slow.ns, WORLD[0]),
        ("receives", &slow.ns, outside.host(), slow.ip(1)),
    ] {
        let tcp = tcp_bulk(server, client, to, amount, 1).unwrap();
        let met = tcp.bytes_per_second() * 8.0 / LIMIT;
        assert!(
            (0.7..1.3).contains(&met),
            "{what} {met} of the limit by TCP"
        );
        // Three times the limit for two seconds.
        let udp = udp_count(server, client, to, &load).unwrap();
        let bits = f64::from(udp.received) * 1442.0 * 8.0;
        let met = bits / udp.elapsed.as_secs_f64() / LIMIT;
        assert!(
            (0.7..1.3).contains(&met),
            "{what} {met} of the limit by UDP"
        );
    }
    assert!(outside.clearway.dropped("rate_limited") > 0);
}
