//! The IPv4 header (RFC 791), options skipped.

use crate::headers::Malformed;
use crate::ip::{Fragment, IpProtocol};
use std::net::Ipv4Addr;

/// An IPv4 header that was found sound: it and the packet it announces lie inside the frame.
/// Whether its checksum is right is not looked at; see `checksum::verify_ipv4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// The payload's protocol.
    pub protocol: IpProtocol,
    /// Hops left.
    pub ttl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Bytes of header, options included: 20 to 60.
    pub header_len: u8,
    /// Bytes of header and payload; the frame may go on with padding.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// Whether routers may not fragment the packet.
    pub dont_fragment: bool,
    /// Set when this is a piece of a packet.
    pub fragment: Option<Fragment>,
}

impl Ipv4 {
    /// Bytes of a header without options.
    pub const MIN_LEN: usize = 20;

    const DONT_FRAGMENT: u16 = 0x4000;
    pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;

    /// Bytes behind the header.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        usize::from(self.total_len) - usize::from(self.header_len)
    }

    /// Reads the header at the start of `packet`, which may be longer than the IP packet.
    #[inline]
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let header = Self::parse_quoted(packet)?;
        if usize::from(header.total_len) > packet.len() {
            return Err(Malformed::PacketLength);
        }
        Ok(header)
    }

    /// Reads the header at the start of `packet`, which may be cut short behind it: quoted by an
    /// ICMP error.
    #[inline]
    pub(crate) fn parse_quoted(packet: &[u8]) -> Result<Self, Malformed> {
        let Some(h) = packet.first_chunk::<{ Self::MIN_LEN }>() else {
            return Err(Malformed::Truncated);
        };
        if h[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = (h[0] & 0x0f) * 4;
        if usize::from(header_len) < Self::MIN_LEN {
            return Err(Malformed::HeaderLength);
        }
        let total_len = u16::from_be_bytes([h[2], h[3]]);
        if total_len < u16::from(header_len) {
            return Err(Malformed::PacketLength);
        }
        let id = u16::from_be_bytes([h[4], h[5]]);
        let flags = u16::from_be_bytes([h[6], h[7]]);
        let (offset, more) = (
            (flags & Self::OFFSET) * 8,
            flags & Self::MORE_FRAGMENTS != 0,
        );
        Ok(Self {
            src: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            dst: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
            protocol: IpProtocol(h[9]),
            ttl: h[8],
            tos: h[1],
            header_len,
            total_len,
            id,
            dont_fragment: flags & Self::DONT_FRAGMENT != 0,
            fragment: (more || offset != 0).then_some(Fragment {
                id: u32::from(id),
                offset,
                more,
            }),
        })
    }
}
