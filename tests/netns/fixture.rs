//! A daemon in a namespace of its own, and containers attached to it.

use crate::binary::binary;
use api::{Attach, Client, Endpoint, Name, Netns, NetworkCreate, PortAdd, PortKind, PortState};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use testbed::traffic::{Ping, PingReport, ping};
use testbed::{Child, Namespace, wait_until};

/// How long anything that must happen may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running daemon. Dropping it kills it.
pub(crate) struct Clearway {
    pub(crate) host: Namespace,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) daemon: Child,
}

/// A container: a namespace, and its interface on a network.
pub(crate) struct Container {
    pub(crate) ns: Namespace,
    pub(crate) endpoint: Endpoint,
}

impl Container {
    /// Its address within the `index`th of its network's subnets.
    pub(crate) fn ip(&self, index: usize) -> std::net::IpAddr {
        self.endpoint.addresses[index].addr()
    }

    pub(crate) fn ping(&self, to: std::net::IpAddr, count: u16) -> PingReport {
        ping(
            &self.ns,
            &Ping {
                count,
                ..Ping::new(to)
            },
        )
        .unwrap()
    }

    /// Pings until an answer comes: what every test of reachability begins with.
    pub(crate) fn reaches(&self, to: std::net::IpAddr) {
        wait_until(&format!("an answer from {to}"), SOON, || {
            self.ping(to, 1).is_complete()
        })
        .unwrap();
    }
}

/// Runs `clearway` where no daemon listens, and returns what it prints.
pub(crate) fn without_a_daemon(ns: &Namespace, words: &[&str]) -> String {
    let words = [&["--socket", "/nowhere"], words].concat();
    let binary = binary().to_str().expect("a path in UTF-8");
    ns.output(binary, &words).expect("it does")
}

impl Clearway {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// A daemon with this configuration.
    pub(crate) fn start_with(config: &str) -> Self {
        Self::start_in(Namespace::new().unwrap(), config)
    }

    /// The same in a namespace that was prepared for it.
    pub(crate) fn start_in(host: Namespace, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let daemon = spawn(&host, dir.path());
        let it = Self { host, dir, daemon };
        it.await_ready();
        it
    }

    /// Ends the daemon as a service manager does, and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        self.daemon.signal(Signal::SIGTERM).unwrap();
        assert!(self.daemon.wait_within(SOON).unwrap().success());
    }

    /// Starts the daemon anew on the same socket and state.
    pub(crate) fn restart(&mut self) {
        self.daemon = spawn(&self.host, self.dir.path());
        self.await_ready();
    }

    fn await_ready(&self) {
        wait_until("the daemon's answer", SOON, || {
            self.client().status().is_ok()
        })
        .unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("clearway.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket()).with_timeout(SOON)
    }

    /// Runs the command line against this daemon.
    pub(crate) fn cli(&self, words: &str) -> Output {
        let mut command = Command::new(binary());
        command
            .arg("--socket")
            .arg(self.socket())
            .args(words.split_whitespace());
        command.output().unwrap()
    }

    /// A network with a subnet of each IP version: 10.`n`.0.0/16 and 2001:db8:`n`::/64.
    pub(crate) fn network(&self, network: &str, n: u8) -> Name {
        self.network_with(network, n, |_| {})
    }

    pub(crate) fn network_with(
        &self,
        network: &str,
        n: u8,
        change: impl FnOnce(&mut NetworkCreate),
    ) -> Name {
        let mut create = NetworkCreate::new(name(network));
        create.subnets = vec![
            format!("10.{n}.0.0/16").parse().unwrap(),
            format!("2001:db8:{n}::/64").parse().unwrap(),
        ];
        change(&mut create);
        self.client().network_create(&create).unwrap().spec.name
    }

    pub(crate) fn container(&self, network: &Name) -> Container {
        self.container_with(network, |_| {})
    }

    pub(crate) fn container_with(
        &self,
        network: &Name,
        change: impl FnOnce(&mut Attach),
    ) -> Container {
        let ns = Namespace::new().unwrap();
        let mut attach = Attach::new(network.clone(), Netns::Path(ns.path()));
        change(&mut attach);
        let endpoint = self.client().attach(&attach).unwrap();
        Container { ns, endpoint }
    }

    /// A packet port on `interface` of the daemon's own namespace.
    pub(crate) fn packet_port(
        &self,
        port: &str,
        interface: &str,
        change: impl FnOnce(&mut PortAdd),
    ) -> Name {
        let kind = PortKind::Packet {
            netns: None,
            interface: interface.to_owned(),
        };
        let mut add = PortAdd::new(name(port), kind);
        change(&mut add);
        self.client().port_add(&add).unwrap().spec.name
    }

    pub(crate) fn dropped(&self, label: &str) -> u64 {
        self.client().drops().unwrap().count(label)
    }

    pub(crate) fn port_state(&self, port: &Name) -> PortState {
        self.client().port(port).unwrap().state
    }
}

fn spawn(host: &Namespace, dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    let mut command = host.command(binary().to_str().expect("a path that is text"));
    // A test whose configuration names the datapath is about that one, whichever the others run with.
    let config = std::fs::read_to_string(dir.join("config.toml")).unwrap();
    if config.contains("datapath") {
        command.env_remove("CLEARWAY_DATAPATH");
    }
    command
        .arg("daemon")
        .arg("--socket")
        .arg(dir.join("clearway.sock"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stderr(log);
    Child::spawn(&mut command).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}
