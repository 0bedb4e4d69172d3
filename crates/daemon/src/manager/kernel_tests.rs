//! The manager against the real kernel, in namespaces without names.

use super::Manager;
use super::writer::Writer;
use crate::config::Config;
use crate::store::FileStore;
use api::{
    AdminState, AdoptionCalls, ApiError, Attach, Datapath, Detach, EndpointCalls, ErrorCode,
    ExplainRequest, FdbAdd, FdbCalls, FdbFlush, FdbKey, FdbKind, Filter, Finding, FrameSpec,
    IcmpFields, LinkFields, Mac, Mirror, NatCalls, Netns, NetworkCalls, NetworkCreate, NetworkSet,
    PcapSpeed, PortAdd, PortCalls, PortKind, PortSet, PortState, PublicationCalls, UplinkCalls,
    Verdict, WatchCalls,
};
mod adoption;
mod datapath;
mod flows;
mod grants;
mod joining;
mod leases;
mod nic;
mod whole;

use std::net::UdpSocket;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use testbed::{Namespace, wait_until};
use tokio::runtime::{Handle, Runtime};

const PATIENCE: Duration = Duration::from_secs(10);

fn config(dir: &Path) -> Config {
    Config {
        state_dir: dir.to_owned(),
        workers: Some(1),
        datapath: match std::env::var("CLEARWAY_DATAPATH") {
            Ok(word) => word.parse().unwrap(),
            Err(_) => Config::DATAPATH,
        },
        ..Config::default()
    }
}

/// Starts a daemon on the test's thread, which stays in a namespace of its own from then on: it
/// stands for the host's.
fn start(dir: &Path) -> Writer {
    ALONE.with(|_| ());
    Writer::start(&config(dir), FileStore::open(dir).unwrap()).unwrap()
}

/// Returns what the doctor finds beside what is in use of the host's network.
fn ports_at_fault(core: &Writer) -> Vec<Finding> {
    let mut found = core.show().doctor().unwrap();
    found.retain(|finding| finding.r#where.starts_with("port "));
    found
}

/// Where the daemon's own tasks run.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

thread_local! {
    static ALONE: Namespace = {
        let host = Namespace::new().unwrap();
        host.enter().unwrap();
        // For as long as the thread lives.
        std::mem::forget(RUNTIME.enter());
        host
    };
}

fn network(name: &str, subnets: &[&str]) -> NetworkCreate {
    let subnets = subnets.iter().map(|net| net.parse().unwrap()).collect();
    NetworkCreate {
        subnets,
        ..NetworkCreate::new(name.parse().unwrap())
    }
}

/// A daemon with the network `blue`.
fn blue(dir: &Path) -> Writer {
    let mut core = start(dir);
    core.network_create(&network("blue", &["10.1.0.0/24", "2001:db8:1::/64"]))
        .unwrap();
    core
}

fn attach_to(namespace: &Namespace) -> Attach {
    Attach::new("blue".parse().unwrap(), Netns::Path(namespace.path()))
}

fn by_name(name: &str) -> Detach {
    Detach::Endpoint(name.parse().unwrap())
}

fn has_eth0(namespace: &Namespace) -> bool {
    namespace.ip("link show eth0").is_ok()
}

/// Waits until what ends with a TAP is gone. The kernel removes a TAP with its last descriptor, and a
/// program that another test is about to start has copies of all of them until it executes.
fn await_end(what: &str, is_gone: impl FnMut() -> bool) {
    wait_until(what, Duration::from_secs(2), is_gone).unwrap();
}

fn loses_eth0(namespace: &Namespace) {
    await_end("eth0 to go", || !has_eth0(namespace));
}

/// Returns whether a datagram gets from one namespace to an address in the other.
fn reaches(from: &Namespace, to: &Namespace, address: &str) -> bool {
    let server = to.run(|| UdpSocket::bind((address, 0))).unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let target = server.local_addr().unwrap();
    from.run(|| {
        let any = if target.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        UdpSocket::bind(any)
            .unwrap()
            .send_to(b"hello", target)
            .unwrap();
    });
    server.recv(&mut [0; 16]).is_ok_and(|len| len == 5)
}

#[test]
fn attached_containers_talk_at_once_and_detached_ones_have_nothing_left() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    let first = core.attach(&attach_to(&a)).unwrap();
    let second = core.attach(&attach_to(&b)).unwrap();
    assert_eq!(
        (first.id.as_str(), second.addresses[0].to_string().as_str()),
        ("ep-1", "10.1.0.3/24")
    );
    assert!(reaches(&a, &b, "10.1.0.3") && reaches(&b, &a, "2001:db8:1::2"));

    let entries = core.show().fdb(&Filter::default()).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|e| e.kind == FdbKind::Static));
    let port = core.show().port(&"ep-1".parse().unwrap()).unwrap();
    assert!(port.state == PortState::Up && port.counters.rx_frames > 0 && port.macs == 1);
    assert_eq!(port.workers, [0]);

    let frames = core.show().status().frames;
    core.detach(&by_name("ep-1")).unwrap();
    loses_eth0(&a);
    assert!(has_eth0(&b));
    assert!(
        core.show().status().frames >= frames,
        "what a removed port counted is not forgotten"
    );
    let by_interface = Detach::Interface {
        netns: Netns::Path(b.path()),
        ifname: "eth0".into(),
    };
    assert_eq!(core.detach(&by_interface).unwrap(), second);
    loses_eth0(&b);
    assert_eq!(
        core.detach(&by_name("ep-1")).unwrap_err().code,
        ErrorCode::NotFound
    );
    assert!(core.show().fdb(&Filter::default()).unwrap().is_empty());

    // Name and address are free again at once.
    assert_eq!(
        core.attach(&attach_to(&a)).unwrap().addresses,
        first.addresses
    );
}

