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
mod said;
mod segment;

pub use said::Said;
pub use segment::Segment;

use pipeline::DropReason;
use wire::TcpFlags;

/// A TCP connection as seen from between its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// State of one side, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
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
            catch_up(tx, rx, segment)?;
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

    /// Says that segments may have passed since that were not seen: where the window is now, the
    /// ends' own segments will say, for as long as the connection lives. No single one of them says
    /// for certain what the other side has sent meanwhile.
    pub(crate) const fn outdate(&mut self) {
        self.initiator.facts |= OUTDATED;
        self.responder.facts |= OUTDATED;
    }

    /// Returns whether segments can have made it: windows are scaled by 14 bits at most (RFC 7323, 2.3).
    pub(crate) const fn is_possible(&self) -> bool {
        self.initiator.scale <= 14 && self.responder.scale <= 14
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

    /// Returns whether the segment opens a new connection in place of this one, which is over: a SYN in
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
/// It may have sent what was not seen.
const OUTDATED: u8 = 64;

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
    } else if tx.is(OUTDATED)
        || !before(seq, tx.end.wrapping_sub(rx.window)) && !before(tx.limit(rx), seq)
    {
        Ok(())
    } else {
        Err(DropReason::TcpOutOfWindow)
    }
}

/// A segment outside of the window: the window is moved to it where it is not known for certain.
#[cold]
fn catch_up(tx: &mut Peer, rx: &mut Peer, segment: &Segment) -> Result<(), DropReason> {
    if !tx.is(OUTDATED) {
        return Err(DropReason::TcpOutOfWindow);
    }
    if !tx.may_send(rx, segment) {
        (tx.end, tx.acked) = (segment.end(), segment.seq);
    }
    if !rx.may_be_acked(tx, segment) {
        (rx.end, rx.acked) = (segment.ack, segment.ack);
    }
    Ok(())
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
        if self.scales_with(other) {
            self.scale
        } else {
            0
        }
    }

    #[inline]
    const fn scales_with(&self, other: &Self) -> bool {
        self.facts & other.facts & SCALES != 0
    }

    /// How far it may send to `rx`.
    #[inline]
    const fn limit(&self, rx: &Self) -> u32 {
        self.acked.wrapping_add(rx.window)
    }

    /// Returns whether the receiver of a segment with this number expects it next: everything before it
    /// was acknowledged, or will be once it has arrived.
    const fn expected(&self, seq: u32) -> bool {
        seq == self.acked || seq == self.end
    }

    /// Returns whether what it sends to `rx` lies in the window.
    #[inline]
    fn may_send(&self, rx: &Self, segment: &Segment) -> bool {
        let (limit, end) = (self.limit(rx), segment.end());
        let oldest = self.acked.wrapping_sub(rx.window.max(MIN_BACKLOG));
        // A byte that probes a closed window lies behind it, a FIN perhaps behind that.
        !before(limit.wrapping_add(2), end) && !before(end, oldest)
    }

    /// Returns whether `tx` may acknowledge so much of what this side sent.
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

/// Returns whether sequence number `a` comes before `b` (RFC 9293, 3.4).
#[inline]
const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[inline]
const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

#[cfg(test)]
mod tests;
