//! Does a virtio header fit its frame?
//!
//! The header comes from whoever wrote the frame, which may be a container's own packet socket.
//! The attack that shaped the checks: a checksum, finished at the egress, that is told to land on
//! a source address, a port or a neighbour target, and so rewrites a frame *after* it was admitted.
//! Hence a checksum may only land on the checksum field of the parsed transport header, or behind
//! it (the inner packet of a tunnel). The second: a superframe with segments of one byte, which
//! would become 64 Ki frames; hence [`MAX_SEGMENTS`].

use crate::ethernet::Ethernet;
use crate::headers::{Headers, Net};
use crate::transport::Transport;
use crate::vnet::{GsoKind, VnetHeader};

/// Segments that one superframe may become.
pub const MAX_SEGMENTS: usize = 1024;

/// How a virtio header contradicts its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VnetError {
    /// The checksum's part begins or its field lies outside the frame.
    #[error(
        "checksum start {start} plus offset {offset} plus 2 lies outside 14 to {len}, the frame behind its MAC addresses and type"
    )]
    ChecksumOutside {
        /// Where the checksummed part would begin.
        start: u16,
        /// Where in it the checksum would land.
        offset: u16,
        /// Bytes of the frame.
        len: usize,
    },
    /// The checksum would land on a header field that is not a checksum.
    #[error("checksum start {start} plus offset {offset} would overwrite a header")]
    ChecksumMisplaced {
        /// Where the checksummed part would begin.
        start: u16,
        /// Where in it the checksum would land.
        offset: u16,
    },
    /// A kind of superframe that is not known.
    #[error("superframe kind {0} is not one of 1 (TCPv4), 4 (TCPv6), 5 (UDP)")]
    GsoUnknown(u8),
    /// The kind of superframe is not what the headers say.
    #[error("a superframe of kind {0:?} whose headers are of another protocol, or broken")]
    GsoMismatch(GsoKind),
    /// Segments of no bytes.
    #[error("a superframe with a segment size of 0: 1 to 65535 is allowed")]
    GsoSizeZero,
    /// More segments than [`MAX_SEGMENTS`].
    #[error("a superframe of {0} segments: at most {MAX_SEGMENTS} are allowed")]
    TooManySegments(usize),
    /// The headers are said to be longer than the frame.
    #[error("header length {hdr_len} is beyond the frame's {len} bytes")]
    HeaderLength {
        /// The length that the virtio header names.
        hdr_len: u16,
        /// Bytes of the frame.
        len: usize,
    },
}

/// Checks that `vnet` fits a frame of `len` bytes with these headers.
///
/// # Errors
/// The first contradiction found.
#[inline]
pub fn check_vnet(vnet: &VnetHeader, headers: &Headers, len: usize) -> Result<(), VnetError> {
    if *vnet == VnetHeader::default() {
        return Ok(());
    }
    if usize::from(vnet.hdr_len) > len {
        return Err(VnetError::HeaderLength {
            hdr_len: vnet.hdr_len,
            len,
        });
    }
    if vnet.needs_csum() {
        check_checksum(vnet, headers, len)?;
    }
    if vnet.is_gso() {
        check_gso(vnet, headers)?;
    }
    Ok(())
}

/// Bytes, network header on, of the largest IP packet the frame becomes on the wire: what an MTU
/// is compared with.
#[must_use]
#[inline]
pub fn wire_mtu(vnet: &VnetHeader, headers: &Headers, len: usize) -> usize {
    let l3 = usize::from(headers.l3);
    let packet = len.saturating_sub(l3);
    if vnet.is_gso() {
        let headers = headers.header_len().saturating_sub(l3);
        packet.min(headers + usize::from(vnet.gso_size))
    } else {
        packet
    }
}

fn check_checksum(vnet: &VnetHeader, headers: &Headers, len: usize) -> Result<(), VnetError> {
    let (start, offset) = (vnet.csum_start, vnet.csum_offset);
    let field_end = usize::from(start) + usize::from(offset) + 2;
    if start < Ethernet::LEN || field_end > len {
        return Err(VnetError::ChecksumOutside { start, offset, len });
    }
    let at = usize::from(start);
    let fits = match (
        headers.transport_offset(),
        headers.transport.checksum_offset(),
    ) {
        (Some(transport), Some(field)) if at == transport => offset == field,
        // Neighbour discovery is checked far beyond its header: nothing may land in it.
        (Some(_), _) if matches!(headers.transport, Transport::Icmp(_) | Transport::Icmpv6(_)) => {
            false
        }
        // What is broken could be made whole behind the back of whoever looked at it.
        (Some(_), _) if matches!(headers.transport, Transport::Malformed(_)) => false,
        (Some(_), _) => at >= headers.header_len(),
        (None, _) => headers.net == Net::Other && at >= usize::from(headers.l3),
    };
    if fits {
        Ok(())
    } else {
        Err(VnetError::ChecksumMisplaced { start, offset })
    }
}

