//! Docker's engine with its own bridge driver, and with Clearway as its plugin.
//!
//! Here `dockerd` itself runs, once for each, on a machine of its own with a NIC to the world:
//! with its own driver as it comes (iptables, docker-proxy), with Clearway without a firewall and
//! without a bridge. What the engine does around the network (files, namespaces, runc) is the same
//! for both, and part of what a `docker run` takes.

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::docker::{Bridge, Container, Engine, Firewall, Machine, Resident, Settings, plugin};
use testbed::{Namespace, wait_until};

use super::contender::{Contender, Pair, Start, version_line};
use super::outside;
use crate::packages::{Need, need};

/// Who makes the network of the containers.
#[derive(Debug, Clone)]
pub(super) enum Driver {
    /// Docker's own `bridge`.
    Bridge,
    /// This binary.
    Clearway(PathBuf),
}

/// One engine with one network.
#[derive(Debug)]
pub(super) struct Docker {
    name: &'static str,
    driver: Driver,
    site: Option<Site>,
}

/// An engine, what its networks are made by, and the world.
#[derive(Debug)]
struct Site {
    engine: Engine,
    plugin: Option<Resident>,
    world: Namespace,
}

impl Docker {
    pub(super) const fn new(name: &'static str, driver: Driver) -> Self {
        Self {
            name,
            driver,
            site: None,
        }
    }
}

impl Contender for Docker {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> &'static [Need] {
        const NEEDS: &[Need] = &[
            need("ip", "iproute2"),
            need("iptables", "iptables"),
            need("dockerd", "docker.io"),
            need("docker", "docker.io"),
            need("busybox", "busybox"),
        ];
        NEEDS
    }

    fn version(&self) -> Result<String> {
        let engine = version_line("dockerd", &["--version"])?;
        Ok(match &self.driver {
            Driver::Bridge => format!("{engine}, its bridge driver"),
            Driver::Clearway(_) => format!("{engine}, Clearway's driver"),
        })
    }

    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>> {
        let site = &*self.site.insert(Site::start(&self.driver)?);
        (0..pairs)
            .map(|_| {
                let (server, client) = (site.container()?, site.container()?);
                let IpAddr::V4(address) = server.ip(&site.engine, NETWORK)? else {
                    bail!("a container has no IPv4 address");
                };
                let inside = |container: &Container| container.namespace(&site.engine);
                Ok(Pair::beside(inside(&server)?, inside(&client)?, address))
            })
            .collect()
    }

    fn start(&mut self, what: Start) -> Result<Vec<Duration>> {
        let site = self.site.as_ref().context("Docker is not set up")?;
        match what {
            Start::ToFirstPacket => (0..STARTS).map(|_| site.first_packet()).collect(),
            Start::WithPorts => Ok(vec![site.start_with_ports()?]),
        }
    }
}

/// Memory that the daemon occupies with [`MANY`] running containers, in MiB.
///
/// # Errors
/// When one cannot be started.
pub(super) fn memory(program: &Path) -> Result<f64> {
    let site = Site::start(&Driver::Clearway(program.to_owned()))?;
    std::thread::scope(|scope| {
        let start = || (0..MANY / AT_ONCE).try_for_each(|_| site.container().map(drop));
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
        let joined = threads
            .into_iter()
            .map(|t| t.join().expect("no start panics"));
        joined.collect::<Result<Vec<()>>>()
    })?;
    let plugin = site.plugin.as_ref().expect("this driver is a plugin");
    Ok(f64::from(plugin.resident_kib()?) / 1024.0)
}

impl Site {
    fn start(driver: &Driver) -> Result<Self> {
        let host = Namespace::new()?;
        let world = outside::world(&host)?;
        let machine = Machine::new(&host, IpAddr::V4(outside::WORLD))?;
        let (plugin, settings, name) = match driver {
            Driver::Bridge => {
                let settings = Settings {
                    firewall: Firewall::Rules,
                    bridge: Bridge::Docker0,
                    ..Settings::default()
                };
                (None, settings, "bridge")
            }
            Driver::Clearway(program) => {
                let plugin = served(program, &machine)?;
                (Some(plugin), Settings::default(), "clearway")
            }
        };
        let engine = Engine::start(&machine, settings)?;
        engine.docker(&format!("network create --driver {name} {NETWORK}"))?;
        Ok(Self {
            engine,
            plugin,
            world,
        })
    }

    fn container(&self) -> Result<Container> {
        self.engine.run(&format!("--network {NETWORK}"))
    }

    /// From `docker run` until the world sees the container's first packet. One that was lost
    /// shows: the kernel sends the next a second later.
    fn first_packet(&self) -> Result<Duration> {
        let listener = self
            .world
            .run(|| TcpListener::bind((outside::WORLD, 0)))
            .context("the world does not listen")?;
        let port = listener.local_addr().context("a listener has a port")?;
        let knock = format!(
            "nc -w 20 {} {} </dev/null; exec sleep 600",
            outside::WORLD,
            port.port()
        );
        let seen = std::thread::spawn(move || listener.accept().map(|_| Instant::now()));
        let asked = Instant::now();
        let options = format!("--network {NETWORK}");
        let container = self.engine.run_script(&options, &knock)?;
        wait_until("the first packet", PATIENCE, || seen.is_finished())?;
        let seen = seen.join().expect("accepting does not panic");
        let took = seen.context("the world stopped listening")? - asked;
        container.remove(&self.engine)?;
        Ok(took)
    }

    /// Returns what `docker start` takes with [`PORTS`] published ports.
    fn start_with_ports(&self) -> Result<Duration> {
        let ports = format!("{FIRST_PORT}-{}", FIRST_PORT + PORTS - 1);
        let id = self.engine.docker(&format!(
            "create --network {NETWORK} --publish {ports}:{ports} --stop-signal KILL {}",
            Engine::IMAGE
        ))?;
        let asked = Instant::now();
        self.engine.docker(&format!("start {id}"))?;
        let took = asked.elapsed();
        self.engine.docker(&format!("rm --force {id}"))?;
        Ok(took)
    }
}

/// Starts the daemon that serves Docker's plugin socket on `machine`, and waits until it does.
fn served(program: &Path, machine: &Arc<Machine>) -> Result<Resident> {
    let daemon = plugin::spawn(program, machine)?;
    let is_served = || plugin::is_served(machine);
    wait_until("the plugin's socket", PATIENCE, is_served)
        .with_context(|| std::fs::read_to_string(plugin::log(machine)).unwrap_or_default())?;
    Ok(daemon)
}

const NETWORK: &str = "n1";
const PATIENCE: Duration = Duration::from_secs(60);
/// Containers whose first packet is awaited, a turn.
const STARTS: usize = 5;
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 206;
/// Containers beside which memory is read, and how many are started at a time.
const MANY: usize = 100;
const AT_ONCE: usize = 10;
