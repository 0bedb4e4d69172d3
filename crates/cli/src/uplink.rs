//! `clearway uplink`: the NICs through which containers reach the world.

use crate::failure::{Failure, for_each};
use crate::output::{Output, list, table, word};
use api::{Client, Name, PortRange, Uplink, UplinkAdd, UplinkState};
use std::io::Write;

/// Uplinks.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum UplinkCommand {
    /// Let containers reach the world through a NIC; the host keeps using it
    Add {
        /// The NIC
        #[arg(value_name = "DEV")]
        dev: String,
        /// Its name [default: the NIC's]
        #[arg(long, value_name = "NAME")]
        name: Option<Name>,
        /// Make mappings of these external ports, 256 at least
        #[arg(long, value_name = "FIRST-LAST", default_value_t = PortRange::DYNAMIC)]
        ports: PortRange,
    },
    /// List uplinks; the first serves networks that name none
    Ls(Output),
    /// Remove uplinks that no network names
    Rm {
        /// Their names
        #[arg(required = true, value_name = "UPLINK")]
        names: Vec<Name>,
    },
}

impl UplinkCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Add { dev, name, ports } => {
                let uplink = client.uplink_add(&UplinkAdd {
                    dev: dev.clone(),
                    name: name.clone(),
                    ports: *ports,
                })?;
                Ok(writeln!(out, "{}", uplink.name)?)
            }
            Self::Ls(output) => output.print(out, &client.uplinks()?, |uplinks| listed(uplinks)),
            Self::Rm { names } => for_each(names, |name| {
                client.uplink_remove(name)?;
                Ok(writeln!(out, "{name}")?)
            }),
        }
    }
}

pub(crate) fn listed(uplinks: &[Uplink]) -> String {
    let row = |uplink: &Uplink| {
        [
            uplink.name.to_string(),
            uplink.dev.clone(),
            match uplink.state {
                UplinkState::Up => "up",
                UplinkState::Down => "down",
            }
            .to_owned(),
            list(&uplink.addresses),
            list(&uplink.gateways),
            uplink.ports.to_string(),
            list(&uplink.networks),
            word(uplink.why.as_ref()),
        ]
    };
    let header = [
        "NAME",
        "DEV",
        "STATE",
        "ADDRESSES",
        "GATEWAYS",
        "PORTS",
        "NETWORKS",
        "WHY",
    ];
    table(header, uplinks.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_is_a_line() {
        let uplink = Uplink {
            name: "up".parse().unwrap(),
            dev: "eth0".into(),
            ports: PortRange::DYNAMIC,
            state: UplinkState::Down,
            why: Some("eth0 is gone".into()),
            mac: None,
            addresses: Vec::new(),
            gateways: vec!["198.51.100.254".parse().unwrap()],
            networks: vec!["blue".parse().unwrap()],
        };
        assert_eq!(
            listed(&[uplink]),
            "NAME  DEV   STATE  ADDRESSES  GATEWAYS        PORTS        NETWORKS  WHY\n\
             up    eth0  down   -          198.51.100.254  49152-65535  blue      eth0 is gone\n"
        );
    }
}
