//! Findings of the lab: the values that are rendered as text and printed as JSON.
//!
//! The document of `--json` is one [`Report`]:
//! ```text
//! { "version": "0.1.0",                      the lab's version
//!   "ok": true,                              whether all checks held: exit code 0
//!   "seconds": 14.2,
//!   "error": null | "sentence",              why the lab could not run to its end
//!   "machine": { "kernel": "6.18.0", "cpus": 2, "load": 0.3, "rootless": false },
//!                                            load: of the last minute, before the lab began
//!   "scenes": [
//!     { "name": "ping", "title": "…", "seconds": 0.2, "ok": true,
//!       "skipped": [ "sentence", … ],        what was not done here, and why
//!       "facts":   [ { "label": "IPv4", "text": "…" }, … ],
//!       "numbers": [ { "name": "tcp_throughput", "path": "clearway" | "linux_bridge" | "docker0",
//!                      "unit": "gbit_per_second" | "microseconds",
//!                      "min": 17.9, "median": 18.4, "max": 19.1, "samples": 5 }, … ],
//!       "checks":  [ { "what": "ann reaches bob over IPv4", "ok": true, "why": null | "…" }, … ] } ],
//!   "kept": null | { "pid": 7, "binary": "…", "socket": "…", "containers":
//!              [ { "name": "ann", "netns": "…", "addresses": [ "10.80.0.2/24", … ] }, … ],
//!            "outside": [ { "name": "world", … }, { "name": "host", … } ] } }
//! ```
//! Fields are added, never renamed or removed.

use serde::Serialize;
use std::path::PathBuf;

/// Everything the lab found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) ok: bool,
    pub(crate) seconds: f64,
    pub(crate) error: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) scenes: Vec<SceneReport>,
    pub(crate) kept: Option<Kept>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ok: false,
            seconds: 0.0,
            error: None,
            machine,
            scenes: Vec::new(),
            kept: None,
        }
    }

    /// Every check, with its scene.
    pub(crate) fn checks(&self) -> impl Iterator<Item = (&SceneReport, &Check)> {
        self.scenes
            .iter()
            .flat_map(|scene| scene.finding.checks.iter().map(move |check| (scene, check)))
    }

    /// Returns whether the lab ran to its end and every check held.
    pub(crate) fn all_held(&self) -> bool {
        self.error.is_none()
            && self.checks().count() > 0
            && self.checks().all(|(_, check)| check.ok)
    }
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
    pub(crate) load: f64,
    pub(crate) rootless: bool,
}

impl Machine {
    /// Says so when others use the machine so much that a measurement is as much theirs.
    pub(crate) fn is_busy(&self) -> Option<String> {
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 processors")]
        let cpus = self.cpus as f64;
        (self.load > cpus / 2.0).then(|| {
            format!(
                "load {:.1} on {} CPUs before the lab began: others' work is in these numbers",
                self.load, self.cpus
            )
        })
    }
}

/// One scene's finding, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SceneReport {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) seconds: f64,
    pub(crate) ok: bool,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

/// Findings of one scene.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) skipped: Vec<String>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) numbers: Vec<Number>,
    pub(crate) checks: Vec<Check>,
}

impl Finding {
    /// Something worth seeing: a line of its own under `label`.
    pub(crate) fn fact(&mut self, label: impl Into<String>, text: impl Into<String>) {
        self.facts.push(Fact {
            label: label.into(),
            text: text.into(),
        });
    }

    /// Returns whether `what` held; `why` is asked for only when it did not.
    pub(crate) fn check(
        &mut self,
        what: impl Into<String>,
        ok: bool,
        why: impl FnOnce() -> String,
    ) {
        self.checks.push(Check {
            what: what.into(),
            ok,
            why: (!ok).then(why),
        });
    }

    /// Returns whether every check held.
    pub(crate) fn all_held(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// Something worth seeing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    pub(crate) label: String,
    pub(crate) text: String,
}

/// Something that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) ok: bool,
    pub(crate) why: Option<String>,
}

/// Something measured several times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Number {
    pub(crate) name: Measure,
    pub(crate) path: Path,
    pub(crate) unit: Unit,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) samples: usize,
}

impl Number {
    /// Sums up `samples`; `None` when there are none.
    pub(crate) fn of(name: Measure, path: Path, samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            name,
            path,
            unit: name.unit(),
            min,
            median,
            max,
            samples: sorted.len(),
        })
    }
}

/// The quantity that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Bytes of TCP payload a second, one connection.
    TcpThroughput,
    /// The same through NAT, from a container to the world.
    TcpOut,
    /// The same through NAT, from the world to a published port.
    TcpIn,
    /// The mean time of a TCP question and its answer, 64 bytes each.
    TcpRoundTripMean,
    /// The time that one in a hundred of them exceeds.
    TcpRoundTripP99,
}

impl Measure {
    /// Every measure, in the order it is shown.
    pub(crate) const ALL: [Self; 5] = [
        Self::TcpThroughput,
        Self::TcpOut,
        Self::TcpIn,
        Self::TcpRoundTripMean,
        Self::TcpRoundTripP99,
    ];

    /// For a person.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::TcpThroughput => "TCP throughput",
            Self::TcpOut => "TCP out",
            Self::TcpIn => "TCP in",
            Self::TcpRoundTripMean => "round trip mean",
            Self::TcpRoundTripP99 => "round trip p99",
        }
    }

    /// Returns what it is counted in.
    pub(crate) const fn unit(self) -> Unit {
        match self {
            Self::TcpThroughput | Self::TcpOut | Self::TcpIn => Unit::GbitPerSecond,
            Self::TcpRoundTripMean | Self::TcpRoundTripP99 => Unit::Microseconds,
        }
    }
}

/// The way the traffic took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Path {
    /// TAP, switch, TAP; through NAT, TAP, router, uplink.
    Clearway,
    /// veth, bridge, veth.
    LinuxBridge,
    /// veth, bridge, netfilter, veth.
    Docker0,
}

impl Path {
    /// For a person.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Clearway => "Clearway",
            Self::LinuxBridge => "Linux bridge",
            Self::Docker0 => "docker0 NAT",
        }
    }
}

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// 10^9 bits a second.
    GbitPerSecond,
    /// 10^-6 s.
    Microseconds,
}

impl Unit {
    /// For a person.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::GbitPerSecond => "Gbit/s",
            Self::Microseconds => "us",
        }
    }
}

/// The daemon and the containers that are left running, with their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    pub(crate) pid: u32,
    pub(crate) binary: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) containers: Vec<KeptContainer>,
    /// The world and the host, in the same words.
    pub(crate) outside: Vec<KeptContainer>,
}

/// A container left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeptContainer {
    pub(crate) name: String,
    pub(crate) netns: PathBuf,
    pub(crate) addresses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        let median = |samples: &[f64]| {
            Number::of(Measure::TcpThroughput, Path::Clearway, samples).map(|n| n.median)
        };
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_report_without_checks_did_not_hold() {
        let machine = Machine {
            kernel: "6.1".into(),
            cpus: 2,
            load: 0.0,
            rootless: false,
        };
        assert!(!Report::new(machine).all_held());
    }
}
