//! What the receiver of a frame says to it: the first thing that a stack answers which is there,
//! listens, and is well.
//!
//! SYN is answered by SYN and ACK, any other segment by ACK, an echo request by its reply, a
//! datagram by another one without payload. Pure.

use wire::emit::{Ends, Envelope};
use wire::{Headers, Icmp, Icmpv6, IpProtocol, Net, Tcp, TcpFlags, Transport};

/// The answer to the frame of these bytes; `None` to one that nobody answers so.
pub(crate) fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::parse(bytes).ok()?;
    if headers.outer.is_some() {
        return None;
    }
    let ends = match headers.net {
        Net::Ipv4(ip) if ip.fragment.is_none() => Ends::V4(ip.dst, ip.src),
        Net::Ipv6(ip) if ip.fragment.is_none() => Ends::V6(ip.dst, ip.src),
        Net::Ipv4(_) | Net::Ipv6(_) | Net::Arp(_) | Net::Malformed(_) | Net::Other => return None,
    };
    let (protocol, payload) = payload(bytes, &headers)?;
    let envelope = Envelope {
        src_mac: headers.dst,
        dst_mac: headers.src,
        ends,
        hops: 64,
        traffic_class: 0,
    };
    let mut out = Vec::new();
    envelope.emit(&mut out, protocol, |out| out.extend_from_slice(&payload));
    Some(out)
}

fn payload(bytes: &[u8], headers: &Headers) -> Option<(IpProtocol, Vec<u8>)> {
    let end = headers.packet_end()?;
    match headers.transport {
        Transport::Tcp(tcp) => Some((IpProtocol::TCP, segment(&tcp, end))),
        Transport::Udp(udp) => {
            let ports = [udp.dst_port.to_be_bytes(), udp.src_port.to_be_bytes()].concat();
            Some((IpProtocol::UDP, [&ports[..], &[0, 8, 0, 0]].concat()))
        }
        Transport::Icmp(icmp) if icmp.kind == Icmp::ECHO_REQUEST => {
            let rest = bytes.get(usize::from(icmp.offset) + 4..end)?;
            let head = [Icmp::ECHO_REPLY, 0, 0, 0];
            Some((IpProtocol::ICMP, [&head, rest].concat()))
        }
        Transport::Icmpv6(icmp) if icmp.kind == Icmpv6::ECHO_REQUEST => {
            let rest = bytes.get(usize::from(icmp.offset) + 4..end)?;
            let head = [Icmpv6::ECHO_REPLY, 0, 0, 0];
            Some((IpProtocol::ICMPV6, [&head, rest].concat()))
        }
        Transport::Icmp(_)
        | Transport::Icmpv6(_)
        | Transport::Sctp(_)
        | Transport::Malformed(_)
        | Transport::None => None,
    }
}

/// RFC 9293, 3.10.7.
fn segment(tcp: &Tcp, end: usize) -> Vec<u8> {
    let at = usize::from(tcp.offset);
    let data = end.saturating_sub(at + usize::from(tcp.header_len));
    let counts =
        u32::from(tcp.flags.contains(TcpFlags::SYN)) + u32::from(tcp.flags.contains(TcpFlags::FIN));
    let next = tcp
        .seq
        .wrapping_add(counts)
        .wrapping_add(u32::try_from(data).unwrap_or_default());
    let opens = tcp.flags.contains(TcpFlags::SYN) && !tcp.flags.contains(TcpFlags::ACK);
    let flags = if opens { 0x12 } else { 0x10 };
    let mut segment = Vec::from(tcp.dst_port.to_be_bytes());
    segment.extend(tcp.src_port.to_be_bytes());
    segment.extend(tcp.ack.to_be_bytes());
    segment.extend(next.to_be_bytes());
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::MacAddr;
    use wire::checksum::{Verified, verify_transport};
    use wire::craft::{Link, TcpSegment};

    #[test]
    fn each_is_answered_from_where_it_went() {
        let link = || Link::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let v4 = || link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let v6 = || link().ipv6("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let back = || Link::new(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]));
        let back4 = || back().ipv4([10, 0, 0, 2].into(), [10, 0, 0, 1].into());
        assert_eq!(
            answer(&v4().udp(1, 2, b"question")),
            Some(back4().udp(2, 1, b""))
        );
        assert_eq!(
            answer(&v4().echo_request(7, 9, b"ping")),
            Some(back4().echo_reply(7, 9, b"ping"))
        );
        for packet in [v4(), v6()] {
            let syn = TcpSegment {
                src_port: 5,
                dst_port: 80,
                seq: 100,
                flags: TcpFlags::SYN,
                ..TcpSegment::default()
            };
            let answer = answer(&packet.tcp(syn)).unwrap();
            let headers = Headers::parse(&answer).unwrap();
            assert_eq!(verify_transport(&answer, &headers), Verified::Right);
            let Transport::Tcp(tcp) = headers.transport else {
                panic!("{:?}", headers.transport)
            };
            assert_eq!((tcp.src_port, tcp.dst_port), (80, 5));
            assert_eq!(tcp.flags, TcpFlags::SYN.union(TcpFlags::ACK));
            assert_eq!(answer[usize::from(tcp.offset) + 8..][..4], [0, 0, 0, 101]);
        }
        assert_eq!(
            answer(&link().arp_request([10, 0, 0, 1].into(), [10, 0, 0, 2].into())),
            None
        );
    }
}
