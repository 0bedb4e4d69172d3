//! A frame's description, and its bytes.

use pipeline::DropReason;
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::craft::{self, Link, TcpSegment};
use wire::{Arp, EtherType, IpProtocol, MacAddr, VlanTag, VnetHeader};

/// The meaning of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// VLAN tags, outermost first.
    pub tags: Vec<VlanTag>,
    /// Its payload.
    pub payload: Payload,
    /// The work that its sender left undone, if there is something to leave.
    pub undone: Undone,
    /// It ends after so many bytes, within its Ethernet header or first two tags.
    pub cut: Option<usize>,
}

/// The payload of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// An ARP reply.
    Arp {
        /// Who claims.
        sender_mac: MacAddr,
        /// The sender's address that it claims.
        sender_ip: Ipv4Addr,
    },
    /// An IPv4 packet.
    Ipv4 {
        /// From.
        src: Ipv4Addr,
        /// Its payload.
        says: Ipv4Says,
    },
    /// An IPv6 packet.
    Ipv6 {
        /// From.
        src: Ipv6Addr,
        /// Its payload.
        says: Ipv6Says,
    },
    /// A protocol's EtherType over something else.
    Broken(Broken),
    /// Another protocol, so many bytes of it.
    Other(usize),
}

/// The payload of an IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4Says {
    /// A datagram with so many bytes.
    Udp(usize),
    /// A segment with so many bytes.
    Tcp(usize),
    /// A host without an address asks for one.
    DhcpRequest,
    /// An echo request.
    Echo,
    /// A UDP header that lies about its length.
    BrokenUdp,
}

/// The payload of an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Says {
    /// A datagram with so many bytes.
    Udp(usize),
    /// A segment with so many bytes.
    Tcp(usize),
    /// An echo request.
    Echo,
    /// Who has this?
    Solicit {
        /// This.
        target: Ipv6Addr,
    },
    /// I have this.
    Advert {
        /// This.
        target: Ipv6Addr,
    },
    /// I am a router.
    RouterAdvert,
    /// Use another router.
    Redirect,
    /// A UDP header that lies about its length.
    BrokenUdp,
    /// A router advertisement behind nine extension headers.
    HiddenBehindExtensions,
}

/// How a network header is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// IPv4 of version 5.
    Ipv4Version,
    /// IPv6 that ends inside its header.
    Ipv6Truncated,
    /// ARP about a token ring.
    ArpKind,
}

/// The work that a sender leaves to the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// Nothing.
    Nothing,
    /// The checksum of TCP or UDP.
    Checksum,
    /// Cutting TCP into segments of so many bytes, and their checksums.
    Superframe(u16),
    /// A virtio header that points far outside.
    Nonsense,
}

const V4_DST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);
const V6_DST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 99);
const ETHERNET: usize = 14;
const TAG: usize = 4;
/// Tags that count as part of the link's header.
const LINK_TAGS: usize = 2;

