//! The TCP options of a SYN that matter to whoever stands between its ends (RFC 9293, 3.2).
//!
//! Options are a list in which every element says its own length, chosen by the sender: a length
//! of zero must not loop, and one beyond the header must not be followed. What cannot be followed
//! ends the list, as in Linux; the options before it count. Of two of a kind the last counts, as
//! there.

use crate::transport::Tcp;

/// Options that a SYN offers. Anywhere else they mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// The largest segment the sender wants to receive.
    pub mss: Option<Mss>,
    /// By how many bits the sender's later windows are to be shifted left (RFC 7323, 2): any
    /// value, though one above [`TcpOptions::MAX_WINDOW_SCALE`] is to be taken for it.
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgements may be sent (RFC 2018, 2).
    pub sack_permitted: bool,
}

/// A maximum segment size (RFC 9293, 3.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mss {
    /// Bytes of payload.
    pub value: u16,
    /// Where in the frame the value stands; perhaps at an odd offset, since options are not
    /// aligned.
    pub at: u16,
}

impl TcpOptions {
    /// The largest window scale (RFC 7323, 2.3).
    pub const MAX_WINDOW_SCALE: u8 = 14;

    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;
    const WINDOW_SCALE: u8 = 3;
    const SACK_PERMITTED: u8 = 4;

    /// Reads the options of `tcp`, a header of `frame`. Any bytes give an answer.
    #[must_use]
    pub fn parse(frame: &[u8], tcp: &Tcp) -> Self {
        let start = usize::from(tcp.offset);
        let mut options = Self::default();
        let mut at = tcp.offset.saturating_add(20);
        let mut rest = frame
            .get(start + Tcp::MIN_LEN..start + usize::from(tcp.header_len))
            .unwrap_or_default();
        while let [kind, behind @ ..] = rest {
            let len = match (*kind, behind) {
                (Self::END, _) => break,
                (Self::NO_OPERATION, _) => 1,
                (_, [len, ..]) if *len >= 2 => *len,
                _ => break,
            };
            let Some((option, after)) = rest.split_at_checked(usize::from(len)) else {
                break;
            };
            match *option {
                [Self::MSS, 4, high, low] => {
                    options.mss = Some(Mss {
                        value: u16::from_be_bytes([high, low]),
                        at: at + 2,
                    });
                }
                [Self::WINDOW_SCALE, 3, shift] => options.window_scale = Some(shift),
                [Self::SACK_PERMITTED, 2] => options.sack_permitted = true,
                _ => {}
            }
            (rest, at) = (after, at.saturating_add(u16::from(len)));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::damaged;
    use crate::craft::{Link, TcpSegment};
    use crate::{Headers, MacAddr, TcpFlags, Transport};
    use proptest::prelude::*;

    fn parse(options: &[u8]) -> (TcpOptions, Vec<u8>) {
        let frame = Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .tcp(TcpSegment {
                flags: TcpFlags::SYN,
                options,
                ..TcpSegment::default()
            });
        let Transport::Tcp(tcp) = Headers::parse(&frame).unwrap().transport else {
            panic!("not TCP")
        };
        (TcpOptions::parse(&frame, &tcp), frame)
    }

    #[test]
    fn a_linux_syn() {
        let (options, frame) = parse(&[
            2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
        ]);
        let mss = options.mss.unwrap();
        assert_eq!((mss.value, options.window_scale), (1460, Some(7)));
        assert!(options.sack_permitted);
        assert_eq!(frame[usize::from(mss.at)..][..2], [0x05, 0xb4]);
    }

    #[test]
    fn an_mss_at_an_odd_offset_is_found_where_it_stands() {
        let (options, frame) = parse(&[1, 2, 4, 0x02, 0x18, 0, 0, 0]);
        let mss = options.mss.unwrap();
        assert_eq!((mss.value, mss.at % 2), (536, 1));
        assert_eq!(frame[usize::from(mss.at)..][..2], [0x02, 0x18]);
    }

    #[test]
    fn what_cannot_be_followed_ends_the_list() {
        let before = [3, 3, 9];
        for rest in [
            &[2, 0, 5, 5, 5][..], // no length
            &[2, 1, 5, 5, 5],     // shorter than itself
            &[2, 99, 5, 5, 5],    // beyond the header
            &[0, 2, 4, 5, 5],     // behind the end of the list
            &[2, 3, 5, 1, 2],     // an MSS of one byte, then half an option
            &[1, 1, 1, 1, 2],     // a kind without a length
        ] {
            let (options, _) = parse(&[&before[..], rest].concat());
            assert_eq!(
                (options.mss, options.window_scale),
                (None, Some(9)),
                "{rest:?}"
            );
        }
    }

    #[test]
    fn the_last_of_two_counts() {
        let (options, _) = parse(&[2, 4, 0, 1, 2, 4, 0, 2]);
        assert_eq!(options.mss.unwrap().value, 2);
    }

    proptest! {
        #[test]
        fn an_mss_lies_inside_its_header(frame in damaged()) {
            if let Ok(Headers { transport: Transport::Tcp(tcp), .. }) = Headers::parse(&frame)
                && let Some(mss) = TcpOptions::parse(&frame, &tcp).mss
            {
                let end = usize::from(tcp.offset) + usize::from(tcp.header_len);
                prop_assert!(usize::from(mss.at) + 2 <= end);
                let at = usize::from(mss.at);
                prop_assert_eq!(frame[at..at + 2].to_vec(), mss.value.to_be_bytes().to_vec());
            }
        }

        #[test]
        fn a_header_of_another_frame_is_no_panic(frame in damaged(), offset in any::<u16>(), header_len in any::<u8>()) {
            let tcp = Tcp { offset, src_port: 0, dst_port: 0, header_len, flags: TcpFlags::SYN, seq: 0, ack: 0, window: 0 };
            let _ = TcpOptions::parse(&frame, &tcp);
        }
    }
}
