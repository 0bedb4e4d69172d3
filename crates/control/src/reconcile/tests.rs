//! A kernel that does as it is told, but for what fails.

use super::*;
use crate::model::{EndpointId, NamespaceId};
use crate::placed::Bridge;
use model::{
    Attach, DatapathKind, Join, Listener, Name, Netns, NetworkCreate, PortAdd, PortRange,
    PublicationCreate, UplinkAdd, Via,
};
use proptest::prelude::*;
use std::cell::Cell;
use wire::{IpProtocol, MacAddr};

/// What the kernel is for a plan: it keeps what it was told, unless that is to fail.
struct Kernel {
    observed: Observed,
    /// The actions of a round that fail, by their place.
    fails: fn(usize) -> bool,
}

impl Kernel {
    fn new() -> Self {
        let nic = Nic {
            up: true,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 7])),
            addresses: vec!["198.51.100.2/24".parse().unwrap()],
            gateways: Vec::new(),
            mtu: 1500,
        };
        Self {
            observed: Observed {
                nics: BTreeMap::from([("eth7".to_owned(), nic)]),
                bridges: BTreeSet::from(["br7".to_owned()]),
                ..Observed::default()
            },
            fails: |_| false,
        }
    }

    /// One round. Returns what was done, and what failed.
    fn arrange(&mut self, state: &mut State) -> (Vec<Action>, Vec<Action>) {
        let _ = state.commit(places(state));
        let plan = reconcile(state, &self.observed);
        let (mut done, mut failed): (Vec<Action>, Vec<Action>) = (Vec::new(), Vec::new());
        for (at, action) in plan.actions.into_iter().enumerate() {
            if failed.iter().any(|other| action.needs(other)) {
                continue;
            }
            if (self.fails)(at) && can_fail(&action) {
                failed.push(action);
                continue;
            }
            self.act(state, &action);
            done.push(action);
        }
        (done, failed)
    }

    fn stack(&mut self, which: Hidden) -> &mut Option<OpenStack> {
        match which {
            Hidden::Host => &mut self.observed.host,
            Hidden::Services => &mut self.observed.services,
        }
    }

    fn act(&mut self, state: &State, action: &Action) {
        let held = &mut self.observed.held;
        match action.clone() {
            Action::ClosePort(id) => assert!(held.ports.remove(&id).is_some(), "{action:?}"),
            Action::HoldPort(id, _) => {
                assert_eq!(held.ports.insert(id, PortHeld::Nothing), None);
            }
            Action::OpenPort(id) => {
                let endpoint = state.endpoint_of(state.port(id).expect("it is in the state"));
                let veth = endpoint.is_some_and(|e| e.veth().is_some());
                let own = if veth {
                    PortHeld::Borrowed
                } else {
                    PortHeld::Own
                };
                assert_eq!(held.ports.insert(id, own), None);
            }
            Action::Listen(id) => assert!(held.listeners.insert(id)),
            Action::Unlisten(id) => assert!(held.listeners.remove(&id)),
            Action::LosePort(id) => assert!(self.observed.parted.remove(&id)),
            Action::RemoveStray(ifname) => assert!(self.observed.made.remove(&ifname)),
            Action::PutPrograms(id) => assert!(self.observed.bare.remove(&id)),
            Action::TakeOver(ifname) => assert!(self.observed.returned.remove(&ifname)),
            Action::OpenUplink(uplink, captures) => {
                let open = OpenUplink {
                    uplink,
                    captures,
                    in_place: true,
                    spared: BTreeSet::new(),
                };
                let name = open.uplink.name.clone();
                assert_eq!(self.observed.uplinks.insert(name, open), None);
            }
            Action::Capture(name, captures) => {
                self.observed.uplinks.get_mut(&name).unwrap().captures = captures;
            }
            Action::CloseUplink(name) => {
                assert!(self.observed.uplinks.remove(&name).is_some());
            }
            Action::OpenStack(which, place) => {
                let open = OpenStack {
                    place,
                    ways: BTreeSet::new(),
                    mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
                };
                assert_eq!(self.stack(which).replace(open), None);
            }
            Action::CloseStack(which) => {
                assert!(self.stack(which).take().is_some());
                if which == Hidden::Services {
                    self.observed.names.clear();
                }
            }
            Action::AddWay(which, way) => {
                assert!(self.stack(which).as_mut().unwrap().ways.insert(way));
            }
            Action::RemoveWay(which, way) => {
                assert!(self.stack(which).as_mut().unwrap().ways.remove(&way));
            }
            Action::Serve(network, ip) => {
                let services = self.stack(Hidden::Services).as_ref().unwrap();
                assert!(services.ways.iter().any(|way| way.address == ip));
                assert!(self.observed.names.insert((network, ip)));
            }
            Action::Undo(left) => assert!(self.observed.left.remove(&left)),
            Action::Unserve(network) => self.observed.names.retain(|(id, _)| *id != network),
        }
    }
}

