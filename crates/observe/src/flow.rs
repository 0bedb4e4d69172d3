//! The properties that a filter asks about: of a recorded frame, of a connection, or of an entry of the
//! forwarding database.
//!
//! A packet that is translated has two sources or two destinations: those it arrived with and those
//! it left with. A filter finds it by either, so that `host 10.80.0.2` and `host 198.51.100.1` both
//! show a connection through NAT, in both directions.

use crate::Record;
use model::NatState;
use pipeline::{Decision, NetworkId, PortId, Stage};
use std::net::IpAddr;
use wire::{EtherType, Headers, IpProtocol, MacAddr, Net, Transport, TransportAddr};

/// One end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ip: IpAddr,
    /// `None` where the protocol has no ports, or the packet does not show them.
    pub(crate) port: Option<u16>,
}

/// The ends on one side of a packet: as it arrived, and as it left.
pub(crate) type Side = [Option<End>; 2];

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Its network: an uplink for somebody outside.
    pub network: NetworkId,
    /// Its own address.
    pub addr: TransportAddr,
    /// The address that the other end knows it by, when it is another one.
    pub seen_as: Option<TransportAddr>,
}

/// Packets that have something in common: a recorded frame, the packets of a connection, or the frames
/// that an entry of the forwarding database leads to its port. What is not known is `None`.
#[derive(Debug, Default)]
pub struct Flow<'r> {
    /// The frame's record.
    pub(crate) record: Option<&'r Record>,
    /// The frame's headers.
    pub(crate) headers: Option<Headers>,
    /// The source and the destination.
    pub(crate) macs: [Option<MacAddr>; 2],
    pub(crate) vlan: Option<u16>,
    pub(crate) ethertype: Option<EtherType>,
    /// The source's network and the destination's.
    pub(crate) networks: [Option<NetworkId>; 2],
    /// The port of the switch that the frame came from, or that an entry leads to.
    pub(crate) port: Option<PortId>,
    pub(crate) protocol: Option<IpProtocol>,
    pub(crate) src: Side,
    pub(crate) dst: Side,
    /// How far a connection has come.
    pub(crate) state: Option<NatState>,
}

impl<'r> Flow<'r> {
    /// Reads what filters ask of `record`, whose headers are `headers` if they were parsed before.
    #[must_use]
    pub fn of(record: &'r Record, headers: Option<&Headers>) -> Self {
        let headers = headers
            .copied()
            .or_else(|| Headers::parse(record.head()).ok());
        let mut flow = Self {
            record: Some(record),
            headers,
            networks: [record.network, record.into.or(record.network)],
            port: Some(record.from),
            ..Self::default()
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

    /// Describes a connection: its protocol, how far it has come, who began it and who was called.
    #[must_use]
    pub fn connection(protocol: IpProtocol, state: NatState, [src, dst]: [Party; 2]) -> Self {
        let has_ports = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP].contains(&protocol);
        let end = |addr: TransportAddr| End {
            ip: addr.ip,
            port: has_ports.then_some(addr.port),
        };
        let side = |party: Party| [Some(end(party.addr)), party.seen_as.map(end)];
        Self {
            ethertype: Some(match src.addr.ip {
                IpAddr::V4(_) => EtherType::IPV4,
                IpAddr::V6(_) => EtherType::IPV6,
            }),
            networks: [Some(src.network), Some(dst.network)],
            protocol: Some(protocol),
            src: side(src),
            dst: side(dst),
            state: Some(state),
            ..Self::default()
        }
    }

    /// Describes an entry of the forwarding database: frames to `mac` in this VLAN of `network` go to `port`.
    #[must_use]
    pub fn entry(network: NetworkId, vlan: u16, mac: MacAddr, port: PortId) -> Self {
        Self {
            macs: [None, Some(mac)],
            vlan: Some(vlan),
            networks: [None, Some(network)],
            port: Some(port),
            ..Self::default()
        }
    }

    fn read(&mut self, headers: &Headers) {
        self.macs = [Some(headers.src), Some(headers.dst)];
        self.vlan = headers.outer.map(wire::VlanTag::vid);
        self.ethertype = Some(headers.ethertype);
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
        let reached = |record: &Record| {
            let mut steps = record.steps.as_slice().iter();
            steps.any(|step| step.stage() == stage)
        };
        self.record.is_some_and(reached)
    }
}
