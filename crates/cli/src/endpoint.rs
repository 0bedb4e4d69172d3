//! `clearway attach`, `detach` and `endpoint`.

use crate::failure::{Failure, for_each};
use crate::output::{Output, list, pairs, table, word};
use crate::parse;
use crate::port::RateArgs;
use api::{
    Attach, Client, Datapath, DatapathKind, Detach, Endpoint, EndpointSet, Join, Mac, Name, Netns,
    NetworkCreate, PortKind, Via, VlanId,
};
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
    /// The interface's name inside
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    output: Output,
}

/// An endpoint to be made, wherever its interface is.
#[derive(Debug, Clone, clap::Args)]
struct WantedArgs {
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
    /// The VLAN the container is in [default: the network's]
    #[arg(long, value_name = "VID")]
    vlan: Option<VlanId>,
    /// The interface's MTU in bytes [default: the network's]
    #[arg(long, value_name = "BYTES", value_parser = parse::within(&NetworkCreate::MTU))]
    mtu: Option<u16>,
    /// The name by which others in the network find it; its port has the name, too, if it is free [default: none]
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
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse::within(&PortKind::QUEUES))]
    queues: u8,
    /// Carry its frames so: auto (as its network says), userspace or kernel
    #[arg(long, value_name = "DATAPATH", default_value_t)]
    datapath: Datapath,
    /// Free words; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
}

impl AttachArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let Some(netns) = self.netns.get() else {
            return Err(Failure::Usage("attach needs --netns or --pid".into()));
        };
        let request = Attach {
            ifname: self.ifname.clone(),
            ..self.wanted.request(Some(netns))
        };
        self.output.print(out, &client.attach(&request)?, attached)
    }
}

impl WantedArgs {
    fn request(&self, netns: Option<Netns>) -> Attach {
        Attach {
            netns,
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
            datapath: self.datapath,
            labels: self.labels.iter().cloned().collect(),
            ..Attach::unjoined(self.network.clone())
        }
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

/// Endpoints: what `attach` and `detach` do at once, step by step, in the words of Docker's
/// container network model.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum EndpointCommand {
    /// List endpoints
    Ls(Output),
    /// Show endpoints whole
    Inspect {
        /// Their ids or names
        #[arg(required = true, value_name = "ENDPOINT")]
        names: Vec<Name>,
        #[command(flatten)]
        output: Output,
    },
    /// Make an endpoint that waits for its sandbox
    Create(Box<CreateArgs>),
    /// Give an endpoint its interface in a sandbox
    Join(JoinArgs),
    /// Take an endpoint's interface away, and what is published of it
    Leave {
        /// Its id or name
        #[arg(value_name = "ENDPOINT")]
        name: Name,
    },
    /// Give an endpoint other names
    Set(SetArgs),
    /// Remove endpoints
    Rm {
        /// Their ids or names
        #[arg(required = true, value_name = "ENDPOINT")]
        names: Vec<Name>,
    },
}

/// An endpoint to be made.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    output: Output,
}

/// A sandbox for an endpoint.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("where").args(["netns", "pid"]).required(true)))]
pub struct JoinArgs {
    /// The endpoint's id or name
    #[arg(value_name = "ENDPOINT")]
    name: Name,
    #[command(flatten)]
    netns: NetnsArgs,
    /// The interface's name
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,
    /// Make the interface in the daemon's namespace, for you to move, name and set up
    #[arg(long, conflicts_with = "veth")]
    moved: bool,
    /// The interface is there already: the other end of this veth in the daemon's namespace
    #[arg(long, value_name = "NAME")]
    veth: Option<String>,
}

/// Other names of an endpoint.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["rename", "aliases", "labels"]).required(true).multiple(true)))]
pub struct SetArgs {
    /// Its id or name
    #[arg(value_name = "ENDPOINT")]
    name: Name,
    /// Its new name
    #[arg(long = "name", value_name = "NAME")]
    rename: Option<Name>,
    /// A further name, in place of those there are; may be given again
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<Name>,
    /// Free words, in place of those there are; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
}

impl JoinArgs {
    fn request(&self) -> Result<Join, Failure> {
        let Some(netns) = self.netns.get() else {
            return Err(Failure::Usage("join needs --netns or --pid".into()));
        };
        let via = match &self.veth {
            Some(host) => Via::Veth {
                host: Some(host.clone()),
            },
            None if self.moved => Via::MovedTap,
            None => Via::Tap,
        };
        Ok(Join {
            netns,
            ifname: self.ifname.clone(),
            via,
        })
    }
}

impl SetArgs {
    fn request(&self) -> EndpointSet {
        EndpointSet {
            name: self.rename.clone(),
            aliases: (!self.aliases.is_empty()).then(|| self.aliases.clone()),
            labels: (!self.labels.is_empty()).then(|| self.labels.iter().cloned().collect()),
        }
    }
}

