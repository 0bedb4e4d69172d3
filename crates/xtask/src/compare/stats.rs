//! Samples of one measure and one contender, summed up.

use serde::Serialize;

/// The least, the middle and the greatest of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    /// The least.
    pub(super) min: f64,
    /// The middle one, or the mean of the middle two.
    pub(super) median: f64,
    /// The greatest.
    pub(super) max: f64,
    /// How many there are.
    pub(super) count: usize,
}

impl Summary {
    /// `None` without samples.
    pub(super) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        let count = samples.len();
        let median = samples[(count - 1) / 2].midpoint(samples[count / 2]);
        Some(Self {
            min,
            median,
            max,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_even_and_none() {
        let of = |samples: &[f64]| Summary::of(samples.to_vec());
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Some(Summary {
                min: 1.0,
                median: 2.0,
                max: 3.0,
                count: 3
            })
        );
        assert_eq!(
            of(&[4.0, 1.0]),
            Some(Summary {
                min: 1.0,
                median: 2.5,
                max: 4.0,
                count: 2
            })
        );
    }
}
