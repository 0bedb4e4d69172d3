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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use testbed::{Child, Namespace, wait_until};

/// A running daemon. Dropping it kills the daemon and removes its files.
#[derive(Debug)]
pub(crate) struct Running {
    daemon: Child,
    _host: Namespace,
    directory: TempDir,
}

impl Running {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or ends, or does not answer; with what it said last.
    pub(crate) fn start() -> Result<Self> {
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
        let mut running = Self {
            daemon: Child::spawn(&mut command)?,
            _host: host,
            directory,
        };
        running.answers()?;
        Ok(running)
    }

    /// Where the daemon listens.
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

    fn answers(&mut self) -> Result<()> {
        let client = Client::new(self.socket());
        let daemon = &mut self.daemon;
        let waited = wait_until("an answer of the daemon", PATIENCE, || {
            client.status().is_ok() || !daemon.is_running()
        });
        if waited.is_err() || !self.daemon.is_running() {
            let words = last_words(self.directory.path());
            bail!("the daemon does not run; the last it said: {words}");
        }
        Ok(())
    }
}

/// Where the running daemon is kept: whoever takes it out, the lab at its end or the signals'
/// thread, ends it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Running>>>);

impl Slot {
    /// Keeps `running`.
    pub(crate) fn put(&self, running: Running) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// Takes it out, if it is there still.
    pub(crate) fn take(&self) -> Option<Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
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