fn check_gso(vnet: &VnetHeader, headers: &Headers) -> Result<(), VnetError> {
    let Some(kind) = vnet.gso_kind() else {
        return Err(VnetError::GsoUnknown(vnet.gso_type & !VnetHeader::GSO_ECN));
    };
    let fragment = match headers.net {
        Net::Ipv4(ip) => ip.fragment,
        Net::Ipv6(ip) => ip.fragment,
        Net::Arp(_) | Net::Malformed(_) | Net::Other => return Err(VnetError::GsoMismatch(kind)),
    };
    let agrees = match (kind, headers.net, headers.transport) {
        (GsoKind::Tcp4, Net::Ipv4(_), Transport::Tcp(_))
        | (GsoKind::Tcp6, Net::Ipv6(_), Transport::Tcp(_)) => true,
        (GsoKind::Udp, _, Transport::Udp(udp)) => {
            usize::from(udp.offset) + usize::from(udp.len) == headers.packet_end().unwrap_or(0)
        }
        (GsoKind::Tcp4 | GsoKind::Tcp6 | GsoKind::Udp, _, _) => false,
    };
    let at_transport =
        !vnet.needs_csum() || Some(usize::from(vnet.csum_start)) == headers.transport_offset();
    if !agrees || !at_transport || fragment.is_some() {
        return Err(VnetError::GsoMismatch(kind));
    }
    if vnet.gso_size == 0 {
        return Err(VnetError::GsoSizeZero);
    }
    let segments = headers.payload_len().div_ceil(usize::from(vnet.gso_size));
    if segments > MAX_SEGMENTS {
        Err(VnetError::TooManySegments(segments))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::craft::{Link, Packet, TcpSegment, superframe, unfinish};
    use crate::{MacAddr, TcpFlags};

    fn link() -> Link {
        Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
    }

    fn v4() -> Packet {
        link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }

    fn tcp(payload: usize) -> Vec<u8> {
        v4().tcp(TcpSegment {
            flags: TcpFlags::ACK,
            payload: &vec![1; payload],
            ..TcpSegment::default()
        })
    }

    fn check(vnet: &VnetHeader, frame: &[u8]) -> Result<(), VnetError> {
        check_vnet(vnet, &Headers::parse(frame).unwrap(), frame.len())
    }

    #[test]
    fn what_a_kernel_says_is_accepted() {
        let mut frame = tcp(5000);
        let vnet = superframe(&mut frame, 1448).unwrap();
        assert_eq!(check(&vnet, &frame), Ok(()));
        let mut frame = v4().udp(1, 2, &[0; 5000]);
        let vnet = superframe(&mut frame, 1400).unwrap();
        assert_eq!(check(&vnet, &frame), Ok(()));
        assert_eq!(
            check(
                &VnetHeader {
                    flags: VnetHeader::DATA_VALID,
                    ..VnetHeader::default()
                },
                &frame
            ),
            Ok(())
        );
    }

    #[test]
    fn the_checksum_of_a_tunnel_s_inner_packet_is_accepted() {
        let inner = tcp(10);
        let outer = v4().udp(1, 8472, &[&[8, 0, 0, 0, 0, 0, 1, 0], &inner[..]].concat());
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: 42 + 8 + 34,
            csum_offset: 16,
            ..VnetHeader::default()
        };
        assert_eq!(check(&vnet, &outer), Ok(()));
    }

    #[test]
    fn a_checksum_may_not_land_outside_or_on_what_was_checked() {
        let mut frame = tcp(100);
        let sound = unfinish(&mut frame).unwrap();
        let with = |start, offset| {
            check(
                &VnetHeader {
                    csum_start: start,
                    csum_offset: offset,
                    ..sound
                },
                &frame,
            )
        };
        assert_eq!(with(34, 16), Ok(()));
        let len = frame.len();
        for (start, offset) in [
            (0, 16),
            (13, 40),
            (34, 119),
            (34, u16::MAX),
            (u16::MAX, u16::MAX),
            (u16::MAX, 0),
        ] {
            assert_eq!(
                with(start, offset),
                Err(VnetError::ChecksumOutside { start, offset, len })
            );
        }
        // The source address, a port, a sequence number, and 16 bytes into the header by another way.
        for (start, offset) in [(14, 12), (34, 0), (34, 4), (26, 0), (36, 14), (53, 0)] {
            assert_eq!(
                with(start, offset),
                Err(VnetError::ChecksumMisplaced { start, offset })
            );
        }
        assert_eq!(with(54, 0), Ok(()), "behind the header is payload");
    }

    #[test]
    fn a_checksum_may_not_land_on_a_claimed_address() {
        let needs = |start, offset| VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: start,
            csum_offset: offset,
            ..VnetHeader::default()
        };
        let arp = link().arp_request([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let misplaced = |start, offset| Err(VnetError::ChecksumMisplaced { start, offset });
        assert_eq!(check(&needs(28, 0), &arp), misplaced(28, 0));
        let target = "fe80::1".parse().unwrap();
        let advert = link().neighbour_advert(target, "ff02::1".parse().unwrap(), target);
        assert_eq!(check(&needs(62, 0), &advert), misplaced(62, 0));
        assert_eq!(check(&needs(54, 8), &advert), misplaced(54, 8));
        assert_eq!(check(&needs(54, 2), &advert), Ok(()));
    }

    #[test]
    fn a_checksum_may_not_make_a_broken_packet_whole() {
        for (at, byte, start) in [
            (14, 0x65, 14),
            (14, 0x65, 34),
            (46, 0x40, 34),
            (46, 0x40, 54),
        ] {
            let mut frame = tcp(100);
            frame[at] = byte;
            let vnet = VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start: start,
                ..VnetHeader::default()
            };
            assert_eq!(
                check(&vnet, &frame),
                Err(VnetError::ChecksumMisplaced { start, offset: 0 })
            );
        }
    }

    #[test]
    fn a_superframe_agrees_with_its_headers() {
        let mut frame = tcp(3000);
        let sound = superframe(&mut frame, 1000).unwrap();
        let with = |gso_type, gso_size| {
            check(
                &VnetHeader {
                    gso_type,
                    gso_size,
                    ..sound
                },
                &frame,
            )
        };
        assert_eq!(
            with(VnetHeader::GSO_TCPV4 | VnetHeader::GSO_ECN, 1000),
            Ok(())
        );
        assert_eq!(
            with(VnetHeader::GSO_TCPV6, 1000),
            Err(VnetError::GsoMismatch(GsoKind::Tcp6))
        );
        assert_eq!(
            with(VnetHeader::GSO_UDP_L4, 1000),
            Err(VnetError::GsoMismatch(GsoKind::Udp))
        );
        assert_eq!(
            with(VnetHeader::GSO_UDP, 1000),
            Err(VnetError::GsoUnknown(3))
        );
        assert_eq!(with(VnetHeader::GSO_TCPV4, 0), Err(VnetError::GsoSizeZero));
        assert_eq!(
            with(VnetHeader::GSO_TCPV4, 2),
            Err(VnetError::TooManySegments(1500))
        );
        assert_eq!(with(VnetHeader::GSO_TCPV4, 3), Ok(()));
        let hdr_len = u16::try_from(frame.len() + 1).unwrap();
        assert_eq!(
            check(&VnetHeader { hdr_len, ..sound }, &frame),
            Err(VnetError::HeaderLength {
                hdr_len,
                len: frame.len()
            })
        );
        // Its checksum is said to be that of an inner packet: the segments' own would stay unfinished.
        assert_eq!(
            check(
                &VnetHeader {
                    csum_start: 60,
                    ..sound
                },
                &frame
            ),
            Err(VnetError::GsoMismatch(GsoKind::Tcp4))
        );
        // A datagram that ends before its packet does.
        let mut datagram = v4().udp(1, 2, &[0; 100]);
        let vnet = superframe(&mut datagram, 10).unwrap();
        datagram[39] -= 1;
        assert_eq!(
            check(&vnet, &datagram),
            Err(VnetError::GsoMismatch(GsoKind::Udp))
        );
        // A fragment is a piece of one packet, not many packets.
        frame[20] = 0x20;
        assert_eq!(
            check(&sound, &frame),
            Err(VnetError::GsoMismatch(GsoKind::Tcp4))
        );
    }

    #[test]
    fn an_mtu_is_compared_with_what_goes_on_the_wire() {
        let mut frame = tcp(5000);
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!(
            wire_mtu(&VnetHeader::default(), &headers, frame.len()),
            5040
        );
        let vnet = superframe(&mut frame, 1448).unwrap();
        assert_eq!(wire_mtu(&vnet, &headers, frame.len()), 1488);
        assert_eq!(
            wire_mtu(
                &VnetHeader {
                    gso_size: 9000,
                    ..vnet
                },
                &headers,
                frame.len()
            ),
            5040
        );
    }
}
