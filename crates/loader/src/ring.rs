//! Records from programs.
//!
//! A ring of `n` bytes is mapped as: a page with the reader's position, a page with the writers', then the
//! `n` bytes twice, so that no record is cut (`kernel/bpf/ringbuf.c`). Positions only grow; a place is a
//! position modulo `n`. Before each record stand 8 bytes, the first 4 its length with two flags: *busy*
//! while its writer is at it, *discarded* when it is to be passed over.
//!
//! Order: a writer moves the writers' position with the length marked busy, and clears the mark with release
//! when all is written, so the length is loaded with acquire. The reader's position is stored with release:
//! what was read was read before the room is given back. A writer wakes the reader if it finds the reader at
//! its record, so between storing the position and looking at the next length there is a full fence: either
//! the reader sees the record, or its writer sees the reader there.

use crate::sys::Mapping;
use crate::{LoadError, Map};
use bpf::MapKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;

/// The one reader of a ring. Its descriptor is readable while there are records, unless a program asks not
/// to wake anybody.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    /// The reader's position.
    position: Mapping,
    /// The writers' position, one page; then the records.
    records: Mapping,
    page: usize,
    bytes: usize,
    record: Vec<u8>,
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Ring {
    /// Maps the memory of a ring. A ring has one reader: two would read the same records.
    ///
    /// # Errors
    /// The kernel's refusal.
    ///
    /// # Panics
    /// When the map is no ring.
    pub fn open(map: &Map) -> Result<Self, LoadError> {
        assert_eq!(map.spec().kind, MapKind::Ring, "the map is a ring");
        let failed = |error| LoadError::new("map the memory of a ring", error);
        let (page, bytes) = (rustix::param::page_size(), map.spec().entries as usize);
        let fd = map.as_fd().try_clone_to_owned().map_err(failed)?;
        let position = Mapping::new(fd.as_fd(), 0, page, true).map_err(failed)?;
        let all = page + 2 * bytes;
        let records = Mapping::new(fd.as_fd(), page, all, false).map_err(failed)?;
        Ok(Self {
            fd,
            position,
            records,
            page,
            bytes,
            record: Vec::new(),
        })
    }

    /// Hands out the records that are there, in order, and gives their room back; says how many.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        // Nobody else writes the reader's position.
        let mut position = self.position.load64(0, Ordering::Relaxed);
        while position < self.records.load64(0, Ordering::Acquire) {
            let at = self.page + self.place(position);
            let header = self.records.load32(at, Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                self.records.copy(at + HEADER, length, &mut self.record);
                each(&self.record);
                count += 1;
            }
            position += (length + HEADER).next_multiple_of(8) as u64;
            self.position.store64(0, position, Ordering::Release);
            fence(Ordering::SeqCst);
        }
        count
    }

    /// Bytes that records take at this moment, read or not yet.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let read = self.position.load64(0, Ordering::Relaxed);
        self.records.load64(0, Ordering::Acquire) - read
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part of the ring's bytes"
    )]
    const fn place(&self, position: u64) -> usize {
        (position % self.bytes as u64) as usize
    }
}
