//! Adopted bridges: taken, served, given back as they were, whatever happens to the daemon.

use super::*;
use api::{Adopt, Join, Listener, Name, PublicationCreate, Via};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));

/// docker0 as Docker makes it, in the test's namespace, with containers on it.
struct Docker {
    containers: Vec<Namespace>,
    before: String,
}

impl Docker {
    fn new() -> Self {
        ALONE.with(|_| ());
        run("sysctl", "-qw net.ipv6.conf.default.accept_dad=0");
        run(
            "ip",
            "link add docker0 address 02:42:ac:11:00:01 type bridge",
        );
        run("ip", "address add 172.17.0.1/16 brd + dev docker0");
        run("ip", "address add 2001:db8:17::1/64 dev docker0 nodad");
        run("ip", "link set docker0 up");
        let containers = (2..4).map(container).collect();
        wait_until("ports that carry", PATIENCE, || {
            let ports = run("ip", "-o link show master docker0");
            ports
                .lines()
                .all(|port| port.contains("state UP") && !port.contains("NO-CARRIER"))
        })
        .unwrap();
        Self {
            containers,
            before: footprint(),
        }
    }

    /// Lets a daemon have them all.
    fn adopt(&self, core: &mut Writer) -> Vec<Name> {
        let bridge = docker0();
        let adopted = core.adopt(&Adopt { bridge }).unwrap();
        assert_eq!(adopted.addresses[0].addr(), GATEWAY);
        let join = |(container, n): (&Namespace, u8)| {
            let endpoint = core.attach(&attach(n)).unwrap();
            let join = Join {
                netns: Netns::Path(container.path()),
                ifname: "eth0".into(),
                via: Via::Veth { host: None },
            };
            let joined = core.endpoint_join(&endpoint.id, &join).unwrap();
            let host = Some(format!("veth{n}"));
            assert_eq!(joined.via, Via::Veth { host });
            endpoint.id
        };
        self.containers.iter().zip(2..).map(join).collect()
    }

    fn talk(&self) -> bool {
        let [a, b] = &self.containers[..] else {
            panic!("there are two")
        };
        wait_until("containers that talk", PATIENCE, || {
            reaches(a, b, "172.17.0.3") && reaches(b, a, "2001:db8:17::2")
        })
        .unwrap();
        self.reaches_host(a) && hosts_reaches(a)
    }

    /// Returns whether a container reaches the host at the bridge's address.
    fn reaches_host(&self, container: &Namespace) -> bool {
        let server = UdpSocket::bind((GATEWAY, 0)).unwrap();
        received(&server, || {
            let to = server.local_addr().unwrap();
            container.run(|| send("0.0.0.0:0", to));
        })
    }

    /// The kernel says of a change what it has seen of it: a bridge that carries, a packet socket
    /// that was closed by a worker, somewhat later.
    #[track_caller]
    fn is_as_before(&self) {
        let same = || footprint() == self.before;
        if wait_until("the host's network as it was", PATIENCE, same).is_err() {
            let now = footprint();
            let words = now.split(' ').zip(self.before.split(' '));
            let from = words.take_while(|(a, b)| a == b).count().saturating_sub(20);
            let rest = |all: &str| {
                all.split(' ')
                    .skip(from)
                    .take(60)
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            assert_eq!(rest(&now), rest(&self.before));
        }
    }
}

impl Drop for Docker {
    /// The thread is used for one test, its namespace goes with it; what is in it goes now.
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "docker0"]).status();
    }
}

fn docker0() -> Name {
    "docker0".parse().unwrap()
}

/// The request for the endpoint of container `n`.
fn attach(n: u8) -> Attach {
    let addresses = [format!("172.17.0.{n}/16"), format!("2001:db8:17::{n}/64")];
    Attach {
        mac: Some(Mac([2, 0x42, 0xac, 0x11, 0, n])),
        addresses: addresses.map(|net| net.parse().unwrap()).to_vec(),
        ..Attach::unjoined(docker0())
    }
}

