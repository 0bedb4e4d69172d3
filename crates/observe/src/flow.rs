//! The properties of a recorded frame that a filter asks about.
//!
//! A packet that is translated has two sources or two destinations: those it arrived with and those
//! it left with. A filter finds it by either, so that `host 10.80.0.2` and `host 198.51.100.1` both
//! show a connection through NAT, in both directions.

use crate::Record;
use pipeline::{Decision, Stage};
use std::net::IpAddr;
use wire::{Headers, IpProtocol, Net, Transport, TransportAddr};

/// One end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ip: IpAddr,
    /// `None` where the protocol has no ports, or the packet does not show them.
    pub(crate) port: Option<u16>,
}

/// The ends on one side of a packet: as it arrived, and as it left.
pub(crate) type Side = [Option<End>; 2];

/// A recorded frame, with its headers read.
#[derive(Debug)]
pub struct Flow<'r> {
    pub(crate) record: &'r Record,
    /// `None` of a frame that is too short to have any.
    pub(crate) headers: Option<Headers>,
    pub(crate) protocol: Option<IpProtocol>,
    pub(crate) src: Side,
    pub(crate) dst: Side,
}

impl<'r> Flow<'r> {
    /// Reads what filters ask of `record`, whose headers are `headers` if they were parsed before.
    #[must_use]
    pub fn of(record: &'r Record, headers: Option<&Headers>) -> Self {
        let headers = headers
            .copied()
            .or_else(|| Headers::parse(record.head()).ok());
        let mut flow = Self {
            record,
            headers,
            protocol: None,
            src: [None; 2],
            dst: [None; 2],
        };
        if let Some(headers) = &headers {
            flow.read(headers);
        }
        for step in record.steps.as_slice() {
            if let Decision::SourceTranslated { to, .. } = *step {
                flow.src[1] = Some(flow.translated(to));
            } else if let Decision::DestinationTranslated { to, .. } = *step {
                flow.dst[1] = Some(flow.translated(to));
            }
        }
        flow
    }

    fn read(&mut self, headers: &Headers) {
        let (src, dst) = match headers.net {
            Net::Arp(arp) => (arp.sender_ip.into(), arp.target_ip.into()),
            Net::Ipv4(ip) => {
                self.protocol = Some(ip.protocol);
                (ip.src.into(), ip.dst.into())
            }
            Net::Ipv6(ip) => {
                self.protocol = Some(ip.next_header);
                (ip.src.into(), ip.dst.into())
            }
            Net::Malformed(_) | Net::Other => return,
        };
        let ports = match headers.transport {
            Transport::Tcp(tcp) => Some((tcp.src_port, tcp.dst_port)),
            Transport::Udp(udp) => Some((udp.src_port, udp.dst_port)),
            Transport::Sctp(sctp) => Some((sctp.src_port, sctp.dst_port)),
            Transport::Icmp(_)
            | Transport::Icmpv6(_)
            | Transport::Malformed(_)
            | Transport::None => None,
        };
        let end = |ip, port| Some(End { ip, port });
        self.src[0] = end(src, ports.map(|(src, _)| src));
        self.dst[0] = end(dst, ports.map(|(_, dst)| dst));
    }

    /// An end by its translated address; the port of an ICMP query is no port.
    fn translated(&self, to: TransportAddr) -> End {
        let has_ports = self.src[0].is_some_and(|end| end.port.is_some());
        End {
            ip: to.ip,
            port: has_ports.then_some(to.port),
        }
    }

    /// Returns whether a stage of the router changed an address or a port.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.src[1].is_some() || self.dst[1].is_some()
    }

    /// Returns whether `stage` took a decision about the frame.
    pub(crate) fn reached(&self, stage: Stage) -> bool {
        let steps = self.record.steps.as_slice();
        steps.iter().any(|step| step.stage() == stage)
    }
}
