//! `clearway datapath`: what the kernel repeats.

use crate::failure::Failure;
use crate::output::{Output, table, word};
use api::{Client, Lease};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Decisions that the kernel repeats.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum DatapathCommand {
    /// Show what the kernel repeats, with the frames that it carried
    Show {
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Take back all that the kernel repeats. The next frame of each kind is decided anew
    Flush,
}

impl DatapathCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Show { output } => output.print(out, &client.leases()?, |leases| shown(leases)),
            Self::Flush => {
                let flushed = client.leases_flush()?;
                Ok(writeln!(out, "taken back: {}", flushed.removed)?)
            }
        }
    }
}

fn shown(leases: &[Lease]) -> String {
    let row = |lease: &Lease| {
        [
            lease.network.to_string(),
            lease.vlan.to_string(),
            lease.from.to_string(),
            lease.sender.to_string(),
            source(lease),
            lease.receiver.to_string(),
            word(
                lease
                    .flow
                    .as_ref()
                    .map(|flow| changed(flow.arrives.dst, flow.leaves.dst)),
            ),
            lease.to.to_string(),
            protocol(lease),
            word(lease.begun),
            lease.frames.to_string(),
            lease.bytes.to_string(),
        ]
    };
    let head = [
        "NETWORK",
        "VLAN",
        "FROM",
        "SENDER",
        "SOURCE",
        "RECEIVER",
        "DESTINATION",
        "TO",
        "PROTOCOL",
        "BEGUN",
        "FRAMES",
        "BYTES",
    ];
    table(head, leases.iter().map(row))
}

fn source(lease: &Lease) -> String {
    match &lease.flow {
        Some(flow) if lease.begun.is_some() => format!("{}:*", host(flow.arrives.src)),
        Some(flow) => changed(flow.arrives.src, flow.leaves.src),
        None => word(lease.source),
    }
}

/// An address without its port, as one with a port is written.
fn host(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// An address as it comes, and as which it leaves.
fn changed(arrives: SocketAddr, leaves: SocketAddr) -> String {
    if arrives == leaves {
        return arrives.to_string();
    }
    format!("{arrives} as {leaves}")
}

/// The name of the protocol, or of what an ethertype stands for.
fn protocol(lease: &Lease) -> String {
    match (&lease.flow, lease.ethertype) {
        (Some(flow), _) => flow.protocol.to_string(),
        (None, 0x0800) => "ipv4".to_owned(),
        (None, 0x0806) => "arp".to_owned(),
        (None, 0x86dd) => "ipv6".to_owned(),
        (None, other) => format!("{other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{IpProtocol, LeasedFlow, NatTuple, VlanId};

    #[test]
    fn a_lease_is_a_line() {
        let lease = |ethertype, source: Option<&str>| Lease {
            network: "blue".parse().unwrap(),
            vlan: VlanId::DEFAULT,
            from: "web".parse().unwrap(),
            sender: "02:00:00:00:00:0a".parse().unwrap(),
            source: source.map(|ip| ip.parse().unwrap()),
            receiver: "02:00:00:00:00:0b".parse().unwrap(),
            to: "db".parse().unwrap(),
            flow: None,
            begun: None,
            ethertype,
            frames: 3,
            bytes: 180,
        };
        let tuple = |src: &str, dst: &str| NatTuple {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
        };
        let translated = Lease {
            flow: Some(LeasedFlow {
                protocol: IpProtocol::TCP,
                arrives: tuple("10.1.0.2:4000", "198.51.100.9:80"),
                leaves: tuple("198.51.100.1:5000", "198.51.100.9:80"),
                into: "uplink".parse().unwrap(),
            }),
            ..lease(0x0800, Some("10.1.0.2"))
        };
        assert_eq!(
            shown(&[lease(0x0800, Some("10.1.0.2")), lease(0x88b5, None)]),
            "NETWORK  VLAN  FROM  SENDER             SOURCE    RECEIVER           DESTINATION  TO  PROTOCOL  BEGUN  FRAMES  BYTES\n\
             blue     1     web   02:00:00:00:00:0a  10.1.0.2  02:00:00:00:00:0b  -            db  ipv4      -      3       180\n\
             blue     1     web   02:00:00:00:00:0a  -         02:00:00:00:00:0b  -            db  0x88b5    -      3       180\n"
        );
        let granted = Lease {
            begun: Some(12),
            ..translated.clone()
        };
        let line = shown(&[granted]);
        assert!(
            line.contains("10.1.0.2:*  02:") && line.ends_with("tcp       12     3       180\n"),
            "{line}"
        );
        let shown = shown(&[translated]);
        assert!(
            shown.ends_with(
                "10.1.0.2:4000 as 198.51.100.1:5000  02:00:00:00:00:0b  198.51.100.9:80  db  tcp       -      3       180\n"
            ),
            "{shown}"
        );
    }
}
