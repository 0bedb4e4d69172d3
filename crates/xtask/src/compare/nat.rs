//! Clearway as a NAT: one container, an uplink to the world and the ports of the loads published;
//! with nothing beside that, with a million connections in its table, or with ten thousand ports
//! and a range of as many published.
//!
//! That the million is there is not assumed: the table is asked by `clearway nat ls` before a turn,
//! when each of them must outlive the turn by its own timeout, and after it. A connection that was
//! lost in between would not have come back by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use testbed::Namespace;

use super::contender::{Contender, Pair, address, version_line};
use super::daemon::{Daemon, files};
use super::load::PORTS;
use super::{flows, outside};
use crate::packages::{Need, need};

/// What the NAT has to carry beside the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing.
    Nothing,
    /// A million connections of the same container.
    Connections,
    /// Ten thousand ports published one by one, and a range of as many.
    Publications,
}

/// One daemon with an uplink.
#[derive(Debug)]
pub(super) struct Nat {
    name: &'static str,
    program: PathBuf,
    directory: PathBuf,
    beside: Beside,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    daemon: Daemon,
    container: Namespace,
}

impl Nat {
    /// A daemon that keeps its files in `directory`, which is made.
    pub(super) fn new(
        name: &'static str,
        program: &Path,
        directory: PathBuf,
        beside: Beside,
    ) -> Self {
        Self {
            name,
            program: program.to_path_buf(),
            directory,
            beside,
            running: None,
        }
    }
}

impl Contender for Nat {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> &'static [Need] {
        const NEEDS: &[Need] = &[need("ip", "iproute2")];
        NEEDS
    }

    fn version(&self) -> Result<String> {
        let program = self
            .program
            .to_str()
            .context("the path of the binary is not UTF-8")?;
        version_line(program, &["--version"])
    }

    fn setup(&mut self, _pairs: usize) -> Result<Vec<Pair>> {
        let (host, container) = (Namespace::new()?, Namespace::new()?);
        let world = outside::world(&host)?;
        let daemon = Daemon::start(&self.program, &self.directory, host)?;
        daemon.command(&["uplink", "add", outside::NIC])?;
        let ip = address(NETWORK, 0);
        daemon.attach_by_command(&container, ip)?;
        publish(&daemon, PORTS)?;
        match self.beside {
            Beside::Nothing => {}
            Beside::Connections => {
                // More than one address may hold otherwise.
                let quota = (2 * flows::ALL).to_string();
                daemon.command(&["network", "set", "n1", "--quota", &quota])?;
                fill(&daemon, &container)?;
            }
            Beside::Publications => publish_many(&daemon)?,
        }
        let ways = outside::ways(&world, &container, ip);
        self.running = Some(Running { daemon, container });
        Ok(ways)
    }

    fn refresh(&mut self) -> Result<()> {
        match &self.running {
            Some(running) if self.beside == Beside::Connections => {
                fill(&running.daemon, &running.container)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn confirm(&mut self) -> Result<()> {
        let (Some(running), Beside::Connections) = (&self.running, self.beside) else {
            return Ok(());
        };
        let there = count(&running.daemon, Duration::ZERO)?;
        println!("{}: {there} connections after its turn", self.name);
        ensure!(
            there >= flows::ALL,
            "of {} connections {there} are left after the turn",
            flows::ALL
        );
        Ok(())
    }
}

/// Publishes ports of the container, each on its own, under their own numbers.
fn publish(daemon: &Daemon, ports: &[u16]) -> Result<()> {
    let spec = |port: &u16| format!("{port}:{CONTAINER}:{port}");
    let words = ["publish", "add"].into_iter().map(str::to_owned);
    let words: Vec<String> = words.chain(ports.iter().map(spec)).collect();
    daemon.command(&words).map(drop)
}

/// Ten thousand ports one by one, and a range of as many if the system lets a daemon listen at so
/// many.
fn publish_many(daemon: &Daemon) -> Result<()> {
    let singles: Vec<u16> = (20_000..30_000).collect();
    for some in singles.chunks(1000) {
        publish(daemon, some)?;
    }
    let room = files().saturating_sub(singles.len() + OTHER_FILES);
    let last = 30_000 + room.min(singles.len()) - 1;
    if last < 39_999 {
        println!("the range ends at port {last}: more files may not be open here");
    }
    let range = format!("30000-{last}:{CONTAINER}:30000");
    daemon.command(&["publish", "add", &range]).map(drop)
}

/// Makes a million connections, or keeps them alive, until all of them outlive a turn.
fn fill(daemon: &Daemon, container: &Namespace) -> Result<()> {
    let mut there = 0;
    for attempt in 1..=ATTEMPTS {
        flows::send(container, attempt)?;
        there = count(daemon, TURN)?;
        println!("{there} connections in the table, sent {attempt} times");
        if there >= flows::ALL {
            return Ok(());
        }
    }
    bail!(
        "of {} connections {there} are in the table, sent {ATTEMPTS} times",
        flows::ALL
    );
}

/// The connections of [`flows`] that last that much longer.
fn count(daemon: &Daemon, longer: Duration) -> Result<usize> {
    let of_port = |port: u16| -> Result<usize> {
        let port = port.to_string();
        let words = ["nat", "ls", "--protocol", "udp", "--port", &port];
        let listed = daemon.command(&[&words[..], &["--output", "json"]].concat())?;
        let listed: Vec<Listed> =
            serde_json::from_str(&listed).context("`clearway nat ls` printed no list")?;
        Ok(listed.iter().filter(|one| one.lasts(longer)).count())
    };
    flows::destination_ports().map(of_port).sum()
}

/// What matters of a connection here.
#[derive(Deserialize)]
struct Listed {
    expires_seconds: u64,
}

impl Listed {
    const fn lasts(&self, longer: Duration) -> bool {
        self.expires_seconds >= longer.as_secs()
    }
}

/// More than a turn takes.
const TURN: Duration = Duration::from_secs(180);
const NETWORK: [u8; 2] = [10, 80];
/// The first endpoint's id.
const CONTAINER: &str = "ep-1";
const ATTEMPTS: u32 = 6;
/// Files that the daemon has open beside published ports.
const OTHER_FILES: usize = 256;