#[test]
fn without_addresses_a_container_finds_its_own_and_keeps_its_mac() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = start(dir.path());
    core.network_create(&network("blue", &[])).unwrap();
    for (namespace, address) in [(&a, "10.1.0.2/24"), (&b, "10.1.0.3/24")] {
        let endpoint = core.attach(&attach_to(namespace)).unwrap();
        assert!(endpoint.addresses.is_empty() && endpoint.locked);
        namespace
            .ip(&format!("addr add {address} dev eth0"))
            .unwrap();
    }
    assert!(reaches(&a, &b, "10.1.0.3"));
    a.ip("link set eth0 address 02:00:00:00:00:66").unwrap();
    assert!(!reaches(&a, &b, "10.1.0.3"));
    let drops = core.show().drops();
    assert!(drops.count("spoofed_mac") > 0 && drops.count("spoofed_ip") == 0);
}

#[test]
fn an_interface_is_configured_as_asked() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = start(dir.path());
    let mut request = network("blue", &["10.1.0.0/24"]);
    request.gateways = Some(vec!["10.1.0.254".parse().unwrap()]);
    request.mtu = 65_535;
    core.network_create(&request).unwrap();
    let attach = Attach {
        ifname: "net7".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 7])),
        addresses: vec!["10.1.0.77/24".parse().unwrap()],
        name: Some("web".parse().unwrap()),
        queues: 2,
        ..attach_to(&a)
    };
    let endpoint = core.attach(&attach).unwrap();
    let link = a.ip("-o link show net7").unwrap();
    // The kernel lets no TAP have more.
    assert!(
        link.contains("mtu 65521") && link.contains("02:00:00:00:00:07") && link.contains(",UP,"),
        "{link}"
    );
    assert_eq!((endpoint.mtu, endpoint.id.as_str()), (65_521, "web"));
    assert!(
        a.ip("-o addr show net7")
            .unwrap()
            .contains("10.1.0.77/24 brd 10.1.0.255")
    );
    assert!(
        a.ip("route")
            .unwrap()
            .contains("default via 10.1.0.254 dev net7")
    );
    let port = core.show().port(&"web".parse().unwrap()).unwrap();
    assert_eq!(
        port.spec.kind,
        PortKind::Tap {
            netns: attach.netns,
            ifname: "net7".into(),
            queues: 2
        }
    );
    assert_eq!(
        core.show().network(&"blue".parse().unwrap()).unwrap().spec,
        request
    );
}

