//! `clearway network`, in the habits of `docker network`.

use crate::failure::{Failure, for_each};
use crate::output::{Output, list, pairs, table, word};
use crate::parse;
use crate::routing::RoutingArgs;
use api::{
    AddressRange, Client, FdbLimits, Name, Network, NetworkCreate, NetworkSet, SETTINGS,
    StormLimits, VlanId,
};
use ipnet::IpNet;
use std::io::Write;
use std::net::IpAddr;

/// Networks.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum NetworkCommand {
    /// Make a network
    Create(Box<Create>),
    /// List networks
    Ls(Output),
    /// Show everything about networks
    Inspect {
        /// Their names
        #[arg(required = true, value_name = "NETWORK")]
        names: Vec<Name>,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Change a network while it is used
    Set(Box<Set>),
    /// Remove networks that have neither ports nor endpoints
    Rm {
        /// Their names
        #[arg(required = true, value_name = "NETWORK")]
        names: Vec<Name>,
    },
}

/// A network to be made.
#[derive(Debug, Clone, clap::Args)]
pub struct Create {
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: Name,
    /// Take containers' addresses from this range; may be given again
    #[arg(long = "subnet", value_name = "CIDR")]
    subnets: Vec<IpNet>,
    /// Give the gateway this address; may be given again, once a subnet; none for no gateway [default: the first address of each subnet]
    #[arg(long = "gateway", value_name = "IP|none", value_parser = gateway)]
    gateways: Vec<Option<IpAddr>>,
    /// Give these addresses to nobody who does not ask for them; may be given again
    #[arg(long = "reserve", value_name = "IP[-IP]")]
    reserved: Vec<AddressRange>,
    /// Take the subnets although the host reaches some of their addresses elsewhere
    #[arg(long)]
    allow_overlap: bool,
    /// Let other networks have the same addresses; then neither they nor the host reach its containers by address
    #[arg(long)]
    overlapping: bool,
    #[command(flatten)]
    routing: RoutingArgs,
    /// The largest IP packet in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = parse::within(&NetworkCreate::MTU))]
    mtu: u16,
    /// The VLAN of ports that are told no other
    #[arg(long, value_name = "VID", default_value_t)]
    default_vlan: VlanId,
    /// Forward 01:80:C2:00:00:0x (LLDP, LACP, STP), which a bridge keeps to itself
    #[arg(long)]
    forward_reserved: bool,
    /// Forget a MAC address that was not seen for so long
    #[arg(long = "ageing", value_name = "SECONDS", default_value_t = 300, value_parser = parse::within(&FdbLimits::AGEING))]
    ageing_seconds: u32,
    /// Remember so many MAC addresses at most [default: 65536]
    #[arg(long, value_name = "N", value_parser = parse::within(&FdbLimits::ENTRIES))]
    max_macs: Option<u32>,
    /// Remember so many MAC addresses at one port at most [default: 4096]
    #[arg(long, value_name = "N", value_parser = parse::within(&FdbLimits::PER_PORT))]
    max_macs_per_port: Option<u32>,
    /// Frames that each port may flood a second: broadcast=N,multicast=N,unknown=N
    #[arg(long, value_name = "LIMITS", value_parser = parse::storm)]
    storm: Option<StormLimits>,
    /// Free words; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
}

impl Create {
    fn request(&self) -> NetworkCreate {
        let default = NetworkCreate::new(self.name.clone());
        NetworkCreate {
            subnets: self.subnets.clone(),
            gateways: (!self.gateways.is_empty())
                .then(|| self.gateways.iter().copied().flatten().collect()),
            reserved: self.reserved.clone(),
            allow_overlap: self.allow_overlap,
            overlapping: self.overlapping,
            routing: self.routing.set().applied_to(&default.routing),
            mtu: self.mtu,
            default_vlan: self.default_vlan,
            forward_reserved: self.forward_reserved,
            ageing_seconds: self.ageing_seconds,
            max_macs: self.max_macs.unwrap_or(default.max_macs),
            max_macs_per_port: self.max_macs_per_port.unwrap_or(default.max_macs_per_port),
            storm: self.storm.unwrap_or_default(),
            labels: self.labels.iter().cloned().collect(),
            ..default
        }
    }
}

/// Changes to a network.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: Name,
    /// Its new name
    #[arg(long = "name", value_name = "NAME")]
    rename: Option<Name>,
    #[command(flatten)]
    routing: RoutingArgs,
}

impl Set {
    fn request(&self) -> Result<NetworkSet, Failure> {
        let set = NetworkSet {
            name: self.rename.clone(),
            ..self.routing.set()
        };
        if set.is_empty() {
            return Err(Failure::Usage(format!(
                "nothing to change at network {}; `clearway network set --help` lists what can be",
                self.name
            )));
        }
        Ok(set)
    }
}

/// A gateway's address, or none.
fn gateway(text: &str) -> Result<Option<IpAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    let address = text.parse().map(Some);
    address.map_err(|_| format!("`{text}` is neither an IP address nor none"))
}

