//! A TCP segment as the tracker needs it.

use wire::{Headers, Tcp, TcpFlags, TcpOptions};

/// The fields of a TCP segment that concern its connection. A superframe is one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// SYN, ACK and the others.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Receive window, not scaled.
    pub window: u16,
    /// Bytes of payload.
    pub len: u32,
    /// By how many bits later windows are to be shifted left, 14 at most; `None` without the
    /// option, and in what is no SYN.
    pub window_scale: Option<u8>,
}

impl Segment {
    /// The segment in `frame`, whose TCP header `tcp` is.
    #[must_use]
    #[inline]
    pub fn of(frame: &[u8], headers: &Headers, tcp: &Tcp) -> Self {
        let window_scale = if tcp.flags.contains(TcpFlags::SYN) {
            // RFC 7323, 2.3: more than 14 is taken for 14.
            let offered = TcpOptions::parse(frame, tcp).window_scale;
            offered.map(|scale| scale.min(TcpOptions::MAX_WINDOW_SCALE))
        } else {
            None
        };
        Self {
            flags: tcp.flags,
            seq: tcp.seq,
            ack: tcp.ack,
            window: tcp.window,
            // At most 64 KiB.
            len: u32::try_from(headers.payload_len()).unwrap_or(u32::MAX),
            window_scale,
        }
    }

    #[inline]
    pub(super) const fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }

    /// One past its last sequence number; SYN and FIN have one each.
    #[inline]
    pub(super) fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(self.has(TcpFlags::SYN).into())
            .wrapping_add(self.has(TcpFlags::FIN).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::craft::{Link, TcpSegment};
    use wire::{MacAddr, Transport};

    fn read(segment: TcpSegment<'_>, padding: usize) -> Segment {
        let mut frame = Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .tcp(segment);
        frame.resize(frame.len() + padding, 0xff);
        let headers = Headers::parse(&frame).unwrap();
        let Transport::Tcp(tcp) = headers.transport else {
            panic!("not TCP")
        };
        Segment::of(&frame, &headers, &tcp)
    }

    #[test]
    fn payload_is_what_lies_behind_the_options_and_before_the_padding() {
        let sent = TcpSegment {
            flags: TcpFlags::FIN.union(TcpFlags::ACK),
            seq: u32::MAX,
            ack: 7,
            window: 9,
            options: &[1, 1, 1, 1],
            payload: &[5; 40_000],
            ..TcpSegment::default()
        };
        let read = read(sent, 6);
        assert_eq!((read.len, read.end()), (40_000, 40_000));
        assert_eq!((read.seq, read.ack, read.window), (u32::MAX, 7, 9));
    }

    #[test]
    fn only_a_syn_scales_and_by_14_at_most() {
        let with = |flags, options: &[u8]| {
            read(
                TcpSegment {
                    flags,
                    options,
                    ..TcpSegment::default()
                },
                0,
            )
            .window_scale
        };
        assert_eq!(with(TcpFlags::SYN, &[3, 3, 7, 0]), Some(7));
        assert_eq!(with(TcpFlags::SYN, &[3, 3, 99, 0]), Some(14));
        assert_eq!(with(TcpFlags::SYN, &[]), None);
        assert_eq!(with(TcpFlags::ACK, &[3, 3, 7, 0]), None);
    }
}
