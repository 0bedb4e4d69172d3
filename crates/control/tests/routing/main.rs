//! Gateways, uplinks, publications and policies: what is refused and why, and what the router is
//! configured to be.

mod backends;
mod bridges;

use clearway_control::{
    Bridge, Change, Endpoint, Error, Hidden, InterfacePlan, Isolation, LinkFacts, Live,
    NamespaceId, PortSettings, State, StaticEntry, UplinkFacts,
};
use model::{
    Action, AddressRange, Attach, DatapathKind, Dependence, ExternalPrefix, Listener, Masquerade,
    Name, Nat, Netns, NetworkCreate, OneOrMore, Policy, PortRange, Preset, PublicationCreate, Rate,
    Routing, Rule, UplinkAdd, UplinkChoice,
};
use nat::config::{InsideRole, Role};
use std::collections::BTreeMap;
use wire::{IpProtocol, MacAddr, VlanId};

fn network(name: &str, subnets: &[&str]) -> NetworkCreate {
    let subnet = |net: &&str| net.parse().expect("it does");
    NetworkCreate {
        subnets: subnets.iter().map(subnet).collect(),
        ..NetworkCreate::new(name.parse().expect("it does"))
    }
}

fn made(state: &mut State, request: &NetworkCreate) {
    let (_, change) = state.add_network(request, |_| None).expect("it does");
    let _ = state.commit(change);
}

/// `blue` has both families, `plain` IPv4 alone.
fn state() -> State {
    let mut state = State::new(1);
    made(
        &mut state,
        &network("blue", &["10.1.0.0/24", "2001:db8:1::/64"]),
    );
    made(&mut state, &network("plain", &["10.2.0.0/24"]));
    state
}

fn request(inode: u32, network: &str, name: &str) -> Attach {
    Attach {
        name: name.parse().ok(),
        ..Attach::new(network.parse().expect("a name"), Netns::Pid(inode))
    }
}

/// Asks for an endpoint in the namespace of a process, whose inode has the same number.
fn asked(state: &State, request: &Attach) -> Result<(Endpoint, Change, InterfacePlan), Error> {
    let Some(Netns::Pid(pid)) = request.netns else {
        panic!("it is in a process's namespace");
    };
    let inode = pid.into();
    state.attach(
        request,
        Some(NamespaceId { device: 4, inode }),
        DatapathKind::Userspace,
    )
}

fn attach(state: &mut State, request: &Attach) -> Endpoint {
    let (endpoint, change, _) = asked(state, request).expect("it does");
    let _ = state.commit(change);
    endpoint
}

fn uplink(state: &mut State, dev: &str) -> clearway_control::Uplink {
    let (uplink, change) = state.add_uplink(&UplinkAdd::new(dev)).expect("it does");
    let _ = state.commit(change);
    uplink
}

fn publication(
    endpoint: &str,
    host: Option<&str>,
    ports: (u16, u16),
    to: u16,
) -> PublicationCreate {
    PublicationCreate {
        protocol: IpProtocol::TCP,
        host: host.map(|host| host.parse().expect("it does")),
        ports: PortRange::new(ports.0, ports.1).expect("a range"),
        endpoint: endpoint.parse::<Name>().expect("it does").into(),
        to,
        listener: Listener::Ours,
    }
}

fn publish(state: &mut State, request: &PublicationCreate) -> String {
    let (publication, change) = state.publish(request).expect("it does");
    let _ = state.commit(change);
    publication.id.to_string()
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("refused").to_string()
}

fn link(last: u8) -> LinkFacts {
    LinkFacts {
        mac: MacAddr([2, 0, 0, 0, 9, last]),
        addresses: vec!["198.51.100.7/24".parse().expect("it does")],
        gateways: vec!["198.51.100.254".parse().expect("it does")],
        mtu: 1400,
        neighbours: BTreeMap::new(),
        spared: std::collections::BTreeSet::new(),
        peer: None,
    }
}

