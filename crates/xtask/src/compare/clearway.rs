//! Clearway as a user has it: the release binary as daemon, its own command line to attach.
//!
//! What it takes to attach is measured twice: a whole run of `clearway attach`, which includes
//! starting a program, and one exchange on the daemon's socket, which is what a container runtime
//! pays. The exchange is written out here in plain HTTP so that no library of ours is in the way.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Child, Namespace, wait_until};

use super::contender::{Contender, Pair, address, version_line};
use crate::packages::Need;

/// One daemon, with a number of containers that do nothing beside the pairs.
#[derive(Debug)]
pub(super) struct Clearway {
    name: &'static str,
    program: PathBuf,
    directory: PathBuf,
    idle: usize,
    daemon: Option<Daemon>,
    /// Kept for as long as the daemon runs.
    sleepers: Vec<Namespace>,
}

impl Clearway {
    /// A daemon that keeps its files in `directory`, which is made.
    pub(super) fn new(name: &'static str, program: &Path, directory: PathBuf, idle: usize) -> Self {
        Self {
            name,
            program: program.to_path_buf(),
            directory,
            idle,
            daemon: None,
            sleepers: Vec::new(),
        }
    }
}

impl Contender for Clearway {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> &'static [Need] {
        &[]
    }

    fn version(&self) -> Result<String> {
        let program = self
            .program
            .to_str()
            .context("the path of the binary is not UTF-8")?;
        version_line(program, &["--version"])
    }

    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>> {
        let daemon = &*self
            .daemon
            .insert(Daemon::start(&self.program, &self.directory)?);
        for index in 0..self.idle {
            let sleeper = Namespace::new()?;
            daemon.attach(&sleeper, address(NETWORK, 2 * pairs + index))?;
            self.sleepers.push(sleeper);
        }
        (0..pairs)
            .map(|pair| {
                let (server, client) = (Namespace::new()?, Namespace::new()?);
                daemon.attach_by_command(&server, address(NETWORK, 2 * pair))?;
                daemon.attach_by_command(&client, address(NETWORK, 2 * pair + 1))?;
                Ok(Pair {
                    server,
                    client,
                    address: address(NETWORK, 2 * pair),
                })
            })
            .collect()
    }
}

/// How long it takes to attach a container, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttachTimes {
    /// The first one, by the command line.
    pub(super) first_command: f64,
    /// The first one, by an exchange on the socket.
    pub(super) first_exchange: f64,
    /// The last one, by the command line.
    pub(super) last_command: f64,
    /// The last one, by an exchange on the socket.
    pub(super) last_exchange: f64,
}

/// Attaches `count` containers to a fresh daemon and times the first and the last, each by both
/// ways one after the other.
///
/// # Errors
/// When the daemon refuses.
pub(super) fn attach_times(program: &Path, directory: &Path, count: usize) -> Result<AttachTimes> {
    let daemon = Daemon::start(program, directory)?;
    let namespaces = (0..count)
        .map(|_| Namespace::new())
        .collect::<Result<Vec<_>>>()?;
    let both_ways = |index: usize| -> Result<(f64, f64)> {
        let (namespace, address) = (&namespaces[index], address(NETWORK, index));
        let (endpoint, command) = timed(|| {
            daemon.attach_by_command(namespace, address)?;
            Ok(namespace)
        })?;
        daemon.detach(endpoint)?;
        let ((), exchange) = timed(|| daemon.attach(namespace, address))?;
        Ok((command, exchange))
    };
    let (first_command, first_exchange) = both_ways(0)?;
    for (index, namespace) in namespaces.iter().enumerate().take(count - 1).skip(1) {
        daemon.attach(namespace, address(NETWORK, index))?;
    }
    let (last_command, last_exchange) = both_ways(count - 1)?;
    Ok(AttachTimes {
        first_command,
        first_exchange,
        last_command,
        last_exchange,
    })
}

/// A running daemon with one network.
#[derive(Debug)]
struct Daemon {
    program: PathBuf,
    socket: PathBuf,
    _process: Child,
    _host: Namespace,
}

impl Daemon {
    fn start(program: &Path, directory: &Path) -> Result<Self> {
        let state = directory.join("state");
        std::fs::create_dir_all(&state)
            .with_context(|| format!("cannot make {}", state.display()))?;
        let log =
            std::fs::File::create(directory.join("log")).context("cannot make the daemon's log")?;
        let (socket, host) = (directory.join("socket"), Namespace::new()?);
        let program_text = program
            .to_str()
            .context("the path of the binary is not UTF-8")?;
        let mut command = host.command(program_text);
        command
            .arg("daemon")
            .arg("--socket")
            .arg(&socket)
            .arg("--state-dir")
            .arg(&state);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = Child::spawn(&mut command)?;
        let daemon = Self {
            program: program.to_path_buf(),
            socket,
            _process: process,
            _host: host,
        };
        wait_until("the daemon's socket", PATIENCE, || {
            UnixStream::connect(&daemon.socket).is_ok()
        })
        .with_context(|| log_tail(directory))?;
        daemon.command(&["network", "create", "n1", "--subnet", "10.80.0.0/16"])?;
        Ok(daemon)
    }

    fn attach_by_command(&self, container: &Namespace, address: Ipv4Addr) -> Result<()> {
        let path = container.path();
        let path = path
            .to_str()
            .context("the path of a namespace is not UTF-8")?;
        self.command(&[
            "attach",
            "--netns",
            path,
            "--network",
            "n1",
            "--ip",
            &format!("{address}/16"),
        ])
    }

    fn attach(&self, container: &Namespace, address: Ipv4Addr) -> Result<()> {
        let wish = json!({
            "network": "n1",
            "netns": { "path": container.path() },
            "addresses": [format!("{address}/16")],
        });
        self.post("/v1/endpoints", &wish)
    }

    fn detach(&self, container: &Namespace) -> Result<()> {
        let interface = json!({ "netns": { "path": container.path() }, "ifname": "eth0" });
        self.post("/v1/detach", &json!({ "interface": interface }))
    }

    fn command(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(&self.program)
            .arg("--socket")
            .arg(&self.socket)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "clearway {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn post(&self, path: &str, body: &Value) -> Result<()> {
        let body = body.to_string();
        let mut stream = UnixStream::connect(&self.socket).context("the daemon does not listen")?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: clearway\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .context("the daemon stopped reading")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("the daemon stopped writing")?;
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        ensure!(
            status.starts_with('2'),
            "POST {path} {body}: the daemon answered {answer}"
        );
        Ok(())
    }
}

const NETWORK: [u8; 2] = [10, 80];
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` and answers how many milliseconds it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64() * 1e3))
}

fn log_tail(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    format!(
        "the daemon said: {}",
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    )
}