#[test]
fn a_refused_attach_leaves_nothing_behind() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = start(dir.path());
    let mut request = network("blue", &["10.1.0.0/24"]);
    request.gateways = Some(vec!["10.1.0.1".parse().unwrap()]);
    core.network_create(&request).unwrap();
    // The kernel refuses the last step of the plan: there is a default route already.
    a.ip("link add other type veth peer name end").unwrap();
    a.ip("addr add 10.9.0.2/24 dev other").unwrap();
    a.ip("link set other up").unwrap();
    a.ip("link set end up").unwrap();
    a.ip("route add default via 10.9.0.1").unwrap();
    let error = core.attach(&attach_to(&a)).unwrap_err();
    assert!(
        error.message.contains("default gateway") && error.message.contains("File exists"),
        "{error}"
    );
    loses_eth0(&a);
    assert!(core.show().endpoints().is_empty() && core.show().ports().is_empty());

    // An interface that is not ours is not taken over.
    a.ip("link set other down").unwrap();
    a.ip("link set other name eth0").unwrap();
    let error = core.attach(&attach_to(&a)).unwrap_err();
    assert!(
        error.code == ErrorCode::AlreadyExists && error.message.contains("eth0"),
        "{error}"
    );
    assert!(has_eth0(&a) && core.show().endpoints().is_empty());

    let nowhere = Attach {
        netns: Some(Netns::Name("no-such-namespace".parse().unwrap())),
        ..attach_to(&a)
    };
    assert_eq!(core.attach(&nowhere).unwrap_err().code, ErrorCode::NotFound);
    let file = Attach {
        netns: Some(Netns::Path("/etc/hostname".into())),
        ..attach_to(&a)
    };
    assert_eq!(core.attach(&file).unwrap_err().code, ErrorCode::Invalid);
    let missing = Attach {
        network: "red".parse().unwrap(),
        ..attach_to(&a)
    };
    assert_eq!(core.attach(&missing).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_namespace_that_vanishes_takes_its_endpoint_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = [(); 3].map(|()| Namespace::new().unwrap());
    let mut core = blue(dir.path());
    for namespace in [&a, &b, &c] {
        core.attach(&attach_to(namespace)).unwrap();
    }
    core.tick();
    assert_eq!(core.show().endpoints().len(), 3);
    drop(a);
    core.tick();
    let left: Vec<_> = core
        .show()
        .endpoints()
        .iter()
        .map(|e| e.id.to_string())
        .collect();
    assert_eq!(left, ["ep-2", "ep-3"]);
    assert_eq!(
        (
            core.show().ports().len(),
            core.show().fdb(&Filter::default()).unwrap().len()
        ),
        (2, 4 / 2)
    );
    assert!(reaches(&b, &c, "10.1.0.4"));
}

#[test]
fn a_container_that_removes_its_interface_gets_it_back_on_request() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    core.attach(&attach_to(&b)).unwrap();
    a.ip("link del eth0").unwrap();
    let name = "ep-1".parse().unwrap();
    wait_until("the port is dead", PATIENCE, || {
        core.handle_events();
        core.tick();
        core.show().port(&name).unwrap().state == PortState::Dead
    })
    .unwrap();
    assert!(
        core.show()
            .port(&name)
            .unwrap()
            .why
            .unwrap()
            .contains("no longer exists")
    );
    assert_eq!(
        (
            core.show().status().ports.dead,
            core.show().endpoints().len()
        ),
        (1, 2)
    );
    let up = PortSet {
        admin: Some(AdminState::Up),
        ..PortSet::default()
    };
    assert_eq!(core.port_set(&name, &up).unwrap().state, PortState::Up);
    assert!(reaches(&b, &a, "10.1.0.2"));
}

