//! Adding counters up.

use api::Counters;
use pipeline::PortTotals;

/// Adds what the dataplane counted.
pub(super) fn add_totals(counters: &mut Counters, totals: &PortTotals) {
    counters.rx_frames += totals.rx_frames;
    counters.rx_bytes += totals.rx_bytes;
    counters.tx_frames += totals.tx_frames;
    counters.tx_bytes += totals.tx_bytes;
    for (reason, count) in totals.drops() {
        *counters.drops.entry(reason.label().to_owned()).or_default() += count;
    }
}

/// Adds what another port counted.
pub(super) fn add(counters: &mut Counters, other: &Counters) {
    counters.rx_frames += other.rx_frames;
    counters.rx_bytes += other.rx_bytes;
    counters.tx_frames += other.tx_frames;
    counters.tx_bytes += other.tx_bytes;
    for (label, count) in &other.drops {
        *counters.drops.entry(label.clone()).or_default() += count;
    }
}
