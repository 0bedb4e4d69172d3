//! IPv4 fragmentation (RFC 791, 3.2): one packet becomes several that a narrower link takes.
//!
//! ```text
//!   packet      | header, options | payload ................ |
//!   fragments   | header, options | n * 8 |  | header' | n * 8 |  … | header' | rest |
//! ```
//! `header'` is the header with those options that say they belong into every fragment. What is a
//! fragment already is cut as well: its pieces keep its place in the whole. IPv6 has nothing of the
//! kind: there the sender fragments (RFC 8200, 5). Pure; the payload is copied and not looked at.

use crate::checksum::Sum;
use crate::headers::{Headers, Net, ParseError};
use crate::ipv4::Ipv4;
use crate::segment::{low16, put};

/// Why a packet cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The frame has no headers.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is no IPv4 packet.
    #[error("only IPv4 packets are fragmented on their way")]
    NotIpv4,
    /// Its sender forbids it.
    #[error("the packet's sender forbids to fragment it")]
    Forbidden,
    /// The link takes not even eight bytes behind the header.
    #[error("no piece of the packet fits {mtu} bytes")]
    TooNarrow {
        /// The link's MTU.
        mtu: u16,
    },
    /// A fragment does not fit the room for it.
    #[error("a fragment needs {needed} bytes of room and there are {room}")]
    NoRoom {
        /// Bytes needed, those before the fragment included.
        needed: usize,
        /// Bytes there are.
        room: usize,
    },
}

/// Cuts the packet in `frame` into pieces of at most `mtu` bytes, IP header included, and calls
/// `emit` with each frame, in order. Answers how many there were.
///
/// `emit` is given `room[..end]`, in which the frame is `[start..]`, as [`crate::segment`] does it.
/// The transport checksum must be finished: it is the whole packet's. Padding behind the packet is
/// left out.
///
/// # Errors
/// When it cannot be cut, or `room` is too small. Nothing was emitted then.
pub fn fragment(
    frame: &[u8],
    mtu: u16,
    room: &mut [u8],
    start: usize,
    mut emit: impl FnMut(&mut [u8]),
) -> Result<usize, FragmentError> {
    let headers = Headers::parse(frame)?;
    let Net::Ipv4(ip) = headers.net else {
        return Err(FragmentError::NotIpv4);
    };
    if ip.dont_fragment {
        return Err(FragmentError::Forbidden);
    }
    let (l3, head) = (usize::from(headers.l3), usize::from(ip.header_len));
    let packet = &frame[l3..l3 + usize::from(ip.total_len)];
    let (header, payload) = packet.split_at(head);
    let step = usize::from(mtu).saturating_sub(head) / UNIT * UNIT;
    if step == 0 {
        return Err(FragmentError::TooNarrow { mtu });
    }
    let (needed, have) = (start + l3 + head + step.min(payload.len()), room.len());
    if needed > have {
        return Err(FragmentError::NoRoom { needed, room: have });
    }
    let later = Later::of(header);
    let count = payload.len().div_ceil(step).max(1);
    for index in 0..count {
        let offset = index * step;
        let piece = &payload[offset..payload.len().min(offset + step)];
        let header = if index == 0 { header } else { later.bytes() };
        let at = start + l3;
        let body = at + header.len();
        let end = body + piece.len();
        room[start..at].copy_from_slice(&frame[..l3]);
        room[at..body].copy_from_slice(header);
        room[body..end].copy_from_slice(piece);
        let place = PieceOffset {
            offset,
            is_last: index + 1 == count,
        };
        place.put(&ip, &mut room[at..end], header.len());
        emit(&mut room[..end]);
    }
    Ok(count)
}

/// The place of a piece in the packet that is cut.
struct PieceOffset {
    offset: usize,
    is_last: bool,
}

impl PieceOffset {
    /// Makes `packet`'s header the piece's.
    fn put(&self, whole: &Ipv4, packet: &mut [u8], header_len: usize) {
        let before = whole.fragment.map_or(0, |own| usize::from(own.offset));
        let more = !self.is_last || whole.fragment.is_some_and(|own| own.more);
        let units = (before + self.offset) / UNIT;
        let flags = if more { Ipv4::MORE_FRAGMENTS } else { 0 };
        let words = u8::try_from(header_len / 4).unwrap_or_default();
        packet[0] = 4 << 4 | words;
        put(packet, 2, low16(packet.len()));
        put(packet, 6, flags | low16(units));
        put(packet, 10, 0);
        put(packet, 10, Sum::of(&packet[..header_len]).finished());
    }
}