/// Returns what concerns the daemon's own process alone cannot.
fn can_fail(action: &Action) -> bool {
    !matches!(
        action,
        Action::ClosePort(_)
            | Action::HoldPort(..)
            | Action::OpenPort(_)
            | Action::CloseStack(_)
            | Action::Unserve(_)
            | Action::Unlisten(_)
    )
}

fn commit(state: &mut State, change: Change) {
    let _ = state.commit(change);
}

fn network(state: &mut State, name: &str, subnet: &str, bridge: Option<&str>) {
    let request = NetworkCreate {
        subnets: vec![subnet.parse().unwrap()],
        ..NetworkCreate::new(name.parse().unwrap())
    };
    let bridge = bridge.map(|ifname| Bridge {
        ifname: ifname.to_owned(),
        mac: MacAddr([2, 0, 0, 0, 0, 8]),
    });
    let made = match bridge {
        None => state.add_network(&request, |_| None),
        Some(bridge) => state.adopt_bridge(&request, bridge, |_| None),
    };
    let (_, change) = made.unwrap();
    commit(state, change);
}

fn netns(inode: u64) -> (Netns, Option<NamespaceId>) {
    let netns = format!("ns{inode}").parse().unwrap();
    (netns, Some(NamespaceId { device: 4, inode }))
}

fn attach(state: &mut State, inode: u64, network: &str) -> EndpointId {
    let (netns, identity) = netns(inode);
    let request = Attach::new(network.parse().unwrap(), netns);
    let (endpoint, change, _) = state
        .attach(&request, identity, DatapathKind::Userspace)
        .unwrap();
    commit(state, change);
    endpoint.id
}

fn join_by_veth(state: &mut State, inode: u64, network: &str, host: &str) -> EndpointId {
    let waiting = Attach::unjoined(network.parse().unwrap());
    let (endpoint, change, _) = state
        .attach(&waiting, None, DatapathKind::Userspace)
        .unwrap();
    commit(state, change);
    let (netns, identity) = netns(inode);
    let join = Join {
        netns,
        ifname: "eth0".to_owned(),
        via: Via::Veth {
            host: Some(host.to_owned()),
        },
    };
    let (_, change, _) = state
        .join(endpoint.id, &join, identity, DatapathKind::Userspace)
        .unwrap();
    commit(state, change);
    endpoint.id
}

fn publish(state: &mut State, endpoint: EndpointId, port: u16) {
    let request = PublicationCreate {
        protocol: IpProtocol::TCP,
        host: None,
        ports: PortRange::new(port, port).unwrap(),
        endpoint: endpoint.to_string().parse::<Name>().unwrap().into(),
        to: 80,
        listener: Listener::Ours,
    };
    let (_, change) = state.publish(&request).unwrap();
    commit(state, change);
}

fn add_port(state: &mut State, name: &str, kind: model::PortKind) {
    let request = PortAdd::new(name.parse().unwrap(), kind);
    let (_, change) = state.add_port(&request, None).unwrap();
    commit(state, change);
}

/// A host with one of everything, all of it in place.
fn furnished() -> (State, Kernel) {
    let (mut state, mut kernel) = (State::new(1), Kernel::new());
    let (_, change) = state.add_uplink(&UplinkAdd::new("eth7")).unwrap();
    commit(&mut state, change);
    network(&mut state, "blue", "10.1.0.0/24", None);
    network(&mut state, "br7", "10.2.0.0/24", Some("br7"));
    let web = attach(&mut state, 1, "blue");
    join_by_veth(&mut state, 2, "br7", "veth2");
    publish(&mut state, web, 8080);
    add_port(&mut state, "sink", model::PortKind::Null);
    let (_, failed) = kernel.arrange(&mut state);
    assert_eq!(failed, []);
    (state, kernel)
}

