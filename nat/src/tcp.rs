//! Follows a TCP connection from the middle: which segments belong to it, and how far it has come
//! (RFC 9293; RFC 5382, 4; RFC 7857, 2).
//!
//! ```text
//!              SYN
//!               v       SYN+ACK of the other            ACK of that
//!           SYN_SENT ----------------------> SYN_RECV ---------------> ESTABLISHED
//!               |                              ^                            | FIN of one side
//!               | SYN of the other             |                            v
//!               '---------> SYN_SENT2 ---------'                        FIN_WAIT ---.
//!                           SYN+ACK of one                      its ACK     |       |
//!                           (simultaneous open,                             v       | FIN of
//!                           RFC 5382 REQ-2)                            CLOSE_WAIT   | the other
//!                                                           FIN of the other|       |
//!                                                                           v       v
//!           any --- RST ---> CLOSE                                        LAST_ACK <'
//!                    ^         |                                            | both acknowledged
//!                    '---------' any segment but a RST: back                v
//!                                (RFC 7857, 2.2)                        TIME_WAIT
//! ```
//! No state is stored: it follows from four facts of each side, whether its SYN and its FIN were
//! seen and acknowledged. So no segment that arrives twice, late or in another order can put the
//! connection into a state it is not in.
//!
//! **The attack** is a blind one: segments with the right addresses and ports and a guessed
//! sequence number, sent to end a connection or to put data into it. A segment must lie in the
//! window (G. van Rooij, "Real stateful TCP packet filtering in IP Filter", 2001), where what the
//! two sides were seen to acknowledge and to offer bounds it from both ends:
//!
//! ```text
//!            one window                  largest window offered
//!       |<------------------>|<-------------------------------->|
//!   ----+--------------------+---------------+------------------+----> sequence numbers
//!     oldest              acked             end               limit
//! ```
//! A RST ends the connection only with exactly the number that its receiver expects, as it would
//! there (RFC 5961, 3); elsewhere in the window it passes, for its receiver to challenge, and
//! nothing is learned from it. Likewise a SYN inside a connection (RFC 5961, 4), and the bare ACK
//! by which a server with an older connection answers to a SYN (RFC 9293, 3.5.1): what the ends
//! sort out between them passes, and this side believes none of it.
//!
//! A plain `Copy` value of 32 bytes without a clock; whoever keeps it locks it.

#[cfg(test)]
mod exchange;
mod segment;

pub use segment::Segment;

use pipeline::DropReason;
use wire::TcpFlags;

/// A TCP connection as seen from between its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracker {
    initiator: Peer,
    responder: Peer,
}

/// Who sent a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Whoever sent the first SYN.
    Initiator,
    /// The other.
    Responder,
}

/// How far a connection has come, as far as it matters to how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not both sides' SYNs have been acknowledged.
    Opening,
    /// Both sides' have, and at most one side has finished.
    Established,
    /// Both sides have finished, or one has reset it.
    Closing,
}

/// What was seen of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Peer {
    /// One past the highest sequence number it sent.
    end: u32,
    /// The highest sequence number that the other side acknowledged; one past its SYN until then.
    acked: u32,
    /// The largest window it offered, in bytes.
    window: u32,
    /// By how much its windows are scaled, if the other side's are, too.
    scale: u8,
    facts: u8,
}

/// A window that every side is thought to have offered when it comes to old segments: a late one
/// does no harm, and the receiver throws it away.
const MIN_BACKLOG: u32 = 0xffff;

impl Tracker {
    /// A connection whose first segment this is.
    ///
    /// # Errors
    /// [`DropReason::TcpNotSyn`] when it opens none, [`DropReason::TcpInvalid`] when its flags
    /// contradict each other.
    pub fn new(first: &Segment) -> Result<Self, DropReason> {
        check_flags(first.flags)?;
        if first.flags.0 & CONTROL != TcpFlags::SYN.0 {
            return Err(DropReason::TcpNotSyn);
        }
        let mut initiator = Peer::default();
        initiator.open(first);
        Ok(Self {
            initiator,
            responder: Peer::default(),
        })
    }

    /// The next segment, and whether it may pass. `liberal` lets pass what lies outside the
    /// window, and believes it. What may not pass changes nothing.
    ///
    /// # Errors
    /// [`DropReason::TcpInvalid`] when its flags contradict each other or what happened so far,
    /// [`DropReason::TcpOutOfWindow`].
    #[inline]
    pub fn advance(
        &mut self,
        from: Side,
        segment: &Segment,
        liberal: bool,
    ) -> Result<(), DropReason> {
        check_flags(segment.flags)?;
        let (tx, rx) = match from {
            Side::Initiator => (&mut self.initiator, &mut self.responder),
            Side::Responder => (&mut self.responder, &mut self.initiator),
        };
        if segment.has(TcpFlags::SYN) {
            return synchronise(tx, rx, segment, liberal);
        }
        if !(tx.is(SYN) && rx.is(SYN)) {
            return half_open(tx, rx, segment, liberal);
        }
        if segment.has(TcpFlags::RST) {
            return reset(tx, rx, segment, liberal);
        }
        let inside = tx.may_send(rx, segment) && rx.may_be_acked(tx, segment);
        if !(inside || liberal) {
            return Err(DropReason::TcpOutOfWindow);
        }
        tx.sent(segment);
        let window = u32::from(segment.window) << tx.scale_with(rx);
        tx.window = tx.window.max(window);
        rx.acknowledged(segment.ack);
        // Whoever was thought to be reset was not.
        tx.facts &= !RST;
        rx.facts &= !RST;
        Ok(())
    }

