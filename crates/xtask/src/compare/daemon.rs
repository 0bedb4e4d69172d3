//! Clearway as a user has it: the release binary as daemon, asked by its own command line.
//!
//! What the command line does for a person, an exchange on the daemon's socket does for a program;
//! it is written out here in plain HTTP so that no library of ours is in the way.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{Child, Namespace, wait_until};

/// A running daemon with one network.
#[derive(Debug)]
pub(super) struct Daemon {
    program: PathBuf,
    socket: PathBuf,
    _process: Child,
    _host: Namespace,
}

impl Daemon {
    /// Starts one in `host`, with its files in `directory`, which is made.
    ///
    /// # Errors
    /// When it does not answer; with what it said last.
    pub(super) fn start(program: &Path, directory: &Path, host: Namespace) -> Result<Self> {
        let state = directory.join("state");
        std::fs::create_dir_all(&state)
            .with_context(|| format!("cannot make {}", state.display()))?;
        let log =
            std::fs::File::create(directory.join("log")).context("cannot make the daemon's log")?;
        let socket = directory.join("socket");
        let program_text = program
            .to_str()
            .context("the path of the binary is not UTF-8")?;
        let mut command = host.command("prlimit");
        command
            .args([&format!("--nofile={}", files()), program_text, "daemon"])
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

    /// Attaches by `clearway attach`.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(super) fn attach_by_command(&self, container: &Namespace, address: Ipv4Addr) -> Result<()> {
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
        .map(drop)
    }

    /// Attaches by an exchange on the socket.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(super) fn attach(&self, container: &Namespace, address: Ipv4Addr) -> Result<()> {
        let wish = json!({
            "network": "n1",
            "netns": { "path": container.path() },
            "addresses": [format!("{address}/16")],
        });
        self.post("/v1/endpoints", &wish)
    }

    /// Detaches a container.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(super) fn detach(&self, container: &Namespace) -> Result<()> {
        let interface = json!({ "netns": { "path": container.path() }, "ifname": "eth0" });
        self.post("/v1/detach", &json!({ "interface": interface }))
    }

    /// Starts a trace of every frame. What it shows is not read: once the pipe is full, it is a reader
    /// that has stopped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn watch(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(&self.socket).arg("trace");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        Child::spawn(&mut command)
    }

    /// Runs the command line and answers what it printed.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub(super) fn command<A: AsRef<str>>(&self, arguments: &[A]) -> Result<String> {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let output = Command::new(&self.program)
            .arg("--socket")
            .arg(&self.socket)
            .args(&arguments)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "clearway {} ended with {}: {}",
            shown(&arguments),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

const PATIENCE: Duration = Duration::from_secs(10);

/// The files that a process may have open at most, here: each published port is one.
pub(super) fn files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    hard.and_then(|hard| hard.parse().ok()).unwrap_or(1024)
}

/// The first few words of a long line.
fn shown(arguments: &[&str]) -> String {
    let more = if arguments.len() > 12 { " ..." } else { "" };
    format!("{}{more}", arguments[..arguments.len().min(12)].join(" "))
}

fn log_tail(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    format!(
        "the daemon said: {}",
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    )
}
