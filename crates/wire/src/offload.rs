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
        /// What the virtio header says.
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
        (Some(_), _) => at >= headers.header_len(),
        (None, _) => !matches!(headers.net, Net::Arp(_)) && at >= usize::from(headers.l3),
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
