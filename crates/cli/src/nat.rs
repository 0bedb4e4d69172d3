//! `clearway nat`: the connections the NAT follows, in the habits of `conntrack`.

use crate::failure::Failure;
use crate::filter::{joined, named};
use crate::output::{Format, Output, table, word};
use api::{Client, Filter, IpProtocol, Name, NatCount, NatEntry, NatEvent, NatState, Neighbour};
use ipnet::IpNet;
use std::io::Write;
use std::net::IpAddr;

/// Connections.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum NatCommand {
    /// List connections. LEASED: the kernel repeats packets of it
    Ls {
        /// Which
        #[command(flatten)]
        filter: FilterArgs,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Forget connections
    Flush {
        /// Which
        #[command(flatten)]
        filter: FilterArgs,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// List the router's neighbours, found by ARP and NDP
    Neighbours(Output),
    /// Tell what happens to connections, until interrupted
    Watch {
        /// Which
        #[command(flatten)]
        filter: FilterArgs,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
}

/// Which connections.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FilterArgs {
    /// The words of a filter, as `clearway trace` has them: `endpoint web-1 and tcp port 443`, `nat`,
    /// `not state closing`. The options below stand for words, and narrow the filter
    #[arg(value_name = "FILTER")]
    words: Vec<String>,
    /// Of this protocol: tcp, udp, sctp, icmp, icmpv6 or a number
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<IpProtocol>,
    /// From these addresses, before or after translation
    #[arg(long, value_name = "IP|CIDR", value_parser = addresses)]
    src: Option<IpNet>,
    /// To these addresses, before or after translation
    #[arg(long, value_name = "IP|CIDR", value_parser = addresses)]
    dst: Option<IpNet>,
    /// With this port on any side, before or after translation
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Of this network
    #[arg(long, value_name = "NETWORK")]
    network: Option<Name>,
    /// Of this endpoint
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<Name>,
    /// That have come so far: opening, established or closing
    #[arg(long, value_name = "STATE")]
    state: Option<NatState>,
}

impl FilterArgs {
    fn get(&self) -> Filter {
        joined(
            &self.words,
            [
                self.protocol
                    .map(|protocol| format!("proto {}", protocol.0)),
                self.src.map(|net| format!("src net {net}")),
                self.dst.map(|net| format!("dst net {net}")),
                self.port.map(|port| format!("port {port}")),
                self.network.as_ref().map(|name| named("network", name)),
                self.endpoint.as_ref().map(|name| named("endpoint", name)),
                self.state.map(|state| format!("state {state}")),
            ],
        )
    }
}

impl NatCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Ls { filter, output } => {
                output.print(out, &client.nat(&filter.get())?, |entries| listed(entries))
            }
            Self::Flush { filter, all } => {
                let filter = filter.get();
                if *all != filter.is_all() {
                    return Err(Failure::Usage(
                        "say which connections to forget, or --all".into(),
                    ));
                }
                let flushed = client.nat_flush(&filter)?;
                Ok(writeln!(out, "{} forgotten", flushed.removed)?)
            }
            Self::Neighbours(output) => {
                output.print(out, &client.neighbours()?, |all| neighbours(all))
            }
            Self::Watch { filter, output } => watch(client, &filter.get(), *output, out),
        }
    }
}

/// Prints a line for each event as it comes.
fn watch(
    client: &Client,
    filter: &Filter,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for event in client.nat_watch(filter)? {
        writeln!(out, "{}", line(&event?, output.format)?)?;
        out.flush()?;
    }
    Ok(())
}

fn line(event: &NatEvent, format: Format) -> std::io::Result<String> {
    match format {
        Format::Json => Ok(serde_json::to_string(event)?),
        Format::Table => Ok(told(event)),
    }
}

/// `new      tcp 10.1.0.2:40000 -> 198.51.100.7:443 as 198.51.100.1:50000 opening web`.
fn told(event: &NatEvent) -> String {
    let NatEvent { event, entry, lost } = event;
    let NatEntry {
        protocol,
        original,
        translated,
        state,
        ..
    } = entry;
    let whose = entry.endpoint.as_ref().unwrap_or(&entry.network);
    let gap = match lost {
        0 => String::new(),
        lost => format!("({lost} events were lost here)\n"),
    };
    format!(
        "{gap}{event:7}  {protocol} {} -> {}  as {} -> {}  {state}  {whose}",
        original.src, original.dst, translated.src, translated.dst
    )
}

/// As `ip neighbour` has it: where each is, and how sure that is.
fn neighbours(all: &[Neighbour]) -> String {
    let row = |n: &Neighbour| {
        [
            n.network.to_string(),
            n.address.to_string(),
            word(n.mac),
            n.state.to_string(),
            format!("{}s", n.age_seconds),
        ]
    };
    table(
        ["NETWORK", "ADDRESS", "MAC", "STATE", "AGE"],
        all.iter().map(row),
    )
}

