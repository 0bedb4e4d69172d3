//! Software segmentation: one superframe becomes the frames it stands for.
//!
//! ```text
//!   superframe   | headers | payload ................................. |
//!   segments     | headers'| gso_size |  | headers''| gso_size |  … | headers | rest |
//! ```
//! Needed where a frame leaves through something that takes no superframes: a capture file, a
//! plain port, a tunnel. What differs from segment to segment: the IP lengths, the IPv4
//! identification (one more each), the TCP sequence number, the UDP length, and the checksums. FIN
//! and PSH belong to the last segment, CWR to the first (RFC 3168, 6.1.2).
//!
//! Every segment's headers are copied anew from the superframe, so whoever takes one may do as
//! they like with it and the room before it. The transport checksum starts from the unfinished
//! one, as the kernel's does, so that a packet with an IPv6 routing header, whose pseudo header
//! has an address not known here, comes out right too.

use crate::checksum::{Sum, never_zero, pseudo};
use crate::headers::{Headers, Net, ParseError};
use crate::ipv6::Ipv6;
use crate::offload::{VnetError, check_vnet};
use crate::transport::{TcpFlags, Transport};
use crate::vnet::VnetHeader;

/// Why a superframe cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The frame has no headers.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The virtio header contradicts the frame.
    #[error(transparent)]
    Vnet(#[from] VnetError),
    /// The virtio header says it is no superframe.
    #[error("the frame is not a superframe")]
    NotASuperframe,
    /// A segment does not fit the room for it.
    #[error("a segment needs {needed} bytes of room and there are {room}")]
    NoRoom {
        /// Bytes needed, those before the segment included.
        needed: usize,
        /// Bytes there are.
        room: usize,
    },
}

/// Cuts the superframe `frame` and calls `emit` with each finished segment, in order. Answers how
/// many there were.
///
/// `emit` is given `room[..end]`, in which the segment is `[start..]`: the `start` bytes before it
/// are spare, for a virtio header or a VLAN tag. All of it may be written to. Padding behind the
/// superframe's packet is left out.
///
/// # Errors
/// When the frame is not a superframe that can be cut, or `room` is too small for a segment.
/// Nothing was emitted then.
pub fn segment(
    frame: &[u8],
    vnet: &VnetHeader,
    room: &mut [u8],
    start: usize,
    mut emit: impl FnMut(&mut [u8]),
) -> Result<usize, SegmentError> {
    let headers = Headers::parse(frame)?;
    check_vnet(vnet, &headers, frame.len())?;
    if !vnet.is_gso() {
        return Err(SegmentError::NotASuperframe);
    }
    let cut = Cut::new(frame, vnet, &headers);
    let (head, rest) = frame.split_at(headers.header_len());
    let payload = &rest[..headers.payload_len()];
    let size = usize::from(vnet.gso_size);

    let needed = start + head.len() + size.min(payload.len());
    let have = room.len();
    if needed > have {
        return Err(SegmentError::NoRoom { needed, room: have });
    }
    // A superframe without payload is one segment without payload.
    let count = payload.len().div_ceil(size).max(1);
    for index in 0..count {
        let (from, to) = (index * size, payload.len().min((index + 1) * size));
        let body = start + head.len();
        let end = body + (to - from);
        room[start..body].copy_from_slice(head);
        room[body..end].copy_from_slice(&payload[from..to]);
        cut.finish(&mut room[start..end], index, from, index + 1 == count);
        emit(&mut room[..end]);
    }
    Ok(count)
}

/// What is the same for all segments.
struct Cut<'a> {
    headers: &'a Headers,
    transport: usize,
    /// The pseudo header's sum without the length; `None` when UDP goes without a checksum.
    pseudo: Option<Sum>,
}

impl<'a> Cut<'a> {
    /// `vnet` was checked: the headers are TCP's or UDP's over IP.
    fn new(frame: &[u8], vnet: &VnetHeader, headers: &'a Headers) -> Self {
        let transport = headers.transport_offset().unwrap_or_default();
        let len = headers.packet_end().unwrap_or_default() - transport;
        let field = headers
            .transport
            .checksum_offset()
            .map_or(0, |at| word(frame, transport + usize::from(at)));
        let udp = matches!(headers.transport, Transport::Udp(_));
        let pseudo = if vnet.needs_csum() {
            Some(Sum::default().plus_word(field).minus_word(low16(len)))
        } else if udp && field == 0 {
            None
        } else {
            Some(pseudo(headers, 0))
        };
        Self {
            headers,
            transport,
            pseudo,
        }
    }

    /// Makes `segment`, which holds the superframe's headers and its own payload, whole. `index`
    /// is its place, `sent` how many payload bytes went before it.
    fn finish(&self, segment: &mut [u8], index: usize, sent: usize, last: bool) {
        let l3 = usize::from(self.headers.l3);
        match self.headers.net {
            Net::Ipv4(ip) => {
                let header = l3..l3 + usize::from(ip.header_len);
                put(segment, l3 + 2, low16(segment.len() - l3));
                put(segment, l3 + 4, ip.id.wrapping_add(low16(index)));
                put(segment, l3 + 10, 0);
                put(segment, l3 + 10, Sum::of(&segment[header]).finished());
            }
            Net::Ipv6(_) => put(segment, l3 + 4, low16(segment.len() - l3 - Ipv6::LEN)),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => {}
        }
        let len = low16(segment.len() - self.transport);
        match self.headers.transport {
            Transport::Tcp(tcp) => {
                let mut flags = tcp.flags.0;
                if !last {
                    flags &= !TcpFlags::FIN.union(TcpFlags::PSH).0;
                }
                if index > 0 {
                    flags &= !TcpFlags::CWR.0;
                }
                let [high, low] = split(tcp.seq.wrapping_add(low32(sent)));
                put(segment, self.transport + 4, high);
                put(segment, self.transport + 6, low);
                segment[self.transport + 13] = flags;
            }
            Transport::Udp(_) => put(segment, self.transport + 4, len),
            Transport::Sctp(_)
            | Transport::Icmp(_)
            | Transport::Icmpv6(_)
            | Transport::Malformed(_)
            | Transport::None => {}
        }
        if let (Some(pseudo), Some(at)) = (self.pseudo, self.headers.transport.checksum_offset()) {
            let at = self.transport + usize::from(at);
            put(segment, at, 0);
            let sum = pseudo
                .plus_word(len)
                .plus(Sum::of(&segment[self.transport..]));
            put(segment, at, never_zero(sum.finished()));
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "halves of 32 bits")]
const fn split(value: u32) -> [u16; 2] {
    [(value >> 16) as u16, value as u16]
}

/// A length inside an IP packet, whose own length has 16 bits, or a count of its segments.
#[expect(
    clippy::cast_possible_truncation,
    reason = "an IP packet has at most 65535 bytes behind its fixed header"
)]
const fn low16(len: usize) -> u16 {
    len as u16
}

/// A length inside an IP packet.
#[expect(
    clippy::cast_possible_truncation,
    reason = "an IP packet has at most 65535 bytes behind its fixed header"
)]
const fn low32(len: usize) -> u32 {
    len as u32
}
