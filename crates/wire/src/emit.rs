//! Frames written onto the end of a buffer: what a router says of its own.
//!
//! ```
//! # use clearway_wire as wire;
//! use wire::emit::{Ends, Envelope};
//! use wire::{Headers, IpProtocol, MacAddr};
//!
//! let envelope = Envelope {
//!     src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
//!     dst_mac: MacAddr([2, 0, 0, 0, 0, 2]),
//!     ends: Ends::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
//!     hops: 64,
//!     traffic_class: 0,
//! };
//! let mut out = Vec::new();
//! envelope.emit(&mut out, IpProtocol::UDP, |out| {
//!     out.extend_from_slice(&[0, 67, 0, 68, 0, 0, 0, 0]); // length and checksum are filled in
//!     out.extend_from_slice(b"payload");
//! });
//! assert_eq!(Headers::parse(&out).unwrap().transport.ports(), Some((67, 68)));
//! ```
//! The caller writes the payload; lengths and checksums are made here, once it is known. Nothing
//! is allocated but the buffer's own growth, and nothing panics: a payload beyond what the length
//! field can say is cut off there.

use crate::checksum::{Sum, never_zero};
use crate::ip::IpProtocol;
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::{Arp, EtherType, MacAddr};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Everything about a packet but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Source MAC.
    pub src_mac: MacAddr,
    /// Destination MAC.
    pub dst_mac: MacAddr,
    /// Source and destination.
    pub ends: Ends,
    /// Time to live or hop limit.
    pub hops: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
}

/// The addresses of a packet, source first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Of IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// Of IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

/// Appends a frame with this ARP message.
pub fn arp(out: &mut Vec<u8>, dst: MacAddr, src: MacAddr, message: &Arp) {
    ethernet(out, dst, src, EtherType::ARP);
    out.extend_from_slice(&message.emit());
}

impl Envelope {
    /// Appends a frame with a packet of `protocol` whose payload, transport header included, is
    /// what `payload` appends. A UDP length and the checksum of UDP, TCP, ICMP or ICMPv6 are filled
    /// in. The IPv4 packet is one that is never fragmented, so it needs no identification (RFC
    /// 6864, 4.1).
    pub fn emit(
        &self,
        out: &mut Vec<u8>,
        protocol: IpProtocol,
        payload: impl FnOnce(&mut Vec<u8>),
    ) {
        let ethertype = match self.ends {
            Ends::V4(..) => EtherType::IPV4,
            Ends::V6(..) => EtherType::IPV6,
        };
        ethernet(out, self.dst_mac, self.src_mac, ethertype);
        let l3 = out.len();
        self.ends.header(out, self, protocol);
        let l4 = out.len();
        payload(out);
        let most = match self.ends {
            Ends::V4(..) => usize::from(u16::MAX) - Ipv4::MIN_LEN,
            Ends::V6(..) => usize::from(u16::MAX),
        };
        out.truncate(l4 + most);
        let (header, transport) = out[l3..].split_at_mut(l4 - l3);
        self.ends.finish_header(header, transport.len());
        self.ends.finish_transport(transport, protocol);
    }
}

impl Ends {
    fn header(&self, out: &mut Vec<u8>, envelope: &Envelope, protocol: IpProtocol) {
        let Envelope {
            hops,
            traffic_class,
            ..
        } = *envelope;
        match *self {
            Self::V4(src, dst) => {
                // Don't fragment; length and checksum follow.
                out.extend_from_slice(&[0x45, traffic_class, 0, 0, 0, 0, 0x40, 0]);
                out.extend_from_slice(&[hops, protocol.0, 0, 0]);
                out.extend_from_slice(&src.octets());
                out.extend_from_slice(&dst.octets());
            }
            Self::V6(src, dst) => {
                out.extend_from_slice(&[0x60 | traffic_class >> 4, traffic_class << 4, 0, 0]);
                out.extend_from_slice(&[0, 0, protocol.0, hops]);
                out.extend_from_slice(&src.octets());
                out.extend_from_slice(&dst.octets());
            }
        }
    }

    fn finish_header(&self, header: &mut [u8], payload: usize) {
        match self {
            Self::V4(..) => {
                put(header, 2, word(Ipv4::MIN_LEN + payload));
                let checksum = Sum::of(header).finished();
                put(header, 10, checksum);
            }
            Self::V6(..) => put(header, 4, word(payload)),
        }
    }

