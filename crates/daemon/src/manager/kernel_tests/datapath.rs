//! The kernel's datapath: a veth, programs at its host's end, and a TAP beside it.

use super::*;
use crate::manager::datapath::Kernel;
use api::DatapathKind;
use host::{Links, Netns as HostNetns};
use std::process::Command;

/// A daemon with the network `blue`, whose containers have the kernel's datapath.
pub(super) fn kernel_blue(dir: &Path) -> Writer {
    let mut core = blue(dir);
    let set = NetworkSet {
        datapath: Some(Datapath::Kernel),
        ..NetworkSet::default()
    };
    core.network_set(&"blue".parse().unwrap(), &set).unwrap();
    core
}

/// The answer of `ip` in the daemon's namespace.
pub(super) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// The interfaces of endpoints in the daemon's namespace.
fn host_sides() -> Vec<String> {
    let all = HostNetns::with_own_links(Links::all).unwrap();
    let ours = all
        .into_iter()
        .filter(|(_, link)| link.endpoint().is_some());
    let mut names: Vec<_> = ours.map(|(ifname, _)| ifname).collect();
    names.sort();
    names
}

pub(super) fn index(ifname: &str) -> u32 {
    let state = HostNetns::with_own_links(|links| links.state(ifname));
    state.unwrap().expect("it is there").index
}

/// The host's end of an endpoint's veth, and the TAP beside it.
fn side(core: &Writer, endpoint: &str) -> control::HostSide {
    let endpoint = core.state.endpoint_named(endpoint).unwrap();
    core.state.host_side(endpoint).unwrap()
}

fn two_containers(core: &mut Writer) -> [Namespace; 2] {
    let containers = [(); 2].map(|()| Namespace::new().unwrap());
    for namespace in &containers {
        let endpoint = core.attach(&attach_to(namespace)).unwrap();
        assert_eq!(endpoint.datapath, Some(DatapathKind::Kernel));
    }
    containers
}

fn talk([a, b]: &[Namespace; 2]) -> bool {
    reaches(a, b, "10.1.0.3") && reaches(b, a, "2001:db8:1::2")
}

fn state_of(core: &Writer, port: &str) -> PortState {
    core.show().port(&port.parse().unwrap()).unwrap().state
}

#[test]
fn containers_talk_by_veths_and_nothing_is_left_of_those_that_are_detached() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let containers = two_containers(&mut core);
    assert!(talk(&containers));
    let status = core.show().port(&"ep-1".parse().unwrap()).unwrap();
    assert_eq!(status.datapath, DatapathKind::Kernel);
    assert_eq!(host_sides().len(), 4);
    for ifname in host_sides() {
        assert_eq!(
            ip(&format!("-o addr show dev {ifname}")),
            "",
            "{ifname} has an address"
        );
    }
    assert_eq!(ports_at_fault(&core), []);
    for endpoint in ["ep-1", "ep-2"] {
        core.detach(&by_name(endpoint)).unwrap();
    }
    containers.iter().for_each(loses_eth0);
    await_end("the TAPs to go", || host_sides().is_empty());
}

#[test]
fn the_nearest_setting_counts_and_is_told_what_does_not_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let namespace = Namespace::new().unwrap();
    let attach = |datapath| Attach {
        datapath,
        ..attach_to(&namespace)
    };
    let plain = core.attach(&attach(Datapath::Userspace)).unwrap();
    assert_eq!(plain.datapath, Some(DatapathKind::Userspace));
    assert_eq!(host_sides(), Vec::<String>::new());
    core.detach(&by_name("ep-1")).unwrap();
    loses_eth0(&namespace);

    core.kernel = Kernel::without(Datapath::Auto, "this kernel has no BPF");
    let refused = core.attach(&attach(Datapath::Auto)).unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            ErrorCode::Unavailable,
            "the datapath `kernel` does not work here: this kernel has no BPF"
        )
    );
    let set = NetworkSet {
        datapath: Some(Datapath::Auto),
        ..NetworkSet::default()
    };
    core.network_set(&"blue".parse().unwrap(), &set).unwrap();
    let fallen_back = core.attach(&attach(Datapath::Auto)).unwrap();
    assert_eq!(fallen_back.datapath, Some(DatapathKind::Userspace));
    let warning =
        "frames are carried in userspace alone: the kernel cannot: this kernel has no BPF";
    assert_eq!(core.kernel.warning().as_deref(), Some(warning));
    let told = "the kernel cannot carry frames: this kernel has no BPF";
    assert_eq!(trial(&core).as_deref(), Some(told));
}

