//! The frames a worker holds at one moment.
//!
//! A batch is one arena, filled from its start each time. It is bounded by frames *and* by bytes:
//! sixteen small packets or a single 64 KiB superframe fill it, so what a worker touches stays in
//! the cache (one hot buffer beat a 4 MiB batch by a factor of two). The arena is zeroed once and
//! never again; a frame only ever sees bytes that its own port wrote.

use crate::Tunnel;
use crate::frame::{Frame, HEADROOM, MAX_FRAME};
use wire::VnetHeader;

/// How much one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Frames at most.
    pub frames: usize,
    /// Bytes after which no further frame is taken.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            frames: 32,
            bytes: 64 * 1024,
        }
    }
}

/// A frame that a port wrote into the room it was offered, at `room[HEADROOM..][..len]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the frame, without the virtio header.
    pub len: usize,
    /// The virtio header that came with it; the default one where the port has none.
    pub vnet: VnetHeader,
    /// The tunnel that it came through; the default one where the port has one far end.
    pub tunnel: Tunnel,
}

impl Received {
    /// A frame from a port that has one far end.
    #[must_use]
    pub fn new(len: usize, vnet: VnetHeader) -> Self {
        Self {
            len,
            vnet,
            tunnel: Tunnel::default(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    start: usize,
    end: usize,
    vnet: VnetHeader,
    tunnel: Tunnel,
}

/// Frames in one arena, in order of arrival.
#[derive(Debug)]
pub struct Batch {
    arena: Box<[u8]>,
    slots: Vec<Slot>,
    used: usize,
    limits: BatchLimits,
}

/// Room offered to a port: headroom and the longest frame.
const ROOM: usize = HEADROOM + MAX_FRAME;
/// Frames start on a cache line.
const ALIGN: usize = 64;

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Self {
        let arena = (limits.bytes + ROOM).next_multiple_of(ALIGN);
        Self {
            arena: vec![0; arena].into_boxed_slice(),
            slots: Vec::with_capacity(limits.frames),
            used: 0,
            limits,
        }
    }

    /// Forgets every frame.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.used = 0;
    }

    /// Returns whether the limit of frames or of bytes is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.limits.frames || self.used >= self.limits.bytes
    }

    /// Frames held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether no frame is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Offers room for one frame to `receive` and keeps what it says it wrote. Returns whether a
    /// frame was added; `Ok(false)` also when the batch is full, so a port's loop is
    /// `while batch.fill(|room| …)? {}`.
    ///
    /// # Errors
    /// The error of `receive`; nothing was added then.
    pub fn fill<E>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<Option<Received>, E>,
    ) -> Result<bool, E> {
        if self.is_full() {
            return Ok(false);
        }
        let room = &mut self.arena[self.used..self.used + ROOM];
        let Some(received) = receive(room)? else {
            return Ok(false);
        };
        let start = self.used + HEADROOM;
        let end = start + received.len.min(MAX_FRAME);
        self.slots.push(Slot {
            start,
            end,
            vnet: received.vnet,
            tunnel: received.tunnel,
        });
        self.used = end.next_multiple_of(ALIGN);
        Ok(true)
    }

    /// The frame that arrived `index`th, counted from zero.
    ///
    /// # Panics
    /// When `index` is not below [`Batch::len`].
    pub fn frame(&mut self, index: usize) -> Frame<'_> {
        let slot = self.slots[index];
        // The room begins with this frame's own headroom and ends with its own last byte, so a
        // frame can neither see nor touch its neighbours.
        let room = &mut self.arena[slot.start - HEADROOM..slot.end];
        let end = HEADROOM + (slot.end - slot.start);
        let mut frame = Frame::new(room, HEADROOM, end, slot.vnet);
        frame.tunnel = slot.tunnel;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn put(batch: &mut Batch, len: usize, byte: u8) -> bool {
        batch
            .fill(|room| {
                room[HEADROOM..HEADROOM + len].fill(byte);
                Ok::<_, Infallible>(Some(Received::new(len, VnetHeader::default())))
            })
            .unwrap()
    }

    #[test]
    fn one_superframe_fills_a_batch_by_bytes() {
        let mut batch = Batch::new(BatchLimits::default());
        assert!(put(&mut batch, MAX_FRAME, 1));
        assert!(batch.is_full());
        assert!(!put(&mut batch, 60, 2));
    }

    #[test]
    fn small_frames_fill_it_by_count_and_keep_to_themselves() {
        let limits = BatchLimits {
            frames: 4,
            bytes: 64 * 1024,
        };
        let mut batch = Batch::new(limits);
        for byte in 0..4 {
            assert!(put(&mut batch, 61, byte));
        }
        assert!(!put(&mut batch, 61, 9));
        for byte in 0..4u8 {
            assert_eq!(batch.frame(usize::from(byte)).bytes(), [byte; 61]);
        }
        batch.clear();
        assert!(batch.is_empty() && put(&mut batch, 60, 1));
    }

    #[test]
    fn a_port_with_nothing_to_read_adds_nothing() {
        let mut batch = Batch::new(BatchLimits::default());
        assert_eq!(batch.fill(|_| Ok::<_, Infallible>(None)), Ok(false));
        assert_eq!(batch.fill(|_| Err("gone")), Err("gone"));
        assert!(batch.is_empty());
    }
}
