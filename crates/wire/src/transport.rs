//! Transport headers: TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260).
//!
//! Only a packet's first fragment has a transport header, and it must hold all of it: a TCP header
//! split over tiny fragments is how filters were once passed (RFC 1858), so such a first fragment
//! is malformed. Offsets count from the frame's destination MAC.

use crate::headers::Malformed;
use crate::icmp::{Icmp, Icmpv6};
use crate::ip::{Fragment, IpProtocol};
use std::fmt;

/// The transport header, as far as there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// SCTP.
    Sctp(Sctp),
    /// ICMP for IPv4.
    Icmp(Icmp),
    /// ICMP for IPv6.
    Icmpv6(Icmpv6),
    /// One of these, or the IPv6 extension headers before it, but broken.
    Malformed(Malformed),
    /// Not IP, a fragment that is not the first, or a protocol without ports.
    None,
}

/// A TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Where in the frame the header begins.
    pub offset: u16,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header, options included: 20 to 60.
    pub header_len: u8,
    /// SYN, ACK and the others.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Receive window as it stands there, not scaled.
    pub window: u16,
}

/// A UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Where in the frame the header begins.
    pub offset: u16,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and payload. Not more than the packet holds, except in a first fragment.
    pub len: u16,
}

/// An SCTP common header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sctp {
    /// Where in the frame the header begins.
    pub offset: u16,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// The eight flags of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Returns whether every flag of `flags` is set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn union(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl fmt::Display for TcpFlags {
    /// As tcpdump writes them: `S`, `F.`, `P.`; `none` without any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];
        if self.0 == 0 {
            return f.write_str("none");
        }
        for (bit, letter) in LETTERS.iter().enumerate() {
            if self.0 >> bit & 1 == 1 {
                fmt::Write::write_char(f, *letter)?;
            }
        }
        Ok(())
    }
}

impl Tcp {
    /// Bytes of a header without options.
    pub const MIN_LEN: usize = 20;

    #[inline]
    fn parse(segment: &[u8], offset: u16) -> Result<Self, Malformed> {
        let Some(h) = segment.first_chunk::<{ Self::MIN_LEN }>() else {
            return Err(Malformed::Truncated);
        };
        let header_len = (h[12] >> 4) * 4;
        if usize::from(header_len) < Self::MIN_LEN {
            return Err(Malformed::HeaderLength);
        }
        if usize::from(header_len) > segment.len() {
            return Err(Malformed::Truncated);
        }
        Ok(Self {
            offset,
            src_port: u16::from_be_bytes([h[0], h[1]]),
            dst_port: u16::from_be_bytes([h[2], h[3]]),
            header_len,
            flags: TcpFlags(h[13]),
            seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
            window: u16::from_be_bytes([h[14], h[15]]),
        })
    }
}

impl Udp {
    /// Bytes of the header.
    pub const LEN: usize = 8;

    #[inline]
    fn parse(datagram: &[u8], offset: u16, whole: bool) -> Result<Self, Malformed> {
        let Some(&[s0, s1, d0, d1, l0, l1, _, _]) = datagram.first_chunk::<8>() else {
            return Err(Malformed::Truncated);
        };
        let len = u16::from_be_bytes([l0, l1]);
        if usize::from(len) < Self::LEN || (whole && usize::from(len) > datagram.len()) {
            return Err(Malformed::PacketLength);
        }
        Ok(Self {
            offset,
            src_port: u16::from_be_bytes([s0, s1]),
            dst_port: u16::from_be_bytes([d0, d1]),
            len,
        })
    }
}

impl Sctp {
    /// Bytes of the common header.
    pub const LEN: usize = 12;

    fn parse(packet: &[u8], offset: u16) -> Result<Self, Malformed> {
        let Some(h) = packet.first_chunk::<{ Self::LEN }>() else {
            return Err(Malformed::Truncated);
        };
        Ok(Self {
            offset,
            src_port: u16::from_be_bytes([h[0], h[1]]),
            dst_port: u16::from_be_bytes([h[2], h[3]]),
        })
    }
}

impl Transport {
    /// Reads what stands at `packet[offset..]`, where `packet` is the frame up to the end of its
    /// IP packet, without padding.
    #[inline]
    pub(crate) fn parse(
        packet: &[u8],
        offset: u16,
        protocol: IpProtocol,
        fragment: Option<Fragment>,
    ) -> Self {
        let whole = match fragment {
            Some(fragment) if !fragment.is_first() => return Self::None,
            Some(fragment) => !fragment.more,
            None => true,
        };
        let payload = packet.get(usize::from(offset)..).unwrap_or_default();
        let parsed = match protocol {
            IpProtocol::TCP => Tcp::parse(payload, offset).map(Self::Tcp),
            IpProtocol::UDP => Udp::parse(payload, offset, whole).map(Self::Udp),
            IpProtocol::SCTP => Sctp::parse(payload, offset).map(Self::Sctp),
            IpProtocol::ICMP => Icmp::parse(payload, offset).map(Self::Icmp),
            IpProtocol::ICMPV6 => Icmpv6::parse(payload, offset).map(Self::Icmpv6),
            _ => Ok(Self::None),
        };
        parsed.unwrap_or_else(Self::Malformed)
    }

    /// Source and destination port, where the protocol has them.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp(tcp) => Some((tcp.src_port, tcp.dst_port)),
            Self::Udp(udp) => Some((udp.src_port, udp.dst_port)),
            Self::Sctp(sctp) => Some((sctp.src_port, sctp.dst_port)),
            Self::Icmp(_) | Self::Icmpv6(_) | Self::Malformed(_) | Self::None => None,
        }
    }

    /// Returns where in its header the transport keeps its Internet checksum; SCTP has a CRC instead.
    #[must_use]
    pub const fn checksum_offset(&self) -> Option<u16> {
        match self {
            Self::Tcp(_) => Some(16),
            Self::Udp(_) => Some(6),
            Self::Icmp(_) | Self::Icmpv6(_) => Some(2),
            Self::Sctp(_) | Self::Malformed(_) | Self::None => None,
        }
    }

    /// Bytes of the transport header; 0 where none was parsed.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.header_len as usize,
            Self::Udp(_) => Udp::LEN,
            Self::Sctp(_) => Sctp::LEN,
            Self::Icmp(_) => Icmp::LEN,
            Self::Icmpv6(_) => Icmpv6::LEN,
            Self::Malformed(_) | Self::None => 0,
        }
    }
}