fn nothing_to_do(state: &State, kernel: &Kernel) -> Vec<Action> {
    assert_eq!(places(state), Change::Nothing);
    reconcile(state, &kernel.observed).actions
}

#[test]
fn what_was_left_goes_but_for_the_ports_of_endpoints() {
    let (state, mut kernel) = furnished();
    let port = |ifname: &str| Left::TakenPort(ifname.to_owned());
    let others = [
        Left::Filters("eth7".to_owned()),
        Left::ReservedPorts,
        Left::Interface("up0".to_owned()),
    ];
    let left = || others.clone().into_iter();
    kernel.observed.left = left().chain([port("veth3"), port("veth2")]).collect();
    let undoing = |left: &mut dyn Iterator<Item = Left>| left.map(Action::Undo).collect();
    let unwanted: Vec<Action> = undoing(&mut left().chain([port("veth3")]));
    assert_eq!(reconcile(&state, &kernel.observed).actions, unwanted);
    // A state that wants nothing, and nothing held: all that `doctor --clean` has.
    let observed = Observed {
        left: kernel.observed.left,
        ..Observed::default()
    };
    let all: Vec<Action> = undoing(&mut left().chain([port("veth2"), port("veth3")]));
    assert_eq!(reconcile(&State::new(0), &observed).actions, all);
}

#[test]
fn a_state_that_wants_nothing_needs_nothing() {
    let (mut state, mut kernel) = (State::new(1), Kernel::new());
    assert_eq!(kernel.arrange(&mut state), (Vec::new(), Vec::new()));
}

#[test]
fn one_round_is_enough_and_a_second_does_nothing() {
    let (state, kernel) = furnished();
    assert_eq!(nothing_to_do(&state, &kernel), []);
    let facts = facts(&state, &kernel.observed);
    assert_eq!(facts.uplinks["eth7"].addresses.len(), 1);
    assert!(facts.host.is_some() && facts.services.is_some());
    let ways = |open: &Option<OpenStack>| open.as_ref().unwrap().ways.len();
    assert_eq!(ways(&kernel.observed.host), 2);
    assert_eq!(ways(&kernel.observed.services), 2);
    assert_eq!(kernel.observed.names.len(), 2);
    assert_eq!(kernel.observed.held.listeners.len(), 1);
}

/// Whatever fails in one round is in the next, and nothing is done twice.
#[test]
fn every_action_may_fail_once() {
    let (state, _) = furnished();
    let count = {
        let mut kernel = Kernel::new();
        kernel.arrange(&mut state.clone()).0.len()
    };
    assert!(count > 10, "{count}");
    thread_local! { static FAILING: Cell<usize> = const { Cell::new(0) }; }
    let mut failures = 0;
    for at in 0..count {
        let (mut state, mut kernel) = (state.clone(), Kernel::new());
        FAILING.set(at);
        kernel.fails = |at| FAILING.get() == at;
        let (_, failed) = kernel.arrange(&mut state);
        kernel.fails = |_| false;
        let (done, _) = kernel.arrange(&mut state);
        assert!(
            failed.iter().all(|action| done.contains(action)),
            "{failed:?} is tried again"
        );
        failures += failed.len();
        assert_eq!(nothing_to_do(&state, &kernel), []);
    }
    assert!(failures > 8, "{failures}");
}

