//! The Internet checksum (RFC 1071), updated in place (RFC 1624), verified and completed.
//!
//! A transport checksum in a frame is in one of two states, and mixing them up is the classic way
//! to break every packet of a NAT:
//!
//! ```text
//!   finished     field = !(pseudo header + transport header + payload)
//!   unfinished   field =   pseudo header          VnetHeader::NEEDS_CSUM, uncomplemented
//! ```
//! A rewrite of addresses moves the two in *opposite* directions, and a rewrite of ports does not
//! move the unfinished one at all, because ports are not in the pseudo header: a [`Change`] of
//! addresses and one of ports are therefore two values. A UDP checksum of zero says "none" (RFC
//! 768), so it stays zero, and a sum that comes out as zero is sent as 0xffff.
//!
//! Sums are kept as wide numbers and folded once: in ones' complement arithmetic carries may be
//! added back in at any time, and the byte order does not matter until the end (RFC 1071, 2).

use crate::headers::{Headers, Net};
use crate::ip::IpProtocol;
use crate::offload::VnetError;
use crate::transport::Transport;
use crate::vnet::VnetHeader;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A ones' complement sum of 16-bit words, in progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of `bytes`, taken as big-endian words; an odd last byte is the high half of a word.
    #[must_use]
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        let (chunks, tail) = bytes.as_chunks::<4>();
        let mut wide: u64 = 0;
        for chunk in chunks {
            // 2^32 chunks fit before this overflows.
            wide += u64::from(u32::from_ne_bytes(*chunk));
        }
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        wide += u64::from(u32::from_ne_bytes(last));
        // Folding commutes with swapping the two bytes of every word.
        Self(u64::from(u16::from_be_bytes(fold(wide).to_ne_bytes())))
    }

    /// The sum of the pseudo header of TCP or UDP over IPv4 (RFC 9293, 3.1); `len` is that of
    /// transport header and payload.
    #[must_use]
    pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: IpProtocol, len: usize) -> Self {
        Self::of(&src.octets())
            .plus(Self::of(&dst.octets()))
            .plus_pseudo_tail(protocol, len)
    }

    /// The sum of the pseudo header over IPv6 (RFC 8200, 8.1); `len` is that of transport header
    /// and payload, `dst` the final destination.
    #[must_use]
    pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: IpProtocol, len: usize) -> Self {
        Self::of(&src.octets())
            .plus(Self::of(&dst.octets()))
            .plus_pseudo_tail(protocol, len)
    }

    /// This sum and another one. Where the two are of neighbouring bytes, the first must have had
    /// an even number of them.
    #[must_use]
    #[inline]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// This sum and one more word.
    #[must_use]
    #[inline]
    pub const fn plus_word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// This sum without a word that is part of it.
    #[must_use]
    #[inline]
    pub const fn minus_word(self, word: u16) -> Self {
        self.plus_word(!word)
    }

    /// The sum in 16 bits, not complemented: what an unfinished checksum field holds.
    #[must_use]
    #[inline]
    pub const fn unfinished(self) -> u16 {
        fold(self.0)
    }

    /// The complement of the sum: what a finished checksum field holds.
    #[must_use]
    #[inline]
    pub const fn finished(self) -> u16 {
        !fold(self.0)
    }

    fn plus_pseudo_tail(self, protocol: IpProtocol, len: usize) -> Self {
        Self(self.0 + u64::from(protocol.0) + len as u64)
    }
}

/// The difference that a rewrite of bytes makes to the sum over them (RFC 1624, equation 3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Change(Sum);

impl Change {
    /// `old` becomes `new`, both of the same even length and at an even offset.
    #[must_use]
    #[inline]
    pub fn bytes(self, old: &[u8], new: &[u8]) -> Self {
        Self(self.0.plus_word(Sum::of(old).finished()).plus(Sum::of(new)))
    }

