//! Ports without an interface: one made of two queues, for tests, benches, fuzzing and simulation,
//! one with [many far ends](hub), and [`null`], which has no other end.
//!
//! ```text
//!   Peer::send  --> [ bounded queue + eventfd ] --> Rx::receive
//!   Peer::recv  <-- [ bounded queue + eventfd ] <-- Tx::transmit
//! ```
//!
//! The eventfd makes the receiving half as waitable as a real one, so a worker needs to know
//! nothing. Its rules: a sender writes it once after the queue was last found quiet, a receiver
//! reads it *before* it empties the queue, and writes it again when it leaves frames behind. So
//! it is readable whenever a frame waits, and at worst once when none does.
//!
//! Both ends may be used from any thread.

mod hub;

pub use hub::{Spoke, hub};

use crate::{Gone, Offloads, Port, PortError, Rx, Tx};
use crossbeam::queue::ArrayQueue;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pipeline::{Batch, Destination, DropReason, Frame, HEADROOM, MAX_FRAME, Received, Tunnel};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::VnetHeader;

/// What pair to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryConfig {
    /// What the port says it finishes by itself.
    pub offloads: Offloads,
    /// Frames that each direction holds before it is full: at least one.
    pub capacity: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            offloads: Offloads::ALL,
            capacity: 1024,
        }
    }
}

/// A port and the far end of its wire, as [`MemoryConfig::default`] has it.
///
/// # Errors
/// [`PortError::Event`] when the process has no descriptors left.
pub fn pair() -> Result<(Port, Peer), PortError> {
    pair_with(MemoryConfig::default())
}

/// A port and the far end of its wire.
///
/// # Errors
/// [`PortError::Event`] when the process has no descriptors left.
pub fn pair_with(config: MemoryConfig) -> Result<(Port, Peer), PortError> {
    let inward = Arc::new(Lane::new(config.capacity)?);
    let outward = Arc::new(Lane::new(config.capacity)?);
    let port = Port {
        queues: vec![Box::new(MemoryRx {
            lane: Arc::clone(&inward),
        })],
        tx: Arc::new(MemoryTx {
            lane: Arc::clone(&outward),
            offloads: config.offloads,
        }),
    };
    Ok((port, Peer { inward, outward }))
}

/// A port from which nothing comes, and which takes every frame, in any form, and drops it: what the
/// port counts is what was carried so far.
///
/// # Errors
/// [`PortError::Event`] when the process has no descriptors left.
pub fn null() -> Result<Port, PortError> {
    Ok(Port {
        queues: vec![Box::new(NullRx(new_event()?))],
        tx: Arc::new(NullTx),
    })
}

/// Never readable.
#[derive(Debug)]
struct NullRx(EventFd);

impl Rx for NullRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn receive(&mut self, _: &mut Batch) -> Result<(), Gone> {
        Ok(())
    }
}

#[derive(Debug)]
struct NullTx;

impl Tx for NullTx {
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn transmit(&self, _: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        Ok(())
    }
}

fn new_event() -> Result<EventFd, PortError> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    EventFd::from_flags(flags).map_err(|error| PortError::Event(error.into()))
}

/// The far end of a memory port's wire: what would be the container. Dropping it closes the port.
#[derive(Debug)]
pub struct Peer {
    inward: Arc<Lane>,
    outward: Arc<Lane>,
}

impl Peer {
    /// Sends a frame to the port.
    ///
    /// # Errors
    /// [`DropReason::TxFull`] when the port does not keep up, [`DropReason::TxGone`] when it was
    /// closed.
    pub fn send(&self, frame: &[u8], vnet: VnetHeader) -> Result<(), DropReason> {
        self.inward.push(frame, vnet, Tunnel::default())
    }

    /// The next frame that the port sent, if one waits.
    #[must_use]
    pub fn recv(&self) -> Option<(Vec<u8>, VnetHeader)> {
        let sent = self.outward.frames.pop()?;
        Some((sent.bytes, sent.vnet))
    }

