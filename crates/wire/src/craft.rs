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
//! The tests hold every kind of frame against the one that smoltcp emits, byte by byte: what is
//! parsed and verified elsewhere with frames from here is verified by another hand, too. Nothing
//! here is on a frame's path, so it allocates.

use crate::checksum::{Sum, pseudo};
use crate::emit::Ends;
use crate::headers::Headers;
use crate::ip::{Fragment, IpProtocol};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::{Tcp, TcpFlags, Transport};
use crate::vnet::VnetHeader;
use crate::{Arp, EtherType, Icmp, Icmpv6, MacAddr, VlanId, VlanTag};
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
    ends: Ends,
    hops: u8,
    id: u16,
    dont_fragment: bool,
    fragment: Option<Fragment>,
    options: Vec<u8>,
    extensions: Vec<(IpProtocol, Vec<u8>)>,
}

/// The fields of a TCP segment to be made.
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
        let body = [&[0; 4][..], &target.octets(), &self.lladdr(SOURCE_LLADDR)].concat();
        self.discovery(src, dst, Icmpv6::NEIGHBOUR_SOLICIT, &body)
    }

    /// An IPv6 neighbour advertisement: `target` is at this link's source.
    #[must_use]
    pub fn neighbour_advert(&self, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let solicited_override = [0x60, 0, 0, 0];
        let lladdr = self.lladdr(TARGET_LLADDR);
        let body = [&solicited_override[..], &target.octets(), &lladdr].concat();
        self.discovery(src, dst, Icmpv6::NEIGHBOUR_ADVERT, &body)
    }

    /// An IPv6 router advertisement: this link's source routes, for half an hour.
    #[must_use]
    pub fn router_advert(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let (hop_limit, no_flags, [a, b]) = (64, 0, 1800u16.to_be_bytes());
        let unspecified_timers = [0; 8];
        let head = [hop_limit, no_flags, a, b];
        let body = [&head[..], &unspecified_timers, &self.lladdr(SOURCE_LLADDR)].concat();
        self.discovery(src, dst, Icmpv6::ROUTER_ADVERT, &body)
    }

    /// IPv4 packets on this link: 64 hops, "don't fragment".
    #[must_use]
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Packet {
        Packet::new(self, Ends::V4(src, dst))
    }

    /// IPv6 packets on this link: 64 hops.
    #[must_use]
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Packet {
        Packet::new(self, Ends::V6(src, dst))
    }

    /// An option that names this link's source (RFC 4861, 4.6.1).
    fn lladdr(&self, option: u8) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.src.0;
        [option, 1, a, b, c, d, e, f]
    }

    fn discovery(&self, src: Ipv6Addr, dst: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
        // Neighbour discovery is believed only with all 255 hops left (RFC 4861, 7.1).
        let packet = self.clone().ipv6(src, dst).hops(255);
        packet.icmp(kind, 0, body)
    }
}

/// The option that names the sender's MAC address.
const SOURCE_LLADDR: u8 = 1;
/// The option that names the MAC address of the target.
const TARGET_LLADDR: u8 = 2;

