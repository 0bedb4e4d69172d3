//! The host's network changes while containers use it: what ends, what goes on, what comes back.

use super::footprint::{footprint, is_as_before};
use super::talk::{Teller, ask_from, ask_tcp, ask_udp, udp};
use super::{HOST, Outside, WORLD, at, settled};
use crate::fixture::{Container, SOON, name};
use api::{Filter, Uplink, UplinkAdd, UplinkChoice, UplinkState};
use nix::sys::signal::Signal;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testbed::traffic::{tcp_exact, tcp_ping_pong};
use testbed::{Namespace, link, wait_until};

/// As `HOST`, after a move.
const MOVED: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 3)),
    IpAddr::V6(std::net::Ipv6Addr::new(
        0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3,
    )),
];

/// An outside, a container that uses it, and two that talk to each other.
struct Busy {
    outside: Outside,
    container: Container,
    pair: [Container; 2],
    teller: Teller,
}

impl Busy {
    fn start() -> Self {
        Self::within(Outside::with_uplink())
    }

    fn within(outside: Outside) -> Self {
        let (web, container) = outside.web();
        let pair = [(); 2].map(|()| outside.clearway.container(&web));
        pair[0].reaches(pair[1].ip(0));
        let teller = Teller::start(&outside.world, 7000);
        Self {
            outside,
            container,
            pair,
            teller,
        }
    }

    /// Makes `change` while the two talk, and the third sends to the world whatever comes of it;
    /// the two never notice.
    fn during(&self, change: impl FnOnce()) {
        let done = AtomicBool::new(false);
        let [a, b] = &self.pair;
        let socket = udp(&self.container.ns, WORLD[0], 0);
        std::thread::scope(|scope| {
            let _ends = Ends(&done);
            let talk = scope.spawn(|| {
                let mut rounds = 0;
                while rounds == 0 || !done.load(Ordering::Relaxed) {
                    tcp_ping_pong(&b.ns, &a.ns, b.ip(rounds % 2), 64, 100).unwrap();
                    rounds += 1;
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Refused while there is no way.
                    let _ = socket.send_to(b"?", self.teller.at(WORLD[0]));
                    std::thread::park_timeout(Duration::from_millis(1));
                }
            });
            change();
            done.store(true, Ordering::Relaxed);
            talk.join().unwrap();
        });
    }

    /// Waits until new connections leave from `own`.
    fn leaves_from(&self, own: [IpAddr; 2]) {
        let (ns, teller) = (&self.container.ns, &self.teller);
        for (index, world) in WORLD.into_iter().enumerate() {
            let is_so = || {
                let seen = ask_udp(ns, teller.at(world));
                seen.is_ok_and(|seen| seen.ip() == own[index])
            };
            wait_until(&format!("the world sees {}", own[index]), SOON, is_so).unwrap();
            assert_eq!(ask_tcp(ns, teller.at(world)).unwrap().ip(), own[index]);
        }
    }

    fn await_uplink(&self, state: UplinkState) -> Uplink {
        let client = self.outside.clearway.client();
        let uplink = || client.uplinks().unwrap().remove(0);
        let is_so = || uplink().state == state;
        wait_until(&format!("the uplink {state:?}"), SOON, is_so).unwrap();
        uplink()
    }

    /// Nothing of the NIC's is set but that it is up.
    fn clear_nic(&self) {
        let host = self.outside.host();
        host.ip("link set eth0 up").unwrap();
        link::await_carrier(host, "eth0").unwrap();
        host.ip("address flush dev eth0 scope global").unwrap();
        host.ip("-6 route flush default").unwrap();
    }
}

