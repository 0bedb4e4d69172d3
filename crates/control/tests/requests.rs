//! What is refused, and why; what a request makes.

use clearway_control::{
    Change, Endpoint, Error, InterfacePlan, InterfaceStep, Mirror, NamespaceId, PortSettings,
    State, StaticEntry,
};
use model::{
    Attach, Datapath, DatapathKind, Direction, EndpointSet, Join, Netns, NetworkCreate, PortAdd,
    Routing, StormLimits, Via, VlanMode,
};
use pipeline::PortId;
use wire::{MacAddr, VlanId};

fn network(name: &str, subnets: &[&str]) -> NetworkCreate {
    let subnet = |net: &&str| net.parse().expect("a subnet");
    NetworkCreate {
        subnets: subnets.iter().map(subnet).collect(),
        gateways: Some(Vec::new()),
        ..NetworkCreate::new(name.parse().expect("a name"))
    }
}

/// The namespace of that name: `ns7` has inode 7.
fn identity(netns: &Netns) -> NamespaceId {
    let name = netns.to_string();
    let inode = name.strip_prefix("ns").and_then(|n| n.parse().ok());
    let inode = inode.expect("its name ends in a number");
    NamespaceId { device: 4, inode }
}

fn asked(state: &State, request: &Attach) -> Result<(Endpoint, Change, InterfacePlan), Error> {
    state.attach(
        request,
        request.netns.as_ref().map(identity),
        DatapathKind::Userspace,
    )
}

fn with_networks(networks: &[NetworkCreate]) -> State {
    let mut state = State::new(1);
    for request in networks {
        let (_, change) = state.add_network(request, |_| None).expect("it does");
        let _ = state.commit(change);
    }
    state
}

fn attach(state: &mut State, request: &Attach) -> Endpoint {
    let (endpoint, change, _) = asked(state, request).expect("it does");
    let _ = state.commit(change);
    endpoint
}

fn blue() -> State {
    with_networks(&[network("blue", &["10.1.0.0/29", "2001:db8:1::/64"])])
}

