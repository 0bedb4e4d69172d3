//! The host gets a NIC with the world behind it, and Clearway is told to share it.
//!
//! What the daemon then does to "the host" (traffic control, reserved ports, a TAP) happens in its
//! own namespace. Without root the kernel may withhold some of it; then there is no NAT to show.

use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::{NIC, Outside, WORLD};
use crate::scenes::ping::{patient, said};
use anyhow::{Context, Result, bail};
use api::{UplinkAdd, UplinkState};
use std::time::Duration;
use testbed::wait_until;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let outside = match share_a_nic(stage) {
        Ok(outside) => outside,
        Err(error) if stage.rootless => {
            let why = format!("no way to the world, and so no NAT, without root here: {error:#}");
            finding.skipped.push(why);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let uplinks = stage.client.uplinks()?;
    let uplink = uplinks.first().context("the daemon knows no uplink")?;
    let addresses: Vec<String> = uplink.addresses.iter().map(ToString::to_string).collect();
    finding.fact("uplink", format!("{NIC}, {}", addresses.join(", ")));
    finding.fact(
        "mappings",
        format!("made of the host's ports {}", uplink.ports),
    );
    let ann = stage.container("ann");
    for world in WORLD {
        let report = patient(ann, world)?;
        finding.fact("world", format!("ann to {world}: {}", said(&report)));
        finding.check(
            format!("ann reaches the world at {world}"),
            report.is_complete(),
            || said(&report),
        );
    }
    stage.lies_behind(outside);
    Ok(())
}

fn share_a_nic(stage: &Stage) -> Result<Outside> {
    let outside = Outside::connect(&stage.host)?;
    stage
        .client
        .uplink_add(&UplinkAdd::new(NIC))
        .context("the NIC cannot be an uplink")?;
    let is_up = || {
        let uplinks = stage.client.uplinks().unwrap_or_default();
        uplinks.iter().any(|uplink| uplink.state == UplinkState::Up)
    };
    if wait_until("the uplink", Duration::from_secs(5), is_up).is_err() {
        let uplinks = stage.client.uplinks()?;
        let why = uplinks.into_iter().find_map(|uplink| uplink.why);
        bail!("the uplink is down: {}", why.unwrap_or_default());
    }
    Ok(outside)
}
