//! What the kernel's stacks make of it: bulk, many streams, MTUs, offloads on and off.

use crate::fixture::Clearway;
use std::time::Duration;
use testbed::traffic::{
    Amount, Ping, UdpLoad, ping, tcp_bulk, tcp_exact, tcp_ping_pong, udp_count,
};

const MIB: u64 = 1 << 20;

#[test]
fn tcp_arrives_byte_for_byte_in_superframes() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    for index in 0..2 {
        a.reaches(b.ip(index));
        tcp_exact(&b.ns, &a.ns, b.ip(index), 200 * MIB).unwrap();
    }
    let counters = clearway.client().port(&a.endpoint.port).unwrap().counters;
    let mean = counters.rx_bytes / counters.rx_frames.max(1);
    assert!(
        mean > 5_000,
        "frames of {mean} bytes: superframes do not pass whole"
    );
}

#[test]
fn sixteen_streams_at_once_both_ways() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    std::thread::scope(|scope| {
        let one =
            scope.spawn(|| tcp_bulk(&b.ns, &a.ns, b.ip(0), Amount::Bytes(10 * MIB), 16).unwrap());
        let other =
            scope.spawn(|| tcp_bulk(&a.ns, &b.ns, a.ip(0), Amount::Bytes(10 * MIB), 16).unwrap());
        assert_eq!(one.join().unwrap().bytes, 160 * MIB);
        assert_eq!(other.join().unwrap().bytes, 160 * MIB);
    });
    assert!(tcp_ping_pong(&b.ns, &a.ns, b.ip(0), 64, 1000).unwrap().mean > Duration::ZERO);
}

#[test]
fn udp_of_every_size_arrives() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    for index in 0..2 {
        a.reaches(b.ip(index));
        // 8000 bytes travel as fragments.
        for size in [4, 64, 1400, 8000] {
            let load = UdpLoad {
                size,
                packets: 300,
                per_second: Some(3000),
            };
            let report = udp_count(&b.ns, &a.ns, b.ip(index), &load).unwrap();
            assert_eq!(
                (report.received, report.duplicates),
                (300, 0),
                "{size} bytes"
            );
        }
    }
}

#[test]
fn every_mtu_is_used_to_its_last_byte() {
    for mtu in [1500u16, 9000, 65535] {
        let clearway = Clearway::start();
        let net = clearway.network_with("blue", 10, |n| n.mtu = mtu);
        let (a, b) = (clearway.container(&net), clearway.container(&net));
        a.reaches(b.ip(0));
        // IPv4 and ICMP headers take 28 bytes.
        let largest = Ping {
            size: usize::from(mtu) - 28,
            count: 3,
            ..Ping::new(b.ip(0))
        };
        assert!(ping(&a.ns, &largest).unwrap().is_complete(), "MTU {mtu}");
        tcp_exact(&b.ns, &a.ns, b.ip(0), 50 * MIB).unwrap();
        assert_eq!(clearway.dropped("mtu_exceeded"), 0, "MTU {mtu}");
    }
}

#[test]
fn a_container_that_raises_its_own_mtu_is_told_by_a_named_drop() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    a.ns.ip("link set eth0 mtu 4000").unwrap();
    let large = Ping {
        size: 3000,
        count: 2,
        ..Ping::new(b.ip(0))
    };
    assert_eq!(ping(&a.ns, &large).unwrap().received, 0);
    assert!(clearway.dropped("mtu_exceeded") >= 2);
}

#[test]
fn offloads_may_be_off_at_either_end() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    for features in [
        &["tso", "off", "gso", "off"][..],
        &["tx", "off"],
        &["gro", "off"],
    ] {
        let mut words = vec!["-K", "eth0"];
        words.extend(features);
        a.ns.output("ethtool", &words).unwrap();
        tcp_exact(&b.ns, &a.ns, b.ip(0), 20 * MIB).unwrap();
        tcp_exact(&a.ns, &b.ns, a.ip(0), 20 * MIB).unwrap();
    }
}

#[test]
fn several_queues_carry_frames() {
    let clearway = Clearway::start_with("workers = 2\n");
    let net = clearway.network("blue", 10);
    let (a, b) = (
        clearway.container_with(&net, |a| a.queues = 2),
        clearway.container_with(&net, |a| a.queues = 2),
    );
    a.reaches(b.ip(0));
    let report = tcp_bulk(&b.ns, &a.ns, b.ip(0), Amount::Bytes(10 * MIB), 8).unwrap();
    assert_eq!(report.bytes, 80 * MIB);
}
