//! Three containers of one network in two VLANs: two reach each other, the third is alone.

use crate::container::Container;
use crate::finding::Finding;
use crate::lab::Stage;
use crate::scenes::ping::said;
use anyhow::Result;
use api::{Filter, VlanId};
use std::time::Duration;
use testbed::traffic::{Ping, ping};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [cat, dan, eve] = ["cat", "dan", "eve"].map(|name| stage.container(name));
    let together = ping(&cat.namespace, &Ping::new(dan.v4.into()))?;
    finding.fact("VLAN 10", format!("cat to dan: {}", said(&together)));
    finding.check(
        "cat reaches dan, both in VLAN 10",
        together.is_complete(),
        || said(&together),
    );

    let before = alone(stage, eve)?;
    let question = Ping {
        count: 2,
        timeout: Duration::from_millis(400),
        ..Ping::new(dan.v4.into())
    };
    let apart = ping(&eve.namespace, &question)?;
    let dropped = alone(stage, eve)? - before;
    finding.fact("VLAN 20", format!("eve to dan: {}", said(&apart)));
    finding.fact(
        "drops",
        format!("{NOBODY}, {dropped} at port eve: her questions have nobody to go to"),
    );
    finding.check(
        "eve, in VLAN 20, does not reach dan",
        apart.received == 0,
        || said(&apart),
    );
    finding.check(
        format!("eve's broadcasts are dropped as {NOBODY}"),
        dropped > 0,
        || format!("the counter did not rise at port {}", eve.endpoint.port),
    );
    for container in [dan, eve] {
        placed(stage, container, finding)?;
    }
    Ok(())
}

/// Returns how many of the container's frames were for nobody.
fn alone(stage: &Stage, container: &Container) -> Result<u64> {
    let port = stage.client.port(&container.endpoint.port)?;
    Ok(port.counters.drops.get(NOBODY).copied().unwrap_or(0))
}

fn placed(stage: &Stage, container: &Container, finding: &mut Finding) -> Result<()> {
    let entries = stage.client.fdb(&Filter::default())?;
    let vlans: Vec<u16> = entries
        .iter()
        .filter(|entry| entry.mac == container.endpoint.mac)
        .map(|entry| VlanId::get(entry.vlan))
        .collect();
    let vlan = container.endpoint.vlan.get();
    finding.check(
        format!("{} was learned in VLAN {vlan} only", container.name),
        vlans == [vlan],
        || format!("learned in VLANs {vlans:?}"),
    );
    Ok(())
}

const NOBODY: &str = "no_receiver";