/// Returns what the doctor says of the kernel.
fn trial(core: &Writer) -> Option<String> {
    let found = core.show().doctor().unwrap().into_iter();
    let mut found = found.filter(|finding| finding.r#where == "datapath");
    found.next().map(|finding| finding.what)
}

#[test]
fn the_doctor_says_what_the_trial_of_the_kernel_found() {
    ALONE.with(|_| ());
    for (datapath, told) in [
        (
            Datapath::Kernel,
            Some("the kernel carries frames: it was tried and can"),
        ),
        (Datapath::Userspace, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            datapath,
            ..config(dir.path())
        };
        let store = FileStore::open(dir.path()).unwrap();
        let core = Writer::start(&config, store).unwrap();
        assert_eq!(trial(&core).as_deref(), told);
    }
}

#[test]
fn a_restarted_daemon_finds_the_veths_and_containers_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let containers = two_containers(&mut core);
    let eth0 = containers[0].ip("-o link show eth0").unwrap();
    let before = index(&side(&core, "ep-1").end);
    core.stop();
    drop(core);
    assert_eq!(host_sides().len(), 2, "the TAPs go with their daemon");

    let mut core = start(dir.path());
    assert!(talk(&containers));
    assert_eq!(containers[0].ip("-o link show eth0").unwrap(), eth0);
    assert_eq!(index(&side(&core, "ep-1").end), before);
    assert_eq!(core.show().status().warnings, Vec::<String>::new());
    core.detach(&by_name("ep-1")).unwrap();
    loses_eth0(&containers[0]);
}

#[test]
fn what_a_daemon_made_and_could_not_remember_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let containers = two_containers(&mut core);
    let stray = format!("{}v77", core.state.own_prefix());
    // Others' interfaces may be called as they like.
    let others = format!("{}v78", core.state.own_prefix());
    drop(core);
    for ifname in [&stray, &others] {
        ip(&format!("link add {ifname} type veth peer name {ifname}p"));
    }
    HostNetns::with_own_links(|links| links.hide(&stray, "ep-119", 1500)).unwrap();

    let core = start(dir.path());
    assert!(talk(&containers));
    assert!(!host_sides().contains(&stray), "{:?}", core.show().status());
    assert!(ip("-o link").contains(&others));
    ip(&format!("link del {others}"));
}

#[test]
fn a_port_dies_with_its_veth_and_is_made_anew_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let containers = two_containers(&mut core);
    core.tick();
    let end = side(&core, "ep-1").end;
    for remove in [
        |_: &str, a: &Namespace| drop(a.ip("link del eth0").unwrap()),
        |end: &str, _: &Namespace| {
            drop(ip(&format!("link del {end}")));
        },
    ] {
        remove(&end, &containers[0]);
        wait_until("the port is dead", PATIENCE, || {
            core.handle_events();
            core.tick();
            state_of(&core, "ep-1") == PortState::Dead
        })
        .unwrap();
        let found = ports_at_fault(&core);
        assert_eq!(found.len(), 1, "{found:?}");
        let up = PortSet {
            admin: Some(AdminState::Up),
            ..PortSet::default()
        };
        let name = "ep-1".parse().unwrap();
        assert_eq!(core.port_set(&name, &up).unwrap().state, PortState::Up);
        assert!(talk(&containers));
    }
}

#[test]
fn programs_that_somebody_took_away_are_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let containers = two_containers(&mut core);
    core.tick();
    let side = side(&core, "ep-1");
    for interface in [index(&side.end), index(&side.tap)] {
        assert!(offload::remove_leftover(interface).unwrap());
        let at = core.open.values().find_map(|open| {
            open.programs
                .filter(|at| at.host == interface || at.tap == Some(interface))
        });
        let is_back = |core: &Writer| core.kernel.get().unwrap().is_attached(at.unwrap()).unwrap();
        assert!(!is_back(&core));
        wait_until("the program is back", PATIENCE, || {
            core.tick();
            is_back(&core)
        })
        .unwrap();
        assert!(talk(&containers));
    }
    assert_eq!(state_of(&core, "ep-1"), PortState::Up);
}

#[test]
fn an_endpoint_goes_with_its_sandbox_and_its_veth_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let [a, b] = two_containers(&mut core);
    drop(a);
    wait_until("the endpoint is dropped", PATIENCE, || {
        core.handle_events();
        core.tick();
        core.show().endpoints().len() == 1
    })
    .unwrap();
    await_end("its veth to go", || host_sides().len() == 2);
    let again = Namespace::new().unwrap();
    core.attach(&attach_to(&again)).unwrap();
    assert!(reaches(&b, &again, "10.1.0.2"));
}

/// The number of a namespace that ended is soon another's, so this is a new container as well.
#[test]
fn an_interface_that_was_removed_a_moment_ago_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let [a, b] = two_containers(&mut core);
    let end = side(&core, "ep-1").end;
    a.ip("link del eth0").unwrap();
    await_end("its veth to go", || !host_sides().contains(&end));
    core.attach(&attach_to(&a)).unwrap();
    assert!(reaches(&b, &a, "10.1.0.2"));
}

#[test]
fn a_container_that_has_such_an_interface_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = kernel_blue(dir.path());
    let a = Namespace::new().unwrap();
    a.ip("link add eth0 type veth peer name other").unwrap();
    let refused = core.attach(&attach_to(&a)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists, "{refused}");
    assert!(
        refused.message.ends_with("already has an interface eth0"),
        "{refused}"
    );
    assert!(has_eth0(&a) && host_sides().is_empty());
}
