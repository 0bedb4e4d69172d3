//! Random requests never lead to a state that contradicts itself, every change can be taken back,
//! and the live tables always hold what the state says.

use clearway_control::{
    Change, Hidden, InterfaceStep, LinkFacts, Live, NamespaceId, PortSettings, State, StaticEntry,
    UplinkFacts,
};
use model::{
    Action, Attach, DatapathKind, EndpointSet, Join, Listener, Mirror, Name, Netns, NetworkCreate,
    OneOrMore, Policy, PortAdd, PortRange, PublicationCreate, Routing, Rule, UplinkAdd,
    UplinkChoice, Via, VlanMode,
};
use nat::config::Role;
use pipeline::{Instant, PortId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use switch::fdb::{Kind, Lookup};
use wire::{IpProtocol, MacAddr, VlanId};

#[derive(Debug, Clone)]
enum Request {
    AddNetwork(u8, Vec<u8>),
    RemoveNetwork(u8),
    Attach {
        network: u8,
        sandbox: Option<u8>,
        ifname: u8,
        name: Option<u8>,
        host: Option<u8>,
        mac: Option<u8>,
        vlan: Option<u8>,
    },
    Join {
        endpoint: usize,
        sandbox: u8,
        ifname: u8,
        via: u8,
    },
    Leave(usize),
    Rename(usize, u8),
    RenameNetwork(u8, u8),
    Detach(usize),
    AddPort {
        name: u8,
        network: Option<usize>,
        mirror: Vec<usize>,
    },
    RemovePort(u8),
    Move {
        port: usize,
        network: Option<usize>,
        vlan: Option<u8>,
    },
    AddStatic {
        network: u8,
        mac: u8,
        port: usize,
    },
    SetNetwork {
        network: u8,
        flags: u8,
        peer: Option<u8>,
        uplink: Option<u8>,
    },
    AddUplink(u8),
    RemoveUplink(u8),
    Place(bool, bool),
    Publish {
        endpoint: usize,
        host: Option<u8>,
        first: u16,
        more: u16,
    },
    Unpublish(usize),
    SetPolicy(usize, u8),
}

fn kind(kernel: bool) -> DatapathKind {
    if kernel {
        DatapathKind::Kernel
    } else {
        DatapathKind::Userspace
    }
}

fn request() -> impl Strategy<Value = Request> {
    use Request as R;
    let small = || 0u8..4;
    prop_oneof![
        2 => (small(), prop::collection::vec(small(), 0..3)).prop_map(|(n, s)| R::AddNetwork(n, s)),
        1 => small().prop_map(R::RemoveNetwork),
        6 => (small(), prop::option::of(small()), small(), prop::option::of(small()), prop::option::of(0u8..9), prop::option::of(small()), prop::option::of(1u8..4))
            .prop_map(|(network, sandbox, ifname, name, host, mac, vlan)| R::Attach { network, sandbox, ifname, name, host, mac, vlan }),
        3 => (0usize..9, small(), small(), 0u8..6)
            .prop_map(|(endpoint, sandbox, ifname, via)| R::Join { endpoint, sandbox, ifname, via }),
        2 => (0usize..9).prop_map(R::Leave),
        2 => (0usize..9, small()).prop_map(|(endpoint, name)| R::Rename(endpoint, name)),
        1 => (small(), small()).prop_map(|(old, new)| R::RenameNetwork(old, new)),
        3 => (0usize..9).prop_map(R::Detach),
        2 => (small(), prop::option::of(0usize..4), prop::collection::vec(0usize..9, 0..3))
            .prop_map(|(name, network, mirror)| R::AddPort { name, network, mirror }),
        1 => small().prop_map(R::RemovePort),
        2 => (0usize..9, prop::option::of(0usize..4), prop::option::of(1u8..4))
            .prop_map(|(port, network, vlan)| R::Move { port, network, vlan }),
        2 => (small(), small(), 0usize..9).prop_map(|(network, mac, port)| R::AddStatic { network, mac, port }),
        2 => (small(), 0u8..4, prop::option::of(small()), prop::option::of(0u8..4))
            .prop_map(|(network, flags, peer, uplink)| R::SetNetwork { network, flags, peer, uplink }),
        2 => (0u8..3).prop_map(R::AddUplink),
        1 => (0u8..3).prop_map(R::RemoveUplink),
        1 => any::<(bool, bool)>().prop_map(|(which, there)| R::Place(which, there)),
        4 => (0usize..9, prop::option::of(0u8..4), 1u16..9, 0u16..4)
            .prop_map(|(endpoint, host, first, more)| R::Publish { endpoint, host, first, more }),
        1 => (0usize..9).prop_map(R::Unpublish),
        1 => (0usize..9, 0u8..3).prop_map(|(endpoint, kind)| R::SetPolicy(endpoint, kind)),
    ]
}

fn identity(sandbox: u8) -> Option<NamespaceId> {
    Some(NamespaceId {
        device: 4,
        inode: sandbox.into(),
    })
}

fn a_name(kind: char, n: u8) -> Name {
    format!("{kind}{n}").parse().expect("a name")
}

/// Asks the state; `None` when it refused.
fn ask(state: &State, request: &Request) -> Option<Change> {
    let nth_port = |n: usize| state.ports().map(|p| p.id).nth(n);
    let nth_network = |n: usize| state.networks().map(|p| p.id).nth(n);
    let nth_endpoint = |n: usize| state.endpoints().map(|e| e.id).nth(n);
    let vlan = |v: u8| VlanId::new(v.into());
    match request {
        Request::AddNetwork(name, subnets) => {
            let subnet = |n: &u8| format!("10.{n}.0.0/29").parse().expect("a subnet");
            let request = NetworkCreate {
                subnets: subnets.iter().map(subnet).collect(),
                ..NetworkCreate::new(format!("n{name}").parse().expect("a name"))
            };
            state
                .add_network(&request, |_| None)
                .ok()
                .map(|(_, change)| change)
        }
        Request::RemoveNetwork(name) => state.remove_network(&format!("n{name}")).ok(),
        Request::Attach {
            network,
            sandbox,
            ifname,
            name,
            host,
            mac,
            vlan: tag,
        } => {
            let mut request = Attach::unjoined(a_name('n', *network));
            request.netns = sandbox.map(|n| Netns::Pid(n.into()));
            request.ifname = format!("eth{ifname}");
            request.addresses = host
                .iter()
                .map(|h| {
                    format!("10.{network}.0.{h}/29")
                        .parse()
                        .expect("an address")
                })
                .collect();
            request.mac = mac.map(|m| MacAddr([2, 0x42, 10, m, 0, 3]));
            request.vlan = tag.and_then(vlan);
            request.name = name.map(|n| a_name('c', n));
            let identity = sandbox.and_then(identity);
            let attached = state.attach(&request, identity, kind(mac.is_some()));
            let (endpoint, change, plan) = attached.ok()?;
            let taps = |steps: &[InterfaceStep]| {
                steps
                    .iter()
                    .filter(|s| matches!(s, InterfaceStep::MakeTap { .. }))
                    .count()
            };
            let undo = plan.undo();
            let made = (
                taps(&plan.here),
                undo.here.len(),
                taps(&plan.there),
                undo.there.len(),
            );
            let expected = match endpoint.datapath {
                DatapathKind::Userspace => (0, 0, 1, 1),
                DatapathKind::Kernel => (1, 2, 0, 0),
            };
            assert_eq!(made, expected);
            Some(change)
        }
        Request::Join {
            endpoint,
            sandbox,
            ifname,
            via,
        } => {
            let request = Join {
                netns: Netns::Pid((*sandbox).into()),
                ifname: format!("eth{ifname}"),
                via: match via % 3 {
                    0 => Via::Tap,
                    1 => Via::MovedTap,
                    _ => Via::Veth {
                        host: Some(format!("veth{ifname}")),
                    },
                },
            };
            let endpoint = nth_endpoint(*endpoint)?;
            let joined = state.join(endpoint, &request, identity(*sandbox), kind(*via >= 3));
            let (endpoint, change, plan) = joined.ok()?;
            let own = usize::from(endpoint.veth().is_none());
            let beside = usize::from(endpoint.datapath == DatapathKind::Kernel);
            let undo = plan.undo();
            assert_eq!(undo.here.len() + undo.there.len(), own + beside);
            Some(change)
        }
        Request::Leave(n) => Some(state.leave(nth_endpoint(*n)?).expect("it is there").1),
        Request::Rename(n, name) => {
            let set = EndpointSet {
                name: Some(a_name('c', *name)),
                ..EndpointSet::default()
            };
            let renamed = state.set_endpoint(nth_endpoint(*n)?, &set);
            renamed.ok().map(|(_, change)| change)
        }
        Request::RenameNetwork(old, new) => {
            let network = state.network_named(&format!("n{old}")).ok()?;
            let renamed = state.rename_network(&network, &format!("n{new}"));
            renamed.ok().map(|(_, change)| change)
        }
        Request::Detach(n) => Some(state.detach(nth_endpoint(*n)?).expect("it is there").1),
        Request::AddPort {
            name,
            network,
            mirror,
        } => {
            let of: Vec<Name> = mirror
                .iter()
                .filter_map(|&n| state.ports().nth(n))
                .map(|port| port.name.parse().expect("a name"))
                .collect();
            let mirror = (!of.is_empty()).then_some(Mirror {
                of,
                direction: model::Direction::Rx,
            });
            let kind = model::PortKind::Pcap {
                read: None,
                write: Some("x".into()),
                speed: model::PcapSpeed::Full,
            };
            let network = network.and_then(|n| state.networks().nth(n));
            let request = PortAdd {
                mirror,
                network: network.map(|n| n.name.parse().expect("a name")),
                ..PortAdd::new(a_name('p', *name), kind)
            };
            let added = state.add_port(&request, None);
            added.ok().map(|(_, change)| change)
        }
        Request::RemovePort(name) => state
            .remove_port(&format!("p{name}"))
            .ok()
            .map(|(_, change)| change),
        Request::Move {
            port,
            network,
            vlan: tag,
        } => {
            let port = state.port(nth_port(*port)?)?;
            let vlan = tag.and_then(vlan).map(|vid| VlanMode::Access { vid });
            let settings = PortSettings {
                vlan,
                ..port.settings.clone()
            };
            state
                .set_port(port.id, network.and_then(nth_network), settings)
                .ok()
                .map(|(_, change)| change)
        }
        Request::AddStatic { network, mac, port } => {
            let entry = StaticEntry {
                vlan: VlanId::DEFAULT,
                mac: MacAddr([2, 0, 0, 0, 0, *mac]),
                port: nth_port(*port)?,
            };
            state.add_static(&format!("n{network}"), entry).ok()
        }
        Request::SetNetwork {
            network,
            flags,
            peer,
            uplink,
        } => {
            let uplink = match uplink {
                None => UplinkChoice::Auto,
                Some(0) => UplinkChoice::None,
                Some(n) => UplinkChoice::Named(format!("up{n}").parse().expect("a name")),
            };
            let routing = Routing {
                internal: flags & 1 > 0,
                icc: flags & 2 > 0,
                peers: peer
                    .iter()
                    .map(|n| format!("n{n}").parse().expect("a name"))
                    .collect(),
                uplink,
                ..Routing::default()
            };
            let (_, change) = state.set_network(&format!("n{network}"), routing).ok()?;
            Some(change)
        }
        Request::AddUplink(n) => {
            let request = UplinkAdd::new(&format!("up{n}"));
            state.add_uplink(&request).ok().map(|(_, change)| change)
        }
        Request::RemoveUplink(n) => {
            let removed = state.remove_uplink(&format!("up{n}"));
            removed.ok().map(|(_, change)| change)
        }
        Request::Place(host, there) => {
            let which = if *host {
                Hidden::Host
            } else {
                Hidden::Services
            };
            Some(if *there {
                state.add_place(which).1
            } else {
                state.remove_place(which)
            })
        }
        Request::Publish {
            endpoint,
            host,
            first,
            more,
        } => {
            // Every second one has a backend more, where there are as many endpoints.
            let backends = state.endpoints().skip(*endpoint).take(1 + endpoint % 2);
            let backends: Vec<_> = backends
                .map(|e| e.id.to_string().parse::<Name>().expect("a name"))
                .collect();
            let hosts = ["0.0.0.0", "198.51.100.1", "198.51.100.2", "2001:db8::1"];
            let request = PublicationCreate {
                protocol: IpProtocol::TCP,
                host: host.map(|n| hosts[usize::from(n)].parse().expect("an address")),
                ports: PortRange::new(*first, first + more).expect("a range"),
                endpoint: OneOrMore::try_from(backends).ok()?,
                to: 80,
                listener: Listener::Ours,
            };
            state.publish(&request).ok().map(|(_, change)| change)
        }
        Request::Unpublish(n) => {
            let id = state.publications().nth(*n)?.id.to_string();
            Some(state.unpublish(&id).expect("it is there").1)
        }
        Request::SetPolicy(n, kind) => {
            let id = state.endpoints().nth(*n)?.id.to_string();
            let rule: Rule = "allow out tcp 10.0.0.0/8".parse().expect("a rule");
            let policy = Policy {
                default: if *kind == 1 {
                    Action::Deny
                } else {
                    Action::Allow
                },
                rules: vec![rule; usize::from(*kind)],
            };
            Some(state.set_policy(&id, policy).expect("it does").1)
        }
    }
}

/// The static entries that every endpoint's and every configured address should have.
fn check_tables(state: &State, live: &Live) {
    for network in state.networks() {
        let fdb = live.fdb(network.id).expect("every network has a table");
        let found: BTreeMap<_, _> = fdb
            .entries(Instant::ZERO)
            .into_iter()
            .map(|e| {
                assert_eq!(
                    e.kind,
                    Kind::Static,
                    "nothing was learned, yet there is {e:?}"
                );
                ((e.vlan, e.mac), e.at.port)
            })
            .collect();
        let here = |id: PortId| {
            state
                .port(id)
                .is_some_and(|p| p.network == Some(network.id))
        };
        let mut wanted: BTreeMap<_, _> = network
            .place
            .statics
            .iter()
            .filter(|s| here(s.port))
            .map(|s| ((s.vlan, s.mac), s.port))
            .collect();
        for endpoint in state.endpoints().filter(|e| e.network == network.id) {
            if let VlanMode::Access { vid } =
                state.vlan_of(state.port(endpoint.port).expect("it has a port"))
            {
                wanted.insert((vid, endpoint.mac), endpoint.port);
            }
        }
        assert_eq!(found, wanted);
    }
}

fn hidden(state: &State) -> usize {
    let places = [Hidden::Host, Hidden::Services].map(|which| state.place_of(which));
    state.uplinks().count() + places.into_iter().flatten().count()
}

/// Returns what is said of every link there may be.
fn facts() -> UplinkFacts {
    let link = |last| LinkFacts {
        mac: MacAddr([2, 0, 0, 0, 7, last]),
        addresses: vec![format!("198.51.100.{last}/24").parse().expect("an address")],
        gateways: vec!["198.51.100.254".parse().expect("an address")],
        mtu: 1500,
        neighbours: BTreeMap::new(),
        spared: std::collections::BTreeSet::new(),
        peer: None,
    };
    UplinkFacts {
        uplinks: (0..3).map(|n| (format!("up{n}"), link(n))).collect(),
        host: Some(link(8)),
        services: Some(link(9)),
    }
}

/// The router has one place in each network with a gateway and in each hidden one, sends nothing
/// where it has none, and no external port leads to two places but the backends of one publication.
fn check_router(state: &State) {
    let config = Live::router_config(state, &facts());
    let gateways = state.networks().filter(|n| n.has_gateway()).count();
    assert_eq!(config.interfaces.len(), gateways + hidden(state));
    let uplinks: Vec<_> = config
        .interfaces
        .iter()
        .filter(|i| matches!(i.role, Role::Uplink(_)))
        .map(|i| i.network)
        .collect();
    for interface in &config.interfaces {
        if let Role::Inside(inside) = &interface.role {
            assert!(inside.uplink.is_none_or(|id| uplinks.contains(&id)));
        }
    }
    let mut owners = BTreeMap::new();
    let mut led = std::collections::BTreeSet::new();
    let all = state.publications();
    for (id, to) in all.flat_map(|p| state.expanded(p).into_iter().map(|to| (p.id, to))) {
        for port in to.ports.iter() {
            let at = |host| (to.to.addr.ip.is_ipv4(), host, port);
            let owner = *owners.entry(at(to.host)).or_insert(id);
            let of_all = *owners.get(&at(None)).unwrap_or(&id);
            assert_eq!((owner, of_all), (id, id));
            assert!(led.insert((at(to.host), to.to)), "a backend is one once");
        }
    }
    let live = std::sync::Arc::new(nat::Live::new(64, 0));
    nat::Router::new(config, live).expect("no contradiction");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_requests_leads_astray(requests in prop::collection::vec(request(), 1..40)) {
        let (mut state, mut live) = (State::new(7), Live::new(7));
        for request in &requests {
            let Some(change) = ask(&state, request) else { continue };
            let before = state.clone();
            let undo = state.commit(change.clone());
            prop_assert_eq!(state.check(), Ok(()), "after {:?}", request);

            let after = state.clone();
            let redo = state.commit(undo);
            let maps = |s: &State| {
                let mut written = serde_json::to_value(s).unwrap();
                for next in ["next_network", "next_endpoint", "next_publication"] {
                    assert!(written["placed"][next].take().is_u64());
                }
                written
            };
            prop_assert_eq!(maps(&state), maps(&before), "undoing {:?}", request);
            let _ = state.commit(redo);
            prop_assert_eq!(&state, &after, "redoing {:?}", request);

            let topology = live.topology(&state, &UplinkFacts::default()).unwrap();
            live.settle(&state);
            prop_assert_eq!(topology.ports().count(), state.ports().count() + hidden(&state));
            check_tables(&state, &live);
            check_router(&state);
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), &state);
        }
    }

    #[test]
    fn what_a_moved_port_had_taught_is_forgotten(stays in any::<bool>(), to in prop::option::of(1u8..4)) {
        let (mut state, mut live) = (State::new(7), Live::new(7));
        let mut say = |live: &mut Live, request: Request| {
            let change = ask(&state, &request).unwrap();
            let _ = state.commit(change);
            live.topology(&state, &UplinkFacts::default()).unwrap();
            live.settle(&state);
            state.clone()
        };
        say(&mut live, Request::AddNetwork(0, vec![]));
        let state = say(&mut live, Request::AddPort { name: 0, network: Some(0), mirror: vec![] });
        let port = state.ports().next().unwrap();
        let (fdb, mac) = (live.fdb(port.network.unwrap()).unwrap().clone(), MacAddr([2; 6]));
        let _ = fdb.learn(VlanId::DEFAULT, mac, port.id.into(), Instant::ZERO);
        let network = stays.then_some(0);
        say(&mut live, Request::Move { port: 0, network, vlan: to });
        let unmoved = stays && to.is_none_or(|vlan| vlan == 1);
        let known = matches!(fdb.lookup(VlanId::DEFAULT, mac, Instant::ZERO), Lookup::Found { .. });
        prop_assert_eq!(known, unmoved);
    }
}

