//! The Linux bridge, bare and as dockerd dresses it.
//!
//! dockerd itself is not run: [`DOCKER_RULES`] and [`DOCKER_SYSCTLS`] are what Docker Engine
//! 20.10.24 (Debian 12, iptables 1.8.9 on nf_tables) was seen to set up for an empty `docker0`,
//! read with `iptables-save`, `ip -d link` and `/proc/sys` inside the namespace it ran in. Its
//! bridge has the kernel's defaults otherwise, and its containers hang on plain veth pairs of MTU
//! 1500. With `bridge-nf-call-iptables` each frame between two containers walks the FORWARD chain
//! and conntrack, which is what docker0 costs beyond a bridge. Towards the world it masquerades, and
//! published ports are DNAT rules, as the same dockerd writes them for `docker run -p`.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use testbed::Namespace;

use super::contender::{Contender, Pair, version_line, veth_pairs};
use super::load::PORTS;
use super::outside;
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

/// The same with a NIC and published ports: what dockerd's NAT is to one container.
#[derive(Debug, Default)]
pub(super) struct DockerNat {
    docker0: Docker0,
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
        restore_rules(host, DOCKER_RULES)?;
        veth_pairs(host, [172, 17], pairs, |veth, container| {
            host.ip(&format!("link set {veth} master docker0"))?;
            container.ip("route add default via 172.17.0.1").map(drop)
        })
    }
}

impl Contender for DockerNat {
    fn name(&self) -> &'static str {
        "docker0-nat"
    }

    fn needs(&self) -> &'static [Need] {
        self.docker0.needs()
    }

    fn version(&self) -> Result<String> {
        self.docker0.version()
    }

    fn setup(&mut self, _pairs: usize) -> Result<Vec<Pair>> {
        let pairs = self.docker0.setup(1)?;
        let (Some(host), [container, ..]) = (&self.docker0.host, pairs.as_slice()) else {
            bail!("docker0 has no host or no container");
        };
        let world = outside::world(host)?;
        restore_rules(host, &published(container.address, PORTS))?;
        Ok(outside::ways(&world, &container.server, container.address))
    }
}

/// Returns what dockerd adds for `docker run -p PORT:PORT`, a port each; `docker-proxy` is not in the way
/// of what comes from outside.
fn published(container: Ipv4Addr, ports: &[u16]) -> String {
    let rules =
        |rule: &dyn Fn(u16) -> String| ports.iter().map(|port| rule(*port)).collect::<String>();
    let accept = rules(&|port| {
        format!(
            "-A DOCKER -d {container}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport {port} -j ACCEPT\n"
        )
    });
    let translate = rules(&|port| {
        format!(
            "-A POSTROUTING -s {container}/32 -d {container}/32 -p tcp -m tcp --dport {port} -j MASQUERADE\n\
             -A DOCKER ! -i docker0 -p tcp -m tcp --dport {port} -j DNAT --to-destination {container}:{port}\n"
        )
    });
    format!("*filter\n{accept}COMMIT\n*nat\n{translate}COMMIT\n")
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

fn restore_rules(host: &Namespace, rules: &str) -> Result<()> {
    let mut restore = host
        .command("iptables-restore")
        .arg("--noflush")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run iptables-restore")?;
    let mut input = restore.stdin.take().expect("stdin was asked to be a pipe");
    input
        .write_all(rules.as_bytes())
        .context("iptables-restore stopped reading")?;
    drop(input);
    let status = restore.wait().context("cannot wait for iptables-restore")?;
    ensure!(status.success(), "iptables-restore ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_three_rules() {
        let rules = published(Ipv4Addr::new(172, 17, 0, 2), &[80, 81]);
        assert_eq!(
            rules.lines().filter(|line| line.starts_with("-A")).count(),
            6
        );
        assert!(
            rules.contains(
                "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 81 -j DNAT --to-destination 172.17.0.2:81"
            ),
            "{rules}"
        );
    }
}
