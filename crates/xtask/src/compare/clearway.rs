//! Clearway as a switch: one network, and containers on it.
//!
//! What it takes to attach is measured twice: a whole run of `clearway attach`, which includes
//! starting a program, and one exchange on the daemon's socket, which is what a container runtime
//! pays.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use testbed::{Child, Namespace};

use super::contender::{Contender, Pair, address, version_line};
use super::daemon::Daemon;
use crate::packages::Need;

/// What there is beside the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nothing.
    None,
    /// So many containers that do nothing.
    Idle(usize),
    /// Somebody who traces every frame, and stops reading what is shown.
    Watcher,
}

/// One daemon, with its pairs and some company.
#[derive(Debug)]
pub(super) struct Clearway {
    name: &'static str,
    program: PathBuf,
    directory: PathBuf,
    company: Company,
    /// It watches the daemon, and ends before it.
    watcher: Option<Child>,
    daemon: Option<Daemon>,
    /// Kept for as long as the daemon runs.
    sleepers: Vec<Namespace>,
}

impl Clearway {
    /// A daemon that keeps its files in `directory`, which is made.
    pub(super) fn new(
        name: &'static str,
        program: &Path,
        directory: PathBuf,
        company: Company,
    ) -> Self {
        Self {
            name,
            program: program.to_path_buf(),
            directory,
            company,
            watcher: None,
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
        let daemon = &*self.daemon.insert(Daemon::start(
            &self.program,
            &self.directory,
            Namespace::new()?,
        )?);
        if let Company::Idle(count) = self.company {
            for index in 0..count {
                let sleeper = Namespace::new()?;
                daemon.attach(&sleeper, address(NETWORK, 2 * pairs + index))?;
                self.sleepers.push(sleeper);
            }
        }
        if self.company == Company::Watcher {
            self.watcher = Some(daemon.watch()?);
        }
        (0..pairs)
            .map(|pair| {
                let (server, client) = (Namespace::new()?, Namespace::new()?);
                daemon.attach_by_command(&server, address(NETWORK, 2 * pair))?;
                daemon.attach_by_command(&client, address(NETWORK, 2 * pair + 1))?;
                Ok(Pair::beside(server, client, address(NETWORK, 2 * pair)))
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
    let daemon = Daemon::start(program, directory, Namespace::new()?)?;
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

const NETWORK: [u8; 2] = [10, 80];

/// Runs `work` and answers how many milliseconds it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64() * 1e3))
}