    /// The next frame that the port sent, waiting for it at most `limit`.
    #[must_use]
    pub fn recv_within(&self, limit: Duration) -> Option<(Vec<u8>, VnetHeader)> {
        let end = Instant::now() + limit;
        loop {
            self.outward.quiet();
            if let Some(frame) = self.recv() {
                return Some(frame);
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.outward.wait(left);
        }
    }

    /// Ends the port as if its interface had been removed: it receives what was sent before, then
    /// answers [`Gone::Removed`]; it sends nothing more.
    pub fn close(&self) {
        self.inward.close();
        self.outward.close();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A frame on its way.
#[derive(Debug)]
struct Sent {
    bytes: Vec<u8>,
    vnet: VnetHeader,
    tunnel: Tunnel,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    frames: ArrayQueue<Sent>,
    event: EventFd,
    /// Whether the event was written since the lane was last found quiet.
    signalled: AtomicBool,
    closed: AtomicBool,
}

impl Lane {
    fn new(capacity: usize) -> Result<Self, PortError> {
        Ok(Self {
            frames: ArrayQueue::new(capacity.max(1)),
            event: new_event()?,
            signalled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    fn push(&self, frame: &[u8], vnet: VnetHeader, tunnel: Tunnel) -> Result<(), DropReason> {
        if self.closed.load(Ordering::Acquire) {
            return Err(DropReason::TxGone);
        }
        self.frames
            .push(Sent {
                bytes: frame.to_vec(),
                vnet,
                tunnel,
            })
            .map_err(|_| DropReason::TxFull)?;
        self.signal();
        Ok(())
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // EAGAIN means that the counter stands at its highest value: it is readable already.
            let _ = self.event.write(1);
        }
    }

    /// Makes the event unreadable. A frame pushed before is seen by the pops that follow; one
    /// pushed after signals anew.
    fn quiet(&self) {
        // EAGAIN: it is unreadable already.
        let _ = self.event.read();
        self.signalled.swap(false, Ordering::AcqRel);
    }

    fn wait(&self, limit: Duration) {
        let mut waiting = [PollFd::new(self.event.as_fd(), PollFlags::POLLIN)];
        // Rounded up, lest the last fraction of a millisecond be spent spinning.
        let millis = limit.as_millis().saturating_add(1);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        // Woken or not, by whatever: the caller looks again.
        let _ = poll(&mut waiting, timeout);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.signalled.store(true, Ordering::Release);
        let _ = self.event.write(1);
    }
}

#[derive(Debug)]
struct MemoryRx {
    lane: Arc<Lane>,
}

impl Rx for MemoryRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.event.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), Gone> {
        let lane = &self.lane;
        lane.quiet();
        // After the event, lest a close in between be read away; before the frames, so that what
        // was sent before the close is still delivered.
        let closed = lane.closed.load(Ordering::Acquire);
        while batch.fill(|room| Ok::<_, Gone>(lane.frames.pop().map(|sent| put(&sent, room))))? {}
        match (lane.frames.is_empty(), closed) {
            (true, true) => {
                lane.close(); // stays readable, as a removed interface does
                Err(Gone::Removed)
            }
            (true, false) => Ok(()),
            (false, _) => {
                lane.signal();
                Ok(())
            }
        }
    }
}

fn put(sent: &Sent, room: &mut [u8]) -> Received {
    let len = sent.bytes.len().min(MAX_FRAME);
    room[HEADROOM..HEADROOM + len].copy_from_slice(&sent.bytes[..len]);
    Received {
        len,
        vnet: sent.vnet,
        tunnel: sent.tunnel,
    }
}

#[derive(Debug)]
struct MemoryTx {
    lane: Arc<Lane>,
    offloads: Offloads,
}

impl Tx for MemoryTx {
    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn transmit(&self, frame: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        self.lane.push(frame.bytes(), frame.vnet, Tunnel::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::BatchLimits;

    const NO_WAIT: Duration = Duration::ZERO;
    const LIMIT: Duration = Duration::from_secs(10);

    fn readable(rx: &dyn Rx, limit: Duration) -> bool {
        let mut fds = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(limit.as_millis()).unwrap()).unwrap() > 0
    }

    #[test]
    fn null_takes_every_frame_and_gives_none() {
        let mut port = null().unwrap();
        let unfinished = VnetHeader {
            gso_type: VnetHeader::GSO_TCPV4,
            gso_size: 1448,
            ..VnetHeader::default()
        };
        for _ in 0..3 {
            assert_eq!(transmit(&port, &[0x5a; 9000], unfinished), Ok(()));
        }
        let mut batch = Batch::new(BatchLimits::default());
        let rx = &mut port.queues[0];
        assert_eq!(rx.receive(&mut batch), Ok(()));
        assert!(batch.is_empty() && !readable(&**rx, NO_WAIT));
    }

    fn transmit(port: &Port, bytes: &[u8], vnet: VnetHeader) -> Result<(), DropReason> {
        let mut room = [&[0; HEADROOM], bytes].concat();
        let end = room.len();
        port.tx.transmit(
            &mut Frame::new(&mut room, HEADROOM, end, vnet),
            Destination::default(),
        )
    }

    #[test]
    fn frames_and_headers_pass_both_ways() {
        let (mut port, peer) = pair().unwrap();
        let vnet = VnetHeader {
            gso_type: VnetHeader::GSO_TCPV4,
            gso_size: 1448,
            ..VnetHeader::default()
        };
        peer.send(b"inward", vnet).unwrap();
        let mut batch = Batch::new(BatchLimits::default());
        port.queues[0].receive(&mut batch).unwrap();
        let frame = batch.frame(0);
        assert_eq!((frame.bytes(), frame.vnet), (&b"inward"[..], vnet));
        assert_eq!(batch.len(), 1);

        transmit(&port, b"outward", vnet).unwrap();
        assert_eq!(peer.recv(), Some((b"outward".to_vec(), vnet)));
        assert_eq!(peer.recv(), None);
        assert_eq!(peer.recv_within(Duration::from_millis(1)), None);
    }

    #[test]
    fn it_is_readable_exactly_while_frames_wait() {
        let (mut port, peer) = pair().unwrap();
        let mut batch = Batch::new(BatchLimits {
            frames: 2,
            ..BatchLimits::default()
        });
        assert!(!readable(&*port.queues[0], NO_WAIT));
        for _ in 0..3 {
            peer.send(&[0; 60], VnetHeader::default()).unwrap();
        }
        assert!(readable(&*port.queues[0], NO_WAIT));
        port.queues[0].receive(&mut batch).unwrap();
        assert!(readable(&*port.queues[0], NO_WAIT), "one was left behind");
        batch.clear();
        port.queues[0].receive(&mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        assert!(!readable(&*port.queues[0], NO_WAIT));
    }

    #[test]
    fn a_full_queue_refuses_in_either_direction() {
        let (port, peer) = pair_with(MemoryConfig {
            capacity: 1,
            ..MemoryConfig::default()
        })
        .unwrap();
        peer.send(&[0; 60], VnetHeader::default()).unwrap();
        assert_eq!(
            peer.send(&[0; 60], VnetHeader::default()),
            Err(DropReason::TxFull)
        );
        transmit(&port, &[0; 60], VnetHeader::default()).unwrap();
        assert_eq!(
            transmit(&port, &[0; 60], VnetHeader::default()),
            Err(DropReason::TxFull)
        );
    }

    #[test]
    fn closing_delivers_what_was_sent_and_then_ends_the_port() {
        let (mut port, peer) = pair().unwrap();
        peer.send(&[1; 60], VnetHeader::default()).unwrap();
        drop(peer);
        assert_eq!(
            transmit(&port, &[0; 60], VnetHeader::default()),
            Err(DropReason::TxGone)
        );
        let mut batch = Batch::new(BatchLimits {
            frames: 1,
            ..BatchLimits::default()
        });
        assert!(readable(&*port.queues[0], NO_WAIT));
        assert_eq!(port.queues[0].receive(&mut batch), Err(Gone::Removed));
        assert_eq!(batch.len(), 1, "the frame sent before stays");
        assert!(readable(&*port.queues[0], NO_WAIT));
        assert_eq!(port.queues[0].receive(&mut batch), Err(Gone::Removed));
    }

    #[test]
    fn what_is_longer_than_a_frame_is_marked_as_cut_off() {
        let (mut port, peer) = pair().unwrap();
        peer.send(&vec![0; MAX_FRAME + 1], VnetHeader::default())
            .unwrap();
        let mut batch = Batch::new(BatchLimits::default());
        port.queues[0].receive(&mut batch).unwrap();
        assert_eq!(batch.frame(0).len(), MAX_FRAME);
    }

    /// No wake-up is lost: a receiver that only ever receives when told to gets every frame.
    #[test]
    fn a_waiting_receiver_gets_everything() {
        const FRAMES: u32 = 50_000;
        let (mut port, peer) = pair_with(MemoryConfig {
            capacity: 8,
            ..MemoryConfig::default()
        })
        .unwrap();
        let receiver = std::thread::spawn(move || {
            let mut batch = Batch::new(BatchLimits {
                frames: 3,
                ..BatchLimits::default()
            });
            let mut expected = 0..FRAMES;
            loop {
                assert!(
                    readable(&*port.queues[0], LIMIT),
                    "a wake-up was lost, {expected:?} left"
                );
                batch.clear();
                let answer = port.queues[0].receive(&mut batch);
                for index in 0..batch.len() {
                    let number =
                        u32::from_be_bytes(*batch.frame(index).bytes().first_chunk().unwrap());
                    assert_eq!(Some(number), expected.next());
                }
                if answer.is_err() {
                    return expected.count();
                }
            }
        });
        for number in 0..FRAMES {
            while peer.send(&number.to_be_bytes(), VnetHeader::default()) == Err(DropReason::TxFull)
            {
                std::thread::yield_now();
            }
        }
        peer.close();
        assert_eq!(receiver.join().unwrap(), 0);
    }

    #[test]
    fn a_waiting_peer_gets_everything() {
        const FRAMES: u32 = 50_000;
        let (port, peer) = pair_with(MemoryConfig {
            capacity: 8,
            ..MemoryConfig::default()
        })
        .unwrap();
        let sender = std::thread::spawn(move || {
            for number in 0..FRAMES {
                while transmit(&port, &number.to_be_bytes(), VnetHeader::default())
                    == Err(DropReason::TxFull)
                {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..FRAMES {
            let (frame, _) = peer.recv_within(LIMIT).unwrap();
            assert_eq!(frame, number.to_be_bytes());
        }
        sender.join().unwrap();
    }
}
