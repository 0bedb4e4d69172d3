//! Frames made from scratch, with valid lengths and checksums: for tests, `explain` and the
//! simulation.
//!
//! ```
//! # use clearway_wire as wire;
//! use wire::craft::{Link, TcpSegment};
//! use wire::{Headers, MacAddr, TcpFlags};
//!
//! let link = Link::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
//! let frame = link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).tcp(TcpSegment {
//!     src_port: 40_000,
//!     dst_port: 443,
//!     flags: TcpFlags::SYN,
//!     ..TcpSegment::default()
//! });
//! assert_eq!(Headers::parse(&frame).unwrap().transport.ports(), Some((40_000, 443)));
//! ```
//! The transport headers and their checksums are smoltcp's, not this crate's: what is parsed and
//! verified here was not emitted by the same hand. Nothing here is on a frame's path, so it
//! allocates.

use crate::checksum::{Sum, pseudo};
use crate::headers::Headers;
use crate::ip::{Fragment, IpProtocol};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::{Tcp, TcpFlags, Transport, Udp};
use crate::vnet::VnetHeader;
use crate::{Arp, EtherType, Icmp, MacAddr, VlanId, VlanTag};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, NdiscNeighborFlags, NdiscRepr,
    NdiscRouterFlags, RawHardwareAddress, TcpPacket, TcpSeqNumber, UdpPacket,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The layer 2 part of frames to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    src: MacAddr,
    dst: MacAddr,
    tags: Vec<VlanTag>,
}

/// The layer 3 part of frames to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    link: Link,
    addresses: Addresses,
    hops: u8,
    id: u16,
    dont_fragment: bool,
    fragment: Option<Fragment>,
    options: Vec<u8>,
    extensions: Vec<(IpProtocol, Vec<u8>)>,
}

/// What a TCP segment is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpSegment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// SYN, ACK and the others.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Receive window, unscaled.
    pub window: u16,
    /// Options: a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Link {
    /// Frames from `src` to `dst`, without VLAN tags.
    #[must_use]
    pub const fn new(src: MacAddr, dst: MacAddr) -> Self {
        Self {
            src,
            dst,
            tags: Vec::new(),
        }
    }

    /// With one more tag, behind those already given.
    #[must_use]
    pub fn tag(mut self, tag: VlanTag) -> Self {
        self.tags.push(tag);
        self
    }

    /// With an 802.1Q tag that names `vlan`.
    #[must_use]
    pub fn vlan(self, vlan: VlanId) -> Self {
        self.tag(VlanTag {
            tpid: VlanTag::CTAG,
            tci: vlan.get(),
        })
    }

    /// A frame of this type and payload.
    #[must_use]
    pub fn raw(&self, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(14 + 4 * self.tags.len() + payload.len());
        frame.extend_from_slice(&self.dst.0);
        frame.extend_from_slice(&self.src.0);
        for tag in &self.tags {
            frame.extend_from_slice(&tag.to_bytes());
        }
        frame.extend_from_slice(&ethertype.0.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// A frame with this ARP message.
    #[must_use]
    pub fn arp(&self, message: &Arp) -> Vec<u8> {
        self.raw(EtherType::ARP, &message.emit())
    }

    /// `sender_ip`, at this link's source, asks who has `target_ip`.
    #[must_use]
    pub fn arp_request(&self, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
        let (operation, sender_mac, target_mac) = (Arp::REQUEST, self.src, MacAddr::ZERO);
        self.arp(&Arp {
            operation,
            sender_mac,
            sender_ip,
            target_mac,
            target_ip,
        })
    }

    /// `sender_ip` is at this link's source, says it to `target_ip` at this link's destination.
    #[must_use]
    pub fn arp_reply(&self, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
        let (operation, sender_mac, target_mac) = (Arp::REPLY, self.src, self.dst);
        self.arp(&Arp {
            operation,
            sender_mac,
            sender_ip,
            target_mac,
            target_ip,
        })
    }

    /// An IPv6 neighbour solicitation for `target`, with this link's source as the sender's MAC.
    #[must_use]
    pub fn neighbour_solicit(&self, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let lladdr = Some(hardware_address(self.src));
        self.ndisc(
            src,
            dst,
            NdiscRepr::NeighborSolicit {
                target_addr: target,
                lladdr,
            },
        )
    }

    /// An IPv6 neighbour advertisement: `target` is at this link's source.
    #[must_use]
    pub fn neighbour_advert(&self, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
        let lladdr = Some(hardware_address(self.src));
        self.ndisc(
            src,
            dst,
            NdiscRepr::NeighborAdvert {
                flags,
                target_addr: target,
                lladdr,
            },
        )
    }

    /// An IPv6 router advertisement: this link's source routes, for half an hour.
    #[must_use]
    pub fn router_advert(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let advert = NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(1800),
            reachable_time: Duration::from_secs(0),
            retrans_time: Duration::from_secs(0),
            lladdr: Some(hardware_address(self.src)),
            mtu: None,
            prefix_info: None,
        };
        self.ndisc(src, dst, advert)
    }

    /// IPv4 packets on this link: 64 hops, "don't fragment".
    #[must_use]
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Packet {
        Packet::new(self, Addresses::V4(src, dst))
    }

    /// IPv6 packets on this link: 64 hops.
    #[must_use]
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Packet {
        Packet::new(self, Addresses::V6(src, dst))
    }

    fn ndisc(&self, src: Ipv6Addr, dst: Ipv6Addr, message: NdiscRepr<'_>) -> Vec<u8> {
        // Neighbour discovery is believed only with all 255 hops left (RFC 4861, 7.1).
        self.clone()
            .ipv6(src, dst)
            .hops(255)
            .icmpv6(&Icmpv6Repr::Ndisc(message))
    }
}

