//! `clearway explain`: what would happen to a frame.

mod capture;
mod render;

use crate::failure::Failure;
use crate::output::Output;
use crate::parse::End;
use api::{
    ArpFields, ArpOperation, Client, ExplainRequest, FrameSpec, IcmpFields, LinkFields, Mac, Name,
    TcpFields, TcpFlag, UdpFields, VlanId,
};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A frame, by its bytes, from a capture file, or by its fields.
#[derive(Debug, Clone, clap::Args)]
#[command(subcommand_value_name = "FRAME", subcommand_help_heading = "Frames")]
pub struct ExplainArgs {
    /// The port it would come from
    #[arg(long, value_name = "PORT")]
    port: Name,
    /// The frame from its destination MAC on, in hexadecimal; spaces and colons are skipped
    #[arg(long, value_name = "BYTES", conflicts_with = "pcap")]
    hex: Option<String>,
    /// A frame of this capture file, pcap or pcapng
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Which frame of the capture file, from 1
    #[arg(long, value_name = "N", requires = "pcap", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    nth: u64,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    fields: Option<Fields>,
}

/// A frame by its fields.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
enum Fields {
    /// A TCP segment
    Tcp {
        /// Where it comes from: IP or IP:PORT
        src: End,
        /// Where it goes: IP:PORT
        dst: End,
        /// Its flags
        #[arg(
            long,
            value_name = "FLAGS",
            value_delimiter = ',',
            default_value = "syn"
        )]
        flags: Vec<Flag>,
        /// Bytes of payload
        #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=65_000))]
        payload: u16,
        #[command(flatten)]
        link: Link,
    },
    /// A UDP datagram
    Udp {
        /// Where it comes from: IP or IP:PORT
        src: End,
        /// Where it goes: IP:PORT
        dst: End,
        /// Bytes of payload
        #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=65_000))]
        payload: u16,
        #[command(flatten)]
        link: Link,
    },
    /// A ping, ICMP or ICMPv6
    Icmp {
        /// Where it comes from
        src: std::net::IpAddr,
        /// Where it goes
        dst: std::net::IpAddr,
        /// The reply rather than the request
        #[arg(long)]
        reply: bool,
        /// Bytes of payload
        #[arg(long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65_000))]
        payload: u16,
        #[command(flatten)]
        link: Link,
    },
    /// An ARP message
    Arp {
        /// The sender's address
        sender: Ipv4Addr,
        /// The target's address
        target: Ipv4Addr,
        /// The reply rather than the request
        #[arg(long)]
        reply: bool,
        /// The sender's MAC address in the message [default: the frame's source]
        #[arg(long, value_name = "MAC")]
        sender_mac: Option<Mac>,
        /// The target's MAC address in the message
        #[arg(long, value_name = "MAC")]
        target_mac: Option<Mac>,
        #[command(flatten)]
        link: Link,
    },
}

/// The Ethernet fields.
#[derive(Debug, Clone, clap::Args)]
struct Link {
    /// The source MAC address [default: the port's]
    #[arg(long, value_name = "MAC")]
    src_mac: Option<Mac>,
    /// The destination MAC address [default: that of the destination address's container]
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<Mac>,
    /// A VLAN tag
    #[arg(long, value_name = "VID")]
    vlan: Option<VlanId>,
}

/// [`TcpFlag`] as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Flag {
    Fin,
    Syn,
    Rst,
    Psh,
    Ack,
}

impl ExplainArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let request = ExplainRequest {
            port: self.port.clone(),
            frame: self.frame()?,
        };
        self.output
            .print(out, &client.explain(&request)?, |explanation| {
                render::explained(&self.port, explanation)
            })
    }

    fn frame(&self) -> Result<FrameSpec, Failure> {
        match (&self.hex, &self.pcap, &self.fields) {
            (Some(hex), None, None) => Ok(FrameSpec::Hex(hex.clone())),
            (None, Some(file), None) => {
                capture::nth_frame(file, self.nth).map(|bytes| FrameSpec::Hex(hex::encode(bytes)))
            }
            (None, None, Some(fields)) => fields.frame(),
            (None, None, None) => Err(Failure::Usage(
                "explain needs a frame: --hex, --pcap, or one of tcp, udp, icmp, arp".into(),
            )),
            _ => Err(Failure::Usage(
                "explain takes one frame: --hex, --pcap, or one of tcp, udp, icmp, arp".into(),
            )),
        }
    }
}

