//! Queries as they come, well-formed and otherwise.

use super::*;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn query(name: &str, edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if let Some(payload) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

#[test]
fn what_is_not_one_query_is_rejected_by_name() {
    let good = bytes(&query("web.", None));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut two = query("web.", None);
    two.add_query(Query::query(Name::root(), RecordType::A));
    let mut later = query("web.", Some(1232));
    later.edns.as_mut().unwrap().set_version(1);
    for (what, bytes, refusal, code) in [
        ("empty", Vec::new(), Refusal::Malformed, None),
        ("cut header", good[..11].to_vec(), Refusal::Malformed, None),
        ("an answer", with(2, 0x80), Refusal::Malformed, None),
        (
            "a header",
            with(5, 0)[..12].to_vec(),
            Refusal::Malformed,
            Some(ResponseCode::FormErr),
        ),
        (
            "cut name",
            good[..14].to_vec(),
            Refusal::Malformed,
            Some(ResponseCode::FormErr),
        ),
        (
            "two questions",
            two.to_vec().unwrap(),
            Refusal::Malformed,
            Some(ResponseCode::FormErr),
        ),
        (
            "an answer's record",
            with(7, 1),
            Refusal::Malformed,
            Some(ResponseCode::FormErr),
        ),
        (
            "update",
            with(2, 5 << 3),
            Refusal::Opcode,
            Some(ResponseCode::NotImp),
        ),
        (
            "opcode 15",
            with(2, 15 << 3),
            Refusal::Opcode,
            Some(ResponseCode::NotImp),
        ),
        (
            "EDNS 1",
            bytes(&later),
            Refusal::EdnsVersion,
            Some(ResponseCode::BADSIG),
        ),
    ] {
        let rejected = Request::parse(&bytes).unwrap_err();
        assert_eq!(rejected.refusal, refusal, "{what}");
        let reply = rejected.reply.map(|reply| decode(&reply).unwrap());
        // The parser calls 16 BADSIG, whose number BADVERS has outside TSIG (RFC 6895 section 2.3).
        assert_eq!(
            reply.as_ref().map(|reply| reply.metadata.response_code),
            code,
            "{what}"
        );
        if let Some(reply) = reply {
            assert_eq!(reply.metadata.message_type, MessageType::Response, "{what}");
            assert_eq!(reply.metadata.id.to_be_bytes(), bytes[..2], "{what}");
            assert_eq!(
                reply.metadata.op_code,
                OpCode::from_u8(bytes[2] >> 3),
                "{what}"
            );
        }
    }
}

#[test]
fn an_answer_that_does_not_fit_is_cut_to_nothing() {
    let name = Name::from_ascii("web.").unwrap();
    let record = |n: u8| {
        Record::from_rdata(
            name.clone(),
            5,
            RData::from(std::net::IpAddr::from(Ipv4Addr::new(10, 0, 0, n))),
        )
    };
    // A header of 12 bytes, a question of 9, OPT of 11, records of 16.
    for (edns, transport, records, is_cut) in [
        (None, Transport::Udp, 30, false),
        (None, Transport::Udp, 31, true),
        (None, Transport::Tcp, 200, false),
        (Some(0), Transport::Udp, 30, false),
        (Some(0), Transport::Udp, 31, true),
        (Some(1000), Transport::Udp, 60, false),
        (Some(1000), Transport::Udp, 61, true),
        (Some(u16::MAX), Transport::Udp, 75, false),
        (Some(u16::MAX), Transport::Udp, 76, true),
    ] {
        let request = Request::parse(&bytes(&query("web.", edns))).unwrap();
        let mut answer = request.response(ResponseCode::NoError);
        answer.insert_answers((0..records).map(record).collect());
        let received = decode(&request.encode(&answer, transport)).unwrap();
        let what = format!("{edns:?} {transport:?} {records}");
        assert_eq!(received.metadata.truncation, is_cut, "{what}");
        let expected = if is_cut { 0 } else { usize::from(records) };
        assert_eq!(received.answers.len(), expected, "{what}");
        assert_eq!(received.queries, answer.queries, "{what}");
        assert_eq!(received.edns.is_some(), edns.is_some(), "{what}");
    }
}

#[test]
fn the_question_comes_back_as_it_was_spelled() {
    let request = Request::parse(&bytes(&query("WeB.BlUe.", None))).unwrap();
    let reply = request.encode(&request.response(ResponseCode::NoError), Transport::Udp);
    assert!(reply.windows(9).any(|bytes| bytes == b"\x03WeB\x04BlUe"));
}

#[test]
fn names_of_a_question_are_equal_in_any_case() {
    let question = |name: &str| {
        Request::parse(&bytes(&query(name, None)))
            .unwrap()
            .question()
    };
    assert_eq!(question("a.B."), question("A.b."));
    assert_ne!(question("a.b."), question("a.c."));
}

/// Whatever came, the answer is one, and is for whoever sent it.
fn parses_soundly(bytes: &[u8]) -> Result<(), TestCaseError> {
    let reply = match Request::parse(bytes) {
        Ok(request) => {
            let code = ResponseCode::NXDomain;
            Some(request.encode(&request.response(code), Transport::Udp))
        }
        Err(rejected) => rejected.reply,
    };
    if let Some(reply) = reply {
        prop_assert!(reply.len() <= usize::from(UDP_MAX));
        prop_assert_eq!(&reply[..2], &bytes[..2]);
        prop_assert_ne!(reply[2] & 0x80, 0);
    }
    Ok(())
}

proptest! {
    #[test]
    fn junk_is_harmless(bytes in vec(any::<u8>(), 0..600)) {
        parses_soundly(&bytes)?;
        decode(&bytes);
    }

    #[test]
    fn so_is_what_looks_like_a_query(
        id in any::<[u8; 2]>(), flags in any::<u8>(), ar in 0..4_u8, rest in vec(any::<u8>(), 0..300),
    ) {
        let header = [id[0], id[1], flags & 0x07, 0, 0, 1, 0, 0, 0, 0, 0, ar];
        parses_soundly(&[&header[..], &rest].concat())?;
    }

    #[test]
    fn so_is_a_query_with_bytes_changed(
        labels in vec(vec(any::<u8>(), 1..64), 0..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kind in any::<u16>(),
    ) {
        let mut message = query(".", Some(1232));
        message.queries[0].name = Name::from_labels(labels).unwrap();
        message.queries[0].query_type = RecordType::from(kind);
        message.queries[0].query_class = DNSClass::IN;
        let mut bytes = bytes(&message);
        prop_assert!(Request::parse(&bytes).is_ok());
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        parses_soundly(&bytes)?;
    }
}