    /// Fills in the checksum of UDP, TCP, ICMP or ICMPv6, and the length of UDP.
    pub(crate) fn finish_transport(&self, transport: &mut [u8], protocol: IpProtocol) {
        let at = match protocol {
            IpProtocol::UDP => {
                let len = word(transport.len());
                put(transport, 4, len);
                6
            }
            IpProtocol::TCP => 16,
            IpProtocol::ICMP | IpProtocol::ICMPV6 => 2,
            _ => return,
        };
        put(transport, at, 0);
        let len = transport.len();
        let pseudo = match *self {
            Self::V4(..) if protocol == IpProtocol::ICMP => Sum::default(),
            Self::V4(src, dst) => Sum::pseudo_v4(src, dst, protocol, len),
            Self::V6(src, dst) => Sum::pseudo_v6(src, dst, protocol, len),
        };
        let checksum = pseudo.plus(Sum::of(transport)).finished();
        // Zero says "none" in UDP alone; to every other verifier both zeros are the same.
        put(transport, at, never_zero(checksum));
    }
}

const _: () = assert!(Ipv4::MIN_LEN == 20 && Ipv6::LEN == 40);

fn ethernet(out: &mut Vec<u8>, dst: MacAddr, src: MacAddr, ethertype: EtherType) {
    out.extend_from_slice(&dst.0);
    out.extend_from_slice(&src.0);
    out.extend_from_slice(&ethertype.0.to_be_bytes());
}

/// Writes a word; a payload too short to have one there is left as it is.
fn put(bytes: &mut [u8], at: usize, word: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&word.to_be_bytes());
    }
}

/// A length that was cut to what its field can say.
fn word(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{Verified, verify_ipv4, verify_transport};
    use crate::craft::Link;
    use crate::{Headers, Net};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn envelope(v4: bool) -> Envelope {
        Envelope {
            src_mac: A,
            dst_mac: B,
            ends: if v4 {
                Ends::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            } else {
                Ends::V6(
                    "2001:db8::1".parse().unwrap(),
                    "2001:db8::2".parse().unwrap(),
                )
            },
            hops: 64,
            traffic_class: 0,
        }
    }

    #[test]
    fn arp_is_what_craft_makes() {
        let message = Arp {
            operation: Arp::REPLY,
            sender_mac: A,
            sender_ip: [10, 0, 0, 1].into(),
            target_mac: B,
            target_ip: [10, 0, 0, 2].into(),
        };
        let mut out = b"before".to_vec();
        arp(&mut out, B, A, &message);
        assert_eq!(out[6..], Link::new(A, B).arp(&message));
    }

    #[test]
    fn a_traffic_class_stands_where_it_is_read() {
        for v4 in [true, false] {
            let mut out = Vec::new();
            let mut envelope = envelope(v4);
            envelope.traffic_class = 0xb9;
            envelope.emit(&mut out, IpProtocol::SCTP, |out| out.extend([0; 12]));
            let found = match Headers::parse(&out).unwrap().net {
                Net::Ipv4(ip) => ip.tos,
                Net::Ipv6(ip) => ip.traffic_class,
                Net::Arp(_) | Net::Malformed(_) | Net::Other => panic!("not IP"),
            };
            assert_eq!(found, 0xb9);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_what_is_too_short_stays() {
        for (v4, most) in [(true, 65_515), (false, 65_535)] {
            let mut out = Vec::new();
            envelope(v4).emit(&mut out, IpProtocol::UDP, |out| {
                out.resize(out.len() + 70_000, 7);
            });
            let headers = Headers::parse(&out).unwrap();
            assert_eq!(headers.payload_len() + 8, most);
            assert_eq!(headers.packet_end(), Some(out.len()));
            let mut out = Vec::new();
            envelope(v4).emit(&mut out, IpProtocol::TCP, |out| out.push(1));
            assert_eq!(out.last(), Some(&1));
        }
    }

    proptest! {
        /// That one is held against what smoltcp emits.
        #[test]
        fn udp_is_what_craft_makes(v4: bool, payload in vec(any::<u8>(), 0..400), ports: (u16, u16)) {
            let mut out = Vec::new();
            envelope(v4).emit(&mut out, IpProtocol::UDP, |out| {
                out.extend(ports.0.to_be_bytes());
                out.extend(ports.1.to_be_bytes());
                out.extend([0; 4]);
                out.extend(&payload);
            });
            let link = Link::new(A, B);
            let packet = match envelope(v4).ends {
                Ends::V4(src, dst) => link.ipv4(src, dst),
                Ends::V6(src, dst) => link.ipv6(src, dst),
            };
            prop_assert_eq!(&out, &packet.udp(ports.0, ports.1, &payload));
            let headers = Headers::parse(&out).unwrap();
            prop_assert_eq!(verify_transport(&out, &headers), Verified::Right);
            if v4 {
                prop_assert_eq!(verify_ipv4(&out, &headers), Verified::Right);
            }
        }
    }
}
