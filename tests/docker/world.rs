//! A machine with Docker and the plugin, and the world behind its NIC.
//!
//! ```text
//!   containers ── clearway ── machine eth0 ── wire ── eth0 outside
//!                              198.51.100.2           198.51.100.1
//!                              2001:db8:ffff::2       2001:db8:ffff::1
//! ```
//! A `dockerd` and its containers keep a processor busy, so worlds are taken in turns.

use crate::clearway::Clearway;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use testbed::docker::{Container, Engine, Machine, Settings, hindrance};
use testbed::{Namespace, cannot_run, link, wait_until};

/// So many worlds at a time: what they wait for most is the kernel.
const AT_ONCE: usize = 2;
/// How long anything that must happen may take on a busy computer.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How long an endpoint may stay that Docker knows nothing of: it is a suspect for half a minute.
pub(crate) const COLLECTED: Duration = Duration::from_secs(100);

pub(crate) const HOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2)),
];
pub(crate) const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)),
];
pub(crate) const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// All of it. Dropping it ends all of it.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) clearway: Clearway,
    pub(crate) machine: Arc<Machine>,
    pub(crate) outside: Namespace,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// `None` where there is no Docker, after having said so.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(Settings::default())
    }

    pub(crate) fn start_with(settings: Settings) -> Option<Self> {
        static TURNS: [Mutex<()>; AT_ONCE] = [const { Mutex::new(()) }; AT_ONCE];
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if let Some(why) = hindrance() {
            cannot_run(&why);
            return None;
        }
        // A test that failed has ended its world like any other.
        let turn = &TURNS[NEXT.fetch_add(1, Ordering::Relaxed) % AT_ONCE];
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (host, outside) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        wire(&host, &outside);
        let machine = Machine::new(&host, OUTSIDE[0]).unwrap();
        let clearway = Clearway::start(&machine);
        let engine = Engine::start(&machine, settings).unwrap();
        Some(Self {
            engine,
            clearway,
            machine,
            outside,
            _turn: turn,
        })
    }

    /// Waits until `container` runs, whoever starts it.
    #[track_caller]
    pub(crate) fn comes_up(&self, container: &Container) {
        wait_until("a container that runs again", SOON, || {
            let state = container.inspect(&self.engine, "{{.State.Running}}");
            state.is_ok_and(|running| running == "true")
        })
        .unwrap();
    }

    /// The network namespace of the machine.
    pub(crate) fn host(&self) -> &Namespace {
        self.machine.network()
    }

    /// Returns what `docker` prints for these words, which it must not refuse.
    #[track_caller]
    pub(crate) fn docker(&self, words: &str) -> String {
        match self.engine.docker(words) {
            Ok(told) => told,
            Err(error) => panic!("{error}"),
        }
    }

    /// Removes a network whose containers are gone. Docker 20.10 calls a container removed before it
    /// has counted its endpoint out of the network, so the first refusal may be too early.
    #[track_caller]
    pub(crate) fn remove_network(&self, name: &str) {
        let remove = || self.engine.docker(&format!("network rm {name}"));
        let mut refused = None;
        let removed = wait_until("Docker to let the network go", SOON, || {
            refused = remove().err();
            refused.is_none()
        });
        if let Err(error) = removed {
            panic!("{error}: {refused:?}");
        }
    }

    /// A network of ours, with these options.
    #[track_caller]
    pub(crate) fn network(&self, name: &str, options: &str) {
        self.docker(&format!(
            "network create --driver clearway {options} {name}"
        ));
    }

    /// A network with a subnet of each IP version: 10.`n`.0.0/24 and 2001:db8:`n`::/64.
    #[track_caller]
    pub(crate) fn dual(&self, name: &str, n: u8) {
        let nets = format!("--subnet 10.{n}.0.0/24 --subnet 2001:db8:{n}::/64");
        self.network(name, &format!("--ipv6 {nets}"));
    }

    /// A container with these options that does nothing.
    #[track_caller]
    pub(crate) fn run(&self, options: &str) -> Container {
        match self.engine.run(options) {
            Ok(container) => container,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns what `docker run` says when it refuses these options: its own words alone, for the options
    /// name what a test looks for.
    #[track_caller]
    pub(crate) fn run_refused(&self, options: &str) -> String {
        let words = format!("run --detach {options} {}", Engine::IMAGE);
        match self.engine.refusal(&words) {
            Ok(said) => said,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns what a shell script prints in `container`.
    #[track_caller]
    pub(crate) fn sh(&self, container: &Container, script: &str) -> String {
        match container.sh(&self.engine, script) {
            Ok(told) => told,
            Err(error) => panic!("{error}"),
        }
    }

    /// The container's network namespace: for servers and clients of the tests'.
    pub(crate) fn ns(&self, container: &Container) -> Namespace {
        container.namespace(&self.engine).unwrap()
    }

    /// Waits until a ping from `container` to a name or an address is answered.
    #[track_caller]
    pub(crate) fn reaches(&self, container: &Container, to: &str) {
        let ping = format!("ping -c 1 -W 1 {to}");
        let reached = wait_until(&format!("an answer from {to}"), SOON, || {
            container.sh(&self.engine, &ping).is_ok()
        });
        if let Err(error) = reached {
            let why = container.sh(&self.engine, &ping).unwrap_err();
            panic!("{error}: {why}");
        }
    }

    /// Fails if a ping from `container` is answered, or the name is known.
    #[track_caller]
    pub(crate) fn does_not_reach(&self, container: &Container, to: &str) {
        let answered = container.sh(&self.engine, &format!("ping -c 1 -W 1 {to}"));
        assert!(answered.is_err(), "{to} answers: {answered:?}");
    }

    /// The names of the machine's interfaces.
    pub(crate) fn links(&self) -> Vec<String> {
        let links = self.host().ip("-o link show").unwrap();
        let name = |line: &str| line.split([':', '@']).nth(1).unwrap().trim().to_owned();
        links.lines().map(name).collect()
    }

    /// Fails if Docker has made a bridge of its own, which it does for networks without a gateway.
    pub(crate) fn has_no_bridge(&self) {
        let links = self.links();
        assert!(!links.iter().any(|l| l.starts_with("docker")), "{links:?}");
        let networks = self.docker("network ls --format {{.Name}}");
        assert!(!networks.contains("gwbridge"), "{networks}");
    }

    /// Waits until the daemon knows of this many endpoints.
    #[track_caller]
    pub(crate) fn has_endpoints(&self, count: usize) {
        self.has_endpoints_within(SOON, count);
    }

    /// The same, for as long as that may take.
    #[track_caller]
    pub(crate) fn has_endpoints_within(&self, patience: Duration, count: usize) {
        let endpoints = || self.clearway.client().endpoints().unwrap();
        let counted = wait_until(&format!("{count} endpoints"), patience, || {
            endpoints().len() == count
        });
        if let Err(error) = counted {
            panic!("{error}: {:?}", endpoints());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell("clearway", &self.clearway.log());
            tell("dockerd", &self.engine.log());
        }
    }
}

const CHATTER: &str = "level=info";

#[expect(clippy::print_stderr, reason = "a test that failed has to say why")]
fn tell(whose: &str, log: &str) {
    // dockerd and its containerd say a lot when nothing is wrong.
    let lines: Vec<_> = log.lines().filter(|l| !l.contains(CHATTER)).collect();
    let end = lines[lines.len().saturating_sub(40)..].join("\n");
    eprintln!("the end of {whose}'s log:\n{end}");
}

/// Connects the machine to the world.
fn wire(host: &Namespace, outside: &Namespace) {
    link::veth(host, "eth0", outside, "eth0").unwrap();
    for (ns, n) in [(outside, 1), (host, 2)] {
        link::address(ns, "eth0", &format!("198.51.100.{n}/24")).unwrap();
        link::address(ns, "eth0", &format!("2001:db8:ffff::{n}/64")).unwrap();
        wait_until("addresses that may be used", SOON, || {
            !ns.ip("-6 address").unwrap().contains("tentative")
        })
        .unwrap();
    }
    host.ip("route add default via 198.51.100.1").unwrap();
    host.ip("-6 route add default via 2001:db8:ffff::1")
        .unwrap();
}

pub(crate) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
