//! Names that are not ours, asked of resolvers that are slow, dead, wrong or lying.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use clearway_names::{Refusal, Settings};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use rig::{BLUE, By, Client, Fake, PATIENCE, Rig, address, ask, ask_by_tcp, edns, endpoint};
use rig::{no_name, query, quick, reply, said, zones};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const ANSWER: [u8; 4] = [198, 51, 100, 7];
const ANSWERED: &str = "NoError 198.51.100.7";

async fn honest() -> Fake {
    Fake::new(|heard| vec![address(heard, ANSWER, 300)]).await
}

/// An address at which somebody listens and never answers.
async fn silent() -> Fake {
    Fake::new(|_| Vec::new()).await
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn an_answer_is_passed_on_and_remembered() {
    let fake = honest().await;
    let rig = Rig::new(&[fake.address], quick()).await;
    for name in ["www.example.", "WWW.example.", "www.Example."] {
        let answer = ask(rig.blue, name, RecordType::A).await;
        assert_eq!(said(&answer), ANSWERED);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
        assert!((298..=300).contains(&answer.answers[0].ttl));
    }
    let by_tcp = ask_by_tcp(rig.blue, &query("www.example.", RecordType::A)).await;
    assert_eq!(said(&by_tcp), ANSWERED);
    assert_eq!(fake.heard().len(), 1);
    let totals = rig.server.totals();
    assert_eq!((totals.queries, totals.forwarded, totals.cached), (4, 1, 3));
}

#[tokio::test]
async fn an_absence_is_remembered_until_the_name_is_ours() {
    let fake = Fake::new(|heard| vec![no_name(heard, 60)]).await;
    let rig = Rig::new(&[fake.address], quick()).await;
    for _ in 0..3 {
        let answer = ask(rig.blue, "web.", RecordType::A).await;
        assert_eq!(
            (said(&answer).as_str(), answer.authorities.len()),
            ("NXDomain", 1)
        );
    }
    assert_eq!(fake.heard().len(), 1);
    rig.names
        .publish(zones([endpoint(BLUE, 1, &["web"], &["10.1.0.2"])]));
    assert_eq!(
        said(&ask(rig.blue, "web.", RecordType::A).await),
        "NoError 10.1.0.2"
    );
}

#[tokio::test]
async fn what_may_not_be_remembered_is_asked_again() {
    let fake = Fake::new(|heard| vec![reply(heard, ResponseCode::NXDomain)]).await;
    let rig = Rig::new(&[fake.address], quick()).await;
    for count in 1..=3 {
        assert_eq!(
            said(&ask(rig.blue, "www.example.", RecordType::A).await),
            "NXDomain"
        );
        assert_eq!(fake.heard().len(), count);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_by_tcp() {
    let fake = Fake::new(|heard| {
        let mut answer = address(heard, ANSWER, 300);
        if heard.by == By::Udp {
            answer = answer.truncate();
        }
        vec![answer]
    });
    let fake = fake.await;
    let rig = Rig::new(&[fake.address], quick()).await;
    assert_eq!(
        said(&ask(rig.blue, "www.example.", RecordType::A).await),
        ANSWERED
    );
    let by: Vec<_> = fake.heard().iter().map(|heard| heard.by).collect();
    assert_eq!(by, [By::Udp, By::Tcp]);
}

#[tokio::test]
async fn lies_are_ignored() {
    let fake = Fake::new(|heard| {
        let lie = |change: &dyn Fn(&mut hickory_proto::op::Message)| {
            let mut lie = address(heard, [198, 51, 100, 66], 300);
            change(&mut lie);
            lie
        };
        vec![
            lie(&|lie| lie.metadata.id = lie.metadata.id.wrapping_add(1)),
            lie(&|lie| lie.queries[0].name = Name::from_ascii("bank.example.").unwrap()),
            lie(&|lie| lie.queries[0].query_type = RecordType::AAAA),
            lie(&|lie| lie.queries.clear()),
            address(heard, ANSWER, 300),
            lie(&|_| {}),
        ]
    });
    let fake = fake.await;
    let rig = Rig::new(&[fake.address], quick()).await;
    assert_eq!(
        said(&ask(rig.blue, "www.example.", RecordType::A).await),
        ANSWERED
    );
    assert_eq!(rig.server.totals().mismatched, 4);
}

#[tokio::test]
async fn whoever_is_not_the_resolver_is_not_heard() {
    // The true answer waits until a forged one has arrived at the very port, from elsewhere.
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&[upstream.local_addr().unwrap()], Settings::default()).await;
    let client = Client::at([127, 0, 0, 1]).await;
    client
        .send(rig.blue, &query("www.example.", RecordType::A))
        .await;
    let mut buffer = [0; 512];
    let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
    let heard = rig::Heard {
        message: hickory_proto::op::Message::from_vec(&buffer[..length]).unwrap(),
        from,
        by: By::Udp,
    };
    let attacker = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    let forged = address(&heard, [198, 51, 100, 66], 300).to_vec().unwrap();
    let from = SocketAddr::from(([127, 0, 0, 1], heard.from.port()));
    attacker.send_to(&forged, from).await.unwrap();
    let honest = address(&heard, ANSWER, 300).to_vec().unwrap();
    upstream.send_to(&honest, heard.from).await.unwrap();
    assert_eq!(said(&client.receive().await), ANSWERED);
}

#[tokio::test]
async fn ports_and_ids_cannot_be_guessed() {
    let fake = honest().await;
    let rig = Rig::new(&[fake.address], quick()).await;
    for n in 0..64 {
        ask(rig.blue, &format!("n{n}.example."), RecordType::A).await;
    }
    let heard = fake.heard();
    let ports: BTreeSet<_> = heard.iter().map(|heard| heard.from.port()).collect();
    let ids: BTreeSet<_> = heard
        .iter()
        .map(|heard| heard.message.metadata.id)
        .collect();
    assert!(
        ports.len() > 58 && ids.len() > 58,
        "{} {}",
        ports.len(),
        ids.len()
    );
    // Not one after the other either: steps between successive ones are all over the range.
    let steps = heard
        .windows(2)
        .map(|pair| pair[0].from.port().abs_diff(pair[1].from.port()));
    assert!(steps.filter(|step| *step > 1000).count() > 32);
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_does_not_know() {
    let refuses = Fake::new(|heard| vec![reply(heard, ResponseCode::Refused)]).await;
    let (dead, absent, honest) = (silent().await, nobody().await, honest().await);
    let upstreams = [dead.address, absent, refuses.address, honest.address];
    let rig = Rig::new(&upstreams, quick()).await;
    assert_eq!(
        said(&ask(rig.blue, "www.example.", RecordType::A).await),
        ANSWERED
    );
    assert_eq!(
        (
            dead.heard().len(),
            refuses.heard().len(),
            honest.heard().len()
        ),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn in_the_end_it_fails_and_the_failure_is_remembered() {
    let dead = silent().await;
    let rig = Rig::new(&[dead.address], quick()).await;
    for _ in 0..5 {
        assert_eq!(
            said(&ask(rig.blue, "www.example.", RecordType::A).await),
            "ServFail"
        );
    }
    let styles: Vec<_> = dead
        .heard()
        .iter()
        .map(|heard| heard.message.edns.is_some())
        .collect();
    assert_eq!(styles, [true, false], "twice, and then without EDNS");
    let totals = rig.server.totals();
    assert_eq!((totals.failed, totals.forwarded, totals.cached), (5, 0, 0));
}

#[tokio::test]
async fn the_same_question_is_asked_once() {
    let fake = silent().await;
    let rig = Rig::new(&[fake.address], Settings::default()).await;
    let mut clients = Vec::new();
    for n in 1..=20 {
        let client = Client::at([127, 0, 0, n]).await;
        client
            .send(rig.blue, &query("www.example.", RecordType::A))
            .await;
        clients.push(client);
    }
    // A last question, which comes after the others, says that those have been heard.
    let last = Client::at([127, 0, 0, 99]).await;
    last.send(rig.blue, &query("last.example.", RecordType::A))
        .await;
    fake.heard_at_least(2).await;
    assert_eq!(rig.server.totals().queries, 21);
    let heard = fake.heard();
    let www = heard
        .iter()
        .filter(|heard| heard.message.queries[0].name.num_labels() == 2);
    let names: BTreeSet<_> = www
        .map(|heard| heard.message.queries[0].name.to_string())
        .collect();
    assert_eq!((heard.len(), names.len()), (2, 2));
}

#[tokio::test]
async fn nothing_goes_out_from_an_internal_network() {
    let fake = honest().await;
    let rig = Rig::new(&[fake.address], quick()).await;
    assert_eq!(
        said(&ask(rig.red, "secret.attacker.example.", RecordType::TXT).await),
        "Refused"
    );
    assert_eq!(
        said(&ask(rig.red, "printer.", RecordType::A).await),
        "NXDomain"
    );
    assert_eq!(
        said(&ask(rig.blue, "www.example.", RecordType::A).await),
        ANSWERED
    );
    assert_eq!(
        said(&ask(rig.red, "www.example.", RecordType::A).await),
        "Refused",
        "cached or not"
    );
    assert_eq!(fake.heard().len(), 1);
}

#[tokio::test]
async fn a_client_that_waits_for_much_keeps_nobody_waiting() {
    let dead = silent().await;
    let settings = Settings {
        client_in_flight: 4,
        total_in_flight: 6,
        ..Settings::default()
    };
    let rig = Rig::new(&[dead.address], settings).await;
    rig.names
        .publish(zones([endpoint(BLUE, 1, &["web"], &["10.1.0.2"])]));
    let flood = Client::at([127, 0, 0, 2]).await;
    for n in 0..100 {
        flood
            .send(rig.blue, &query(&format!("n{n}.example."), RecordType::A))
            .await;
    }
    for _ in 0..96 {
        assert_eq!(said(&flood.receive().await), "Refused");
    }
    assert_eq!(rig.server.totals().refused(Refusal::ClientInFlight), 96);
    // It and others still find each other, and others reach the outside.
    let other = Client::at([127, 0, 0, 3]).await;
    for client in [&flood, &other] {
        let answer = client.ask(rig.blue, &query("web.", RecordType::A)).await;
        assert_eq!(said(&answer), "NoError 10.1.0.2");
    }
    for n in 0..3 {
        other
            .send(rig.blue, &query(&format!("m{n}.example."), RecordType::A))
            .await;
    }
    assert_eq!(said(&other.receive().await), "Refused");
    assert_eq!(rig.server.totals().refused(Refusal::TotalInFlight), 1);
    dead.heard_at_least(6).await;
}

#[tokio::test]
async fn places_come_back_when_the_answers_do() {
    let fake = honest().await;
    let settings = Settings {
        client_in_flight: 1,
        ..quick()
    };
    let rig = Rig::new(&[fake.address], settings).await;
    let client = Client::at([127, 0, 0, 1]).await;
    let all = async {
        for n in 0..200 {
            // The place is given back right after the answer is sent: look again until it is.
            while said(
                &client
                    .ask(rig.blue, &query(&format!("n{n}.example."), RecordType::A))
                    .await,
            ) != ANSWERED
            {}
        }
    };
    timeout(PATIENCE, all).await.expect("no place is lost");
    assert_eq!(fake.heard().len(), 200);
}

#[tokio::test]
async fn what_a_validating_client_asks_for_goes_out_and_comes_back() {
    let fake = Fake::new(|heard| {
        let mut answer = address(heard, ANSWER, 300);
        answer.metadata.authentic_data = true;
        if let Some(edns) = heard.message.edns.clone() {
            answer.set_edns(edns);
        }
        vec![answer]
    });
    let fake = fake.await;
    let rig = Rig::new(&[fake.address], quick()).await;
    let client = Client::at([127, 0, 0, 1]).await;
    let plain = query("www.example.", RecordType::A);
    let mut proof = query("www.example.", RecordType::A);
    proof.metadata.checking_disabled = true;
    proof.set_edns(edns(4096, true));
    let answer = client.ask(rig.blue, &plain).await;
    assert!(!answer.metadata.authentic_data && answer.edns.is_none());
    let answer = client.ask(rig.blue, &proof).await;
    assert!(answer.metadata.authentic_data && answer.metadata.checking_disabled);
    assert!(
        answer
            .edns
            .as_ref()
            .is_some_and(|edns| edns.flags().dnssec_ok)
    );
    let bits = |heard: &rig::Heard| {
        let edns = heard
            .message
            .edns
            .as_ref()
            .map(|edns| edns.flags().dnssec_ok);
        (edns, heard.message.metadata.checking_disabled)
    };
    let bits: Vec<_> = fake.heard().iter().map(bits).collect();
    assert_eq!(
        bits,
        [(Some(false), false), (Some(true), true)],
        "two answers to remember"
    );
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_network() {
    let dead = silent().await;
    let rig = Rig::new(&[dead.address], Settings::default()).await;
    let client = Client::at([127, 0, 0, 1]).await;
    client
        .send(rig.blue, &query("www.example.", RecordType::A))
        .await;
    dead.heard_at_least(1).await;
    let withdrawn = timeout(Duration::from_secs(1), rig.server.withdraw(BLUE));
    withdrawn.await.expect("no wait for the resolver");
    drop(
        UdpSocket::bind(rig.blue)
            .await
            .expect("the socket is closed"),
    );
}