impl Packet {
    const fn new(link: Link, addresses: Addresses) -> Self {
        Self {
            link,
            addresses,
            hops: 64,
            id: 0,
            dont_fragment: true,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// With this time to live or hop limit.
    #[must_use]
    pub const fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// With this IPv4 identification.
    #[must_use]
    pub const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With IPv4's "don't fragment" set or not.
    #[must_use]
    pub const fn dont_fragment(mut self, set: bool) -> Self {
        self.dont_fragment = set;
        self
    }

    /// As a fragment: give its part of the payload to [`Packet::raw`].
    #[must_use]
    pub const fn fragment(mut self, fragment: Fragment) -> Self {
        self.fragment = Some(fragment);
        self.dont_fragment = false;
        self
    }

    /// With IPv4 options: a multiple of 4 bytes, at most 40.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        options.clone_into(&mut self.options);
        self
    }

    /// With one more IPv6 extension header, before the fragment header if there is one. `body` is
    /// all of it but its first byte, which says what comes next; together a multiple of 8 bytes.
    #[must_use]
    pub fn extension(mut self, kind: IpProtocol, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_owned()));
        self
    }

    /// A packet of any protocol.
    ///
    /// # Panics
    /// When it, or its IPv4 header, would be longer than its length field can say.
    #[must_use]
    pub fn raw(&self, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
        match self.addresses {
            Addresses::V4(src, dst) => self
                .link
                .raw(EtherType::IPV4, &self.emit_v4(src, dst, protocol, payload)),
            Addresses::V6(src, dst) => self
                .link
                .raw(EtherType::IPV6, &self.emit_v6(src, dst, protocol, payload)),
        }
    }

    /// A UDP datagram.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB.
    #[must_use]
    pub fn udp(&self, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; Udp::LEN + payload.len()];
        bytes[Udp::LEN..].copy_from_slice(payload);
        let mut datagram = UdpPacket::new_unchecked(&mut bytes[..]);
        datagram.set_src_port(src_port);
        datagram.set_dst_port(dst_port);
        datagram.set_len(length(Udp::LEN + payload.len()));
        let (src, dst) = self.addresses.to_smoltcp();
        datagram.fill_checksum(&src, &dst);
        self.raw(IpProtocol::UDP, &bytes)
    }

    /// A TCP segment.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB, or has options that are not allowed.
    #[must_use]
    pub fn tcp(&self, segment: TcpSegment<'_>) -> Vec<u8> {
        let header = Tcp::MIN_LEN + segment.options.len();
        assert!(
            header <= 60 && header.is_multiple_of(4),
            "{} bytes of TCP options",
            segment.options.len()
        );
        let mut bytes = vec![0; header + segment.payload.len()];
        bytes[Tcp::MIN_LEN..header].copy_from_slice(segment.options);
        bytes[header..].copy_from_slice(segment.payload);
        let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
        packet.set_src_port(segment.src_port);
        packet.set_dst_port(segment.dst_port);
        packet.set_seq_number(TcpSeqNumber(segment.seq.cast_signed()));
        packet.set_ack_number(TcpSeqNumber(segment.ack.cast_signed()));
        packet.set_window_len(segment.window);
        packet.set_header_len(u8::try_from(header).expect("at most 60, as asserted"));
        packet.set_fin(segment.flags.contains(TcpFlags::FIN));
        packet.set_syn(segment.flags.contains(TcpFlags::SYN));
        packet.set_rst(segment.flags.contains(TcpFlags::RST));
        packet.set_psh(segment.flags.contains(TcpFlags::PSH));
        packet.set_ack(segment.flags.contains(TcpFlags::ACK));
        packet.set_urg(segment.flags.contains(TcpFlags::URG));
        packet.set_ece(segment.flags.contains(TcpFlags::ECE));
        packet.set_cwr(segment.flags.contains(TcpFlags::CWR));
        let (src, dst) = self.addresses.to_smoltcp();
        packet.fill_checksum(&src, &dst);
        self.raw(IpProtocol::TCP, &bytes)
    }

    /// An echo request (ping), over IPv4 or IPv6.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB.
    #[must_use]
    pub fn echo_request(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        match self.addresses {
            Addresses::V4(..) => self.icmpv4(&Icmpv4Repr::EchoRequest {
                ident: id,
                seq_no: seq,
                data: payload,
            }),
            Addresses::V6(..) => self.icmpv6(&Icmpv6Repr::EchoRequest {
                ident: id,
                seq_no: seq,
                data: payload,
            }),
        }
    }

    /// The answer to an echo request, over IPv4 or IPv6.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB.
    #[must_use]
    pub fn echo_reply(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        match self.addresses {
            Addresses::V4(..) => self.icmpv4(&Icmpv4Repr::EchoReply {
                ident: id,
                seq_no: seq,
                data: payload,
            }),
            Addresses::V6(..) => self.icmpv6(&Icmpv6Repr::EchoReply {
                ident: id,
                seq_no: seq,
                data: payload,
            }),
        }
    }

    fn icmpv4(&self, message: &Icmpv4Repr<'_>) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len().max(Icmp::LEN)];
        message.emit(
            &mut Icmpv4Packet::new_unchecked(&mut bytes[..]),
            &ChecksumCapabilities::default(),
        );
        self.raw(IpProtocol::ICMP, &bytes)
    }

    fn icmpv6(&self, message: &Icmpv6Repr<'_>) -> Vec<u8> {
        let Addresses::V6(src, dst) = self.addresses else {
            unreachable!("ICMPv6 is made for IPv6 addresses only")
        };
        let mut bytes = vec![0; message.buffer_len()];
        let mut packet = Icmpv6Packet::new_unchecked(&mut bytes[..]);
        message.emit(&src, &dst, &mut packet, &ChecksumCapabilities::default());
        self.raw(IpProtocol::ICMPV6, &bytes)
    }

    fn emit_v4(
        &self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        protocol: IpProtocol,
        payload: &[u8],
    ) -> Vec<u8> {
        let header = Ipv4::MIN_LEN + self.options.len();
        assert!(
            header <= 60 && header.is_multiple_of(4),
            "{} bytes of IPv4 options",
            self.options.len()
        );
        let (id, place) = match self.fragment {
            None => (self.id, 0),
            Some(f) => (
                u16::try_from(f.id).expect("an IPv4 identification has 16 bits"),
                (f.offset / 8) | (u16::from(f.more) << 13),
            ),
        };
        let mut packet = vec![0; header];
        packet[0] = 0x40 | u8::try_from(header / 4).expect("at most 15, as asserted");
        packet[2..4].copy_from_slice(&length(header + payload.len()).to_be_bytes());
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        packet[6..8]
            .copy_from_slice(&(place | (u16::from(self.dont_fragment) << 14)).to_be_bytes());
        packet[8] = self.hops;
        packet[9] = protocol.0;
        packet[12..16].copy_from_slice(&src.octets());
        packet[16..20].copy_from_slice(&dst.octets());
        packet[20..].copy_from_slice(&self.options);
        let checksum = Sum::of(&packet).finished();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend_from_slice(payload);
        packet
    }

    fn emit_v6(
        &self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        protocol: IpProtocol,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some(f) = self.fragment {
            let mut body = vec![0];
            body.extend_from_slice(&((f.offset & 0xfff8) | u16::from(f.more)).to_be_bytes());
            body.extend_from_slice(&f.id.to_be_bytes());
            chain.push((IpProtocol::FRAGMENT, body));
        }
        let mut packet = vec![
            0x60,
            0,
            0,
            0,
            0,
            0,
            chain.first().map_or(protocol, |first| first.0).0,
            self.hops,
        ];
        packet.extend_from_slice(&src.octets());
        packet.extend_from_slice(&dst.octets());
        for (index, (_, body)) in chain.iter().enumerate() {
            packet.push(chain.get(index + 1).map_or(protocol, |next| next.0).0);
            packet.extend_from_slice(body);
        }
        packet.extend_from_slice(payload);
        let len = length(packet.len() - Ipv6::LEN);
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    }
}

