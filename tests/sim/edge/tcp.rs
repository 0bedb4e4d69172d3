//! What a NAT must know of a TCP connection whose ends are honest and send no data.

use super::reference::Refused;
use nat::tcp::Phase;
use pipeline::DropReason;
use wire::TcpFlags;

/// A TCP segment without data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seg {
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// The client's port, by which its conversation's lives are told apart.
    pub(super) port: u16,
}

impl Seg {
    pub(super) const QUOTED: Self = Self {
        flags: TcpFlags::ACK,
        seq: 101,
        ack: 501,
        port: 0,
    };

    pub(super) fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }

    fn end(&self) -> u32 {
        self.seq + u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN))
    }
}

/// What was seen of the two ends of a TCP connection: first who began it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tcp([End; 2]);

#[derive(Debug, Clone, Copy, Default)]
struct End {
    syn: bool,
    syn_acked: bool,
    /// One past what it sent, and what of that was acknowledged.
    end: u32,
    acked: u32,
    fin: bool,
    reset: bool,
}

impl End {
    fn synchronised(&mut self, segment: Seg) {
        let end = segment.seq + 1;
        (self.syn, self.end, self.acked) = (true, self.end.max(end), self.acked.max(end));
    }

    fn acknowledged(&mut self, ack: u32) {
        (self.syn_acked, self.acked) = (true, self.acked.max(ack));
    }
}

impl Tcp {
    pub(super) fn opens(segment: Seg) -> Result<Self, Refused> {
        if segment.flags != TcpFlags::SYN {
            return Err(Refused::For(DropReason::TcpNotSyn));
        }
        let mut ends = [End::default(); 2];
        ends[0].synchronised(segment);
        Ok(Self(ends))
    }

    /// The next segment of honest ends, from the initiator (0) or the responder (1).
    pub(super) fn next(&mut self, from: usize, segment: Seg) -> Result<(), Refused> {
        let [own, other] = [self.0[from], self.0[1 - from]];
        let [acks, resets] = [TcpFlags::ACK, TcpFlags::RST].map(|flags| segment.has(flags));
        let expected = [own.end, own.acked].contains(&segment.seq);
        // What was not sent cannot be acknowledged: a segment of an earlier life.
        let sound = !acks || segment.ack <= other.end;
        let outside = Err(Refused::For(DropReason::TcpOutOfWindow));
        if segment.has(TcpFlags::SYN) {
            if own.syn_acked {
                if acks && sound && segment.seq + 1 == own.acked {
                    self.0[1 - from].acknowledged(segment.ack);
                }
                return Ok(());
            }
            if !sound {
                return outside;
            }
            self.0[from].synchronised(segment);
            self.0[1 - from].reset = false;
        } else if !(own.syn && other.syn) {
            // Only one SYN was seen (RFC 9293, 3.10.7.3).
            return match (own.syn, resets) {
                (true, true) => {
                    self.0[from].reset |= expected;
                    Ok(())
                }
                (false, true) if sound => {
                    self.0[from].reset = true;
                    Ok(())
                }
                (false, true) => outside,
                (false, false) if !segment.has(TcpFlags::FIN) => Ok(()),
                (true | false, false) => Err(Refused::For(DropReason::TcpInvalid)),
            };
        } else if resets {
            // Believed only with the number that its receiver expects (RFC 5961, 3).
            self.0[from].reset |= expected;
            return Ok(());
        } else if !sound {
            return outside;
        } else {
            self.0[from].end = own.end.max(segment.end());
            self.0[from].fin |= segment.has(TcpFlags::FIN);
            // Who was thought to be reset was not (RFC 7857, 2.2).
            self.0.iter_mut().for_each(|end| end.reset = false);
        }
        if acks {
            self.0[1 - from].acknowledged(segment.ack);
        }
        Ok(())
    }

    /// How far it has come (RFC 5382, 4 and 5).
    pub(super) fn phase(&self) -> Phase {
        let both = |is: fn(&End) -> bool| self.0.iter().all(is);
        if self.0.iter().any(|end| end.reset) || both(|end| end.fin) {
            Phase::Closing
        } else if both(|end| end.syn_acked) {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    /// Returns whether a SYN begins another connection in its place.
    pub(super) fn is_over(&self) -> bool {
        let finished = |end: &End| end.fin && end.acked == end.end;
        self.0.iter().any(|end| end.reset) || self.0.iter().all(finished)
    }
}
