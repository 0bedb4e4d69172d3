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

/// Values that all segments of a superframe share.
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

/// Writes a word in network byte order.
pub(crate) fn put(bytes: &mut [u8], at: usize, word: u16) {
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
pub(crate) const fn low16(len: usize) -> u16 {
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

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other variant fails the test"
)]
mod tests {
    use super::*;
    use crate::arbitrary::{Ip, L4, Spec, large_specs};
    use crate::checksum::{Verified, verify_ipv4, verify_transport};
    use crate::craft::{Link, TcpSegment, superframe};
    use crate::{Ipv4, MacAddr};
    use proptest::prelude::*;

    const START: usize = 64;

    fn cut(frame: &[u8], vnet: &VnetHeader) -> Result<Vec<Vec<u8>>, SegmentError> {
        let mut room = vec![0xee; START + frame.len()];
        let mut segments = Vec::new();
        let count = segment(frame, vnet, &mut room, START, |room| {
            segments.push(room[START..].to_vec());
            // Whoever takes a segment may scribble over it and the room before it.
            room.fill(0x5a);
        })?;
        assert_eq!(count, segments.len());
        Ok(segments)
    }

    fn tcp_frame(flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let packet = link
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .id(u16::MAX);
        packet.tcp(TcpSegment {
            src_port: 1,
            dst_port: 2,
            flags,
            seq: u32::MAX,
            payload,
            ..TcpSegment::default()
        })
    }

    #[test]
    fn flags_numbers_and_identifications() {
        let every = TcpFlags(0xff);
        let mut frame = tcp_frame(every, &[7; 25]);
        let vnet = superframe(&mut frame, 10).unwrap();
        let segments = cut(&frame, &vnet).unwrap();
        let found: Vec<_> = segments
            .iter()
            .map(|segment| {
                let headers = Headers::parse(segment).unwrap();
                let (Net::Ipv4(ip), Transport::Tcp(tcp)) = (headers.net, headers.transport) else {
                    panic!("{headers:?}")
                };
                (
                    ip.id,
                    tcp.seq,
                    tcp.flags.0,
                    headers.payload_len(),
                    segment.len(),
                )
            })
            .collect();
        let (fin_psh, cwr) = (TcpFlags::FIN.union(TcpFlags::PSH).0, TcpFlags::CWR.0);
        assert_eq!(
            found,
            [
                (u16::MAX, u32::MAX, !fin_psh, 10, 64),
                (0, 9, !fin_psh & !cwr, 10, 64),
                (1, 19, !cwr, 5, 59),
            ]
        );
    }

