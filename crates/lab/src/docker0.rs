//! docker0's NAT: one container behind a Linux bridge, netfilter and conntrack.
//!
//! ```text
//!   container: eth0 ──veth── [ docker0 :host: eth0 ] ──veth── [ eth0: world ]
//!   172.17.0.2                172.17.0.1      198.51.100.2      198.51.100.1
//! ```
//! dockerd itself is not run. The rules are those it writes for an empty bridge and one
//! `docker run -p 8080:80`: FORWARD is walked, connections are tracked, the world sees the host
//! (MASQUERADE), and the published port is a DNAT rule. They take `iptables` or `nft`, whichever
//! the machine has; the lab asks nobody to install one.

use crate::links;
use crate::outside::{Outside, PUBLISHED, SERVED};
use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use std::env;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Stdio;
use testbed::Namespace;

/// The container's address.
pub(crate) const CONTAINER: IpAddr = IpAddr::V4(OWN);
const OWN: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

/// A container, docker0, and the world; gone when dropped.
#[derive(Debug)]
pub(crate) struct Docker0 {
    /// The container.
    pub(crate) container: Namespace,
    /// The host and the world.
    pub(crate) outside: Outside,
}

impl Docker0 {
    /// Makes it all with `firewall`.
    ///
    /// # Errors
    /// When the kernel makes no bridge or no veth, or netfilter refuses.
    pub(crate) fn new(firewall: &Firewall) -> Result<Self> {
        let [host, container] = [Namespace::new()?, Namespace::new()?];
        let net = |ip| IpNet::from(Ipv4Net::new_assert(ip, 16));
        links::bridge(&host, "docker0")?;
        links::set_up(&host, "docker0", &[net(GATEWAY)], &[])?;
        links::cable(&container, "eth0", &host, "veth0")?;
        links::join(&host, "veth0", "docker0")?;
        links::set_up(&container, "eth0", &[net(OWN)], &[GATEWAY.into()])?;
        let outside = Outside::connect(&host)?;
        host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
            .context("the namespace's ip_forward cannot be set")?;
        firewall.restore(&host)?;
        Ok(Self { container, outside })
    }
}

/// A program that tells netfilter its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Firewall {
    /// `iptables-restore`, which is what dockerd's rules go through.
    Iptables(PathBuf),
    /// `nft`.
    Nft(PathBuf),
}

impl Firewall {
    /// The one there is.
    pub(crate) fn find() -> Option<Self> {
        let iptables = program("iptables-restore").map(Self::Iptables);
        iptables.or_else(|| program("nft").map(Self::Nft))
    }

    fn restore(&self, host: &Namespace) -> Result<()> {
        let (path, words, rules): (_, &[&str], _) = match self {
            Self::Iptables(path) => (path, &["--noflush"], iptables_rules()),
            Self::Nft(path) => (path, &["-f", "-"], nft_rules()),
        };
        let mut command = host.command(&path.to_string_lossy());
        let mut restore = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", path.display()))?;
        if let Some(mut input) = restore.stdin.take() {
            // A program that reads no further says why when it ends.
            let _ = input.write_all(rules.as_bytes());
        }
        let output = restore.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or("no reason given");
            bail!("{} refuses the rules: {first}", path.display());
        }
        Ok(())
    }
}

/// Ordinary users seldom have `sbin` in their path.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// As dockerd 20.10 writes them, without the chains that stay empty.
fn iptables_rules() -> String {
    format!(
        "\
*filter
:FORWARD DROP [0:0]
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
-A DOCKER -d {CONTAINER}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport {SERVED} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s {CONTAINER}/32 -d {CONTAINER}/32 -p tcp -m tcp --dport {SERVED} -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport {PUBLISHED} -j DNAT --to-destination {CONTAINER}:{SERVED}
COMMIT
"
    )
}

/// The same in nft's own words.
fn nft_rules() -> String {
    format!(
        "\
table ip filter {{
  chain DOCKER-USER {{ return; }}
  chain STAGE-2 {{ oifname docker0 drop; return; }}
  chain STAGE-1 {{ iifname docker0 oifname != docker0 jump STAGE-2; return; }}
  chain DOCKER {{
    ip daddr {CONTAINER} iifname != docker0 oifname docker0 tcp dport {SERVED} accept
  }}
  chain FORWARD {{
    type filter hook forward priority 0; policy drop;
    jump DOCKER-USER
    jump STAGE-1
    oifname docker0 ct state related,established accept
    oifname docker0 jump DOCKER
    iifname docker0 oifname != docker0 accept
    iifname docker0 oifname docker0 accept
  }}
}}
table ip nat {{
  chain DOCKER {{
    iifname docker0 return
    iifname != docker0 tcp dport {PUBLISHED} dnat to {CONTAINER}:{SERVED}
  }}
  chain PREROUTING {{
    type nat hook prerouting priority -100;
    fib daddr type local jump DOCKER
  }}
  chain OUTPUT {{
    type nat hook output priority -100;
    ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER
  }}
  chain POSTROUTING {{
    type nat hook postrouting priority 100;
    ip saddr 172.17.0.0/16 oifname != docker0 masquerade
    ip saddr {CONTAINER} ip daddr {CONTAINER} tcp dport {SERVED} masquerade
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_is_looked_for_beyond_the_path() {
        assert!(super::program("no-such-program-anywhere").is_none());
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::outside::{HOST, WORLD, published};
    use std::net::SocketAddr;
    use testbed::traffic::{Way, tcp_meet};

    #[test]
    fn either_program_makes_the_same_nat() {
        let iptables = program("iptables-restore").map(Firewall::Iptables);
        let nft = program("nft").map(Firewall::Nft);
        let found: Vec<Firewall> = [iptables, nft].into_iter().flatten().collect();
        if found.is_empty() {
            testbed::cannot_run("neither iptables nor nft is installed");
        }
        for firewall in found {
            let docker0 = Docker0::new(&firewall).unwrap();
            let (inside, world) = (&docker0.container, &docker0.outside.world);
            let out = tcp_meet(world, inside, WORLD[0].into()).unwrap();
            assert_eq!(out.client.ip(), CONTAINER);
            assert_eq!(out.seen.ip(), HOST[0], "{firewall:?}");
            let way = Way {
                listen: SocketAddr::new(CONTAINER, SERVED),
                to: published(HOST[0]),
            };
            let into = tcp_meet(inside, world, way).unwrap();
            assert_eq!(into.seen, into.client, "{firewall:?}");
            // What is not published is dropped, or refused by the host.
            let other = Way {
                to: SocketAddr::new(HOST[0], PUBLISHED + 1),
                ..way
            };
            assert!(tcp_meet(inside, world, other).is_err(), "{firewall:?}");
        }
    }
}
