//! A container lies about who it is, in three ways, and each lie is dropped under its own name.

use crate::finding::Finding;
use crate::lab::Stage;
use crate::scenes::ping::said;
use crate::{frames, sys};
use anyhow::{Context, Result};
use api::Filter;
use nix::net::if_::if_nametoindex;
use std::time::Duration;
use testbed::traffic::{Ping, ping};
use testbed::wait_until;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [ann, bob, mal] = ["ann", "bob", "mal"].map(|name| stage.container(name));
    let [ann_mac, bob_mac, mal_mac] = [ann, bob, mal].map(|container| container.endpoint.mac.0);
    let victim = (bob_mac, bob.v4);
    let lies = [
        (
            "spoofed_mac",
            "ann's MAC",
            frames::datagram((ann_mac, mal.v4), victim),
        ),
        (
            "spoofed_ip",
            "ann's IP address",
            frames::datagram((mal_mac, ann.v4), victim),
        ),
        (
            "spoofed_arp",
            "an ARP reply for ann",
            frames::arp_claim(mal_mac, ann.v4),
        ),
    ];
    for (reason, lie, frame) in lies {
        let before = dropped(stage, reason)?;
        let ifname = mal.endpoint.ifname.as_str();
        mal.namespace
            .run(|| -> std::io::Result<()> {
                let index = if_nametoindex(ifname)?;
                (0..FRAMES).try_for_each(|_| sys::send_frame(index, &frame))
            })
            .context("mal cannot send frames of its own making")?;
        let counted = || dropped(stage, reason).map_or(0, |now| now - before);
        let all = wait_until(reason, Duration::from_secs(3), || counted() >= FRAMES);
        finding.fact(
            reason,
            format!("{} of {FRAMES} frames with {lie}", counted()),
        );
        finding.check(
            format!("{lie}, from mal, is dropped as {reason}"),
            all.is_ok(),
            || format!("{} of {FRAMES} frames were counted", counted()),
        );
    }
    unharmed(stage, finding)
}

/// The lies had no effect: ann is where she was.
fn unharmed(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [ann, bob] = ["ann", "bob"].map(|name| stage.container(name));
    let entries = stage.client.fdb(&Filter::default())?;
    let stays = entries
        .iter()
        .filter(|entry| entry.mac == ann.endpoint.mac)
        .all(|entry| entry.port == ann.endpoint.port);
    finding.check("ann's MAC stays where it was learned", stays, || {
        "the table was poisoned".into()
    });
    let report = ping(&bob.namespace, &Ping::new(ann.v4.into()))?;
    finding.check("bob still reaches ann", report.is_complete(), || {
        said(&report)
    });
    Ok(())
}

/// Returns how many of mal's frames were dropped for `reason`.
fn dropped(stage: &Stage, reason: &str) -> Result<u64> {
    let port = stage.client.port(&stage.container("mal").endpoint.port)?;
    Ok(port.counters.drops.get(reason).copied().unwrap_or(0))
}

/// Lies of each kind.
const FRAMES: u64 = 5;
