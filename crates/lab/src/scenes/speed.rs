//! TCP throughput and round trips through Clearway and over a Linux bridge.
//!
//! Whether one is faster is a number, not a check: on somebody's laptop under load it proves
//! nothing. What must hold is that every byte arrives as it was sent: superframes travel with
//! unfinished checksums, and nobody else would notice.

use crate::bridge::Bridge;
use crate::contest::{Contender, Samples, microseconds, take_turns};
use crate::finding::{Finding, Measure, Path};
use crate::lab::Stage;
use anyhow::Result;
use std::net::IpAddr;
use std::time::Duration;
use testbed::Namespace;
use testbed::traffic::{Amount, tcp_bulk, tcp_exact, tcp_ping_pong};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let (ann, bob) = (stage.container("ann"), stage.container("bob"));
    let effort = Effort::of(stage.args.quick);
    intact(
        stage,
        finding,
        &bob.namespace,
        &ann.namespace,
        bob.v4.into(),
    );
    let bridge = compared(stage, finding);
    let clearway = || effort.round(&bob.namespace, &ann.namespace, bob.v4.into());
    let mut contenders = vec![Contender::new(Path::Clearway, clearway)];
    if let Some(bridge) = &bridge {
        let over_bridge = || effort.round(&bridge.right, &bridge.left, bridge.right_ip.into());
        contenders.push(Contender::new(Path::LinuxBridge, over_bridge));
    }
    take_turns(stage, finding, contenders, effort.rounds)
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// In how many rounds.
    pub(super) rounds: usize,
    /// How long a stream is sent.
    pub(super) bulk: Duration,
    /// How often something is asked.
    pub(super) round_trips: usize,
}

impl Effort {
    pub(super) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 3,
                bulk: Duration::from_millis(200),
                round_trips: 1_000,
            }
        } else {
            Self {
                rounds: 5,
                bulk: Duration::from_millis(600),
                round_trips: 3_000,
            }
        }
    }

    fn round(&self, server: &Namespace, client: &Namespace, to: IpAddr) -> Result<Samples> {
        let bulk = tcp_bulk(server, client, to, Amount::For(self.bulk), 1)?;
        let mut samples = vec![(Measure::TcpThroughput, bulk.gigabits_per_second())];
        samples.extend(self.round_trips(server, client, to)?);
        Ok(samples)
    }

    /// Questions and answers.
    pub(super) fn round_trips(
        &self,
        server: &Namespace,
        client: &Namespace,
        to: IpAddr,
    ) -> Result<Samples> {
        let trips = tcp_ping_pong(server, client, to, 64, self.round_trips)?;
        Ok(vec![
            (Measure::TcpRoundTripMean, microseconds(trips.mean)),
            (Measure::TcpRoundTripP99, microseconds(trips.p99)),
        ])
    }
}

/// Compares what arrives with what was sent.
pub(super) fn intact(
    stage: &Stage,
    finding: &mut Finding,
    server: &Namespace,
    client: &Namespace,
    to: IpAddr,
) {
    let mebibytes = if stage.args.quick { 16 } else { 128 };
    stage.progress(&format!("comparing {mebibytes} MiB byte by byte"));
    let sent = tcp_exact(server, client, to, mebibytes << 20);
    finding.check(
        format!("{mebibytes} MiB over TCP arrive as they were sent"),
        sent.is_ok(),
        || {
            sent.err()
                .map_or_else(String::new, |error| format!("{error:#}"))
        },
    );
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
