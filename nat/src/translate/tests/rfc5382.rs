//! RFC 5382, TCP.

use super::rig::*;
use crate::Phase;
use pipeline::DropReason;

const A: &str = "10.0.0.2:50000";
const P: &str = "198.51.100.9:443";

#[test]
fn rfc5382_req1_mapping_is_endpoint_independent() {
    let rig = Rig::new(EIM_APDF);
    let first = rig.send(WEB, &syn(A, P)).unwrap().src;
    assert_eq!(
        rig.send(WEB, &syn(A, "198.51.100.10:80")).unwrap().src,
        first
    );
}

#[test]
fn rfc5382_req2_simultaneous_open() {
    let rig = Rig::new(EIM_APDF);
    let sent = tuple(TCP, A, P);
    let out = rig.send(WEB, &segment(sent, SYN, 100, 0)).unwrap();
    let seen = tuple(TCP, &out.src.to_string(), P);
    let conversation = Conversation { sent, seen };
    let (to, _) = conversation.answers(&rig, SYN, 500, 0).unwrap();
    assert_eq!(to, inside(WEB, A));
    conversation.sends(&rig, SYN_ACK, 100, 501).unwrap();
    conversation.answers(&rig, SYN_ACK, 500, 101).unwrap();
    conversation.sends(&rig, ACK, 101, 501).unwrap();
    conversation.answers(&rig, ACK, 501, 101).unwrap();
    assert_eq!(rig.list()[0].phase, Phase::Established);
}

#[test]
fn rfc5382_req2_simultaneous_open_when_the_outside_is_first() {
    let mut rig = Rig::new(EIM_APDF);
    let seen = tuple(TCP, "198.51.100.1:50000", P);
    let early = rig.receive(&segment(seen.reversed(), SYN, 500, 0));
    assert_eq!(early, Err(DropReason::NoMapping), "silence (REQ-4)");
    rig.secs(5);
    let sent = tuple(TCP, A, P);
    rig.send(WEB, &segment(sent, SYN, 100, 0)).unwrap();
    let conversation = Conversation { sent, seen };
    assert!(conversation.answers(&rig, SYN, 500, 0).is_ok());
}

#[test]
fn rfc5382_req3_filtering() {
    for (behaviour, passes) in [(EIM_EIF, true), (EIM_APDF, false)] {
        let rig = Rig::new(behaviour);
        let external = rig.send(WEB, &syn(A, P)).unwrap().src;
        let stranger = rig.receive(&syn("198.51.100.77:9", &external.to_string()));
        match stranger {
            Ok((to, _)) => assert!(passes && to == inside(WEB, A)),
            Err(reason) => assert!(!passes && reason == DropReason::Filtered),
        }
    }
}

#[test]
fn rfc5382_req4_an_unsolicited_syn_is_forgotten_at_once() {
    let rig = Rig::new(EIM_APDF);
    let early = rig.receive(&syn(P, "198.51.100.1:50000"));
    assert_eq!(early, Err(DropReason::NoMapping));
    let external = rig.send(WEB, &syn(A, P)).unwrap().src;
    let stranger = rig.receive(&syn("198.51.100.77:9", &external.to_string()));
    assert_eq!(stranger, Err(DropReason::Filtered));
    assert_eq!(rig.list().len(), 1, "only what the inside began");
}

#[test]
fn rfc5382_req5_timers() {
    let mut rig = Rig::new(EIM_APDF);
    // Half open: 4 minutes.
    rig.send(WEB, &syn(A, P)).unwrap();
    assert_eq!(rig.list()[0].remaining.as_secs(), 240);
    rig.secs(240);
    assert!(rig.list().is_empty());

    // Established: 2 hours and 4 minutes.
    let conversation = Conversation::open(&rig, A, P);
    assert_eq!(rig.list()[0].remaining.as_secs(), 7_440);
    rig.secs(7_439);
    conversation.sends(&rig, ACK, 101, 501).unwrap();
    rig.secs(7_440);
    assert_eq!(
        conversation.sends(&rig, ACK, 101, 501),
        Err(DropReason::TcpNotSyn)
    );

    // Closing: 4 minutes.
    let conversation = Conversation::open(&rig, A, P);
    conversation.sends(&rig, FIN_ACK, 101, 501).unwrap();
    conversation.answers(&rig, FIN_ACK, 501, 102).unwrap();
    conversation.sends(&rig, ACK, 102, 502).unwrap();
    assert_eq!(rig.list()[0].remaining.as_secs(), 240);
}

