//! Ports of every kind, opened in a namespace.

mod packet;
mod pcap;
mod tap;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pipeline::{Batch, BatchLimits, Destination, DropReason, Frame, HEADROOM};
use port::tap::{Tap, TapConfig};
use port::{Gone, Port, Rx, Tx};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::Namespace;
use wire::craft::Link;
use wire::{MacAddr, VnetHeader};

/// The MAC address that the tests send from.
pub(super) const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0x63];

/// Longer than anything here takes, shorter than anybody's patience.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn namespace() -> Namespace {
    Namespace::new().expect("a network namespace can be made (as root)")
}

pub(super) fn config(name: &str) -> TapConfig {
    TapConfig::new(name.parse().unwrap())
}

pub(super) fn open(namespace: &Namespace, config: TapConfig) -> Tap {
    namespace.run(|| Tap::open(config)).unwrap()
}

/// Waits until `rx` says it is readable; false when it did not within `limit`.
pub(super) fn readable(rx: &dyn Rx, limit: Duration) -> bool {
    let mut fds = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit.as_millis()).unwrap();
    poll(&mut fds, timeout).unwrap() > 0
}

/// The first frame that is `wanted`; others are passed over.
pub(super) fn next(
    rx: &mut dyn Rx,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(Vec<u8>, VnetHeader), Gone> {
    let limits = BatchLimits {
        frames: 1,
        ..BatchLimits::default()
    };
    let (mut batch, end) = (Batch::new(limits), Instant::now() + LIMIT);
    while Instant::now() < end {
        readable(rx, LIMIT);
        batch.clear();
        rx.receive(&mut batch)?;
        if !batch.is_empty() {
            let frame = batch.frame(0);
            if wanted(frame.bytes()) {
                return Ok((frame.bytes().to_vec(), frame.vnet));
            }
        }
    }
    panic!("no frame of the wanted kind came within {LIMIT:?}");
}

/// Receives until the port is gone, and answers why.
pub(super) fn gone(rx: &mut dyn Rx) -> Gone {
    next(rx, |_| false).unwrap_err()
}

/// Sends one frame.
pub(super) fn transmit(tx: &dyn Tx, bytes: &[u8], vnet: VnetHeader) -> Result<(), DropReason> {
    let mut room = vec![0; HEADROOM];
    room.extend_from_slice(bytes);
    let end = room.len();
    let mut frame = Frame::new(&mut room, HEADROOM, end, vnet);
    tx.transmit(&mut frame, Destination::default())
}

/// Returns whether the frame is an ARP packet with this operation.
pub(super) fn is_arp(frame: &[u8], operation: u8) -> bool {
    frame.get(12..14) == Some(&[8, 6]) && frame.get(20..22) == Some(&[0, operation])
}

/// An ARP request, broadcast from `mac`.
pub(super) fn arp_request(mac: [u8; 6], from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let link = Link::new(MacAddr(mac), MacAddr([0xff; 6]));
    link.arp_request(from.into(), to.into())
}

/// Copies frames between two ports on a thread of its own until it is dropped.
pub(super) struct Wire {
    pub(super) seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Wire`] saw pass.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) longest: AtomicUsize,
    pub(super) superframes: AtomicUsize,
    stop: AtomicBool,
}

impl Wire {
    pub(super) fn new(left: Port, right: Port) -> Self {
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || copy(left, right, &shared));
        Self {
            seen,
            thread: Some(thread),
        }
    }

    pub(super) fn longest(&self) -> usize {
        self.seen.longest.load(Ordering::Relaxed)
    }

    pub(super) fn superframes(&self) -> usize {
        self.seen.superframes.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the copying thread panicked");
        }
    }
}

fn copy(mut left: Port, mut right: Port, seen: &Seen) {
    let mut batch = Batch::new(BatchLimits::default());
    while !seen.stop.load(Ordering::Relaxed) {
        readable_either(&*left.queues[0], &*right.queues[0]);
        for (from, to) in [
            (&mut left.queues[0], &right.tx),
            (&mut right.queues[0], &left.tx),
        ] {
            batch.clear();
            from.receive(&mut batch).unwrap();
            for index in 0..batch.len() {
                let mut frame = batch.frame(index);
                seen.longest.fetch_max(frame.len(), Ordering::Relaxed);
                seen.superframes
                    .fetch_add(usize::from(frame.vnet.is_gso()), Ordering::Relaxed);
                let _ = to.transmit(&mut frame, Destination::default());
            }
        }
    }
}

fn readable_either(a: &dyn Rx, b: &dyn Rx) {
    let mut fds = [a, b].map(|rx| PollFd::new(rx.as_fd(), PollFlags::POLLIN));
    poll(&mut fds, 20u8).unwrap();
}