/// A container on the bridge, by `vethN`.
fn container(n: u8) -> Namespace {
    let inside = Namespace::new().unwrap();
    inside
        .output("sysctl", &["-qw", "net.ipv6.conf.default.accept_dad=0"])
        .unwrap();
    run(
        "ip",
        &format!(
            "link add veth{n} txqueuelen 0 master docker0 type veth peer name eth0 \
             address 02:42:ac:11:00:0{n} netns {}",
            inside.path().display()
        ),
    );
    run("ip", &format!("link set veth{n} up"));
    for words in [
        format!("address add 172.17.0.{n}/16 dev eth0"),
        format!("address add 2001:db8:17::{n}/64 dev eth0 nodad"),
        "link set eth0 up".to_owned(),
        "route add default via 172.17.0.1".to_owned(),
    ] {
        inside.ip(&words).unwrap();
    }
    inside
}

fn run(program: &str, words: &str) -> String {
    let output = Command::new(program)
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All of the host's network, but for clocks.
fn footprint() -> String {
    wait_until("a bridge that carries", PATIENCE, || {
        let line = run("ip", "-o link show docker0");
        line.contains("LOWER_UP") && !line.contains("state DOWN") && !line.contains("UNKNOWN")
    })
    .unwrap();
    let shown = [
        ("ip", "-d link"),
        ("ip", "-d address"),
        ("ip", "route show table all"),
        ("ip", "-6 route show table all"),
        ("tc", "qdisc show"),
    ];
    let whole = shown
        .map(|(program, words)| run(program, words))
        .join("---\n");
    testbed::link::without_timers(&whole)
}

fn send(from: &str, to: SocketAddr) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.send_to(b"hello", to).unwrap();
}

fn received(server: &UdpSocket, send: impl Fn()) -> bool {
    let half_a_second = Duration::from_millis(500);
    server.set_read_timeout(Some(half_a_second)).unwrap();
    wait_until("a datagram", PATIENCE, || {
        send();
        server.recv(&mut [0; 16]).is_ok()
    })
    .is_ok()
}

/// Returns whether the host reaches a container.
fn hosts_reaches(container: &Namespace) -> bool {
    let server = container.run(|| UdpSocket::bind("172.17.0.2:0")).unwrap();
    received(&server, || send("0.0.0.0:0", server.local_addr().unwrap()))
}

/// Frames that came from an endpoint's port.
fn frames_of(core: &Writer, endpoint: &Name) -> u64 {
    core.show().port(endpoint).unwrap().counters.rx_frames
}

#[test]
fn an_adopted_bridges_containers_talk_through_us_and_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    assert!(docker.talk());
    let mut core = start(dir.path());
    let endpoints = docker.adopt(&mut core);
    let known = docker.containers[0].ip("neigh show 172.17.0.1").unwrap();
    assert!(known.contains("02:42:ac:11:00:01"), "{known}");
    assert!(docker.talk());
    for endpoint in &endpoints {
        assert!(frames_of(&core, endpoint) > 0);
    }
    let adopted = core.show().adoptions();
    assert_eq!(adopted[0].endpoints, endpoints);
    // The bridge is as it was, without ports.
    assert_eq!(run("ip", "-o link show master docker0"), "");
    let bridge = run("ip", "-o address show docker0");
    assert!(
        bridge.contains("172.17.0.1/16 brd 172.17.255.255"),
        "{bridge}"
    );

    let again = core.adopt(&Adopt { bridge: docker0() }).unwrap_err();
    assert_eq!(again.code, ErrorCode::AlreadyExists, "{again}");
    core.release(&docker0()).unwrap();
    docker.is_as_before();
    assert!(docker.talk());
    assert_eq!(
        core.release(&docker0()).unwrap_err().code,
        ErrorCode::NotFound
    );
}

#[test]
fn a_container_that_leaves_is_given_back_alone() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    let endpoints = docker.adopt(&mut core);
    core.endpoint_leave(&endpoints[0]).unwrap();
    let back = run("ip", "-o link show master docker0");
    assert!(back.contains("veth2") && !back.contains("veth3"), "{back}");
    core.release(&docker0()).unwrap();
    docker.is_as_before();
}

