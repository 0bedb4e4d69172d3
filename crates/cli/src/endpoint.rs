//! `clearway attach`, `detach` and `endpoint`.

use crate::failure::{Failure, for_each};
use crate::output::{Output, list, table};
use crate::parse;
use crate::port::RateArgs;
use api::{Attach, Client, Detach, Endpoint, Mac, Name, Netns, VlanId};
use ipnet::IpNet;
use std::io::Write;
use std::net::IpAddr;

/// Which namespace.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
pub(crate) struct NetnsArgs {
    /// The container's namespace: a name as in `ip netns`, or a path
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<Netns>,
    /// The container's namespace: the one this process is in
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

impl NetnsArgs {
    pub(crate) fn get(&self) -> Option<Netns> {
        self.netns.clone().or_else(|| self.pid.map(Netns::Pid))
    }
}

/// A container to be attached.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("which").args(["netns", "pid"]).required(true)))]
pub struct AttachArgs {
    #[command(flatten)]
    netns: NetnsArgs,
    /// The network to attach to
    #[arg(long, value_name = "NETWORK")]
    network: Name,
    /// An address with prefix length; may be given again [default: a free one of each subnet]
    #[arg(long = "ip", value_name = "CIDR")]
    addresses: Vec<IpNet>,
    /// A default gateway; may be given again [default: the network's]
    #[arg(long = "gateway", value_name = "IP")]
    gateways: Vec<IpAddr>,
    /// The interface's MAC address [default: the daemon makes one]
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
    /// The interface's name inside
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,
    /// The VLAN the container is in [default: the network's]
    #[arg(long, value_name = "VID")]
    vlan: Option<VlanId>,
    /// The interface's MTU in bytes [default: the network's]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=65535))]
    mtu: Option<u16>,
    /// What others in the network find it by; its port has the name, too, if it is free [default: none]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// A further name; may be given again
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<Name>,
    /// Let the container send from any MAC and IP address
    #[arg(long)]
    unlocked: bool,
    /// Let the container not talk to other isolated ones
    #[arg(long)]
    isolated: bool,
    #[command(flatten)]
    rate: RateArgs,
    /// Queues of the interface
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    queues: u8,
    /// Free words; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    output: Output,
}

impl AttachArgs {
    fn request(&self) -> Result<Attach, Failure> {
        let Some(netns) = self.netns.get() else {
            return Err(Failure::Usage("attach needs --netns or --pid".into()));
        };
        Ok(Attach {
            ifname: self.ifname.clone(),
            mac: self.mac,
            addresses: self.addresses.clone(),
            gateways: (!self.gateways.is_empty()).then(|| self.gateways.clone()),
            vlan: self.vlan,
            mtu: self.mtu,
            name: self.name.clone(),
            aliases: self.aliases.clone(),
            rate: self.rate.get(),
            locked: !self.unlocked,
            isolated: self.isolated,
            queues: self.queues,
            labels: self.labels.iter().cloned().collect(),
            ..Attach::new(self.network.clone(), netns)
        })
    }

    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        self.output
            .print(out, &client.attach(&self.request()?)?, attached)
    }
}

/// Containers to be detached.
#[derive(Debug, Clone, clap::Args)]
pub struct DetachArgs {
    /// The endpoints, by id or name
    #[arg(value_name = "ENDPOINT", required_unless_present_any = ["netns", "pid"], conflicts_with_all = ["netns", "pid"])]
    ids: Vec<Name>,
    #[command(flatten)]
    netns: NetnsArgs,
    /// The interface's name inside
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,
}

impl DetachArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let which: Vec<Detach> = match self.netns.get() {
            Some(netns) => vec![Detach::Interface {
                netns,
                ifname: self.ifname.clone(),
            }],
            None => self.ids.iter().cloned().map(Detach::Endpoint).collect(),
        };
        for_each(&which, |which| {
            let endpoint = client.detach(which)?;
            Ok(writeln!(out, "{}", endpoint.id)?)
        })
    }
}

/// Endpoints.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum EndpointCommand {
    /// List endpoints
    Ls(Output),
}

impl EndpointCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Ls(output) => {
                output.print(out, &client.endpoints()?, |endpoints| listed(endpoints))
            }
        }
    }
}

fn attached(endpoint: &Endpoint) -> String {
    let Endpoint {
        id,
        netns,
        ifname,
        mac,
        network,
        ..
    } = endpoint;
    format!(
        "{id}: {ifname} in {netns}, {mac}, {}, on network {network}\n",
        list(&endpoint.addresses)
    )
}

fn listed(endpoints: &[Endpoint]) -> String {
    let row = |e: &Endpoint| {
        let (netns, mac, vlan) = (e.netns.to_string(), e.mac.to_string(), e.vlan.to_string());
        [
            e.id.to_string(),
            list(e.name.iter().chain(&e.aliases)),
            e.network.to_string(),
            netns,
            e.ifname.clone(),
            mac,
            list(&e.addresses),
            vlan,
            e.port.to_string(),
        ]
    };
    table(
        [
            "ID",
            "NAMES",
            "NETWORK",
            "NETNS",
            "IFNAME",
            "MAC",
            "ADDRESSES",
            "VLAN",
            "PORT",
        ],
        endpoints.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Endpoint {
        Endpoint {
            id: "web".parse().unwrap(),
            name: Some("web".parse().unwrap()),
            aliases: vec!["www".parse().unwrap()],
            network: "blue".parse().unwrap(),
            netns: Netns::Pid(7),
            ifname: "eth0".into(),
            mac: "02:42:0a:01:00:02".parse().unwrap(),
            addresses: vec!["10.1.0.2/16".parse().unwrap()],
            gateways: Vec::new(),
            vlan: VlanId::DEFAULT,
            mtu: 1500,
            locked: true,
            port: "web".parse().unwrap(),
            labels: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn an_endpoint_is_a_line() {
        assert_eq!(
            listed(&[web()]),
            "ID   NAMES    NETWORK  NETNS  IFNAME  MAC                ADDRESSES    VLAN  PORT\n\
             web  web,www  blue     pid 7  eth0    02:42:0a:01:00:02  10.1.0.2/16  1     web\n"
        );
        assert_eq!(
            attached(&web()),
            "web: eth0 in pid 7, 02:42:0a:01:00:02, 10.1.0.2/16, on network blue\n"
        );
    }
}
