//! Figures that the two sides of a connection have said: for whoever lets segments pass elsewhere, and back
//! from there.

use super::{FIN, FIN_ACKED, Peer, SYN, SYN_ACKED, Side, Tracker, later};

/// The furthest figures that one side has said in its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// One past its highest sequence number.
    pub end: u32,
    /// The highest sequence number of the other side that it acknowledged.
    pub ack: u32,
    /// The largest window it offered, in bytes.
    pub window: u32,
    /// Whether it sent a FIN, which `end` is one past.
    pub finished: bool,
    /// By how many bits it scales its windows, if both sides do.
    pub scale: Option<u8>,
    /// Whether it acknowledged anything. Until then `ack` is what it may acknowledge first.
    pub acks: bool,
}

impl Tracker {
    /// The figures that `side` has said so far.
    #[must_use]
    pub fn said(&self, side: Side) -> Said {
        let (tx, rx) = self.seen_by(side);
        Said {
            end: tx.end,
            ack: rx.acked,
            window: tx.window,
            finished: tx.is(FIN),
            scale: tx.scales_with(rx).then_some(tx.scale),
            acks: rx.is(SYN_ACKED),
        }
    }

    /// By how many bits the windows of `side` are scaled.
    #[must_use]
    pub const fn scale(&self, side: Side) -> u8 {
        let (tx, rx) = self.seen_by(side);
        tx.scale_with(rx)
    }

    /// Takes in what both sides, the initiator first, have said in segments that passed elsewhere, each of them
    /// inside of the window; the responder's SYN may be among them. `far` says that these may have come further than half of all sequence numbers:
    /// then they are ahead of all that was seen here.
    pub fn take_in(&mut self, said: [Option<Said>; 2], far: bool) {
        let further = |old, new| if far { new } else { later(old, new) };
        let [initiator, responder] = said;
        let Self {
            initiator: first,
            responder: second,
        } = self;
        if let [Some(asked), Some(answered)] = said
            && answered.acks
            && !second.is(SYN)
        {
            second.answer(&asked, &answered);
        }
        // What was sent, on both sides, before what was acknowledged of it.
        for (tx, said) in [(&mut *first, initiator), (&mut *second, responder)] {
            let Some(said) = said else { continue };
            let end = further(tx.end, said.end);
            if end != tx.end {
                tx.end = end;
                tx.facts &= !(FIN | FIN_ACKED);
            }
            if said.finished && said.end == tx.end {
                tx.facts |= FIN;
            }
            tx.window = tx.window.max(said.window);
        }
        for (rx, said) in [(second, initiator), (first, responder)] {
            let Some(said) = said.filter(|said| said.acks) else {
                continue;
            };
            rx.acked = further(rx.acked, said.ack);
            rx.facts |= SYN_ACKED;
            if rx.is(FIN) && rx.acked == rx.end {
                rx.facts |= FIN_ACKED;
            }
        }
    }

    const fn seen_by(&self, side: Side) -> (&Peer, &Peer) {
        match side {
            Side::Initiator => (&self.initiator, &self.responder),
            Side::Responder => (&self.responder, &self.initiator),
        }
    }
}

impl Peer {
    /// Its SYN, which answered, passed elsewhere.
    fn answer(&mut self, asked: &Said, answered: &Said) {
        *self = Self {
            end: answered.end,
            acked: asked.ack,
            window: answered.window,
            scale: 0,
            facts: SYN,
        };
        self.offer_scale(answered.scale);
    }
}
