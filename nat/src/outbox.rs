//! Frames that the router sends of its own: answers, questions to neighbours, errors,
//! advertisements, and packets it had to hold. And when it wants to be polled for more.
//!
//! One arena, used again for every batch, bounded in frames and bytes: what does not fit is not
//! sent, and counted. Each worker owns one; nothing is shared.

use pipeline::{Instant, NetworkId, PacketId, PortId, Tunnel};
use wire::VnetHeader;

/// Frames to be sent, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    refused: u64,
    due: Option<Instant>,
}

/// The way of a frame in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// The router sends it into this network, from its own MAC there, untagged.
    Send(NetworkId),
    /// It was held and is carried now as if it had just arrived.
    Resume(Origin),
}

/// The origin of a frame that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The port it came from.
    pub from: PortId,
    /// The tunnel it came through.
    pub tunnel: Tunnel,
    /// The checksum and the segmentation that its sender left undone.
    pub vnet: VnetHeader,
    /// The packet that it is.
    pub id: PacketId,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    post: Post,
    start: usize,
    end: usize,
}

/// Frames held at most.
const MAX_FRAMES: usize = 256;
/// Bytes held at most.
const MAX_BYTES: usize = 512 * 1024;

impl Outbox {
    /// Adds a frame, whose bytes are those that `write` appends. False when there is no room.
    pub fn post(&mut self, post: Post, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.arena.len();
        if self.entries.len() >= MAX_FRAMES || start >= MAX_BYTES {
            self.refused += 1;
            return false;
        }
        write(&mut self.arena);
        let end = self.arena.len();
        self.entries.push(Entry { post, start, end });
        true
    }

    /// Frames waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether none is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The frame that was added `index`th.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(Post, &[u8])> {
        let entry = self.entries.get(index)?;
        Some((entry.post, &self.arena[entry.start..entry.end]))
    }

    /// Frames for which there was no room since the beginning.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Something is left to be done at `at`: [`Router::poll`](crate::Router::poll) does it.
    pub fn due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Takes the earliest time at which something is left to be done.
    pub fn take_due(&mut self) -> Option<Instant> {
        self.due.take()
    }

    /// Forgets every frame.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }
}
