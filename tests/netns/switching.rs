//! Networks, learning, isolation and mirrors between real stacks.

use crate::fixture::{Clearway, Container, SOON, name};
use api::{FdbEntry, FdbKind, Filter, PortAdd, PortKind, PortSet};
use std::collections::HashSet;
use testbed::traffic::{UdpLoad, udp_count};
use testbed::{link, wait_until};

#[test]
fn containers_of_one_network_talk_over_both_ip_versions() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    for index in 0..2 {
        a.reaches(b.ip(index));
        assert!(b.ping(a.ip(index), 5).is_complete());
    }
    let drops = clearway.client().drops().unwrap();
    let unexpected: Vec<_> = drops
        .reasons
        .iter()
        .filter(|r| r.count > 0 && r.label != "no_receiver")
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

#[test]
fn networks_are_isolated_from_each_other() {
    let clearway = Clearway::start();
    let (blue, red) = (clearway.network("blue", 10), clearway.network("red", 11));
    let (a, b, c) = (
        clearway.container(&blue),
        clearway.container(&blue),
        clearway.container(&red),
    );
    a.reaches(b.ip(0));
    // An address of the other network, made reachable by a route: still nobody answers.
    a.ns.ip("route add 10.11.0.0/16 dev eth0").unwrap();
    c.ns.ip("route add 10.10.0.0/16 dev eth0").unwrap();
    assert_eq!(a.ping(c.ip(0), 2).received, 0);
}

#[test]
fn addresses_are_learned_on_ports_that_are_not_locked_and_static_on_those_that_are() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let locked = clearway.container(&net);
    let free = clearway.container_with(&net, |a| a.locked = false);
    locked.reaches(free.ip(0));
    let entries = clearway.client().fdb(&Filter::default()).unwrap();
    let kind = |mac| entries.iter().find(|e| e.mac == mac).map(|e| e.kind);
    assert_eq!(kind(locked.endpoint.mac), Some(FdbKind::Static));
    assert_eq!(kind(free.endpoint.mac), Some(FdbKind::Learned));
}

#[test]
fn entries_are_shown_by_filter() {
    let clearway = Clearway::start();
    let (blue, red) = (clearway.network("blue", 10), clearway.network("red", 11));
    let (a, b) = (clearway.container(&blue), clearway.container(&blue));
    let c = clearway.container(&red);
    let shown = |filter: &str| {
        let said = clearway.cli(&format!("fdb show -o json {filter}"));
        assert!(said.status.success(), "{said:?}");
        let entries: Vec<FdbEntry> = serde_json::from_slice(&said.stdout).unwrap();
        entries.into_iter().map(|e| e.mac).collect::<HashSet<_>>()
    };
    let of = |containers: &[&Container]| containers.iter().map(|c| c.endpoint.mac).collect();
    for (filter, wanted) in [
        (String::new(), of(&[&a, &b, &c])),
        (a.endpoint.mac.to_string(), of(&[&a])),
        (format!("endpoint {}", b.endpoint.id), of(&[&b])),
        (
            format!("network red or port {}", a.endpoint.port),
            of(&[&a, &c]),
        ),
        (
            format!("--network blue not port {}", a.endpoint.port),
            of(&[&b]),
        ),
        (format!("--port {} vlan 1", c.endpoint.port), of(&[&c])),
        ("vlan 7".to_owned(), of(&[])),
    ] {
        assert_eq!(shown(&filter), wanted, "{filter}");
    }
    for (filter, says) in [
        (
            "host 10.10.0.2",
            "`host` says nothing about an entry of the forwarding database",
        ),
        ("--port nowhere", "there is no port `nowhere`"),
    ] {
        let refused = clearway.cli(&format!("fdb show {filter}"));
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && error.contains(says), "{error}");
    }
}

#[test]
fn protected_ports_reach_others_but_not_each_other() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let server = clearway.container(&net);
    let protected = || clearway.container_with(&net, |a| a.isolated = true);
    let (a, b) = (protected(), protected());
    a.reaches(server.ip(0));
    b.reaches(server.ip(0));
    assert_eq!(a.ping(b.ip(0), 2).received, 0);
    let set = PortSet {
        isolated: Some(false),
        ..PortSet::default()
    };
    clearway.client().port_set(&a.endpoint.port, &set).unwrap();
    a.reaches(b.ip(0));
}

