//! From containers to the world and back: what passes, as whom, and that the host keeps its own.

use super::talk::{Teller, ask_from, ask_tcp, ask_udp, udp};
use super::{HOST, Outside, WORLD, at};
use std::collections::HashSet;
use std::time::Duration;
use testbed::traffic::{
    Amount, Ping, UdpLoad, ping, tcp_bulk, tcp_exact, tcp_ping_pong, udp_count,
};

const MIB: u64 = 1 << 20;

#[test]
fn tcp_arrives_byte_for_byte_both_ways() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for world in WORLD {
        tcp_exact(&outside.world, &container.ns, world, 50 * MIB).unwrap();
        // Back along the container's own connection: the answers of a ping-pong are as large.
        tcp_ping_pong(&outside.world, &container.ns, world, 1 << 20, 20).unwrap();
    }
}

#[test]
fn many_connections_at_once() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    std::thread::scope(|scope| {
        let loads = WORLD.map(|world| {
            let (server, client) = (&outside.world, &container.ns);
            scope.spawn(move || tcp_bulk(server, client, world, Amount::Bytes(4 * MIB), 8).unwrap())
        });
        for load in loads {
            assert_eq!(load.join().unwrap().bytes, 32 * MIB);
        }
    });
}

#[test]
fn datagrams_and_pings_of_every_size_arrive() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for world in WORLD {
        // 5000 bytes travel as fragments, out and back.
        for size in [4, 1200, 5000] {
            let load = UdpLoad {
                size,
                packets: 200,
                per_second: Some(2000),
            };
            let report = udp_count(&outside.world, &container.ns, world, &load).unwrap();
            assert_eq!(
                (report.received, report.duplicates),
                (200, 0),
                "{size} bytes"
            );
            let echo = Ping {
                size,
                ..Ping::new(world)
            };
            assert!(
                ping(&container.ns, &echo).unwrap().is_complete(),
                "{size} bytes"
            );
        }
    }
}

#[test]
fn the_world_sees_the_host() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let teller = Teller::start(&outside.world, 7000);
    for (world, host) in WORLD.into_iter().zip(HOST) {
        for seen in [
            ask_tcp(&container.ns, teller.at(world)).unwrap(),
            ask_udp(&container.ns, teller.at(world)).unwrap(),
        ] {
            assert_eq!(seen.ip(), host);
            assert!(seen.port() >= 49_152, "{seen} is one of the uplink's ports");
        }
    }
}

#[test]
fn the_host_keeps_its_own_connections_and_ports() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let (host, world) = (outside.host(), &outside.world);
    let in_world = Teller::start(world, 7000);
    let on_host = Teller::start(host, 7001);
    std::thread::scope(|scope| {
        // While a container uses the wire.
        let busy = scope.spawn(|| {
            let amount = Amount::For(Duration::from_secs(2));
            tcp_bulk(world, &container.ns, WORLD[0], amount, 2).unwrap()
        });
        for (index, ip) in WORLD.into_iter().enumerate() {
            assert!(ping(host, &Ping::new(ip)).unwrap().is_complete());
            assert!(ping(world, &Ping::new(HOST[index])).unwrap().is_complete());
            tcp_exact(world, host, ip, 10 * MIB).unwrap();
            tcp_exact(host, world, HOST[index], 10 * MIB).unwrap();
            for seen in [
                ask_tcp(host, in_world.at(ip)).unwrap(),
                ask_udp(host, in_world.at(ip)).unwrap(),
            ] {
                assert!(seen.port() < 49_152, "{seen} is not one of the uplink's");
            }
            assert_eq!(ask_tcp(world, on_host.at(HOST[index])).unwrap().ip(), ip);
            assert_eq!(ask_udp(world, on_host.at(HOST[index])).unwrap().ip(), ip);
        }
        assert!(busy.join().unwrap().bytes > 0);
    });
}

#[test]
fn twenty_thousand_flows_of_one_container_leave_another_unharmed() {
    let outside = Outside::with_uplink();
    let (web, greedy) = outside.web();
    let other = outside.clearway.container(&web);
    let teller = Teller::start(&outside.world, 7000);
    for world in WORLD {
        other.reaches(world);
    }
    // As many source ports as there are flows: more than the uplink has ports.
    let send = |port: u16| {
        let socket = udp(&greedy.ns, WORLD[0], port);
        socket.send_to(b"!", at(WORLD[0], 9)).unwrap();
    };
    for port in 20_000..40_000 {
        send(port);
    }
    let seen: HashSet<_> = (0..50)
        .map(|_| ask_udp(&other.ns, teller.at(WORLD[0])).unwrap())
        .collect();
    assert!(seen.iter().all(|seen| seen.ip() == HOST[0]));
    for world in WORLD {
        assert!(other.ping(world, 5).is_complete());
        ask_tcp(&other.ns, teller.at(world)).unwrap();
        tcp_exact(&outside.world, &other.ns, world, 10 * MIB).unwrap();
    }
}

#[test]
fn a_flow_keeps_its_port() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let tellers = [7000, 7001].map(|port| Teller::start(&outside.world, port));
    for world in WORLD {
        let socket = udp(&container.ns, world, 50_123);
        let seen = tellers.each_ref().map(|teller| {
            socket.connect(teller.at(world)).unwrap();
            ask_from(&socket).unwrap()
        });
        // The same for both peers (RFC 4787 REQ-1), and the container's own where it is free.
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].port(), 50_123);
    }
}

#[test]
fn nobody_comes_in_unasked() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let teller = Teller::start(&outside.world, 7000);
    for world in WORLD {
        let socket = udp(&container.ns, world, 50_123);
        socket.send_to(b"?", teller.at(world)).unwrap();
        let mut said = [0; 64];
        let len = socket.recv(&mut said).unwrap();
        let outer = std::str::from_utf8(&said[..len]).unwrap();
        // From another port of the same peer's (RFC 4787, 5).
        let stranger = udp(&outside.world, world, 0);
        stranger.send_to(b"hello", outer).unwrap();
        // What the peer itself says afterwards is what comes next.
        socket.send_to(b"?", teller.at(world)).unwrap();
        let (_, from) = socket.recv_from(&mut said).unwrap();
        assert_eq!(from, teller.at(world));
    }
}

#[test]
fn what_comes_unasked_is_counted() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let teller = Teller::start(&outside.world, 7000);
    for (world, host) in WORLD.into_iter().zip(HOST) {
        let socket = udp(&container.ns, world, 50_123);
        socket.connect(teller.at(world)).unwrap();
        let outer = ask_from(&socket).unwrap();
        let stranger = udp(&outside.world, world, 0);
        for (to, label) in [(outer, "filtered"), (at(host, 60_000), "no_mapping")] {
            let before = outside.clearway.dropped(label);
            stranger.send_to(b"hello", to).unwrap();
            outside.counted(label, before);
        }
    }
    let drops = outside.clearway.client().drops().unwrap();
    let filtered = drops.reasons.iter().find(|row| row.label == "filtered");
    let at: Vec<_> = filtered
        .unwrap()
        .ports
        .iter()
        .map(|p| p.port.as_str())
        .collect();
    assert_eq!(at, ["eth0"], "by the uplink's name");
}
