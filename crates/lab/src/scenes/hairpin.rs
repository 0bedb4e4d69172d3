//! A container calls the published port of another, by the host's address (RFC 4787 section 6).

use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::HOST;
use crate::scenes::published::to_sam;
use anyhow::Result;
use testbed::traffic::tcp_meet;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [ann, sam] = ["ann", "sam"].map(|name| stage.container(name));
    for host in HOST {
        let family = if host.is_ipv4() { "IPv4" } else { "IPv6" };
        let way = to_sam(sam, host);
        let meeting = tcp_meet(&sam.namespace, &ann.namespace, way)?;
        finding.fact(
            family,
            format!("ann calls {}, sam sees {}", way.to, meeting.seen),
        );
        finding.check(
            format!("sam takes ann for the host over {family} (RFC 4787 REQ-9)"),
            meeting.seen.ip() == host,
            || format!("sam sees {}, the host is {host}", meeting.seen),
        );
    }
    Ok(())
}
