//! Ways measured in turns.
//!
//! A machine's speed drifts while one measures (frequency, neighbours), so the ways take turns, and
//! who goes first changes with each round. Rounds end early on a machine so slow that all of them
//! would try somebody's patience.

use crate::finding::{Finding, Measure, Number, Path};
use crate::lab::Stage;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// The measurements of one round on a way.
pub(crate) type Samples = Vec<(Measure, f64)>;

/// One way.
pub(crate) struct Contender<'a> {
    /// Which one.
    path: Path,
    /// Sends traffic over it.
    round: Box<dyn Fn() -> Result<Samples> + 'a>,
    samples: Samples,
}

impl<'a> Contender<'a> {
    /// A way on which each round does `round`.
    pub(crate) fn new(path: Path, round: impl Fn() -> Result<Samples> + 'a) -> Self {
        Self {
            path,
            round: Box::new(round),
            samples: Vec::new(),
        }
    }

    fn number(&self, measure: Measure) -> Option<Number> {
        let of_measure = self.samples.iter().filter(|(name, _)| *name == measure);
        let samples: Vec<f64> = of_measure.map(|(_, sample)| *sample).collect();
        Number::of(measure, self.path, &samples)
    }
}

/// Measures `contenders`, the first of them Clearway, in `rounds` rounds at most.
///
/// # Errors
/// When traffic does not get through, with the way it was on.
pub(crate) fn take_turns(
    stage: &Stage,
    finding: &mut Finding,
    mut contenders: Vec<Contender<'_>>,
    rounds: usize,
) -> Result<()> {
    if let Some(busy) = &stage.busy {
        finding.fact("busy", busy.as_str());
    }
    let begin = Instant::now();
    for round in 1..=rounds {
        if round > FEWEST && begin.elapsed() > PATIENCE {
            break;
        }
        for contender in &mut contenders {
            let label = contender.path.label();
            stage.progress(&format!("round {round} of {rounds}: {label}"));
            let samples = (contender.round)().with_context(|| format!("TCP through {label}"))?;
            contender.samples.extend(samples);
        }
        contenders.reverse();
    }
    contenders.sort_by_key(|contender| contender.path);
    for measure in Measure::ALL {
        let numbers = contenders.iter().filter_map(|way| way.number(measure));
        finding.numbers.extend(numbers);
    }
    Ok(())
}

/// Microseconds.
pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Rounds that there are in any case: a median of fewer is none.
const FEWEST: usize = 3;
/// After so long no other round is begun.
const PATIENCE: Duration = Duration::from_secs(8);
