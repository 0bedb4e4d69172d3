//! Tests of who answers, and for how long.

use super::*;
use crate::message::{Transport, decode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question() -> Question {
    Question {
        query: Query::query(name("www.example."), RecordType::A),
        dnssec_ok: false,
        checking_disabled: false,
    }
}

fn answer_to(sent: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::error_msg(sent.metadata.id, OpCode::Query, code);
    answer.add_queries(sent.queries.clone());
    answer
}

fn address(ttl: u32) -> Record {
    Record::from_rdata(
        name("www.example."),
        ttl,
        RData::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
    )
}

fn alias(ttl: u32) -> Record {
    Record::from_rdata(
        name("www.example."),
        ttl,
        RData::CNAME(CNAME(name("a.example."))),
    )
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(
        name("ns.example."),
        name("me.example."),
        1,
        2,
        3,
        4,
        minimum,
    );
    Record::from_rdata(name("example."), ttl, RData::SOA(soa))
}

#[test]
fn only_the_answer_to_the_question_is_one() {
    let sent = outgoing(&question(), Style::Edns);
    let good = answer_to(&sent, ResponseCode::NoError);
    assert!(answers(&sent, &good));
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut answer = good.clone();
        change(&mut answer);
        answers(&sent, &answer)
    };
    assert!(changed(
        &|answer| answer.queries[0].name = name("WWW.example.")
    ));
    assert!(!changed(&|answer| answer.metadata.id ^= 1), "id");
    assert!(
        !changed(&|answer| answer.metadata.message_type = MessageType::Query),
        "QR"
    );
    assert!(
        !changed(&|answer| answer.metadata.op_code = OpCode::Notify),
        "opcode"
    );
    assert!(
        !changed(&|answer| answer.queries[0].name = name("ww.example.")),
        "name"
    );
    assert!(
        !changed(&|answer| answer.queries[0].query_type = RecordType::AAAA),
        "type"
    );
    assert!(!changed(&|answer| answer.queries.clear()), "no question");
    assert!(
        !changed(&|answer| answer.queries.push(sent.queries[0].clone())),
        "two questions"
    );
    assert!(changed(&|answer| {
        answer.queries.clear();
        answer.metadata.response_code = ResponseCode::FormErr;
    }));
}

#[test]
fn nothing_of_the_client_goes_out_but_its_question() {
    let proof = Question {
        dnssec_ok: true,
        checking_disabled: true,
        ..question()
    };
    let edns = |question: &Question, style| {
        let edns = outgoing(question, style).edns?;
        Some((
            edns.max_payload(),
            edns.flags().dnssec_ok,
            edns.options().as_ref().len(),
        ))
    };
    assert_eq!(edns(&question(), Style::Edns), Some((1232, false, 0)));
    assert_eq!(edns(&question(), Style::Plain), None);
    assert_eq!(
        edns(&proof, Style::Plain),
        Some((1232, true, 0)),
        "DO is nowhere else"
    );
    assert!(outgoing(&proof, Style::Edns).metadata.checking_disabled);
    let ids: std::collections::BTreeSet<_> = (0..64)
        .map(|_| outgoing(&question(), Style::Edns).metadata.id)
        .collect();
    assert!(ids.len() > 60, "ids are drawn at random");
}