fn plain(inode: u64) -> Attach {
    let netns = format!("ns{inode}").parse().expect("a name");
    Attach::new("blue".parse().expect("a name"), netns)
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn a_network_that_does_not_do_is_refused_with_the_reason() {
    let state = blue();
    let with = |change: fn(&mut NetworkCreate)| {
        let mut request = network("red", &[]);
        change(&mut request);
        refusal(state.add_network(&request, |_| None))
    };
    let cases = [
        (
            with(|r| r.name = "blue".parse().unwrap()),
            "network `blue` already exists",
        ),
        (
            with(|r| r.mtu = 575),
            "mtu is 575; allowed are 576 to 65535",
        ),
        (
            with(|r| r.ageing_seconds = 0),
            "ageing_seconds is 0; allowed are 1 to 1000000",
        ),
        (
            with(|r| r.max_macs = 1 << 30),
            "max_macs is 1073741824; allowed are 16 to 4194304",
        ),
        (
            refusal(state.add_network(&network("red", &["10.1.0.0/16"]), |_| None)),
            "subnet 10.1.0.0/16 overlaps 10.1.0.0/29 of network `blue`",
        ),
        (
            refusal(state.add_network(&network("red", &["10.2.0.0/16", "10.2.3.0/24"]), |_| None)),
            "subnets 10.2.0.0/16 and 10.2.3.0/24 overlap",
        ),
        (
            refusal(state.add_network(&network("red", &["10.2.0.1/16"]), |_| None)),
            "its host bits are not zero; 10.2.0.0/16 is one",
        ),
        (
            refusal(state.add_network(&network("red", &["10.2.0.0/31"]), |_| None)),
            "its prefix length is not in 8 to 30",
        ),
        (
            refusal(state.add_network(&network("red", &["127.0.0.0/8"]), |_| None)),
            "loopback",
        ),
        (
            refusal(state.add_network(&network("red", &["ff00::/16"]), |_| None)),
            "multicast",
        ),
    ];
    for (got, wanted) in cases {
        assert!(got.contains(wanted), "{got}\n  should say: {wanted}");
    }
    let mut small = network("red", &["2001:db8:2::/64"]);
    small.mtu = 1279;
    assert_eq!(
        refusal(state.add_network(&small, |_| None)),
        "mtu is 1279; a network with an IPv6 subnet needs 1280 to 65535 (RFC 8200 5)"
    );
    let mut gateway = network("red", &["10.2.0.0/24"]);
    gateway.gateways = Some(vec!["10.2.0.255".parse().unwrap()]);
    assert!(
        refusal(state.add_network(&gateway, |_| None)).contains("it is not a host's address there")
    );
}

#[test]
fn an_endpoint_gets_what_it_did_not_ask_for() {
    let mut state = blue();
    let (endpoint, change, plan) = asked(&state, &plain(1)).unwrap();
    let texts: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.1.0.2/29", "2001:db8:1::2/64"]);
    assert_eq!(endpoint.mac, MacAddr([2, 0x42, 10, 1, 0, 2]));
    let ifname = || "eth0".to_owned();
    assert_eq!(
        plan.there,
        [
            InterfaceStep::MakeTap {
                ifname: ifname(),
                queues: 1
            },
            InterfaceStep::Configure {
                ifname: ifname(),
                mac: endpoint.mac,
                mtu: 1500
            },
            InterfaceStep::AddAddress {
                ifname: ifname(),
                address: endpoint.addresses[0]
            },
            InterfaceStep::AddAddress {
                ifname: ifname(),
                address: endpoint.addresses[1]
            },
        ]
    );
    assert_eq!(
        plan.undo().there,
        [InterfaceStep::RemoveTap { ifname: ifname() }]
    );
    let _ = state.commit(change);
    let port = state.port_named("ep-1").unwrap();
    let lock = port.settings.lock.as_ref().unwrap();
    assert_eq!((lock.mac, lock.ips.len()), (endpoint.mac, 2));
    assert_eq!(
        state.vlan_of(port),
        VlanMode::Access {
            vid: VlanId::DEFAULT
        }
    );
}

#[test]
fn a_gateway_becomes_a_default_route() {
    let mut request = network("blue", &["10.1.0.0/24"]);
    request.gateways = Some(vec!["10.1.0.254".parse().unwrap()]);
    let state = with_networks(&[request]);
    let (endpoint, _, plan) = asked(&state, &plain(1)).unwrap();
    assert_eq!(endpoint.addresses[0].to_string(), "10.1.0.1/24");
    let route = InterfaceStep::DefaultRoute {
        ifname: "eth0".into(),
        gateway: "10.1.0.254".parse().unwrap(),
    };
    assert_eq!(plan.there.last(), Some(&route));
    let own = Attach {
        gateways: Some(vec!["10.1.0.7".parse().unwrap()]),
        ..plain(1)
    };
    assert_eq!(
        asked(&state, &own).unwrap().0.gateways,
        ["10.1.0.7".parse::<std::net::IpAddr>().unwrap()]
    );
    let far = Attach {
        gateways: Some(vec!["10.2.0.7".parse().unwrap()]),
        ..plain(1)
    };
    assert!(refusal(asked(&state, &far)).contains("in none of the endpoint's subnets"));
    let two = Attach {
        gateways: Some(
            ["10.1.0.7", "10.1.0.8"]
                .map(|g| g.parse().unwrap())
                .to_vec(),
        ),
        ..plain(1)
    };
    assert!(refusal(asked(&state, &two)).contains("another of its family"));
}

#[test]
fn an_endpoint_that_does_not_do_is_refused_with_the_reason() {
    let mut state = blue();
    attach(&mut state, &plain(1));
    let address = |text: &str| Attach {
        addresses: vec![text.parse().unwrap()],
        ..plain(2)
    };
    let cases = [
        (
            Attach {
                network: "green".parse().unwrap(),
                ..plain(2)
            },
            "there is no network `green`",
        ),
        (
            plain(1),
            "ns1 already has an interface `eth0`, of port `ep-1`",
        ),
        (
            Attach {
                ifname: "a/b".into(),
                ..plain(2)
            },
            "ifname is `a/b`; allowed are 1 to 15 printable letters",
        ),
        (
            Attach {
                name: "ep-1".parse().ok(),
                ..plain(2)
            },
            "network `blue` already has an endpoint `ep-1`, ep-1",
        ),
        (
            Attach {
                mac: Some(MacAddr::BROADCAST),
                ..plain(2)
            },
            "mac is ff:ff:ff:ff:ff:ff; allowed is an individual address that is not all zeros",
        ),
        (
            Attach {
                mac: Some(MacAddr([2, 0x42, 10, 1, 0, 2])),
                ..plain(2)
            },
            "already belongs to endpoint ep-1",
        ),
        (
            Attach {
                mtu: Some(1600),
                ..plain(2)
            },
            "mtu is 1600; allowed are 1280 to 1500",
        ),
        (
            Attach {
                queues: 17,
                ..plain(2)
            },
            "queues is 17; allowed are 1 to 16",
        ),
        (
            address("10.1.0.2/29"),
            "10.1.0.2 already belongs to endpoint ep-1",
        ),
        (
            address("10.7.0.2/29"),
            "10.7.0.2 is in no subnet of network `blue` (10.1.0.0/29, 2001:db8:1::/64)",
        ),
        (
            address("10.1.0.3/24"),
            "its prefix length is 24, its subnet's is 29",
        ),
        (
            address("10.1.0.7/29"),
            "endpoints of 10.1.0.0/29 have 10.1.0.1 to 10.1.0.6",
        ),
        (
            address("10.1.0.0/29"),
            "endpoints of 10.1.0.0/29 have 10.1.0.1 to 10.1.0.6",
        ),
        (address("127.0.0.1/8"), "loopback"),
        (address("fe80::1/64"), "link-local"),
    ];
    for (request, wanted) in cases {
        let got = refusal(asked(&state, &request));
        assert!(got.contains(wanted), "{got}\n  should say: {wanted}");
    }
    // One address remains beside those the router and the first endpoint have: 3 to 6.
    for inode in 2..6 {
        attach(&mut state, &plain(inode));
    }
    assert_eq!(
        refusal(asked(&state, &plain(9))),
        "subnet 10.1.0.0/29 of network `blue` has no free address left"
    );
}

#[test]
fn one_family_asked_for_leaves_the_other_to_us() {
    let mut state = blue();
    let endpoint = attach(
        &mut state,
        &Attach {
            addresses: vec!["10.1.0.6/29".parse().unwrap()],
            ..plain(1)
        },
    );
    let texts: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.1.0.6/29", "2001:db8:1::2/64"]);
}

#[test]
fn an_endpoint_waits_is_joined_left_and_renamed() {
    let mut state = blue();
    let waiting = Attach {
        netns: None,
        name: "web".parse().ok(),
        ..plain(1)
    };
    let endpoint = attach(&mut state, &waiting);
    assert_eq!(endpoint.interface(), None);

    let join = |state: &State, via| {
        let (netns, ifname) = ("ns7".parse().unwrap(), "eth0".to_owned());
        let found = Some(identity(&netns));
        let join = Join { netns, ifname, via };
        state.join(endpoint.id, &join, found, DatapathKind::Userspace)
    };
    let veth = |host: Option<&str>| Via::Veth {
        host: host.map(str::to_owned),
    };
    let (joined, _, plan) = join(&state, veth(Some("veth7"))).unwrap();
    assert_eq!(
        (joined.veth(), plan),
        (Some("veth7"), InterfacePlan::default())
    );
    assert_eq!(
        refusal(join(&state, veth(None))),
        "there is no veth of endpoint `ep-1`"
    );
    let (joined, change, plan) = join(&state, Via::MovedTap).unwrap();
    assert!(matches!(
        plan.here.as_slice(),
        [InterfaceStep::MakeTap { .. }, InterfaceStep::Prepare { .. }]
    ));
    // What we hold of it is in our own namespace.
    assert_eq!(joined.interface(), Some((None, "eth0")));
    let _ = state.commit(change);
    assert_eq!(
        refusal(join(&state, Via::Tap)),
        "endpoint ep-1 is in ns7 already; it must leave that first"
    );
    assert_eq!(
        state
            .endpoints_in(NamespaceId {
                device: 4,
                inode: 7
            })
            .count(),
        1
    );

    let renamed = EndpointSet {
        name: "shop".parse().ok(),
        ..EndpointSet::default()
    };
    let (_, change) = state.set_endpoint(endpoint.id, &renamed).unwrap();
    let _ = state.commit(change);
    assert_eq!(state.endpoint_named("shop").unwrap().id, endpoint.id);
    assert!(state.port_named("shop").is_ok() && state.port_named("web").is_err());

    let (left, change) = state.leave(endpoint.id).unwrap();
    let _ = state.commit(change);
    assert_eq!(left.addresses, endpoint.addresses);
    assert_eq!(
        state
            .endpoints_in(NamespaceId {
                device: 4,
                inode: 7
            })
            .count(),
        0
    );
    assert_eq!(state.check(), Ok(()));
}

#[test]
fn a_network_has_another_name_for_its_peers_as_well() {
    let mut state = with_networks(&[network("blue", &[]), network("red", &[])]);
    let peers = |name: &str| Routing {
        peers: [name.parse().unwrap()].into(),
        ..Routing::default()
    };
    let (_, change) = state.set_network("blue", peers("red")).unwrap();
    let _ = state.commit(change);
    let red = |state: &State| state.network_named("red").unwrap().network.clone();
    assert_eq!(
        refusal(state.rename_network(&red(&state), "blue")),
        "network `blue` already exists"
    );
    let (_, change) = state.rename_network(&red(&state), "green").unwrap();
    let _ = state.commit(change);
    let blue = state.network_named("blue").unwrap();
    assert_eq!(blue.routing, peers("green"));
    assert!(state.network_named("red").is_err() && state.network_named("green").is_ok());
}

#[test]
fn networks_that_may_overlap_have_the_same_addresses() {
    let tenant = |name: &str| NetworkCreate {
        overlapping: true,
        ..network(name, &["10.1.0.0/29"])
    };
    let mut state = with_networks(&[
        tenant("one"),
        tenant("two"),
        network("plain", &["10.1.0.0/29"]),
    ]);
    assert_eq!(state.check(), Ok(()));
    assert_eq!(
        refusal(state.add_network(&network("other", &["10.1.0.0/28"]), |_| None)),
        "subnet 10.1.0.0/28 overlaps 10.1.0.0/29 of network `plain`"
    );
    for (name, inode) in [("one", 1), ("two", 2), ("plain", 3)] {
        let request = Attach {
            network: name.parse().unwrap(),
            ..plain(inode)
        };
        let endpoint = attach(&mut state, &request);
        assert_eq!(endpoint.addresses[0].to_string(), "10.1.0.2/29");
    }
    assert_eq!(state.check(), Ok(()));
}

#[test]
fn a_network_in_use_stays_and_an_unused_one_goes() {
    let mut state = blue();
    let endpoint = attach(&mut state, &plain(1));
    assert_eq!(
        refusal(state.remove_network("blue")),
        "network `blue` is in use by ep-1"
    );
    let (_, change) = state.detach(endpoint.id).unwrap();
    let _ = state.commit(change);
    let change = state.remove_network("blue").unwrap();
    let _ = state.commit(change);
    assert_eq!(
        refusal(state.remove_network("blue")),
        "there is no network `blue`"
    );
}

fn pcap(name: &str, of: &[&str]) -> PortAdd {
    let kind = model::PortKind::Pcap {
        read: None,
        write: Some("/tmp/x".into()),
        speed: model::PcapSpeed::Full,
    };
    let mirror = model::Mirror {
        of: of.iter().map(|of| of.parse().expect("a name")).collect(),
        direction: Direction::Both,
    };
    PortAdd {
        mirror: (!of.is_empty()).then_some(mirror),
        ..PortAdd::new(name.parse().expect("a name"), kind)
    }
}

fn watching(of: &[PortId]) -> PortSettings {
    PortSettings {
        mirror: Some(Mirror {
            of: of.to_vec(),
            direction: Direction::Both,
        }),
        ..PortSettings::default()
    }
}

fn add(state: &mut State, request: &PortAdd) -> PortId {
    let (port, change) = state.add_port(request, None).expect("it does");
    let _ = state.commit(change);
    port.id
}

#[test]
fn mirrors_have_an_end() {
    let mut state = blue();
    let a = attach(&mut state, &plain(1)).port;
    let span = add(&mut state, &pcap("span", &["ep-1"]));
    for (request, wanted) in [
        (pcap("x", &["span"]), "a mirror's destination"),
        (pcap("x", &["ep-1"]), "mirrored already"),
        (pcap("x", &["ep-9"]), "there is no port `ep-9`"),
    ] {
        let got = refusal(state.add_port(&request, None));
        assert!(got.contains(wanted), "{got}");
    }
    let network = state.port(a).unwrap().network;
    let nobody = watching(&[PortId(9)]);
    assert!(refusal(state.set_port(span, None, nobody)).contains("no such port"));
    assert!(refusal(state.set_port(a, network, watching(&[span]))).contains("destination"));
    let x = add(&mut state, &pcap("x", &[]));
    assert!(refusal(state.set_port(a, network, watching(&[x]))).contains("mirrored itself"));
    assert!(refusal(state.set_port(x, None, watching(&[x]))).contains("the port itself"));
}

#[test]
fn what_mentions_a_port_goes_with_it_and_comes_back_with_it() {
    let mut state = blue();
    let endpoint = attach(&mut state, &plain(1));
    add(&mut state, &pcap("span", &["ep-1"]));
    let entry = StaticEntry {
        vlan: VlanId::DEFAULT,
        mac: MacAddr([2, 0, 0, 0, 0, 9]),
        port: endpoint.port,
    };
    let change = state.add_static("blue", entry).unwrap();
    let _ = state.commit(change);
    let before = state.clone();
    let (_, change) = state.detach(endpoint.id).unwrap();
    let undo = state.commit(change);
    assert_eq!(state.check(), Ok(()));
    assert_eq!(
        state
            .port_named("span")
            .unwrap()
            .settings
            .mirror
            .as_ref()
            .unwrap()
            .of,
        []
    );
    assert_eq!(state.network_named("blue").unwrap().place.statics, []);
    let _ = state.commit(undo);
    assert_eq!(state, before);
}

#[test]
fn static_entries_have_one_owner() {
    let mut state = blue();
    let [a, b] = [1, 2].map(|inode| attach(&mut state, &plain(inode)));
    let entry = |port, mac| StaticEntry {
        vlan: VlanId::DEFAULT,
        mac,
        port,
    };
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    let _ = {
        let change = state.add_static("blue", entry(a.port, other)).unwrap();
        state.commit(change)
    };
    assert!(
        refusal(state.add_static("blue", entry(b.port, other)))
            .contains("already static on port `ep-1`")
    );
    assert!(
        refusal(state.add_static("blue", entry(b.port, a.mac)))
            .contains("already static on port `ep-1`")
    );
    assert!(
        refusal(state.add_static("blue", entry(PortId(77), other))).contains("is not in network")
    );
    assert!(
        refusal(state.remove_static("blue", VlanId::DEFAULT, a.mac))
            .contains("detach that instead")
    );
    // The address of an endpoint that is not locked is learned like any other.
    let free = attach(
        &mut state,
        &Attach {
            locked: false,
            ..plain(3)
        },
    );
    assert_eq!(
        state.remove_static("blue", VlanId::DEFAULT, free.mac),
        Ok(Change::Nothing)
    );
    assert_eq!(
        state.remove_static("blue", VlanId::DEFAULT, MacAddr([2; 6])),
        Ok(Change::Nothing)
    );
    let change = state.remove_static("blue", VlanId::DEFAULT, other).unwrap();
    let _ = state.commit(change);
    assert_eq!(state.network_named("blue").unwrap().place.statics, []);
}

#[test]
fn an_endpoints_port_stays_in_its_network() {
    let mut state = with_networks(&[network("blue", &[]), network("red", &[])]);
    let port = attach(&mut state, &plain(1)).port;
    let red = state.network_named("red").unwrap().id;
    assert!(
        refusal(state.set_port(port, Some(red), PortSettings::default()))
            .contains("detach and attach again")
    );
    assert!(refusal(state.remove_port("ep-1")).contains("detach that instead"));
}

#[test]
fn a_state_survives_its_file_and_a_damaged_file_is_refused() {
    let mut state = blue();
    attach(&mut state, &plain(1));
    let trunk = VlanMode::Trunk {
        allowed: "1-3,7,4094".parse().unwrap(),
        native: Some(VlanId::DEFAULT),
        native_tagged: true,
    };
    let storm = Some(StormLimits {
        broadcast: Some(5),
        multicast: None,
        unknown_unicast: Some(0),
    });
    add(
        &mut state,
        &PortAdd {
            vlan: Some(trunk),
            storm,
            ..pcap("trunk", &["ep-1"])
        },
    );
    let text = serde_json::to_string(&state).unwrap();
    let loaded: State = serde_json::from_str(&text).unwrap();
    assert_eq!((loaded.check(), &loaded), (Ok(()), &state));
    for (from, to, wanted) in [
        (
            "\"02:42:0a:01:00:02\"",
            "\"02:42:0a:01:00\"",
            "is not a MAC address",
        ),
        (
            "[1,3]",
            "[1,4095]",
            "`4095` is not a VLAN: allowed are 1 to 4094",
        ),
        ("\"port\":0", "\"port\":7", "endpoint ep-1 has no port"),
        (
            "\"name\":\"trunk\"",
            "\"name\":\"ep-1\"",
            "port name `ep-1` is there twice",
        ),
        (
            "\"next_endpoint\":2",
            "\"next_endpoint\":1",
            "not after ep-1",
        ),
        ("\"of\":[0]", "\"of\":[5]", "no such port"),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        let error = match serde_json::from_str::<State>(&damaged) {
            Err(error) => error.to_string(),
            Ok(state) => refusal(state.check()),
        };
        assert!(error.contains(wanted), "{error}\n  should say: {wanted}");
    }
}

#[test]
fn the_kernels_datapath_needs_a_veth_and_a_tap_beside_it() {
    let mut state = blue();
    let waiting = Attach {
        netns: None,
        datapath: Datapath::Kernel,
        ..plain(1)
    };
    let endpoint = attach(&mut state, &waiting);
    let (ns7, kernel) = ("ns7".parse::<Netns>().unwrap(), DatapathKind::Kernel);
    assert_eq!(
        (
            endpoint.asked,
            endpoint.datapath,
            state.host_side(&endpoint)
        ),
        (Datapath::Kernel, DatapathKind::Userspace, None),
        "what is not joined has no interface"
    );
    let join = |via| {
        let (netns, ifname) = (ns7.clone(), "eth0".to_owned());
        let join = Join { netns, ifname, via };
        let joined = state.join(endpoint.id, &join, Some(identity(&ns7)), kernel);
        let (joined, change, plan) = joined.unwrap();
        (state.host_side(&joined).unwrap(), change, plan)
    };
    let kinds = |steps: &[InterfaceStep]| -> String {
        let kind = |step: &InterfaceStep| match step {
            InterfaceStep::MakeVeth { there: true, .. } => 'V',
            InterfaceStep::MakeVeth { .. } => 'v',
            InterfaceStep::MakeTap { .. } => 't',
            InterfaceStep::Hide { .. } => 'h',
            InterfaceStep::Configure { .. } => 'c',
            InterfaceStep::Prepare { .. } => 'p',
            InterfaceStep::AddAddress { .. } => 'a',
            InterfaceStep::DefaultRoute { .. } => 'r',
            InterfaceStep::RemoveTap { .. } => 'T',
            InterfaceStep::RemoveVeth { .. } => 'R',
        };
        steps.iter().map(kind).collect()
    };
    let host = Some("veth7".to_owned());
    for (via, end, here, there, undo) in [
        (Via::Tap, "cw0001v1", "Vhth", "caa", "TR"),
        (Via::MovedTap, "cw0001v1", "vphth", "", "TR"),
        (Via::Veth { host }, "veth7", "th", "", "T"),
    ] {
        let (side, _, plan) = join(via);
        assert_eq!((side.end.as_str(), side.tap.as_str()), (end, "cw0001t1"));
        assert_eq!(
            (kinds(&plan.here), kinds(&plan.there)),
            (here.into(), there.into())
        );
        assert_eq!(kinds(&plan.undo().here), undo);
    }
    let (_, change, _) = join(Via::Tap);
    let _ = state.commit(change);
    let (left, change) = state.leave(endpoint.id).unwrap();
    assert_eq!(
        (left.asked, left.datapath),
        (Datapath::Kernel, DatapathKind::Userspace)
    );
    let _ = state.commit(change);
    // Ids are never used again, and the names that are made of them are short enough.
    let last = Endpoint {
        id: clearway_control::EndpointId(u32::MAX),
        sandbox: Some(clearway_control::Sandbox {
            identity: Some(identity(&ns7)),
            namespace: ns7,
        }),
        datapath: DatapathKind::Kernel,
        ..endpoint
    };
    let side = State::new(u64::MAX).host_side(&last).unwrap();
    assert_eq!((side.end.len(), side.tap.len()), (15, 15));
}
