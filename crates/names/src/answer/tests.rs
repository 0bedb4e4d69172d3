//! Questions, and what is decided about them.

use super::*;
use crate::{Endpoint, Network, NetworkKey, SandboxKey, Zones};
use hickory_proto::op::Query;
use hickory_proto::rr::Name;

const OUTSIDE: NetworkKey = NetworkKey(1);
const INTERNAL: NetworkKey = NetworkKey(2);

fn zones() -> Zones {
    let network = |key, name: &str, reach| Network {
        key,
        name: Some(name.parse().unwrap()),
        reach,
        subnets: vec![
            "10.1.0.0/24".parse().unwrap(),
            "2001:db8::/64".parse().unwrap(),
        ],
    };
    let endpoint = |network, sandbox, addresses: &[&str]| Endpoint {
        network,
        sandbox: Some(SandboxKey(sandbox)),
        names: vec![
            format!("web-{sandbox}").parse().unwrap(),
            "web".parse().unwrap(),
        ],
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    };
    Zones::new(
        Some("clear.internal".parse().unwrap()),
        [
            network(OUTSIDE, "blue", Reach::Outside),
            network(INTERNAL, "red", Reach::Internal),
        ],
        [
            endpoint(OUTSIDE, 1, &["10.1.0.2", "2001:db8::2"]),
            endpoint(OUTSIDE, 2, &["10.1.0.3"]),
            endpoint(OUTSIDE, 3, &["10.1.0.4"]),
            endpoint(INTERNAL, 4, &["10.1.0.5"]),
        ],
    )
}

fn request(name: &str, kind: RecordType) -> Request {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    Request::parse(&message.to_vec().unwrap()).unwrap()
}

/// Returns what is decided, in a few words.
fn decided(network: NetworkKey, request: &Request, turn: usize) -> String {
    let zones = zones();
    let view = zones.view(network, "10.1.0.200".parse().unwrap());
    match decide(&view, request, turn) {
        Verdict::Answer(answer) => {
            assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
            assert!(
                answer.authorities.is_empty(),
                "nobody is to remember what is absent"
            );
            assert!(answer.answers.iter().all(|record| record.ttl == TTL));
            assert!(
                answer
                    .answers
                    .iter()
                    .all(|record| record.name == request.query.name)
            );
            let data = answer.answers.iter().map(|record| record.data.to_string());
            let data: Vec<_> = data.collect();
            format!("{:?} {}", answer.metadata.response_code, data.join(" "))
        }
        Verdict::Refuse(refusal) => refusal.label().to_owned(),
        Verdict::Forward(question) => {
            assert_eq!(question, request.question());
            "forward".to_owned()
        }
    }
}

#[test]
fn names_of_ours_and_others() {
    use RecordType::{A, AAAA, ANY, AXFR, IXFR, MX, OPT, PTR, TXT};
    for (network, name, kind, expected) in [
        (OUTSIDE, "web-1.", A, "NoError 10.1.0.2"),
        (OUTSIDE, "WEB-1.BLUE.", AAAA, "NoError 2001:db8::2"),
        (OUTSIDE, "web-2.", A, "NoError 10.1.0.3"),
        (OUTSIDE, "web-2.", AAAA, "NoError "),
        (OUTSIDE, "web-2.blue.clear.internal.", TXT, "NoError "),
        (OUTSIDE, "web-4.clear.internal.", A, "NXDomain "),
        (OUTSIDE, "clear.internal.", MX, "NoError "),
        (OUTSIDE, "web-4.", A, "forward"),
        (OUTSIDE, "example.com.", AAAA, "forward"),
        (OUTSIDE, ".", RecordType::NS, "forward"),
        (
            OUTSIDE,
            "3.0.1.10.in-addr.arpa.",
            PTR,
            "NoError web-2.blue.clear.internal.",
        ),
        (OUTSIDE, "3.0.1.10.IN-ADDR.ARPA.", A, "NoError "),
        (OUTSIDE, "99.0.1.10.in-addr.arpa.", PTR, "NXDomain "),
        (OUTSIDE, "1.10.in-addr.arpa.", PTR, "forward"),
        (OUTSIDE, "1.1.2.10.in-addr.arpa.", PTR, "forward"),
        (
            OUTSIDE,
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
            PTR,
            "NoError web-1.blue.clear.internal.",
        ),
        (OUTSIDE, "web-1.", ANY, "any_type"),
        (OUTSIDE, "example.com.", ANY, "any_type"),
        (OUTSIDE, "blue.", AXFR, "meta_type"),
        (OUTSIDE, "blue.", IXFR, "meta_type"),
        (OUTSIDE, "blue.", OPT, "meta_type"),
        (INTERNAL, "web.", A, "NoError 10.1.0.5"),
        (INTERNAL, "nobody.", A, "NXDomain "),
        (INTERNAL, "example.com.", A, "internal_network"),
        (INTERNAL, "*.", A, "NXDomain "),
        (INTERNAL, "1.1.2.10.in-addr.arpa.", PTR, "internal_network"),
        (NetworkKey(9), "example.com.", A, "internal_network"),
    ] {
        let what = format!("{network:?} {name} {kind}");
        assert_eq!(
            decided(network, &request(name, kind), 0),
            expected,
            "{what}"
        );
    }
}

#[test]
fn several_addresses_take_turns() {
    let request = request("web.", RecordType::A);
    for (turn, expected) in [
        (0, "NoError 10.1.0.2 10.1.0.3 10.1.0.4"),
        (1, "NoError 10.1.0.3 10.1.0.4 10.1.0.2"),
        (2, "NoError 10.1.0.4 10.1.0.2 10.1.0.3"),
        (usize::MAX, "NoError 10.1.0.2 10.1.0.3 10.1.0.4"),
    ] {
        assert_eq!(decided(OUTSIDE, &request, turn), expected, "{turn}");
    }
}

#[test]
fn other_classes_and_questions_without_recursion() {
    let mut chaos = request("version.bind.", RecordType::TXT);
    chaos.query.query_class = DNSClass::CH;
    assert_eq!(decided(OUTSIDE, &chaos, 0), "class");
    for (name, expected) in [
        ("example.com.", "no_recursion"),
        ("web-1.", "NoError 10.1.0.2"),
    ] {
        let mut request = request(name, RecordType::A);
        request.metadata.recursion_desired = false;
        assert_eq!(decided(OUTSIDE, &request, 0), expected);
    }
}