impl Spec {
    /// Its bytes and virtio header.
    #[must_use]
    pub fn render(&self) -> (Vec<u8>, VnetHeader) {
        let mut bytes = self.whole();
        let vnet = match self.undone {
            Undone::Nothing => None,
            Undone::Checksum => craft::unfinish(&mut bytes),
            Undone::Superframe(size) if self.tcp_payload().is_some() => {
                craft::superframe(&mut bytes, size)
            }
            Undone::Superframe(_) => None,
            Undone::Nonsense => Some(VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start: u16::MAX,
                ..VnetHeader::default()
            }),
        };
        if let Some(cut) = self.cut {
            bytes.truncate(cut);
        }
        (bytes, vnet.unwrap_or_default())
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cut.unwrap_or_else(|| self.whole().len())
    }

    /// Returns whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes and virtio header it has with other tags.
    #[must_use]
    pub fn rendered_with(&self, tags: &[VlanTag]) -> (Vec<u8>, VnetHeader) {
        let (bytes, mut vnet) = self.render();
        let (macs, rest) = (&bytes[..12], &bytes[12 + TAG * self.tags.len()..]);
        let tags_bytes: Vec<u8> = tags.iter().flat_map(|tag| tag.to_bytes()).collect();
        if vnet != VnetHeader::default() {
            let moved = |at: u16| {
                let behind = usize::from(at) - TAG * self.tags.len() + TAG * tags.len();
                u16::try_from(behind).expect("headers are short")
            };
            vnet.csum_start = moved(vnet.csum_start);
            vnet.hdr_len = if vnet.hdr_len == 0 {
                0
            } else {
                moved(vnet.hdr_len)
            };
        }
        ([macs, &tags_bytes, rest].concat(), vnet)
    }

    pub(super) fn is_a_frame(&self) -> Result<(), DropReason> {
        if self.cut.is_some() {
            return Err(DropReason::FrameTooShort);
        }
        if self.undone == Undone::Nonsense {
            return Err(DropReason::VnetInvalid);
        }
        Ok(())
    }

    /// Bytes of the largest packet that it becomes on the wire.
    pub(super) fn packet_len(&self) -> usize {
        let whole = self.len() - ETHERNET - TAG * self.tags.len().min(LINK_TAGS);
        match (self.undone, self.tcp_payload()) {
            (Undone::Superframe(size), Some(payload)) => {
                whole - payload + payload.min(usize::from(size))
            }
            _ => whole,
        }
    }

    /// Bytes of TCP payload, where TCP can be seen.
    fn tcp_payload(&self) -> Option<usize> {
        let (Payload::Ipv4 {
            says: Ipv4Says::Tcp(len),
            ..
        }
        | Payload::Ipv6 {
            says: Ipv6Says::Tcp(len),
            ..
        }) = self.payload
        else {
            return None;
        };
        (self.tags.len() <= LINK_TAGS).then_some(len)
    }

    fn whole(&self) -> Vec<u8> {
        let link = self
            .tags
            .iter()
            .fold(Link::new(self.src, self.dst), |link, &tag| link.tag(tag));
        match &self.payload {
            Payload::Arp {
                sender_mac,
                sender_ip,
            } => link.arp(&Arp {
                operation: Arp::REPLY,
                sender_mac: *sender_mac,
                sender_ip: *sender_ip,
                target_mac: self.dst,
                target_ip: V4_DST,
            }),
            Payload::Ipv4 { src, says } => says.render(link, *src),
            Payload::Ipv6 { src, says } => says.render(link, *src),
            Payload::Broken(Broken::Ipv4Version) => link.raw(EtherType::IPV4, &[0x55; 40]),
            Payload::Broken(Broken::Ipv6Truncated) => link.raw(EtherType::IPV6, &[0x60; 30]),
            Payload::Broken(Broken::ArpKind) => link.raw(EtherType::ARP, &[9; 28]),
            Payload::Other(len) => link.raw(EtherType(0x88b5), &vec![0x5a; *len]),
        }
    }
}

fn segment(payload: &[u8]) -> TcpSegment<'_> {
    TcpSegment {
        src_port: 4000,
        dst_port: 80,
        seq: 77,
        payload,
        ..TcpSegment::default()
    }
}

/// A UDP header that announces more bytes than there are.
const LYING_UDP: [u8; 8] = [0, 53, 0, 53, 0, 200, 0, 0];

impl Ipv4Says {
    fn render(self, link: Link, src: Ipv4Addr) -> Vec<u8> {
        let packet = link.ipv4(src, V4_DST);
        match self {
            Self::Udp(len) => packet.udp(1000, 2000, &vec![1; len]),
            Self::Tcp(len) => packet.tcp(segment(&vec![2; len])),
            Self::DhcpRequest => packet.udp(68, 67, &[3; 240]),
            Self::Echo => packet.echo_request(1, 1, &[4; 32]),
            Self::BrokenUdp => packet.raw(IpProtocol::UDP, &LYING_UDP),
        }
    }
}

impl Ipv6Says {
    pub(super) fn is_icmp(self) -> bool {
        match self {
            Self::Echo
            | Self::Solicit { .. }
            | Self::Advert { .. }
            | Self::RouterAdvert
            | Self::Redirect => true,
            Self::Udp(_) | Self::Tcp(_) | Self::BrokenUdp | Self::HiddenBehindExtensions => false,
        }
    }

    fn render(self, link: Link, src: Ipv6Addr) -> Vec<u8> {
        match self {
            Self::Solicit { target } => link.neighbour_solicit(src, V6_DST, target),
            Self::Advert { target } => link.neighbour_advert(src, V6_DST, target),
            Self::RouterAdvert => link.router_advert(src, V6_DST),
            Self::Udp(len) => link.ipv6(src, V6_DST).udp(1000, 2000, &vec![1; len]),
            Self::Tcp(len) => link.ipv6(src, V6_DST).tcp(segment(&vec![2; len])),
            Self::Echo => link.ipv6(src, V6_DST).echo_request(1, 1, &[4; 32]),
            Self::Redirect => link.ipv6(src, V6_DST).raw(
                IpProtocol::ICMPV6,
                &[[137, 0, 0, 0].as_slice(), &[0; 36]].concat(),
            ),
            Self::BrokenUdp => link.ipv6(src, V6_DST).raw(IpProtocol::UDP, &LYING_UDP),
            Self::HiddenBehindExtensions => {
                let packet = (0..9).fold(link.ipv6(src, V6_DST), |packet, _| {
                    packet.extension(IpProtocol::DESTINATION, &[0; 7])
                });
                packet.raw(IpProtocol::ICMPV6, &[134; 16])
            }
        }
    }
}