#[test]
fn a_ports_own_limit_of_addresses_holds_and_goes() {
    let (mut state, mut live) = (State::new(7), Live::new(7));
    for request in [
        Request::AddNetwork(0, vec![]),
        Request::AddPort {
            name: 0,
            network: Some(0),
            mirror: vec![],
        },
    ] {
        let change = ask(&state, &request).unwrap();
        let _ = state.commit(change);
    }
    let port = state.ports().next().unwrap().clone();
    let mut count = |max_macs| {
        let settings = PortSettings {
            max_macs,
            ..port.settings.clone()
        };
        let (_, change) = state.set_port(port.id, port.network, settings).unwrap();
        let _ = state.commit(change);
        live.topology(&state, &UplinkFacts::default()).unwrap();
        live.settle(&state);
        let fdb = live.fdb(port.network.unwrap()).unwrap();
        let lowered = fdb.entries(Instant::ZERO).len();
        for last in 0..10 {
            let _ = fdb.learn(
                VlanId::DEFAULT,
                MacAddr([2, 0, 0, 0, 1, last]),
                port.id.into(),
                Instant::ZERO,
            );
        }
        (lowered, fdb.entries(Instant::ZERO).len())
    };
    assert_eq!(count(None), (0, 10));
    assert_eq!(count(Some(3)), (3, 3));
    assert_eq!(count(Some(5)), (3, 5));
    assert_eq!(count(None), (5, 10));
}
