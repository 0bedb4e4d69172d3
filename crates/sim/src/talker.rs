//! A station without a stack: it sends prepared frames at an even pace and counts what it hears.
//! Every attack of the scenarios is one.

use crate::nic::Packet;
use pipeline::Instant;
use std::fmt;
use std::time::Duration;

/// The maker of the next frame: called with its number, counted from zero.
pub type Script = Box<dyn FnMut(u64) -> Packet>;

/// A station that follows a script.
pub struct Talker {
    script: Script,
    frames: u64,
    interval: Duration,
    sent: u64,
    next: Instant,
    pub(crate) heard: u64,
}

impl Talker {
    /// A station that sends `frames` frames, one each `interval`, the first at `from`.
    #[must_use]
    pub fn new(from: Instant, frames: u64, interval: Duration, script: Script) -> Self {
        Self {
            script,
            frames,
            interval,
            sent: 0,
            next: from,
            heard: 0,
        }
    }

    /// A station that only listens.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(
            Instant::ZERO,
            0,
            Duration::ZERO,
            Box::new(|_| Packet::finished(Vec::new())),
        )
    }

    /// The frames that are due, and when to ask again.
    pub(crate) fn run(&mut self, now: Instant) -> (Vec<Packet>, Option<Instant>) {
        let mut due = Vec::new();
        while self.sent < self.frames && self.next <= now {
            due.push((self.script)(self.sent));
            self.sent += 1;
            self.next = self.next + self.interval;
        }
        (due, (self.sent < self.frames).then_some(self.next))
    }

    pub(crate) fn done(&self) -> bool {
        self.sent == self.frames
    }
}

impl fmt::Debug for Talker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talker")
            .field("sent", &self.sent)
            .field("of", &self.frames)
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}