impl EndpointCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Ls(output) => {
                output.print(out, &client.endpoints()?, |endpoints| listed(endpoints))
            }
            Self::Inspect { names, output } => {
                let endpoints = names
                    .iter()
                    .map(|name| client.endpoint(name))
                    .collect::<Result<Vec<_>, _>>()?;
                output.print(out, &endpoints, |endpoints| {
                    let pages: Vec<_> = endpoints.iter().map(inspected).collect();
                    pages.join("\n")
                })
            }
            Self::Create(create) => {
                let endpoint = client.attach(&create.wanted.request(None))?;
                create.output.print(out, &endpoint, attached)
            }
            Self::Join(join) => {
                let endpoint = client.endpoint_join(&join.name, &join.request()?)?;
                Ok(write!(out, "{}", attached(&endpoint))?)
            }
            Self::Leave { name } => {
                let endpoint = client.endpoint_leave(name)?;
                Ok(writeln!(out, "{}", endpoint.id)?)
            }
            Self::Set(set) => {
                let endpoint = client.endpoint_set(&set.name, &set.request())?;
                Ok(writeln!(out, "{}", endpoint.id)?)
            }
            Self::Rm { names } => for_each(names, |name| {
                let endpoint = client.detach(&Detach::Endpoint(name.clone()))?;
                Ok(writeln!(out, "{}", endpoint.id)?)
            }),
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
    let place = netns.as_ref().map_or_else(
        || "waits for its sandbox".to_owned(),
        |netns| format!("{ifname} in {netns}"),
    );
    let addresses = list(&endpoint.addresses);
    format!("{id}: {place}, {mac}, {addresses}, on network {network}\n")
}

fn listed(endpoints: &[Endpoint]) -> String {
    let row = |e: &Endpoint| {
        let joined = e.netns.as_ref().map(|_| &e.ifname);
        [
            e.id.to_string(),
            list(e.name.iter().chain(&e.aliases)),
            e.network.to_string(),
            word(e.netns.as_ref()),
            word(joined),
            e.mac.to_string(),
            list(&e.addresses),
            e.vlan.to_string(),
            e.port.to_string(),
        ]
    };
    table(
        [
            "ID",
            "NAMES",
            "NETWORK",
            "SANDBOX",
            "IFNAME",
            "MAC",
            "ADDRESSES",
            "VLAN",
            "PORT",
        ],
        endpoints.iter().map(row),
    )
}

fn inspected(e: &Endpoint) -> String {
    let via = match &e.via {
        Via::Tap => "made there".to_owned(),
        Via::MovedTap => "made here and moved there".to_owned(),
        Via::Veth { host } => format!("a veth, its other end {}", word(host.as_ref())),
    };
    let datapath = e.datapath.map(DatapathKind::word);
    let labels = e.labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs([
        ("id", e.id.to_string()),
        ("name", word(e.name.as_ref())),
        ("aliases", list(&e.aliases)),
        ("network", e.network.to_string()),
        ("sandbox", word(e.netns.as_ref())),
        ("interface", word(e.netns.as_ref().map(|_| &e.ifname))),
        ("via", word(e.netns.as_ref().map(|_| via))),
        ("datapath", word(datapath)),
        ("mac", e.mac.to_string()),
        ("addresses", list(&e.addresses)),
        ("gateways", list(&e.gateways)),
        ("vlan", e.vlan.to_string()),
        ("mtu", format!("{} bytes", e.mtu)),
        ("locked", if e.locked { "yes" } else { "no" }.to_owned()),
        ("port", e.port.to_string()),
        ("labels", list(labels)),
    ])
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
            netns: Some(Netns::Pid(7)),
            ifname: "eth0".into(),
            via: Via::Tap,
            datapath: Some(DatapathKind::Userspace),
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
            "ID   NAMES    NETWORK  SANDBOX  IFNAME  MAC                ADDRESSES    VLAN  PORT\n\
             web  web,www  blue     pid 7    eth0    02:42:0a:01:00:02  10.1.0.2/16  1     web\n"
        );
        assert_eq!(
            attached(&web()),
            "web: eth0 in pid 7, 02:42:0a:01:00:02, 10.1.0.2/16, on network blue\n"
        );
        let waiting = Endpoint {
            netns: None,
            ..web()
        };
        assert_eq!(
            attached(&waiting),
            "web: waits for its sandbox, 02:42:0a:01:00:02, 10.1.0.2/16, on network blue\n"
        );
    }

    #[test]
    fn inspection_says_how_the_interface_got_there() {
        let page = |via| inspected(&Endpoint { via, ..web() });
        let host = Some("veth1".to_owned());
        assert!(page(Via::Veth { host }).contains("via:        a veth, its other end veth1\n"));
        assert!(page(Via::Tap).contains("datapath:   userspace\n"));
        assert!(page(Via::MovedTap).contains("sandbox:    pid 7\n"));
    }
}