impl Fields {
    fn frame(&self) -> Result<FrameSpec, Failure> {
        match self {
            Self::Tcp {
                src,
                dst,
                flags,
                payload,
                link,
            } => Ok(FrameSpec::Tcp(TcpFields {
                link: link.fields(),
                src_ip: src.ip,
                dst_ip: dst.ip,
                src_port: src.port.unwrap_or(EPHEMERAL),
                dst_port: needed(dst)?,
                flags: flags.iter().map(|flag| flag.meant()).collect(),
                payload: *payload,
            })),
            Self::Udp {
                src,
                dst,
                payload,
                link,
            } => Ok(FrameSpec::Udp(UdpFields {
                link: link.fields(),
                src_ip: src.ip,
                dst_ip: dst.ip,
                src_port: src.port.unwrap_or(EPHEMERAL),
                dst_port: needed(dst)?,
                payload: *payload,
            })),
            Self::Icmp {
                src,
                dst,
                reply,
                payload,
                link,
            } => Ok(FrameSpec::Icmp(IcmpFields {
                link: link.fields(),
                src_ip: *src,
                dst_ip: *dst,
                reply: *reply,
                id: 1,
                payload: *payload,
            })),
            Self::Arp {
                sender,
                target,
                reply,
                sender_mac,
                target_mac,
                link,
            } => Ok(FrameSpec::Arp(ArpFields {
                link: link.fields(),
                operation: if *reply {
                    ArpOperation::Reply
                } else {
                    ArpOperation::Request
                },
                sender_mac: *sender_mac,
                sender_ip: (*sender).into(),
                target_mac: *target_mac,
                target_ip: (*target).into(),
            })),
        }
    }
}

impl Link {
    fn fields(&self) -> LinkFields {
        LinkFields {
            src_mac: self.src_mac,
            dst_mac: self.dst_mac,
            vlan: self.vlan,
        }
    }
}

impl Flag {
    fn meant(self) -> TcpFlag {
        match self {
            Self::Fin => TcpFlag::Fin,
            Self::Syn => TcpFlag::Syn,
            Self::Rst => TcpFlag::Rst,
            Self::Psh => TcpFlag::Psh,
            Self::Ack => TcpFlag::Ack,
        }
    }
}

fn needed(end: &End) -> Result<u16, Failure> {
    end.port.ok_or_else(|| {
        Failure::Usage(format!(
            "the destination {} lacks a port, as in {0}:80 (for IPv6 [IP]:80)",
            end.ip
        ))
    })
}

/// The first port of the dynamic range (RFC 6335, 6).
const EPHEMERAL: u16 = 49152;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn frame(words: &str) -> Result<serde_json::Value, String> {
        let line = Line::try_parse_from(
            ["explain", "--port", "p1"]
                .into_iter()
                .chain(words.split_whitespace()),
        )
        .map_err(|e| e.to_string())?;
        line.args
            .frame()
            .map(|frame| serde_json::to_value(frame).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_become_a_frame() {
        let tcp = frame("tcp 10.1.0.2 10.1.0.3:80 --vlan 7 --flags syn,ack").unwrap();
        assert_eq!(
            (
                &tcp["tcp"]["src_port"],
                &tcp["tcp"]["dst_port"],
                &tcp["tcp"]["vlan"]
            ),
            (&49152.into(), &80.into(), &7.into())
        );
        assert_eq!(tcp["tcp"]["flags"], serde_json::json!(["syn", "ack"]));
        assert_eq!(
            frame("udp [2001:db8::1]:5 [2001:db8::2]:53").unwrap()["udp"]["src_port"],
            5
        );
        assert_eq!(
            frame("icmp 10.1.0.2 10.1.0.3 --reply").unwrap()["icmp"]["reply"],
            true
        );
        assert_eq!(
            frame("arp 10.1.0.2 10.1.0.3").unwrap()["arp"]["operation"],
            "request"
        );
        assert_eq!(frame("--hex ffff").unwrap()["hex"], "ffff");
    }

    #[test]
    fn exactly_one_frame_is_needed() {
        assert!(frame("").unwrap_err().starts_with("explain needs a frame"));
        assert!(
            frame("--hex ff arp 10.1.0.2 10.1.0.3")
                .unwrap_err()
                .starts_with("explain takes one frame")
        );
        assert!(
            frame("tcp 10.1.0.2 10.1.0.3")
                .unwrap_err()
                .contains("lacks a port")
        );
        assert!(frame("arp 10.1.0.2 2001:db8::1").is_err());
        assert!(frame("--hex ff --pcap f").is_err());
    }
}
