//! `clearway port`: what may be typed, and the calls it makes.

mod render;

use crate::endpoint::NetnsArgs;
use crate::failure::{Failure, for_each};
use crate::output::Output;
use crate::parse;
use api::{
    AdminState, Client, Direction, FdbLimits, Lock, Mirror, Name, Netns, PcapSpeed, PortAdd,
    PortKind, PortSet, Rate, StormLimits, VlanId, VlanMode, VlanSet,
};
use std::io::Write;
use std::path::PathBuf;

/// Ports.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum PortCommand {
    /// Add a port
    Add(Box<Add>),
    /// List ports
    Ls(Output),
    /// Show everything about ports
    Show {
        /// Their names
        #[arg(required = true, value_name = "PORT")]
        names: Vec<Name>,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Change a port
    Set(Box<Set>),
    /// Remove ports
    Rm {
        /// Their names
        #[arg(required = true, value_name = "PORT")]
        names: Vec<Name>,
    },
}

impl PortCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Add(add) => {
                let port = client.port_add(&add.request()?)?;
                Ok(writeln!(out, "{}", port.spec.name)?)
            }
            Self::Ls(output) => output.print(out, &client.ports()?, |ports| render::listed(ports)),
            Self::Show { names, output } => {
                let ports = names
                    .iter()
                    .map(|name| client.port(name))
                    .collect::<Result<Vec<_>, _>>()?;
                output.print(out, &ports, |ports| {
                    ports
                        .iter()
                        .map(render::shown)
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            }
            Self::Set(set) => {
                client.port_set(&set.name, &set.request()?)?;
                Ok(())
            }
            Self::Rm { names } => for_each(names, |name| {
                client.port_remove(name)?;
                Ok(writeln!(out, "{name}")?)
            }),
        }
    }
}

/// A port to be added.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("kind").args(["tap", "packet", "read", "write", "null"]).multiple(true).required(true)))]
pub struct Add {
    /// Its name
    #[arg(value_name = "PORT")]
    name: Name,
    /// Make a TAP of this name
    #[arg(long, value_name = "IFNAME", conflicts_with_all = ["packet", "read", "write"])]
    tap: Option<String>,
    /// Open this interface, a veth or a NIC, as it is
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["read", "write"])]
    packet: Option<String>,
    /// Take frames from this capture file
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// Write frames to this capture file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Have nothing behind it: count frames and drop them
    #[arg(long, conflicts_with_all = ["tap", "packet", "read", "write"])]
    null: bool,
    /// Take the capture file's frames as fast as they can be read
    #[arg(long, requires = "read")]
    full_speed: bool,
    /// Queues of the TAP
    #[arg(long, value_name = "N", requires = "tap", value_parser = parse::within(&PortKind::QUEUES))]
    queues: Option<u8>,
    #[command(flatten)]
    netns: NetnsArgs,
    /// The network it belongs to
    #[arg(long, value_name = "NETWORK")]
    network: Option<Name>,
    /// Add it set down
    #[arg(long)]
    down: bool,
    #[command(flatten)]
    vlan: VlanArgs,
    /// Protect it: protected ports do not talk to each other
    #[arg(long)]
    isolated: bool,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    rules: Rules,
}

impl Add {
    fn request(&self) -> Result<PortAdd, Failure> {
        Ok(PortAdd {
            network: self.network.clone(),
            admin: if self.down {
                AdminState::Down
            } else {
                AdminState::Up
            },
            vlan: self.vlan.get()?,
            isolated: self.isolated.then_some(true),
            rate: self.rate.get(),
            lock: self.rules.lock.clone(),
            max_macs: self.rules.max_macs,
            storm: self.rules.storm,
            mirror: self.rules.mirror(),
            ..PortAdd::new(self.name.clone(), self.kind(self.netns.get()))
        })
    }

    fn kind(&self, netns: Option<Netns>) -> PortKind {
        match (&self.tap, &self.packet) {
            (Some(ifname), _) => PortKind::Tap {
                netns,
                ifname: ifname.clone(),
                queues: self.queues.unwrap_or(1),
            },
            (None, Some(interface)) => PortKind::Packet {
                netns,
                interface: interface.clone(),
            },
            (None, None) if self.null => PortKind::Null,
            (None, None) => PortKind::Pcap {
                read: self.read.clone(),
                write: self.write.clone(),
                speed: if self.full_speed {
                    PcapSpeed::Full
                } else {
                    PcapSpeed::Recorded
                },
            },
        }
    }
}

