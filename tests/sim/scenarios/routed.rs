//! Hosts behind the router, and the world in front of it: stacks that know nothing of either, and
//! so judge what both of them say.

use super::{finish, lan, seed};
use crate::site::{DB, OURS, OURS6, Site, UP, WEB, WORLD, WORLD6, bare_network};
use nat::config::EndpointRules;
use nat::{Inside, Masquerade, Policy, PortRange, PrefixPair, Preset, Publication, TransportAddr};
use pipeline::{DropReason, Instant, NetworkId, PortId};
use sim::{
    Bulk, Complaint, HostConfig, Packet, Ping, Probe, Reach, Report, Talker, TcpReceive, TcpSend,
    UdpAsk, UdpEcho, Wire, World,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use switch::Port;
use wire::craft::Link;
use wire::{IpProtocol, MacAddr};

/// The port that leads to the world.
const NIC: PortId = PortId(100);
/// The world is one host, which plays the next hop and everybody behind it.
const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The same over IPv6.
const INTERNET6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
/// A long way: frames are lost, repeated and overtaken.
const BAD: Wire = Wire {
    jitter: Duration::from_micros(400),
    loss: 10,
    duplication: 10,
    ..Wire::of(Duration::from_millis(5))
};

/// What happens where many begin to send before their next hop has answered: no more than three
/// packets wait for it (RFC 4861, 7.2.2).
const CROWDED: &[DropReason] = &[DropReason::NextHopUnknown];

/// A container's configuration: number `number` of `network`.
fn container(network: NetworkId, number: u8) -> HostConfig {
    let subnet = u16::try_from(network.0 + 1).unwrap();
    let octet = u8::try_from(subnet).unwrap();
    let v6 = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, host);
    HostConfig {
        mac: mac(network, number),
        ipv4: Ipv4Addr::new(10, octet, 0, number),
        ipv6: v6(number.into()),
        prefixes: (24, 64),
        gateways: Some((Ipv4Addr::new(10, octet, 0, 1), v6(1))),
        ..HostConfig::numbered(0)
    }
}

fn mac(network: NetworkId, number: u8) -> MacAddr {
    MacAddr([2, 0x42, 0, network.0.to_be_bytes()[3], 0, number])
}

/// A world with this router and the internet at the end of `wire`; containers are plugged in by
/// [`plug`].
fn edge(site: &Site, wire: Wire) -> World {
    let mut world = World::new(seed());
    for (id, ear) in [(WEB, 200), (DB, 201), (UP, 202)] {
        world.network(bare_network(id));
        // Somebody to hear what the router tells everybody.
        let port = Port::plain(PortId(ear), id);
        world.talker(port, Talker::silent(), Wire::default());
    }
    world.router(site.router());
    let internet = HostConfig {
        mac: MacAddr([2, 0x42, 0xff, 0, 0, 1]),
        ipv4: INTERNET,
        ipv6: INTERNET6,
        prefixes: (28, 64),
        gateways: Some((OURS, OURS6)),
        also: &[IpAddr::V4(WORLD), IpAddr::V6(WORLD6)],
        ..HostConfig::numbered(0)
    };
    world.host(Port::plain(NIC, UP), &internet, wire);
    world
}

/// A site whose neighbours are asked for, as nobody configured them.
fn site() -> Site {
    [WEB, DB, UP].into_iter().fold(Site::new(), |site, id| {
        site.interface(id, |interface| interface.neighbours.clear())
    })
}

/// Container `number` of `network`, at a port of its own.
fn plug(world: &mut World, network: NetworkId, number: u8) -> (PortId, HostConfig) {
    plug_with(world, network, number, |_| {})
}

fn plug_with(
    world: &mut World,
    network: NetworkId,
    number: u8,
    spoil: impl FnOnce(&mut HostConfig),
) -> (PortId, HostConfig) {
    let id = PortId(u16::try_from(network.0).unwrap() * 20 + u16::from(number));
    let mut config = container(network, number);
    spoil(&mut config);
    world.host(Port::plain(id, network), &config, lan());
    (id, config)
}

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// `bulk` from a host at one port to one at another; the receiver must know the sender as `known`.
fn transfer(
    world: &mut World,
    (from, to): (PortId, PortId),
    (called, own): (SocketAddr, u16),
    known: impl Into<IpAddr>,
    len: usize,
) {
    let bulk = Bulk {
        len,
        seed: own.into(),
    };
    world.start(to, TcpReceive::new(own, bulk).sent_by(known.into()));
    world.start(from, TcpSend::new(called, bulk));
}

