//! Everything is taken down the way an operator would, and looked for afterwards.

use crate::container::{LAB, SHOP};
use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::NIC;
use anyhow::{Context, Result};
use api::Detach;
use nix::net::if_::{if_nameindex, if_nametoindex};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    for publication in stage.client.publications()? {
        stage.client.unpublish(&publication.id)?;
    }
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
    for uplink in stage.client.uplinks()? {
        stage.client.uplink_remove(&uplink.name)?;
    }
    for home in [LAB, SHOP] {
        stage.client.network_remove(&home.name.parse()?)?;
    }
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
    let remains = remains(stage)?;
    finding.check(
        "the host has what it had before",
        remains.is_empty(),
        || format!("still there: {}", remains.join(", ")),
    );
    Ok(())
}

/// Returns what of the daemon is in the host's namespace.
fn remains(stage: &Stage) -> Result<Vec<String>> {
    stage.host.run(|| {
        let names = if_nameindex()?;
        let names = names
            .iter()
            .map(|at| at.name().to_string_lossy().into_owned());
        let mut remains: Vec<String> = names.filter(|name| name != "lo" && name != NIC).collect();
        let reserved = std::fs::read_to_string(RESERVED)?;
        if !reserved.trim().is_empty() {
            remains.push(format!("reserved ports {}", reserved.trim()));
        }
        Ok(remains)
    })
}

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