fn inside(config: &nat::Config, at: usize) -> &InsideRole {
    match &config.interfaces[at].role {
        Role::Inside(role) => role,
        other @ (Role::Uplink(_) | Role::Host(_) | Role::Services) => panic!("{other:?}"),
    }
}

#[test]
fn the_first_address_is_the_gateways_unless_there_is_none() {
    let mut state = state();
    let blue = state.network_named("blue").unwrap();
    let gateways: Vec<_> = blue.gateways().iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["10.1.0.1/24", "2001:db8:1::1/64"]);
    let mac = state.gateway_mac(blue.id);
    assert!(mac.is_valid_source() && mac.0[0] & 2 == 2);
    assert_ne!(
        mac,
        state.gateway_mac(state.network_named("plain").unwrap().id)
    );
    assert_ne!(mac, State::new(2).gateway_mac(blue.id));

    let mut live = Live::new(3);
    let topology = live.topology(&state, &UplinkFacts::default()).unwrap();
    let (_, gateway) = topology.gateway(blue.id).unwrap();
    assert_eq!((gateway.mac, gateway.vlan), (mac, VlanId::DEFAULT));

    let taken = Attach {
        mac: Some(mac),
        ..request(1, "blue", "web")
    };
    assert_eq!(
        refusal(asked(&state, &taken)),
        format!("{mac} already belongs to the gateway of network `blue`")
    );
    let port = attach(&mut state, &request(1, "blue", "web")).port;
    let entry = StaticEntry {
        vlan: VlanId::DEFAULT,
        mac,
        port,
    };
    assert!(refusal(state.add_static("blue", entry)).contains("the gateway of network"));

    let mut none = network("quiet", &["10.3.0.0/24"]);
    none.gateways = Some(Vec::new());
    made(&mut state, &none);
    let endpoint = attach(&mut state, &request(2, "quiet", "web"));
    assert_eq!(endpoint.addresses[0].to_string(), "10.3.0.2/24");
    assert!(endpoint.gateways.is_empty());
    assert!(!state.network_named("quiet").unwrap().has_gateway());
}

#[test]
fn an_internal_network_has_a_gateway_and_no_way_on() {
    let mut state = state();
    let mut request_ = network("inner", &["10.3.0.0/24"]);
    request_.routing.internal = true;
    made(&mut state, &request_);
    let endpoint = attach(&mut state, &request(1, "inner", "db"));
    assert!(endpoint.gateways.is_empty());
    let config = Live::router_config(&state, &UplinkFacts::default());
    assert!(inside(&config, 2).settings.internal);
    assert_eq!(
        config.interfaces[2].addresses,
        ["10.3.0.1/24".parse().unwrap()]
    );
}

#[test]
fn reserved_addresses_are_for_those_who_ask() {
    let mut state = State::new(1);
    let mut blue = network("blue", &["10.1.0.0/24"]);
    let range = |text: &str| text.parse::<AddressRange>().unwrap();
    blue.reserved = vec![range("10.1.0.9-10.1.1.2")];
    assert_eq!(
        refusal(state.add_network(&blue, |_| None)),
        "reserved 10.1.0.9-10.1.1.2 lies in none of the network's subnets"
    );
    blue.reserved = vec![range("10.1.0.2-10.1.0.20")];
    made(&mut state, &blue);
    let given = attach(&mut state, &request(1, "blue", "a"));
    assert_eq!(given.addresses[0].to_string(), "10.1.0.21/24");
    let asked = Attach {
        addresses: vec!["10.1.0.5/24".parse().unwrap()],
        ..request(2, "blue", "b")
    };
    assert_eq!(
        attach(&mut state, &asked).addresses[0].to_string(),
        "10.1.0.5/24"
    );
    let (_, change) = state.detach(given.id).unwrap();
    let _ = state.commit(change);
    let again = attach(&mut state, &request(3, "blue", "c"));
    assert_eq!(again.addresses, given.addresses);
}