    /// How far the connection has come.
    #[must_use]
    #[inline]
    pub const fn phase(&self) -> Phase {
        let (both, either) = (
            self.initiator.facts & self.responder.facts,
            self.initiator.facts | self.responder.facts,
        );
        if either & RST != 0 || both & FIN != 0 {
            Phase::Closing
        } else if both & SYN_ACKED != 0 {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    /// Whether the segment opens a new connection in place of this one, which is over: a SYN in
    /// TIME_WAIT (RFC 9293, 3.6.1) or after a RST. [`Tracker::new`] is then what follows it.
    #[must_use]
    pub const fn reopens(&self, segment: &Segment) -> bool {
        let (both, either) = (
            self.initiator.facts & self.responder.facts,
            self.initiator.facts | self.responder.facts,
        );
        let over = either & RST != 0 || both & FIN_ACKED != 0;
        over && segment.flags.0 & CONTROL == TcpFlags::SYN.0
    }

    /// The state, in the words of Linux conntrack.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        let (both, either) = (
            self.initiator.facts & self.responder.facts,
            self.initiator.facts | self.responder.facts,
        );
        match self.phase() {
            Phase::Closing if either & RST != 0 => "CLOSE",
            Phase::Closing if both & FIN_ACKED != 0 => "TIME_WAIT",
            Phase::Closing => "LAST_ACK",
            Phase::Established if either & FIN_ACKED != 0 => "CLOSE_WAIT",
            Phase::Established if either & FIN != 0 => "FIN_WAIT",
            Phase::Established => "ESTABLISHED",
            Phase::Opening if either & SYN_ACKED != 0 => "SYN_RECV",
            Phase::Opening if both & SYN != 0 => "SYN_SENT2",
            Phase::Opening => "SYN_SENT",
        }
    }
}

// Facts about a side.
/// Its SYN was seen.
const SYN: u8 = 1;
/// Its SYN was acknowledged.
const SYN_ACKED: u8 = 2;
/// Its FIN was seen; `end` is one past it.
const FIN: u8 = 4;
/// Its FIN was acknowledged.
const FIN_ACKED: u8 = 8;
/// It sent a RST.
const RST: u8 = 16;
/// Its SYN offered to scale windows.
const SCALES: u8 = 32;

/// The flags that a segment's meaning depends on.
const CONTROL: u8 = TcpFlags::FIN.0 | TcpFlags::SYN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0;

/// Of the sixteen combinations six mean something (RFC 9293, 3.10.7): SYN, RST and ACK alone, and
/// each of SYN, RST and FIN with ACK.
#[inline]
const fn check_flags(flags: TcpFlags) -> Result<(), DropReason> {
    const F: u8 = TcpFlags::FIN.0;
    const S: u8 = TcpFlags::SYN.0;
    const R: u8 = TcpFlags::RST.0;
    const A: u8 = TcpFlags::ACK.0;
    const SOUND: u32 = 1 << S | 1 << R | 1 << A | 1 << (S | A) | 1 << (R | A) | 1 << (F | A);
    if SOUND >> (flags.0 & CONTROL) & 1 == 1 {
        Ok(())
    } else {
        Err(DropReason::TcpInvalid)
    }
}

/// A segment with SYN.
#[cold]
fn synchronise(
    tx: &mut Peer,
    rx: &mut Peer,
    segment: &Segment,
    liberal: bool,
) -> Result<(), DropReason> {
    let acks = segment.has(TcpFlags::ACK);
    if acks && !rx.is(SYN) {
        return Err(DropReason::TcpInvalid);
    }
    let ack_fits = acks && (liberal || rx.may_be_acked(tx, segment));
    if tx.is(SYN_ACKED) {
        // For its receiver to challenge, unless it is a simultaneous open's, or sent again.
        if ack_fits && segment.seq.wrapping_add(1) == tx.acked {
            tx.window = tx.window.max(segment.window.into());
            rx.acknowledged(segment.ack);
        }
        return Ok(());
    }
    if acks && !ack_fits {
        return Err(DropReason::TcpOutOfWindow);
    }
    if tx.is(SYN) && segment.seq.wrapping_add(1) == tx.acked {
        // Sent again: TFO's data (RFC 7413) may be missing, or the options.
        tx.end = later(tx.end, segment.end());
        tx.window = tx.window.max(segment.window.into());
        tx.offer_scale(segment.window_scale);
    } else {
        tx.open(segment);
    }
    if acks {
        rx.acknowledged(segment.ack);
    }
    rx.facts &= !RST;
    Ok(())
}