#[test]
fn a_restarted_daemon_takes_up_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, gone] = [(); 3].map(|()| Namespace::new().unwrap());
    let mut core = blue(dir.path());
    for namespace in [&a, &b, &gone] {
        core.attach(&attach_to(namespace)).unwrap();
    }
    let (endpoints, index) = (
        core.show().endpoints(),
        a.ip("-o link show eth0").unwrap()[..3].to_owned(),
    );
    core.stop();
    drop(core);
    assert!(has_eth0(&a), "a persistent interface outlives the daemon");
    drop(gone);

    let mut core = start(dir.path());
    assert_eq!(core.show().endpoints(), endpoints[..2]);
    assert_eq!(
        a.ip("-o link show eth0").unwrap()[..3],
        index,
        "it is the same interface"
    );
    assert!(reaches(&a, &b, "10.1.0.3") && reaches(&b, &a, "10.1.0.2"));
    assert!(
        core.show().status().warnings.is_empty(),
        "{:?}",
        core.show().status().warnings
    );
    core.detach(&by_name("ep-1")).unwrap();
    loses_eth0(&a);
    // An endpoint that is gone is not remembered again.
    drop(core);
    assert_eq!(start(dir.path()).show().endpoints().len(), 1);
}

#[test]
fn an_interface_that_was_lost_meanwhile_is_made_again() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    core.attach(&attach_to(&b)).unwrap();
    drop(core);
    a.ip("link del eth0").unwrap();
    let core = start(dir.path());
    assert!(reaches(&a, &b, "10.1.0.3"));
    assert_eq!(core.show().status().ports.up, 2);
}

#[test]
fn an_interface_in_other_hands_is_a_dead_port_with_the_reason() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    // A second daemon on a copy of the state finds the interface open.
    let copy = tempfile::tempdir().unwrap();
    for file in ["state.json", "state.journal"] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let other = start(copy.path());
    let port = other.show().port(&"ep-1".parse().unwrap()).unwrap();
    assert!(port.state == PortState::Dead && port.why.unwrap().contains("busy"));
    assert!(other.show().status().warnings[0].contains("ep-1"));
}

#[test]
fn a_host_port_that_cannot_be_set_up_leaves_nothing() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let dir = tempfile::tempdir().unwrap();
    let none = None::<&str>;
    // On a thread of its own: what it mounts is there for nobody else, and goes with it.
    let test = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let settings = "/proc/sys";
        mount(Some(settings), settings, none, MsFlags::MS_BIND, none).unwrap();
        let fixed = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, settings, none, fixed, none).unwrap();

        let mut core = blue(dir.path());
        let warnings = core.show().status().warnings;
        let told = |warning: &String| warning.starts_with("containers and the host are parted");
        assert!(warnings.iter().any(told), "{warnings:?}");
        let links = || {
            let ip = std::process::Command::new("ip")
                .args(["-o", "link"])
                .output();
            String::from_utf8(ip.unwrap().stdout).unwrap()
        };
        assert!(!links().contains("host"), "{}", links());
        core.stop();
        assert!(!links().contains("cw"), "{}", links());
    };
    std::thread::scope(|scope| scope.spawn(test).join()).unwrap();
}

#[test]
fn a_full_disk_refuses_changes_and_leaves_nothing_half_made() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    // On a thread of its own: the tiny file system is mounted for nobody else, and goes with it.
    let test = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=64k"),
        )
        .unwrap();
        let mut core = blue(dir.path());
        let written = || {
            let files = ["state.json", "state.journal"].map(|file| dir.path().join(file));
            files.map(|file| std::fs::read(file).unwrap())
        };
        let before = written();
        let filler = dir.path().join("filler");
        let full = std::fs::write(&filler, vec![7; 1 << 20]).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(nix::libc::ENOSPC));

        // More than what may be left of the last block.
        let labels = [("note".to_owned(), "x".repeat(5_000))];
        let attach = Attach {
            labels: labels.clone().into(),
            ..attach_to(&a)
        };
        let error = core.attach(&attach).unwrap_err();
        assert!(
            error.code == ErrorCode::Unavailable && error.message.contains("No space left"),
            "{error}"
        );
        loses_eth0(&a);
        assert!(
            core.show().endpoints().is_empty()
                && core.show().fdb(&Filter::default()).unwrap().is_empty()
        );
        let red = NetworkCreate {
            labels: labels.into(),
            ..network("red", &[])
        };
        assert!(core.network_create(&red).is_err());
        assert_eq!(core.show().networks().len(), 1);
        assert_eq!(written(), before);

        std::fs::remove_file(filler).unwrap();
        core.attach(&attach).unwrap();
        assert!(has_eth0(&a));
        drop(core);
        assert_eq!(start(dir.path()).show().endpoints().len(), 1);
    };
    std::thread::scope(|scope| scope.spawn(test).join()).unwrap();
}