#[test]
fn what_the_host_reaches_elsewhere_is_no_subnet_unless_insisted_on() {
    let state = State::new(1);
    let mut request = network("blue", &["10.1.0.0/24", "10.9.0.0/24"]);
    let route = |net: ipnet::IpNet| {
        let vpn: ipnet::IpNet = "10.9.0.0/16".parse().unwrap();
        vpn.contains(&net)
            .then(|| "route to 10.9.0.0/16 over tun0".to_owned())
    };
    assert_eq!(
        refusal(state.add_network(&request, route)),
        "subnet 10.9.0.0/24 overlaps the host's route to 10.9.0.0/16 over tun0: take another, or insist with allow_overlap"
    );
    request.allow_overlap = true;
    assert!(state.add_network(&request, route).is_ok());
}

#[test]
fn names_are_unique_in_a_network_and_found_across_them() {
    let mut state = state();
    let first = attach(&mut state, &request(1, "blue", "db"));
    let aliased = Attach {
        aliases: vec!["postgres".parse().unwrap()],
        ..request(2, "plain", "db")
    };
    let second = attach(&mut state, &aliased);
    assert_eq!(second.aliases, aliased.aliases);
    let port = |e: &Endpoint| state.port(e.port).unwrap().name.clone();
    assert_eq!((port(&first), port(&second)), ("db".into(), "ep-2".into()));
    assert_eq!(
        refusal(asked(&state, &request(3, "blue", "db"))),
        "network `blue` already has an endpoint `db`, ep-1"
    );
    // A port's name comes first; without it two endpoints have the name.
    assert_eq!(state.endpoint_named("db").unwrap().id, first.id);
    let other = attach(&mut state, &request(4, "plain", "one"));
    assert_eq!(state.endpoint_named("one").unwrap().id, other.id);
    let (_, change) = state.detach(first.id).unwrap();
    let _ = state.commit(change);
    attach(&mut state, &request(5, "blue", "ep"));
    assert_eq!(state.endpoint_named("db").unwrap().id, second.id);
    let third = Attach {
        name: "db".parse().ok(),
        ..request(6, "blue", "")
    };
    attach(&mut state, &third);
    let (_, change) = state
        .detach(state.endpoint_named("one").unwrap().id)
        .unwrap();
    let _ = state.commit(change);
    assert_eq!(state.endpoint_named("ep-2").unwrap().id, second.id);
}

#[test]
fn a_network_is_changed_while_it_is_used() {
    let mut state = state();
    let mut live = Live::new(3);
    let ports = [(1, "web"), (2, "db")]
        .map(|(inode, name)| attach(&mut state, &request(inode, "blue", name)).port);
    let mut isolated = |state: &State| {
        let topology = live.topology(state, &UplinkFacts::default()).unwrap();
        ports.map(|port| topology.port(port).unwrap().isolated)
    };
    assert_eq!(isolated(&state), [false, false]);
    let routing = Routing {
        icc: false,
        ..Routing::default()
    };
    let (_, change) = state.set_network("blue", routing).unwrap();
    let undo = state.commit(change);
    assert_eq!(isolated(&state), [true, true]);
    let port = state.port(ports[0]).unwrap();
    let settings = PortSettings {
        isolated: Isolation::Off,
        ..port.settings.clone()
    };
    let (_, change) = state.set_port(port.id, port.network, settings).unwrap();
    let _ = state.commit(change);
    assert_eq!(isolated(&state), [false, true]);
    let _ = state.commit(undo);
    assert_eq!(isolated(&state), [false, false]);

    let with = |change: fn(&mut Routing)| {
        let mut routing = Routing::default();
        change(&mut routing);
        refusal(state.set_network("blue", routing))
    };
    assert_eq!(
        with(|r| r.nat.quota = 0),
        "quota is 0; allowed are 1 to 16777216"
    );
    assert_eq!(
        with(|r| r.peers = ["blue".parse().unwrap()].into()),
        "network `blue` cannot be its own peer"
    );
    assert_eq!(
        with(|r| r.uplink = UplinkChoice::Named("up".parse().unwrap())),
        "there is no uplink `up`"
    );
}

