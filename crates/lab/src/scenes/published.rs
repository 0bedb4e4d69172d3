//! The world calls a published port, and the container sees who called.

use crate::container::Container;
use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::{HOST, SERVED, WORLD, published};
use anyhow::Result;
use std::net::{IpAddr, SocketAddr};
use testbed::traffic::{Way, tcp_meet};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let outside = stage.outside()?;
    let sam = stage.container("sam");
    for publication in stage.client.publications()? {
        let spec = &publication.spec;
        let (from, to) = (spec.outside(), spec.to);
        finding.fact(
            "published",
            format!("{from} of the host is sam's port {to}"),
        );
    }
    for (index, world) in WORLD.into_iter().enumerate() {
        let family = if world.is_ipv4() { "IPv4" } else { "IPv6" };
        let way = to_sam(sam, HOST[index]);
        let meeting = tcp_meet(&sam.namespace, &outside.world, way)?;
        finding.fact(family, format!("{} calls {}", meeting.client, way.to));
        finding.fact(family, format!("sam sees {}", meeting.seen));
        finding.check(
            format!("sam sees the caller's own address over {family}"),
            meeting.seen == meeting.client,
            || format!("{} became {}", meeting.client, meeting.seen),
        );
    }
    Ok(())
}

/// The way to sam by the host's published port.
pub(super) fn to_sam(sam: &Container, host: IpAddr) -> Way {
    let [v4, v6] = sam.ips();
    let own = if host.is_ipv4() { v4 } else { v6 };
    Way {
        listen: SocketAddr::new(own, SERVED),
        to: published(host),
    }
}