    /// One IPv4 address becomes another.
    #[must_use]
    #[inline]
    pub fn ipv4(self, old: Ipv4Addr, new: Ipv4Addr) -> Self {
        self.bytes(&old.octets(), &new.octets())
    }

    /// One IPv6 address becomes another.
    #[must_use]
    #[inline]
    pub fn ipv6(self, old: Ipv6Addr, new: Ipv6Addr) -> Self {
        self.bytes(&old.octets(), &new.octets())
    }

    /// One word (a port, a length) becomes another.
    #[must_use]
    #[inline]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0.minus_word(old).plus_word(new))
    }

    /// Both changes.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.plus(other.0))
    }

    /// A finished checksum after this change.
    #[must_use]
    #[inline]
    pub const fn finished(self, field: u16) -> u16 {
        self.0.plus_word(!field).finished()
    }

    /// A finished UDP checksum after this change: none stays none.
    #[must_use]
    #[inline]
    pub const fn finished_udp(self, field: u16) -> u16 {
        if field == 0 {
            0
        } else {
            never_zero(self.finished(field))
        }
    }

    /// An unfinished checksum after this change, which must be one of the pseudo header: of
    /// addresses or of the transport's length, not of ports.
    #[must_use]
    #[inline]
    pub const fn unfinished(self, field: u16) -> u16 {
        self.0.plus_word(field).unfinished()
    }
}

/// The result of a checksum's verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// The sender left it out, as UDP over IPv4 allows.
    Absent,
    /// There is none to be looked at here: no such header, a fragment, a protocol without an
    /// Internet checksum.
    Nothing,
}

/// Verifies the IPv4 header checksum.
#[must_use]
pub fn verify_ipv4(frame: &[u8], headers: &Headers) -> Verified {
    let Net::Ipv4(ip) = headers.net else {
        return Verified::Nothing;
    };
    let l3 = usize::from(headers.l3);
    match frame.get(l3..l3 + usize::from(ip.header_len)) {
        Some(header) => right_if(Sum::of(header)),
        None => Verified::Nothing,
    }
}

/// Verifies a finished TCP, UDP, ICMP or ICMPv6 checksum. Only of use on a frame without
/// [`VnetHeader::NEEDS_CSUM`].
#[must_use]
pub fn verify_transport(frame: &[u8], headers: &Headers) -> Verified {
    let (Some(start), Some(end)) = (headers.transport_offset(), headers.packet_end()) else {
        return Verified::Nothing;
    };
    let Some(packet) = frame.get(start..end) else {
        return Verified::Nothing;
    };
    let (whole, v4) = match headers.net {
        Net::Ipv4(ip) => (ip.fragment.is_none(), true),
        Net::Ipv6(ip) => (ip.fragment.is_none_or(|f| f.is_first() && !f.more), false),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => (false, false),
    };
    if !whole {
        return Verified::Nothing;
    }
    let covered = match headers.transport {
        Transport::Tcp(_) | Transport::Icmpv6(_) => packet,
        // Over IPv6 a checksum of zero is forbidden (RFC 8200, 8.1), tunnels excepted (RFC 6935).
        Transport::Udp(_) if packet.get(6..8) == Some(&[0, 0]) => {
            return if v4 {
                Verified::Absent
            } else {
                Verified::Wrong
            };
        }
        // A datagram may be shorter than what carries it; the rest is not covered.
        Transport::Udp(udp) => packet.get(..usize::from(udp.len)).unwrap_or(packet),
        Transport::Icmp(_) => return right_if(Sum::of(packet)),
        Transport::Sctp(_) | Transport::Malformed(_) | Transport::None => return Verified::Nothing,
    };
    right_if(pseudo(headers, covered.len()).plus(Sum::of(covered)))
}

