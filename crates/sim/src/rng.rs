//! Randomness that a seed determines: SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! Every wire and host has a generator of its own, split off in the order in which the world was
//! built, so that one more frame on one wire does not change the luck of another.

/// A generator.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The generator that `seed` determines.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: no modulo, and a bias too small to matter here.
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// True `per_mille` times in a thousand.
    pub const fn chance(&mut self, per_mille: u16) -> bool {
        self.below(1000) < per_mille as u64
    }

    /// A generator of its own for somebody else.
    #[must_use]
    pub const fn split(&mut self) -> Self {
        Self(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_everything_and_chances_are_kept() {
        let draw = |seed| {
            std::iter::repeat_with({
                let mut r = Rng::new(seed);
                move || r.next_u64()
            })
            .take(5)
            .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut rng = Rng::new(1);
        let hits = (0..100_000).filter(|_| rng.chance(50)).count();
        assert!(
            (4500..5500).contains(&hits),
            "{hits} of 100000 at 50 per mille"
        );
        assert!((0..1000).all(|_| rng.below(7) < 7) && rng.below(0) == 0);
        assert!(!rng.chance(0) && rng.chance(1000));
    }
}
