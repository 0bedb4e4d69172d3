//! The tiers of tests: what each asks of the machine, and which tests it holds.
//!
//! | tier | asks for | holds |
//! |---|---|---|
//! | pure | nothing | `tests/sim`, and what the crates test by themselves |
//! | kernel | root, a few programs | `tests/netns`, and each crate's modules named `kernel_tests`; with each datapath |
//! | docker | root, Docker | `tests/docker`; with each datapath |
//!
//! A kernel test stands in `tests/netns`; one that needs what its crate keeps private stands in that
//! crate, in a module named `kernel_tests`. The name is all that tells it from a pure one, so it is
//! not trusted: root runs the pure tier without any capability.

use std::fmt;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::packages::{Need, need};
use crate::{cargo, target_directory};

/// A tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Tier {
    /// Needs no root, installs nothing
    Pure,
    /// Needs root: namespaces, TAPs, the kernel's own stack
    Kernel,
    /// Needs root and Docker's engine
    Docker,
}

/// The programs that the kernel's tests call.
const KERNEL: &[Need] = &[
    need("ip", "iproute2"),
    need("bridge", "iproute2"),
    need("tc", "iproute2"),
    need("ethtool", "ethtool"),
    need("ping", "iputils-ping"),
    need("arping", "iputils-arping"),
    need("tcpdump", "tcpdump"),
    need("traceroute", "traceroute"),
    need("tracepath", "iputils-tracepath"),
    need("iperf3", "iperf3"),
    need("curl", "curl"),
    need("nmap", "nmap"),
    need("ss", "iproute2"),
    need("sysctl", "procps"),
    need("dig", "bind9-dnsutils"),
    need("udhcpc", "udhcpc"),
    need("dhclient", "isc-dhcp-client"),
    need("turnserver", "coturn"),
    need("nft", "nftables"),
    need("iptables-restore", "iptables"),
    need("setpriv", "util-linux"),
];

/// The programs that Docker's tests call beside them.
const DOCKER: &[Need] = &[
    need("dockerd", "docker.io"),
    need("docker", "docker.io"),
    need("docker-compose", "docker-compose"),
    need("busybox", "busybox"),
];

/// The path segment of kernel tests inside crates.
const MARK: &str = "kernel_tests::";

/// One `cargo test`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Which test targets.
    targets: &'static [&'static str],
    /// Which of their tests.
    tests: &'static [&'static str],
    /// Whether it runs without the capabilities that root has.
    unprivileged: bool,
    /// Whether it is built with loom's atomics, in a target directory of its own.
    loom: bool,
    /// The datapath of daemons whose configuration names none.
    datapath: Option<&'static str>,
}

/// Whoever carries containers' frames must not be noticed: every test with a daemon runs with each.
const DATAPATHS: [&str; 2] = ["kernel", "userspace"];

const EVERY_CRATE: &[&str] = &["--workspace", "--exclude=clearway-tests"];

impl Tier {
    /// All of them, the cheapest first.
    pub(super) const ALL: [Self; 3] = [Self::Pure, Self::Kernel, Self::Docker];

    /// The programs that its tests call.
    pub(super) fn needs(self) -> Vec<Need> {
        match self {
            Self::Pure => Vec::new(),
            Self::Kernel => KERNEL.to_vec(),
            Self::Docker => [KERNEL, DOCKER].concat(),
        }
    }

    /// The arguments of cargo. `--workspace` everywhere: with other packages, dependencies would have other
    /// features and be built again.
    pub(super) fn runs(self) -> Vec<Run> {
        let run = |targets, tests| Run {
            targets,
            tests,
            unprivileged: self == Self::Pure,
            loom: false,
            datapath: None,
        };
        let each = |runs: &[Run]| {
            let by = |datapath| {
                let by = move |run: &Run| Run {
                    datapath: Some(datapath),
                    ..*run
                };
                runs.iter().map(by)
            };
            DATAPATHS.into_iter().flat_map(by).collect()
        };
        match self {
            Self::Pure => vec![
                run(EVERY_CRATE, &["--skip", MARK]),
                run(&["--workspace", "--test=sim"], &[]),
                Run {
                    loom: true,
                    ..run(&["--package=clearway-switch", "--lib"], &["model"])
                },
            ],
            Self::Kernel => each(&[
                run(&["--workspace", "--lib", "--bins"], &[MARK]),
                run(&["--workspace", "--test=netns"], &[]),
            ]),
            Self::Docker => each(&[run(&["--workspace", "--test=docker"], &[])]),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pure => "pure",
            Self::Kernel => "kernel",
            Self::Docker => "docker",
        })
    }
}

impl Run {
    /// Builds its tests.
    pub(super) fn build(&self, root: &Path) -> Command {
        let mut build = self.cargo(root);
        build.arg("--no-run");
        build
    }

    /// Runs its tests to the last.
    pub(super) fn test(&self, root: &Path) -> Command {
        let mut test = self.cargo(root);
        test.args(["--no-fail-fast", "--"]).args(self.tests);
        if self.unprivileged && nix::unistd::geteuid().is_root() {
            return without_capabilities(&test);
        }
        test
    }

    fn cargo(&self, root: &Path) -> Command {
        let mut cargo = cargo(root, &["test", "--locked"]);
        cargo.args(self.targets);
        if let Some(datapath) = self.datapath {
            cargo.env("CLEARWAY_DATAPATH", datapath);
        }
        if self.loom {
            cargo.env("RUSTFLAGS", "--cfg loom");
            cargo
                .arg("--target-dir")
                .arg(target_directory(root).join("loom"));
        }
        cargo
    }
}

/// The same command for the same user, who may do no more than any other user.
fn without_capabilities(command: &Command) -> Command {
    let mut without = Command::new("setpriv");
    without
        .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        without.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        value.map(|value| without.env(name, value));
    }
    without
}