#[test]
fn a_packet_port_dies_with_its_interface_and_comes_back() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    let make = || {
        b.ip("link add nic type veth peer name host address 02:00:00:00:00:09")
            .unwrap();
        b.ip("addr add 10.1.0.9/24 dev host").unwrap();
        b.ip("link set host up").unwrap();
        b.ip("link set nic up").unwrap();
    };
    make();
    let kind = PortKind::Packet {
        netns: Some(Netns::Path(b.path())),
        interface: "nic".into(),
    };
    let add = PortAdd {
        network: Some("blue".parse().unwrap()),
        ..PortAdd::new("nic".parse().unwrap(), kind)
    };
    assert_eq!(core.port_add(&add).unwrap().spec, add);
    assert!(reaches(&a, &b, "10.1.0.9"));
    b.ip("link del nic").unwrap();
    wait_until("the port is dead", PATIENCE, || {
        core.handle_events();
        core.show().port(&add.name).unwrap().state != PortState::Up
    })
    .unwrap();
    let why = core.show().port(&add.name).unwrap().why;
    assert!(why.is_some());
    let up = PortSet {
        admin: Some(AdminState::Up),
        ..PortSet::default()
    };
    assert_eq!(
        core.port_set(&add.name, &up).unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(core.show().port(&add.name).unwrap().why, why);
    make();
    assert_eq!(core.port_set(&add.name, &up).unwrap().state, PortState::Up);
    assert!(reaches(&a, &b, "10.1.0.9"));
    core.port_remove(&add.name).unwrap();
    assert!(core.show().port(&add.name).is_err() && b.ip("link show nic").is_ok());
}

#[test]
fn ports_are_shown_as_they_were_asked_for_and_set() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    let kind = PortKind::Pcap {
        read: None,
        write: Some(dir.path().join("out.pcapng")),
        speed: PcapSpeed::Full,
    };
    let mirror = Mirror {
        of: vec!["ep-1".parse().unwrap()],
        direction: api::Direction::Rx,
    };
    let add = PortAdd {
        mirror: Some(mirror),
        ..PortAdd::new("span".parse().unwrap(), kind)
    };
    assert_eq!(core.port_add(&add).unwrap().spec, add);
    let trunk = r#"{"network":"blue","vlan":{"mode":"trunk","allowed":[10,20],"native":10},"storm":{"broadcast":9},
        "isolated":true,"mirror":null,"admin":"down","lock":{"mac":"02:00:00:00:00:01","ips":["10.1.0.8"]}}"#;
    let set: PortSet = serde_json::from_str(trunk).unwrap();
    let port = core.port_set(&add.name, &set).unwrap();
    assert_eq!(
        (port.spec, port.state),
        (set.applied_to(&add), PortState::Down)
    );
    let move_endpoint: PortSet = serde_json::from_str(r#"{"network":null}"#).unwrap();
    assert_eq!(
        core.port_set(&"ep-1".parse().unwrap(), &move_endpoint)
            .unwrap_err()
            .code,
        ErrorCode::InUse
    );
    assert_eq!(
        core.port_remove(&"ep-1".parse().unwrap()).unwrap_err().code,
        ErrorCode::InUse
    );
    drop(core);
    let core = start(dir.path());
    assert_eq!(
        core.show().port(&add.name).unwrap().spec,
        set.applied_to(&add)
    );
}

