//! The daemon under test and all it needs, made to be taken away.
//!
//! It is this very binary, started in a namespace of its own (so that what it does to "the host"
//! happens to nobody) with a socket and a state directory of its own (so that it meets no other
//! daemon). It has a process group of its own: Ctrl-C is the lab's to answer.

use anyhow::{Context, Result, bail};
use api::Client;
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use testbed::{Child, Namespace, wait_until};

/// A running daemon. Dropping it kills the daemon and removes its files.
#[derive(Debug)]
pub(crate) struct Running {
    daemon: Child,
    host: Namespace,
    directory: TempDir,
}

impl Running {
    /// Starts the daemon; it is not said that it answers yet.
    fn spawn() -> Result<Self> {
        let host = Namespace::new().context(
            "the lab may make no network namespaces here (root in a container without \
             CAP_SYS_ADMIN is not enough)",
        )?;
        let directory = tempfile::Builder::new()
            .prefix("clearway-lab-")
            .tempdir()
            .context("cannot make a directory for the daemon's files")?;
        let log =
            File::create(directory.path().join(LOG)).context("cannot make the daemon's log")?;
        let binary = std::env::current_exe().context("cannot find the lab's own binary")?;
        let mut command = host.command(&binary.to_string_lossy());
        command
            .arg("daemon")
            .arg("--socket")
            .arg(directory.path().join(SOCKET))
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot open the daemon's log")?)
            .stderr(log)
            .process_group(0);
        Ok(Self {
            daemon: Child::spawn(&mut command)?,
            host,
            directory,
        })
    }

    /// Returns where the daemon listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    /// Ends the daemon as a service manager would, and answers what was wrong with its end.
    ///
    /// # Errors
    /// When it does not end, fails, or leaves its socket.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.daemon.signal(Signal::SIGTERM)?;
        let status = self.daemon.wait_within(PATIENCE)?;
        if !status.success() {
            bail!(
                "the daemon ended with {status}: {}",
                last_words(self.directory.path())
            );
        }
        if self.socket().exists() {
            bail!("the daemon left its socket");
        }
        self.directory
            .close()
            .context("cannot remove the daemon's files")
    }
}

/// Where the running daemon is kept: whoever takes it out ends it, the lab when it is done or the
/// signals' thread in its stead.
///
/// The latter keeps the lock until the process is gone: a lab that finds its daemon dead asks here
/// before it blames anybody, and if the daemon died of a signal to the lab, it never comes back
/// from asking.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Running>>>);

impl Slot {
    /// Starts the daemon, keeps it, and waits until it answers; answers its namespace too.
    ///
    /// # Errors
    /// When it cannot be started, or ends, or does not answer; with what it said last.
    pub(crate) fn start(&self) -> Result<(Client, Namespace)> {
        let (client, host) = {
            // Under the lock, so that no signal falls between making files and keeping them.
            let mut slot = self.lock();
            let running = Running::spawn()?;
            let client = Client::new(running.socket());
            let host = running.host.clone();
            *slot = Some(running);
            (client, host)
        };
        let mut dead = false;
        let answer = wait_until("an answer of the daemon", PATIENCE, || {
            dead = !self.is_running();
            dead || client.status().is_ok()
        });
        if dead || answer.is_err() {
            let words = self
                .take()
                .map(|running| last_words(running.directory.path()));
            bail!(
                "the daemon does not run; the last it said: {}",
                words.unwrap_or_default()
            );
        }
        Ok((client, host))
    }

    /// Takes it out, if it is there still.
    pub(crate) fn take(&self) -> Option<Running> {
        self.lock().take()
    }

    /// Does not come back when the lab is being ended by a signal.
    pub(crate) fn still_ours(&self) {
        drop(self.lock());
    }

    /// Ends the daemon, removes its files and ends the process.
    pub(crate) fn end(&self, code: i32) -> ! {
        let mut slot = self.lock();
        drop(slot.take());
        std::process::exit(code)
    }

    fn is_running(&self) -> bool {
        let mut slot = self.lock();
        slot.as_mut()
            .is_some_and(|running| running.daemon.is_running())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last lines of the daemon's log, in one.
fn last_words(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = log
        .lines()
        .rev()
        .filter(|line| !line.is_empty())
        .take(3)
        .collect();
    if lines.is_empty() {
        return "nothing".into();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

const SOCKET: &str = "clearway.sock";
const LOG: &str = "daemon.log";
const PATIENCE: Duration = Duration::from_secs(10);