/// Ends what looks at it however its owner ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_new_address_is_left_from_and_the_old_ones_mappings_end() {
    let busy = Busy::start();
    let (outside, ns) = (&busy.outside, &busy.container.ns);
    busy.leaves_from(HOST);
    let old: Vec<_> = WORLD
        .map(|world| {
            let socket = udp(ns, world, 0);
            socket.connect(busy.teller.at(world)).unwrap();
            assert!(HOST.contains(&ask_from(&socket).unwrap().ip()));
            socket
        })
        .into();
    busy.during(|| {
        busy.clear_nic();
        outside.address_host(["198.51.100.3/25", "2001:db8:ffff::3/64"]);
        busy.leaves_from(MOVED);
    });
    // A flow that goes on does so from the new address.
    for (index, socket) in old.into_iter().enumerate() {
        assert_eq!(ask_from(&socket).unwrap().ip(), MOVED[index]);
    }
    wait_until("the end of the old mappings", SOON, || {
        let all = outside.clearway.client().nat(&Filter::default()).unwrap();
        !all.iter()
            .any(|entry| HOST.contains(&entry.translated.src.ip()))
    })
    .unwrap();
    // Nothing at the old address is taken from whoever has it now.
    let world = &outside.world;
    link::address(world, "eth0", "198.51.100.2/25").unwrap();
    outside.host().ip("neighbour flush dev eth0").unwrap();
    let there = Teller::start_at(world, at(HOST[0], 7001));
    wait_until("the old address's new owner", SOON, || {
        ask_udp(ns, there.at(HOST[0])).is_ok()
    })
    .unwrap();
}

#[test]
fn another_next_hop_is_taken() {
    let busy = Busy::start();
    let (outside, ns) = (&busy.outside, &busy.container.ns);
    // A second router on the same wire, with a MAC of its own.
    let second = Namespace::new().unwrap();
    let path = second.path();
    let world = &outside.world;
    world
        .ip(&format!(
            "link add second link eth0 netns {} type macvlan mode bridge",
            path.display()
        ))
        .unwrap();
    for net in ["198.51.100.10/25", "2001:db8:ffff::10/64"] {
        link::address(&second, "second", net).unwrap();
    }
    settled(&second);
    // Both have this address, and different ports there.
    let beyond: [IpAddr; 2] = ["198.51.100.200", "2001:db8:fffc::1"].map(|ip| ip.parse().unwrap());
    for ns in [world, &second] {
        link::address(ns, "lo", "198.51.100.200/32").unwrap();
        link::address(ns, "lo", "2001:db8:fffc::1/128").unwrap();
    }
    let _tellers = [(world, 7001), (&second, 7002)]
        .map(|(ns, port)| beyond.map(|ip| Teller::start_at(ns, at(ip, port))));
    let goes = |port: u16| {
        for (index, ip) in beyond.into_iter().enumerate() {
            let to = at(ip, port);
            let is_so = || ask_udp(ns, to).is_ok_and(|seen| seen.ip() == HOST[index]);
            wait_until(&format!("the way to {to}"), SOON, is_so).unwrap();
        }
    };
    goes(7001);
    busy.during(|| {
        let host = outside.host();
        host.ip("route replace default via 198.51.100.10").unwrap();
        host.ip("-6 route replace default via 2001:db8:ffff::10")
            .unwrap();
        goes(7002);
    });
    let uplink = busy.await_uplink(UplinkState::Up);
    let hops: [IpAddr; 2] = ["198.51.100.10", "2001:db8:ffff::10"].map(|ip| ip.parse().unwrap());
    assert_eq!(uplink.gateways, hops);
}

#[test]
fn a_next_hop_that_changes_its_mac_is_found_again() {
    let busy = Busy::start();
    let world = &busy.outside.world;
    busy.leaves_from(HOST);
    // One that says so, as a router does that takes over from another.
    for setting in [
        "ipv4.conf.eth0.arp_notify=1",
        "ipv6.conf.eth0.ndisc_notify=1",
    ] {
        let words = format!("net.{setting}");
        world.output("sysctl", &["-qw", &words]).unwrap();
    }
    world.ip("link set eth0 address 02:00:00:00:01:01").unwrap();
    busy.leaves_from(HOST);
    // One that does not: it is asked again when it was not heard of for half a minute.
    for setting in [
        "ipv4.conf.eth0.arp_notify=0",
        "ipv6.conf.eth0.ndisc_notify=0",
    ] {
        let words = format!("net.{setting}");
        world.output("sysctl", &["-qw", &words]).unwrap();
    }
    world.ip("link set eth0 address 02:00:00:00:01:02").unwrap();
    for ip in WORLD {
        wait_until("the next hop's new MAC", Duration::from_secs(60), || {
            ask_udp(&busy.container.ns, busy.teller.at(ip)).is_ok()
        })
        .unwrap();
    }
}