#[test]
fn static_entries_are_written_removed_and_flushed() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    let add = |last| FdbAdd {
        network: "blue".parse().unwrap(),
        vlan: None,
        mac: Mac([2, 0, 0, 0, 0, last]),
        port: "ep-1".parse().unwrap(),
    };
    let key = |mac| FdbKey {
        network: "blue".parse().unwrap(),
        vlan: None,
        mac,
    };
    let entry = core.fdb_add(&add(1)).unwrap();
    core.fdb_add(&add(2)).unwrap();
    assert!(
        core.show()
            .fdb(&Filter::default())
            .unwrap()
            .contains(&entry)
    );
    core.fdb_remove(&key(entry.mac)).unwrap();
    assert_eq!(
        core.fdb_remove(&key(entry.mac)).unwrap_err().code,
        ErrorCode::NotFound
    );
    let endpoint = core.show().endpoints()[0].clone();
    assert_eq!(
        core.fdb_remove(&key(endpoint.mac)).unwrap_err().code,
        ErrorCode::InUse
    );
    let flush = FdbFlush {
        include_static: true,
        ..FdbFlush::default()
    };
    assert_eq!(core.fdb_flush(&flush).unwrap().removed, 1);
    let left: Vec<_> = core
        .show()
        .fdb(&Filter::default())
        .unwrap()
        .into_iter()
        .map(|e| e.mac)
        .collect();
    assert_eq!(left, [endpoint.mac]);
}

#[test]
fn explain_knows_neighbours_and_names() {
    let (dir, a, b) = (
        tempfile::tempdir().unwrap(),
        Namespace::new().unwrap(),
        Namespace::new().unwrap(),
    );
    let mut core = blue(dir.path());
    core.attach(&attach_to(&a)).unwrap();
    core.attach(&attach_to(&b)).unwrap();
    let ping_to = |from: &str, to: &str| {
        let fields = IcmpFields {
            link: LinkFields::default(),
            src_ip: from.parse().unwrap(),
            dst_ip: to.parse().unwrap(),
            reply: false,
            id: 1,
            payload: 0,
        };
        ExplainRequest {
            port: "ep-1".parse().unwrap(),
            frame: FrameSpec::Icmp(fields),
        }
    };
    let ping = |from: &str| ping_to(from, "10.1.0.3");
    // What is not near goes to the gateway, which has no way to there; the gateway itself answers.
    let far = core
        .show()
        .explain(&ping_to("10.1.0.2", "198.51.100.1"))
        .unwrap();
    assert_eq!(far.drop.unwrap().label, "no_route");
    let gateway = core
        .show()
        .explain(&ping_to("10.1.0.2", "10.1.0.1"))
        .unwrap();
    assert_eq!(gateway.verdict, Verdict::Answered, "{:?}", gateway.steps);
    // Nobody has this one, and the groups are everybody's.
    for everybody in ["10.1.0.77", "224.0.0.1"] {
        let shown = core
            .show()
            .explain(&ping_to("10.1.0.2", everybody))
            .unwrap();
        assert_eq!(shown.verdict, Verdict::Flooded, "{everybody}");
    }
    let good = core.show().explain(&ping("10.1.0.2")).unwrap();
    assert_eq!(
        (
            good.verdict,
            good.outputs.len(),
            good.outputs[0].port.as_str()
        ),
        (Verdict::Forwarded, 1, "ep-2")
    );
    assert!(
        good.steps
            .iter()
            .any(|step| step.fields.get("port") == Some(&"ep-2".into())),
        "{:?}",
        good.steps
    );
    assert!(
        good.steps.iter().any(|step| step.sentence.contains("ep-2")),
        "{:?}",
        good.steps
    );
    let spoofed = core.show().explain(&ping("10.1.0.9")).unwrap();
    assert_eq!(
        (spoofed.verdict, spoofed.drop.unwrap().label),
        (Verdict::Dropped, "spoofed_ip".to_owned())
    );
    assert_eq!(
        core.show()
            .drops()
            .reasons
            .iter()
            .map(|r| r.count)
            .sum::<u64>(),
        core.show().status().dropped
    );
}

#[test]
fn a_host_that_asked_for_its_gateway_is_a_neighbour() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = blue(dir.path());
    let anything = Attach {
        locked: false,
        ..attach_to(&a)
    };
    core.attach(&anything).unwrap();
    assert!(
        core.show().neighbours().is_empty(),
        "its own address is configured"
    );
    a.ip("addr add 10.1.0.77/24 dev eth0").unwrap();
    a.run(|| {
        let another = UdpSocket::bind("10.1.0.77:0").unwrap();
        another.send_to(b"hello", "10.1.0.1:9").unwrap();
    });
    wait_until("the gateway knows it", PATIENCE, || {
        let known = |n: &api::Neighbour| n.network.as_str() == "blue" && n.mac.is_some();
        let mut all = core.show().neighbours().into_iter().filter(known);
        all.any(|n| n.address.to_string() == "10.1.0.77")
    })
    .unwrap();
}

