//! Ports that die and return, many ports, crashes, restarts and clean ends.

use crate::fixture::{Clearway, SOON};
use api::{Detach, PortSet, PortState};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testbed::{Namespace, link, wait_until};

#[test]
fn a_veth_that_is_removed_dies_alone_and_returns() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    let guest = Namespace::new().unwrap();
    let plug = || {
        link::veth(&clearway.host, "v0", &guest, "eth0").unwrap();
        // The same address each time: its neighbours remember it.
        guest.ip("link set eth0 address 02:00:00:00:99:01").unwrap();
        link::address(&guest, "eth0", "10.10.99.1/16").unwrap();
    };
    plug();
    let port = clearway.packet_port("veth", "v0", |p| p.network = Some(net.clone()));
    a.reaches("10.10.99.1".parse().unwrap());

    clearway.host.ip("link del v0").unwrap();
    wait_until("the port's death", SOON, || {
        clearway.port_state(&port) != PortState::Up
    })
    .unwrap();
    assert!(a.ping(b.ip(0), 5).is_complete(), "the others never notice");

    plug();
    clearway
        .client()
        .port_set(
            &port,
            &PortSet {
                admin: Some(api::AdminState::Up),
                ..PortSet::default()
            },
        )
        .unwrap();
    assert_eq!(clearway.port_state(&port), PortState::Up);
    a.reaches("10.10.99.1".parse().unwrap());
}

#[test]
fn a_container_that_vanishes_is_noticed_and_its_namespace_freed() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    // A veth's other end tells when the namespace is really gone.
    link::veth(&clearway.host, "witness", &b.ns, "w0").unwrap();
    drop(b.ns);
    wait_until("the endpoint's end", SOON, || {
        clearway.client().endpoints().unwrap().len() == 1
    })
    .unwrap();
    wait_until("the namespace's end", SOON, || {
        !clearway.host.ip("-o link").unwrap().contains("witness")
    })
    .unwrap();
    let c = clearway.container(&net);
    a.reaches(c.ip(0));
}

#[test]
fn an_interface_deleted_from_within_dies_alone() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b, c) = (
        clearway.container(&net),
        clearway.container(&net),
        clearway.container(&net),
    );
    a.reaches(b.ip(0));
    b.ns.ip("link del eth0").unwrap();
    let port = b.endpoint.port.clone();
    wait_until("the port's death", SOON, || {
        clearway.port_state(&port) != PortState::Up
    })
    .unwrap();
    a.reaches(c.ip(0));
    clearway
        .client()
        .detach(&Detach::Endpoint(b.endpoint.id.clone()))
        .unwrap();
}

#[test]
fn detach_takes_the_interface_away_and_the_address_is_free_again() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    clearway
        .client()
        .detach(&Detach::Endpoint(b.endpoint.id.clone()))
        .unwrap();
    assert!(!b.ns.ip("-o link").unwrap().contains("eth0"));
    let again = clearway.container_with(&net, |attach| {
        attach.addresses = b.endpoint.addresses.clone();
    });
    assert_eq!(again.endpoint.addresses, b.endpoint.addresses);
    a.reaches(again.ip(0));
}

#[test]
fn two_hundred_ports() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let containers: Vec<_> = (0..200).map(|_| clearway.container(&net)).collect();
    let (first, last) = (&containers[0], &containers[199]);
    first.reaches(last.ip(0));
    for container in containers.iter().step_by(20) {
        container.reaches(first.ip(1));
    }
    assert_eq!(clearway.client().status().unwrap().ports.up, 200);
}

/// Sends numbers to an echo and checks each that returns, until told to stop; answers how many
/// and the longest silence.
fn chat(stream: &mut TcpStream, until: impl Fn() -> bool) -> (u64, Duration) {
    let (mut count, mut longest) = (0u64, Duration::ZERO);
    while !until() {
        let start = Instant::now();
        stream.write_all(&count.to_be_bytes()).unwrap();
        let mut back = [0; 8];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(u64::from_be_bytes(back), count);
        longest = longest.max(start.elapsed());
        count += 1;
    }
    (count, longest)
}

