//! Parse once.
//!
//! [`Headers::parse`] reads a frame's headers a single time, at its arrival; every stage behind it
//! works on the result, which proves that what it names lies inside the frame. A frame of which
//! only layer 2 can be read is still a frame: it parses, with [`Net::Malformed`] or
//! [`Transport::Malformed`] saying what is wrong, and whether it may pass is for the switch.
//!
//! Complications, and what shaped them:
//! * **Lengths come from three places** (the frame, the IP header, the transport header) and an
//!   attacker picks all but the first. Each is checked against the one around it, and what is
//!   behind the IP packet is Ethernet padding and belongs to nothing.
//! * **A superframe** is one packet of up to 64 KiB whose lengths cover all of it. A length of
//!   zero, which newer kernels use for packets beyond 64 KiB, is malformed: no port asks for such.
//! * **The first of two link-layer addresses wins** in a neighbour message, as it does in Linux.
//!
//! No allocation, no panic on any bytes, nothing shared: all types are `Copy` values.

use crate::arp::Arp;
use crate::ethernet::{EtherType, Ethernet};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::transport::Transport;
use crate::{MacAddr, VlanTag};
use std::fmt;

/// The headers of one frame. Offsets count from the destination MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Destination MAC.
    pub dst: MacAddr,
    /// Source MAC.
    pub src: MacAddr,
    /// The outermost VLAN tag.
    pub outer: Option<VlanTag>,
    /// The VLAN tag behind the outermost.
    pub inner: Option<VlanTag>,
    /// What follows the tags.
    pub ethertype: EtherType,
    /// Where the network header begins: 14, 18 or 22.
    pub l3: u16,
    /// The network header.
    pub net: Net,
    /// The transport header.
    pub transport: Transport,
}

/// A network header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// ARP.
    Arp(Arp),
    /// IPv4.
    Ipv4(Ipv4),
    /// IPv6.
    Ipv6(Ipv6),
    /// One of these by its EtherType, but broken.
    Malformed(Malformed),
    /// Another protocol.
    Other,
}

/// Why a header that is there cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The packet ends inside the header.
    Truncated,
    /// The IP version is not the one the EtherType announces.
    Version,
    /// A header's own length is below its minimum.
    HeaderLength,
    /// The length of the packet is below that of its header, or beyond the frame.
    PacketLength,
    /// More IPv6 extension headers than [`crate::MAX_EXTENSIONS`].
    TooManyExtensions,
    /// An ARP message about other addresses than Ethernet's and IPv4's.
    AddressKind,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the packet ends inside the header",
            Self::Version => "the IP version is not the one the EtherType announces",
            Self::HeaderLength => "the header's length is below its minimum",
            Self::PacketLength => "the packet's length is below its header's or beyond the frame",
            Self::TooManyExtensions => "there are too many extension headers",
            Self::AddressKind => "the ARP message is not about Ethernet and IPv4 addresses",
        })
    }
}

/// Why a frame has no headers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame ends inside its Ethernet header or VLAN tags.
    #[error("the frame ends inside its Ethernet header (14 bytes) or VLAN tags (4 bytes each)")]
    FrameTooShort,
}

impl Headers {
    /// Reads the headers of `frame`, which begins with its destination MAC.
    ///
    /// # Errors
    /// When the frame ends inside its Ethernet header or VLAN tags.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let ethernet = Ethernet::parse(frame)?;
        let l3 = ethernet.len;
        let (net, transport) = match ethernet.ethertype {
            EtherType::IPV4 => parse_ipv4(frame, l3),
            EtherType::IPV6 => parse_ipv6(frame, l3),
            EtherType::ARP => {
                let message = frame.get(usize::from(l3)..).unwrap_or_default();
                (
                    Arp::parse(message).map_or_else(Net::Malformed, Net::Arp),
                    Transport::None,
                )
            }
            _ => (Net::Other, Transport::None),
        };
        Ok(Self {
            dst: ethernet.dst,
            src: ethernet.src,
            outer: ethernet.outer,
            inner: ethernet.inner,
            ethertype: ethernet.ethertype,
            l3,
            net,
            transport,
        })
    }

    /// Where the transport header begins; `None` when the frame is not sound IP.
    #[must_use]
    pub const fn transport_offset(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(self.l3 as usize + ip.header_len as usize),
            Net::Ipv6(ip) => Some(ip.transport as usize),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
        }
    }

    /// Where the IP packet ends and padding begins; `None` when the frame is not sound IP.
    #[must_use]
    pub const fn packet_end(&self) -> Option<usize> {
        match self.net {
            Net::Ipv4(ip) => Some(self.l3 as usize + ip.total_len as usize),
            Net::Ipv6(ip) => Some(self.l3 as usize + Ipv6::LEN + ip.payload_len as usize),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
        }
    }

    /// Bytes of everything up to the payload: Ethernet, tags, network and transport header, as
    /// far as they were understood.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self.transport_offset() {
            Some(offset) => offset + self.transport.header_len(),
            None => self.l3 as usize,
        }
    }

    /// Bytes behind the headers inside the IP packet, padding not counted; 0 when the frame is
    /// not sound IP.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        match self.packet_end() {
            Some(end) => end.saturating_sub(self.header_len()),
            None => 0,
        }
    }
}

#[inline]
fn parse_ipv4(frame: &[u8], l3: u16) -> (Net, Transport) {
    let packet = frame.get(usize::from(l3)..).unwrap_or_default();
    let ip = match Ipv4::parse(packet) {
        Ok(ip) => ip,
        Err(wrong) => return (Net::Malformed(wrong), Transport::None),
    };
    let end = usize::from(l3) + usize::from(ip.total_len);
    let offset = l3 + u16::from(ip.header_len);
    let within = frame.get(..end).unwrap_or_default();
    (
        Net::Ipv4(ip),
        Transport::parse(within, offset, ip.protocol, ip.fragment),
    )
}

#[inline]
fn parse_ipv6(frame: &[u8], l3: u16) -> (Net, Transport) {
    let (ip, wrong) = match Ipv6::parse(frame, l3) {
        Ok(parsed) => parsed,
        Err(wrong) => return (Net::Malformed(wrong), Transport::None),
    };
    let transport = match wrong {
        Some(wrong) => Transport::Malformed(wrong),
        None => {
            let end = usize::from(l3) + Ipv6::LEN + usize::from(ip.payload_len);
            let within = frame.get(..end).unwrap_or_default();
            Transport::parse(within, ip.transport, ip.next_header, ip.fragment)
        }
    };
    (Net::Ipv6(ip), transport)
}
