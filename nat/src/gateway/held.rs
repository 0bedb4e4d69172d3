//! Packets that wait for their next hop's MAC (RFC 1122, 2.3.2.2: the latest ones are kept).
//!
//! Without it the first packet to every new neighbour is lost, which a TCP handshake answers with
//! a second of silence. Three a neighbour, small ones only, [`MAX_HELD`] in all; a full store takes
//! the place of the oldest packet of the port that holds the most, so a container that scans pushes
//! out its own. Whatever is pushed out is counted.
//!
//! One lock, taken only for packets whose next hop is not known.

use super::link::lock;
use crate::outbox::{Origin, Outbox, Post};
use pipeline::{Instant, NetworkId, PortId};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Packets that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    packets: Mutex<VecDeque<Packet>>,
    lost: AtomicU64,
}

/// A packet as it arrived, which may have to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingPacket<'a> {
    /// The network it arrived in.
    pub(crate) network: NetworkId,
    /// Its origin.
    pub(crate) origin: Origin,
    /// The frame.
    pub(crate) frame: &'a [u8],
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Packet {
    /// The network and the address of its next hop.
    hop: (NetworkId, IpAddr),
    /// The network it arrived in.
    pub(super) network: NetworkId,
    origin: Origin,
    since: Instant,
    /// The frame as it arrived.
    pub(super) frame: Box<[u8]>,
}

/// Packets kept in all.
const MAX_HELD: usize = 64;
/// Packets kept for one neighbour, as Linux did when it counted them.
const MAX_FOR_ONE: usize = 3;
/// Longer than any question stays open.
const EXPIRED: Duration = Duration::from_secs(10);
/// The longest frame that is kept.
const MAX_LEN: usize = 2048;

impl PendingPacket<'_> {
    /// Returns whether it is small enough to be kept.
    pub(super) fn may_wait(&self) -> bool {
        self.frame.len() <= MAX_LEN
    }
}

impl Held {
    /// Keeps a packet for the neighbour `ip` in `network` if it `waits`. Whether it was kept.
    pub(super) fn keep(
        &self,
        network: NetworkId,
        ip: IpAddr,
        pending: PendingPacket<'_>,
        now: Instant,
        waits: impl FnOnce() -> bool,
    ) -> bool {
        if !pending.may_wait() {
            return false;
        }
        let mut packets = lock(&self.packets);
        if !waits() {
            return false;
        }
        let hop = (network, ip);
        let place = if packets.iter().filter(|p| p.hop == hop).count() >= MAX_FOR_ONE {
            packets.iter().position(|p| p.hop == hop)
        } else if packets.len() >= MAX_HELD {
            greediest(&packets, pending.origin.from)
        } else {
            None
        };
        if let Some(place) = place {
            packets.remove(place);
            self.lost.fetch_add(1, Relaxed);
        }
        packets.push_back(Packet {
            hop,
            network: pending.network,
            origin: pending.origin,
            since: now,
            frame: pending.frame.into(),
        });
        true
    }

    /// Lets the packets for a neighbour go on.
    pub(super) fn release(&self, network: NetworkId, ip: IpAddr, outbox: &mut Outbox) {
        for packet in self.take(|p| p.hop == (network, ip)) {
            let post = Post::Resume(packet.origin);
            if !outbox.post(post, |out| out.extend_from_slice(&packet.frame)) {
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// Gives back the packets for a neighbour that did not answer.
    pub(super) fn fail(&self, hop: (NetworkId, IpAddr)) -> Vec<Packet> {
        let failed = self.take(|p| p.hop == hop);
        self.lost.fetch_add(failed.len() as u64, Relaxed);
        failed
    }

    /// Forgets what waits for longer than any question lasts, as its network is gone, and notes when
    /// the next one does. A packet that is kept after this look has a question that is still open,
    /// and due.
    pub(super) fn expire(&self, now: Instant, outbox: &mut Outbox) {
        let expired = self.take(|p| now >= p.since + EXPIRED);
        self.lost.fetch_add(expired.len() as u64, Relaxed);
        if let Some(oldest) = lock(&self.packets).iter().map(|p| p.since).min() {
            outbox.due(oldest + EXPIRED);
        }
    }

    /// Packets that were held and never went on, since the beginning.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn take(&self, wanted: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        let mut packets = lock(&self.packets);
        if !packets.iter().any(&wanted) {
            return Vec::new();
        }
        let (taken, left) = packets.drain(..).partition(wanted);
        *packets = VecDeque::from(left);
        taken
    }
}

/// The oldest packet of the port that holds the most; of `from` itself where that is among them.
fn greediest(packets: &VecDeque<Packet>, from: PortId) -> Option<usize> {
    let held = |port| packets.iter().filter(|p| p.origin.from == port).count();
    let port = packets
        .iter()
        .map(|p| p.origin.from)
        .max_by_key(|port| (held(*port), *port == from))?;
    packets.iter().position(|p| p.origin.from == port)
}
