//! Endpoints that are joined after they were made, as Docker does it.

use super::*;
use api::{Join, Via};

/// An endpoint of `blue` that waits, and the request with which `namespace` joins it.
fn waiting(core: &mut Writer, namespace: &Namespace, via: Via) -> (api::Name, Join) {
    let endpoint = core.attach(&Attach::unjoined("blue".parse().unwrap()));
    let join = Join {
        netns: Netns::Path(namespace.path()),
        ifname: "cwjoin".into(),
        via,
    };
    (endpoint.unwrap().id, join)
}

/// An endpoint that has joined a sandbox whose file is not there yet.
fn joined_early(core: &mut Writer, namespace: &Namespace, key: &Path) -> api::Endpoint {
    let (name, join) = waiting(core, namespace, Via::MovedTap);
    let join = Join {
        netns: Netns::Path(key.to_owned()),
        ..join
    };
    core.endpoint_join(&name, &join).unwrap()
}

/// Does with a TAP what Docker does: moves it, names it, gives it its address and sets it up.
fn move_in(name: &str, namespace: &Namespace, endpoint: &api::Endpoint) {
    let own = std::process::Command::new("ip")
        .args(["link", "set", name, "netns"])
        .arg(namespace.path())
        .status();
    assert!(own.unwrap().success());
    namespace.ip(&format!("link set {name} name eth0")).unwrap();
    let address = endpoint.addresses[0];
    namespace
        .ip(&format!("addr add {address} dev eth0"))
        .unwrap();
    namespace.ip("link set eth0 up").unwrap();
}

#[test]
fn an_interface_that_is_moved_to_its_sandbox_is_found_again_after_a_restart() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let (name, join) = waiting(&mut core, &a, Via::MovedTap);
    let port = core.show().port(&name).unwrap();
    assert_eq!(port.state, PortState::Down);
    let joined = core.endpoint_join(&name, &join).unwrap();
    move_in("cwjoin", &a, &joined);
    let other = core.attach(&attach_to(&b)).unwrap();
    let target = other.addresses[0].addr().to_string();
    assert!(reaches(&a, &b, &target));

    core.stop();
    drop(core);
    let mut core = start(dir.path());
    assert!(reaches(&a, &b, &target));
    let left = core.endpoint_leave(&name).unwrap();
    assert_eq!((left.netns, left.addresses), (None, joined.addresses));
    loses_eth0(&a);
    // It may be joined again, and an endpoint that waits outlives a restart.
    core.stop();
    drop(core);
    let mut core = start(dir.path());
    let joined = core.endpoint_join(&name, &join).unwrap();
    move_in("cwjoin", &a, &joined);
    assert!(reaches(&a, &b, &target));
    core.detach(&Detach::Endpoint(name)).unwrap();
    loses_eth0(&a);
    assert_eq!(core.show().endpoints().len(), 1);
}

#[test]
fn a_veth_that_is_there_joins_an_endpoint_and_stays_when_it_leaves() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let host = "cwveth".to_owned();
    let (name, join) = waiting(&mut core, &a, Via::Veth { host: Some(host) });
    let missing = core.endpoint_join(&name, &join).unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound, "{missing}");
    let endpoint = core.show().endpoint(&name).unwrap();
    let make = |words: &str| {
        let ip = std::process::Command::new("ip")
            .args(words.split(' '))
            .status();
        assert!(ip.unwrap().success(), "ip {words}");
    };
    make(&format!(
        "link add cwveth type veth peer name eth0 address {}",
        endpoint.mac
    ));
    move_in("eth0", &a, &endpoint);
    make("link set cwveth up");
    core.endpoint_join(&name, &join).unwrap();
    let other = core.attach(&attach_to(&b)).unwrap();
    let target = other.addresses[0].addr().to_string();
    assert!(reaches(&a, &b, &target));
    core.endpoint_leave(&name).unwrap();
    assert!(has_eth0(&a));
    make("link del cwveth");
}

#[test]
fn a_sandbox_may_come_after_its_interface() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let key = dir.path().join("sandbox");
    let joined = joined_early(&mut core, &a, &key);
    core.tick();
    assert_eq!(core.show().endpoints().len(), 1, "it is waited for");
    move_in("cwjoin", &a, &joined);
    std::os::unix::fs::symlink(a.path(), &key).unwrap();
    let other = core.attach(&attach_to(&b)).unwrap();
    assert!(reaches(&a, &b, &other.addresses[0].addr().to_string()));

    // A daemon that comes back before the last one has seen it sees it now.
    core.stop();
    drop(core);
    let mut core = start(dir.path());
    core.tick();
    assert!(reaches(&a, &b, &other.addresses[0].addr().to_string()));
    std::fs::remove_file(&key).unwrap();
    core.tick();
    assert_eq!(
        core.show().endpoints().len(),
        1,
        "it ended with its sandbox"
    );
}

#[test]
fn a_port_of_a_container_that_is_gone_is_free() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let first = core.attach(&attach_to(&a)).unwrap();
    let second = core.attach(&attach_to(&b)).unwrap();
    let published = |to: &api::Name| format!("18080:{to}:80").parse().unwrap();
    core.publish_ports(&published(&first.id)).unwrap();
    let taken = core.publish_ports(&published(&second.id)).unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists);
    drop(a);
    core.publish_ports(&published(&second.id)).unwrap();
}

/// As when dockerd is killed within a second of starting a container, and cleans up afterwards.
#[test]
fn a_port_of_a_sandbox_that_came_and_went_unseen_is_free() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let key = dir.path().join("sandbox");
    let joined = joined_early(&mut core, &a, &key);
    let published = |to: &api::Name| format!("18080:{to}:80").parse().unwrap();
    core.publish_ports(&published(&joined.id)).unwrap();
    let second = core.attach(&attach_to(&b)).unwrap();
    let taken = core.publish_ports(&published(&second.id)).unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists, "it is waited for");
    move_in("cwjoin", &a, &joined);
    drop(a);
    let empty = Namespace::new().unwrap();
    std::os::unix::fs::symlink(empty.path(), &key).unwrap();
    core.publish_ports(&published(&second.id)).unwrap();
    assert_eq!(core.show().endpoints().len(), 1);
}
