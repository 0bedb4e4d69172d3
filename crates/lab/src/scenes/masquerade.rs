//! A container calls the world, which takes it for the host.

use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::{HOST, WORLD};
use anyhow::Result;
use api::{Filter, NatEntry};
use testbed::traffic::{Meeting, tcp_meet};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let outside = stage.outside()?;
    let ann = stage.container("ann");
    for (world, host) in WORLD.into_iter().zip(HOST) {
        let family = if world.is_ipv4() { "IPv4" } else { "IPv6" };
        let meeting = tcp_meet(&outside.world, &ann.namespace, world.into())?;
        finding.fact(family, format!("ann calls from {}", meeting.client));
        finding.fact(family, format!("the world sees {}", meeting.seen));
        finding.check(
            format!("the world takes ann for the host over {family}"),
            meeting.seen.ip() == host,
            || format!("it sees {}, the host is {host}", meeting.seen),
        );
        let entries = stage.client.nat(&Filter::default())?;
        let entry = entries.iter().find(|entry| is_about(entry, &meeting));
        if let Some(entry) = entry {
            finding.fact("nat ls", line(entry));
        }
        finding.check(
            format!("`nat ls` shows the connection over {family}"),
            entry.is_some(),
            || format!("{} other connections", entries.len()),
        );
    }
    Ok(())
}

fn is_about(entry: &NatEntry, meeting: &Meeting) -> bool {
    (entry.original.src, entry.translated.src) == (meeting.client, meeting.seen)
}

fn line(entry: &NatEntry) -> String {
    format!(
        "{} {}, {} packets out, {} back",
        entry.protocol, entry.state, entry.sent.packets, entry.received.packets
    )
}