#[test]
fn uplinks_have_networks_of_their_own_and_are_not_listed_with_the_others() {
    let mut state = state();
    let first = uplink(&mut state, "eth0");
    let (host, change) = state.add_place(Hidden::Host);
    let _ = state.commit(change);
    assert_eq!(state.add_place(Hidden::Host).0, host);
    let second = uplink(&mut state, "eth1");
    let ids = [first.place, host, second.place].map(|place| (place.network.0, place.port.0));
    assert_eq!(ids, [(2, 0), (3, 1), (4, 2)]);
    assert_eq!(attach(&mut state, &request(1, "blue", "web")).port.0, 3);
    made(&mut state, &network("late", &[]));
    assert_eq!(state.network_named("late").unwrap().id.0, 5);
    assert_eq!((state.networks().count(), state.ports().count()), (3, 1));

    let facts = UplinkFacts {
        uplinks: [("eth0".to_owned(), link(1))].into(),
        host: Some(link(8)),
        services: None,
    };
    let mut live = Live::new(3);
    let topology = live.topology(&state, &facts).unwrap();
    let mac = |place: clearway_control::Attachment| Some(topology.gateway(place.network)?.1.mac);
    assert_eq!(mac(first.place), Some(link(1).mac));
    assert_eq!(mac(host), Some(link(8).mac));
    assert_eq!(mac(second.place), None, "its NIC is not there");

    for (request, wanted) in [
        (UplinkAdd::new("eth0"), "uplink `eth0` already exists"),
        (
            UplinkAdd {
                name: Some("x".parse().unwrap()),
                ..UplinkAdd::new("eth0")
            },
            "the daemon's namespace already has an interface `eth0`, of port `eth0`",
        ),
        (
            UplinkAdd {
                ports: PortRange::new(80, 9000).expect("a range"),
                ..UplinkAdd::new("e")
            },
            "ports is 80-9000; allowed are 256 at least of 1024 to 65535",
        ),
        (
            UplinkAdd {
                ports: PortRange::new(9000, 9010).expect("a range"),
                ..UplinkAdd::new("e")
            },
            "ports is 9000-9010; allowed are 256 at least",
        ),
    ] {
        let got = refusal(state.add_uplink(&request));
        assert!(got.contains(wanted), "{got}\n  should say: {wanted}");
    }
    let named = Routing {
        uplink: UplinkChoice::Named("eth0".parse().unwrap()),
        ..Routing::default()
    };
    let (_, change) = state.set_network("blue", named).unwrap();
    let _ = state.commit(change);
    assert_eq!(
        refusal(state.remove_uplink("eth0")),
        "uplink `eth0` is named by network blue"
    );
    let (_, change) = state.remove_uplink("eth1").unwrap();
    let _ = state.commit(change);
    assert_eq!(state.uplinks().count(), 1);
}

