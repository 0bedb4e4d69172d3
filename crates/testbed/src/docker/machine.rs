//! A machine within the machine: what a container engine may spoil, it spoils here.
//!
//! An engine leaves more behind than its process: shims and containers that outlive it by design,
//! bind mounts of their namespaces, sockets and keys under `/run` and `/etc`, empty control
//! groups. So it gets namespaces of its own of three kinds, and whoever runs beside it (the daemon
//! that serves its plugin socket) is started in the same ones:
//!
//! * processes: the end of the first, `init`, is the end of all, whoever started them, and the
//!   kernel sees to it. `init` gets its SIGKILL from [`Machine`]'s drop, or from the kernel when
//!   the thread behind this machine is gone: with the test process, however violent its end;
//! * mounts: `/run`, `/opt` and [`Machine::lib`] are empty tmpfs, `/etc` is a copy;
//! * the network: the test's own [`Namespace`].
//!
//! ```text
//!   test ── Machine ── keeper thread ──┬── init (pid 1: reaps orphans)
//!                                      ├── dockerd ── containerd ── shims ── containers
//!                                      └── the daemon under test
//! ```
//! The keeper is a thread that moved into these namespaces for good; what it spawns is born there.
//! Every [`Machine`] is shared freely between threads: their work is queued for the keeper.
//!
//! A trap: `init` does not end before the last process of its namespace was *reaped*, and those
//! that the keeper spawned are reaped here. So a [`Resident`] holds its machine until it was.

use crate::{Child, Namespace};
use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Namespaces of processes, mounts and the network, and who keeps them.
#[derive(Debug)]
pub struct Machine {
    /// `None` once it was ended.
    init: Option<Child>,
    /// `None` once it was ended.
    keeper: Option<(Sender<Job>, JoinHandle<()>)>,
    network: Namespace,
    dir: TempDir,
    cgroup: String,
}

type Job = Box<dyn FnOnce() + Send>;

impl Machine {
    /// A machine whose network is `network` and whose programs ask `nameserver` for names.
    ///
    /// # Errors
    /// When the kernel refuses: it takes CAP_SYS_ADMIN.
    pub fn new(network: &Namespace, nameserver: IpAddr) -> Result<Arc<Self>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().context("cannot make a directory for the machine")?;
        let (jobs, queue) = channel();
        let (place, ns) = (dir.path().to_owned(), network.clone());
        let (told, init) = channel();
        let keeper = std::thread::spawn(move || {
            let made = furnish(&ns, &place, nameserver).and_then(|()| start_init());
            let is_made = made.is_ok();
            // Nobody waits when the maker panicked; then the queue is closed as well.
            let _ = told.send(made);
            if is_made {
                keep(&queue);
            }
        });
        let init = init.recv().context("the keeper's thread ended")??;
        Ok(Arc::new(Self {
            init: Some(init),
            keeper: Some((jobs, keeper)),
            network: network.clone(),
            dir,
            cgroup: format!("clearway-testbed-{}-{count}", std::process::id()),
        }))
    }

    /// Its network, for traffic.
    #[must_use]
    pub fn network(&self) -> &Namespace {
        &self.network
    }

    /// A directory that it shares with the outside: for sockets, settings and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A directory of its own, gone with it: what `/var/lib` is to others.
    #[must_use]
    pub fn lib(&self) -> PathBuf {
        self.dir.path().join(LIB)
    }

    /// The control group for its containers, from the root of each hierarchy. Made by who uses it.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// Runs `f` on the keeper's thread, which sees the machine's files. A trap: that thread is not
    /// itself one of the machine's processes, so `/proc/self` is not there.
    ///
    /// # Panics
    /// When `f` does.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, answer) = channel();
        let job = Box::new(move || {
            let _ = told.send(f());
        });
        let (jobs, _) = self.keeper.as_ref().expect("it lives as long as this");
        jobs.send(job).expect("the keeper ends with this alone");
        answer.recv().expect("what was run on the keeper panicked")
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(self: &Arc<Self>, mut command: Command) -> Result<Resident> {
        let child = self.run(move || Child::spawn(&mut command))?;
        Ok(Resident {
            child,
            machine: Arc::clone(self),
        })
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, mut command: Command) -> Result<Output> {
        let name = command.get_program().to_string_lossy().into_owned();
        self.run(move || command.output())
            .with_context(|| format!("cannot start {name}"))
    }

    /// The network namespace that the file `path` is, as the machine sees files.
    ///
    /// # Errors
    /// When there is none.
    pub fn namespace_at(&self, path: &Path) -> Result<Namespace> {
        let at = path.to_owned();
        let file = self
            .run(move || fs::File::open(at))
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Namespace::adopt(file.into()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Kills and reaps it, and with it all that runs here.
        drop(self.init.take());
        if let Some((jobs, keeper)) = self.keeper.take() {
            drop(jobs);
            // A job's panic has been told to who gave the job.
            let _ = keeper.join();
        }
        remove_cgroups(&self.cgroup);
    }
}

