//! `explain` of a packet for the world: who lets it out, and what it leaves as.

use crate::finding::Finding;
use crate::lab::Stage;
use crate::outside::{NIC, WORLD};
use crate::scenes::explain::{ports, told};
use anyhow::Result;
use api::{ExplainRequest, Filter, FrameSpec, LinkFields, TcpFields, TcpFlag, Verdict};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let ann = stage.container("ann");
    let [world, _] = WORLD;
    let request = ExplainRequest {
        port: ann.name.clone(),
        frame: FrameSpec::Tcp(TcpFields {
            link: LinkFields::default(),
            src_ip: ann.v4.into(),
            dst_ip: world,
            src_port: PORT,
            dst_port: 443,
            flags: vec![TcpFlag::Syn],
            payload: 0,
        }),
    };
    let frame = format!("TCP SYN, {}:{PORT} to {world}:443, from port ann", ann.v4);
    finding.fact("frame", frame);
    let explanation = stage.client.explain(&request)?;
    told(&explanation, finding);
    finding.check(
        "a TCP SYN from ann to the world would leave by the uplink",
        explanation.verdict == Verdict::Routed && ports(&explanation) == [NIC],
        || format!("{:?} to {:?}", explanation.verdict, ports(&explanation)),
    );
    let filter = Filter::new(format!("port {PORT}"));
    let followed = stage.client.nat(&filter)?.len();
    finding.check("explain begins no connection", followed == 0, || {
        format!("{followed} connections with port {PORT}")
    });
    Ok(())
}

/// One that the kernel gives nobody here.
const PORT: u16 = 22_222;