#[test]
fn a_nic_that_is_gone_takes_its_uplink_along_and_nothing_else() {
    let (state, mut kernel) = furnished();
    let nic = kernel.observed.nics.remove("eth7").unwrap();
    let plan = reconcile(&state, &kernel.observed);
    assert_eq!(plan.actions, [Action::CloseUplink("eth7".to_owned())]);
    assert_eq!(plan.down["eth7"], "there is no interface eth7");
    assert!(facts(&state, &kernel.observed).uplinks.is_empty());

    let down = Nic {
        up: false,
        ..nic.clone()
    };
    kernel.observed.nics.insert("eth7".to_owned(), down);
    let plan = reconcile(&state, &kernel.observed);
    assert_eq!(plan.down["eth7"], "eth7 is set down");

    // An address more: other packets are for containers, and nothing is closed.
    let mut more = nic;
    more.addresses.push("198.51.100.3/24".parse().unwrap());
    kernel.observed.nics.insert("eth7".to_owned(), more);
    let plan = reconcile(&state, &kernel.observed);
    let [Action::Capture(_, captures)] = &plan.actions[..] else {
        panic!("{plan:?}");
    };
    let ports = |at: &str| {
        let ip: IpAddr = at.parse().unwrap();
        let own = captures.addresses.iter().find(|(of, _)| *of == ip);
        own.unwrap().1.ports.len()
    };
    // A published port, and the uplink's range for each of three protocols.
    assert_eq!((ports("198.51.100.2"), ports("198.51.100.3")), (4, 4));
}

#[test]
fn an_uplink_that_somebody_took_apart_is_made_anew() {
    let (state, mut kernel) = furnished();
    kernel.observed.uplinks.get_mut("eth7").unwrap().in_place = false;
    let actions = reconcile(&state, &kernel.observed).actions;
    assert!(
        matches!(
            &actions[..],
            [Action::CloseUplink(_), Action::OpenUplink(..)]
        ),
        "{actions:?}"
    );
}

#[test]
fn a_gateways_address_that_somebody_removed_is_put_back() {
    let (state, mut kernel) = furnished();
    let open = kernel.observed.host.as_mut().unwrap();
    let way = open.ways.pop_first().unwrap();
    let actions = reconcile(&state, &kernel.observed).actions;
    assert_eq!(actions, [Action::AddWay(Hidden::Host, way)]);
}

/// Its interface was removed: the link is closed, and opened with all that was on it.
#[test]
fn a_stack_that_lost_its_interface_gets_another() {
    let (mut state, mut kernel) = furnished();
    kernel.observed.services.as_mut().unwrap().mac = None;
    let (done, _) = kernel.arrange(&mut state);
    assert_eq!(done[0], Action::CloseStack(Hidden::Services));
    let served = done.iter().filter(|a| matches!(a, Action::Serve(..)));
    assert_eq!(served.count(), 2, "{done:?}");
    assert_eq!(nothing_to_do(&state, &kernel), []);
}

/// While there is no bridge its subnet is left free.
#[test]
fn a_bridge_that_is_gone_takes_the_hosts_way_along() {
    let (state, mut kernel) = furnished();
    kernel.observed.bridges.clear();
    let actions = reconcile(&state, &kernel.observed).actions;
    assert!(
        matches!(&actions[..], [Action::RemoveWay(Hidden::Host, way)]
            if way.bridge.as_deref() == Some("br7")),
        "{actions:?}"
    );
}

#[test]
fn a_veth_that_is_back_on_its_bridge_is_taken_off_again() {
    let (mut state, mut kernel) = furnished();
    kernel.observed.returned = BTreeSet::from(["veth2".to_owned(), "other".to_owned()]);
    let (done, _) = kernel.arrange(&mut state);
    assert_eq!(done, [Action::TakeOver("veth2".to_owned())]);
}

#[test]
fn an_endpoint_that_is_left_waits_and_one_that_is_detached_is_let_go() {
    let (mut state, kernel) = furnished();
    let web = state.endpoint_named("ep-1").unwrap().clone();
    let (_, change) = state.leave(web.id).unwrap();
    commit(&mut state, change);
    let held = &kernel.observed.held;
    let published = held.listeners.first().copied().unwrap();
    assert_eq!(
        upkeep(&state, held),
        [
            Action::ClosePort(web.port),
            Action::Unlisten(published),
            Action::HoldPort(web.port, Waiting::NotJoined)
        ]
    );
    let (_, change) = state.detach(web.id).unwrap();
    commit(&mut state, change);
    assert_eq!(
        upkeep(&state, held),
        [Action::ClosePort(web.port), Action::Unlisten(published)]
    );
}