/// A program of a [`Machine`], killed and reaped on drop.
#[derive(Debug)]
pub struct Resident {
    // In this order: the machine cannot end before its programs were reaped.
    child: Child,
    machine: Arc<Machine>,
}

impl Resident {
    /// Returns where it runs.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }
}

impl Deref for Resident {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Resident {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Below [`Machine::dir`], seen by the machine alone.
const LIB: &str = "lib";
const NONE: Option<&str> = None;

/// Moves the calling thread into the network and into mounts of its own, and changes these.
fn furnish(network: &Namespace, dir: &Path, nameserver: IpAddr) -> Result<()> {
    network.enter()?;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make mounts private")?;
    let lib = dir.join(LIB);
    fs::create_dir(&lib).context("cannot make a directory")?;
    // containerd makes itself a directory in /opt.
    for at in [lib.as_path(), Path::new("/run"), Path::new("/opt")] {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), NONE)
            .with_context(|| format!("cannot mount a tmpfs at {}", at.display()))?;
    }
    // As service managers have it: namespaces that dockerd mounts there appear in its plugins, too.
    mount(NONE, "/run", NONE, MsFlags::MS_SHARED, NONE)
        .context("cannot share the mounts of /run")?;
    let etc = lib.join("etc");
    let copied = Command::new("cp")
        .args(["--archive", "/etc"])
        .arg(&etc)
        .status();
    if !copied.context("cannot start cp")?.success() {
        bail!("cannot copy /etc");
    }
    // It is a link into /run where systemd-resolved is.
    let resolv = etc.join("resolv.conf");
    match fs::remove_file(&resolv) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).context("cannot remove the copied resolv.conf");
        }
        Ok(()) | Err(_) => {}
    }
    fs::write(&resolv, format!("nameserver {nameserver}\n")).context("cannot write resolv.conf")?;
    mount(Some(&etc), "/etc", NONE, MsFlags::MS_BIND, NONE).context("cannot put the copy at /etc")
}

/// Starts the first process of a new process namespace, and returns when it shows its `/proc`. The
/// calling thread's later children are born there as well.
fn start_init() -> Result<Child> {
    unshare(CloneFlags::CLONE_NEWPID).context("unshare(CLONE_NEWPID)")?;
    let mut init = Command::new("setpriv");
    init.args(["--pdeathsig", "KILL", "sh", "-c", INIT])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut init = Child::spawn(&mut init)?;
    let pipe = init.process().stdout.take();
    let mut told = String::new();
    BufReader::new(pipe.expect("it was asked to be a pipe"))
        .read_line(&mut told)
        .context("cannot hear init")?;
    if told == "ready\n" {
        Ok(init)
    } else {
        Err(anyhow!("init ended; its own words are above"))
    }
}