#[test]
fn published_ports_lead_to_one_place_each() {
    let mut state = state();
    attach(&mut state, &request(1, "blue", "web"));
    attach(&mut state, &request(2, "plain", "old"));
    let id = publish(
        &mut state,
        &publication("web", None, (20_000, 29_999), 20_000),
    );
    let config = Live::router_config(&state, &UplinkFacts::default());
    let to: Vec<_> = config
        .publications
        .iter()
        .map(|p| (p.host, p.ports.count(), p.to.addr.to_string()))
        .collect();
    assert_eq!(
        to,
        [
            (None, 10_000, "10.1.0.2:20000".to_owned()),
            (None, 10_000, "[2001:db8:1::2]:20000".to_owned()),
        ]
    );
    for (request, wanted) in [
        (
            publication("old", None, (29_999, 30_001), 1),
            "29999-30001->ep-2:1-3/tcp takes a port of pub-1, 20000-29999->ep-1:20000-29999/tcp",
        ),
        (
            publication("old", Some("198.51.100.1"), (25_000, 25_000), 80),
            "198.51.100.1:25000->ep-2:80/tcp takes a port of pub-1",
        ),
        (
            publication("old", Some("::"), (80, 80), 80),
            "endpoint old cannot be reached from ::",
        ),
        (
            publication("old", Some("169.254.0.1"), (80, 80), 80),
            "nothing can be published at 169.254.0.1",
        ),
        (
            publication("old", None, (1, 9), 0),
            "ports 1-9 do not fit from port 0 on",
        ),
        (
            publication("old", None, (1, 9), 65_530),
            "ports 1-9 do not fit from port 65530 on",
        ),
        (
            publication("x", None, (1, 9), 1),
            "there is no endpoint `x`",
        ),
    ] {
        let got = refusal(state.publish(&request));
        assert!(got.contains(wanted), "{got}\n  should say: {wanted}");
    }
    let icmp = PublicationCreate {
        protocol: IpProtocol::ICMP,
        ..publication("web", None, (1, 1), 1)
    };
    assert_eq!(
        refusal(state.publish(&icmp)),
        "protocol is icmp; allowed are tcp, udp and sctp"
    );
    // Other addresses, other protocols and other families have ports of their own.
    let v4 = publication("old", Some("0.0.0.0"), (53, 53), 53);
    publish(&mut state, &v4);
    publish(&mut state, &publication("web", Some("::"), (53, 53), 53));
    publish(
        &mut state,
        &PublicationCreate {
            protocol: IpProtocol::UDP,
            ..v4
        },
    );
    let any = Live::router_config(&state, &UplinkFacts::default()).publications;
    assert!(any.iter().all(|p| p.host.is_none()));
    assert_eq!(any.len(), 5);

    let before = state.clone();
    let web = state.endpoint_named("web").unwrap().id;
    let (_, change) = state.detach(web).unwrap();
    let undo = state.commit(change);
    assert_eq!((state.publications().count(), state.check()), (2, Ok(())));
    let _ = state.commit(undo);
    assert_eq!(state, before);
    let (_, change) = state.unpublish(&id).unwrap();
    let _ = state.commit(change);
    assert_eq!(
        refusal(state.unpublish(&id)),
        "there is no publication `pub-1`"
    );
    let next = publish(&mut state, &publication("old", None, (29_999, 30_001), 1));
    assert_eq!(next, "pub-5");
}

#[test]
fn without_a_gateway_nothing_is_published() {
    let mut state = State::new(1);
    made(&mut state, &network("flat", &[]));
    attach(&mut state, &request(1, "flat", "web"));
    assert_eq!(
        refusal(state.publish(&publication("web", None, (80, 80), 80))),
        "endpoint web cannot be reached: it has no such address in a subnet with a gateway"
    );
}

#[test]
fn rules_hold_for_each_address_in_their_order() {
    let mut state = state();
    attach(&mut state, &request(1, "blue", "web"));
    let policy = Policy {
        default: Action::Deny,
        rules: ["allow out tcp 10.0.0.0/8:443", "allow out any"]
            .map(|rule| rule.parse().unwrap())
            .to_vec(),
    };
    let (endpoint, change) = state.set_policy("web", policy.clone()).unwrap();
    assert_eq!(endpoint.policy, policy);
    let undo = state.commit(change);
    let config = Live::router_config(&state, &UplinkFacts::default());
    let ips: Vec<_> = config.rules.iter().map(|r| r.ip.to_string()).collect();
    assert_eq!(ips, ["10.1.0.2", "2001:db8:1::2"]);
    assert!(config.rules.iter().all(|r| r.policy == policy));
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    let _ = state.commit(undo);
    assert!(
        Live::router_config(&state, &UplinkFacts::default())
            .rules
            .is_empty()
    );

    let wrong = Policy {
        rules: vec![Rule {
            protocol: Some(IpProtocol::ICMP),
            ..policy.rules[0]
        }],
        ..Policy::default()
    };
    assert_eq!(
        refusal(state.set_policy("web", wrong)),
        "rule 1, `allow out icmp 10.0.0.0/8:443`: only tcp, udp and sctp have ports"
    );
}