    #[test]
    fn padding_is_left_out_and_no_payload_is_one_segment() {
        let mut frame = tcp_frame(TcpFlags::ACK, &[]);
        let vnet = superframe(&mut frame, 10).unwrap();
        frame.resize(60, 0);
        let segments = cut(&frame, &vnet).unwrap();
        assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [54]);
    }

    #[test]
    fn udp_without_a_checksum_stays_without() {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let mut frame = link
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .udp(1, 2, &[7; 30]);
        let vnet = VnetHeader {
            flags: 0,
            csum_start: 0,
            csum_offset: 0,
            ..superframe(&mut frame, 10).unwrap()
        };
        frame[40..42].fill(0);
        for segment in cut(&frame, &vnet).unwrap() {
            assert_eq!(
                verify_transport(&segment, &Headers::parse(&segment).unwrap()),
                Verified::Absent
            );
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused_before_anything_is_emitted() {
        let mut frame = tcp_frame(TcpFlags::ACK, &[7; 30]);
        assert_eq!(
            cut(&frame, &VnetHeader::default()),
            Err(SegmentError::NotASuperframe)
        );
        assert_eq!(
            cut(&frame[..13], &VnetHeader::default()),
            Err(SegmentError::Parse(ParseError::FrameTooShort))
        );
        let vnet = superframe(&mut frame, 10).unwrap();
        assert_eq!(
            cut(
                &frame,
                &VnetHeader {
                    gso_size: 0,
                    ..vnet
                }
            ),
            Err(SegmentError::Vnet(VnetError::GsoSizeZero))
        );
        let mut room = [0; 63 + 64];
        let refused = segment(&frame, &vnet, &mut room, 64, |_| panic!("emitted"));
        assert_eq!(
            refused,
            Err(SegmentError::NoRoom {
                needed: 128,
                room: 127
            })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn segments_verify_and_make_up_the_superframe(spec in large_specs(), size in 20..3000_u16) {
            let mut frame = spec.build();
            let vnet = superframe(&mut frame, size).unwrap();
            prop_assert_eq!(check_vnet(&vnet, &Headers::parse(&frame).unwrap(), frame.len()), Ok(()));
            let segments = cut(&frame, &vnet).unwrap();
            prop_assert_eq!(segments.len(), spec.payload.len().div_ceil(size.into()).max(1));
            for (index, segment) in segments.iter().enumerate() {
                let headers = Headers::parse(segment).unwrap();
                prop_assert_eq!(headers.packet_end(), Some(segment.len()));
                prop_assert_eq!(verify_transport(segment, &headers), Verified::Right);
                let v4 = if matches!(spec.ip, Ip::V4 { .. }) { Verified::Right } else { Verified::Nothing };
                prop_assert_eq!(verify_ipv4(segment, &headers), v4);
                let full = index + 1 < segments.len();
                prop_assert!(headers.payload_len() == usize::from(size) || !full && headers.payload_len() <= size.into());
            }
            prop_assert_eq!(reassemble(&segments), spec.build());
        }

        #[test]
        fn a_finished_superframe_is_cut_into_the_same_segments(spec in large_specs(), size in 200..3000_u16) {
            let mut frame = spec.build();
            let vnet = superframe(&mut frame, size).unwrap();
            let finished = VnetHeader { flags: VnetHeader::DATA_VALID, csum_start: 0, csum_offset: 0, ..vnet };
            prop_assert_eq!(cut(&frame, &vnet).unwrap(), cut(&spec.build(), &finished).unwrap());
        }

        #[test]
        fn any_virtio_header_on_any_frame_is_cut_or_refused(
            frame in crate::arbitrary::damaged(), bytes in any::<[u8; 10]>(), sound in any::<bool>(), size in 1..50_u16,
        ) {
            let mut frame = frame;
            let vnet = superframe(&mut frame, size).filter(|_| sound).unwrap_or_else(|| VnetHeader::from_bytes(bytes));
            if let Ok(segments) = cut(&frame, &vnet) {
                prop_assert!(segments.iter().all(|segment| segment.len() <= frame.len()));
            }
        }
    }

    /// Returns what a receiver that merges segments would make of them: built by the crafting side anew,
    /// from what every segment says, so that nothing but the segments decides.
    fn reassemble(segments: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut flags = 0;
        let mut next_seq = None;
        for (index, segment) in segments.iter().enumerate() {
            let headers = Headers::parse(segment).unwrap();
            if let Transport::Tcp(tcp) = headers.transport {
                assert!(next_seq.is_none_or(|seq| seq == tcp.seq));
                next_seq = Some(
                    tcp.seq
                        .wrapping_add(u32::try_from(headers.payload_len()).unwrap()),
                );
                flags |= tcp.flags.0;
            }
            if let Net::Ipv4(ip) = headers.net {
                let first = Headers::parse(&segments[0]).unwrap();
                let Net::Ipv4(Ipv4 { id, .. }) = first.net else {
                    panic!("{first:?}")
                };
                assert_eq!(ip.id, id.wrapping_add(u16::try_from(index).unwrap()));
            }
            payload.extend_from_slice(&segment[headers.header_len()..]);
        }
        let first = Headers::parse(&segments[0]).unwrap();
        let l3 = usize::from(first.l3);
        let transport = first.transport_offset().unwrap();
        let ip = match first.net {
            Net::Ipv4(ip) => Ip::V4 {
                src: ip.src,
                dst: ip.dst,
                hops: ip.ttl,
                id: ip.id,
                dont_fragment: ip.dont_fragment,
                options: segments[0][l3 + 20..transport].to_vec(),
            },
            Net::Ipv6(ip) => {
                let mut extensions = Vec::new();
                let (mut kind, mut at) = (segments[0][l3 + 6], l3 + 40);
                while at < transport {
                    let words = usize::from(segments[0][at + 1]);
                    let len = if kind == 51 {
                        (words + 2) * 4
                    } else {
                        (words + 1) * 8
                    };
                    extensions.push((
                        crate::IpProtocol(kind),
                        segments[0][at + 1..at + len].to_vec(),
                    ));
                    (kind, at) = (segments[0][at], at + len);
                }
                Ip::V6 {
                    src: ip.src,
                    dst: ip.dst,
                    hops: ip.hop_limit,
                    extensions,
                }
            }
            other => panic!("{other:?}"),
        };
        let l4 = match first.transport {
            Transport::Tcp(tcp) => L4::Tcp {
                ports: (tcp.src_port, tcp.dst_port),
                flags,
                seq: tcp.seq,
                ack: tcp.ack,
                options: segments[0][transport + 20..first.header_len()].to_vec(),
            },
            Transport::Udp(udp) => L4::Udp {
                ports: (udp.src_port, udp.dst_port),
            },
            other => panic!("{other:?}"),
        };
        let tags = [first.outer, first.inner].into_iter().flatten().collect();
        Spec {
            src: first.src,
            dst: first.dst,
            tags,
            ip,
            l4,
            payload,
        }
        .build()
    }
}
