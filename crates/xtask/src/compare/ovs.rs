//! Open vSwitch with its userspace (`netdev`) datapath, as its packages come.
//!
//! Its own database and daemons run in the host namespace, from a directory on the comparison's
//! private tmpfs, and need no kernel module. The datapath takes frames from a veth through
//! AF_PACKET and can neither complete a checksum nor cut a superframe there, so the containers
//! have transmit offloads off, as its documentation asks. Its experimental
//! `userspace-tso-enable` stays at its default, off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Child, Namespace, wait_until};

use super::contender::{Contender, Pair, version_line, veth_pairs};
use crate::packages::{Need, need};

/// One instance of Open vSwitch.
#[derive(Debug)]
pub(super) struct Ovs {
    directory: PathBuf,
    /// Declared in the order of their ends: the switch before its database before the namespace.
    switch: Option<Child>,
    database: Option<Child>,
    host: Option<Namespace>,
}

impl Ovs {
    /// An instance that keeps its files in `directory`, which is made.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            switch: None,
            database: None,
            host: None,
        }
    }
}

impl Contender for Ovs {
    fn name(&self) -> &'static str {
        "ovs"
    }

    fn needs(&self) -> &'static [Need] {
        const NEEDS: &[Need] = &[
            need("ip", "iproute2"),
            need("ethtool", "ethtool"),
            need("ovs-vswitchd", "openvswitch-switch"),
            need("ovsdb-server", "openvswitch-switch"),
        ];
        NEEDS
    }

    fn version(&self) -> Result<String> {
        Ok(format!(
            "{}, datapath_type=netdev",
            version_line("ovs-vswitchd", &["--version"])?
        ))
    }

    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        // Its daemons look into /sys/class/net.
        let host = &*self.host.insert(Namespace::with_mounts()?);
        let (database, socket) = (
            self.directory.join("conf.db"),
            self.directory.join("db.sock"),
        );
        run(
            host,
            &self.directory,
            "ovsdb-tool",
            &["create", text(&database)?, SCHEMA],
        )?;
        self.database = Some(start(
            host,
            &self.directory,
            "ovsdb-server",
            &[
                text(&database)?,
                &format!("--remote=punix:{}", text(&socket)?),
                QUIET,
            ],
        )?);
        wait_until("the socket of ovsdb-server", PATIENCE, || socket.exists())?;
        let remote = format!("unix:{}", text(&socket)?);
        let vsctl = |words: &str| {
            let mut arguments = vec![format!("--db={remote}"), "--timeout=10".to_owned()];
            arguments.extend(words.split_whitespace().map(str::to_owned));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(host, &self.directory, "ovs-vsctl", &arguments)
        };
        vsctl("--no-wait init")?;
        self.switch = Some(start(
            host,
            &self.directory,
            "ovs-vswitchd",
            &[&remote, QUIET],
        )?);
        vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")?;
        veth_pairs(host, [10, 82], pairs, |veth, container| {
            container.output("ethtool", &["-K", "eth0", "tx", "off"])?;
            vsctl(&format!("add-port br0 {veth}"))
        })
    }
}

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const QUIET: &str = "-vconsole:off";
const PATIENCE: Duration = Duration::from_secs(10);

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of ours is not UTF-8")
}

fn command(
    host: &Namespace,
    directory: &Path,
    program: &str,
    arguments: &[&str],
) -> std::process::Command {
    let mut command = host.command(program);
    command
        .args(arguments)
        .env("OVS_RUNDIR", directory)
        .env("OVS_LOGDIR", directory)
        .env("OVS_DBDIR", directory);
    command
}

fn start(host: &Namespace, directory: &Path, program: &str, arguments: &[&str]) -> Result<Child> {
    Child::spawn(&mut command(host, directory, program, arguments))
}

fn run(host: &Namespace, directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = command(host, directory, program, arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {} ended with {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