impl Packet {
    const fn new(link: Link, ends: Ends) -> Self {
        Self {
            link,
            ends,
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
        match self.ends {
            Ends::V4(src, dst) => self
                .link
                .raw(EtherType::IPV4, &self.emit_v4(src, dst, protocol, payload)),
            Ends::V6(src, dst) => self
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
        let ports = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
        self.transport(IpProtocol::UDP, &[&ports, &[0; 4], payload])
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
        let TcpSegment {
            src_port,
            dst_port,
            flags,
            seq,
            ack,
            window,
            options,
            payload,
        } = segment;
        let ports = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
        let numbers = [seq.to_be_bytes(), ack.to_be_bytes()].concat();
        let words = u8::try_from(header / 4).expect("at most 15, as asserted");
        let [a, b] = window.to_be_bytes();
        let rest = [words << 4, flags.0, a, b, 0, 0, 0, 0];
        self.transport(
            IpProtocol::TCP,
            &[&ports, &numbers, &rest, options, payload],
        )
    }

    /// An echo request (ping), over IPv4 or IPv6.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB.
    #[must_use]
    pub fn echo_request(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        self.echo(Icmp::ECHO_REQUEST, Icmpv6::ECHO_REQUEST, id, seq, payload)
    }

    /// The answer to an echo request, over IPv4 or IPv6.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB.
    #[must_use]
    pub fn echo_reply(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        self.echo(Icmp::ECHO_REPLY, Icmpv6::ECHO_REPLY, id, seq, payload)
    }

    fn echo(&self, v4: u8, v6: u8, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        let body = [&id.to_be_bytes(), &seq.to_be_bytes(), payload].concat();
        let kind = self.of_version(v4, v6);
        self.icmp(kind, 0, &body)
    }

    /// The error "destination unreachable" about the packet in the untagged frame `about`.
    ///
    /// # Panics
    /// When it would be longer than 64 KiB, or `about` is no frame.
    #[must_use]
    pub fn unreachable(&self, code: u8, about: &[u8]) -> Vec<u8> {
        let kind = self.of_version(Icmp::UNREACHABLE, Icmpv6::UNREACHABLE);
        let (_, packet) = about.split_at(14);
        self.icmp(kind, code, &[&[0; 4], packet].concat())
    }

    /// An ICMP message, over IPv6 an ICMPv6 one: `body` is what follows the checksum.
    fn icmp(&self, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
        let protocol = self.of_version(IpProtocol::ICMP, IpProtocol::ICMPV6);
        self.transport(protocol, &[&[kind, code, 0, 0], body])
    }

    fn of_version<T>(&self, v4: T, v6: T) -> T {
        match self.ends {
            Ends::V4(..) => v4,
            Ends::V6(..) => v6,
        }
    }

    /// A packet whose transport header and payload are these parts; its checksum, and the length of
    /// UDP, are filled in.
    fn transport(&self, protocol: IpProtocol, parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = parts.concat();
        self.ends.finish_transport(&mut bytes, protocol);
        self.raw(protocol, &bytes)
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

/// A length that the caller was told must fit its field.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a crafted packet is at most 65535 bytes long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::time::Duration;
    use smoltcp::wire::{
        Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, NdiscNeighborFlags,
        NdiscRepr, NdiscRouterFlags, RawHardwareAddress, TcpPacket, TcpSeqNumber, UdpPacket,
        UdpRepr,
    };

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    fn packet(v4: bool) -> (Packet, IpAddress, IpAddress) {
        let link = Link::new(A, B);
        if v4 {
            (link.ipv4(A4, B4), A4.into(), B4.into())
        } else {
            (link.ipv6(A6, B6), A6.into(), B6.into())
        }
    }

    fn icmpv6(message: &Icmpv6Repr<'_>) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        let mut packet = Icmpv6Packet::new_unchecked(&mut bytes[..]);
        message.emit(&A6, &B6, &mut packet, &ChecksumCapabilities::default());
        bytes
    }

    /// Both zeros are the same sum; we write the one that UDP allows.
    fn with_our_zero(transport: &mut [u8], checksum: usize) {
        let field = &mut transport[checksum..checksum + 2];
        if field == [0, 0] {
            field.fill(0xff);
        }
    }

    #[test]
    fn neighbour_discovery_is_what_smoltcp_emits() {
        let link = Link::new(A, B);
        let target = "2001:db8::77".parse().unwrap();
        let lladdr = Some(RawHardwareAddress::from_bytes(&A.0));
        let solicit = NdiscRepr::NeighborSolicit {
            target_addr: target,
            lladdr,
        };
        let advert = NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
            target_addr: target,
            lladdr,
        };
        let router = NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(1800),
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr,
            mtu: None,
            prefix_info: None,
        };
        for (crafted, theirs) in [
            (link.neighbour_solicit(A6, B6, target), solicit),
            (link.neighbour_advert(A6, B6, target), advert),
            (link.router_advert(A6, B6), router),
        ] {
            let theirs = icmpv6(&Icmpv6Repr::Ndisc(theirs));
            let packet = link.clone().ipv6(A6, B6).hops(255);
            assert_eq!(crafted, packet.raw(IpProtocol::ICMPV6, &theirs));
        }
    }

    proptest! {
        #[test]
        fn datagrams_are_what_smoltcp_emits(
            v4: bool, ports: (u16, u16), payload in vec(any::<u8>(), 0..400)
        ) {
            let (packet, src, dst) = packet(v4);
            let repr = UdpRepr { src_port: ports.0, dst_port: ports.1 };
            let mut theirs = vec![0; repr.header_len() + payload.len()];
            repr.emit(
                &mut UdpPacket::new_unchecked(&mut theirs[..]),
                &src,
                &dst,
                payload.len(),
                |room| room.copy_from_slice(&payload),
                &ChecksumCapabilities::default(),
            );
            let crafted = packet.udp(ports.0, ports.1, &payload);
            prop_assert_eq!(crafted, packet.raw(IpProtocol::UDP, &theirs));
        }

        #[test]
        fn segments_are_what_smoltcp_emits(
            v4: bool,
            ports: (u16, u16),
            flags: u8,
            numbers: (u32, u32),
            window: u16,
            options in (0usize..=10).prop_map(|words| vec![1; 4 * words]),
            payload in vec(any::<u8>(), 0..400),
        ) {
            let (packet, src, dst) = packet(v4);
            let header = Tcp::MIN_LEN + options.len();
            let mut theirs = [&[0; Tcp::MIN_LEN][..], &options, &payload].concat();
            let mut segment = TcpPacket::new_unchecked(&mut theirs[..]);
            segment.set_src_port(ports.0);
            segment.set_dst_port(ports.1);
            segment.set_seq_number(TcpSeqNumber(numbers.0.cast_signed()));
            segment.set_ack_number(TcpSeqNumber(numbers.1.cast_signed()));
            segment.set_window_len(window);
            segment.set_header_len(u8::try_from(header).unwrap());
            let has = |flag| TcpFlags(flags).contains(flag);
            segment.set_fin(has(TcpFlags::FIN));
            segment.set_syn(has(TcpFlags::SYN));
            segment.set_rst(has(TcpFlags::RST));
            segment.set_psh(has(TcpFlags::PSH));
            segment.set_ack(has(TcpFlags::ACK));
            segment.set_urg(has(TcpFlags::URG));
            segment.set_ece(has(TcpFlags::ECE));
            segment.set_cwr(has(TcpFlags::CWR));
            segment.fill_checksum(&src, &dst);
            let crafted = packet.tcp(TcpSegment {
                src_port: ports.0,
                dst_port: ports.1,
                flags: TcpFlags(flags),
                seq: numbers.0,
                ack: numbers.1,
                window,
                options: &options,
                payload: &payload,
            });
            with_our_zero(&mut theirs, 16);
            prop_assert_eq!(crafted, packet.raw(IpProtocol::TCP, &theirs));
        }

        #[test]
        fn echoes_are_what_smoltcp_emits(
            v4: bool, reply: bool, ident: u16, seq_no: u16, data in vec(any::<u8>(), 0..400)
        ) {
            let (packet, ..) = packet(v4);
            let data = &data[..];
            let crafted = if reply {
                packet.echo_reply(ident, seq_no, data)
            } else {
                packet.echo_request(ident, seq_no, data)
            };
            let (protocol, mut theirs) = if v4 {
                let message = if reply {
                    Icmpv4Repr::EchoReply { ident, seq_no, data }
                } else {
                    Icmpv4Repr::EchoRequest { ident, seq_no, data }
                };
                let mut bytes = vec![0; message.buffer_len()];
                let mut packet = Icmpv4Packet::new_unchecked(&mut bytes[..]);
                message.emit(&mut packet, &ChecksumCapabilities::default());
                (IpProtocol::ICMP, bytes)
            } else {
                let message = if reply {
                    Icmpv6Repr::EchoReply { ident, seq_no, data }
                } else {
                    Icmpv6Repr::EchoRequest { ident, seq_no, data }
                };
                (IpProtocol::ICMPV6, icmpv6(&message))
            };
            with_our_zero(&mut theirs, 2);
            prop_assert_eq!(crafted, packet.raw(protocol, &theirs));
        }
    }
}
