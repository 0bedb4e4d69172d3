//! A program that does not outlive its guard.

use crate::wait_until;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A running program, killed by its process id and reaped on drop.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    name: String,
}

impl Child {
    /// Starts `command`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let process = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { process, name })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kibibytes of memory that it occupies.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_kib(&self) -> Result<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.with_context(|| format!("{} has ended", self.name))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.map(|line| line.trim().trim_end_matches(" kB"));
        kib.and_then(|kib| kib.parse().ok())
            .with_context(|| format!("the kernel does not say what {} occupies", self.name))
    }

    /// The process itself: its pipes.
    pub fn process(&mut self) -> &mut std::process::Child {
        &mut self.process
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the process ended before.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.id()).expect("a process id fits i32"));
        kill(id, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Self { process, name } = self;
        wait_until(&format!("the end of {name}"), limit, || {
            !matches!(process.try_wait(), Ok(None))
        })?;
        process
            .wait()
            .with_context(|| format!("cannot reap {name}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // `kill` does nothing once the process was reaped; an error has nobody to go to.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::Namespace;
    use std::path::Path;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sleeper() -> Child {
        Child::spawn(Namespace::new().unwrap().command("sleep").arg("1000")).unwrap()
    }

    #[test]
    fn it_ends_with_its_guard() {
        let mut child = sleeper();
        assert!(child.is_running());
        let process = format!("/proc/{}", child.id());
        drop(child);
        assert!(!Path::new(&process).exists(), "killed, and reaped too");
    }

    #[test]
    fn it_ends_with_the_thread_that_spawned_it() {
        let mut child = std::thread::spawn(sleeper).join().unwrap();
        child.wait_within(LIMIT).unwrap();
    }

    #[test]
    fn its_end_can_be_asked_for_and_awaited() {
        let mut child = sleeper();
        let error = child.wait_within(Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("sleep"), "{error}");
        child.signal(Signal::SIGTERM).unwrap();
        assert!(!child.wait_within(LIMIT).unwrap().success());
        assert!(!child.is_running());
    }
}
