//! Docker's engine on a [`Machine`] of its own, for tests.
//!
//! The real `dockerd` and the real `docker` are the judges: nothing of theirs is imitated. What the
//! engine is given is its own (sockets, images, control group, namespaces), so several run beside
//! each other and beside the one the computer may have. Images come from no registry: the one here
//! is made of the computer's busybox.
//!
//! ```text
//!   Machine ─┬─ dockerd: /run/docker/plugins, /var/run/docker/netns
//!            └─ the daemon that serves a plugin socket there
//!   outside ─── docker, by the socket in the machine's shared directory
//! ```
//! An [`Engine`] is shared freely between threads, but for what ends or starts it.

mod container;
mod image;
mod machine;
pub mod plugin;

pub use container::Container;
pub use machine::{Machine, Resident};

use crate::wait_until;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// Whether the engine writes rules into its host's firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// As it does by default.
    Rules,
    /// `--iptables=false`.
    Untouched,
}

/// The network that containers get who ask for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bridge {
    /// `docker0`, as by default.
    Docker0,
    /// `--bridge=none`.
    None,
}

/// The fate of containers when the engine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// They stop with it, as by default.
    Stop,
    /// `--live-restore`.
    GoOn,
}

/// Who takes connections to published ports that come from the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// `docker-proxy`, which holds the ports as well, as by default.
    Runs,
    /// `--userland-proxy=false`.
    None,
}

/// How an engine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The firewall of its host.
    pub firewall: Firewall,
    /// Its own default network.
    pub bridge: Bridge,
    /// Its containers' fate.
    pub on_stop: OnStop,
    /// Its published ports on the host.
    pub proxy: Proxy,
}

impl Default for Settings {
    /// An engine that leaves the network to somebody else.
    fn default() -> Self {
        Self {
            firewall: Firewall::Untouched,
            bridge: Bridge::None,
            on_stop: OnStop::Stop,
            proxy: Proxy::Runs,
        }
    }
}

/// A running `dockerd`. Dropping it kills it; its containers end with its machine at the latest.
#[derive(Debug)]
pub struct Engine {
    dockerd: Resident,
    machine: Arc<Machine>,
    settings: Settings,
}

/// Programs without which there is no engine, as the computer calls them.
const PROGRAMS: [&str; 5] = ["dockerd", "docker", "containerd", "runc", "busybox"];
/// How long the engine may take to start or to stop on a busy computer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns why there can be no engine here; `None` when nothing is known that hinders one.
#[must_use]
pub fn hindrance() -> Option<String> {
    let is_there = |name: &&str| directories().any(|d| Path::new(&d).join(name).is_file());
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|name| !is_there(name))
        .collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("Docker's engine takes root".to_owned());
    }
    None
}

impl Engine {
    /// Starts `dockerd` on `machine`, with the image [`Engine::IMAGE`].
    ///
    /// # Errors
    /// When it does not answer; the error holds the end of its log.
    pub fn start(machine: &Arc<Machine>, settings: Settings) -> Result<Self> {
        let mut engine = Self {
            dockerd: machine.spawn(dockerd(machine, settings)?)?,
            machine: Arc::clone(machine),
            settings,
        };
        engine.await_ready()?;
        image::import(&engine)?;
        Ok(engine)
    }

    /// An image of busybox that does nothing until it is killed.
    pub const IMAGE: &'static str = "busybox:testbed";