/// `port` of every external address, in the family of `to`.
fn publish(
    site: Site,
    protocol: IpProtocol,
    port: u16,
    network: NetworkId,
    to: SocketAddr,
) -> Site {
    let ports = PortRange::new(port, port).expect("a range");
    let to = Inside {
        network,
        addr: TransportAddr::new(to.ip(), to.port()),
    };
    site.configured(|config| {
        config.publications.push(Publication {
            protocol,
            host: None,
            ports,
            to,
        });
    })
}

const TCP: IpProtocol = IpProtocol::TCP;
const UDP: IpProtocol = IpProtocol::UDP;

#[test]
fn tcp_udp_and_ping_get_out_through_a_bad_wire_behind_one_address() {
    let mut world = edge(&site(), BAD);
    let all = [(WEB, 2), (WEB, 3), (DB, 2)].map(|(net, number)| plug(&mut world, net, number));
    world.start(NIC, UdpEcho::new(7));
    for ((id, config), base) in all.iter().zip([5000, 5010, 5020]) {
        transfer(
            &mut world,
            (*id, NIC),
            (at(WORLD, base), base),
            OURS,
            300_000,
        );
        let six = base + 1;
        transfer(
            &mut world,
            (*id, NIC),
            (at(WORLD6, six), six),
            OURS6,
            300_000,
        );
        // One inside port of each, and the same: three mappings want one external port.
        for (own, peer) in [(40_000, at(WORLD, 7)), (40_001, at(WORLD6, 7))] {
            let every = Duration::from_millis(100);
            world.start(*id, UdpAsk::new(own, peer, 100, 80, every));
        }
        let targets = vec![
            WORLD.into(),
            WORLD6.into(),
            INTERNET.into(),
            INTERNET6.into(),
        ];
        world.start(*id, Ping::new(config.addresses(), targets, Reach::All));
    }
    let report = finish(&mut world, CROWDED);
    let nic = report.line(NIC).unwrap();
    assert!(nic.upward.lost > 0 && nic.downward.duplicated > 0);
    assert!(
        nic.station.what[0].ends_with(&format!("callers: {OURS} {OURS6}")),
        "{:?}",
        nic.station
    );
}

#[test]
fn a_published_port_sees_its_callers_true_address() {
    let [web, _] = container(WEB, 2).addresses();
    let [_, db6] = container(DB, 2).addresses();
    let site = publish(site(), TCP, 8080, WEB, at(web, 80));
    let site = publish(site, TCP, 8081, DB, at(db6, 81));
    let site = publish(site, UDP, 8080, WEB, at(web, 7));
    let mut world = edge(&site, BAD);
    let (first, _) = plug(&mut world, WEB, 2);
    let (second, _) = plug(&mut world, DB, 2);
    world.start(first, UdpEcho::new(7));
    transfer(
        &mut world,
        (NIC, first),
        (at(OURS, 8080), 80),
        INTERNET,
        300_000,
    );
    transfer(
        &mut world,
        (NIC, second),
        (at(OURS6, 8081), 81),
        INTERNET6,
        300_000,
    );
    let every = Duration::from_millis(50);
    world.start(NIC, UdpAsk::new(40_000, at(OURS, 8080), 50, 40, every));
    let report = finish(&mut world, &[]);
    let callers = &report.line(first).unwrap().station.what[0];
    assert!(
        callers.ends_with(&format!("callers: {INTERNET}")),
        "{callers}"
    );
}

