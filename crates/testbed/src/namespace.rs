//! Network namespaces without a name.
//!
//! A namespace is made by unsharing on a fresh thread, which ends at once; from then on only the
//! file descriptor holds it. There is nothing under `/run/netns` and no mount that could be left
//! behind: when the descriptor is closed, by drop or by the process's end however violent, the
//! kernel takes the namespace down with everything in it.
//!
//! A socket, a TAP and a packet port belong to the namespace of the thread that *opened* them and
//! keep belonging to it, so a closure given to [`Namespace::run`] may hand them out. (For the same
//! reason a descriptor held open keeps its namespace alive.)
//!
//! [`Namespace`] is shared freely between threads: entering is per thread, and threads that enter
//! are made for it, so no caller's thread ever changes its namespace behind its back.

use crate::sys;
use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

/// An anonymous network namespace, gone when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The network namespace first, then, if asked for, the mount namespace.
    spaces: Arc<[(OwnedFd, CloneFlags)]>,
}

impl Namespace {
    /// A new namespace with its loopback interface up.
    ///
    /// # Errors
    /// When the kernel refuses: it takes CAP_SYS_ADMIN.
    pub fn new() -> Result<Self> {
        Self::make(|| Ok(vec![make_network()?]))
    }

    /// The same with a mount namespace in which `/sys` shows this namespace's interfaces, which
    /// some programs (Open vSwitch) need.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn with_mounts() -> Result<Self> {
        Self::make(|| Ok(vec![make_network()?, make_mounts()?]))
    }

    /// A network namespace that others made, by its descriptor: it lives as long as theirs and this.
    #[must_use]
    pub fn adopt(network: OwnedFd) -> Self {
        Self {
            spaces: Arc::new([(network, CloneFlags::CLONE_NEWNET)]),
        }
    }

    fn make(make: impl FnOnce() -> Result<Vec<(OwnedFd, CloneFlags)>> + Send) -> Result<Self> {
        let spaces = on_fresh_thread(make).context("cannot make a network namespace")?;
        Ok(Self {
            spaces: spaces.into(),
        })
    }

    /// The network namespace's descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.spaces[0].0.as_fd()
    }

    /// A path that names the namespace while this process holds it: for `nsenter --net=PATH`,
    /// `ip … netns PATH` and the like.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.fd().as_raw_fd()
        ))
    }

    /// Puts the calling thread into the namespace, for good: for threads made for it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        if self.spaces.len() > 1 {
            // A mount namespace can only be entered with a root and working directory of one's own.
            unshare(CloneFlags::CLONE_FS).context("cannot unshare the working directory")?;
        }
        for (space, kind) in self.spaces.iter() {
            setns(space, *kind).context("cannot enter the namespace")?;
        }
        Ok(())
    }

    /// Runs `f` inside, on a thread of its own, and answers what it answers.
    ///
    /// # Panics
    /// When `f` does, with the same payload.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        on_fresh_thread(|| {
            self.enter()
                .expect("a namespace that was made can be entered");
            f()
        })
    }

    /// Runs `f` inside, on a thread of its own that keeps the namespace alive.
    pub fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = self.clone();
        std::thread::spawn(move || {
            namespace
                .enter()
                .expect("a namespace that was made can be entered");
            f()
        })
    }

    /// A command that will run `program` inside. It is killed when the *thread* that spawned it
    /// ends: spawn it on a thread that outlives it, not within [`Namespace::run`].
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        sys::enter_before_exec(&mut command, Arc::clone(&self.spaces));
        command
    }

    /// Runs `program` inside to its end and answers what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails; the error holds what it printed on standard error.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let line = || format!("`{program} {}`", args.join(" "));
        let output = self
            .command(program)
            .args(args)
            .output()
            .with_context(|| format!("cannot start {}", line()))?;
        if !output.status.success() {
            bail!(
                "{} failed ({}): {}",
                line(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` (iproute2) inside with these words: `ns.ip("link set eth0 up")`.
    ///
    /// # Errors
    /// As [`Namespace::output`].
    pub fn ip(&self, words: &str) -> Result<String> {
        self.output("ip", &words.split_whitespace().collect::<Vec<_>>())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// A thread that changes its namespaces and then ends is the only way not to change anybody's.
fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(payload) => std::panic::resume_unwind(payload),
    })
}

fn make_network() -> Result<(OwnedFd, CloneFlags)> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET) takes CAP_SYS_ADMIN")?;
    sys::loopback_up().context("cannot set lo up")?;
    Ok((open("/proc/thread-self/ns/net")?, CloneFlags::CLONE_NEWNET))
}

fn make_mounts() -> Result<(OwnedFd, CloneFlags)> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make mounts private")?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE)
        .context("cannot mount /sys")?;
    Ok((open("/proc/thread-self/ns/mnt")?, CloneFlags::CLONE_NEWNS))
}

fn open(path: &str) -> Result<OwnedFd> {
    Ok(File::open(path)
        .with_context(|| format!("cannot open {path}"))?
        .into())
}

#[cfg(test)]
mod kernel_tests {
    use super::*;

    fn inode() -> PathBuf {
        std::fs::read_link("/proc/thread-self/ns/net").unwrap()
    }

    #[test]
    fn closures_threads_and_programs_run_inside_and_the_caller_stays_outside() {
        let outside = inode();
        let namespace = Namespace::new().unwrap();
        let inside = namespace.run(inode);
        assert_ne!(inside, outside);
        assert_eq!(namespace.spawn(inode).join().unwrap(), inside);
        let seen = namespace
            .output("readlink", &["/proc/self/ns/net"])
            .unwrap();
        assert_eq!(seen.trim(), inside.to_str().unwrap());
        assert_eq!(inode(), outside);
    }

    #[test]
    fn loopback_is_up_and_alone() {
        let namespace = Namespace::new().unwrap();
        let links = namespace.ip("-o link").unwrap();
        assert_eq!(links.lines().count(), 1, "{links}");
        assert!(links.contains("LOOPBACK,UP"), "{links}");
    }

    #[test]
    fn its_path_names_it_for_other_programs() {
        let (a, b) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        let path = a.path();
        let seen = b
            .output(
                "nsenter",
                &[
                    &format!("--net={}", path.display()),
                    "readlink",
                    "/proc/self/ns/net",
                ],
            )
            .unwrap();
        assert_eq!(seen.trim(), a.run(inode).to_str().unwrap());
    }

    #[test]
    fn sys_shows_the_interfaces_of_a_namespace_with_mounts() {
        let namespace = Namespace::with_mounts().unwrap();
        namespace
            .ip("link add onlyhere type veth peer name andhere")
            .unwrap();
        let list = || {
            std::fs::read_dir("/sys/class/net")
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect::<Vec<_>>()
        };
        assert!(namespace.run(list).iter().any(|name| name == "onlyhere"));
        assert!(
            namespace
                .output("ls", &["/sys/class/net"])
                .unwrap()
                .contains("andhere")
        );
        assert!(!list().iter().any(|name| name == "onlyhere"));
    }

    #[test]
    fn a_failing_program_says_what_it_was() {
        let error = Namespace::new()
            .unwrap()
            .ip("link show nothere")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ip link show nothere") && error.contains("does not exist"),
            "{error}"
        );
    }

    #[test]
    fn a_panic_inside_is_a_panic_outside() {
        let namespace = Namespace::new().unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            namespace.run(|| panic!("inside"))
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "inside");
    }
}