#[test]
fn a_clean_stop_gives_everything_back_and_the_next_daemon_takes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    let endpoints = docker.adopt(&mut core);
    assert!(docker.talk());
    core.stop();
    drop(core);
    docker.is_as_before();
    assert!(docker.talk());

    let mut core = start(dir.path());
    assert!(docker.talk());
    assert!(
        endpoints
            .iter()
            .all(|endpoint| frames_of(&core, endpoint) > 0)
    );
    core.release(&docker0()).unwrap();
    docker.is_as_before();
}

#[test]
fn what_a_killed_daemon_took_is_taken_up_or_given_back_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    docker.adopt(&mut core);
    drop(core);
    let mut core = start(dir.path());
    assert!(docker.talk());
    core.tick();
    drop(core);

    let cleaned = crate::leftovers::release(&docker0()).unwrap();
    assert!(cleaned.iter().all(|c| c.failed.is_none()), "{cleaned:?}");
    assert!(docker.talk());
    let cleaned = crate::leftovers::clean().unwrap();
    assert!(cleaned.iter().all(|c| c.failed.is_none()), "{cleaned:?}");
    docker.is_as_before();
}

#[test]
fn a_port_that_is_put_back_on_its_bridge_is_taken_off_again() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    docker.adopt(&mut core);
    core.tick();
    run("ip", "link set veth2 master docker0");
    core.tick();
    assert_eq!(run("ip", "-o link show master docker0"), "");
    assert!(docker.talk());
    core.release(&docker0()).unwrap();
    docker.is_as_before();
}

#[test]
fn while_its_bridge_is_missing_its_subnet_is_left_free() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    core.adopt(&Adopt { bridge: docker0() }).unwrap();
    let routes = || run("ip", "route show 172.17.0.0/16");
    assert!(routes().starts_with("172.17.0.0/16 dev cw"), "{}", routes());
    core.tick();
    run("ip", "link del docker0");
    core.tick();
    assert_eq!(routes(), "");
    run(
        "ip",
        "link add docker0 address 02:42:ac:11:00:01 type bridge",
    );
    run("ip", "address add 172.17.0.1/16 brd + dev docker0");
    core.tick();
    assert!(routes().starts_with("172.17.0.0/16 dev cw"), "{}", routes());
    core.release(&docker0()).unwrap();
    await_end("the route to go", || !routes().contains("dev cw"));
    drop(docker);
}

#[test]
fn a_port_that_another_program_has_is_published_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    let endpoints = docker.adopt(&mut core);
    let proxy = TcpListener::bind("0.0.0.0:8080").unwrap();
    let mut ports: PublicationCreate = "8080:ep-1:80".parse().unwrap();
    ports.endpoint = endpoints[0].clone().into();
    let refused = core.publish_ports(&ports).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists, "{refused}");
    ports.listener = Listener::Another;
    let published = core.publish_ports(&ports).unwrap();
    assert_eq!(published.spec, ports);
    drop(proxy);
    // A program that another test starts may have it for a moment longer.
    let is_free = || TcpListener::bind("0.0.0.0:8080").is_ok();
    wait_until("a port that is not ours", PATIENCE, is_free).unwrap();
    core.release(&docker0()).unwrap();
    docker.is_as_before();
}

#[test]
fn what_cannot_be_adopted_or_released_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::new();
    let mut core = start(dir.path());
    let mut refused = |bridge: &str| {
        let bridge = bridge.parse().unwrap();
        core.adopt(&Adopt { bridge }).unwrap_err()
    };
    assert_eq!(refused("docker7").code, ErrorCode::NotFound);
    assert!(refused("veth2").message.contains("veth2 is no bridge"));
    run("ip", "route add 172.17.8.0/24 dev veth2");
    let route = refused("docker0");
    assert!(route.message.contains("172.17.8.0/24"), "{route}");
    run("ip", "route del 172.17.8.0/24 dev veth2");

    docker.adopt(&mut core);
    let other = Namespace::new().unwrap();
    let own = Attach::new(docker0(), Netns::Path(other.path()));
    let own = core.attach(&own).unwrap();
    let in_use = core.release(&docker0()).unwrap_err();
    assert_eq!(in_use.code, ErrorCode::InUse, "{in_use}");
    core.detach(&Detach::Endpoint(own.id)).unwrap();
    core.release(&docker0()).unwrap();
    docker.is_as_before();
}