/// How a port treats VLAN tags.
#[derive(Debug, Clone, Default, clap::Args)]
struct VlanArgs {
    /// Carry one VLAN, untagged
    #[arg(long, value_name = "VID", conflicts_with_all = ["trunk", "tunnel"])]
    access: Option<VlanId>,
    /// Carry these VLANs, tagged: 10,20-29 or all, which it is when nothing or another option follows
    #[arg(long, value_name = "VIDS", num_args = 0..=1, default_missing_value = "all", conflicts_with = "tunnel")]
    trunk: Option<VlanSet>,
    /// On a trunk, the VLAN of untagged frames
    #[arg(long, value_name = "VID", requires = "trunk")]
    native: Option<VlanId>,
    /// On a trunk, tag frames of the native VLAN
    #[arg(long, requires = "native")]
    native_tagged: bool,
    /// Wrap whatever comes in a service tag (802.1ad)
    #[arg(long, value_name = "VID")]
    tunnel: Option<VlanId>,
}

impl VlanArgs {
    fn get(&self) -> Result<Option<VlanMode>, Failure> {
        let trunk = |allowed: &VlanSet| VlanMode::Trunk {
            allowed: allowed.clone(),
            native: self.native,
            native_tagged: self.native_tagged,
        };
        match (self.access, &self.trunk, self.tunnel) {
            (None, None, None) => Ok(None),
            (Some(vid), None, None) => Ok(Some(VlanMode::Access { vid })),
            (None, Some(allowed), None) => Ok(Some(trunk(allowed))),
            (None, None, Some(vid)) => Ok(Some(VlanMode::Dot1qTunnel { vid })),
            _ => Err(Failure::Usage(
                "--access, --trunk and --tunnel exclude each other".into(),
            )),
        }
    }
}

/// How much a port may send, and as much receive.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct RateArgs {
    /// Let so many bits a second pass in each direction, as in 100mbit
    #[arg(long, value_name = "BITS", value_parser = parse::bits)]
    rate_bits: Option<u64>,
    /// Let so many packets a second pass in each direction, as in 10k
    #[arg(long, value_name = "PACKETS", value_parser = parse::packets)]
    rate_packets: Option<u32>,
}

impl RateArgs {
    pub(crate) fn get(self) -> Option<Rate> {
        let rate = Rate {
            bits_per_second: self.rate_bits,
            packets_per_second: self.rate_packets,
        };
        (rate != Rate::default()).then_some(rate)
    }
}

/// Rules and limits of a port.
#[derive(Debug, Clone, Default, clap::Args)]
struct Rules {
    /// Let it send from this MAC and these IP addresses only
    #[arg(long, value_name = "MAC[,IP...]", value_parser = parse::lock)]
    lock: Option<Lock>,
    /// Remember so many MAC addresses at it at most [default: the network's number]
    #[arg(long, value_name = "N", value_parser = parse::within(&FdbLimits::PER_PORT))]
    max_macs: Option<u32>,
    /// Frames it may flood a second: broadcast=N,multicast=N,unknown=N, or none for no limit [default: the network's]
    #[arg(long, value_name = "LIMITS", value_parser = parse::storm)]
    storm: Option<StormLimits>,
    /// Give it copies of these ports' frames; it may not send
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    mirror: Option<Vec<Name>>,
    /// Which of their frames: those the switch receives (rx), those it sends (tx)
    #[arg(
        long,
        value_name = "DIRECTION",
        requires = "mirror",
        default_value = "both"
    )]
    mirror_direction: MirrorDirection,
}

impl Rules {
    fn mirror(&self) -> Option<Mirror> {
        let direction = match self.mirror_direction {
            MirrorDirection::Rx => Direction::Rx,
            MirrorDirection::Tx => Direction::Tx,
            MirrorDirection::Both => Direction::Both,
        };
        self.mirror.clone().map(|of| Mirror { of, direction })
    }
}

/// [`Direction`] as it is typed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum MirrorDirection {
    Rx,
    Tx,
    #[default]
    Both,
}

/// Changes to a port.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// Its name
    #[arg(value_name = "PORT")]
    name: Name,
    /// Let it carry frames
    #[arg(long, conflicts_with = "down")]
    up: bool,
    /// Drop its frames in both directions
    #[arg(long)]
    down: bool,
    /// Move it to this network
    #[arg(long, value_name = "NETWORK", conflicts_with = "no_network")]
    network: Option<Name>,
    /// Take it out of its network
    #[arg(long)]
    no_network: bool,
    #[command(flatten)]
    vlan: VlanArgs,
    /// Treat VLAN tags as the network says
    #[arg(long, conflicts_with_all = ["access", "trunk", "tunnel"])]
    no_vlan: bool,
    /// Protect it, or not: protected ports do not talk to each other
    #[arg(long, value_name = "on|off", value_parser = api::on_or_off)]
    isolated: Option<bool>,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    rules: Rules,
    /// Let any rate pass
    #[arg(long, conflicts_with_all = ["rate_bits", "rate_packets"])]
    no_rate: bool,
    /// Let it send from any address
    #[arg(long, conflicts_with = "lock")]
    no_lock: bool,
    /// Remember as many MAC addresses as the network says
    #[arg(long, conflicts_with = "max_macs")]
    no_max_macs: bool,
    /// Flood what the network says
    #[arg(long, conflicts_with = "storm")]
    no_storm: bool,
    /// Make it an ordinary port again
    #[arg(long, conflicts_with = "mirror")]
    no_mirror: bool,
}

