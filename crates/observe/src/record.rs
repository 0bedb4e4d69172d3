//! The record of one frame: a fixed size, so that a ring holds it without allocation.

use pipeline::{
    Decision, DropReason, Frame, Instant, NetworkId, PacketId, PortId, Trace, Tunnel, WorkerId,
};

/// Bytes of a frame that a record keeps, from its destination MAC on: all headers, and some payload.
pub const HEAD: usize = 128;

/// Decisions that a record keeps; those beyond are counted.
pub const STEPS: usize = 24;

/// The end of a frame's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It left at the one port that its destination is behind.
    Forwarded,
    /// It left at every port of its network that may have it.
    Flooded,
    /// It left into another network.
    Routed,
    /// It ended at the gateway, which answered it, learned from it or holds it.
    Answered,
    /// It left nowhere.
    Dropped(DropReason),
}

impl Verdict {
    /// The labels of all verdicts.
    pub const LABELS: [&'static str; 5] = ["forwarded", "flooded", "routed", "answered", "dropped"];

    /// The verdict's short name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Flooded => "flooded",
            Self::Routed => "routed",
            Self::Answered => "answered",
            Self::Dropped(_) => "dropped",
        }
    }
}

/// The decisions about one frame, in order, up to [`STEPS`].
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    decisions: [Decision; STEPS],
    len: u8,
    omitted: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            // Never seen: `as_slice` ends before what was not told.
            decisions: [Decision::SameNetwork; STEPS],
            len: 0,
            omitted: 0,
        }
    }
}

impl Steps {
    /// The decisions kept.
    #[must_use]
    pub fn as_slice(&self) -> &[Decision] {
        &self.decisions[..usize::from(self.len)]
    }

    /// The number of decisions that had no room.
    #[must_use]
    pub const fn omitted(&self) -> u32 {
        self.omitted
    }

    /// Forgets all of them.
    pub const fn clear(&mut self) {
        self.len = 0;
        self.omitted = 0;
    }
}

impl Trace for Steps {
    fn tell(&mut self, decision: Decision) {
        match self.decisions.get_mut(usize::from(self.len)) {
            Some(slot) => {
                *slot = decision;
                self.len += 1;
            }
            None => self.omitted = self.omitted.saturating_add(1),
        }
    }
}

/// A frame, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// The packet: the same wherever it appears, translated, cut, mirrored or held.
    pub id: PacketId,
    /// The time of the batch it was carried in.
    pub at: Instant,
    /// The worker that carried it.
    pub worker: WorkerId,
    /// The port it came from; [`PortId::GATEWAY`] for a frame of the router's own.
    pub from: PortId,
    /// The tunnel it came through.
    pub tunnel: Tunnel,
    /// The network it came from.
    pub network: Option<NetworkId>,
    /// The network it was routed into.
    pub into: Option<NetworkId>,
    /// The end of its way.
    pub verdict: Verdict,
    /// The decisions about it; what a port refused to send is the last of them.
    pub steps: Steps,
    /// Bytes of the frame.
    pub len: u32,
    head: [u8; HEAD],
    head_len: u8,
}

impl Record {
    /// The record of `frame` as it arrived, about which nothing is decided yet.
    #[must_use]
    pub fn new(frame: &Frame<'_>, from: PortId, at: Instant, worker: WorkerId) -> Self {
        let bytes = frame.bytes();
        let kept = bytes.len().min(HEAD);
        let mut head = [0; HEAD];
        head[..kept].copy_from_slice(&bytes[..kept]);
        Self {
            id: frame.id,
            at,
            worker,
            from,
            tunnel: frame.tunnel,
            network: None,
            into: None,
            verdict: Verdict::Answered,
            steps: Steps::default(),
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            head,
            head_len: u8::try_from(kept).expect("HEAD fits a byte"),
        }
    }

    /// The first bytes of the frame as it arrived.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// The ports that a copy was sent to or refused by, mirrors' excepted.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + '_ {
        let port = |step: &Decision| {
            if let Decision::Leaves { port } | Decision::LeavesTagged { port, .. } = *step {
                Some(port)
            } else {
                None
            }
        };
        self.steps.as_slice().iter().filter_map(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::VnetHeader;

    #[test]
    fn a_record_keeps_the_first_bytes_and_decisions_and_counts_the_rest() {
        let mut room = [7; 300];
        let frame = Frame::new(&mut room, 0, 300, VnetHeader::default());
        let mut record = Record::new(&frame, PortId(1), Instant::ZERO, WorkerId(0));
        for port in 0..40 {
            record.steps.tell(Decision::Leaves { port: PortId(port) });
        }
        assert_eq!((record.head(), record.len), (&[7; HEAD][..], 300));
        assert_eq!(record.steps.as_slice().len(), STEPS);
        assert_eq!(record.steps.omitted(), 40 - 24);
        assert_eq!(record.ports().count(), STEPS);
        record.steps.clear();
        assert_eq!(
            (record.steps.as_slice(), record.steps.omitted()),
            (&[][..], 0)
        );
    }

    #[test]
    fn a_record_is_small_enough_for_thousands() {
        assert!(size_of::<Record>() <= 1_400, "{}", size_of::<Record>());
    }
}