/// The header of all fragments but the first: without the options that belong into that one only
/// (RFC 791, 3.1: the copied flag), and without anything behind what is no option.
struct Later {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Later {
    fn of(header: &[u8]) -> Self {
        let (fixed, mut options) = header.split_at(Ipv4::MIN_LEN);
        let (bytes, len) = ([END; MAX_HEADER], 0);
        let mut kept = Self { bytes, len };
        kept.push(fixed);
        while let Some(&kind) = options.first() {
            let len = match kind {
                END => break,
                NO_OPERATION => 1,
                _ => usize::from(options.get(1).copied().unwrap_or_default()),
            };
            let Some((option, rest)) = options.split_at_checked(len).filter(|_| len > 0) else {
                break;
            };
            if kind & COPIED != 0 {
                kept.push(option);
            }
            options = rest;
        }
        kept.len = kept.len.next_multiple_of(4);
        kept
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Bytes of a header with all the options it can have.
const MAX_HEADER: usize = 60;
/// Bytes that one unit of a fragment's offset stands for.
const UNIT: usize = 8;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const COPIED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::specs;
    use crate::checksum::{Verified, verify_ipv4};
    use crate::craft::Link;
    use crate::{IpProtocol, MacAddr};
    use proptest::prelude::*;

    const START: usize = 64;

    fn cut(frame: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, FragmentError> {
        let mut room = vec![0xee; START + frame.len()];
        let mut pieces = Vec::new();
        let count = fragment(frame, mtu, &mut room, START, |room| {
            pieces.push(room[START..].to_vec());
            room.fill(0x5a);
        })?;
        assert_eq!(count, pieces.len());
        Ok(pieces)
    }

    fn ip(frame: &[u8]) -> Ipv4 {
        let Net::Ipv4(ip) = Headers::parse(frame).unwrap().net else {
            panic!("no IPv4")
        };
        ip
    }

    /// Offset, whether more follow, and the bytes.
    fn parts(frame: &[u8]) -> (usize, bool, Vec<u8>) {
        let (ip, l3) = (ip(frame), usize::from(Headers::parse(frame).unwrap().l3));
        let payload = l3 + usize::from(ip.header_len)..l3 + usize::from(ip.total_len);
        let (offset, more) = ip.fragment.map_or((0, false), |f| (f.offset, f.more));
        (usize::from(offset), more, frame[payload].to_vec())
    }

    fn whole(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut whole = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let (offset, more, bytes) = parts(piece);
            assert_eq!((offset, more), (whole.len(), index + 1 < pieces.len()));
            whole.extend(bytes);
        }
        whole
    }

    fn datagram(options: &[u8], len: usize) -> Vec<u8> {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let packet = link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
        let packet = packet.id(7).dont_fragment(false).options(options);
        packet.raw(IpProtocol::UDP, &payload)
    }

    #[test]
    fn each_piece_but_the_last_is_as_large_as_fits() {
        let pieces = cut(&datagram(&[], 4008), 1500).unwrap();
        let lengths: Vec<_> = pieces.iter().map(|piece| ip(piece).total_len).collect();
        assert_eq!(lengths, [1500, 1500, 20 + 4008 - 2 * 1480]);
        assert!(pieces.iter().all(|piece| ip(piece).id == 7));
    }

    /// RFC 791, 3.1: loose source routing is copied, the record of the route is not.
    #[test]
    fn options_are_copied_that_say_so() {
        let route = [131, 7, 4, 10, 0, 0, 9];
        let record = [7, 7, 4, 0, 0, 0, 0];
        let options = [&record[..], &[NO_OPERATION], &route, &[NO_OPERATION]].concat();
        let frame = datagram(&options, 100);
        let pieces = cut(&frame, 76).unwrap();
        assert_eq!(whole(&pieces), parts(&frame).2);
        assert_eq!(pieces[0][34..50], options);
        assert_eq!(ip(&pieces[1]).header_len, 28);
        assert_eq!(pieces[1][34..42], [&route[..], &[END]].concat());
    }

    #[test]
    fn a_piece_of_a_packet_keeps_its_place_when_it_is_cut() {
        let frame = datagram(&[], 3000);
        let once = cut(&frame, 1500).unwrap();
        let twice: Vec<_> = once.iter().flat_map(|p| cut(p, 576).unwrap()).collect();
        assert!(twice.len() > once.len());
        assert_eq!(whole(&twice), parts(&frame).2);
    }

    #[test]
    fn what_cannot_be_cut_says_why() {
        let link = Link::new(MacAddr([2; 6]), MacAddr([4; 6]));
        let v4 = link
            .clone()
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let forbidden = v4.udp(1, 2, &[0; 100]);
        assert_eq!(cut(&forbidden, 68), Err(FragmentError::Forbidden));
        let ip: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        let v6 = link.ipv6(ip, ip).udp(1, 2, &[0; 100]);
        assert_eq!(cut(&v6, 68), Err(FragmentError::NotIpv4));
        let frame = datagram(&[], 100);
        assert_eq!(cut(&frame, 27), Err(FragmentError::TooNarrow { mtu: 27 }));
        let short = fragment(&frame, 68, &mut [0; 81], 0, |_| {});
        let short = short.unwrap_err();
        assert_eq!(
            short,
            FragmentError::NoRoom {
                needed: 82,
                room: 81
            }
        );
    }

    proptest! {
        /// Nothing is lost or added, and every piece is sound, whatever options there are.
        #[test]
        fn pieces_are_sound_and_make_the_whole(spec in specs(), mtu in 68u16..1500) {
            let frame = spec.build();
            match cut(&frame, mtu) {
                Ok(pieces) => {
                    for piece in &pieces {
                        let found = ip(piece);
                        prop_assert!(found.total_len <= mtu);
                        prop_assert_eq!(verify_ipv4(piece, &Headers::parse(piece).unwrap()), Verified::Right);
                    }
                    prop_assert_eq!(whole(&pieces), parts(&frame).2);
                }
                Err(error) => prop_assert!(matches!(error, FragmentError::NotIpv4 | FragmentError::Forbidden)),
            }
        }
    }
}
