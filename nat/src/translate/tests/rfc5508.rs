//! RFC 5508, ICMP.

use super::rig::*;
use pipeline::DropReason;

/// A query's identifier is its sender's port.
const PING: &str = "10.0.0.2:50000";

#[test]
fn rfc5508_req1_queries_are_mapped_by_their_identifier() {
    let rig = Rig::new(EIM_APDF);
    let out = rig.send(WEB, &icmp(PING, "198.51.100.9:0")).unwrap();
    assert_eq!(out.src.port, 50_000);
    assert_eq!(out.dst, addr("198.51.100.9:0"));
    let other = rig.send(WEB, &icmp("10.0.0.3:50000", "198.51.100.9:0"));
    let other = other.unwrap().src;
    assert_ne!(other, out.src, "the same identifier from another host");
    let reply = icmp("198.51.100.9:0", &other.to_string());
    let (to, back) = rig.receive(&reply).unwrap();
    assert_eq!(to, inside(WEB, "10.0.0.3:50000"));
    assert_eq!(back.dst.port, 50_000);
    let unasked = icmp("198.51.100.10:0", &other.to_string());
    assert_eq!(rig.receive(&unasked), Err(DropReason::Filtered));
}

#[test]
fn rfc5508_req2_a_query_is_remembered_for_a_minute() {
    let mut rig = Rig::new(EIM_APDF);
    let out = rig.send(WEB, &icmp(PING, "198.51.100.9:0")).unwrap();
    let reply = icmp("198.51.100.9:0", &out.src.to_string());
    rig.secs(59);
    assert!(rig.receive(&reply).is_ok());
    rig.wait(std::time::Duration::from_nanos(59_999_999_999));
    assert_eq!(rig.list().len(), 1);
    rig.wait(std::time::Duration::from_nanos(1));
    assert_eq!(rig.receive(&reply), Err(DropReason::NoMapping));
}

#[test]
fn rfc5508_req4_an_error_from_outside_goes_to_whom_it_quotes_or_nowhere() {
    let rig = Rig::new(EIM_APDF);
    let external = rig.out("10.0.0.2:50000", "198.51.100.9:53");
    let ask = |src: &str, dst: &str| {
        let quoted = tuple(UDP, src, dst);
        rig.translator().related_inbound(&quoted, &rig.external())
    };
    let seen = external.to_string();
    let related = ask(&seen, "198.51.100.9:53").unwrap();
    assert_eq!(related.receiver, inside(WEB, "10.0.0.2:50000"));
    assert_eq!(related.quoted.src, addr("10.0.0.2:50000"));
    for (src, dst) in [
        (&*seen, "198.51.100.9:54"),
        (&*seen, "198.51.100.10:53"),
        ("198.51.100.1:50001", "198.51.100.9:53"),
    ] {
        assert_eq!(ask(src, dst), Err(DropReason::IcmpUnrelated), "{src} {dst}");
    }
}

#[test]
fn rfc5508_req6_an_error_about_a_query_neither_ends_nor_prolongs_it() {
    let mut rig = Rig::new(EIM_APDF);
    let out = rig.send(WEB, &icmp(PING, "198.51.100.9:0")).unwrap();
    let quoted = icmp(&out.src.to_string(), "198.51.100.9:0").tuple;
    rig.secs(59);
    let about = |rig: &Rig| rig.translator().related_inbound(&quoted, &rig.external());
    assert_eq!(about(&rig).unwrap().receiver, inside(WEB, PING));
    assert_eq!(rig.list()[0].remaining.as_secs(), 1);
    rig.secs(1);
    assert_eq!(about(&rig), Err(DropReason::IcmpUnrelated));
}

#[test]
fn rfc5508_req5_an_error_from_inside_leaves_with_the_external_address() {
    let rig = Rig::new(EIM_APDF);
    let external = rig.out("10.0.0.2:50000", "198.51.100.9:53");
    rig.back("198.51.100.9:53", external).unwrap();
    // The host refuses what it got: it quotes the packet as it saw it.
    let quoted = tuple(UDP, "198.51.100.9:53", "10.0.0.2:50000");
    let related = rig
        .translator()
        .related_outbound(WEB, &quoted, &rig.external())
        .unwrap();
    assert_eq!(related.src, ip("198.51.100.1"));
    assert_eq!(related.dst, ip("198.51.100.9"));
    assert_eq!(related.quoted.src, addr("198.51.100.9:53"));
    assert_eq!(related.quoted.dst, external);
    assert_eq!(related.receiver.network, UP);
    let made_up = tuple(UDP, "198.51.100.9:54", "10.0.0.2:50000");
    let got = rig
        .translator()
        .related_outbound(WEB, &made_up, &rig.external());
    assert_eq!(got, Err(DropReason::IcmpUnrelated));
}

#[test]
fn rfc5508_req4_and_5_an_error_about_a_published_port() {
    let mut rig = Rig::new(EIM_APDF);
    rig.publish(UDP, 53, inside(WEB, "10.0.0.3:5353"));
    let call = udp("198.51.100.9:999", "198.51.100.1:53");
    rig.receive(&call).unwrap();
    let quoted = tuple(UDP, "198.51.100.9:999", "10.0.0.3:5353");
    let related = rig
        .translator()
        .related_outbound(WEB, &quoted, &rig.external())
        .unwrap();
    assert_eq!(related.quoted.dst, addr("198.51.100.1:53"));
    // And one about its answer.
    let quoted = tuple(UDP, "198.51.100.1:53", "198.51.100.9:999");
    let related = rig
        .translator()
        .related_inbound(&quoted, &rig.external())
        .unwrap();
    assert_eq!(related.receiver, inside(WEB, "10.0.0.3:5353"));
}

#[test]
fn rfc5508_req7_hairpinned_errors() {
    let caller = "10.0.0.2:50000";
    let mut rig = Rig::new(EIM_EIF);
    rig.publish(UDP, 53, inside(DB, "10.1.0.3:5353"));
    let dynamic = rig.send(DB, &udp("10.1.0.3:52000", "198.51.100.9:53"));
    for (callee, known_as) in [
        ("10.1.0.3:5353", addr("198.51.100.1:53")),
        ("10.1.0.3:52000", dynamic.unwrap().src),
    ] {
        rig.turn(WEB, &udp(caller, &known_as.to_string())).unwrap();
        let quoted = tuple(UDP, "198.51.100.1:50000", callee);
        let related = rig
            .translator()
            .related_hairpin(DB, &quoted, &rig.external())
            .unwrap();
        assert_eq!(related.receiver, inside(WEB, caller));
        assert_eq!(related.dst, ip("10.0.0.2"));
        assert_eq!(related.src, ip("198.51.100.1"), "never an inside address");
        assert_eq!(related.quoted.src, addr(caller));
        assert_eq!(related.quoted.dst, known_as);
    }
}

#[test]
fn an_error_about_an_untranslated_packet() {
    let rig = Rig::new(EIM_APDF);
    let call = udp("10.0.0.2:5", "10.1.0.3:6");
    rig.translator().follow(WEB, DB, &call, || Ok(())).unwrap();
    let translator = rig.translator();
    let related = translator.related_followed(DB, WEB, &call.tuple).unwrap();
    assert_eq!(related.receiver, inside(WEB, "10.0.0.2:5"));
    assert_eq!(related.quoted.dst, addr("10.1.0.3:6"));
    let other = tuple(UDP, "10.0.0.2:5", "10.1.0.3:7");
    let got = translator.related_followed(DB, WEB, &other);
    assert_eq!(got, Err(DropReason::IcmpUnrelated));
}
