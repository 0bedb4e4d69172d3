//! A frame where it lies.
//!
//! ```text
//!   room:  | spare | vnet header | Ethernet frame ......... | unused |
//!                  ^ written     ^ start                    ^ end
//!                    just before
//!                    a write(2)
//! ```
//! The virtio header travels parsed in [`Frame::vnet`]; the ten bytes before the frame are where
//! a port that speaks it has it read and written, so one contiguous read or write moves both.
//! A VLAN tag is pushed into the spare room and popped back out of it: nothing is copied but the
//! two MAC addresses.

use crate::{PacketId, Tunnel};
use wire::{VlanTag, VnetHeader};

/// Room before a received frame: a virtio header and up to three pushed VLAN tags, rounded up to
/// a cache line.
pub const HEADROOM: usize = 64;

/// Bytes of a virtio header on a TAP or packet socket.
pub const VNET_LEN: usize = VnetHeader::LEN;

/// Room for a frame: one byte more than the longest carried, a 64 KiB IP packet (its length
/// field's limit) with an Ethernet header and two VLAN tags. A frame that fills it was cut off.
pub const MAX_FRAME: usize = 65_535 + 14 + 8 + 1;

const MACS: usize = 12;
const TAG: u8 = 4;

/// One Ethernet frame inside a larger room.
#[derive(Debug)]
pub struct Frame<'a> {
    room: &'a mut [u8],
    start: usize,
    end: usize,
    /// The checksum and the segmentation that the sender left undone.
    pub vnet: VnetHeader,
    /// The tunnel that it came through; the default one where its port is none.
    pub tunnel: Tunnel,
    /// The packet that it is, or is a piece of; the default one until a worker numbers it.
    pub id: PacketId,
}

impl<'a> Frame<'a> {
    /// The frame at `room[start..end]`.
    ///
    /// # Panics
    /// When `start..end` is not a range of `room`.
    #[must_use]
    pub fn new(room: &'a mut [u8], start: usize, end: usize, vnet: VnetHeader) -> Self {
        assert!(
            start <= end && end <= room.len(),
            "{start}..{end} of {}",
            room.len()
        );
        Self {
            room,
            start,
            end,
            vnet,
            tunnel: Tunnel::default(),
            id: PacketId::default(),
        }
    }

    /// The frame's bytes, from its destination MAC on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// The frame's bytes, to rewrite.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.end]
    }

    /// Returns how many bytes the frame has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns whether the frame has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns where in its room the frame starts, and where it ends.
    #[must_use]
    pub fn span(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    /// Puts `tag` outermost. Returns false, and changes nothing, when the room before the frame is
    /// used up or the frame has no MAC addresses.
    #[must_use = "a tag that did not fit was not pushed"]
    pub fn push_vlan(&mut self, tag: VlanTag) -> bool {
        if self.start < usize::from(TAG) + VNET_LEN || self.len() < MACS {
            return false;
        }
        let new = self.start - usize::from(TAG);
        self.room.copy_within(self.start..self.start + MACS, new);
        self.room[new + MACS..][..usize::from(TAG)].copy_from_slice(&tag.to_bytes());
        self.start = new;
        self.vnet.shift(i16::from(TAG));
        true
    }

    /// Takes the outermost tag off. Returns `None`, and changes nothing, when there is none.
    pub fn pop_vlan(&mut self) -> Option<VlanTag> {
        let tag = VlanTag::from_bytes(
            self.bytes()
                .get(MACS..MACS + usize::from(TAG))?
                .try_into()
                .ok()?,
        )?;
        self.room
            .copy_within(self.start..self.start + MACS, self.start + usize::from(TAG));
        self.start += usize::from(TAG);
        self.vnet.shift(-i16::from(TAG));
        Some(tag)
    }

    /// Virtio header and frame as one run of bytes, ready for a single write(2).
    #[must_use]
    pub fn with_vnet(&mut self) -> &[u8] {
        let from = self.start - VNET_LEN;
        self.room[from..self.start].copy_from_slice(&self.vnet.to_bytes());
        &self.room[from..self.end]
    }
}