/// Takes the finished checksum of a TCP or UDP frame back, as if its sender had left the work to
/// the interface, and answers the virtio header that says so. `None`, and nothing is changed, when
/// the frame is neither.
#[must_use = "the frame is broken without its virtio header"]
pub fn unfinish(frame: &mut [u8]) -> Option<VnetHeader> {
    let headers = Headers::parse(frame).ok()?;
    if !matches!(headers.transport, Transport::Tcp(_) | Transport::Udp(_)) {
        return None;
    }
    let (start, end) = (headers.transport_offset()?, headers.packet_end()?);
    let field = headers.transport.checksum_offset()?;
    let at = start + usize::from(field);
    frame[at..at + 2].copy_from_slice(&pseudo(&headers, end - start).unfinished().to_be_bytes());
    Some(VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: u16::try_from(start).ok()?,
        csum_offset: field,
        ..VnetHeader::default()
    })
}

/// Makes a large TCP or UDP frame a superframe to be cut into `gso_size` bytes of payload each.
/// `None`, and nothing is changed, when the frame is neither.
#[must_use = "the frame is broken without its virtio header"]
pub fn superframe(frame: &mut [u8], gso_size: u16) -> Option<VnetHeader> {
    let headers = Headers::parse(frame).ok()?;
    let gso_type = match (headers.transport, headers.ethertype) {
        (Transport::Tcp(_), EtherType::IPV4) => VnetHeader::GSO_TCPV4,
        (Transport::Tcp(_), _) => VnetHeader::GSO_TCPV6,
        _ => VnetHeader::GSO_UDP_L4,
    };
    let hdr_len = u16::try_from(headers.header_len()).ok()?;
    unfinish(frame).map(|vnet| VnetHeader {
        gso_type,
        gso_size,
        hdr_len,
        ..vnet
    })
}

impl Addresses {
    const fn to_smoltcp(self) -> (IpAddress, IpAddress) {
        match self {
            Self::V4(src, dst) => (IpAddress::Ipv4(src), IpAddress::Ipv4(dst)),
            Self::V6(src, dst) => (IpAddress::Ipv6(src), IpAddress::Ipv6(dst)),
        }
    }
}

fn hardware_address(mac: MacAddr) -> RawHardwareAddress {
    RawHardwareAddress::from_bytes(&mac.0)
}

/// A length that the caller was told must fit its field.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a crafted packet is at most 65535 bytes long")
}
