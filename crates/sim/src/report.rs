//! How a simulation went, as a table: equal for equal seeds, byte for byte.

use crate::link::Fate;
use crate::nic::Refused;
use pipeline::{DropReason, PortId, PortTotals};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Everything that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed, which determined the run.
    pub seed: u64,
    /// How long it took in virtual time.
    pub duration: Duration,
    /// One for each port, in the order of ids.
    pub lines: Vec<Line>,
    /// Drops among the frames that the router sent of its own.
    pub router: PortTotals,
}

/// Counts of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub port: PortId,
    /// The switch's counters, one set for each time the port was opened.
    pub totals: Vec<PortTotals>,
    /// The wire from the station to the switch.
    pub upward: Fate,
    /// The wire from the switch to the station.
    pub downward: Fate,
    /// Frames that reached the port while it was closed.
    pub unheard: u64,
    /// The station at the far end.
    pub station: Station,
}

/// The report of a station about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Station {
    /// A line for each program.
    pub what: Vec<String>,
    /// Whether all of them achieved what they were for.
    pub succeeded: bool,
    /// Frames its card refused.
    pub refused: Refused,
}

impl Report {
    /// The counters of `port`, those of its first opening; zeros when there is none.
    #[must_use]
    pub fn totals(&self, port: PortId) -> PortTotals {
        self.line(port)
            .and_then(|line| line.totals.first().cloned())
            .unwrap_or_default()
    }

    /// The line of `port`.
    #[must_use]
    pub fn line(&self, port: PortId) -> Option<&Line> {
        self.lines.iter().find(|line| line.port == port)
    }

    /// Returns how many frames were dropped for each reason, at all ports and of the router's own.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        let mut sums = BTreeMap::new();
        for (reason, count) in self
            .lines
            .iter()
            .flat_map(|line| &line.totals)
            .chain([&self.router])
            .flat_map(PortTotals::drops)
        {
            *sums.entry(reason).or_default() += count;
        }
        sums
    }

    /// Returns what is wrong with the run: a drop for a reason that is not among `expected`, a program
    /// that failed, a damaged frame at a card. Empty when all is well.
    #[must_use]
    pub fn faults(&self, expected: &[DropReason]) -> Vec<String> {
        let mut faults = Vec::new();
        for (reason, count) in self.drops() {
            if !expected.contains(&reason) {
                faults.push(format!("{count} frames dropped: {reason}"));
            }
        }
        for Line { port, station, .. } in &self.lines {
            if !station.succeeded {
                faults.push(format!("{port}: {}", station.what.join("; ")));
            }
            if station.refused != Refused::default() {
                faults.push(format!("{port}: its card refused {:?}", station.refused));
            }
        }
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {}.{:09} s",
            self.seed,
            self.duration.as_secs(),
            self.duration.subsec_nanos()
        )?;
        for line in &self.lines {
            for totals in &line.totals {
                let PortTotals {
                    rx_frames,
                    rx_bytes,
                    tx_frames,
                    tx_bytes,
                    ..
                } = totals;
                write!(
                    f,
                    "{}: rx {rx_frames} frames {rx_bytes} bytes, tx {tx_frames} frames {tx_bytes} bytes",
                    line.port
                )?;
                for (reason, count) in totals.drops() {
                    write!(f, ", {reason} {count}")?;
                }
                writeln!(f)?;
            }
            for (name, fate) in [("upward", line.upward), ("downward", line.downward)] {
                let Fate {
                    entered,
                    lost,
                    overflowed,
                    duplicated,
                } = fate;
                if lost + overflowed + duplicated > 0 {
                    writeln!(
                        f,
                        "  {name}: {entered} frames, {lost} lost, {overflowed} overflowed, {duplicated} twice"
                    )?;
                }
            }
            if line.unheard > 0 {
                writeln!(f, "  {} frames reached the closed port", line.unheard)?;
            }
            for what in &line.station.what {
                writeln!(f, "  {what}")?;
            }
        }
        if self.router != PortTotals::default() {
            write!(f, "router")?;
            for (reason, count) in self.router.drops() {
                write!(f, ", {reason} {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