#[test]
fn a_prefix_stands_for_the_network_s_own_and_for_nothing_else() {
    let mut state = state();
    made(&mut state, &network("inner", &["10.9.0.0/24", "fd01::/64"]));
    made(&mut state, &network("other", &["fd02::/64"]));
    let with = |prefix: &str| Routing {
        nptv6: ExternalPrefix::Prefix(prefix.parse().unwrap()),
        ..Routing::default()
    };
    let tried = |state: &State, name: &str, prefix: &str| {
        let set = state.set_network(name, with(prefix));
        set.map(|(network, _)| network.known_to_the_world())
    };
    assert_eq!(
        tried(&state, "inner", "2001:db8:5::/64").unwrap(),
        ["2001:db8:5::/64".parse().unwrap()]
    );
    for (name, prefix, why) in [
        (
            "plain",
            "2001:db8:5::/64",
            "has no IPv6 subnet with a gateway",
        ),
        ("inner", "2001:db8:5::/56", "both must have one length"),
        (
            "inner",
            "fd01::/64",
            "overlaps fd01::/64 of network `inner`",
        ),
        (
            "inner",
            "fd02::/64",
            "overlaps fd02::/64 of network `other`",
        ),
    ] {
        let got = refusal(tried(&state, name, prefix));
        assert!(got.contains(why), "{got}");
    }
    let (_, change) = state.set_network("inner", with("2001:db8:5::/64")).unwrap();
    let _ = state.commit(change);
    let got = refusal(tried(&state, "other", "2001:db8:5::/64"));
    assert!(got.contains("of network `inner`"), "{got}");
    let got = refusal(state.add_network(&network("third", &["2001:db8:5::/64"]), |_| None));
    assert!(got.contains("of network `inner`"), "{got}");
    state.check().unwrap();
}

#[test]
fn the_router_is_told_everything() {
    let mut state = state();
    let up = uplink(&mut state, "eth0");
    let routing = Routing {
        peers: ["plain", "later"].map(|peer| peer.parse().unwrap()).into(),
        masquerade: Masquerade::Ipv6,
        dhcp: true,
        nat: Nat {
            preset: Preset::Corporate,
            mapping: Some(Dependence::AddressDependent),
            filtering: Some(Dependence::EndpointIndependent),
            tcp_liberal: Some(true),
            quota: 7,
        },
        ..Routing::default()
    };
    let (_, change) = state.set_network("blue", routing).unwrap();
    let _ = state.commit(change);
    let web = attach(&mut state, &request(1, "blue", "web"));

    let bare = Live::router_config(&state, &UplinkFacts::default());
    assert_eq!(bare.interfaces.len(), 2, "no NIC, no uplink");
    assert_eq!(inside(&bare, 0).uplink, None);

    let facts = UplinkFacts {
        uplinks: [("eth0".to_owned(), link(1))].into(),
        ..UplinkFacts::default()
    };
    let config = Live::router_config(&state, &facts);
    let [blue, plain, nic] = config.interfaces.as_slice() else {
        panic!("{config:?}")
    };
    let role = inside(&config, 0);
    assert_eq!(role.peers, [plain.network]);
    assert_eq!(
        (role.uplink, role.settings.masquerade),
        (Some(up.place.network), Masquerade::Ipv6)
    );
    assert_eq!(
        (role.settings.nat.mapping, role.settings.nat.quota),
        (Some(Dependence::AddressDependent), 7)
    );
    assert!(role.settings.dhcp && role.settings.host_access);
    assert_eq!(role.leases[&web.mac].hostname.as_deref(), Some("web"));
    assert_eq!(role.leases[&web.mac].addresses, web.addresses);
    assert_eq!(blue.neighbours.len(), 2);
    assert_eq!(blue.neighbours[&web.addresses[0].addr()], web.mac);
    assert_eq!(blue.mac, state.gateway_mac(blue.network));
    let Role::Uplink(role) = &nic.role else {
        panic!("{nic:?}")
    };
    assert_eq!((nic.mac, nic.mtu), (link(1).mac, 1400));
    assert_eq!((role.ports, role.gateways.len()), (PortRange::DYNAMIC, 1));

    let routing = Routing {
        uplink: UplinkChoice::None,
        ..Routing::default()
    };
    let (_, change) = state.set_network("blue", routing).unwrap();
    let _ = state.commit(change);
    assert_eq!(inside(&Live::router_config(&state, &facts), 0).uplink, None);
}

