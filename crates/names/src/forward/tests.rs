//! Tests of questions that several share, and of what is left of them.

use super::*;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn question() -> Question {
    Question {
        query: Query::query(Name::from_ascii("www.example.").unwrap(), RecordType::A),
        dnssec_ok: false,
        checking_disabled: false,
    }
}

fn forwarder(servers: &[SocketAddr]) -> Forwarder {
    let resolvers = Resolvers::fixed(servers.iter().copied());
    Forwarder::new(resolvers, Settings::default(), Arc::default())
}

#[tokio::test]
async fn those_who_stop_waiting_leave_nothing_behind() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forwarder = forwarder(&[silent.local_addr().unwrap()]);
    let (first, second) = (question(), question());
    let both = async { tokio::join!(forwarder.ask(&first), forwarder.ask(&second)) };
    let mut buffer = [0; 512];
    let heard = async {
        tokio::select! {
            _ = both => panic!("nobody answers"),
            heard = silent.recv_from(&mut buffer) => heard.unwrap(),
        }
    };
    timeout(Duration::from_secs(10), heard).await.unwrap();
    assert!(forwarder.flights.lock().unwrap().is_empty());
    let again = silent.try_recv_from(&mut [0; 512]);
    assert!(again.is_err(), "one question for both");
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_moment() {
    let forwarder = forwarder(&[]);
    let answer = forwarder.ask(&question()).await;
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(forwarder.flights.lock().unwrap().is_empty());
    let now = Instant::now();
    assert!(forwarder.cached(&question(), now).is_some());
    assert!(
        forwarder
            .cached(&question(), now + Duration::from_secs(1))
            .is_none()
    );
}

#[test]
fn other_servers_mean_other_answers() {
    let forwarder = forwarder(&[]);
    let servers = |generation| Servers {
        addresses: Arc::from([]),
        generation,
    };
    let now = Instant::now();
    let mut remembered = forwarder.remembered(&servers(0));
    let lifetime = Duration::from_secs(60);
    remembered
        .cache
        .insert(question(), Arc::from([1]), lifetime, now);
    drop(remembered);
    assert!(
        forwarder
            .remembered(&servers(0))
            .cache
            .get(&question(), now)
            .is_some()
    );
    assert!(
        forwarder
            .remembered(&servers(1))
            .cache
            .get(&question(), now)
            .is_none()
    );
}
