//! The IPv6 header (RFC 8200) and the extension headers before the transport header.
//!
//! The attack that shaped this file: extension headers and fragments that hide a router
//! advertisement from a filter (RFC 7113). So the chain is followed to its end, or the packet is
//! marked as one whose transport cannot be told: more than [`MAX_EXTENSIONS`] headers, a header
//! that ends outside the packet, a first fragment without its transport header (RFC 7112). Such a
//! packet keeps its addresses and has [`crate::Transport::Malformed`].

use crate::headers::Malformed;
use crate::ip::{Fragment, IpProtocol};
use std::net::Ipv6Addr;

/// Extension headers that are followed; a packet with more is malformed.
pub const MAX_EXTENSIONS: usize = 8;

/// An IPv6 header that was found sound: it and the packet it announces lie inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// The protocol at `transport`: the one after the extension headers; behind a later
    /// fragment's header, whatever the fragmented part of the packet begins with.
    pub next_header: IpProtocol,
    /// Hops left.
    pub hop_limit: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Where in the frame the extension headers end.
    pub transport: u16,
    /// Where in the frame the fragmentable part of the packet goes on (RFC 8200, 4.5), which a
    /// fragment's offset and length are about: behind the fragment header. Extension headers may
    /// stand between it and `transport`. Without a fragment header behind the fixed header.
    pub fragmentable: u16,
    /// Bytes behind the 40 of the fixed header, extension headers included.
    pub payload_len: u16,
    /// Set when there is a fragment header, even if the packet is whole (RFC 6946).
    pub fragment: Option<Fragment>,
}

impl Ipv6 {
    /// Bytes of the fixed header.
    pub const LEN: usize = 40;

    /// Reads the header at `frame[l3..]`. The second value says why the extension headers could
    /// not be followed to their end, if so; `next_header` and `transport` then name the header
    /// that could not be passed.
    #[inline]
    pub(crate) fn parse(frame: &[u8], l3: u16) -> Result<(Self, Option<Malformed>), Malformed> {
        let packet = frame.get(usize::from(l3)..).unwrap_or_default();
        let Some((h, rest)) = packet.split_first_chunk::<{ Self::LEN }>() else {
            return Err(Malformed::Truncated);
        };
        let header = Self::fixed(h, l3)?;
        match rest.get(..usize::from(header.payload_len)) {
            Some(payload) => Ok(header.with_extensions(payload)),
            None => Err(Malformed::PacketLength),
        }
    }

    /// Reads the header at the start of `packet`, which is cut short: quoted by an ICMPv6 error.
    /// Offsets count as if it began at `l3`. The extension headers lie inside what is left of it.
    pub(crate) fn parse_quoted(packet: &[u8], l3: u16) -> Result<Self, Malformed> {
        let Some((h, rest)) = packet.split_first_chunk::<{ Self::LEN }>() else {
            return Err(Malformed::Truncated);
        };
        let header = Self::fixed(h, l3)?;
        let payload = &rest[..rest.len().min(usize::from(header.payload_len))];
        match header.with_extensions(payload) {
            (header, None) => Ok(header),
            (_, Some(wrong)) => Err(wrong),
        }
    }

    #[inline]
    fn fixed(h: &[u8; Self::LEN], l3: u16) -> Result<Self, Malformed> {
        if h[0] >> 4 != 6 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            src: address(h, 8),
            dst: address(h, 24),
            next_header: IpProtocol(h[6]),
            hop_limit: h[7],
            traffic_class: (h[0] << 4) | (h[1] >> 4),
            transport: l3.saturating_add(40),
            fragmentable: l3.saturating_add(40),
            payload_len: u16::from_be_bytes([h[4], h[5]]),
            fragment: None,
        })
    }

    #[inline]
    fn with_extensions(mut self, payload: &[u8]) -> (Self, Option<Malformed>) {
        let wrong = if is_extension(self.next_header) {
            self.skip_extensions(payload).err()
        } else {
            None
        };
        (self, wrong)
    }

    /// Follows the chain from the start of `payload`, the packet behind the fixed header.
    #[cold]
    fn skip_extensions(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let mut rest = payload;
        for _ in 0..MAX_EXTENSIONS {
            let Some(&[next, second, b2, b3, b4, b5, b6, b7]) = rest.first_chunk::<8>() else {
                return Err(Malformed::Truncated);
            };
            let len = match self.next_header {
                IpProtocol::FRAGMENT => 8,
                // RFC 4302, 2.2: in units of four bytes, less two.
                IpProtocol::AH => (usize::from(second) + 2) * 4,
                _ => (usize::from(second) + 1) * 8,
            };
            let Some(after) = rest.get(len..) else {
                return Err(Malformed::Truncated);
            };
            // At most eight headers of 2 KiB inside a payload of 64 KiB.
            self.transport = self
                .transport
                .saturating_add(u16::try_from(len).unwrap_or(u16::MAX));
            if self.next_header == IpProtocol::FRAGMENT {
                let place = u16::from_be_bytes([b2, b3]);
                let id = u32::from_be_bytes([b4, b5, b6, b7]);
                self.fragment = Some(Fragment {
                    id,
                    offset: place & 0xfff8,
                    more: place & 1 != 0,
                });
                self.fragmentable = self.transport;
            }
            rest = after;
            self.next_header = IpProtocol(next);
            let later = self.fragment.is_some_and(|fragment| !fragment.is_first());
            if later || !is_extension(self.next_header) {
                return Ok(());
            }
        }
        Err(Malformed::TooManyExtensions)
    }
}

/// Returns whether `protocol` is an extension header that has a length and a successor.
const fn is_extension(protocol: IpProtocol) -> bool {
    matches!(
        protocol,
        IpProtocol::HOP_BY_HOP
            | IpProtocol::ROUTING
            | IpProtocol::FRAGMENT
            | IpProtocol::DESTINATION
            | IpProtocol::AH
    )
}

#[inline]
fn address(header: &[u8; Ipv6::LEN], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}