impl NetworkCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(create) => {
                let network = client.network_create(&create.request())?;
                Ok(writeln!(out, "{}", network.spec.name)?)
            }
            Self::Ls(output) => output.print(out, &client.networks()?, |networks| listed(networks)),
            Self::Inspect { names, output } => {
                let networks = names
                    .iter()
                    .map(|name| client.network(name))
                    .collect::<Result<Vec<_>, _>>()?;
                output.print(out, &networks, |networks| {
                    networks
                        .iter()
                        .map(inspected)
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            }
            Self::Set(set) => {
                client.network_set(&set.name, &set.request()?)?;
                Ok(())
            }
            Self::Rm { names } => for_each(names, |name| {
                client.network_remove(name)?;
                Ok(writeln!(out, "{name}")?)
            }),
        }
    }
}

fn listed(networks: &[Network]) -> String {
    let row = |network: &Network| {
        let spec = &network.spec;
        let [ports, endpoints] = [network.ports, network.endpoints].map(|n| n.to_string());
        [
            spec.name.to_string(),
            list(&spec.subnets),
            spec.mtu.to_string(),
            ports,
            endpoints,
            network.macs.to_string(),
        ]
    };
    table(
        ["NAME", "SUBNETS", "MTU", "PORTS", "ENDPOINTS", "MACS"],
        networks.iter().map(row),
    )
}

fn inspected(network: &Network) -> String {
    let spec = &network.spec;
    let settings = SETTINGS.iter();
    let settings = settings.map(|setting| (setting.key, setting.show(&spec.routing)));
    let before = [
        ("name", spec.name.to_string()),
        ("id", network.id.to_string()),
        ("subnets", list(&spec.subnets)),
        ("reserved", list(&spec.reserved)),
        ("overlapping", yes_no(spec.overlapping)),
        ("gateway", list(&network.gateways)),
        ("gateway mac", word(network.gateway_mac)),
        ("leaves through", word(network.uplink.as_ref())),
    ];
    let after = [
        ("mtu", format!("{} bytes", spec.mtu)),
        ("default vlan", spec.default_vlan.to_string()),
        (
            "reserved addresses",
            if spec.forward_reserved {
                "forwarded"
            } else {
                "not forwarded"
            }
            .to_owned(),
        ),
        ("ageing", format!("{} s", spec.ageing_seconds)),
        (
            "macs",
            format!(
                "{} of at most {}, {} a port",
                network.macs, spec.max_macs, spec.max_macs_per_port
            ),
        ),
        ("storm limits", parse::storm_text(&spec.storm)),
        ("ports", network.ports.to_string()),
        ("endpoints", network.endpoints.to_string()),
        (
            "publications",
            list(
                network
                    .publications
                    .iter()
                    .map(|p| format!("{}->{}:{}", p.spec.outside(), p.spec.endpoint, p.spec.to)),
            ),
        ),
        (
            "labels",
            list(
                spec.labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            ),
        ),
    ];
    pairs(before.into_iter().chain(settings).chain(after))
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Setting;

    fn blue() -> Network {
        let mut spec = NetworkCreate::new("blue".parse().unwrap());
        spec.subnets = vec![
            "10.1.0.0/16".parse().unwrap(),
            "2001:db8:1::/64".parse().unwrap(),
        ];
        spec.storm.broadcast = Some(100);
        spec.routing.nat.mapping = Some(api::Dependence::AddressDependent);
        Network {
            id: 3,
            spec,
            ports: 2,
            endpoints: 1,
            macs: 5,
            gateway_mac: Some("02:00:00:00:00:01".parse().unwrap()),
            gateways: vec!["10.1.0.1".parse().unwrap()],
            uplink: Some("up".parse().unwrap()),
            publications: vec![api::Publication {
                id: "pub-1".parse().unwrap(),
                spec: "8080:web:80".parse().unwrap(),
                network: "blue".parse::<Name>().unwrap().into(),
                addresses: Vec::new(),
            }],
        }
    }

    #[test]
    fn a_list_is_a_line_each() {
        assert_eq!(
            listed(&[blue()]),
            "NAME  SUBNETS                      MTU   PORTS  ENDPOINTS  MACS\n\
             blue  10.1.0.0/16,2001:db8:1::/64  1500  2      1          5\n"
        );
    }

    #[test]
    fn inspection_says_everything() {
        let spec = blue().spec;
        let setting =
            |s: &Setting| format!("{:<20} {}\n", format!("{}:", s.key), s.show(&spec.routing));
        let settings: String = SETTINGS.iter().map(setting).collect();
        assert!(
            settings.contains("mapping:             address-dependent\n"),
            "{settings}"
        );
        assert_eq!(
            inspected(&blue()),
            format!(
                "name:                blue\n\
             id:                  3\n\
             subnets:             10.1.0.0/16,2001:db8:1::/64\n\
             reserved:            -\n\
             overlapping:         no\n\
             gateway:             10.1.0.1\n\
             gateway mac:         02:00:00:00:00:01\n\
             leaves through:      up\n\
             {settings}\
             mtu:                 1500 bytes\n\
             default vlan:        1\n\
             reserved addresses:  not forwarded\n\
             ageing:              300 s\n\
             macs:                5 of at most 65536, 4096 a port\n\
             storm limits:        broadcast=100\n\
             ports:               2\n\
             endpoints:           1\n\
             publications:        8080/tcp->web:80\n\
             labels:              -\n"
            )
        );
    }
}