#[test]
fn a_link_that_goes_down_and_up_is_used_again() {
    let busy = Busy::start();
    busy.leaves_from(HOST);
    busy.during(|| {
        busy.outside.host().ip("link set eth0 down").unwrap();
        let uplink = busy.await_uplink(UplinkState::Down);
        assert_eq!(uplink.why.as_deref(), Some("eth0 is set down"));
        assert!(ask_udp(&busy.container.ns, busy.teller.at(WORLD[0])).is_err());
        busy.clear_nic();
        busy.outside
            .address_host(["198.51.100.2/25", "2001:db8:ffff::2/64"]);
        busy.leaves_from(HOST);
    });
    assert_eq!(busy.await_uplink(UplinkState::Up).why, None);
}

#[test]
fn a_nic_that_is_pulled_out_takes_its_uplink_and_nothing_else() {
    let busy = Busy::start();
    let clearway = &busy.outside.clearway;
    busy.leaves_from(HOST);
    let in_use = || {
        // In the order of interfaces, of which one is new.
        let mut found = clearway.client().doctor().unwrap();
        found.sort_by(|a, b| a.undo.cmp(&b.undo));
        found
    };
    let before = in_use();
    let host = busy.outside.host();
    busy.during(|| {
        host.ip("link del eth0").unwrap();
        let uplink = busy.await_uplink(UplinkState::Down);
        assert_eq!(uplink.why.as_deref(), Some("there is no interface eth0"));
        assert!(ask_udp(&busy.container.ns, busy.teller.at(WORLD[0])).is_err());
        assert_eq!(reserved(host), "", "ports are the host's again");
        // Another one of that name.
        busy.outside.wire();
        busy.await_uplink(UplinkState::Up);
        busy.leaves_from(HOST);
    });
    assert_eq!(in_use(), before);
}

fn reserved(host: &Namespace) -> String {
    let text = host
        .output("sysctl", &["-n", "net.ipv4.ip_local_reserved_ports"])
        .unwrap();
    text.trim().to_owned()
}

#[test]
fn the_hosts_firewall_comes_and_goes_without_a_trace() {
    let busy = Busy::start();
    let host = busy.outside.host();
    let inside = Teller::start(&busy.container.ns, 80);
    let id = &busy.container.endpoint.id;
    busy.outside.publish(&format!("8080:{id}:80/udp"));
    let works = || {
        busy.leaves_from(HOST);
        for (host, world) in HOST.into_iter().zip(WORLD) {
            let seen = ask_udp(&busy.outside.world, at(host, 8080)).unwrap();
            assert_eq!(seen.ip(), world);
        }
        tcp_exact(&busy.outside.world, &busy.container.ns, WORLD[0], 5_000_000).unwrap();
    };
    works();
    assert_eq!(host.output("nft", &["list", "ruleset"]).unwrap(), "");
    let tables = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\nCOMMIT\n";
    let file = busy.outside.clearway.dir.path().join("rules");
    std::fs::write(&file, tables).unwrap();
    busy.during(|| {
        for restore in ["iptables-restore", "ip6tables-restore"] {
            host.output(restore, &[file.to_str().unwrap()]).unwrap();
        }
        // The host itself is shut now.
        assert!(ask_udp(host, busy.teller.at(WORLD[0])).is_err());
        works();
        host.output("nft", &["flush", "ruleset"]).unwrap();
        works();
    });
    drop(inside);
}

