//! `clearway fdb`, in the habits of `bridge fdb`.

use crate::failure::Failure;
use crate::filter::{joined, named};
use crate::output::{Output, table, word};
use api::{Client, FdbAdd, FdbEntry, FdbFlush, FdbKey, FdbKind, Mac, Name, VlanId};
use std::io::Write;

/// The table of MAC addresses.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum FdbCommand {
    /// Show entries. LEASES: decisions about frames from or to the address that the kernel repeats
    Show {
        /// The words of a filter, as `clearway trace` has them: `02:00:00:00:00:0a`, `endpoint web-1`,
        /// `port p1 and not vlan 7`. The options below stand for words, and narrow the filter
        #[arg(value_name = "FILTER")]
        words: Vec<String>,
        /// Of this network
        #[arg(long, value_name = "NETWORK")]
        network: Option<Name>,
        /// Behind this port
        #[arg(long, value_name = "PORT")]
        port: Option<Name>,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Write a static entry
    Add {
        /// The MAC address
        mac: Mac,
        /// The network
        #[arg(long, value_name = "NETWORK")]
        network: Name,
        /// The port it is behind
        #[arg(long, value_name = "PORT")]
        port: Name,
        /// The VLAN [default: the network's]
        #[arg(long, value_name = "VID")]
        vlan: Option<VlanId>,
    },
    /// Delete an entry
    Del {
        /// The MAC address
        mac: Mac,
        /// The network
        #[arg(long, value_name = "NETWORK")]
        network: Name,
        /// The VLAN [default: the network's]
        #[arg(long, value_name = "VID")]
        vlan: Option<VlanId>,
    },
    /// Forget entries, of a network, a port, a VLAN, or all
    Flush(FlushArgs),
}

/// Which entries to forget.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("which").args(["network", "port", "vlan", "all"]).multiple(true).required(true)))]
pub struct FlushArgs {
    /// Of this network
    #[arg(long, value_name = "NETWORK")]
    network: Option<Name>,
    /// Behind this port
    #[arg(long, value_name = "PORT")]
    port: Option<Name>,
    /// Of this VLAN
    #[arg(long, value_name = "VID")]
    vlan: Option<VlanId>,
    /// Of every network
    #[arg(long, conflicts_with_all = ["network", "port", "vlan"])]
    all: bool,
    /// Static entries as well
    #[arg(long = "static")]
    include_static: bool,
}

impl FdbCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Show {
                words,
                network,
                port,
                output,
            } => {
                let network = network.as_ref().map(|name| named("network", name));
                let port = port.as_ref().map(|name| named("port", name));
                let filter = joined(words, [network, port]);
                output.print(out, &client.fdb(&filter)?, |entries| shown(entries))
            }
            Self::Add {
                mac,
                network,
                port,
                vlan,
            } => {
                client.fdb_add(&FdbAdd {
                    network: network.clone(),
                    vlan: *vlan,
                    mac: *mac,
                    port: port.clone(),
                })?;
                Ok(())
            }
            Self::Del { mac, network, vlan } => Ok(client.fdb_remove(&FdbKey {
                network: network.clone(),
                vlan: *vlan,
                mac: *mac,
            })?),
            Self::Flush(FlushArgs {
                network,
                port,
                vlan,
                all: _,
                include_static,
            }) => {
                let which = FdbFlush {
                    network: network.clone(),
                    vlan: *vlan,
                    port: port.clone(),
                    include_static: *include_static,
                };
                let flushed = client.fdb_flush(&which)?;
                Ok(writeln!(out, "forgotten: {}", flushed.removed)?)
            }
        }
    }
}

fn shown(entries: &[FdbEntry]) -> String {
    let row = |entry: &FdbEntry| {
        let kind = match entry.kind {
            FdbKind::Learned => "learned",
            FdbKind::Static => "static",
        };
        let age = word(entry.age_seconds.map(|seconds| format!("{seconds}s")));
        let (mac, vlan) = (entry.mac.to_string(), entry.vlan.to_string());
        [
            mac,
            entry.network.to_string(),
            vlan,
            entry.port.to_string(),
            kind.to_owned(),
            age,
            entry.leases.to_string(),
        ]
    };
    table(
        ["MAC", "NETWORK", "VLAN", "PORT", "KIND", "AGE", "LEASES"],
        entries.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_entries_have_an_age() {
        let entry = |kind, age_seconds| FdbEntry {
            network: "blue".parse().unwrap(),
            vlan: VlanId::DEFAULT,
            mac: "02:00:00:00:00:0a".parse().unwrap(),
            port: "web".parse().unwrap(),
            kind,
            age_seconds,
            leases: 2,
        };
        assert_eq!(
            shown(&[
                entry(FdbKind::Learned, Some(12)),
                entry(FdbKind::Static, None)
            ]),
            "MAC                NETWORK  VLAN  PORT  KIND     AGE  LEASES\n\
             02:00:00:00:00:0a  blue     1     web   learned  12s  2\n\
             02:00:00:00:00:0a  blue     1     web   static   -    2\n"
        );
    }
}