impl Set {
    fn request(&self) -> Result<PortSet, Failure> {
        let admin = match (self.up, self.down) {
            (true, _) => Some(AdminState::Up),
            (_, true) => Some(AdminState::Down),
            (false, false) => None,
        };
        let set = PortSet {
            network: change(self.network.clone(), self.no_network),
            admin,
            vlan: change(self.vlan.get()?, self.no_vlan),
            isolated: self.isolated,
            lock: change(self.rules.lock.clone(), self.no_lock),
            max_macs: change(self.rules.max_macs, self.no_max_macs),
            storm: change(self.rules.storm, self.no_storm),
            rate: change(self.rate.get(), self.no_rate),
            mirror: change(self.rules.mirror(), self.no_mirror),
        };
        if set.is_empty() {
            return Err(Failure::Usage(format!(
                "nothing to change at port {}; `clearway port set --help` lists what can be",
                self.name
            )));
        }
        Ok(set)
    }
}

/// A new value, no value any more, or no change.
fn change<T>(new: Option<T>, none: bool) -> Option<Option<T>> {
    if none { Some(None) } else { new.map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: PortCommand,
    }

    fn add(words: &str) -> PortAdd {
        let line = Line::try_parse_from(["port", "add", "p1"].into_iter().chain(words.split(' ')))
            .unwrap();
        let PortCommand::Add(add) = line.command else {
            panic!("{line:?}")
        };
        add.request().unwrap()
    }

    fn set(words: &str) -> Result<PortSet, Failure> {
        let line = Line::try_parse_from(
            ["port", "set", "p1"]
                .into_iter()
                .chain(words.split_whitespace()),
        )
        .unwrap();
        let PortCommand::Set(set) = line.command else {
            panic!("{line:?}")
        };
        set.request()
    }

    #[test]
    fn kinds() {
        let tap = PortKind::Tap {
            netns: Some("web".parse().unwrap()),
            ifname: "eth0".into(),
            queues: 2,
        };
        assert_eq!(add("--tap eth0 --netns web --queues 2").kind, tap);
        assert_eq!(
            add("--packet veth0 --pid 7").kind,
            PortKind::Packet {
                netns: Some(Netns::Pid(7)),
                interface: "veth0".into()
            }
        );
        let pcap = PortKind::Pcap {
            read: Some("a".into()),
            write: Some("b".into()),
            speed: PcapSpeed::Full,
        };
        assert_eq!(add("--read a --write b --full-speed").kind, pcap);
        assert_eq!(add("--null").kind, PortKind::Null);
    }

    #[test]
    fn vlans() {
        let vlan =
            |words: &str| serde_json::to_value(add(&format!("--tap t {words}")).vlan).unwrap();
        assert_eq!(
            vlan("--access 10"),
            serde_json::json!({"mode": "access", "vid": 10})
        );
        for words in ["--trunk=10,20-21", "--trunk 10,20-21"] {
            assert_eq!(
                vlan(&format!("{words} --native 10 --native-tagged")),
                serde_json::json!({"mode": "trunk", "allowed": [10, 20, 21], "native": 10, "native_tagged": true})
            );
        }
        for words in [
            "--trunk",
            "--trunk --isolated",
            "--trunk=all",
            "--trunk all",
        ] {
            assert_eq!(
                vlan(words),
                serde_json::json!({"mode": "trunk", "allowed": [], "native": null, "native_tagged": false})
            );
        }
        assert_eq!(
            vlan("--tunnel 100"),
            serde_json::json!({"mode": "dot1q_tunnel", "vid": 100})
        );
    }

    #[test]
    fn changes_are_only_what_was_said() {
        let json = |words: &str| serde_json::to_string(&set(words).unwrap()).unwrap();
        assert_eq!(json("--down --no-lock"), r#"{"admin":"down","lock":null}"#);
        assert_eq!(
            json("--isolated off --max-macs 5"),
            r#"{"isolated":false,"max_macs":5}"#
        );
        assert_eq!(
            json("--rate-bits 100mbit --rate-packets 10k"),
            r#"{"rate":{"bits_per_second":100000000,"packets_per_second":10000}}"#
        );
        assert_eq!(json("--no-rate"), r#"{"rate":null}"#);
        assert_eq!(
            json("--mirror a,b --mirror-direction rx"),
            r#"{"mirror":{"of":["a","b"],"direction":"rx"}}"#
        );
        assert_eq!(
            set("").unwrap_err().to_string(),
            "nothing to change at port p1; `clearway port set --help` lists what can be"
        );
    }
}
