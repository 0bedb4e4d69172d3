//! An allocator that places large tables, which are read at random, on huge pages. A program with
//! workers makes it its global one: the binary does, and the benches that measure what it does.
//!
//! A million addresses are 48 MiB. Each question misses the cache, and with 4 KiB pages the
//! translation buffer (TLB) as well, so the processor walks the page table before it can even
//! ask memory. Linux gives 2 MiB pages to whom asks with madvise(2); the tables' own crates are
//! pure and ask for nothing but memory, so the allocator asks for them. With them a warmed question
//! to a table of a million takes a quarter less time, an unwarmed one a fifth.
//!
//! Thread-safe, as the system's allocator is.

use rustix::mm::{Advice, madvise};
use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which places large allocations on huge pages where the kernel has any.
#[derive(Debug)]
pub struct HugePages;

/// The size of a huge page, on x86-64 and on AArch64 with 4 KiB pages. Elsewhere no more than an
/// odd alignment.
const HUGE: usize = 2 << 20;

/// The layout that the system is asked for instead of `layout`: a pure function of it, as whoever
/// frees memory has to name the layout it was allocated by.
fn placed(layout: Layout) -> Layout {
    if layout.size() < HUGE {
        return layout;
    }
    layout.align_to(HUGE).unwrap_or(layout)
}

/// Asks for huge pages where a whole one fits. Without them the memory is as good, but slower.
fn advise(memory: *mut u8, layout: Layout) -> *mut u8 {
    let whole = layout.size() & !(HUGE - 1);
    if whole > 0 && !memory.is_null() {
        // SAFETY: the range is inside a live allocation, which begins on a multiple of a page, and
        // the advice changes nothing of its contents.
        let _ = unsafe { madvise(memory.cast(), whole, Advice::LinuxHugepage) };
    }
    memory
}

// SAFETY: everything is the system allocator's, which is asked with the same layout, `placed` of
// the caller's, for one allocation throughout; `placed` keeps the size and never lowers the
// alignment.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = placed(layout);
        // SAFETY: the caller's promises hold for `placed` too.
        advise(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let placed = placed(layout);
        if placed == layout {
            // SAFETY: the caller's promises.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as above. The advice has to come before the zeroes, which touch the pages.
        let memory = advise(unsafe { System.alloc(placed) }, placed);
        if !memory.is_null() {
            // SAFETY: that many bytes were just allocated.
            unsafe { memory.write_bytes(0, placed.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: it was allocated here with `layout`, so by the system with `placed` of it.
        unsafe { System.dealloc(memory, placed(layout)) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is no overflow.
        let next = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if placed(layout) == layout && placed(next) == next {
            // SAFETY: both layouts are the system's own.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller promises that `size` is not zero.
        let moved = unsafe { self.alloc(next) };
        if !moved.is_null() {
            // SAFETY: two live allocations do not overlap, and both hold the smaller size.
            unsafe {
                moved.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn large_allocations_begin_on_a_huge_page_and_small_ones_are_left_alone() {
        for size in [1, 4096, HUGE - 1] {
            assert_eq!(placed(layout(size, 64)), layout(size, 64));
        }
        for size in [HUGE, HUGE + 1, 48_000_000] {
            assert_eq!(placed(layout(size, 64)), layout(size, HUGE));
        }
        // More than asked for is kept.
        assert_eq!(placed(layout(HUGE, 2 * HUGE)), layout(HUGE, 2 * HUGE));
    }

    /// Every way across the border between small and large, with what was written still there.
    #[test]
    fn contents_survive_every_change_of_size() {
        let sizes = [64, HUGE - 64, HUGE, 3 * HUGE + 64];
        for (from, to) in sizes.iter().flat_map(|&from| sizes.map(|to| (from, to))) {
            let kept = from.min(to);
            // SAFETY: each allocation is used inside its bounds, and freed once with its layout.
            unsafe {
                let memory = HugePages.alloc_zeroed(layout(from, 64));
                assert!(memory.addr().is_multiple_of(64) && !memory.is_null());
                assert!(
                    std::slice::from_raw_parts(memory, from)
                        .iter()
                        .all(|&b| b == 0)
                );
                memory.write_bytes(0xa5, kept);
                let moved = HugePages.realloc(memory, layout(from, 64), to);
                let bytes = std::slice::from_raw_parts(moved, kept);
                assert!(bytes.iter().all(|&b| b == 0xa5), "{from} to {to}");
                assert!(moved.addr().is_multiple_of(placed(layout(to, 64)).align()));
                HugePages.dealloc(moved, layout(to, 64));
            }
        }
    }
}