#[test]
fn a_killed_daemon_is_back_on_the_uplink_under_traffic() {
    let outside = Outside::in_userspace();
    outside.uplink();
    let mut busy = Busy::within(outside);
    busy.leaves_from(HOST);
    let before = footprint(busy.outside.host());
    let in_use = busy.outside.clearway.client().doctor().unwrap();
    let done = AtomicBool::new(false);
    let (ns, to) = (busy.container.ns.clone(), busy.teller.at(WORLD[0]));
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        scope.spawn(|| {
            let socket = udp(&ns, WORLD[0], 0);
            while !done.load(Ordering::Relaxed) {
                // Nobody takes it while there is no daemon.
                let _ = socket.send_to(b"?", to);
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        for _ in 0..2 {
            let clearway = &mut busy.outside.clearway;
            clearway.daemon.signal(Signal::SIGKILL).unwrap();
            clearway.daemon.wait_within(SOON).unwrap();
            clearway.restart();
            busy.await_uplink(UplinkState::Up);
            busy.leaves_from(HOST);
        }
    });
    let client = busy.outside.clearway.client();
    assert_eq!(client.doctor().unwrap(), in_use);
    assert_eq!(client.status().unwrap().warnings, Vec::<String>::new());
    // Nothing is there twice.
    let host = busy.outside.host();
    is_as_before(host, &before);
}

#[test]
fn each_network_leaves_through_its_own_uplink() {
    let outside = Outside::with_uplink();
    let (host, other_world) = (outside.host(), Namespace::new().unwrap());
    link::veth(host, "eth1", &other_world, "eth0").unwrap();
    for (ns, ifname, nets) in [
        (host, "eth1", ["198.51.100.130/25", "2001:db8:fffe::2/64"]),
        (
            &other_world,
            "eth0",
            ["198.51.100.129/25", "2001:db8:fffe::1/64"],
        ),
        // Who is at the world's address is told by the way there.
        (
            &other_world,
            "lo",
            ["198.51.100.1/32", "2001:db8:ffff::1/128"],
        ),
    ] {
        for net in nets {
            link::address(ns, ifname, net).unwrap();
        }
        settled(ns);
    }
    host.ip("route add default via 198.51.100.129 metric 500")
        .unwrap();
    host.ip("-6 route add default via 2001:db8:fffe::1 metric 5000")
        .unwrap();
    let client = outside.clearway.client();
    let mut second = UplinkAdd::new("eth1");
    second.name = Some(name("second"));
    client.uplink_add(&second).unwrap();
    let web = outside.clearway.network("web", 1);
    let db = outside.clearway.network_with("db", 2, |network| {
        network.routing.uplink = UplinkChoice::Named(name("second"));
    });
    let containers = [&web, &db].map(|network| outside.clearway.container(network));
    let _tellers = [&outside.world, &other_world]
        .map(|ns| WORLD.map(|world| Teller::start_at(ns, at(world, 7000))));
    let own: [[IpAddr; 2]; 2] = [
        HOST,
        ["198.51.100.130", "2001:db8:fffe::2"].map(|ip| ip.parse().unwrap()),
    ];
    let leaves = |which: usize, own: [IpAddr; 2]| {
        for (index, world) in WORLD.into_iter().enumerate() {
            let seen = || ask_udp(&containers[which].ns, at(world, 7000));
            let is_so = || seen().is_ok_and(|seen: SocketAddr| seen.ip() == own[index]);
            wait_until(&format!("the world sees {}", own[index]), SOON, is_so).unwrap();
        }
    };
    leaves(0, own[0]);
    leaves(1, own[1]);
    // One that is gone takes its own networks' way, and nobody else's.
    host.ip("link set eth1 down").unwrap();
    wait_until("the second uplink's end", SOON, || {
        client.uplinks().unwrap()[1].state == UplinkState::Down
    })
    .unwrap();
    leaves(0, own[0]);
    assert!(ask_udp(&containers[1].ns, at(WORLD[0], 7000)).is_err());
    // And each may be moved to the other.
    outside.set(&db, |set| set.uplink = Some(UplinkChoice::Auto));
    leaves(1, own[0]);
}

#[test]
fn a_network_without_an_uplink_reaches_the_host_and_not_the_world() {
    let outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let none = outside.clearway.network_with("none", 2, |network| {
        network.routing.uplink = UplinkChoice::None;
    });
    let alone = outside.clearway.container(&none);
    let on_host = Teller::start(outside.host(), 7001);
    for (index, world) in WORLD.into_iter().enumerate() {
        let gateway = super::gateway(2)[index];
        alone.reaches(gateway);
        ask_tcp(&alone.ns, on_host.at(gateway)).unwrap();
        let before = outside.clearway.dropped("no_route");
        assert!(super::talk::connect(&alone.ns, at(world, 80)).is_err());
        outside.counted("no_route", before);
        assert!(container.ping(world, 2).is_complete());
    }
    // While it is used, and back.
    outside.set(&web, |set| set.uplink = Some(UplinkChoice::None));
    outside.set(&none, |set| set.uplink = Some(UplinkChoice::Auto));
    let teller = Teller::start(&outside.world, 7000);
    for world in WORLD {
        alone.reaches(world);
        assert!(ask_udp(&container.ns, teller.at(world)).is_err());
    }
    outside.set(&web, |set| set.uplink = Some(UplinkChoice::Auto));
    for world in WORLD {
        container.reaches(world);
        ask_udp(&container.ns, teller.at(world)).unwrap();
    }
}