/// Finishes the checksum of a frame that has [`VnetHeader::NEEDS_CSUM`] and clears the flag; any
/// other frame is left as it is. Not for a superframe, whose segments each have their own; see
/// [`crate::segment()`].
///
/// # Errors
/// [`VnetError::ChecksumOutside`] when the field would lie outside the frame; nothing was changed
/// then.
pub fn complete(frame: &mut [u8], vnet: &mut VnetHeader) -> Result<(), VnetError> {
    if !vnet.needs_csum() {
        return Ok(());
    }
    let (start, len) = (usize::from(vnet.csum_start), frame.len());
    let outside = VnetError::ChecksumOutside {
        start: vnet.csum_start,
        offset: vnet.csum_offset,
        len,
    };
    let Some(covered) = frame.get_mut(start..) else {
        return Err(outside);
    };
    let sum = Sum::of(covered);
    let at = usize::from(vnet.csum_offset);
    let Some(field) = covered.get_mut(at..at + 2) else {
        return Err(outside);
    };
    // Zero and 0xffff are the same number to every verifier but UDP's "none".
    field.copy_from_slice(&never_zero(sum.finished()).to_be_bytes());
    vnet.flags &= !VnetHeader::NEEDS_CSUM;
    vnet.csum_start = 0;
    vnet.csum_offset = 0;
    vnet.hdr_len = 0;
    Ok(())
}

/// The pseudo header's sum for a transport of `len` bytes; zero where there is none.
pub(crate) fn pseudo(headers: &Headers, len: usize) -> Sum {
    match headers.net {
        Net::Ipv4(ip) => Sum::pseudo_v4(ip.src, ip.dst, ip.protocol, len),
        Net::Ipv6(ip) => Sum::pseudo_v6(ip.src, ip.dst, ip.next_header, len),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => Sum::default(),
    }
}

/// A checksum that UDP does not take for "none".
pub(crate) const fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

