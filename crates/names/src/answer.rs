//! Decides about one query: answer it from the table, refuse it, or ask outside.
//!
//! A name of ours is answered for every type, with no records where it has none: AAAA of a
//! container that has IPv4 alone is "no such record", never "no such name", after which resolvers
//! give up on the name altogether. No SOA goes with it, so nobody remembers the absence
//! (RFC 2308 section 5).
//!
//! From an internal network nothing is asked outside, since a question is a message: whoever runs
//! the name servers of a domain reads whatever is asked below it. A single label is then no such
//! name, and anything else is refused.
//!
//! Pure.

use crate::message::{Question, Request};
use crate::{Found, HostName, Reach, Refusal, View};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use std::net::IpAddr;

/// The TTL of every answer of ours, in seconds. An address that a container gave up may be
/// another's soon, and a client that remembers it longer talks to the wrong one.
pub const TTL: u32 = 5;
/// Addresses in one answer at most: as many of IPv6 as surely fit a message of TCP.
const ADDRESSES_MAX: usize = 1024;

/// The decision about a query.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Send this.
    Answer(Message),
    /// Say no, for this reason.
    Refuse(Refusal),
    /// Ask outside.
    Forward(Question),
}

/// Decides about `request`. With each `turn` another one of several addresses comes first.
pub(crate) fn decide(view: &View<'_>, request: &Request, turn: usize) -> Verdict {
    if let Some(refusal) = unserved(request) {
        return Verdict::Refuse(refusal);
    }
    let name = HostName::asked(&request.query.name);
    match name.as_ref().map(|name| view.addresses(name)) {
        Some(Found::Ours(addresses)) => found(request, records(request, addresses, turn)),
        Some(Found::Absent) => absent(request),
        Some(Found::NotOurs) | None => {
            match address_asked(request).map(|asked| view.pointer(asked)) {
                Some(Found::Ours(name)) => found(request, pointer(request, name)),
                Some(Found::Absent) => absent(request),
                Some(Found::NotOurs) | None => elsewhere(view, request),
            }
        }
    }
}

/// Returns why a query is not served whatever its name is.
fn unserved(request: &Request) -> Option<Refusal> {
    if request.query.query_class != DNSClass::IN {
        return Some(Refusal::Class);
    }
    match u16::from(request.query.query_type) {
        255 => Some(Refusal::AnyType),
        // OPT, and the range of meta-types (RFC 6895 section 3.1).
        41 | 128..=254 => Some(Refusal::MetaType),
        _ => None,
    }
}

/// Returns what is not ours.
fn elsewhere(view: &View<'_>, request: &Request) -> Verdict {
    let single_label = request.query.name.iter().count() == 1;
    match view.reach() {
        Reach::Internal if single_label => absent(request),
        Reach::Internal => Verdict::Refuse(Refusal::InternalNetwork),
        Reach::Outside if !request.metadata.recursion_desired => {
            Verdict::Refuse(Refusal::NoRecursion)
        }
        Reach::Outside => Verdict::Forward(request.question()),
    }
}

/// The records of one family, if that is what was asked for, the `turn`th first.
fn records(request: &Request, addresses: &[IpAddr], turn: usize) -> Vec<Record> {
    let asked = request.query.query_type;
    let wanted = |address: &&IpAddr| match address {
        IpAddr::V4(_) => asked == RecordType::A,
        IpAddr::V6(_) => asked == RecordType::AAAA,
    };
    let all: Vec<_> = addresses.iter().filter(wanted).collect();
    let first = turn.checked_rem(all.len()).unwrap_or(0);
    let turned = all[first..].iter().chain(&all[..first]);
    let data = turned
        .take(ADDRESSES_MAX)
        .map(|address| RData::from(**address));
    data.map(|data| record(request, data)).collect()
}

/// The one address that a name below in-addr.arpa or ip6.arpa spells (RFC 1035 section 3.5,
/// RFC 3596 section 2.5).
fn address_asked(request: &Request) -> Option<IpAddr> {
    let range = request.query.name.parse_arpa_name().ok()?;
    (range.prefix_len() == range.max_prefix_len()).then(|| range.addr())
}

/// The record of a reverse name, if that is what was asked for.
fn pointer(request: &Request, name: &HostName) -> Vec<Record> {
    let asked = request.query.query_type == RecordType::PTR;
    let name = name.to_name().filter(|_| asked);
    let data = name.map(|name| RData::PTR(PTR(name)));
    data.map(|data| record(request, data)).into_iter().collect()
}

/// A record of the name that was asked for, spelled as it was.
fn record(request: &Request, data: RData) -> Record {
    Record::from_rdata(request.query.name.clone(), TTL, data)
}

fn found(request: &Request, records: Vec<Record>) -> Verdict {
    let mut answer = authoritative(request, ResponseCode::NoError);
    answer.insert_answers(records);
    Verdict::Answer(answer)
}

fn absent(request: &Request) -> Verdict {
    Verdict::Answer(authoritative(request, ResponseCode::NXDomain))
}

fn authoritative(request: &Request, code: ResponseCode) -> Message {
    let mut answer = request.response(code);
    answer.metadata.authoritative = true;
    answer
}

#[cfg(test)]
mod tests;
