//! The way to the world, hop by hop. The world's answer quotes the datagram as it left the host,
//! so that it reaches ann at all shows that the quotation is translated back (RFC 5508 section 4).

use crate::container::LAB;
use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::WORLD;
use anyhow::Result;
use testbed::traffic::{Hop, trace};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let ann = stage.container("ann");
    for (gateway, world) in LAB.gateways().into_iter().zip(WORLD) {
        let family = if world.is_ipv4() { "IPv4" } else { "IPv6" };
        let hops = trace(&ann.namespace, world, FARTHEST)?;
        for (number, hop) in (1..).zip(&hops) {
            finding.fact(family, format!("hop {number}: {}", told(*hop)));
        }
        finding.check(
            format!("the gateway is the one router before the world over {family}"),
            hops == [Hop::Router(gateway), Hop::End(world)],
            || format!("{hops:?}"),
        );
    }
    Ok(())
}

fn told(hop: Hop) -> String {
    match hop {
        Hop::Router(ip) => format!("{ip}, where the TTL ends"),
        Hop::End(ip) => format!("{ip}, which has nobody at that port"),
        Hop::Silent => "nobody answers".to_owned(),
    }
}

const FARTHEST: u8 = 4;
