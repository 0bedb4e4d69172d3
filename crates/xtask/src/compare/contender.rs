//! What is compared: a way to connect containers, as one value behind one small trait.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testbed::Namespace;

use crate::packages::Need;

/// Two ends of which one can reach the other through a contender.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// Where the load's server runs.
    pub(super) server: Namespace,
    /// Where the load's client runs.
    pub(super) client: Namespace,
    /// The address that the server listens at.
    pub(super) listens: Ipv4Addr,
    /// The address that the client connects to: the server's, or one that leads there.
    pub(super) address: Ipv4Addr,
}

impl Pair {
    /// Two that see each other's addresses; `address` is the server's.
    pub(super) const fn beside(server: Namespace, client: Namespace, address: Ipv4Addr) -> Self {
        Self {
            server,
            client,
            listens: address,
            address,
        }
    }
}

/// What is timed of a container's start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// From the command to the first packet that the world sees.
    ToFirstPacket,
    /// The command alone, for a container with many published ports.
    WithPorts,
}

/// A way to connect containers. Dropping the value takes everything down.
pub(super) trait Contender {
    /// A short name for tables and JSON: `clearway`, `docker0`, `bridge`, `ovs`.
    fn name(&self) -> &'static str;

    /// The programs it takes, and the Debian packages that bring them.
    fn needs(&self) -> &'static [Need];

    /// Returns what exactly was measured: name and version of the thing.
    ///
    /// # Errors
    /// When the thing cannot be asked.
    fn version(&self) -> Result<String>;

    /// Makes the switch in a host namespace of its own and connects `pairs` pairs of containers;
    /// a contender that translates addresses answers the two ways of one container to the world
    /// instead, out and in. Called once.
    ///
    /// # Errors
    /// When any step fails; what was made goes away with the value.
    fn setup(&mut self, pairs: usize) -> Result<Vec<Pair>>;

    /// Does again what does not last. Called before each turn.
    ///
    /// # Errors
    /// When it cannot be done.
    fn refresh(&mut self) -> Result<()> {
        Ok(())
    }

    /// Starts containers of its own and answers how long each took.
    ///
    /// # Errors
    /// When one does not start, or the contender starts none.
    fn start(&mut self, what: Start) -> Result<Vec<Duration>> {
        bail!("{} starts no containers: {what:?}", self.name());
    }

    /// Makes sure that what the turn was measured beside is still there. Called after each turn.
    ///
    /// # Errors
    /// When it is not: the turn's samples are none.
    fn confirm(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The address of a contender's `index`th container in a /16: `.0.2`, `.0.3`, and so on.
///
/// # Panics
/// Beyond 60 000 containers, which a /16 does not hold.
pub(super) fn address(network: [u8; 2], index: usize) -> Ipv4Addr {
    let host = u16::try_from(index + 2).expect("fewer containers than a /16 has addresses");
    let [high, low] = host.to_be_bytes();
    Ipv4Addr::new(network[0], network[1], high, low)
}

/// Connects `pairs` pairs of containers that hang on one end of a veth each. `plug` puts the host's
/// end onto the switch; it is told the host end's name and the container.
///
/// # Errors
/// When an interface cannot be made or plugged.
pub(super) fn veth_pairs(
    host: &Namespace,
    network: [u8; 2],
    pairs: usize,
    mut plug: impl FnMut(&str, &Namespace) -> Result<()>,
) -> Result<Vec<Pair>> {
    let mut container = |index: usize| -> Result<(Namespace, Ipv4Addr)> {
        let namespace = Namespace::new()?;
        let (outside, address) = (format!("veth{index}"), address(network, index));
        testbed::link::veth(host, &outside, &namespace, "eth0")?;
        testbed::link::address(&namespace, "eth0", &format!("{address}/16"))?;
        plug(&outside, &namespace).with_context(|| format!("cannot plug {outside}"))?;
        Ok((namespace, address))
    };
    (0..pairs)
        .map(|pair| {
            let (server, address) = container(2 * pair)?;
            let (client, _) = container(2 * pair + 1)?;
            Ok(Pair::beside(server, client, address))
        })
        .collect()
}

/// The first line that a program prints when asked for its version.
///
/// # Errors
/// When it cannot be run.
pub(super) fn version_line(program: &str, arguments: &[&str]) -> Result<String> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_on_past_the_third_byte() {
        assert_eq!(address([10, 80], 0), Ipv4Addr::new(10, 80, 0, 2));
        assert_eq!(address([10, 80], 253), Ipv4Addr::new(10, 80, 0, 255));
        assert_eq!(address([10, 80], 254), Ipv4Addr::new(10, 80, 1, 0));
    }
}