#[test]
fn an_uplink_that_is_down_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = blue(dir.path());
    let uplink = core.uplink_add(&api::UplinkAdd::new("eth9")).unwrap();
    assert_eq!(uplink.state, api::UplinkState::Down);
    let why = "there is no interface eth9";
    assert_eq!(uplink.why.as_deref(), Some(why));

    let other = Namespace::new().unwrap();
    let path = other.path();
    let veth = format!(
        "link add eth9 type veth peer name eth0 netns {}",
        path.display()
    );
    ALONE.with(|host| {
        host.ip(&veth).unwrap();
        host.ip("link set eth9 up").unwrap();
    });
    wait_until("the uplink", Duration::from_secs(10), || {
        core.follow_host();
        core.show().uplinks()[0].state == api::UplinkState::Up
    })
    .unwrap();
    assert_eq!(core.show().uplinks()[0].why, None);
    core.stop();
}

#[test]
fn gateways_uplinks_publications_and_policies_outlive_a_restart() {
    let (dir, a) = (tempfile::tempdir().unwrap(), Namespace::new().unwrap());
    let mut core = blue(dir.path());
    let name = |text: &str| -> api::Name { text.parse().unwrap() };
    let attach = Attach {
        name: Some(name("web")),
        aliases: vec![name("www")],
        ..attach_to(&a)
    };
    let web = core.attach(&attach).unwrap();
    assert_eq!(
        (web.name.clone(), web.aliases.len()),
        (Some(name("web")), 1)
    );
    let first: std::net::IpAddr = "10.1.0.1".parse().unwrap();
    assert_eq!(web.gateways[0], first);

    let published = core
        .publish_ports(&"20000-29999:web:20000".parse().unwrap())
        .unwrap();
    assert_eq!(published.addresses.len(), 2);
    let taken = core
        .publish_ports(&"29999:web:1".parse().unwrap())
        .unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists);
    assert!(taken.message.contains("takes a port of pub-1"), "{taken}");

    let policy = api::Policy {
        default: api::Action::Deny,
        rules: vec!["allow out tcp :443".parse().unwrap()],
    };
    assert_eq!(core.policy_set(&name("web"), &policy).unwrap(), policy);
    let set = NetworkSet {
        preset: Some(api::Preset::FullCone),
        icc: Some(false),
        ..NetworkSet::default()
    };
    core.network_set(&name("blue"), &set).unwrap();
    let unknown = NetworkSet {
        uplink: Some(api::UplinkChoice::Named(name("up"))),
        ..NetworkSet::default()
    };
    let before = core.show().network(&name("blue")).unwrap();
    let refused = core.network_set(&name("blue"), &unknown).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(core.show().network(&name("blue")).unwrap(), before);
    assert_eq!(core.show().status().publications, 1);

    core.stop();
    drop(core);
    let mut core = start(dir.path());
    assert_eq!(core.show().network(&name("blue")).unwrap(), before);
    assert_eq!(before.gateways[0], first);
    assert!(before.gateway_mac.is_some() && before.publications == [published.clone()]);
    assert_eq!(before.spec.routing.nat.preset, api::Preset::FullCone);
    assert_eq!(core.show().policy(&name("web")).unwrap(), policy);
    assert_eq!(ports_at_fault(&core), []);

    core.unpublish(&published.id).unwrap();
    assert!(core.show().publications().is_empty());
    assert_eq!(
        core.unpublish(&published.id).unwrap_err().code,
        ErrorCode::NotFound
    );

    // What was removed from within is found, and taken away when asked.
    a.ip("link del eth0").unwrap();
    wait_until("the port is dead", PATIENCE, || {
        core.handle_events();
        core.tick();
        !ports_at_fault(&core).is_empty()
    })
    .unwrap();
    let found = ports_at_fault(&core);
    assert_eq!(found[0].undo, "clearway detach web");
    assert_eq!(core.doctor_clean()[0].failed, None);
    assert!(ports_at_fault(&core).is_empty() && core.show().endpoints().is_empty());
}
