//! The names of containers, asked for over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use clearway_names::{Refusal, Settings, Totals};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use rig::{BLUE, Client, PATIENCE, RED, Rig, ask, ask_by_tcp, edns, endpoint, open, query, quick};
use rig::{read_framed, said, write_framed, zones};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

async fn rig() -> Rig {
    let rig = Rig::new(&[], quick()).await;
    rig.names.publish(zones([
        endpoint(BLUE, 1, &["web", "www"], &["10.1.0.2", "2001:db8::2"]),
        endpoint(BLUE, 2, &["db"], &["10.1.0.3"]),
        endpoint(RED, 2, &["db"], &["10.1.1.3"]),
        endpoint(RED, 3, &["vault"], &["10.1.1.4"]),
    ]));
    rig
}

#[tokio::test]
async fn names_aliases_and_reverse_by_udp_and_tcp() {
    let rig = rig().await;
    for (name, kind, expected) in [
        ("web.", RecordType::A, "NoError 10.1.0.2"),
        ("WWW.Blue.", RecordType::A, "NoError 10.1.0.2"),
        ("web.", RecordType::AAAA, "NoError 2001:db8::2"),
        ("db.", RecordType::AAAA, "NoError"),
        (
            "2.0.1.10.in-addr.arpa.",
            RecordType::PTR,
            "NoError web.blue.",
        ),
        ("9.9.1.10.in-addr.arpa.", RecordType::PTR, "NXDomain"),
    ] {
        let by_udp = ask(rig.blue, name, kind).await;
        let by_tcp = ask_by_tcp(rig.blue, &query(name, kind)).await;
        assert_eq!(said(&by_udp), expected, "{name} {kind}");
        assert_eq!(said(&by_tcp), expected, "{name} {kind} by TCP");
        assert!(by_udp.metadata.authoritative && by_udp.edns.is_none());
    }
}

