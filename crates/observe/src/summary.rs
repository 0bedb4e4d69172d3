//! A frame's headers in one line.

use crate::flow::Flow;
use std::fmt;
use std::net::IpAddr;
use wire::{Arp, Headers, Icmp, Icmpv6, Net, Transport, TransportAddr};

impl Flow<'_> {
    /// Returns the frame's headers in one line: `TCP 10.80.0.2:50780 -> 198.51.100.1:443 [S]`.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(headers) = &self.headers else {
            let len = self.record.map_or(0, |record| record.len);
            return format!("{len} bytes, too short for a header");
        };
        let tag = headers
            .outer
            .map_or_else(String::new, |tag| format!("VLAN {}, ", tag.vid()));
        let line = match headers.net {
            Net::Arp(arp) => self::arp(&arp),
            Net::Ipv4(_) | Net::Ipv6(_) => self.packet(headers),
            Net::Malformed(_) | Net::Other => {
                format!("{} -> {}, {}", headers.src, headers.dst, headers.ethertype)
            }
        };
        format!("{tag}{line}")
    }

    /// Returns the packet's transport addresses as it left, where they were translated:
    /// `TCP 198.51.100.2:63214 -> 198.51.100.1:443`.
    #[must_use]
    pub fn leaves_as(&self) -> Option<String> {
        if !self.is_translated() {
            return None;
        }
        let last = |side: crate::flow::Side| side[1].or(side[0]);
        let (src, dst) = (last(self.src)?, last(self.dst)?);
        let protocol = self.protocol?;
        Some(format!(
            "{} {} -> {}",
            protocol.title(),
            end(src.ip, src.port),
            end(dst.ip, dst.port)
        ))
    }

    fn packet(&self, headers: &Headers) -> String {
        let (Some(protocol), Some(src), Some(dst)) = (self.protocol, self.src[0], self.dst[0])
        else {
            return headers.ethertype.to_string();
        };
        let ends = format!("{} -> {}", end(src.ip, src.port), end(dst.ip, dst.port));
        let detail = match headers.transport {
            Transport::Tcp(tcp) => format!(" [{}]", tcp.flags),
            Transport::Icmp(icmp) => format!(" {}", icmp_kind(&icmp)),
            Transport::Icmpv6(icmp) => format!(" {}", icmpv6_kind(&icmp)),
            Transport::Malformed(_) => " with damaged headers".to_owned(),
            Transport::None if is_fragment(headers) => " fragment".to_owned(),
            Transport::Udp(_) | Transport::Sctp(_) | Transport::None => String::new(),
        };
        format!("{} {ends}{detail}", protocol.title())
    }
}

fn arp(arp: &Arp) -> String {
    match arp.operation {
        Arp::REQUEST => format!("ARP who has {}? tell {}", arp.target_ip, arp.sender_ip),
        Arp::REPLY => format!("ARP {} is at {}", arp.sender_ip, arp.sender_mac),
        other => format!("ARP operation {other} of {}", arp.sender_ip),
    }
}

fn end(ip: IpAddr, port: Option<u16>) -> impl fmt::Display {
    match port {
        Some(port) => TransportAddr::new(ip, port).to_string(),
        None => ip.to_string(),
    }
}

fn is_fragment(headers: &Headers) -> bool {
    match headers.net {
        Net::Ipv4(ip) => ip.fragment.is_some(),
        Net::Ipv6(ip) => ip.fragment.is_some(),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => false,
    }
}

fn icmp_kind(icmp: &Icmp) -> String {
    match (icmp.kind, icmp.id) {
        (Icmp::ECHO_REQUEST, Some(id)) => format!("echo request, id {id}"),
        (Icmp::ECHO_REPLY, Some(id)) => format!("echo reply, id {id}"),
        (kind, _) => format!("type {kind} code {}", icmp.code),
    }
}

fn icmpv6_kind(icmp: &Icmpv6) -> String {
    match (icmp.kind, icmp.id) {
        (Icmpv6::ECHO_REQUEST, Some(id)) => format!("echo request, id {id}"),
        (Icmpv6::ECHO_REPLY, Some(id)) => format!("echo reply, id {id}"),
        (Icmpv6::NEIGHBOUR_SOLICIT, _) => "neighbour solicitation".to_owned(),
        (Icmpv6::NEIGHBOUR_ADVERT, _) => "neighbour advertisement".to_owned(),
        (kind, _) => format!("type {kind} code {}", icmp.code),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Flow, Record};
    use pipeline::{Decision, Frame, Instant, PortId, Trace, WorkerId};
    use wire::craft::{Link, TcpSegment};
    use wire::{MacAddr, TcpFlags, TransportAddr, VlanTag, VnetHeader};

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn lines(mut bytes: Vec<u8>, steps: &[Decision]) -> (String, Option<String>) {
        let end = bytes.len();
        let frame = Frame::new(&mut bytes, 0, end, VnetHeader::default());
        let mut record = Record::new(&frame, PortId(0), Instant::ZERO, WorkerId(0));
        steps.iter().for_each(|step| record.steps.tell(*step));
        let flow = Flow::of(&record, None);
        (flow.summary(), flow.leaves_as())
    }

    #[test]
    fn each_kind_of_frame_has_a_line() {
        let link = || Link::new(A, B);
        let v4 = || link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let v6 = || link().ipv6("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let syn = TcpSegment {
            src_port: 1,
            dst_port: 80,
            flags: TcpFlags::SYN,
            ..TcpSegment::default()
        };
        let mut tagged = v4().udp(1, 2, b"");
        let tag = VlanTag {
            tpid: VlanTag::CTAG,
            tci: 7,
        };
        tagged.splice(12..12, tag.to_bytes());
        for (bytes, line) in [
            (v4().tcp(syn), "TCP 10.0.0.1:1 -> 10.0.0.2:80 [S]"),
            (v6().udp(5, 53, b""), "UDP [fd00::1]:5 -> [fd00::2]:53"),
            (
                v4().echo_request(7, 1, b""),
                "ICMP 10.0.0.1 -> 10.0.0.2 echo request, id 7",
            ),
            (
                v6().echo_reply(7, 1, b""),
                "ICMPv6 fd00::1 -> fd00::2 echo reply, id 7",
            ),
            (
                link().arp_request([10, 0, 0, 1].into(), [10, 0, 0, 9].into()),
                "ARP who has 10.0.0.9? tell 10.0.0.1",
            ),
            (tagged, "VLAN 7, UDP 10.0.0.1:1 -> 10.0.0.2:2"),
            (vec![1; 5], "5 bytes, too short for a header"),
            (
                [&B.0[..], &A.0, &[0x88, 0xcc], &[0; 46]].concat(),
                "02:00:00:00:00:01 -> 02:00:00:00:00:02, 0x88cc",
            ),
        ] {
            assert_eq!(lines(bytes, &[]), (line.to_owned(), None));
        }
    }

    #[test]
    fn a_translated_packet_leaves_as_somebody_else() {
        let addr = |last, port| TransportAddr::new([10, 0, 0, last].into(), port);
        let bytes = Link::new(A, B)
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .udp(1000, 53, b"");
        let translated = Decision::SourceTranslated {
            from: addr(1, 1000),
            to: addr(7, 2000),
        };
        let (_, leaves_as) = lines(bytes, &[translated]);
        assert_eq!(leaves_as.unwrap(), "UDP 10.0.0.7:2000 -> 10.0.0.2:53");
    }
}