#[test]
fn a_mirror_writes_what_a_container_sends_and_gets() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    let file = clearway.dir.path().join("a.pcapng");
    let kind = PortKind::Pcap {
        read: None,
        write: Some(file.clone()),
        speed: api::PcapSpeed::Full,
    };
    let mut span = PortAdd::new(name("span"), kind);
    span.network = Some(net.clone());
    span.mirror = Some(api::Mirror {
        of: vec![a.endpoint.port.clone()],
        direction: api::Direction::Both,
    });
    clearway.client().port_add(&span).unwrap();
    a.reaches(b.ip(0));
    assert!(a.ping(b.ip(0), 10).is_complete());
    let copied = || {
        clearway
            .client()
            .port(&name("span"))
            .unwrap()
            .counters
            .tx_frames
    };
    wait_until("twenty copies", SOON, || copied() >= 20).unwrap();
    clearway.client().port_remove(&name("span")).unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() > 20 * 98);
}

#[test]
fn a_null_port_counts_what_it_is_sent_also_after_a_restart() {
    let mut clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    let mut sink = PortAdd::new(name("sink"), PortKind::Null);
    sink.network = Some(net.clone());
    clearway.client().port_add(&sink).unwrap();
    let counted = |clearway: &Clearway| {
        let sink = clearway.client().port(&name("sink")).unwrap();
        assert_eq!(sink.state, api::PortState::Up);
        (sink.counters.tx_frames, sink.counters.rx_frames)
    };
    // Each of the two asks everybody for the other.
    a.reaches(b.ip(0));
    wait_until("broadcasts", SOON, || counted(&clearway).0 > 0).unwrap();
    clearway.stop();
    clearway.restart();
    a.ns.ip("neigh flush all").unwrap();
    a.reaches(b.ip(0));
    wait_until("broadcasts again", SOON, || counted(&clearway).0 > 0).unwrap();
    assert_eq!(counted(&clearway).1, 0);
}

#[test]
fn multicast_reaches_every_member_and_reserved_groups_nobody() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    // All hosts of the link (RFC 4291, 2.7.1) answer a ping to it.
    wait_until("an answer to ff02::1", SOON, || {
        a.ns.output("ping", &["-6", "-c1", "-W1", "ff02::1%eth0"])
            .is_ok_and(|out| out.contains("bytes from"))
    })
    .unwrap();
    assert_eq!(clearway.dropped("reserved_address"), 0);
    // A bridge in a container speaks STP to 01:80:c2:00:00:00.
    a.ns.ip("link add br0 type bridge stp_state 1 hello_time 100")
        .unwrap();
    clearway
        .client()
        .port_set(
            &a.endpoint.port,
            &PortSet {
                lock: Some(None),
                ..PortSet::default()
            },
        )
        .unwrap();
    a.ns.ip("link set eth0 master br0").unwrap();
    a.ns.ip("link set br0 up").unwrap();
    wait_until("a refused BPDU", SOON, || {
        clearway.dropped("reserved_address") > 0
    })
    .unwrap();
}

#[test]
fn a_veth_that_is_not_ours_joins_by_a_packet_port() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let a = clearway.container(&net);
    let guest = testbed::Namespace::new().unwrap();
    link::veth(&clearway.host, "v0", &guest, "eth0").unwrap();
    link::address(&guest, "eth0", "10.10.99.1/16").unwrap();
    clearway.packet_port("veth", "v0", |p| p.network = Some(net.clone()));
    a.reaches("10.10.99.1".parse().unwrap());
    let load = UdpLoad {
        size: 1000,
        packets: 500,
        per_second: Some(2000),
    };
    let report = udp_count(&guest, &a.ns, "10.10.99.1".parse().unwrap(), &load).unwrap();
    assert_eq!((report.received, report.duplicates), (500, 0));
    let back = testbed::traffic::tcp_exact(&a.ns, &guest, a.ip(0), 20 << 20).unwrap();
    assert_eq!(back.bytes, 20 << 20);
    testbed::traffic::tcp_exact(&guest, &a.ns, "10.10.99.1".parse().unwrap(), 20 << 20).unwrap();
}
