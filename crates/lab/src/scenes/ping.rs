//! Two containers ping each other over IPv4 and IPv6, and the switch learns where they are.

use crate::container::Container;
use crate::finding::Finding;
use crate::lab::Stage;
use anyhow::Result;
use api::Filter;
use std::net::IpAddr;
use std::time::Duration;
use testbed::traffic::{Ping, PingReport, ping};
use testbed::wait_until;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let (ann, bob) = (stage.container("ann"), stage.container("bob"));
    for (family, to) in [("IPv4", IpAddr::V4(bob.v4)), ("IPv6", IpAddr::V6(bob.v6))] {
        let report = patient(ann, to)?;
        finding.fact(family, format!("ann to bob at {to}: {}", said(&report)));
        finding.check(
            format!("ann reaches bob over {family}"),
            report.is_complete(),
            || said(&report),
        );
    }
    for container in [ann, bob] {
        learned(stage, container, finding)?;
    }
    Ok(())
}

/// Pings once an answer has come: an interface that was just set up may lose the first frames.
pub(super) fn patient(from: &Container, to: IpAddr) -> Result<PingReport> {
    let first = Ping {
        count: 1,
        timeout: Duration::from_millis(200),
        ..Ping::new(to)
    };
    // Whether it answers at all is what the real ping below is for.
    let _ = wait_until("a first answer", Duration::from_secs(3), || {
        ping(&from.namespace, &first).is_ok_and(|report| report.is_complete())
    });
    ping(&from.namespace, &Ping::new(to))
}

/// How a ping went, for a person.
pub(super) fn said(report: &PingReport) -> String {
    let time = report.rtt.map_or(String::new(), |rtt| {
        format!(", in {:.3} ms", rtt.median.as_secs_f64() * 1e3)
    });
    format!("{} of {} answered{time}", report.received, report.sent)
}

fn learned(stage: &Stage, container: &Container, finding: &mut Finding) -> Result<()> {
    let entries = stage.client.fdb(&Filter::default())?;
    let mac = container.endpoint.mac;
    let ports: Vec<String> = entries
        .iter()
        .filter(|entry| entry.mac == mac)
        .map(|entry| entry.port.to_string())
        .collect();
    finding.fact(
        "learned",
        format!("{mac} is behind port {}", ports.join(", ")),
    );
    finding.check(
        format!("the switch learned where {} is", container.name),
        ports == [container.endpoint.port.as_str()],
        || format!("{mac} is behind {ports:?}"),
    );
    Ok(())
}
