//! The gateway knows the containers of its network by their names (RFC 1035).

use crate::container::LAB;
use crate::finding::Finding;
use crate::lab::Stage;
use anyhow::{Context, Result, ensure};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;
use testbed::Namespace;

pub(crate) fn run(stage: &Stage, finding: &mut Finding) -> Result<()> {
    let [ann, bob] = ["ann", "bob"].map(|name| stage.container(name));
    let [gateway, _] = LAB.gateways();
    let [v4, v6] = bob.ips();
    let known = Name::from_ascii("bob.")?;
    let first = ask(&ann.namespace, gateway, known.clone(), RecordType::A);
    if let (Err(error), true) = (first, stage.rootless) {
        let why = format!("nobody to ask for names without root here: {error:#}");
        finding.skipped.push(why);
        return Ok(());
    }
    let reverse = Name::from(v4);
    for (name, kind, expected) in [
        (known, RecordType::A, v4.to_string()),
        (
            Name::from_ascii("bob.lab.")?,
            RecordType::AAAA,
            v6.to_string(),
        ),
        (reverse, RecordType::PTR, "bob".to_owned()),
    ] {
        let answer = ask(&ann.namespace, gateway, name.clone(), kind)?;
        finding.fact(kind.to_string(), format!("{name} is {}", answer.join(", ")));
        finding.check(
            format!("{name} {kind} is {expected}, says {gateway}"),
            is_told(&answer, &expected),
            || format!("told {answer:?}"),
        );
    }
    Ok(())
}

/// A reverse answer gives the whole name: `bob.lab.`.
fn is_told(answer: &[String], expected: &str) -> bool {
    let [only] = answer else { return false };
    only == expected || only.split('.').next() == Some(expected)
}

/// Returns what the server at `server` says, in words.
fn ask(from: &Namespace, server: IpAddr, name: Name, kind: RecordType) -> Result<Vec<String>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, kind));
    let socket = from.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.connect(SocketAddr::new(server, 53))?;
    socket.send(&question.to_vec()?)?;
    let mut bytes = [0; 512];
    let length = socket
        .recv(&mut bytes)
        .with_context(|| format!("{server} does not answer"))?;
    let answer = Message::from_vec(&bytes[..length])?;
    ensure!(
        answer.metadata.id == question.metadata.id,
        "another's answer"
    );
    Ok(answer
        .answers
        .iter()
        .map(|record| word(&record.data))
        .collect())
}

fn word(data: &RData) -> String {
    data.to_string()
}