#[test]
fn rates_have_ranges_and_reach_the_switch() {
    let mut state = state();
    let rate = |bits, packets| {
        Some(Rate {
            bits_per_second: bits,
            packets_per_second: packets,
        })
    };
    for (wrong, why) in [
        (
            rate(Some(1), None),
            "rate.bits_per_second is 1; allowed are 1200 to 34000000000",
        ),
        (
            rate(None, Some(0)),
            "rate.packets_per_second is 0; allowed are 1 to 100000000",
        ),
    ] {
        let attach = Attach {
            rate: wrong,
            ..request(1, "blue", "web")
        };
        assert_eq!(refusal(asked(&state, &attach)), why);
    }
    let limited = Attach {
        rate: rate(Some(100_000_000), Some(10_000)),
        ..request(1, "blue", "web")
    };
    let port = attach(&mut state, &limited).port;
    let mut live = Live::new(3);
    let mut meters = |state: &State| {
        let topology = live.topology(state, &UplinkFacts::default()).unwrap();
        let port = topology.port(port).unwrap();
        let (sends, receives) = (port.sends.clone(), port.receives.clone());
        (sends.bytes, sends.packets, receives.bytes)
    };
    let (bytes, packets, received) = meters(&state);
    let bytes = bytes.unwrap();
    assert!(packets.is_some() && !std::sync::Arc::ptr_eq(&bytes, &received.unwrap()));
    let (again, ..) = meters(&state);
    assert!(
        std::sync::Arc::ptr_eq(&bytes, &again.unwrap()),
        "a change elsewhere refills no bucket"
    );
    let old = state.port(port).unwrap();
    let settings = PortSettings {
        rate: None,
        ..old.settings.clone()
    };
    let (_, change) = state.set_port(port, old.network, settings).unwrap();
    let _ = state.commit(change);
    assert!(meters(&state).0.is_none());
}

/// As a daemon wrote it that knew nothing of gateways.
const OLD: &str = r#"{
  "seed": 1, "next_endpoint": 2,
  "networks": [{
    "id": 0, "name": "blue",
    "subnets": [{"net": "10.1.0.0/24", "gateway": null}, {"net": "10.2.0.0/24", "gateway": "10.2.0.1"}],
    "mtu": 1500, "forward_reserved": false, "default_vlan": 1,
    "fdb": {"max_entries": 65536, "max_per_port": 4096, "ageing_secs": 300},
    "storm": {"broadcast": null, "multicast": null, "unknown": null},
    "statics": [], "labels": {}
  }],
  "endpoints": [{
    "id": 1, "network": 0, "port": 0,
    "sandbox": {"namespace": {"name": "web"}, "identity": {"device": 4, "inode": 9}},
    "ifname": "eth0", "mac": "02:42:0a:01:00:02", "addresses": ["10.1.0.2/24"],
    "gateways": [], "mtu": 1500, "queues": 1, "labels": {}
  }],
  "ports": [{
    "id": 0, "name": "web", "kind": {"endpoint": 1}, "network": 0,
    "settings": {
      "up": true, "vlan": null, "isolated": true,
      "lock": {"mac": "02:42:0a:01:00:02", "addresses": ["10.1.0.2"]},
      "max_macs": null, "storm": null, "mirror": null
    }
  }]
}"#;