#[tokio::test]
async fn a_client_sees_the_networks_it_is_in() {
    let rig = Rig::new(&[], quick()).await;
    rig.names.publish(zones([
        endpoint(BLUE, 1, &["web"], &["127.0.0.2"]),
        endpoint(BLUE, 2, &["db"], &["127.0.0.3"]),
        endpoint(RED, 2, &["db"], &["127.0.1.3"]),
        endpoint(RED, 3, &["vault"], &["127.0.1.4"]),
    ]));
    for (client, server, name, expected) in [
        ([127, 0, 0, 3], rig.blue, "db.", "NoError 127.0.0.3"),
        ([127, 0, 1, 3], rig.red, "db.", "NoError 127.0.1.3"),
        ([127, 0, 1, 3], rig.red, "web.", "NoError 127.0.0.2"),
        ([127, 0, 0, 3], rig.blue, "vault.", "NoError 127.0.1.4"),
        ([127, 0, 1, 4], rig.red, "web.", "NXDomain"),
        ([127, 0, 1, 4], rig.red, "vault.", "NoError 127.0.1.4"),
        ([127, 0, 0, 2], rig.blue, "vault.", "ServFail"),
    ] {
        let client = Client::at(client).await;
        let answer = client.ask(server, &query(name, RecordType::A)).await;
        assert_eq!(said(&answer), expected, "{name} of {client:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_answers_as_soon_as_it_is_published() {
    let rig = Rig::new(&[], quick()).await;
    let client = Client::at([127, 0, 0, 1]).await;
    for n in 0..500_u16 {
        let name = format!("c-{n}");
        let address = format!("10.1.{}.{}", n / 250, n % 250 + 1);
        rig.names
            .publish(zones([endpoint(RED, 1, &[&name], &[&address])]));
        let answer = client
            .ask(rig.red, &query(&format!("{name}."), RecordType::A))
            .await;
        assert_eq!(said(&answer), format!("NoError {address}"));
        rig.names.publish(zones([]));
        let answer = client
            .ask(rig.red, &query(&format!("{name}."), RecordType::A))
            .await;
        assert_eq!(said(&answer), "NXDomain");
    }
}

#[tokio::test]
async fn an_alias_of_many_takes_turns_and_goes_by_tcp_when_it_must() {
    let rig = Rig::new(&[], quick()).await;
    let endpoint = |n: u64| {
        let (name, address) = (
            format!("c-{n}"),
            format!("10.1.{}.{}", n / 200, n % 200 + 1),
        );
        endpoint(BLUE, n, &[&name, "all"], &[&address])
    };
    rig.names.publish(zones((0..3).map(endpoint)));
    let mut firsts = Vec::new();
    for _ in 0..3 {
        let answer = ask(rig.blue, "all.", RecordType::A).await;
        assert_eq!(answer.answers.len(), 3);
        firsts.push(answer.answers[0].data.to_string());
    }
    firsts.sort();
    assert_eq!(firsts, ["10.1.0.1", "10.1.0.2", "10.1.0.3"]);
    rig.names.publish(zones((0..900).map(endpoint)));
    let mut question = query("all.", RecordType::A);
    let client = Client::at([127, 0, 0, 1]).await;
    for payload in [None, Some(1232), Some(u16::MAX)] {
        if let Some(payload) = payload {
            question.set_edns(edns(payload, false));
        }
        let cut = client.ask(rig.blue, &question).await;
        assert!(
            cut.metadata.truncation && cut.answers.is_empty(),
            "{payload:?}"
        );
    }
    let whole = ask_by_tcp(rig.blue, &question).await;
    assert_eq!(
        (whole.answers.len(), whole.metadata.truncation),
        (900, false)
    );
}

#[tokio::test]
async fn every_query_is_counted_once() {
    let rig = rig().await;
    let client = Client::at([127, 0, 0, 1]).await;
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    let mut snoop = query("example.com.", RecordType::A);
    snoop.metadata.recursion_desired = false;
    let any = query("web.", RecordType::ANY);
    let transfer = query("blue.", RecordType::AXFR);
    let outside = query("example.com.", RecordType::A);
    for (server, message, refusal) in [
        (rig.blue, &chaos, Refusal::Class),
        (rig.blue, &any, Refusal::AnyType),
        (rig.blue, &transfer, Refusal::MetaType),
        (rig.blue, &snoop, Refusal::NoRecursion),
        (rig.red, &outside, Refusal::InternalNetwork),
    ] {
        let answer = client.ask(server, message).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::Refused,
            "{refusal:?}"
        );
        assert_eq!(rig.server.totals().refused(refusal), 1, "{refusal:?}");
    }
    // Junk is silent, or an error; what comes after it is answered.
    client.send_bytes(rig.blue, b"junk").await;
    client.send_bytes(rig.blue, &[0; 40]).await;
    assert_eq!(
        client.receive().await.metadata.response_code,
        ResponseCode::FormErr
    );
    let answer = client.ask(rig.blue, &query("web.", RecordType::A)).await;
    assert_eq!(said(&answer), "NoError 10.1.0.2");
    let failed = client
        .ask(rig.blue, &query("example.com.", RecordType::A))
        .await;
    assert_eq!(said(&failed), "ServFail", "there is no resolver");
    let totals = rig.server.totals();
    let expected = (9, 1, 0, 0, 7, 1);
    let Totals {
        queries,
        answered,
        forwarded,
        cached,
        failed,
        ..
    } = totals;
    let got = (
        queries,
        answered,
        forwarded,
        cached,
        totals.refused_in_all(),
        failed,
    );
    assert_eq!(got, expected, "{totals:?}");
}

#[tokio::test]
async fn a_client_that_asks_too_fast_is_not_answered_and_others_are() {
    let settings = Settings {
        client_rate: 5,
        ..quick()
    };
    let rig = Rig::new(&[], settings).await;
    rig.names
        .publish(zones([endpoint(BLUE, 1, &["web"], &["10.1.0.2"])]));
    let flood = Client::at([127, 0, 0, 2]).await;
    let other = Client::at([127, 0, 0, 3]).await;
    for _ in 0..100 {
        flood.send(rig.blue, &query("web.", RecordType::A)).await;
    }
    let answer = other.ask(rig.blue, &query("web.", RecordType::A)).await;
    assert_eq!(said(&answer), "NoError 10.1.0.2");
    let totals = rig.server.totals();
    assert_eq!(totals.queries, 101);
    assert!(totals.refused(Refusal::ClientRate) > 80, "{totals:?}");
}

#[tokio::test]
async fn a_connection_carries_many_queries() {
    let rig = rig().await;
    let mut stream = TcpStream::connect(rig.blue).await.unwrap();
    let questions = [query("web.", RecordType::A), query("db.", RecordType::A)];
    for question in &questions {
        write_framed(&mut stream, &question.to_vec().unwrap()).await;
    }
    for (question, expected) in questions
        .iter()
        .zip(["NoError 10.1.0.2", "NoError 10.1.0.3"])
    {
        let answer = Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        assert_eq!(said(&answer), expected);
    }
}

#[tokio::test]
async fn connections_are_bounded_and_slow_ones_end() {
    let settings = Settings {
        client_connections: 2,
        tcp_idle: Duration::from_millis(300),
        ..quick()
    };
    let rig = Rig::new(&[], settings).await;
    let mut slow = TcpStream::connect(rig.blue).await.unwrap();
    let mut long = TcpStream::connect(rig.blue).await.unwrap();
    let mut third = TcpStream::connect(rig.blue).await.unwrap();
    assert!(read_framed(&mut third).await.is_err(), "one too many");
    assert_eq!(rig.server.totals().refused(Refusal::ClientTcp), 1);
    // A query longer than any is not waited for; half of one is, for a while.
    write_framed(&mut long, &[0; 5000]).await;
    assert!(read_framed(&mut long).await.is_err());
    slow.write_all(&[0]).await.unwrap();
    assert!(read_framed(&mut slow).await.is_err());
    let answered = async {
        loop {
            let mut stream = TcpStream::connect(rig.blue).await.unwrap();
            write_framed(
                &mut stream,
                &query("web.red.", RecordType::ANY).to_vec().unwrap(),
            )
            .await;
            if read_framed(&mut stream).await.is_ok() {
                break;
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("places come back");
}

#[tokio::test]
async fn networks_come_and_go() {
    let rig = rig().await;
    rig.server.withdraw(BLUE).await;
    // Its address is free again, and the others are served.
    drop(UdpSocket::bind(rig.blue).await.unwrap());
    let refused = TcpStream::connect(rig.blue).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        said(&ask(rig.red, "vault.", RecordType::A).await),
        "NoError 10.1.1.4"
    );
    rig.server.withdraw(BLUE).await;
    let blue = open(&rig.server, BLUE);
    assert_eq!(
        said(&ask(blue, "web.", RecordType::A).await),
        "NoError 10.1.0.2"
    );
    let more = open(&rig.server, BLUE);
    for address in [blue, more] {
        assert_eq!(
            said(&ask(address, "web.", RecordType::A).await),
            "NoError 10.1.0.2"
        );
    }
}

#[tokio::test]
async fn the_server_ends_with_its_last_handle() {
    let rig = rig().await;
    let (server, blue) = (rig.server.clone(), rig.blue);
    drop(rig);
    assert_eq!(
        said(&ask(blue, "web.", RecordType::A).await),
        "NoError 10.1.0.2"
    );
    drop(server);
    let closed = async {
        while UdpSocket::bind(blue).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("closed");
}