#[test]
fn neighbours_reach_each_other_by_the_published_address() {
    let [web, web6] = container(WEB, 2).addresses();
    let site = publish(site(), TCP, 8080, WEB, at(web, 80));
    let site = publish(site, TCP, 8081, WEB, at(web, 81));
    let site = publish(site, TCP, 8082, WEB, at(web6, 82));
    let mut world = edge(&site, lan());
    let (server, _) = plug(&mut world, WEB, 2);
    let (same, _) = plug(&mut world, WEB, 3);
    let (other, _) = plug(&mut world, DB, 2);
    // To the server both are the router: else its answers would take another way back.
    transfer(
        &mut world,
        (same, server),
        (at(OURS, 8080), 80),
        OURS,
        200_000,
    );
    transfer(
        &mut world,
        (other, server),
        (at(OURS, 8081), 81),
        OURS,
        200_000,
    );
    transfer(
        &mut world,
        (other, server),
        (at(OURS6, 8082), 82),
        OURS6,
        200_000,
    );
    let report = finish(&mut world, &[]);
    assert!(
        report.line(NIC).unwrap().downward.entered < 20,
        "it went around inside"
    );
}

#[test]
fn a_superframe_leaves_masqueraded_in_finished_segments() {
    let mut world = edge(&site(), lan());
    let (id, _) = plug_with(&mut world, WEB, 2, |config| config.superframes = true);
    transfer(
        &mut world,
        (id, NIC),
        (at(WORLD, 5000), 5000),
        OURS,
        3_000_000,
    );
    transfer(
        &mut world,
        (id, NIC),
        (at(WORLD6, 5001), 5001),
        OURS6,
        1_000_000,
    );
    let report = finish(&mut world, &[]);
    let nic = report.line(NIC).unwrap();
    assert!(
        nic.downward.entered > report.totals(NIC).tx_frames + 1000,
        "nothing was cut"
    );
}

#[test]
fn tcp_never_meets_a_narrow_uplink() {
    let [web, _] = container(WEB, 2).addresses();
    let site = publish(site(), TCP, 8080, WEB, at(web, 80)).interface(UP, |up| up.mtu = 1300);
    let mut world = edge(&site, lan());
    let (id, _) = plug(&mut world, WEB, 2);
    transfer(
        &mut world,
        (id, NIC),
        (at(WORLD, 5000), 5000),
        OURS,
        300_000,
    );
    transfer(
        &mut world,
        (id, NIC),
        (at(WORLD6, 5001), 5001),
        OURS6,
        300_000,
    );
    transfer(
        &mut world,
        (NIC, id),
        (at(OURS, 8080), 80),
        INTERNET,
        300_000,
    );
    finish(&mut world, &[]);
}

#[test]
fn a_datagram_too_large_for_the_uplink_is_answered() {
    // Narrow enough that all of the packet is quoted: smoltcp reads no part of one.
    let site = site().interface(UP, |up| up.mtu = 500);
    let mut world = edge(&site, lan());
    let (id, config) = plug(&mut world, WEB, 2);
    let (gateway, _) = config.gateways.unwrap();
    let too_big = Complaint {
        by: gateway.into(),
        what: (3, 4),
    };
    world.start(id, Probe::new(40_000, at(WORLD, 9), 64, 500, too_big));
    let report = finish(&mut world, &[DropReason::FragmentationNeeded]);
    assert_eq!(report.drops()[&DropReason::FragmentationNeeded], 1);
}

#[test]
fn senders_hear_why_their_packets_did_not_arrive() {
    let mut world = edge(&site(), lan());
    let (id, config) = plug(&mut world, WEB, 2);
    let (gateway, gateway6) = config.gateways.unwrap();
    for (own, to, hops, by, what) in [
        (40_000, at(WORLD, 9), 1, IpAddr::V4(gateway), (11, 0)),
        (40_002, at(WORLD6, 9), 1, IpAddr::V6(gateway6), (3, 0)),
        // Nobody listens there, and the world says so about a packet it knows as another one.
        (40_004, at(WORLD, 9), 64, IpAddr::V4(WORLD), (3, 3)),
        (40_006, at(WORLD6, 9), 64, IpAddr::V6(WORLD6), (1, 4)),
    ] {
        world.start(id, Probe::new(own, to, hops, 100, Complaint { by, what }));
    }
    let report = finish(&mut world, &[DropReason::TtlExceeded]);
    assert_eq!(report.drops()[&DropReason::TtlExceeded], 2);
}