#[test]
fn a_killed_daemon_finds_everything_again_and_connections_go_on() {
    let mut clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let (a, b) = (clearway.container(&net), clearway.container(&net));
    a.reaches(b.ip(0));
    let before = clearway.client().endpoints().unwrap();

    let listener =
        b.ns.run(|| TcpListener::bind(SocketAddr::new(b.ip(0), 0)).unwrap());
    let address = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut writer);
    });
    let mut stream = a.ns.run(|| TcpStream::connect(address).unwrap());
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();

    let restarted = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let talk = scope.spawn(|| {
            chat(&mut stream, || {
                restarted.load(std::sync::atomic::Ordering::Relaxed)
            })
        });
        clearway.daemon.signal(Signal::SIGKILL).unwrap();
        clearway.daemon.wait_within(SOON).unwrap();
        // Without a daemon the containers still have their interfaces and addresses.
        assert!(
            a.ns.ip("-o addr show eth0")
                .unwrap()
                .contains(&a.ip(0).to_string())
        );
        clearway.restart();
        a.reaches(b.ip(1));
        restarted.store(true, std::sync::atomic::Ordering::Relaxed);
        let (count, _) = talk.join().unwrap();
        assert!(count > 0);
    });
    drop(stream);
    echo.join().unwrap();
    assert_eq!(clearway.client().endpoints().unwrap(), before);
    assert_eq!(
        clearway.client().status().unwrap().warnings,
        Vec::<String>::new()
    );
}

#[test]
fn a_clean_end_is_clean() {
    let mut clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let a = clearway.container(&net);
    clearway.stop();
    assert!(!clearway.socket().exists(), "the socket is removed");
    // A restart is not a loss: the interface waits for the next daemon.
    assert!(a.ns.ip("-o link").unwrap().contains("eth0"));
    clearway.restart();
    let b = clearway.container(&net);
    a.reaches(b.ip(0));
}

#[test]
fn an_idle_daemon_sleeps() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let containers: Vec<_> = (0..20).map(|_| clearway.container(&net)).collect();
    containers[0].reaches(containers[1].ip(0));
    // New interfaces still talk for a while (router solicitations, multicast reports).
    let pid = clearway.daemon.id();
    let (mut before, mut seconds) = (Activity::of(pid), Vec::new());
    let quiet = wait_until("a quiet second", PATIENCE, || {
        let now = Activity::of(pid);
        if before.at.elapsed() < SECOND {
            return false;
        }
        let threads = now.since(&before);
        before = now;
        let woken: u64 = threads.iter().map(|thread| thread.woken).sum();
        let idle = !threads.iter().any(ThreadActivity::is_worker);
        let ran: Duration = threads.iter().map(|thread| thread.ran).sum();
        seconds.push(threads);
        // One look at the namespaces, and nothing that is due. What a wake-up is charged with is up
        // to the machine (2 ms in some virtual ones), spinning is not.
        idle && woken <= 6 && ran < SECOND / 5
    });
    quiet.unwrap_or_else(|error| panic!("{error}: {seconds:#?}"));
}

/// What a process has done so far.
struct Activity {
    at: Instant,
    threads: BTreeMap<PathBuf, ThreadActivity>,
}

/// The activity of one thread.
#[derive(Debug, Clone, Default)]
struct ThreadActivity {
    name: String,
    /// How often it has slept.
    woken: u64,
    /// How long it has run.
    ran: Duration,
}

impl ThreadActivity {
    fn is_worker(&self) -> bool {
        let number = self.name.strip_prefix("clearway-w");
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    }
}

impl Activity {
    /// As proc_pid_status(5) and sched-stats.rst tell of each thread.
    fn of(pid: u32) -> Self {
        let at = Instant::now();
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let path = task.unwrap().path();
            let read = |name| std::fs::read_to_string(path.join(name));
            // One that has ended meanwhile sleeps no more.
            if let (Ok(status), Ok(times)) = (read("status"), read("schedstat")) {
                let word = |key| status.lines().find_map(|line| line.strip_prefix(key));
                let slept = word("voluntary_ctxt_switches:").unwrap();
                let activity = ThreadActivity {
                    name: word("Name:").unwrap().trim().to_owned(),
                    woken: slept.trim().parse().unwrap(),
                    ran: Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap()),
                };
                threads.insert(path, activity);
            }
        }
        Self { at, threads }
    }

    /// Returns the activity since `before` of each thread that slept meanwhile.
    fn since(&self, before: &Self) -> Vec<ThreadActivity> {
        let nothing = ThreadActivity::default();
        let each = self.threads.iter().map(|(path, now)| {
            let then = before.threads.get(path).unwrap_or(&nothing);
            ThreadActivity {
                name: now.name.clone(),
                woken: now.woken - then.woken,
                ran: now.ran.saturating_sub(then.ran),
            }
        });
        each.filter(|thread| thread.woken > 0).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn endpoints_are_listed_by_the_command_line() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let a = clearway.container(&net);
    let out = clearway.cli("endpoint ls -o json");
    assert!(out.status.success());
    let listed: Vec<api::Endpoint> = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(listed, [a.endpoint]);
    assert!(
        !clearway.cli("network rm blue").status.success(),
        "a network in use stays"
    );
}
