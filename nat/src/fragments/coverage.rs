//! Which bytes of a packet its fragments have brought so far.
//!
//! A bit for each 8 bytes (RFC 791, 3.2), as far as the highest one: 1 KiB for the longest packet,
//! and the work for a fragment is in proportion to its length, whatever came before it.

/// The bytes seen, as units of 8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Coverage {
    bits: Vec<u64>,
    units: u32,
}

impl Coverage {
    /// Returns whether any byte of `start..end` was seen.
    pub(super) fn overlaps(&self, start: u32, end: u32) -> bool {
        words(start, end)
            .any(|(word, mask)| self.bits.get(word).is_some_and(|bits| bits & mask != 0))
    }

    /// Notes `start..end`, none of which was seen. `start` is a multiple of 8, and a last unit that
    /// is not full counts as one.
    pub(super) fn add(&mut self, start: u32, end: u32) {
        for (word, mask) in words(start, end) {
            if self.bits.len() <= word {
                self.bits.resize(word + 1, 0);
            }
            self.bits[word] |= mask;
            self.units += mask.count_ones();
        }
    }

    /// Returns whether all of `0..end` was seen, and nothing behind it.
    pub(super) const fn is_all(&self, end: u32) -> bool {
        self.units == end.div_ceil(8)
    }

    /// One past the last byte seen, rounded up to a unit.
    pub(super) fn end(&self) -> u32 {
        let last = self.bits.last().map_or(0, |bits| 64 - bits.leading_zeros());
        let before = u32::try_from(self.bits.len().saturating_sub(1)).unwrap_or(u32::MAX);
        (before * 64 + last) * 8
    }
}

/// The words that `start..end` touches, each with its bits in it.
fn words(start: u32, end: u32) -> impl Iterator<Item = (usize, u64)> {
    let (first, last) = (start / 8, end.div_ceil(8));
    (first / 64..last.div_ceil(64)).map(move |word| {
        let low = first.saturating_sub(word * 64);
        let high = (last - word * 64).min(64);
        let mask = (u64::MAX >> (64 - (high - low))) << low;
        (word as usize, mask)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Against a flag for every byte.
        #[test]
        fn it_is_a_set_of_bytes(pieces in vec((0..8191_u32, 1..3000_u32), 1..40)) {
            let mut seen = vec![false; 70_000];
            let mut coverage = Coverage::default();
            for (unit, len) in pieces {
                let (start, end) = (unit * 8, (unit * 8 + len).min(65_535));
                // The rest of a last unit counts as seen.
                let range = start as usize..end.next_multiple_of(8) as usize;
                let overlaps = seen[range.clone()].contains(&true);
                prop_assert_eq!(coverage.overlaps(start, end), overlaps);
                if !overlaps {
                    coverage.add(start, end);
                    seen[range].fill(true);
                }
                let last = seen.iter().rposition(|byte| *byte).map_or(0, |at| at + 1);
                prop_assert_eq!(coverage.end() as usize, last);
                let all = !seen[..last].contains(&false);
                prop_assert_eq!(coverage.is_all(coverage.end()), all);
            }
        }
    }
}
