//! An explanation as text.

use crate::output::{INFALLIBLE, by_stage};
use api::{DropInfo, Explanation, Leased, Name, Output, TagType, Verdict, VlanTag};
use std::fmt::Write;

/// The verdict, each stage's decisions, and where the frame would leave.
pub(super) fn explained(port: &Name, explanation: &Explanation) -> String {
    let mut text = told("frame", port, explanation);
    if let Some(reply) = &explanation.reply {
        text.push('\n');
        text.push_str(&told("the answer", &reply.port, &reply.explanation));
    }
    text
}

fn told(what: &str, port: &Name, explanation: &Explanation) -> String {
    let verdict = match (explanation.verdict, &explanation.drop) {
        (Verdict::Forwarded, _) => "forwarded".to_owned(),
        (Verdict::Flooded, _) => "flooded".to_owned(),
        (Verdict::Routed, _) => "routed".to_owned(),
        (Verdict::Answered, _) => "for the gateway".to_owned(),
        (Verdict::Dropped, None) => "dropped".to_owned(),
        (Verdict::Dropped, Some(drop)) => format!("dropped: {}", reason(drop)),
    };
    let mut text = format!("{what} from port {port}: {verdict}\n\n");
    text.push_str(&by_stage(&explanation.steps, "  "));
    if !explanation.outputs.is_empty() {
        text.push('\n');
    }
    for output in &explanation.outputs {
        writeln!(text, "  -> {}", leaving(output)).expect(INFALLIBLE);
    }
    if let Some(bytes) = &explanation.leaves_as {
        writeln!(text, "  as {bytes}").expect(INFALLIBLE);
    }
    if let Some(Leased { frames, bytes }) = explanation.leased {
        let carried = format!("{frames} frames, {bytes} bytes");
        writeln!(text, "  leased: the kernel carried {carried}").expect(INFALLIBLE);
    }
    text
}

fn leaving(output: &Output) -> String {
    let tags: Vec<String> = output.tags.iter().map(tag).collect();
    let tags = if tags.is_empty() {
        "untagged".to_owned()
    } else {
        tags.join(" ")
    };
    let mirror = if output.mirror {
        ", a mirror's copy"
    } else {
        ""
    };
    match &output.drop {
        None => format!("{}, {tags}{mirror}", output.port),
        Some(drop) => format!("{}, not sent{mirror}: {}", output.port, reason(drop)),
    }
}

fn tag(tag: &VlanTag) -> String {
    let kind = match tag.r#type {
        TagType::Customer => "vlan",
        TagType::Service => "service vlan",
    };
    match tag.priority {
        0 => format!("{kind} {}", tag.vid),
        priority => format!("{kind} {} priority {priority}", tag.vid),
    }
}

fn reason(drop: &DropInfo) -> String {
    format!("{} ({})", drop.label, drop.sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Step;

    #[test]
    fn a_flood_names_every_port() {
        let output = |port: &str, tags: Vec<VlanTag>, drop| Output {
            port: port.parse().unwrap(),
            tags,
            mirror: false,
            drop,
        };
        let isolated = DropInfo {
            code: 22,
            label: "isolated".into(),
            sentence: "Both ports are protected.".into(),
        };
        let step = |stage: &str, sentence: &str| Step {
            code: 0,
            stage: stage.into(),
            label: String::new(),
            fields: serde_json::Map::new(),
            sentence: sentence.into(),
        };
        let explanation = Explanation {
            leaves_as: None,
            reply: None,
            verdict: Verdict::Flooded,
            drop: None,
            steps: vec![
                step("parse", "ARP request"),
                step("admit", "access, VLAN 10"),
                step("admit", "not locked"),
            ],
            outputs: vec![
                output("b", Vec::new(), None),
                output(
                    "up",
                    vec![VlanTag {
                        r#type: TagType::Customer,
                        vid: 10,
                        priority: 0,
                    }],
                    None,
                ),
                output("c", Vec::new(), Some(isolated)),
            ],
            frame: String::new(),
            leased: Some(Leased {
                frames: 3,
                bytes: 180,
            }),
        };
        assert_eq!(
            explained(&"a".parse().unwrap(), &explanation),
            "frame from port a: flooded\n\
             \n\
             \x20 parse     ARP request\n\
             \x20 admit     access, VLAN 10\n\
             \x20           not locked\n\
             \n\
             \x20 -> b, untagged\n\
             \x20 -> up, vlan 10\n\
             \x20 -> c, not sent: isolated (Both ports are protected.)\n\
             \x20 leased: the kernel carried 3 frames, 180 bytes\n"
        );
    }

    #[test]
    fn a_drop_says_why() {
        let drop = DropInfo {
            code: 11,
            label: "spoofed_mac".into(),
            sentence: "Not its own.".into(),
        };
        let explanation = Explanation {
            leaves_as: None,
            reply: None,
            verdict: Verdict::Dropped,
            drop: Some(drop),
            steps: Vec::new(),
            outputs: Vec::new(),
            frame: String::new(),
            leased: None,
        };
        assert_eq!(
            explained(&"a".parse().unwrap(), &explanation),
            "frame from port a: dropped: spoofed_mac (Not its own.)\n\n"
        );
    }
}
