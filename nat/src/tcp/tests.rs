//! Connections from the middle, by state and by RFC section.

use super::*;
use Side::{Initiator, Responder};
use proptest::collection::vec;
use proptest::prelude::*;

const F: u8 = TcpFlags::FIN.0;
const S: u8 = TcpFlags::SYN.0;
const R: u8 = TcpFlags::RST.0;
const A: u8 = TcpFlags::ACK.0;

const OUTSIDE: Result<(), DropReason> = Err(DropReason::TcpOutOfWindow);
const INVALID: Result<(), DropReason> = Err(DropReason::TcpInvalid);

/// Without payload, with a window of 1000.
fn segment(flags: u8, seq: u32, ack: u32) -> Segment {
    Segment {
        flags: TcpFlags(flags),
        seq,
        ack,
        window: 1000,
        len: 0,
        window_scale: None,
    }
}

fn data(seq: u32, ack: u32, len: u32) -> Segment {
    Segment {
        len,
        ..segment(A, seq, ack)
    }
}

/// The initiator's initial sequence number is 100, the responder's 500.
fn syn_sent() -> Tracker {
    Tracker::new(&segment(S, 100, 0)).unwrap()
}

type Step = (Side, Segment, Result<(), DropReason>, &'static str);

/// Returns what each segment is answered with, and the state behind it.
fn walk(mut tracker: Tracker, steps: &[Step]) -> Tracker {
    for (index, (from, segment, answer, label)) in steps.iter().enumerate() {
        let before = tracker;
        assert_eq!(
            tracker.advance(*from, segment, false),
            *answer,
            "step {index}"
        );
        assert_eq!(tracker.label(), *label, "step {index}");
        assert!(answer.is_ok() || tracker == before, "step {index}");
    }
    tracker
}

fn established() -> Tracker {
    walk(
        syn_sent(),
        &[
            (Responder, segment(S | A, 500, 101), Ok(()), "SYN_RECV"),
            (Initiator, segment(A, 101, 501), Ok(()), "ESTABLISHED"),
        ],
    )
}

fn reset_by_initiator() -> Tracker {
    walk(
        established(),
        &[(Initiator, segment(R, 101, 0), Ok(()), "CLOSE")],
    )
}

#[test]
fn it_is_small() {
    assert!(size_of::<Tracker>() <= 32);
}

#[test]
fn an_outdated_window_is_moved_to_where_the_ends_are() {
    // They have gone on by more than half of all numbers, and neither end's first word is its
    // newest: the initiator sends again what was lost, and the other had what follows already.
    let (far, back) = (3_000_000_000, 2_900_000_000);
    let steps = [
        (Initiator, data(far, back, 100)),
        (Responder, segment(A, back, far + 5_000)),
        (Initiator, data(far + 5_000, back, 900)),
        (Responder, data(back, far + 5_900, 800)),
        (Initiator, segment(A, far + 5_900, back + 800)),
    ];
    let mut strict = established();
    let (from, first) = &steps[0];
    assert_eq!(strict.advance(*from, first, false), OUTSIDE);

    let mut outdated = established();
    outdated.outdate();
    for (index, (from, segment)) in steps.iter().enumerate() {
        assert_eq!(outdated.advance(*from, segment, false), Ok(()), "{index}");
        assert_eq!(outdated.label(), "ESTABLISHED");
    }
    // Nobody ends it with a number that is not the one expected; whoever has the right one does.
    let guessed = segment(R, 7, 0);
    assert_eq!(outdated.advance(Initiator, &guessed, false), Ok(()));
    assert_eq!(outdated.label(), "ESTABLISHED");
    let right = segment(R, far + 5_900, 0);
    assert_eq!(outdated.advance(Initiator, &right, false), Ok(()));
    assert_eq!(outdated.label(), "CLOSE");
}

#[test]
fn the_first_segment_is_a_syn() {
    for flags in 0..=u8::MAX {
        let control = flags & CONTROL;
        let answer = match control {
            S => Ok(()),
            R | A => Err(DropReason::TcpNotSyn),
            _ if matches!(control & !A, F | S | R) && control & A != 0 => {
                Err(DropReason::TcpNotSyn)
            }
            _ => INVALID,
        };
        assert_eq!(
            Tracker::new(&segment(flags, 1, 1)).map(|_| ()),
            answer,
            "{}",
            TcpFlags(flags)
        );
    }
}

#[test]
fn flags_that_contradict_each_other_never_pass() {
    for flags in [
        0,
        F,
        S | F,
        S | R,
        F | R,
        S | F | A,
        S | R | A,
        F | R | A,
        S | F | R | A,
    ] {
        for liberal in [false, true] {
            let answer = established().advance(Initiator, &segment(flags, 101, 501), liberal);
            assert_eq!(answer, INVALID, "{}", TcpFlags(flags));
        }
    }
}

#[test]
fn it_opens_and_closes_as_rfc_9293_draws_it() {
    let tracker = walk(
        established(),
        &[
            (Initiator, segment(F | A, 101, 501), Ok(()), "FIN_WAIT"),
            (Responder, segment(A, 501, 102), Ok(()), "CLOSE_WAIT"),
            (Responder, data(501, 102, 300), Ok(()), "CLOSE_WAIT"),
            (Initiator, segment(A, 102, 801), Ok(()), "CLOSE_WAIT"),
            (Responder, segment(F | A, 801, 102), Ok(()), "LAST_ACK"),
            (Responder, segment(F | A, 801, 102), Ok(()), "LAST_ACK"),
            (Initiator, segment(A, 102, 802), Ok(()), "TIME_WAIT"),
            (Responder, segment(F | A, 801, 102), Ok(()), "TIME_WAIT"),
            (Initiator, segment(A, 102, 802), Ok(()), "TIME_WAIT"),
        ],
    );
    assert_eq!(tracker.phase(), Phase::Closing);
}

#[test]
fn both_may_close_at_once() {
    walk(
        established(),
        &[
            (Initiator, segment(F | A, 101, 501), Ok(()), "FIN_WAIT"),
            (Responder, segment(F | A, 501, 101), Ok(()), "LAST_ACK"),
            (Responder, segment(A, 502, 102), Ok(()), "LAST_ACK"),
            (Initiator, segment(A, 102, 502), Ok(()), "TIME_WAIT"),
        ],
    );
}

#[test]
fn phases_are_what_timeouts_depend_on() {
    assert_eq!(syn_sent().phase(), Phase::Opening);
    let mut tracker = established();
    assert_eq!(tracker.phase(), Phase::Established);
    tracker
        .advance(Responder, &segment(F | A, 501, 101), false)
        .unwrap();
    assert_eq!(tracker.phase(), Phase::Established, "half closed");
    tracker
        .advance(Initiator, &segment(F | A, 101, 502), false)
        .unwrap();
    assert_eq!(tracker.phase(), Phase::Closing);
    assert_eq!(reset_by_initiator().phase(), Phase::Closing);
}

#[test]
fn rfc_5382_req_2_simultaneous_open() {
    walk(
        syn_sent(),
        &[
            (Responder, segment(S, 500, 0), Ok(()), "SYN_SENT2"),
            (Responder, segment(S, 500, 0), Ok(()), "SYN_SENT2"),
            (Initiator, segment(S | A, 100, 500), OUTSIDE, "SYN_SENT2"),
            (Initiator, segment(S | A, 100, 501), Ok(()), "SYN_RECV"),
            (Responder, segment(S | A, 500, 101), Ok(()), "ESTABLISHED"),
            (Initiator, data(101, 501, 10), Ok(()), "ESTABLISHED"),
        ],
    );
}

#[test]
fn a_syn_may_be_sent_again_with_another_number_while_it_was_not_answered() {
    walk(
        syn_sent(),
        &[
            (Initiator, segment(S, 100, 0), Ok(()), "SYN_SENT"),
            (Initiator, segment(S, 7_000_000, 0), Ok(()), "SYN_SENT"),
            (Responder, segment(S | A, 500, 101), OUTSIDE, "SYN_SENT"),
            (
                Responder,
                segment(S | A, 500, 7_000_001),
                Ok(()),
                "SYN_RECV",
            ),
            // A SYN cookie of a minute later.
            (
                Responder,
                segment(S | A, 900, 7_000_001),
                Ok(()),
                "SYN_RECV",
            ),
            (Initiator, segment(A, 7_000_001, 501), OUTSIDE, "SYN_RECV"),
            (Initiator, segment(A, 7_000_001, 901), Ok(()), "ESTABLISHED"),
        ],
    );
}

#[test]
fn only_an_answer_to_the_syn_answers_it() {
    walk(
        syn_sent(),
        &[
            (Responder, segment(S | A, 500, 100), OUTSIDE, "SYN_SENT"),
            (Responder, segment(S | A, 500, 102), OUTSIDE, "SYN_SENT"),
            (Responder, data(501, 101, 5), INVALID, "SYN_SENT"),
            (Responder, segment(F | A, 501, 101), INVALID, "SYN_SENT"),
            (Initiator, segment(A, 101, 501), INVALID, "SYN_SENT"),
            (Initiator, segment(S | A, 100, 501), INVALID, "SYN_SENT"),
            (Responder, segment(R, 0, 0), OUTSIDE, "SYN_SENT"),
            (Responder, segment(R | A, 0, 100), OUTSIDE, "SYN_SENT"),
            (Responder, segment(R | A, 0, 101), Ok(()), "CLOSE"),
        ],
    );
}

#[test]
fn a_server_s_older_connection_is_sorted_out_by_the_ends() {
    // RFC 9293, 3.5.1, figure 9, with us in between.
    let tracker = walk(
        syn_sent(),
        &[
            (Responder, segment(A, 300, 9_999), Ok(()), "SYN_SENT"),
            (Initiator, segment(R, 9_999, 0), Ok(()), "SYN_SENT"),
            (Initiator, segment(S, 100, 0), Ok(()), "SYN_SENT"),
            (Responder, segment(S | A, 500, 101), Ok(()), "SYN_RECV"),
        ],
    );
    assert_eq!(tracker.phase(), Phase::Opening);
}

#[test]
fn a_client_that_rebooted_gets_through() {
    let tracker = walk(
        established(),
        &[
            (Initiator, segment(S, 4_000_000, 0), Ok(()), "ESTABLISHED"),
            (Responder, segment(A, 501, 101), Ok(()), "ESTABLISHED"),
            (Initiator, segment(R, 101, 0), Ok(()), "CLOSE"),
        ],
    );
    assert!(tracker.reopens(&segment(S, 4_000_000, 0)));
}

#[test]
fn the_handshake_s_last_ack_acknowledges_it_exactly() {
    let answered = walk(
        syn_sent(),
        &[(Responder, segment(S | A, 500, 101), Ok(()), "SYN_RECV")],
    );
    for ack in [0, 400, 500, 502] {
        let step = (Initiator, segment(A, 101, ack), OUTSIDE, "SYN_RECV");
        walk(answered, &[step]);
    }
}

#[test]
fn data_may_come_with_the_syn_and_before_the_last_ack() {
    // RFC 7413: 30 bytes with the SYN, of which the server takes none, then all.
    for ack in [101, 131] {
        let syn = Segment {
            len: 30,
            ..segment(S, 100, 0)
        };
        walk(
            Tracker::new(&syn).unwrap(),
            &[
                (Responder, segment(S | A, 500, ack), Ok(()), "SYN_RECV"),
                (Responder, data(501, ack, 1000), Ok(()), "SYN_RECV"),
                (Responder, data(1501, ack, 3), OUTSIDE, "SYN_RECV"),
                (Responder, segment(S | A, 500, ack), Ok(()), "SYN_RECV"),
                (Initiator, segment(A, 131, 1501), Ok(()), "ESTABLISHED"),
            ],
        );
    }
}

#[test]
fn a_segment_lies_in_the_window() {
    // The responder offered 1000 from 101 on.
    for (seq, len, answer) in [
        (101, 0, Ok(())),
        (101, 1000, Ok(())),
        (1101, 0, Ok(())),
        (1101, 1, Ok(())), // a probe of a closed window
        (1103, 0, Ok(())), // the ACK behind a probe and a FIN
        (1104, 0, OUTSIDE),
        (101, 1003, OUTSIDE),
        (2_000_000_000, 1, OUTSIDE),
        (100, 0, Ok(())), // keepalive (RFC 1122, 4.2.3.6)
        (100, 1, Ok(())),
        (101_u32.wrapping_sub(0xffff), 0, Ok(())),
        (100_u32.wrapping_sub(0xffff), 0, OUTSIDE),
    ] {
        let answered = established().advance(Initiator, &data(seq, 501, len), false);
        assert_eq!(answered, answer, "{seq} {len}");
    }
    for (ack, answer) in [
        (501, Ok(())),
        (502, OUTSIDE),
        (501_u32.wrapping_sub(0xffff), Ok(())),
        (500_u32.wrapping_sub(0xffff), OUTSIDE),
    ] {
        let answered = established().advance(Initiator, &data(101, ack, 1), false);
        assert_eq!(answered, answer, "{ack}");
    }
}

#[test]
fn liberal_lets_pass_what_lies_outside() {
    let mut tracker = established();
    for segment in [data(9_000_000, 501, 1), data(101, 77, 1), segment(A, 5, 5)] {
        assert_eq!(tracker.advance(Initiator, &segment, true), Ok(()));
    }
    tracker
        .advance(Responder, &segment(R, 77_777, 0), true)
        .unwrap();
    assert_eq!(tracker.label(), "CLOSE");
}

#[test]
fn windows_are_scaled_when_both_sides_say_so() {
    let open = |initiator, responder| {
        let syn = Segment {
            window_scale: initiator,
            ..segment(S, 100, 0)
        };
        let answer = Segment {
            window_scale: responder,
            ..segment(S | A, 500, 101)
        };
        let mut tracker = Tracker::new(&syn).unwrap();
        tracker.advance(Responder, &answer, false).unwrap();
        tracker
            .advance(Initiator, &segment(A, 101, 501), false)
            .unwrap();
        tracker
            .advance(Responder, &segment(A, 501, 101), false)
            .unwrap();
        tracker
    };
    for (initiator, responder, reach) in [
        (Some(3), Some(7), 128_000),
        (Some(3), Some(0), 1000),
        (None, Some(7), 1000),
        (Some(3), None, 1000),
    ] {
        let mut tracker = open(initiator, responder);
        let far = data(101 + reach, 501, 2);
        assert_eq!(tracker.advance(Initiator, &far, false), Ok(()));
        let farther = data(101 + reach, 501, 3);
        assert_eq!(tracker.advance(Initiator, &farther, false), OUTSIDE);
    }
}

#[test]
fn rfc_5961_a_reset_is_believed_only_at_the_exact_number() {
    let sent = walk(
        established(),
        &[(Initiator, data(101, 501, 400), Ok(()), "ESTABLISHED")],
    );
    for (seq, answer, label) in [
        (101, Ok(()), "CLOSE"), // what the receiver acknowledged last
        (501, Ok(()), "CLOSE"), // what it will
        (300, Ok(()), "ESTABLISHED"),
        (1101, Ok(()), "ESTABLISHED"),
        (1102, OUTSIDE, "ESTABLISHED"),
        (501_u32.wrapping_sub(1000), Ok(()), "ESTABLISHED"),
        (500_u32.wrapping_sub(1000), OUTSIDE, "ESTABLISHED"),
        (3_000_000_000, OUTSIDE, "ESTABLISHED"),
    ] {
        walk(sent, &[(Initiator, segment(R, seq, 0), answer, label)]);
    }
}

#[test]
fn rfc_7857_2_2_a_connection_goes_on_if_its_reset_was_none() {
    walk(
        reset_by_initiator(),
        &[
            (Responder, data(501, 101, 9_999), OUTSIDE, "CLOSE"),
            (Initiator, segment(R, 300, 0), Ok(()), "CLOSE"),
            (Responder, data(501, 101, 100), Ok(()), "ESTABLISHED"),
        ],
    );
}

#[test]
fn a_fin_that_was_not_the_last_was_none() {
    walk(
        established(),
        &[
            (Initiator, segment(F | A, 101, 501), Ok(()), "FIN_WAIT"),
            (Initiator, data(101, 501, 200), Ok(()), "ESTABLISHED"),
            (Initiator, segment(F | A, 101, 501), Ok(()), "ESTABLISHED"),
            (Initiator, segment(F | A, 301, 501), Ok(()), "FIN_WAIT"),
        ],
    );
}

#[test]
fn a_new_connection_takes_the_place_of_one_that_is_over() {
    let over = walk(
        established(),
        &[
            (Initiator, segment(F | A, 101, 501), Ok(()), "FIN_WAIT"),
            (Responder, segment(F | A, 501, 102), Ok(()), "LAST_ACK"),
        ],
    );
    let syn = segment(S, 77, 0);
    assert!(!over.reopens(&syn) && !established().reopens(&syn) && !syn_sent().reopens(&syn));
    let over = walk(
        over,
        &[(Initiator, segment(A, 102, 502), Ok(()), "TIME_WAIT")],
    );
    for tracker in [over, reset_by_initiator()] {
        assert!(tracker.reopens(&syn));
        assert!(!tracker.reopens(&segment(S | A, 77, 0)));
        assert!(!tracker.reopens(&segment(A, 102, 502)));
    }
}

fn junk() -> impl Strategy<Value = (bool, Segment, bool)> {
    let near = prop_oneof![any::<u32>(), 50..700_u32, 1000..2000_u32];
    (
        any::<bool>(),
        (
            any::<u8>(),
            near.clone(),
            near,
            any::<u16>(),
            0..70_000_u32,
            prop::option::of(0..=14_u8),
        ),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(from, (flags, seq, ack, window, len, window_scale), liberal)| {
                let flags = TcpFlags(flags);
                (
                    from,
                    Segment {
                        flags,
                        seq,
                        ack,
                        window,
                        len,
                        window_scale,
                    },
                    liberal,
                )
            },
        )
}

proptest! {
    #[test]
    fn junk_does_no_harm(segments in vec(junk(), 0..60)) {
        let mut tracker = established();
        for (from, segment, liberal) in segments {
            let before = tracker;
            let from = if from { Initiator } else { Responder };
            if tracker.advance(from, &segment, liberal).is_err() {
                prop_assert_eq!(tracker, before);
            }
            let _ = (tracker.label(), tracker.phase(), tracker.reopens(&segment));
        }
    }
}
