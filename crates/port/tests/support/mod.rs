//! What the tests against the real kernel share.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pipeline::{Batch, BatchLimits};
use port::tap::{Tap, TapConfig};
use port::{Gone, Port, Rx};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::Namespace;
use wire::VnetHeader;

/// Longer than anything here takes, shorter than anybody's patience.
pub const LIMIT: Duration = Duration::from_secs(10);

pub fn namespace() -> Namespace {
    Namespace::new().expect("a network namespace can be made (as root)")
}

pub fn config(name: &str) -> TapConfig {
    TapConfig::new(name.parse().unwrap())
}

pub fn open(namespace: &Namespace, config: TapConfig) -> Tap {
    namespace.run(|| Tap::open(config)).unwrap()
}

/// Waits until `rx` says it is readable; false when it did not within `limit`.
pub fn readable(rx: &dyn Rx, limit: Duration) -> bool {
    let mut fds = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit.as_millis()).unwrap();
    poll(&mut fds, timeout).unwrap() > 0
}

/// The first frame that is `wanted`; others are passed over.
pub fn next(
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
pub fn gone(rx: &mut dyn Rx) -> Gone {
    next(rx, |_| false).unwrap_err()
}

/// Whether the frame is an ARP packet with this operation.
pub fn is_arp(frame: &[u8], operation: u8) -> bool {
    frame.get(12..14) == Some(&[8, 6]) && frame.get(20..22) == Some(&[0, operation])
}

/// An ARP request, broadcast from `mac`.
pub fn arp_request(mac: [u8; 6], from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let head: [&[u8]; 3] = [&[0xff; 6], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]];
    let body: [&[u8]; 4] = [&mac, &from, &[0; 6], &to];
    [head.concat(), body.concat()].concat()
}

/// Copies frames between two ports on a thread of its own until it is dropped.
pub struct Wire {
    pub longest: Arc<AtomicUsize>,
    pub superframes: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    pub fn new(a: Port, b: Port) -> Self {
        let (longest, superframes, stop) = (Arc::default(), Arc::default(), Arc::default());
        let shared = (
            Arc::clone(&longest),
            Arc::clone(&superframes),
            Arc::clone(&stop),
        );
        let thread = std::thread::spawn(move || {
            let (longest, superframes, stop) = shared;
            let mut batch = Batch::new(BatchLimits::default());
            let (mut left, mut right) = (a, b);
            while !stop.load(Ordering::Relaxed) {
                readable_either(&*left.queues[0], &*right.queues[0]);
                for (from, to) in [
                    (&mut left.queues[0], &right.tx),
                    (&mut right.queues[0], &left.tx),
                ] {
                    batch.clear();
                    from.receive(&mut batch).unwrap();
                    for index in 0..batch.len() {
                        let mut frame = batch.frame(index);
                        longest.fetch_max(frame.len(), Ordering::Relaxed);
                        superframes.fetch_add(usize::from(frame.vnet.is_gso()), Ordering::Relaxed);
                        let _ = to.transmit(&mut frame);
                    }
                }
            }
        });
        Self {
            longest,
            superframes,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the copying thread panicked");
        }
    }
}

fn readable_either(a: &dyn Rx, b: &dyn Rx) {
    let mut fds = [a, b].map(|rx| PollFd::new(rx.as_fd(), PollFlags::POLLIN));
    poll(&mut fds, 20u8).unwrap();
}
