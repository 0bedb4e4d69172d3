//! A frame made from the fields a person names, for `explain`.
//!
//! Lengths and checksums are right, so that a frame is judged for what it says and not for how it
//! was made. Pure.

use api::{
    ApiError, ArpFields, ArpOperation, FrameSpec, IcmpFields, LinkFields, Mac, TcpFields, TcpFlag,
    UdpFields,
};
use std::net::{IpAddr, Ipv6Addr};
use wire::craft::{Link, Packet, TcpSegment};
use wire::{Arp, MacAddr, TcpFlags, VlanTag};

/// The address a frame goes to, by which [`frame`]'s `dst` can be looked up; `None` when the frame
/// names its destination MAC, or needs none.
#[must_use]
pub fn destination(spec: &FrameSpec) -> Option<IpAddr> {
    let (link, ip) = match spec {
        FrameSpec::Hex(_) => return None,
        FrameSpec::Tcp(tcp) => (&tcp.link, tcp.dst_ip),
        FrameSpec::Udp(udp) => (&udp.link, udp.dst_ip),
        FrameSpec::Icmp(icmp) => (&icmp.link, icmp.dst_ip),
        FrameSpec::Arp(arp) => (&arp.link, arp.target_ip),
    };
    link.dst_mac.is_none().then_some(ip)
}

/// The bytes of a frame, from the destination MAC on. `src` and `dst` stand in for MAC addresses
/// that are not named; `dst: None` is broadcast.
///
/// # Errors
/// [`api::ErrorCode::Invalid`] as [`FrameSpec::check`] answers it.
pub fn frame(spec: &FrameSpec, src: Mac, dst: Option<Mac>) -> Result<Vec<u8>, ApiError> {
    spec.check()?;
    let dst = dst.unwrap_or(BROADCAST);
    match spec {
        FrameSpec::Hex(text) => api::parse_hex(text),
        FrameSpec::Tcp(fields) => Ok(tcp(fields, src, dst)),
        FrameSpec::Udp(fields) => Ok(udp(fields, src, dst)),
        FrameSpec::Icmp(fields) => Ok(icmp(fields, src, dst)),
        FrameSpec::Arp(fields) => arp(fields, src, dst),
    }
}

fn tcp(fields: &TcpFields, src: Mac, dst: Mac) -> Vec<u8> {
    let flags = fields.flags.iter().map(|flag| match flag {
        TcpFlag::Fin => TcpFlags::FIN,
        TcpFlag::Syn => TcpFlags::SYN,
        TcpFlag::Rst => TcpFlags::RST,
        TcpFlag::Psh => TcpFlags::PSH,
        TcpFlag::Ack => TcpFlags::ACK,
    });
    let ips = (fields.src_ip, fields.dst_ip);
    packet(&fields.link, (src, dst), ips).tcp(TcpSegment {
        src_port: fields.src_port,
        dst_port: fields.dst_port,
        flags: flags.fold(TcpFlags::default(), TcpFlags::union),
        window: u16::MAX,
        payload: &zeros(fields.payload),
        ..TcpSegment::default()
    })
}

fn udp(fields: &UdpFields, src: Mac, dst: Mac) -> Vec<u8> {
    let ips = (fields.src_ip, fields.dst_ip);
    let packet = packet(&fields.link, (src, dst), ips);
    packet.udp(fields.src_port, fields.dst_port, &zeros(fields.payload))
}

fn icmp(fields: &IcmpFields, src: Mac, dst: Mac) -> Vec<u8> {
    let packet = packet(&fields.link, (src, dst), (fields.src_ip, fields.dst_ip));
    let payload = zeros(fields.payload);
    if fields.reply {
        packet.echo_reply(fields.id, 1, &payload)
    } else {
        packet.echo_request(fields.id, 1, &payload)
    }
}

fn arp(fields: &ArpFields, src: Mac, dst: Mac) -> Result<Vec<u8>, ApiError> {
    let (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) = (fields.sender_ip, fields.target_ip)
    else {
        return Err(ApiError::invalid("ARP carries IPv4 addresses"));
    };
    let (operation, dst, target) = match fields.operation {
        ArpOperation::Request => {
            let dst = fields.link.dst_mac.unwrap_or(BROADCAST);
            (Arp::REQUEST, dst, Mac([0; 6]))
        }
        ArpOperation::Reply => {
            let dst = fields.link.dst_mac.unwrap_or(dst);
            (Arp::REPLY, dst, dst)
        }
    };
    let src = fields.link.src_mac.unwrap_or(src);
    Ok(link(&fields.link, src, dst).arp(&Arp {
        operation,
        sender_mac: MacAddr(fields.sender_mac.unwrap_or(src).0),
        sender_ip,
        target_mac: MacAddr(fields.target_mac.unwrap_or(target).0),
        target_ip,
    }))
}

fn packet(fields: &LinkFields, (src, dst): (Mac, Mac), ips: (IpAddr, IpAddr)) -> Packet {
    let src = fields.src_mac.unwrap_or(src);
    let dst = fields.dst_mac.or_else(|| group(ips.1)).unwrap_or(dst);
    let link = link(fields, src, dst);
    match ips {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from, to),
        (from, to) => link.ipv6(v6(from), v6(to)),
    }
}

