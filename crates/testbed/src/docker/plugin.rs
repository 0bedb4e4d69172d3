//! The daemon under test, which serves Docker's plugin socket on a [`Machine`]: the one place that
//! knows how it is told to.

use super::{Machine, Resident, socket};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Where Docker looks for a plugin of this name, on the machine.
pub const SOCKET: &str = "/run/docker/plugins/clearway.sock";

/// Starts `program`, on the sockets and the state that an earlier one had, with the machine's
/// `eth0` as its uplink.
///
/// # Errors
/// When it cannot be started.
pub fn spawn(program: &Path, machine: &Arc<Machine>) -> Result<Resident> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log(machine))
        .context("cannot open the daemon's log")?;
    let config = machine.dir().join("config.toml");
    fs::write(&config, "uplinks = [\"eth0\"]\n").context("cannot write the daemon's settings")?;
    let mut command = Command::new(program);
    command.arg("daemon").arg("--docker").stderr(log);
    for (option, value) in [
        ("--socket", api_socket(machine)),
        ("--state-dir", state(machine)),
        ("--config", config),
        ("--docker-plugin-socket", SOCKET.into()),
        ("--docker-socket", socket(machine)),
    ] {
        command.arg(option).arg(value);
    }
    machine.spawn(command)
}

/// Returns whether somebody answers Docker on `machine`.
#[must_use]
pub fn is_served(machine: &Machine) -> bool {
    machine.run(|| UnixStream::connect(SOCKET).is_ok())
}

/// Returns where the daemon answers its own command line.
#[must_use]
pub fn api_socket(machine: &Machine) -> PathBuf {
    machine.dir().join("clearway.sock")
}

/// Returns what the daemon remembers.
#[must_use]
pub fn state(machine: &Machine) -> PathBuf {
    machine.dir().join("state")
}

/// Returns what the daemon says.
#[must_use]
pub fn log(machine: &Machine) -> PathBuf {
    machine.dir().join("clearway.log")
}