/// After a restart nothing is held: interfaces are opened, a capture is not played again.
#[test]
fn a_restart_opens_what_stayed() {
    let (mut state, kernel) = furnished();
    let capture = model::PortKind::Pcap {
        read: None,
        write: Some("/tmp/capture".into()),
        speed: model::PcapSpeed::default(),
    };
    add_port(&mut state, "tape", capture);
    let tape = state.port_named("tape").unwrap().id;
    let fresh = Observed {
        nics: kernel.observed.nics.clone(),
        bridges: kernel.observed.bridges.clone(),
        ..Observed::default()
    };
    let actions = reconcile(&state, &fresh).actions;
    let opened = actions.iter().filter(|a| matches!(a, Action::OpenPort(_)));
    assert_eq!(opened.count(), state.ports().count() - 1, "{actions:?}");
    assert!(actions.contains(&Action::HoldPort(tape, Waiting::Restarted)));
}

#[test]
fn a_clean_end_takes_along_what_is_outside_of_containers() {
    let (state, kernel) = furnished();
    let veth = state.endpoint_named("ep-2").unwrap().port;
    assert_eq!(
        departure(&kernel.observed),
        [
            Action::CloseUplink("eth7".to_owned()),
            Action::CloseStack(Hidden::Host),
            Action::ClosePort(veth)
        ]
    );
}

proptest! {
    /// Whatever changes and whatever fails, rounds without failures end with everything in place.
    #[test]
    fn rounds_converge(steps in prop::collection::vec((0_u8..7, any::<u8>()), 1..30)) {
        let (mut state, mut kernel) = furnished();
        for (n, (step, arg)) in steps.into_iter().enumerate() {
            let inode = 100 + n as u64;
            let ids: Vec<EndpointId> = state.endpoints().map(|e| e.id).collect();
            let some = ids.get(usize::from(arg) % ids.len().max(1)).copied();
            match (step, some) {
                (0, _) => { attach(&mut state, inode, "blue"); }
                (1, Some(id)) => {
                    let (_, change) = state.detach(id).unwrap();
                    commit(&mut state, change);
                }
                (2, Some(id)) => {
                    let (_, change) = state.leave(id).unwrap();
                    commit(&mut state, change);
                }
                (3, Some(id)) if state.endpoint(id).unwrap().sandbox.is_some() => {
                    publish(&mut state, id, 10_000 + u16::try_from(n).unwrap());
                }
                (4, _) => { kernel.observed.nics.get_mut("eth7").unwrap().up ^= true; }
                (5, _) => {
                    let name = format!("net{n}");
                    network(&mut state, &name, &format!("10.{}.0.0/24", 50 + n), None);
                }
                _ => kernel.fails = if arg % 2 == 0 { |at| at % 2 == 0 } else { |_| false },
            }
            kernel.arrange(&mut state);
        }
        kernel.fails = |_| false;
        kernel.arrange(&mut state);
        prop_assert_eq!(nothing_to_do(&state, &kernel), []);
    }
}

#[test]
fn what_is_left_of_an_endpoint_that_is_no_more_is_removed_and_nothing_else() {
    let (mut state, mut kernel) = furnished();
    let id = join_by_veth(&mut state, 3, "blue", "veth3");
    let mut endpoint = state.endpoint(id).unwrap().clone();
    endpoint.datapath = DatapathKind::Kernel;
    let (side, port) = (state.host_side(&endpoint).unwrap(), endpoint.port);
    let there = state.port(port).unwrap().clone();
    commit(&mut state, Change::PutEndpoint(Box::new((endpoint, there))));
    kernel.arrange(&mut state);

    let ours = [side.end, side.tap, "cw0001vff".to_owned()];
    kernel.observed.made = ours.into();
    kernel.observed.bare = [port].into();
    let stray = Action::RemoveStray("cw0001vff".to_owned());
    let (done, failed) = kernel.arrange(&mut state);
    assert_eq!(
        (done, failed),
        (vec![stray, Action::PutPrograms(port)], vec![])
    );
    assert_eq!(nothing_to_do(&state, &kernel), []);

    // Without a veth there is nothing to put programs on.
    kernel.observed.parted = [port].into();
    kernel.observed.bare = [port].into();
    let plan = reconcile(&state, &kernel.observed);
    assert_eq!(plan.actions, [Action::LosePort(port)]);
}