#[test]
fn networks_meet_only_where_both_say_so() {
    let pings = |world: &mut World, reach| {
        let (web, web_config) = plug(world, WEB, 2);
        let (db, db_config) = plug(world, DB, 2);
        let to = |config: &HostConfig| config.addresses().to_vec();
        world.start(
            web,
            Ping::new(web_config.addresses(), to(&db_config), reach),
        );
        world.start(db, Ping::new(db_config.addresses(), to(&web_config), reach));
    };
    let one_sided = site().inside(WEB, |web| web.peers = vec![DB]);
    let mut apart = edge(&one_sided, lan());
    pings(&mut apart, Reach::None);
    let report = finish(&mut apart, &[DropReason::NetworkIsolated]);
    assert!(report.drops()[&DropReason::NetworkIsolated] >= 16);

    let both = one_sided.inside(DB, |db| db.peers = vec![WEB]);
    let mut together = edge(&both, lan());
    pings(&mut together, Reach::All);
    finish(&mut together, &[]);
}

#[test]
fn a_network_that_is_not_masqueraded_is_one_of_many() {
    let site = site().inside(WEB, |web| web.settings.masquerade = Masquerade::Off);
    let mut world = edge(&site, BAD);
    let (id, config) = plug(&mut world, WEB, 2);
    let far: [IpAddr; 2] = [WORLD.into(), WORLD6.into()];
    let internet: [IpAddr; 2] = [INTERNET.into(), INTERNET6.into()];
    for (index, ip) in config.addresses().into_iter().enumerate() {
        let own = [5000, 5001][index];
        transfer(
            &mut world,
            (id, NIC),
            (at(far[index], own), own),
            ip,
            100_000,
        );
        let own = own + 10;
        transfer(
            &mut world,
            (NIC, id),
            (at(ip, own), own),
            internet[index],
            100_000,
        );
    }
    finish(&mut world, &[]);
}

#[test]
fn the_world_knows_a_network_by_its_other_prefix() {
    const ELSEWHERE: &str = "2001:db8:aaaa::/64";
    let site = site().inside(WEB, |web| web.settings.nptv6 = ELSEWHERE.parse().unwrap());
    let pair = PrefixPair::new(
        "2001:db8:1::/64".parse().unwrap(),
        ELSEWHERE.parse().unwrap(),
    );
    let pair = pair.unwrap();
    let mut world = edge(&site, BAD);
    let [first, second] = [2, 3].map(|number| plug(&mut world, WEB, number));
    let known = [&first, &second].map(|(_, config)| pair.outward(config.ipv6).unwrap());
    let (first, second) = (first.0, second.0);
    transfer(
        &mut world,
        (first, NIC),
        (at(WORLD6, 5000), 5000),
        known[0],
        300_000,
    );
    transfer(
        &mut world,
        (NIC, first),
        (at(known[0], 5001), 5001),
        INTERNET6,
        300_000,
    );
    // By the addresses that the world knows neighbours talk, too.
    transfer(
        &mut world,
        (first, second),
        (at(known[1], 5002), 5002),
        known[0],
        100_000,
    );
    // IPv4 is masqueraded as ever.
    transfer(
        &mut world,
        (first, NIC),
        (at(WORLD, 5003), 5003),
        OURS,
        100_000,
    );
    let targets = known.map(IpAddr::V6).to_vec();
    let internet = [INTERNET.into(), INTERNET6.into()];
    world.start(NIC, Ping::new(internet, targets, Reach::All));
    // Errors say the names that their receiver knows, in both directions.
    let shut = |by: Ipv6Addr| Complaint {
        by: by.into(),
        what: (1, 4),
    };
    world.start(
        first,
        Probe::new(40_000, at(WORLD6, 9), 64, 100, shut(WORLD6)),
    );
    world.start(
        NIC,
        Probe::new(40_002, at(known[1], 9), 64, 100, shut(known[1])),
    );
    world.start(
        first,
        Probe::new(40_004, at(known[1], 9), 64, 100, shut(known[1])),
    );
    finish(&mut world, &[]);
}