/// A shell that waits reaps every child, those it inherits included; one that slept would leave
/// them zombies, which engines take for running processes.
const INIT: &str = "mount -t proc proc /proc && echo ready && exec >/dev/null || exit 1; \
    while sleep 86400 & do wait; done";

fn keep(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        // Who gave it sees that no answer comes; the others' machine goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

/// Removes a control group that has no process left, from every hierarchy (cgroup v1) or the only
/// one (v2). What cannot be removed is an empty directory.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    remove_tree(&root.join(name));
    for hierarchy in directories(root) {
        remove_tree(&hierarchy.join(name));
    }
}

fn remove_tree(cgroup: &Path) {
    for child in directories(cgroup) {
        remove_tree(&child);
    }
    let _ = fs::remove_dir(cgroup);
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::wait_until;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(10);

    fn machine() -> Arc<Machine> {
        let nameserver = "198.51.100.1".parse().unwrap();
        Machine::new(&Namespace::new().unwrap(), nameserver).unwrap()
    }

    fn sh(machine: &Machine, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let output = machine.output(command).unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn what_it_writes_to_run_etc_and_opt_stays_inside() {
        let machine = machine();
        for at in ["/run", "/etc", "/opt"] {
            sh(&machine, &format!("echo inside > {at}/clearway-testbed"));
            let outside = Path::new(at).join("clearway-testbed");
            assert!(!outside.exists(), "{} is outside", outside.display());
            let seen = machine.run(move || fs::read_to_string(outside).unwrap());
            assert_eq!(seen, "inside\n");
        }
        assert_eq!(sh(&machine, "ls -A /opt"), "clearway-testbed");
        let names = sh(&machine, "cat /etc/resolv.conf");
        assert_eq!(names, "nameserver 198.51.100.1");
    }

    #[test]
    fn it_has_processes_and_a_network_of_its_own() {
        let machine = machine();
        assert_eq!(sh(&machine, "cat /proc/1/comm"), "sh");
        let inside = sh(&machine, "readlink /proc/self/ns/net");
        let of = machine.network().output("readlink", &["/proc/self/ns/net"]);
        assert_eq!(inside, of.unwrap().trim());
        let seen = machine.namespace_at(Path::new("/proc/1/ns/net")).unwrap();
        let of = seen.output("readlink", &["/proc/self/ns/net"]);
        assert_eq!(inside, of.unwrap().trim());
    }

    /// A process that has left the one that was started: its number outside, told by its words.
    fn outside_of(mark: &str) -> Option<PathBuf> {
        let numbers = directories(Path::new("/proc"));
        numbers.into_iter().find(|process| {
            fs::read(process.join("cmdline")).is_ok_and(|line| {
                let words = String::from_utf8_lossy(&line).replace('\0', " ");
                words.trim() == format!("sleep {mark}")
            })
        })
    }

    #[test]
    fn all_that_runs_in_it_ends_with_it_and_orphans_are_reaped() {
        let machine = machine();
        let seconds = format!("86{}", std::process::id());
        sh(&machine, &format!("setsid sleep {seconds} >&- 2>&- &"));
        wait_until("the orphan", LIMIT, || outside_of(&seconds).is_some()).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let resident = machine.spawn(command).unwrap();
        // An orphan that ends is nobody's zombie.
        sh(&machine, "(sleep 0.01 >&- 2>&- &)");
        wait_until("no zombie", LIMIT, || {
            !sh(&machine, "cat /proc/[0-9]*/stat").contains(") Z ")
        })
        .unwrap();
        drop(machine);
        assert!(outside_of(&seconds).is_some(), "a resident keeps it");
        drop(resident);
        assert_eq!(outside_of(&seconds), None);
    }

    #[test]
    fn a_panic_on_the_keeper_leaves_the_machine() {
        let machine = machine();
        let asked = std::panic::AssertUnwindSafe(|| machine.run(|| panic!("inside")));
        std::panic::catch_unwind(asked).unwrap_err();
        assert_eq!(sh(&machine, "echo on"), "on");
    }
}