fn right_if(sum: Sum) -> Verified {
    if sum.finished() == 0 {
        Verified::Right
    } else {
        Verified::Wrong
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "folded down to 16 bits by then"
)]
const fn fold(wide: u64) -> u16 {
    let sum = (wide & 0xffff_ffff) + (wide >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::{Ip, L4, specs};
    use crate::craft::{Link, unfinish};
    use crate::{Fragment, MacAddr};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Word by word, as RFC 1071 words it.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(
            Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).unfinished(),
            0xddf2
        );
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: the case in which the older equation answered 0xffff.
        assert_eq!(
            Change::default().word(0x5555, 0x3285).finished(0xdd2f),
            0x0000
        );
    }

    #[test]
    fn sixty_four_kib_of_ones_do_not_overflow() {
        let bytes = vec![0xff; 65_557];
        assert_eq!(Sum::of(&bytes).unfinished(), slow(&bytes));
    }

    #[test]
    fn udp_says_none_with_zero() {
        assert_eq!(Change::default().word(1, 2).finished_udp(0), 0);
        // A change whose result would be zero is sent as the other zero.
        assert_eq!(Change::default().word(0, 1).finished(1), 0);
        assert_eq!(Change::default().word(0, 1).finished_udp(1), 0xffff);
    }

    #[test]
    fn a_datagram_s_checksum_covers_what_its_length_says() {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let packet = link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let datagram = packet.udp(1, 2, b"even")[34..].to_vec();
        // The packet goes on behind the datagram.
        let frame = packet.raw(IpProtocol::UDP, &[&datagram[..], b"more"].concat());
        assert_eq!(
            verify_transport(&frame, &Headers::parse(&frame).unwrap()),
            Verified::Right
        );
    }

    #[test]
    fn a_fragment_s_checksum_cannot_be_told() {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let packet = link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let datagram = packet.udp(1, 2, &[7; 40])[34..].to_vec();
        let frame = packet
            .fragment(Fragment {
                id: 1,
                offset: 0,
                more: true,
            })
            .raw(IpProtocol::UDP, &datagram[..24]);
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!(
            (
                verify_transport(&frame, &headers),
                verify_ipv4(&frame, &headers)
            ),
            (Verified::Nothing, Verified::Right)
        );
    }

    #[test]
    fn a_checksum_outside_its_frame_is_not_written() {
        let mut frame = vec![9; 40];
        for (csum_start, csum_offset) in [(41, 0), (38, 1), (39, 0), (0, 39), (u16::MAX, u16::MAX)]
        {
            let mut vnet = VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start,
                csum_offset,
                ..VnetHeader::default()
            };
            assert!(complete(&mut frame, &mut vnet).is_err());
            assert!(vnet.needs_csum() && frame == [9; 40]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn fast_and_slow_sums_agree(bytes in vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).unfinished(), slow(&bytes));
        }

        #[test]
        fn a_completed_checksum_is_the_one_that_was_taken_back(spec in specs()) {
            let finished = spec.build();
            let mut frame = finished.clone();
            if let Some(mut vnet) = unfinish(&mut frame) {
                complete(&mut frame, &mut vnet).unwrap();
                prop_assert_eq!(vnet, VnetHeader::default());
                let headers = Headers::parse(&frame).unwrap();
                prop_assert_eq!(verify_transport(&frame, &headers), Verified::Right);
                // TCP may be finished to either zero.
                let at = headers.transport_offset().unwrap() + usize::from(headers.transport.checksum_offset().unwrap());
                let field = |f: &[u8]| u16::from_be_bytes([f[at], f[at + 1]]) % 0xffff;
                prop_assert_eq!(field(&frame), field(&finished));
                frame[at..at + 2].copy_from_slice(&finished[at..at + 2]);
                prop_assert_eq!(frame, finished);
            }
        }

        /// Does as a NAT: addresses and ports are rewritten, and the checksum field moves by the
        /// change alone. Both states of it must come out as if computed anew.
        #[test]
        fn an_update_is_what_a_full_sum_would_be(spec in specs(), v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in any::<u16>()) {
            let mut rewritten = spec.clone();
            let addresses = match &mut rewritten.ip {
                Ip::V4 { src, .. } => {
                    let old = std::mem::replace(src, v4.into());
                    Change::default().ipv4(old, v4.into())
                }
                Ip::V6 { src, .. } => {
                    let old = std::mem::replace(src, v6.into());
                    Change::default().ipv6(old, v6.into())
                }
            };
            let ports = match &mut rewritten.l4 {
                L4::Tcp { ports, .. } | L4::Udp { ports } => {
                    let old = std::mem::replace(&mut ports.0, port);
                    Change::default().word(old, port)
                }
                L4::Echo { .. } | L4::Raw { .. } => return Ok(()),
            };
            let (mut old, mut new) = (spec.build(), rewritten.build());
            let headers = Headers::parse(&old).unwrap();
            let at = headers.transport_offset().unwrap() + usize::from(headers.transport.checksum_offset().unwrap());
            let field = |f: &[u8]| u16::from_be_bytes([f[at], f[at + 1]]);

            let both = addresses.and(ports);
            let udp = matches!(headers.transport, Transport::Udp(_));
            let updated = if udp { both.finished_udp(field(&old)) } else { both.finished(field(&old)) };
            if udp {
                prop_assert_eq!(updated, field(&new), "zero says that there is none");
            }
            // Of TCP either zero is right (RFC 1624, 3).
            prop_assert_eq!(updated % 0xffff, field(&new) % 0xffff);
            new[at..at + 2].copy_from_slice(&updated.to_be_bytes());
            let headers = Headers::parse(&new).unwrap();
            prop_assert_eq!(verify_transport(&new, &headers), Verified::Right);

            unfinish(&mut old).unwrap();
            let mut vnet = unfinish(&mut new).unwrap();
            // So it is of an unfinished sum: both are finished alike.
            let updated = addresses.unfinished(field(&old));
            prop_assert_eq!(updated % 0xffff, field(&new) % 0xffff);
            new[at..at + 2].copy_from_slice(&updated.to_be_bytes());
            complete(&mut new, &mut vnet).unwrap();
            let headers = Headers::parse(&new).unwrap();
            prop_assert_eq!(verify_transport(&new, &headers), Verified::Right);
        }
    }
}
