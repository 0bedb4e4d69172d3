//! Memory that the kernel shares with us.

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A mapping of a map's memory. The kernel may write it at any time, so every access is atomic.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    bytes: usize,
    writable: bool,
}

// SAFETY: the memory is the mapping's, whichever thread has it, and is accessed by atomic operations only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` from `offset` on.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        bytes: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let access = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: the address is the kernel's choice, so no memory of ours is replaced.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                access,
                MapFlags::SHARED,
                fd,
                offset as u64,
            )
        }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            bytes,
            writable,
        })
    }

    /// The number at `offset`, a multiple of its size.
    pub(crate) fn load64(&self, offset: usize, order: Ordering) -> u64 {
        // SAFETY: the place is within the mapping and aligned, the mapping outlives the reference, and a
        // load is good for memory that is only read.
        unsafe { AtomicU64::from_ptr(self.place(offset, 8).cast()) }.load(order)
    }

    /// The number of 32 bits at `offset`.
    pub(crate) fn load32(&self, offset: usize, order: Ordering) -> u32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.place(offset, 4).cast()) }.load(order)
    }

    /// Sets the number at `offset`. Panics when the mapping is a reader's.
    pub(crate) fn store64(&self, offset: usize, number: u64, order: Ordering) {
        assert!(self.writable, "the mapping is for writing");
        // SAFETY: as above, and the memory can be written.
        unsafe { AtomicU64::from_ptr(self.place(offset, 8).cast()) }.store(number, order);
    }

    /// Replaces what is in `bytes` by `count` bytes from `offset` on, a multiple of 8.
    pub(crate) fn copy(&self, offset: usize, count: usize, bytes: &mut Vec<u8>) {
        bytes.clear();
        let words = (0..count.div_ceil(8)).map(|word| offset + word * 8);
        bytes.extend(words.flat_map(|at| self.load64(at, Ordering::Relaxed).to_ne_bytes()));
        bytes.truncate(count);
    }

    /// The place of a number.
    fn place(&self, offset: usize, size: usize) -> *mut u8 {
        let end = offset.checked_add(size);
        assert!(
            offset.is_multiple_of(size) && end.is_some_and(|end| end <= self.bytes),
            "a number lies within the mapping"
        );
        self.start.as_ptr().cast::<u8>().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. A failure leaves it mapped.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}
