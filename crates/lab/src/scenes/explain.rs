//! `explain`: a frame is led through the live tables without being sent.

use crate::finding::Finding;
use crate::lab::Stage;
use anyhow::Result;
use api::{ExplainRequest, Explanation, FrameSpec, LinkFields, TcpFields, TcpFlag, Verdict};

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let (ann, bob) = (stage.container("ann"), stage.container("bob"));
    let request = ExplainRequest {
        port: ann.name.clone(),
        frame: FrameSpec::Tcp(TcpFields {
            link: LinkFields {
                src_mac: Some(ann.endpoint.mac),
                dst_mac: Some(bob.endpoint.mac),
                vlan: None,
            },
            src_ip: ann.v4.into(),
            dst_ip: bob.v4.into(),
            src_port: 49152,
            dst_port: 443,
            flags: vec![TcpFlag::Syn],
            payload: 0,
        }),
    };
    let before = stage.client.port(&bob.name)?.counters;
    let explanation = stage.client.explain(&request)?;
    let after = stage.client.port(&bob.name)?.counters;
    finding.fact(
        "frame",
        format!("TCP SYN, {} to {}:443, from port ann", ann.v4, bob.v4),
    );
    told(&explanation, finding);
    let ports = ports(&explanation);
    finding.check(
        "a TCP SYN from ann would leave at bob and nowhere else",
        explanation.verdict == Verdict::Forwarded && ports == ["bob"],
        || format!("{:?} to {ports:?}", explanation.verdict),
    );
    finding.check(
        "explain sends nothing",
        before.tx_frames == after.tx_frames,
        || {
            format!(
                "bob was sent {} frames meanwhile",
                after.tx_frames - before.tx_frames
            )
        },
    );
    Ok(())
}

/// Every stage's decision, and what they come to.
pub(super) fn told(explanation: &Explanation, finding: &mut Finding) {
    for step in &explanation.steps {
        finding.fact(step.stage.label(), step.what.as_str());
    }
    let verdict = match explanation.verdict {
        Verdict::Forwarded => "forwarded",
        Verdict::Flooded => "flooded",
        Verdict::Routed => "routed",
        Verdict::Answered => "for the gateway",
        Verdict::Dropped => "dropped",
    };
    let ports = ports(explanation).join(", ");
    finding.fact("verdict", format!("{verdict} to {ports}"));
}

/// Where it would leave.
pub(super) fn ports(explanation: &Explanation) -> Vec<&str> {
    let outputs = explanation.outputs.iter();
    outputs.map(|output| output.port.as_str()).collect()
}