#[test]
fn an_old_state_file_is_loaded_and_means_what_it_did() {
    let mut state = State::read(1, serde_json::from_str(OLD).unwrap()).unwrap();
    assert_eq!(state.check(), Ok(()));
    let blue = state.network_named("blue").unwrap();
    assert_eq!(blue.routing, Routing::default());
    assert_eq!(
        blue.gateways().len(),
        1,
        "a subnet without a gateway gets none"
    );
    let port = state.port_named("web").unwrap();
    assert_eq!(port.settings.isolated, Isolation::On);
    assert_eq!(
        (state.uplinks().count(), state.publications().count()),
        (0, 0)
    );
    let id = attach(&mut state, &request(1, "blue", "db")).id;
    assert_eq!(id.0, 2);
    publish(&mut state, &publication("db", None, (80, 80), 80));
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

#[test]
fn a_damaged_file_is_refused() {
    let mut state = state();
    uplink(&mut state, "eth0");
    attach(&mut state, &request(1, "blue", "web"));
    publish(&mut state, &publication("web", None, (80, 80), 80));
    publish(&mut state, &publication("web", None, (81, 81), 81));
    let text = serde_json::to_string(&state).unwrap();
    for (from, to, wanted) in [
        (
            "\"next_publication\":3",
            "\"next_publication\":2",
            "not after pub-2",
        ),
        (
            "\"ports\":[81,81]",
            "\"ports\":[80,81]",
            "takes a port of pub-2, 80-81->ep-1:81-82/tcp",
        ),
        (
            "\"ports\":[81,81]",
            "\"ports\":[81,80]",
            "81 to 80 is no range of ports",
        ),
        (
            "\"endpoint\":1,\"to\":80",
            "\"endpoint\":9,\"to\":80",
            "there is no endpoint `ep-9`",
        ),
        (
            "\"protocol\":\"tcp\"",
            "\"protocol\":\"gre\"",
            "`gre` is not a protocol: tcp, udp, sctp",
        ),
        (
            "\"ports\":[49152,65535]",
            "\"ports\":[1,65535]",
            "ports is 1-65535; allowed are 256 at least of 1024",
        ),
        (
            "\"network\":2,\"port\":0}",
            "\"network\":0,\"port\":0}",
            "network id `network0` is there twice",
        ),
        (
            "\"uplink\":\"auto\"",
            "\"uplink\":{\"named\":\"x\"}",
            "there is no uplink `x`",
        ),
        (
            "\"preset\":\"rfc\"",
            "\"preset\":\"nat\"",
            "unknown NAT preset `nat`: allowed are rfc, linux",
        ),
        (
            "\"isolated\":false",
            "\"isolated\":\"no\"",
            "`no` is none of true, false",
        ),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from} in {text}");
        let error = match serde_json::from_str::<State>(&damaged) {
            Err(error) => error.to_string(),
            Ok(state) => refusal(state.check()),
        };
        assert!(error.contains(wanted), "{error}\n  should say: {wanted}");
    }
}

#[test]
fn what_is_published_at_a_loopback_address_is_for_the_host_alone() {
    let mut state = state();
    attach(&mut state, &request(1, "blue", "web"));
    let here = publication("web", Some("127.0.0.1"), (80, 80), 80);
    let (here, change) = state.publish(&here).unwrap();
    let _ = state.commit(change);
    assert_eq!(state.expanded(&here).len(), 1);
    let config = Live::router_config(&state, &UplinkFacts::default());
    assert!(config.publications.is_empty());
}