#[test]
fn lifetimes() {
    let settings = Settings {
        max_ttl: Duration::from_secs(1000),
        max_negative_ttl: Duration::from_secs(100),
        ..Settings::default()
    };
    let sent = outgoing(&question(), Style::Edns);
    use ResponseCode::{NXDomain, NoError, ServFail, YXDomain};
    for (what, code, answers, authorities, expected) in [
        (
            "least of all",
            NoError,
            vec![alias(30), address(20)],
            vec![],
            20,
        ),
        ("capped", NoError, vec![address(100_000)], vec![], 1000),
        ("top bit", NoError, vec![address(1 << 31)], vec![], 0),
        ("zero", NoError, vec![address(0)], vec![], 0),
        ("no data", NoError, vec![], vec![soa(50, 40)], 40),
        ("no data, SOA's TTL", NoError, vec![], vec![soa(30, 40)], 30),
        (
            "no data behind an alias",
            NoError,
            vec![alias(7)],
            vec![soa(50, 40)],
            7,
        ),
        ("alias to nowhere", NoError, vec![alias(7)], vec![], 0),
        ("no data, no SOA", NoError, vec![], vec![], 0),
        ("no name", NXDomain, vec![], vec![soa(50, 40)], 40),
        (
            "no name, capped",
            NXDomain,
            vec![],
            vec![soa(5000, 4000)],
            100,
        ),
        ("no name, no SOA", NXDomain, vec![], vec![], 0),
        ("too long", YXDomain, vec![address(20)], vec![], 0),
        ("failure", ServFail, vec![address(20)], vec![], 0),
    ] {
        let mut answer = answer_to(&sent, code);
        answer.insert_answers(answers);
        answer.insert_authorities(authorities);
        let seconds = lifetime(&question(), &answer, &settings).as_secs();
        assert_eq!(seconds, expected, "{what}");
        answer.metadata.truncation = true;
        assert_eq!(
            lifetime(&question(), &answer, &settings),
            Duration::ZERO,
            "{what}, cut"
        );
    }
}

#[test]
fn what_the_client_is_told() {
    let mut asked = Message::query();
    asked.add_query(question().query);
    let mut upstream = answer_to(&asked, ResponseCode::NXDomain);
    upstream.metadata.authentic_data = true;
    upstream.metadata.authoritative = true;
    upstream.insert_answers(vec![alias(5000), alias(4)]);
    upstream.insert_authorities(vec![soa(50, 40)]);
    upstream.insert_additionals(vec![address(3)]);
    upstream.set_edns(Edns::new());
    for wants_proof in [false, true] {
        asked.metadata.authentic_data = wants_proof;
        let request = Request::parse(&asked.to_vec().unwrap()).unwrap();
        let told = relay(&request, upstream.clone(), 10, &Settings::default());
        let told = Message::from_vec(&request.encode(&told, Transport::Udp)).unwrap();
        let ttls: Vec<_> = told.all_sections().map(|record| record.ttl).collect();
        assert_eq!(ttls, [3590, 0, 40, 0]);
        assert_eq!(told.metadata.id, asked.metadata.id);
        assert_eq!(told.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(told.metadata.authentic_data, wants_proof);
        assert!(told.metadata.recursion_available && !told.metadata.authoritative);
        assert!(told.edns.is_none(), "the client speaks none");
    }
}

proptest! {
    /// Whatever a resolver sends, its client gets an answer to its own question that it can take.
    #[test]
    fn junk_from_outside_is_harmless(
        changes in vec((12..200_usize, any::<u8>()), 0..8), tail in vec(any::<u8>(), 0..40),
    ) {
        let mut asked = Message::query();
        asked.add_query(question().query);
        let mut upstream = answer_to(&asked, ResponseCode::NoError);
        upstream.insert_answers(vec![alias(5000), address(4)]);
        upstream.insert_authorities(vec![soa(50, 40)]);
        let mut bytes = upstream.to_vec().unwrap();
        bytes.extend(tail);
        for (index, byte) in changes {
            let index = index % bytes.len();
            bytes[index] = byte;
        }
        if let Some(upstream) = decode(&bytes) {
            let settings = Settings::default();
            prop_assert!(lifetime(&question(), &upstream, &settings) <= settings.max_ttl);
            let request = Request::parse(&asked.to_vec().unwrap()).unwrap();
            let told = request.encode(&relay(&request, upstream, 1, &settings), Transport::Udp);
            prop_assert!(told.len() <= 512);
            prop_assert_eq!(Message::from_vec(&told).unwrap().queries, asked.queries);
        }
    }
}
