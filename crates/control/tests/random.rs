//! Random requests never lead to a state that contradicts itself, every change can be taken back,
//! and the live tables always hold what the state says.

use clearway_control::{
    AttachRequest, Change, Live, Mirror, Namespace, NamespaceId, NetworkRequest, PortKind,
    PortRequest, PortSettings, Sandbox, State, StaticEntry, Step, SubnetRequest,
};
use pipeline::{Instant, PortId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use switch::VlanMode;
use switch::fdb::{Kind, Lookup};
use wire::{MacAddr, VlanId};

#[derive(Debug, Clone)]
enum Request {
    AddNetwork(u8, Vec<u8>),
    RemoveNetwork(u8),
    Attach {
        network: u8,
        sandbox: u8,
        ifname: u8,
        host: Option<u8>,
        mac: Option<u8>,
        vlan: Option<u8>,
    },
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
}

fn request() -> impl Strategy<Value = Request> {
    use Request as R;
    let small = || 0u8..4;
    prop_oneof![
        2 => (small(), prop::collection::vec(small(), 0..3)).prop_map(|(n, s)| R::AddNetwork(n, s)),
        1 => small().prop_map(R::RemoveNetwork),
        6 => (small(), small(), small(), prop::option::of(0u8..9), prop::option::of(small()), prop::option::of(1u8..4))
            .prop_map(|(network, sandbox, ifname, host, mac, vlan)| R::Attach { network, sandbox, ifname, host, mac, vlan }),
        3 => (0usize..9).prop_map(R::Detach),
        2 => (small(), prop::option::of(0usize..4), prop::collection::vec(0usize..9, 0..3))
            .prop_map(|(name, network, mirror)| R::AddPort { name, network, mirror }),
        1 => small().prop_map(R::RemovePort),
        2 => (0usize..9, prop::option::of(0usize..4), prop::option::of(1u8..4))
            .prop_map(|(port, network, vlan)| R::Move { port, network, vlan }),
        2 => (small(), small(), 0usize..9).prop_map(|(network, mac, port)| R::AddStatic { network, mac, port }),
    ]
}

/// Asks the state; `None` when it refused.
fn ask(state: &State, request: &Request) -> Option<Change> {
    let nth_port = |n: usize| state.ports().map(|p| p.id).nth(n);
    let nth_network = |n: usize| state.networks().map(|p| p.id).nth(n);
    let vlan = |v: u8| VlanId::new(v.into());
    match request {
        Request::AddNetwork(name, subnets) => {
            let subnet = |n: &u8| SubnetRequest {
                net: format!("10.{n}.0.0/29").parse().expect("a subnet"),
                gateway: None,
            };
            let subnets = subnets.iter().map(subnet).collect();
            let request = NetworkRequest {
                name: format!("n{name}"),
                subnets,
                ..NetworkRequest::default()
            };
            state.add_network(&request).ok().map(|(_, change)| change)
        }
        Request::RemoveNetwork(name) => state
            .remove_network(&format!("n{name}"))
            .ok()
            .map(|(_, change)| change),
        Request::Attach {
            network,
            sandbox,
            ifname,
            host,
            mac,
            vlan: tag,
        } => {
            let identity = NamespaceId {
                device: 4,
                inode: (*sandbox).into(),
            };
            let sandbox = Sandbox {
                namespace: Namespace::Pid((*sandbox).into()),
                identity,
            };
            let mut request =
                AttachRequest::new(sandbox, &format!("n{network}"), &format!("eth{ifname}"));
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
            let (_, change, plan) = state.attach(&request).ok()?;
            let taps = |steps: &[Step]| {
                steps
                    .iter()
                    .filter(|s| matches!(s, Step::MakeTap { .. }))
                    .count()
            };
            assert_eq!((taps(&plan.steps), plan.undo().steps.len()), (1, 1));
            Some(change)
        }
        Request::Detach(n) => state
            .endpoints()
            .map(|e| e.id)
            .nth(*n)
            .map(|id| state.detach(id).expect("it is there").1),
        Request::AddPort {
            name,
            network,
            mirror,
        } => {
            let of: Vec<PortId> = mirror.iter().filter_map(|&n| nth_port(n)).collect();
            let mirror = (!of.is_empty()).then_some(Mirror {
                of,
                ingress: true,
                egress: false,
            });
            let request = PortRequest {
                name: format!("p{name}"),
                kind: PortKind::Pcap {
                    read: None,
                    write: Some("x".into()),
                    paced: false,
                },
                network: network.and_then(nth_network),
                settings: PortSettings {
                    mirror,
                    ..PortSettings::default()
                },
            };
            state.add_port(&request).ok().map(|(_, change)| change)
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
            let vlan = tag.and_then(vlan).map(VlanMode::Access);
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
                ((e.vlan, e.mac), e.port)
            })
            .collect();
        let here = |id: PortId| {
            state
                .port(id)
                .is_some_and(|p| p.network == Some(network.id))
        };
        let mut wanted: BTreeMap<_, _> = network
            .statics
            .iter()
            .filter(|s| here(s.port))
            .map(|s| ((s.vlan, s.mac), s.port))
            .collect();
        for endpoint in state.endpoints().filter(|e| e.network == network.id) {
            if let VlanMode::Access(vlan) =
                state.vlan_of(state.port(endpoint.port).expect("it has a port"))
            {
                wanted.insert((vlan, endpoint.mac), endpoint.port);
            }
        }
        assert_eq!(found, wanted);
    }
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
            let maps = |s: &State| serde_json::to_value(s).map(|mut v| { v["next_endpoint"].take(); v }).unwrap();
            prop_assert_eq!(maps(&state), maps(&before), "undoing {:?}", request);
            let _ = state.commit(redo);
            prop_assert_eq!(&state, &after, "redoing {:?}", request);

            let topology = live.topology(&state).unwrap();
            live.settle(&state);
            prop_assert_eq!(topology.ports().count(), state.ports().count());
            check_tables(&state, &live);
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
            live.topology(&state).unwrap();
            live.settle(&state);
            state.clone()
        };
        say(&mut live, Request::AddNetwork(0, vec![]));
        let state = say(&mut live, Request::AddPort { name: 0, network: Some(0), mirror: vec![] });
        let port = state.ports().next().unwrap();
        let (fdb, mac) = (live.fdb(port.network.unwrap()).unwrap().clone(), MacAddr([2; 6]));
        let _ = fdb.learn(VlanId::DEFAULT, mac, port.id, Instant::ZERO);
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
        live.topology(&state).unwrap();
        live.settle(&state);
        let fdb = live.fdb(port.network.unwrap()).unwrap();
        let lowered = fdb.entries(Instant::ZERO).len();
        for last in 0..10 {
            let _ = fdb.learn(
                VlanId::DEFAULT,
                MacAddr([2, 0, 0, 0, 1, last]),
                port.id,
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