    /// The socket on which it answers.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.machine)
    }

    /// Returns where it runs.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// `docker` with these words, and what it printed.
    ///
    /// # Errors
    /// When it fails; the error holds what it printed on standard error.
    pub fn docker(&self, words: &str) -> Result<String> {
        self.docker_words(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// The same with words that hold spaces.
    ///
    /// # Errors
    /// As [`Engine::docker`].
    pub fn docker_words(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        if !output.status.success() {
            bail!(
                "`docker {}` failed: {}",
                words.join(" "),
                text(&output.stderr)
            );
        }
        Ok(text(&output.stdout))
    }

    /// Returns what `docker` says when it refuses these words.
    ///
    /// # Errors
    /// When it does not.
    pub fn refusal(&self, words: &str) -> Result<String> {
        let output = self.output(&words.split_whitespace().collect::<Vec<_>>())?;
        if output.status.success() {
            bail!("`docker {words}` was not refused: {}", text(&output.stdout));
        }
        Ok(text(&output.stderr))
    }

    /// `docker` with these words, whatever becomes of it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        self.client()
            .args(words)
            .output()
            .context("cannot start docker")
    }

    /// A `docker` that talks to this engine and has read nobody's settings.
    #[must_use]
    pub fn client(&self) -> Command {
        self.as_client(Command::new(client_program()))
    }

    /// Compose that talks to this engine, version 1 or 2; `None` where it is not installed.
    #[must_use]
    pub fn compose(&self) -> Option<Command> {
        let program = directories()
            .map(|dir| dir.join("docker-compose"))
            .find(|file| file.is_file())?;
        Some(self.as_client(Command::new(program)))
    }

    fn as_client(&self, mut client: Command) -> Command {
        client
            .env("PATH", path())
            .env("DOCKER_CONFIG", self.machine.dir().join("client"))
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        client
    }

    /// A container that somebody else has started.
    ///
    /// # Errors
    /// When there is none of that name or number.
    pub fn container(&self, name: &str) -> Result<Container> {
        let words = ["container", "inspect", "--format", "{{.Id}}", name];
        Ok(Container::new(self.docker_words(&words)?))
    }

    /// A container with these options for `docker run`, that does nothing.
    ///
    /// # Errors
    /// The error of `docker run`.
    pub fn run(&self, options: &str) -> Result<Container> {
        self.run_script(options, "exec sleep 86400")
    }

    /// A container with these options for `docker run`, that runs a shell script.
    ///
    /// # Errors
    /// The error of `docker run`.
    pub fn run_script(&self, options: &str, script: &str) -> Result<Container> {
        // A container's first process ignores what it does not catch: it would be waited for.
        let mut words = vec!["run", "--detach", "--stop-signal=KILL"];
        words.extend(options.split_whitespace());
        words.extend([Self::IMAGE, "sh", "-c", script]);
        Ok(Container::new(self.docker_words(&words)?))
    }

    /// Stops it as a service manager does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.dockerd.signal(Signal::SIGTERM)?;
        self.dockerd.wait_within(PATIENCE)?;
        Ok(())
    }

    /// Kills it: its containers go on, and know nothing of it.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.dockerd.signal(Signal::SIGKILL)?;
        self.dockerd.wait_within(PATIENCE)?;
        // Its containerd is killed by the kernel; whoever starts another must not meet it.
        let machine = Arc::clone(&self.machine);
        wait_until("the end of containerd", PATIENCE, || {
            machine.run(|| !Path::new("/proc").join(containerd_id()).exists())
        })
    }

    /// Starts it again after its end, with the state that it had.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.spawn_again()?;
        self.await_ready()
    }

    /// The same without waiting for its answer.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_again(&mut self) -> Result<()> {
        self.dockerd = self.machine.spawn(dockerd(&self.machine, self.settings)?)?;
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it does not; the error holds the end of its log.
    pub fn await_ready(&mut self) -> Result<()> {
        let socket = self.socket();
        let dockerd = &mut self.dockerd;
        let waited = wait_until("dockerd answers", PATIENCE, || {
            pings(&socket) || !dockerd.is_running()
        });
        if waited.is_ok() && dockerd.is_running() {
            return Ok(());
        }
        bail!(
            "dockerd does not answer; the end of its log:\n{}",
            self.log_end()
        );
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(log(&self.machine)).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn dockerd(machine: &Machine, settings: Settings) -> Result<Command> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log(machine))
        .context("cannot open dockerd's log")?;
    let mut dockerd = Command::new("dockerd");
    dockerd
        .env("PATH", path())
        .arg(format!("--host=unix://{}", socket(machine).display()))
        .arg("--host=unix:///var/run/docker.sock")
        .arg(format!(
            "--data-root={}",
            machine.lib().join("docker").display()
        ))
        .args(["--exec-root=/var/run/docker", "--pidfile=/run/docker.pid"])
        .arg("--storage-driver=vfs")
        .arg("--exec-opt=native.cgroupdriver=cgroupfs")
        .arg(format!("--cgroup-parent={}", machine.cgroup()))
        .stdout(log.try_clone().context("cannot share dockerd's log")?)
        .stderr(log);
    if settings.firewall == Firewall::Untouched {
        dockerd.args(["--iptables=false", "--ip6tables=false"]);
    }
    if settings.bridge == Bridge::None {
        dockerd.arg("--bridge=none");
    }
    if settings.proxy == Proxy::None {
        dockerd.arg("--userland-proxy=false");
    }
    if settings.on_stop == OnStop::GoOn {
        dockerd.arg("--live-restore");
    }
    Ok(dockerd)
}

fn socket(machine: &Machine) -> PathBuf {
    machine.dir().join("docker.sock")
}

fn log(machine: &Machine) -> PathBuf {
    machine.dir().join("dockerd.log")
}

/// The number of the engine's containerd; a name that no process has when it never ran.
fn containerd_id() -> String {
    let id = fs::read_to_string("/var/run/docker/containerd/containerd.pid");
    id.map_or_else(|_| "none".to_owned(), |id| id.trim().to_owned())
}

/// Asks for the engine's sign of life.
fn pings(socket: &Path) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 ") && answer.ends_with("OK"))
}

/// The `docker` that came with `dockerd`, where there is one: a newer one says what an older engine
/// does not understand.
fn client_program() -> PathBuf {
    let engine = directories().find(|dir| dir.join("dockerd").is_file());
    let beside = engine.and_then(|dir| Some(dir.parent()?.join("bin/docker")));
    let here = beside.filter(|docker| docker.is_file());
    here.unwrap_or_else(|| "docker".into())
}

/// `PATH` with the administrator's directories, which a user's may lack.
fn path() -> std::ffi::OsString {
    std::env::join_paths(directories()).expect("it was split at the separators")
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = std::env::split_paths(&path).collect();
    all.into_iter()
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
