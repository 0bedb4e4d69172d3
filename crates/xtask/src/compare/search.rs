//! The highest rate at which little enough is lost: a bisection over a ladder of offered rates.
//!
//! Pure; the probe is a closure. Loss is taken to grow with the rate. A machine's other work can
//! only add loss, never hide it, so a rate passes when one of two probes does.

use anyhow::Result;

use super::load::Datagrams;

/// The largest loss that passes.
pub(super) const LOSS_LIMIT: f64 = 0.01;

/// Rates from `low` to at least `high`, each `step` times the one before.
pub(super) fn ladder(low: f64, high: f64, step: f64) -> Vec<f64> {
    let mut rates = vec![low];
    while let Some(&last) = rates.last()
        && last < high
    {
        rates.push(last * step);
    }
    rates
}

/// Returns what arrived at the highest rung that passes, 0 when none does.
///
/// It is what arrived that counts: on a rung beyond the sender's own limit that is less than the
/// rung's rate.
///
/// # Errors
/// The probe's.
pub(super) fn highest_delivered(
    ladder: &[f64],
    mut probe: impl FnMut(f64) -> Result<Datagrams>,
) -> Result<f64> {
    let mut best = 0.0_f64;
    let (mut passed, mut failed) = (0, ladder.len() + 1);
    // `passed` and `failed` count rungs: rung n is ladder[n - 1]; rung 0 passes by definition.
    while failed - passed > 1 {
        let rung = passed.midpoint(failed);
        let rate = ladder[rung - 1];
        let mut seen = probe(rate)?;
        if seen.loss > LOSS_LIMIT {
            seen = probe(rate)?;
        }
        if seen.loss <= LOSS_LIMIT {
            passed = rung;
            best = best.max(seen.delivered);
        } else {
            failed = rung;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire that carries up to `limit` a second and a sender that offers up to `sender`.
    fn wire(limit: f64, sender: f64) -> impl Fn(f64) -> Result<Datagrams> {
        move |rate| {
            let sent = rate.min(sender);
            let delivered = sent.min(limit);
            Ok(Datagrams {
                delivered,
                loss: (sent - delivered) / sent,
            })
        }
    }

    #[test]
    fn the_rung_below_the_limit_is_found() {
        let rates = ladder(10.0, 1000.0, 1.1);
        for limit in [10.0, 11.0, 57.0, 400.0, 999.0] {
            let found = highest_delivered(&rates, wire(limit, f64::MAX)).unwrap();
            assert!(
                found <= limit && found * 1.1 >= limit * 0.99,
                "{limit}: {found}"
            );
        }
    }

    #[test]
    fn a_senders_own_limit_bounds_what_is_reported() {
        let rates = ladder(10.0, 1000.0, 1.1);
        assert_eq!(
            highest_delivered(&rates, wire(f64::MAX, 300.0)).unwrap(),
            300.0
        );
    }

    #[test]
    fn nothing_passes_on_a_dead_wire() {
        assert_eq!(
            highest_delivered(&ladder(10.0, 100.0, 1.1), wire(0.0, f64::MAX)).unwrap(),
            0.0
        );
    }

    #[test]
    fn one_disturbed_probe_changes_nothing() {
        let rates = ladder(10.0, 1000.0, 1.1);
        let calm = highest_delivered(&rates, wire(400.0, f64::MAX)).unwrap();
        let (mut probes, quiet) = (0, wire(400.0, f64::MAX));
        let disturbed = highest_delivered(&rates, |rate| {
            probes += 1;
            if probes == 1 {
                Ok(Datagrams {
                    delivered: 0.0,
                    loss: 1.0,
                })
            } else {
                quiet(rate)
            }
        });
        assert_eq!(disturbed.unwrap(), calm);
    }
}
