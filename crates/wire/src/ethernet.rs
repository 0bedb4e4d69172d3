//! Ethernet II (IEEE 802.3) with up to two VLAN tags (802.1Q, 802.1ad).
//!
//! ```text
//!   | dst 6 | src 6 | [ outer tag 4 ] | [ inner tag 4 ] | EtherType 2 | network header …
//! ```
//! A third tag is not taken off: the frame's EtherType is then the tag's, and the frame passes at
//! layer 2 as any unknown protocol does. A number below 0x0600 is an 802.3 length, not a type.

use crate::headers::ParseError;
use crate::{MacAddr, VlanTag};
use std::fmt;

/// VLAN tags that are taken off before the network header; a frame with more is not understood
/// beyond them.
pub const MAX_TAGS: usize = 2;

/// The protocol of an Ethernet frame's payload, as the two bytes before it say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);

    /// Returns whether the number is an 802.3 length: such a frame carries LLC, not a type.
    #[must_use]
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("IPv4"),
            Self::ARP => f.write_str("ARP"),
            Self::IPV6 => f.write_str("IPv6"),
            Self(other) => write!(f, "0x{other:04x}"),
        }
    }
}

/// The layer 2 part of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ethernet {
    pub(crate) dst: MacAddr,
    pub(crate) src: MacAddr,
    pub(crate) outer: Option<VlanTag>,
    pub(crate) inner: Option<VlanTag>,
    pub(crate) ethertype: EtherType,
    /// Bytes up to the network header: 14, 18 or 22.
    pub(crate) len: u16,
}

impl Ethernet {
    /// Bytes of a header without tags.
    pub(crate) const LEN: u16 = 14;

    #[inline]
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1]) =
            frame.first_chunk::<14>()
        else {
            return Err(ParseError::FrameTooShort);
        };
        let mut header = Self {
            dst: MacAddr([d0, d1, d2, d3, d4, d5]),
            src: MacAddr([s0, s1, s2, s3, s4, s5]),
            outer: None,
            inner: None,
            ethertype: EtherType(u16::from_be_bytes([t0, t1])),
            len: Self::LEN,
        };
        if VlanTag::is_tpid(header.ethertype.0) {
            header.outer = Some(header.take_tag(frame)?);
            if VlanTag::is_tpid(header.ethertype.0) {
                header.inner = Some(header.take_tag(frame)?);
            }
        }
        Ok(header)
    }

    /// Takes the tag whose identifier stands in `ethertype`, and reads the type behind it.
    fn take_tag(&mut self, frame: &[u8]) -> Result<VlanTag, ParseError> {
        let rest = frame
            .get(usize::from(self.len)..)
            .and_then(|rest| rest.first_chunk::<4>());
        let Some(&[tci0, tci1, type0, type1]) = rest else {
            return Err(ParseError::FrameTooShort);
        };
        let tag = VlanTag {
            tpid: self.ethertype.0,
            tci: u16::from_be_bytes([tci0, tci1]),
        };
        self.ethertype = EtherType(u16::from_be_bytes([type0, type1]));
        self.len += 4;
        Ok(tag)
    }
}