#[test]
fn an_endpoint_that_lets_nobody_in_gets_its_answers() {
    let [web, web6] = container(WEB, 2).addresses();
    let nobody = Policy {
        rules: vec!["deny in any".parse().unwrap()],
        ..Policy::default()
    };
    let site = publish(site(), UDP, 8080, WEB, at(web, 7)).configured(|config| {
        config.rules.extend([web, web6].map(|ip| EndpointRules {
            network: WEB,
            ip,
            policy: nobody.clone(),
        }));
    });
    let mut world = edge(&site, lan());
    let (shut, shut_config) = plug(&mut world, WEB, 2);
    let (neighbour, config) = plug(&mut world, WEB, 3);
    for id in [shut, NIC] {
        world.start(id, UdpEcho::new(7));
    }
    let every = Duration::from_millis(100);
    world.start(shut, UdpAsk::new(40_000, at(WORLD, 7), 50, 50, every));
    transfer(
        &mut world,
        (shut, NIC),
        (at(WORLD6, 5000), 5000),
        OURS6,
        300_000,
    );
    world.start(NIC, UdpAsk::in_vain(40_000, at(OURS, 8080), 10, every));
    let targets = shut_config.addresses().to_vec();
    world.start(
        neighbour,
        Ping::new(config.addresses(), targets, Reach::None),
    );
    let others = config.addresses().to_vec();
    world.start(shut, Ping::new(shut_config.addresses(), others, Reach::All));
    let report = finish(&mut world, &[DropReason::PolicyDenied]);
    assert_eq!(report.totals(NIC).dropped(DropReason::PolicyDenied), 10);
    assert!(report.totals(neighbour).dropped(DropReason::PolicyDenied) >= 8);
    assert_eq!(report.totals(shut).dropped_in_all(), 0);
}

/// Container 9 of the first network opens `count` connections, a datagram each, every
/// `interval`; meanwhile two honest ones do what they do. Answers the report and the flooder's
/// port.
fn flooded(
    site: Site,
    count: u64,
    interval: Duration,
    expected: &[DropReason],
) -> (Report, PortId) {
    const FLOODER: u8 = 9;
    let flooder = container(WEB, FLOODER);
    let site = site.interface(WEB, |web| {
        web.neighbours.insert(flooder.ipv4.into(), flooder.mac);
    });
    let mut world = edge(&site, lan());
    let [first, second] = [2, 3].map(|number| plug(&mut world, WEB, number).0);
    let id = PortId(99);
    let script = Box::new(move |number: u64| {
        let own = u16::try_from(1024 + number % 60_000).unwrap();
        let peer = u16::try_from(1024 + number / 60_000).unwrap();
        let link = Link::new(flooder.mac, crate::site::gateway(WEB));
        Packet::finished(link.ipv4(flooder.ipv4, WORLD).udp(own, peer, b"me too"))
    });
    let begin = Instant::ZERO + Duration::from_secs(1);
    let talker = Talker::new(begin, count, interval, script);
    world.talker(Port::plain(id, WEB), talker, lan());
    world.start(NIC, UdpEcho::new(7));
    let seconds =
        u32::try_from(count * u64::from(interval.subsec_micros()) / 1_000_000).unwrap() + 2;
    for host in [first, second] {
        // Begun before the flood, and on through all of it.
        let every = Duration::from_millis(50);
        let asks = seconds * 20;
        let all = usize::try_from(asks).unwrap();
        world.start(host, UdpAsk::new(40_000, at(WORLD, 7), asks, all, every));
    }
    transfer(
        &mut world,
        (first, NIC),
        (at(WORLD, 5000), 5000),
        OURS,
        2_000_000,
    );
    world.run_for(Duration::from_secs(2));
    // Begun in the middle of it.
    transfer(
        &mut world,
        (second, NIC),
        (at(WORLD, 5001), 5001),
        OURS,
        500_000,
    );
    world.start(
        second,
        UdpAsk::new(40_010, at(WORLD, 7), 20, 20, Duration::from_millis(50)),
    );
    let report = finish(&mut world, expected);
    for host in [first, second] {
        assert_eq!(
            report.totals(host).dropped_in_all(),
            0,
            "an honest host lost frames"
        );
    }
    (report, id)
}

