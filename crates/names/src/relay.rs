//! Answers from outside: which of them answers a question of ours, what a client is told of it,
//! and how long it may be remembered.
//!
//! An answer is remembered for its own question only; nothing in its other sections is ever an
//! answer to another question, so a domain cannot speak for its neighbours.
//!
//! Pure.

use crate::Settings;
use crate::message::{Question, Request, UDP_MAX};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RData;
use std::time::Duration;

/// Whether a question goes out with EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// With it.
    Edns,
    /// As in 1987: some paths lose, and some servers refuse, what has it (RFC 6891 section 7).
    Plain,
}

/// The question as it goes to a resolver, under a random id. Nothing of the client's own message
/// is in it but the question and the bits DO and CD.
pub(crate) fn outgoing(question: &Question, style: Style) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true; // RFC 6840 section 5.7: say whether it is
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(question.query.clone());
    if style == Style::Edns || question.dnssec_ok {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX)
            .set_dnssec_ok(question.dnssec_ok);
        message.set_edns(edns);
    }
    message
}

/// Returns whether `received` answers `sent` (RFC 5452 section 9.1; the kernel has compared addresses and
/// ports). A server that fails may leave the question out.
pub(crate) fn answers(sent: &Message, received: &Message) -> bool {
    let same = match (sent.queries.as_slice(), received.queries.as_slice()) {
        ([sent], [received]) => is_same(sent, received),
        (_, []) => !is_final(received.metadata.response_code),
        _ => false,
    };
    received.metadata.message_type == MessageType::Response
        && received.metadata.op_code == OpCode::Query
        && received.metadata.id == sent.metadata.id
        && same
}

/// Returns whether an answer with this code settles the question; after any other the next server is asked.
pub(crate) fn is_final(code: ResponseCode) -> bool {
    // YXDOMAIN: a DNAME made the name too long (RFC 6672 section 2.2).
    matches!(
        code,
        ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain
    )
}

/// Returns what the client is told: the answer as it came, `age` seconds older.
pub(crate) fn relay(
    request: &Request,
    mut upstream: Message,
    age: u32,
    settings: &Settings,
) -> Message {
    let mut answer = request.response(upstream.metadata.response_code);
    let wants_proof = request.dnssec_ok() || request.metadata.authentic_data;
    answer.metadata.authentic_data = upstream.metadata.authentic_data && wants_proof;
    answer.metadata.truncation = upstream.metadata.truncation;
    let max = seconds(settings.max_ttl);
    let sections = [
        &mut upstream.answers,
        &mut upstream.authorities,
        &mut upstream.additionals,
    ];
    for record in sections.into_iter().flatten() {
        record.ttl = ttl(record.ttl).min(max).saturating_sub(age);
    }
    answer.insert_answers(upstream.answers);
    answer.insert_authorities(upstream.authorities);
    answer.insert_additionals(upstream.additionals);
    answer
}

/// Returns how long an answer may be remembered; zero for one that may not.
pub(crate) fn lifetime(question: &Question, answer: &Message, settings: &Settings) -> Duration {
    let wanted = question.query.query_type;
    let has_answer = answer
        .answers
        .iter()
        .any(|record| record.record_type() == wanted);
    let shortest = answer.answers.iter().map(|record| ttl(record.ttl)).min();
    let shortest = shortest.map(|ttl| Duration::from_secs(ttl.into()));
    let positive = shortest.unwrap_or(settings.max_ttl).min(settings.max_ttl);
    let code = answer.metadata.response_code;
    if answer.metadata.truncation || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
    {
        Duration::ZERO
    } else if has_answer && code == ResponseCode::NoError {
        positive
    } else {
        let negative = negative_lifetime(answer).min(settings.max_negative_ttl);
        positive.min(negative)
    }
}

/// Returns how long an absence may be remembered, says the zone (RFC 2308 section 5): without its SOA, not
/// at all.
fn negative_lifetime(answer: &Message) -> Duration {
    let soa = answer.authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else {
            return None;
        };
        Some(ttl(record.ttl).min(ttl(soa.minimum)))
    });
    Duration::from_secs(soa.unwrap_or(0).into())
}

/// A TTL as received: one with its top bit set means zero (RFC 2181 section 8).
const fn ttl(received: u32) -> u32 {
    if received > i32::MAX as u32 {
        0
    } else {
        received
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn is_same(sent: &Query, received: &Query) -> bool {
    sent.name == received.name
        && sent.query_type == received.query_type
        && sent.query_class == received.query_class
}

#[cfg(test)]
mod tests;
