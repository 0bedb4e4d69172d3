//! Shares: what the kernel carried at each port.

use crate::Carried;
use pipeline::PortId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the ended leases of a port, to be read at any time.
#[derive(Debug, Default)]
pub struct Share {
    /// Tells ports apart, also those that had one number after the other.
    pub(crate) id: u64,
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
}

/// Counters of all that the kernel carried at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeated {
    /// Frames that arrived there.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that left there.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

impl Repeated {
    pub(crate) fn received(&mut self, carried: Carried) {
        self.rx_frames += carried.frames;
        self.rx_bytes += carried.bytes;
    }

    pub(crate) fn sent(&mut self, carried: Carried) {
        self.tx_frames += carried.frames;
        self.tx_bytes += carried.bytes;
    }
}

impl Share {
    /// Returns what all ended leases of the port carried.
    #[must_use]
    pub fn read(&self) -> Repeated {
        Repeated {
            rx_frames: self.rx_frames.load(Relaxed),
            rx_bytes: self.rx_bytes.load(Relaxed),
            tx_frames: self.tx_frames.load(Relaxed),
            tx_bytes: self.tx_bytes.load(Relaxed),
        }
    }

    fn received(&self, carried: Carried) {
        self.rx_frames.fetch_add(carried.frames, Relaxed);
        self.rx_bytes.fetch_add(carried.bytes, Relaxed);
    }

    fn sent(&self, carried: Carried) {
        self.tx_frames.fetch_add(carried.frames, Relaxed);
        self.tx_bytes.fetch_add(carried.bytes, Relaxed);
    }
}

/// Where a lease's frames are counted: the port that they come from, and the one that they go to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) from: Arc<Share>,
    pub(crate) to: Arc<Share>,
}

impl Counts {
    pub(crate) fn add(&self, carried: Carried) {
        self.from.received(carried);
        self.to.sent(carried);
    }
}

/// The open ports.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    shares: HashMap<PortId, Arc<Share>>,
    last: u64,
}

impl Ports {
    pub(crate) fn open(&mut self, port: PortId) -> Arc<Share> {
        self.last += 1;
        let share = Arc::new(Share {
            id: self.last,
            ..Share::default()
        });
        self.shares.insert(port, Arc::clone(&share));
        share
    }

    pub(crate) fn close(&mut self, port: PortId) -> Option<Arc<Share>> {
        self.shares.remove(&port)
    }

    /// Where frames from one port to another are counted, if both are open.
    pub(crate) fn counts(&self, from: PortId, to: PortId) -> Option<Counts> {
        let share = |port| self.shares.get(&port).cloned();
        Some(Counts {
            from: share(from)?,
            to: share(to)?,
        })
    }
}
