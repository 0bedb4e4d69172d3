//! Everything is taken down the way an operator would, and looked for afterwards.

use crate::container::NETWORK;
use crate::finding::Finding;
use crate::lab::Stage;
use anyhow::{Context, Result};
use api::Detach;
use nix::net::if_::if_nametoindex;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    for container in stage.containers() {
        stage
            .client
            .detach(&Detach::Endpoint(container.endpoint.id.clone()))?;
    }
    let left: Vec<&str> = stage
        .containers()
        .iter()
        .filter(|container| {
            let ifname = container.endpoint.ifname.as_str();
            container.namespace.run(|| if_nametoindex(ifname).is_ok())
        })
        .map(|container| container.name.as_str())
        .collect();
    finding.check("detach removes every interface", left.is_empty(), || {
        format!("still there: {}", left.join(", "))
    });
    stage.client.network_remove(&NETWORK.parse()?)?;
    let ports = stage.client.ports()?.len();
    let networks = stage.client.networks()?.len();
    finding.check("the switch is empty", ports + networks == 0, || {
        format!("{networks} networks and {ports} ports are left")
    });
    let stopped = stage
        .slot
        .take()
        .context("the daemon is gone already")?
        .stop();
    finding.check("the daemon stops when told", stopped.is_ok(), || {
        stopped.map_or_else(|error| format!("{error:#}"), |()| String::new())
    });
    Ok(())
}
