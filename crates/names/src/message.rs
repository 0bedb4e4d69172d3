//! Bytes of a client into one question, and an answer into bytes that the client can take.
//!
//! The counts in the header are looked at before anything is parsed: a query has one question and
//! nothing else but EDNS and perhaps a signature, so 64 KiB of compressed names are never walked
//! for a client. The parser is foreign code that reads foreign bytes: if it panics on some, those
//! were malformed, and the network's resolver lives on.
//!
//! Pure.

use crate::Refusal;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use std::panic::catch_unwind;

/// The longest query that is read, in bytes: far more than any honest one has.
pub(crate) const QUERY_MAX: usize = 4096;
/// The UDP payload that is announced and never exceeded: an answer of this size is not fragmented
/// on a path of IPv6's least MTU (1280 - 40 - 8).
pub(crate) const UDP_MAX: u16 = 1232;
/// The UDP payload of a client that announces none (RFC 1035 section 4.2.1).
const UDP_MIN: u16 = 512;
/// A message's header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// How a query came, and its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Everything that an answer from outside depends on: the cache's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Name, type and class; names are equal in any case of letters.
    pub(crate) query: Query,
    /// DO: DNSSEC's records are wanted (RFC 3225).
    pub(crate) dnssec_ok: bool,
    /// CD: unverified data is wanted (RFC 4035 section 3.2.2).
    pub(crate) checking_disabled: bool,
}

/// A well-formed query of one question.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) metadata: Metadata,
    pub(crate) query: Query,
    pub(crate) edns: Option<Edns>,
}

/// A message that is no such query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) refusal: Refusal,
    /// The reply to the client; `None` where it would answer an answer.
    pub(crate) reply: Option<Vec<u8>>,
}

impl Request {
    /// The query in these bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Rejected> {
        let header = Header::read(bytes)?;
        if header.opcode != 0 {
            return Err(header.reject(Refusal::Opcode));
        }
        if !header.is_query() {
            return Err(header.reject(Refusal::Malformed));
        }
        let mut message = decode(bytes).ok_or_else(|| header.reject(Refusal::Malformed))?;
        let Some(query) = message.queries.pop() else {
            return Err(header.reject(Refusal::Malformed));
        };
        let request = Self {
            metadata: message.metadata,
            query,
            edns: message.edns,
        };
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Err(Rejected {
                refusal: Refusal::EdnsVersion,
                reply: Some(request.encode(&request.refused(Refusal::EdnsVersion), Transport::Udp)),
            });
        }
        Ok(request)
    }

    /// Returns what to ask others.
    pub(crate) fn question(&self) -> Question {
        Question {
            query: self.query.clone(),
            dnssec_ok: self.dnssec_ok(),
            checking_disabled: self.metadata.checking_disabled,
        }
    }

    /// Returns whether the client wants DNSSEC's records.
    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns
            .as_ref()
            .is_some_and(|edns| edns.flags().dnssec_ok)
    }

    /// An answer without records: its header, the question as it was asked, and EDNS for a client
    /// that speaks it (RFC 6891 section 7).
    pub(crate) fn response(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_MAX)
                .set_dnssec_ok(self.dnssec_ok());
            message.set_edns(edns);
        }
        message
    }

    /// The answer to what is refused.
    pub(crate) fn refused(&self, refusal: Refusal) -> Message {
        self.response(refusal.code())
    }

    /// The answer's bytes. What is longer than the client takes is cut to nothing with TC set: the
    /// rest of a set of records is worth nothing to it (RFC 2181 section 9), and it asks by TCP.
    pub(crate) fn encode(&self, answer: &Message, transport: Transport) -> Vec<u8> {
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => match &self.edns {
                Some(edns) => edns.max_payload().clamp(UDP_MIN, UDP_MAX),
                None => UDP_MIN,
            },
        };
        let fits = |bytes: &Vec<u8>| bytes.len() <= usize::from(limit);
        let whole = answer.to_vec().ok().filter(fits);
        let cut = || answer.truncate().to_vec().ok().filter(fits);
        whole
            .or_else(cut)
            .unwrap_or_else(|| header_only(self.metadata.id, OpCode::Query, ResponseCode::ServFail))
    }
}

/// A message, if these bytes are one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Message> {
    catch_unwind(|| Message::from_vec(bytes)).ok()?.ok()
}

/// The header, which is looked at before the rest is (RFC 1035 section 4.1.1).
struct Header {
    id: u16,
    opcode: u8,
    counts: [u16; 4],
}

impl Header {
    /// The header of what is not itself an answer: answering those would never end.
    fn read(bytes: &[u8]) -> Result<Self, Rejected> {
        let silent = Rejected {
            refusal: Refusal::Malformed,
            reply: None,
        };
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(silent);
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if header[2] & 0x80 != 0 {
            return Err(silent); // QR
        }
        Ok(Self {
            id: word(0),
            opcode: header[2] >> 3 & 0xf,
            counts: [word(4), word(6), word(8), word(10)],
        })
    }

    /// Returns whether the counts are a query's: one question, no records but OPT and TSIG.
    const fn is_query(&self) -> bool {
        matches!(self.counts, [1, 0, 0, 0..=2])
    }

    fn reject(&self, refusal: Refusal) -> Rejected {
        let reply = header_only(self.id, OpCode::from_u8(self.opcode), refusal.code());
        Rejected {
            refusal,
            reply: Some(reply),
        }
    }
}

/// An answer that is a header and nothing else.
fn header_only(id: u16, opcode: OpCode, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Response, opcode);
    message.metadata.response_code = code;
    message.to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests;
