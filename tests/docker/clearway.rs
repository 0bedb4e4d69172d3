//! The daemon that serves Docker's plugin socket, on the engine's machine.

use crate::binary::binary;
use crate::world::SOON;
use api::Client;
use nix::sys::signal::Signal;
use std::process::{Command, Output};
use std::sync::Arc;
use testbed::docker::{Machine, Resident, plugin};
use testbed::wait_until;

/// Kinds of sockets that the kernel lists, each with its inode among the words of a line.
const SOCKETS: [&str; 9] = [
    "unix", "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "netlink", "packet",
];
/// The flags of a Unix socket that listens.
const ACCEPTS: &str = " 00010000 ";

/// A running daemon. Dropping it kills it.
pub(crate) struct Clearway {
    machine: Arc<Machine>,
    daemon: Resident,
}

impl Clearway {
    /// Starts it with the machine's NIC as its uplink, and waits for its answer.
    pub(crate) fn start(machine: &Arc<Machine>) -> Self {
        let it = Self {
            daemon: spawn(machine),
            machine: Arc::clone(machine),
        };
        it.await_ready();
        it
    }

    /// Ends it and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.daemon.signal(signal).unwrap();
        self.daemon.wait_within(SOON).unwrap();
    }

    /// Starts it again after its end, on the same sockets and state.
    pub(crate) fn start_again(&mut self) {
        self.daemon = spawn(&self.machine);
        self.await_ready();
    }

    fn await_ready(&self) {
        wait_until("the daemon's answer", SOON, || {
            self.client().status().is_ok()
        })
        .unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.log()));
        wait_until("the plugin's socket", SOON, || {
            plugin::is_served(&self.machine)
        })
        .unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.log()));
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(plugin::api_socket(&self.machine)).with_timeout(SOON)
    }

    /// Runs the command line against it.
    pub(crate) fn cli(&self, words: &str) -> Output {
        let mut command = Command::new(binary());
        let command = command
            .arg("--socket")
            .arg(plugin::api_socket(&self.machine));
        command.args(words.split_whitespace()).output().unwrap()
    }

    /// Returns what the command line prints; fails when it does.
    pub(crate) fn told(&self, words: &str) -> String {
        let output = self.cli(words);
        assert!(output.status.success(), "clearway {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(plugin::log(&self.machine)).unwrap_or_default()
    }

    /// Kibibytes of memory that it occupies.
    pub(crate) fn resident_kib(&self) -> u32 {
        self.daemon.resident_kib().unwrap()
    }

    /// Returns what its open descriptors are, in the kernel's words; a socket is said to be of its kind.
    /// Conversations on Unix sockets are left out: dockerd keeps some open as it likes.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let proc = format!("/proc/{}", self.daemon.id());
        let kinds = SOCKETS.map(|kind| {
            let table = std::fs::read_to_string(format!("{proc}/net/{kind}"));
            (kind, table.unwrap_or_default())
        });
        let is_talk = |line: &str| !line.contains(ACCEPTS);
        let shown = |link: String| {
            let Some(inode) = link.strip_prefix("socket:[") else {
                return Some(link);
            };
            let inode = inode.trim_end_matches(']');
            let is_it = |line: &&str| line.split_whitespace().any(|word| word == inode);
            let found = kinds
                .iter()
                .find_map(|(kind, table)| Some((*kind, table.lines().find(is_it)?)));
            match found {
                Some(("unix", line)) if is_talk(line) => None,
                Some((kind, _)) => Some(format!("{kind} socket")),
                None => Some("socket".to_owned()),
            }
        };
        let entries = std::fs::read_dir(format!("{proc}/fd")).unwrap();
        entries
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter_map(|link| shown(link.display().to_string()))
            .collect()
    }
}

pub(crate) fn spawn(machine: &Arc<Machine>) -> Resident {
    plugin::spawn(binary(), machine).unwrap()
}