#[test]
fn who_takes_every_port_takes_none_of_those_in_use() {
    let few = site().ports(50_000, 50_255);
    let reasons = [DropReason::PortsExhausted];
    let (report, flooder) = flooded(few, 20_000, Duration::from_micros(200), &reasons);
    let dropped = report.totals(flooder).dropped(DropReason::PortsExhausted);
    assert!(
        dropped > 15_000,
        "{dropped} of 20000 connections found no port"
    );
}

#[test]
fn a_hundred_thousand_connections_of_one_endpoint_stop_at_its_quota() {
    let reasons = [DropReason::QuotaExceeded];
    let quota = site().inside(WEB, |web| web.settings.nat.quota = 1000);
    let (report, flooder) = flooded(quota, 100_000, Duration::from_micros(40), &reasons);
    let dropped = report.totals(flooder).dropped(DropReason::QuotaExceeded);
    assert_eq!(dropped, 99_000);
}

#[test]
fn a_hundred_thousand_connections_of_one_endpoint_push_out_their_own() {
    // Ports are shared, so that the table is what becomes full.
    let full = site().capacity(4096).inside(WEB, |web| {
        web.settings.nat.quota = 1_000_000;
        web.settings.nat.preset = Preset::Linux;
    });
    let (report, flooder) = flooded(full, 100_000, Duration::from_micros(40), &[]);
    assert_eq!(report.totals(flooder).rx_frames, 100_000);
}

#[test]
fn thousands_of_connections_of_many_hosts_work_at_once() {
    let mut world = edge(&site(), lan());
    world.start(NIC, UdpEcho::new(7));
    let all: Vec<_> = (2..=19)
        .map(|number| plug(&mut world, WEB, number))
        .collect();
    // Everybody's address is known to everybody: no more than three packets wait for one.
    for (id, config) in &all {
        let ping = Ping::new(config.addresses(), vec![WORLD.into()], Reach::All);
        world.start(*id, ping);
    }
    finish(&mut world, CROWDED);
    for ((id, _), port) in all.iter().zip(5000..) {
        for own in 0..200 {
            let every = Duration::from_millis(400);
            world.start(*id, UdpAsk::new(50_000 + own, at(WORLD, 7), 3, 3, every));
        }
        transfer(
            &mut world,
            (*id, NIC),
            (at(WORLD, port), port),
            OURS,
            20_000,
        );
    }
    finish(&mut world, CROWDED);
}

#[test]
fn every_preset_carries_honest_traffic() {
    for (preset, name) in Preset::ALL {
        println!("{name}");
        let site = [WEB, DB].into_iter().fold(site(), |site, net| {
            site.inside(net, |role| role.settings.nat.preset = *preset)
        });
        let mut world = edge(&site, BAD);
        world.start(NIC, UdpEcho::new(7));
        for (number, base) in [(2, 5000), (3, 5010)] {
            let (id, config) = plug(&mut world, WEB, number);
            transfer(&mut world, (id, NIC), (at(WORLD, base), base), OURS, 50_000);
            let every = Duration::from_millis(100);
            world.start(id, UdpAsk::new(40_000, at(WORLD, 7), 30, 20, every));
            let targets = vec![WORLD.into(), WORLD6.into()];
            world.start(id, Ping::new(config.addresses(), targets, Reach::All));
        }
        finish(&mut world, CROWDED);
    }
}

#[test]
fn one_seed_makes_one_run_behind_a_router_as_well() {
    let run = || {
        let mut world = edge(&site(), BAD);
        let (id, config) = plug(&mut world, WEB, 2);
        transfer(
            &mut world,
            (id, NIC),
            (at(WORLD, 5000), 5000),
            OURS,
            200_000,
        );
        world.start(
            id,
            Ping::new(config.addresses(), vec![WORLD6.into()], Reach::All),
        );
        finish(&mut world, &[]).to_string()
    };
    assert_eq!(run(), run());
}