fn listed(entries: &[NatEntry]) -> String {
    let count = |count: NatCount| format!("{}/{}", count.packets, count.bytes);
    let row = |e: &NatEntry| {
        [
            e.protocol.to_string(),
            e.state.to_string(),
            format!("{} -> {}", e.original.src, e.original.dst),
            format!("{} -> {}", e.translated.src, e.translated.dst),
            count(e.sent),
            count(e.received),
            format!("{}s", e.expires_seconds),
            if e.leased { "yes" } else { "-" }.to_owned(),
            e.network.to_string(),
            word(e.endpoint.as_ref()),
        ]
    };
    let header = [
        "PROTOCOL",
        "STATE",
        "ORIGINAL",
        "TRANSLATED",
        "SENT",
        "RECEIVED",
        "EXPIRES",
        "LEASED",
        "NETWORK",
        "ENDPOINT",
    ];
    table(header, entries.iter().map(row))
}

/// A range of addresses, or one.
fn addresses(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let net = text.parse().ok().or_else(one);
    net.ok_or_else(|| format!("`{text}` is neither IP nor CIDR"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{NatChange, NatTuple, NeighbourState};

    fn entry() -> NatEntry {
        let tuple = |src: &str| NatTuple {
            src: src.parse().unwrap(),
            dst: "198.51.100.7:443".parse().unwrap(),
        };
        NatEntry {
            network: "blue".parse().unwrap(),
            endpoint: None,
            protocol: IpProtocol::TCP,
            state: NatState::Established,
            original: tuple("10.1.0.2:40000"),
            translated: tuple("198.51.100.1:50000"),
            sent: NatCount {
                packets: 3,
                bytes: 180,
            },
            received: NatCount::default(),
            expires_seconds: 7440,
            leased: true,
        }
    }

    #[test]
    fn a_connection_is_a_line() {
        assert_eq!(
            listed(&[entry()]),
            "PROTOCOL  STATE        ORIGINAL                            TRANSLATED                              SENT   RECEIVED  EXPIRES  LEASED  NETWORK  ENDPOINT\n\
             tcp       established  10.1.0.2:40000 -> 198.51.100.7:443  198.51.100.1:50000 -> 198.51.100.7:443  3/180  0/0       7440s    yes     blue     -\n"
        );
    }

    #[test]
    fn a_neighbour_is_a_line() {
        let neighbour = |address: &str, mac: Option<&str>, state| Neighbour {
            network: "eth0".parse().unwrap(),
            address: address.parse().unwrap(),
            mac: mac.map(|mac| mac.parse().unwrap()),
            state,
            age_seconds: 7,
        };
        let all = [
            neighbour(
                "198.51.100.1",
                Some("02:00:00:00:00:0a"),
                NeighbourState::Reachable,
            ),
            neighbour("2001:db8::1", None, NeighbourState::Incomplete),
        ];
        assert_eq!(
            neighbours(&all),
            "NETWORK  ADDRESS       MAC                STATE       AGE\n\
             eth0     198.51.100.1  02:00:00:00:00:0a  reachable   7s\n\
             eth0     2001:db8::1   -                  incomplete  7s\n"
        );
    }

    #[test]
    fn an_event_is_a_line_in_either_form() {
        let event = NatEvent {
            event: NatChange::New,
            entry: entry(),
            lost: 0,
        };
        assert_eq!(
            line(&event, Format::Table).unwrap(),
            "new      tcp 10.1.0.2:40000 -> 198.51.100.7:443  as 198.51.100.1:50000 -> 198.51.100.7:443  established  blue"
        );
        let after_a_gap = NatEvent {
            lost: 3,
            ..event.clone()
        };
        let told = line(&after_a_gap, Format::Table).unwrap();
        assert!(
            told.starts_with("(3 events were lost here)\nnew "),
            "{told}"
        );
        let json = line(&event, Format::Json).unwrap();
        assert!(!json.contains('\n'));
        assert_eq!(serde_json::from_str::<NatEvent>(&json).unwrap(), event);
    }

    #[test]
    fn options_stand_for_words() {
        let filter = FilterArgs {
            words: vec!["nat".into(), "or".into(), "icmp".into()],
            protocol: Some(IpProtocol::TCP),
            src: Some(addresses("10.1.0.2").unwrap()),
            dst: Some(addresses("2001:db8::/32").unwrap()),
            port: Some(80),
            network: Some("and".parse().unwrap()),
            endpoint: Some("web".parse().unwrap()),
            state: Some(NatState::Closing),
        };
        assert_eq!(
            filter.get().filter,
            "proto 6 and src net 10.1.0.2/32 and dst net 2001:db8::/32 and port 80 and \
             network \"and\" and endpoint \"web\" and state closing and (nat or icmp)"
        );
        assert!(FilterArgs::default().get().is_all());
    }

    #[test]
    fn addresses_are_one_or_many() {
        assert_eq!(addresses("10.1.0.2").unwrap().to_string(), "10.1.0.2/32");
        assert_eq!(addresses("10.1.0.0/16").unwrap().to_string(), "10.1.0.0/16");
        assert!(addresses("web").is_err());
    }
}
