//! Playing a capture back.
//!
//! One timer does both speeds. At full speed it expires once and is never read, so the port is
//! always readable. At the recorded speed it is set to when the next packet is due; setting it
//! makes it unreadable until then.
//!
//! The first packet is due when the port is first received from. Times that go backwards are due
//! at once.

use crate::{Gone, PortError, Rx};
use capture::{Capture, CaptureError, Captured};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use pipeline::{Batch, HEADROOM, MAX_FRAME, Received};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use wire::VnetHeader;

/// How fast a capture is played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// With the pauses that were recorded.
    Recorded,
    /// As fast as the worker takes it.
    Full,
}

#[derive(Debug)]
pub(super) struct Replay {
    capture: Capture<File>,
    /// The packet to deliver next, or how the capture ended.
    next: Result<Captured, Gone>,
    speed: Speed,
    timer: TimerFd,
    /// When the first packet was delivered, and its time in the capture.
    begin: Option<(Instant, Duration)>,
}

impl Replay {
    pub(super) fn open(path: &Path, speed: Speed) -> Result<Self, PortError> {
        let failed = |error: CaptureError| PortError::Capture {
            operation: "read",
            path: path.to_owned(),
            error: error.to_string(),
        };
        let mut capture = Capture::open(path).map_err(failed)?;
        // A capture whose first packet is wrong is refused now, not when it is played.
        let next = capture.read().map_err(failed)?.ok_or(Gone::EndOfFile);
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )
        .and_then(|timer| expire_in(&timer, Duration::ZERO).map(|()| timer))
        .map_err(|error| PortError::Event(error.into()))?;
        Ok(Self {
            capture,
            next,
            speed,
            timer,
            begin: None,
        })
    }

    fn advance(&mut self) {
        self.next = match self.capture.read() {
            Ok(Some(packet)) => Ok(packet),
            Ok(None) => Err(Gone::EndOfFile),
            Err(error) => Err(Gone::Io(format!("capture file: {error}"))),
        };
    }
}

impl Rx for Replay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), Gone> {
        let now = Instant::now();
        while !batch.is_full() {
            let packet = match &self.next {
                Ok(packet) => packet,
                Err(gone) => return Err(gone.clone()),
            };
            let pause = match (self.speed, packet.at) {
                (Speed::Full, _) | (Speed::Recorded, None) => Duration::ZERO,
                (Speed::Recorded, Some(at)) => pause(&mut self.begin, at, now),
            };
            if !pause.is_zero() {
                expire_in(&self.timer, pause).map_err(|error| Gone::Io(error.to_string()))?;
                return Ok(());
            }
            batch.fill(|room| Ok::<_, Gone>(Some(put(&packet.bytes, room))))?;
            self.advance();
        }
        Ok(())
    }
}

/// Returns how long until the packet of time `at` is due; the first one asked about is due `now`.
fn pause(begin: &mut Option<(Instant, Duration)>, at: Duration, now: Instant) -> Duration {
    let (start, first) = *begin.get_or_insert((now, at));
    at.saturating_sub(first)
        .saturating_sub(now.saturating_duration_since(start))
}

fn put(packet: &[u8], room: &mut [u8]) -> Received {
    let len = packet.len().min(MAX_FRAME);
    room[HEADROOM..HEADROOM + len].copy_from_slice(&packet[..len]);
    Received::new(len, VnetHeader::default())
}

fn expire_in(timer: &TimerFd, pause: Duration) -> nix::Result<()> {
    // Zero would switch the timer off.
    let pause = TimeSpec::from_duration(pause.clamp(Duration::from_nanos(1), FAR_AWAY));
    timer.set(Expiration::OneShot(pause), TimerSetTimeFlags::empty())
}

/// The kernel refuses a time that does not fit its own clock; the packet is looked at again then.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);