#[test]
fn a_syn_begins_a_finished_connection_anew() {
    let rig = Rig::new(EIM_APDF);
    let conversation = Conversation::open(&rig, A, P);
    conversation.sends(&rig, FIN_ACK, 101, 501).unwrap();
    conversation.answers(&rig, FIN_ACK, 501, 102).unwrap();
    conversation.sends(&rig, ACK, 102, 502).unwrap();
    let mut asked = 0;
    let again = segment(conversation.sent, SYN, 1_000_000, 0);
    let out = rig
        .translator()
        .outbound(WEB, &again, &rig.external(), || {
            asked += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(asked, 1, "a new connection: policy is asked");
    assert_eq!(out.src, conversation.seen.src);
    assert_eq!(rig.list().len(), 1);
    assert_eq!(rig.list()[0].phase, Phase::Opening);
}

#[test]
fn rfc5382_req7_no_port_is_given_to_two() {
    let rig = Rig::new(EIM_APDF);
    let external = |host: u8| {
        let call = syn(
            &format!("10.0.0.{host}:50000"),
            &format!("198.51.100.{host}:443"),
        );
        rig.send(WEB, &call).unwrap().src
    };
    let all: std::collections::BTreeSet<_> = (2..=250).map(external).collect();
    assert_eq!(all.len(), 249);
}

#[test]
fn rfc5382_req8_hairpin_of_tcp() {
    let mut rig = Rig::new(EIM_APDF);
    rig.publish(TCP, 443, inside(WEB, "10.0.0.3:8443"));
    // In one network, too: the callee must see the external address, or it would answer directly.
    let (to, there) = rig.turn(WEB, &syn(A, "198.51.100.1:443")).unwrap();
    assert_eq!(to, inside(WEB, "10.0.0.3:8443"));
    assert_eq!(there.src, addr("198.51.100.1:50000"));
}

#[test]
fn rfc5382_req9_and_10_errors_are_passed_and_end_nothing() {
    let rig = Rig::new(EIM_APDF);
    let conversation = Conversation::open(&rig, A, P);
    let related = rig
        .translator()
        .related_inbound(&conversation.seen, &rig.external())
        .unwrap();
    assert_eq!(related.quoted.src, addr(A));
    assert!(conversation.answers(&rig, ACK, 501, 101).is_ok());
}

#[test]
fn a_reset_leaves_the_connection_its_closing_time() {
    let mut rig = Rig::new(EIM_APDF);
    let conversation = Conversation::open(&rig, A, P);
    conversation.sends(&rig, RST, 101, 0).unwrap();
    assert_eq!(rig.list()[0].phase, Phase::Closing);
    rig.secs(240);
    assert!(rig.list().is_empty());
}

#[test]
fn a_published_port_takes_calls_and_answers_by_it() {
    let mut rig = Rig::new(EIM_APDF);
    rig.publish(TCP, 443, inside(WEB, "10.0.0.3:8443"));
    let (to, there) = rig.receive(&syn(P, "198.51.100.1:443")).unwrap();
    assert_eq!(to, inside(WEB, "10.0.0.3:8443"));
    assert_eq!(there.src, addr(P), "the true source");
    let answer = segment(tuple(TCP, "10.0.0.3:8443", P), SYN_ACK, 5, 101);
    assert_eq!(
        rig.send(WEB, &answer).unwrap().src,
        addr("198.51.100.1:443")
    );
    let other = rig.receive(&syn(P, "198.51.100.1:444"));
    assert_eq!(other, Err(DropReason::NoMapping));
}

#[test]
fn a_second_call_by_another_port_of_the_same_endpoint_does_not_end_the_first() {
    let mut rig = Rig::new(EIM_APDF);
    let publish = |first| crate::Publication {
        protocol: TCP,
        host: None,
        ports: crate::PortRange::new(first, first).unwrap(),
        to: inside(WEB, "10.0.0.3:8443"),
    };
    rig.published = crate::Published::new(&[publish(443), publish(8_443)]).unwrap();
    rig.receive(&syn(P, "198.51.100.1:443")).unwrap();
    // Its answers could not be told from those of the first.
    let second = rig.receive(&syn(P, "198.51.100.1:8443"));
    assert_eq!(second, Err(DropReason::Filtered));
    assert_eq!(
        rig.list()[0].responder.seen_as,
        Some(addr("198.51.100.1:443"))
    );
}

#[test]
fn a_segment_that_opens_nothing_is_refused() {
    let mut rig = Rig::new(EIM_APDF);
    let ack = segment(tuple(TCP, A, P), ACK, 1, 1);
    assert_eq!(rig.send(WEB, &ack), Err(DropReason::TcpNotSyn));
    rig.publish(TCP, 443, inside(WEB, "10.0.0.3:8443"));
    let ack = segment(tuple(TCP, P, "198.51.100.1:443"), ACK, 1, 1);
    assert_eq!(rig.receive(&ack), Err(DropReason::TcpNotSyn));
    assert!(rig.list().is_empty());
}

#[test]
fn a_segment_out_of_the_window_changes_nothing() {
    let mut rig = Rig::new(EIM_APDF);
    let conversation = Conversation::open(&rig, A, P);
    rig.secs(100);
    let forged = conversation.answers(&rig, ACK, 500_000_000, 101);
    assert_eq!(forged, Err(DropReason::TcpOutOfWindow));
    let entry = &rig.list()[0];
    assert_eq!(entry.remaining.as_secs(), 7_340);
    assert_eq!(entry.answered.packets, 1);
    rig.set(
        crate::Behaviour {
            tcp_liberal: true,
            ..EIM_APDF
        },
        9,
    );
    assert!(conversation.answers(&rig, ACK, 500_000_000, 101).is_ok());
}
