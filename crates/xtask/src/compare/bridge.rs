//! The Linux bridge, bare and as dockerd dresses it.
//!
//! dockerd itself is not run: [`DOCKER_RULES`] and [`DOCKER_SYSCTLS`] are what Docker Engine
//! 20.10.24 (Debian 12, iptables 1.8.9 on nf_tables) was seen to set up for an empty `docker0`,
//! read with `iptables-save`, `ip -d link` and `/proc/sys` inside the namespace it ran in. Its
//! bridge has the kernel's defaults otherwise, and its containers hang on plain veth pairs of MTU
//! 1500. With `bridge-nf-call-iptables` each frame between two containers walks the FORWARD chain
//! and conntrack, which is what docker0 costs beyond a bridge.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testbed::Namespace;

use super::contender::{Contender, Pair, version_line, veth_pairs};
use crate::packages::{Need, need};

/// A bridge without any netfilter.
#[derive(Debug, Default)]
pub(super) struct Bare {
    host: Option<Namespace>,
}

/// `docker0` with dockerd's chains and sysctls.
#[derive(Debug, Default)]
pub(super) struct Docker0 {
    host: Option<Namespace>,
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn needs(&self) -> &'static [Need] {
        &[IP]
    }

    fn version(&self) -> Result<String> {
        Ok(format!(
            "Linux bridge of kernel {}",
            version_line("uname", &["-r"])?
        ))
    }

    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>> {
        let host = self.host.insert(Namespace::new()?);
        testbed::link::bridge(host, "br0", &[])?;
        // A fresh namespace has br_netfilter on where the kernel has it; a bare bridge is without.
        for (name, _) in BRIDGE_CALLS {
            write_sysctl(host, name, "0").or_else(|error| {
                match host.run(|| std::fs::exists(name)) {
                    Ok(false) => Ok(()),
                    Ok(true) | Err(_) => Err(error),
                }
            })?;
        }
        veth_pairs(host, [10, 81], pairs, |veth, _| {
            host.ip(&format!("link set {veth} master br0")).map(drop)
        })
    }
}

impl Contender for Docker0 {
    fn name(&self) -> &'static str {
        "docker0"
    }

    fn needs(&self) -> &'static [Need] {
        const NEEDS: &[Need] = &[IP, need("iptables-restore", "iptables")];
        NEEDS
    }

    fn version(&self) -> Result<String> {
        let iptables = version_line("iptables", &["--version"])?;
        Ok(format!(
            "docker0 as Docker Engine 20.10.24 sets it up, {iptables}"
        ))
    }

    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>> {
        let host = self.host.insert(Namespace::new()?);
        testbed::link::bridge(host, "docker0", &[])?;
        testbed::link::address(host, "docker0", "172.17.0.1/16")?;
        for (name, value) in DOCKER_SYSCTLS.iter().chain(BRIDGE_CALLS) {
            write_sysctl(host, name, value).context("docker0 takes br_netfilter and ip_forward")?;
        }
        restore_rules(host)?;
        veth_pairs(host, [172, 17], pairs, |veth, container| {
            host.ip(&format!("link set {veth} master docker0"))?;
            container.ip("route add default via 172.17.0.1").map(drop)
        })
    }
}

const IP: Need = need("ip", "iproute2");

const BRIDGE_CALLS: &[(&str, &str)] = &[
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", "1"),
    ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1"),
    ("/proc/sys/net/bridge/bridge-nf-call-arptables", "1"),
];

const DOCKER_SYSCTLS: &[(&str, &str)] = &[("/proc/sys/net/ipv4/ip_forward", "1")];

const DOCKER_RULES: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
";

/// Sysctls of the network are those of the namespace of the thread that writes them.
fn write_sysctl(host: &Namespace, path: &str, value: &str) -> Result<()> {
    host.run(|| std::fs::write(path, value))
        .with_context(|| format!("cannot write {value} to {path}"))
}

fn restore_rules(host: &Namespace) -> Result<()> {
    let mut restore = host
        .command("iptables-restore")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run iptables-restore")?;
    let mut input = restore.stdin.take().expect("stdin was asked to be a pipe");
    input
        .write_all(DOCKER_RULES.as_bytes())
        .context("iptables-restore stopped reading")?;
    drop(input);
    let status = restore.wait().context("cannot wait for iptables-restore")?;
    ensure!(status.success(), "iptables-restore ended with {status}");
    Ok(())
}
