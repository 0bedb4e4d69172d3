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
    let explanation = stage.client.explain(&request)?;
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
    let quiet = sends_nothing(stage, &request)?;
    finding.check("explain sends nothing", quiet, || {
        format!("bob was sent frames each of {TRIES} times")
    });
    Ok(())
}

/// Returns whether bob's counter stands still while a frame for him is explained. The others' kernels say
/// something to everybody now and then, so it may take more than one look.
fn sends_nothing(stage: &Stage, request: &ExplainRequest) -> Result<bool> {
    let bob = &stage.container("bob").name;
    let sent = || -> Result<u64> { Ok(stage.client.port(bob)?.counters.tx_frames) };
    for _ in 0..TRIES {
        let before = sent()?;
        stage.client.explain(request)?;
        if sent()? == before {
            return Ok(true);
        }
    }
    Ok(false)
}

const TRIES: usize = 5;

/// Every stage's decision, and what they come to.
pub(super) fn told(explanation: &Explanation, finding: &mut Finding) {
    for step in &explanation.steps {
        finding.fact(&step.stage, step.sentence.as_str());
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

/// Returns where it would leave.
pub(super) fn ports(explanation: &Explanation) -> Vec<&str> {
    let outputs = explanation.outputs.iter();
    outputs.map(|output| output.port.as_str()).collect()
}