/// A segment without SYN while only the initiator's SYN was seen.
#[cold]
fn half_open(tx: &mut Peer, rx: &Peer, segment: &Segment, liberal: bool) -> Result<(), DropReason> {
    let (acks, resets) = (segment.has(TcpFlags::ACK), segment.has(TcpFlags::RST));
    if tx.is(SYN) {
        // The initiator gives up; or it answers to a server's older connection, and only the
        // server can tell whether rightly.
        if resets && tx.expected(segment.seq) {
            tx.facts |= RST;
        }
        return if resets {
            Ok(())
        } else {
            Err(DropReason::TcpInvalid)
        };
    }
    if resets {
        // RFC 9293, 3.10.7.3: it is believed if it acknowledges the SYN.
        if liberal || (acks && rx.may_be_acked(tx, segment)) {
            tx.facts |= RST;
            return Ok(());
        }
        return Err(DropReason::TcpOutOfWindow);
    }
    if acks && segment.end() == segment.seq {
        Ok(())
    } else {
        Err(DropReason::TcpInvalid)
    }
}

/// A RST once both SYNs were seen.
#[cold]
fn reset(tx: &mut Peer, rx: &Peer, segment: &Segment, liberal: bool) -> Result<(), DropReason> {
    let seq = segment.seq;
    if tx.expected(seq) || liberal {
        tx.facts |= RST;
        Ok(())
    } else if !before(seq, tx.end.wrapping_sub(rx.window)) && !before(tx.limit(rx), seq) {
        Ok(())
    } else {
        Err(DropReason::TcpOutOfWindow)
    }
}

impl Peer {
    const fn is(&self, fact: u8) -> bool {
        self.facts & fact != 0
    }

    /// Its SYN, the first or one with another initial sequence number.
    fn open(&mut self, syn: &Segment) {
        *self = Self {
            end: syn.end(),
            acked: syn.seq.wrapping_add(1),
            // RFC 7323, 2.2: that of a SYN is never scaled.
            window: syn.window.into(),
            scale: 0,
            facts: SYN,
        };
        self.offer_scale(syn.window_scale);
    }

    fn offer_scale(&mut self, scale: Option<u8>) {
        if let Some(scale) = scale {
            self.scale = scale;
            self.facts |= SCALES;
        }
    }

    /// Windows are scaled when both SYNs say so (RFC 7323, 2.2).
    #[inline]
    const fn scale_with(&self, other: &Self) -> u8 {
        if self.facts & other.facts & SCALES != 0 {
            self.scale
        } else {
            0
        }
    }

    /// How far it may send to `rx`.
    #[inline]
    const fn limit(&self, rx: &Self) -> u32 {
        self.acked.wrapping_add(rx.window)
    }

    /// Whether the receiver of a segment with this number expects it next: everything before it
    /// was acknowledged, or will be once it has arrived.
    const fn expected(&self, seq: u32) -> bool {
        seq == self.acked || seq == self.end
    }

    /// Whether what it sends to `rx` lies in the window.
    #[inline]
    fn may_send(&self, rx: &Self, segment: &Segment) -> bool {
        let (limit, end) = (self.limit(rx), segment.end());
        let oldest = self.acked.wrapping_sub(rx.window.max(MIN_BACKLOG));
        // A byte that probes a closed window lies behind it, a FIN perhaps behind that.
        !before(limit.wrapping_add(2), end) && !before(end, oldest)
    }

    /// Whether `tx` may acknowledge so much of what this side sent.
    #[inline]
    fn may_be_acked(&self, tx: &Self, segment: &Segment) -> bool {
        let oldest = if self.is(SYN_ACKED) {
            self.acked.wrapping_sub(tx.window.max(MIN_BACKLOG))
        } else {
            self.acked
        };
        !before(self.end, segment.ack) && !before(segment.ack, oldest)
    }

    #[inline]
    fn sent(&mut self, segment: &Segment) {
        let end = segment.end();
        if before(self.end, end) {
            self.end = end;
            // Nothing comes behind a FIN: that one was not this side's.
            self.facts &= !(FIN | FIN_ACKED);
        }
        if segment.has(TcpFlags::FIN) && end == self.end {
            self.facts |= FIN;
        }
    }

    #[inline]
    fn acknowledged(&mut self, ack: u32) {
        self.acked = later(self.acked, ack);
        self.facts |= SYN_ACKED;
        if self.is(FIN) && ack == self.end {
            self.facts |= FIN_ACKED;
        }
    }
}

/// Whether sequence number `a` comes before `b` (RFC 9293, 3.4).
#[inline]
const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[inline]
const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

#[cfg(test)]
mod tests {
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

    /// What each segment is answered with, and the state behind it.
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
}
