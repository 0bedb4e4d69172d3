//! TCP throughput and round trips through Clearway and over a Linux bridge, in turns.
//!
//! A machine's speed drifts while one measures (frequency, neighbours), so the paths take turns,
//! and who goes first changes with each round. Whether one is faster is a number, not a check: on
//! somebody's laptop under load it proves nothing. What must hold is that every byte arrives as it
//! was sent: superframes travel with unfinished checksums, and nobody else would notice.

use crate::bridge::Bridge;
use crate::finding::{Finding, Measure, Number, Path};
use crate::lab::Stage;
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::time::Duration;
use testbed::Namespace;
use testbed::traffic::{Amount, tcp_bulk, tcp_exact, tcp_ping_pong};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let (ann, bob) = (stage.container("ann"), stage.container("bob"));
    let effort = Effort::of(stage.args.quick);
    intact(stage, finding, &effort)?;
    if let Some(busy) = &stage.busy {
        finding.fact("busy", busy.as_str());
    }
    let bridge = compared(stage, finding);
    let mut contenders = vec![Contender::new(
        Path::Clearway,
        &ann.namespace,
        &bob.namespace,
        bob.v4.into(),
    )];
    if let Some(bridge) = &bridge {
        contenders.push(Contender::new(
            Path::LinuxBridge,
            &bridge.left,
            &bridge.right,
            bridge.right_ip.into(),
        ));
    }
    for round in 1..=effort.rounds {
        for contender in &mut contenders {
            stage.progress(&format!(
                "round {round} of {}: {}",
                effort.rounds,
                contender.path.label()
            ));
            contender
                .measure(&effort)
                .with_context(|| format!("TCP through {}", contender.path.label()))?;
        }
        contenders.reverse();
    }
    for measure in Measure::ALL {
        for path in [Path::Clearway, Path::LinuxBridge] {
            let of_path = contenders.iter().find(|contender| contender.path == path);
            finding
                .numbers
                .extend(of_path.and_then(|contender| contender.number(measure)));
        }
    }
    Ok(())
}

/// How long to measure.
struct Effort {
    rounds: usize,
    bulk: Duration,
    round_trips: usize,
    exact: u64,
}

impl Effort {
    const fn of(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 3,
                bulk: Duration::from_millis(250),
                round_trips: 1_000,
                exact: 16 << 20,
            }
        } else {
            Self {
                rounds: 5,
                bulk: Duration::from_secs(1),
                round_trips: 10_000,
                exact: 256 << 20,
            }
        }
    }
}

/// One way between two containers, and what was measured on it.
struct Contender<'a> {
    path: Path,
    client: &'a Namespace,
    server: &'a Namespace,
    to: IpAddr,
    samples: [Vec<f64>; Measure::ALL.len()],
}

impl<'a> Contender<'a> {
    fn new(path: Path, client: &'a Namespace, server: &'a Namespace, to: IpAddr) -> Self {
        Self {
            path,
            client,
            server,
            to,
            samples: Default::default(),
        }
    }

    fn measure(&mut self, effort: &Effort) -> Result<()> {
        let amount = Amount::For(effort.bulk);
        let bulk = tcp_bulk(self.server, self.client, self.to, amount, 1)?;
        let trips = tcp_ping_pong(self.server, self.client, self.to, 64, effort.round_trips)?;
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        for (samples, measure) in self.samples.iter_mut().zip(Measure::ALL) {
            samples.push(match measure {
                Measure::TcpThroughput => bulk.gigabits_per_second(),
                Measure::TcpRoundTripMean => microseconds(trips.mean),
                Measure::TcpRoundTripP99 => microseconds(trips.p99),
            });
        }
        Ok(())
    }

    fn number(&self, measure: Measure) -> Option<Number> {
        let mut named = Measure::ALL.into_iter().zip(&self.samples);
        let (_, samples) = named.find(|(name, _)| *name == measure)?;
        Number::of(measure, self.path, samples)
    }
}

fn intact(stage: &Stage, finding: &mut Finding, effort: &Effort) -> Result<()> {
    let (ann, bob) = (stage.container("ann"), stage.container("bob"));
    let mebibytes = effort.exact >> 20;
    stage.progress(&format!("comparing {mebibytes} MiB byte by byte"));
    let sent = tcp_exact(&bob.namespace, &ann.namespace, bob.v4.into(), effort.exact);
    finding.check(
        format!("{mebibytes} MiB over TCP arrive as they were sent"),
        sent.is_ok(),
        || {
            sent.err()
                .map_or_else(String::new, |error| format!("{error:#}"))
        },
    );
    Ok(())
}

/// The bridge, unless it was not asked for or cannot be had: that is no fault of Clearway's.
fn compared(stage: &Stage, finding: &mut Finding) -> Option<Bridge> {
    if stage.args.no_compare {
        finding
            .skipped
            .push("no comparison with a Linux bridge: --no-compare".into());
        return None;
    }
    stage.progress("making a Linux bridge to compare with");
    match Bridge::new() {
        Ok(bridge) => Some(bridge),
        Err(error) => {
            finding
                .skipped
                .push(format!("no comparison with a Linux bridge: {error:#}"));
            None
        }
    }
}
