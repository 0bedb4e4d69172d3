//! Two networks: neither reaches the other, and the frames that try are dropped under a name.

use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::SERVED;
use anyhow::Result;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use testbed::wait_until;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [ann, sam] = ["ann", "sam"].map(|name| stage.container(name));
    for own in sam.ips() {
        let family = if own.is_ipv4() { "IPv4" } else { "IPv6" };
        let to = SocketAddr::new(own, SERVED);
        // Somebody listens there, so silence is the switch's.
        let _listener = sam.namespace.run(|| TcpListener::bind(to))?;
        let before = dropped(stage)?;
        let tried = ann
            .namespace
            .run(|| TcpStream::connect_timeout(&to, Duration::from_millis(300)));
        let counted = || dropped(stage).map_or(0, |now| now - before);
        let rose = wait_until(ISOLATED, Duration::from_secs(3), || counted() > 0);
        finding.fact(
            family,
            format!("ann calls sam at {to}: {} frames dropped", counted()),
        );
        finding.check(
            format!("ann, on lab, does not reach sam, on shop, over {family}"),
            matches!(&tried, Err(error) if error.kind() == ErrorKind::TimedOut),
            || match &tried {
                Ok(_) => "she is connected".to_owned(),
                Err(error) => format!("somebody answered: {error}"),
            },
        );
        finding.check(
            format!("her frames over {family} are dropped as {ISOLATED}"),
            rose.is_ok(),
            || "the counter did not rise".into(),
        );
    }
    let drops = stage.client.drops()?;
    let row = drops.reasons.iter().find(|row| row.label == ISOLATED);
    if let Some(row) = row {
        finding.fact("drops", format!("{ISOLATED}: {}", row.sentence));
    }
    Ok(())
}

fn dropped(stage: &Stage) -> Result<u64> {
    Ok(stage.client.drops()?.count(ISOLATED))
}

const ISOLATED: &str = "network_isolated";