fn link(fields: &LinkFields, src: Mac, dst: Mac) -> Link {
    let link = Link::new(MacAddr(src.0), MacAddr(dst.0));
    let tag = fields.vlan.map(|vlan| VlanTag {
        tpid: VlanTag::CTAG,
        tci: vlan.get(),
    });
    tag.into_iter().fold(link, Link::tag)
}

fn zeros(len: u16) -> Vec<u8> {
    vec![0; len.into()]
}

/// The MAC address of a group (RFC 1112 6.4, RFC 2464 7).
fn group(ip: IpAddr) -> Option<Mac> {
    match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => Some(BROADCAST),
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            Some(Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let [.., a, b, c, d] = ip.octets();
            Some(Mac([0x33, 0x33, a, b, c, d]))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

const BROADCAST: Mac = Mac([0xff; 6]);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::checksum::{Verified, verify_ipv4, verify_transport};
    use wire::{Headers, Net, Transport};

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn spec(kind: u8, src: &str, dst: &str, payload: u16, vlan: Option<u16>) -> FrameSpec {
        let (src_ip, dst_ip) = (ip(src), ip(dst));
        let link = LinkFields {
            vlan: vlan.map(|vid| vid.try_into().unwrap()),
            ..LinkFields::default()
        };
        match kind {
            0 => FrameSpec::Tcp(TcpFields {
                link,
                src_ip,
                dst_ip,
                src_port: 1,
                dst_port: 2,
                flags: vec![TcpFlag::Syn, TcpFlag::Ack],
                payload,
            }),
            1 => FrameSpec::Udp(UdpFields {
                link,
                src_ip,
                dst_ip,
                src_port: 1,
                dst_port: 2,
                payload,
            }),
            _ => FrameSpec::Icmp(IcmpFields {
                link,
                src_ip,
                dst_ip,
                reply: false,
                id: 7,
                payload,
            }),
        }
    }

    proptest! {
        #[test]
        fn what_is_made_is_understood(kind in 0u8..3, six: bool, payload in 0u16..3000, vlan in proptest::option::of(1u16..4095)) {
            let (src, dst) = if six { ("2001:db8::1", "2001:db8::2") } else { ("10.1.0.2", "10.1.0.3") };
            let bytes = frame(&spec(kind, src, dst, payload, vlan), A, Some(B)).unwrap();
            let headers = Headers::parse(&bytes).unwrap();
            prop_assert_eq!((headers.src.0, headers.dst.0), (A.0, B.0));
            prop_assert_eq!(headers.outer.map(VlanTag::vid), vlan);
            let good = if six { Verified::Nothing } else { Verified::Right };
            prop_assert_eq!(verify_ipv4(&bytes, &headers), good);
            prop_assert_eq!(verify_transport(&bytes, &headers), Verified::Right);
            prop_assert_eq!(matches!(headers.transport, Transport::Tcp(_)), kind == 0);
            prop_assert_eq!(matches!(headers.net, Net::Ipv6(_)), six);
        }
    }

    #[test]
    fn an_arp_request_asks_everybody() {
        let fields = ArpFields {
            link: LinkFields::default(),
            operation: ArpOperation::Request,
            sender_mac: None,
            sender_ip: ip("10.1.0.2"),
            target_mac: None,
            target_ip: ip("10.1.0.3"),
        };
        let request = frame(&FrameSpec::Arp(fields.clone()), A, Some(B)).unwrap();
        assert_eq!(
            request,
            api::parse_hex("ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a 0a010002 000000000000 0a010003").unwrap()
        );
        let reply = frame(
            &FrameSpec::Arp(ArpFields {
                operation: ArpOperation::Reply,
                ..fields
            }),
            A,
            Some(B),
        )
        .unwrap();
        assert_eq!(
            (&reply[..6], &reply[20..22], &reply[32..38]),
            (&B.0[..], &[0, 2][..], &B.0[..])
        );
    }

    #[test]
    fn a_group_has_its_own_mac() {
        for (dst, mac) in [
            ("224.0.0.251", [0x01, 0, 0x5e, 0, 0, 0xfb]),
            ("255.255.255.255", [0xff; 6]),
            ("ff02::1:ff00:2", [0x33, 0x33, 0xff, 0, 0, 2]),
        ] {
            let src = if ip(dst).is_ipv4() {
                "10.1.0.2"
            } else {
                "2001:db8::1"
            };
            assert_eq!(
                frame(&spec(1, src, dst, 0, None), A, Some(B)).unwrap()[..6],
                mac,
                "{dst}"
            );
        }
    }

    #[test]
    fn a_destination_is_looked_up_only_where_none_is_named() {
        let udp = spec(1, "10.1.0.2", "10.1.0.3", 0, None);
        assert_eq!(destination(&udp), Some(ip("10.1.0.3")));
        let FrameSpec::Udp(fields) = udp else {
            unreachable!()
        };
        let named = FrameSpec::Udp(UdpFields {
            link: LinkFields {
                dst_mac: Some(B),
                ..LinkFields::default()
            },
            ..fields
        });
        assert_eq!(destination(&named), None);
        assert_eq!(frame(&named, A, None).unwrap()[..6], B.0);
    }
}
