//! RFC 4787, UDP.

use super::rig::*;
use crate::{Behaviour, Preset};
use pipeline::DropReason;
use std::collections::BTreeSet;

const A: &str = "10.0.0.2:50000";

#[test]
fn rfc4787_req1_mapping_is_endpoint_independent() {
    let rig = Rig::new(EIM_APDF);
    let first = rig.out(A, "198.51.100.9:53");
    assert_eq!(rig.out(A, "198.51.100.9:54"), first);
    assert_eq!(rig.out(A, "198.51.100.77:53"), first);
    assert_ne!(rig.out("10.0.0.2:50001", "198.51.100.9:53"), first);
}

#[test]
fn rfc4787_req1_presets_that_depend_on_the_peer_do() {
    let by_address = Rig::new(random(ADM_APDF));
    let first = by_address.out(A, "198.51.100.9:53");
    assert_eq!(by_address.out(A, "198.51.100.9:54"), first);
    assert_ne!(by_address.out(A, "198.51.100.77:53"), first);

    let by_port = Rig::new(random(APDM_EIF));
    let ports: BTreeSet<_> = (1..=20)
        .map(|n| by_port.out(A, &format!("198.51.100.9:{n}")))
        .collect();
    assert_eq!(ports.len(), 20, "each peer is a mapping of its own");
}

#[test]
fn rfc4787_req2_an_endpoint_keeps_its_external_address() {
    let mut rig = Rig::new(APDM_APDF);
    rig.addresses = (1..=8).map(|n| ip(&format!("198.51.100.{n}"))).collect();
    let mut used = BTreeSet::new();
    for host in 1..100 {
        let ips: BTreeSet<_> = (1..10)
            .map(|n| {
                let src = format!("10.0.0.{host}:{}", 50_000 + n);
                rig.out(&src, "198.51.100.200:53").ip
            })
            .collect();
        assert_eq!(ips.len(), 1, "10.0.0.{host}");
        used.extend(ips);
    }
    assert_eq!(used.len(), 8, "and all of the pool are used");
}

#[test]
fn rfc4787_req3_no_port_is_given_to_two() {
    let rig = Rig::new(EIM_APDF);
    let externals: BTreeSet<_> = (2..=250)
        .map(|host| rig.out(&format!("10.0.0.{host}:50000"), "198.51.100.9:53"))
        .collect();
    assert_eq!(externals.len(), 249);
    assert!(externals.iter().all(|e| rig.range.contains(e.port)));
    // b): those above 1023 are everybody's.
    assert!(rig.range.first() >= 1_024);
}

#[test]
fn rfc4787_req3_only_mappings_that_depend_on_the_peer_share_ports() {
    let rig = Rig::new(APDM_APDF);
    let a = rig.out("10.0.0.2:50000", "198.51.100.9:53");
    let b = rig.out("10.0.0.3:50000", "198.51.100.10:53");
    let c = rig.out("10.0.0.4:50000", "198.51.100.9:53");
    assert_eq!(a, b, "other peers");
    assert_ne!(a, c, "the same peer");
    let to = |peer| rig.back(peer, a).map(|(inside, _)| inside.addr.ip);
    assert_eq!(to("198.51.100.9:53"), Ok(ip("10.0.0.2")));
    assert_eq!(to("198.51.100.10:53"), Ok(ip("10.0.0.3")));
    assert_eq!(to("198.51.100.11:53"), Err(DropReason::Filtered));
}

#[test]
fn rfc4787_req4_parity_is_kept() {
    let rig = Rig::new(EIM_APDF);
    for host in 2..60 {
        for port in [1_024u16, 1_025, 50_000, 50_001, 33_333] {
            let out = rig.out(&format!("10.0.0.{host}:{port}"), "198.51.100.9:53");
            assert_eq!(out.port % 2, port % 2, "10.0.0.{host}:{port} -> {out}");
        }
    }
}

#[test]
fn a_free_port_of_the_range_is_preserved() {
    let rig = Rig::new(EIM_APDF);
    assert_eq!(rig.out(A, "198.51.100.9:53").port, 50_000);
    assert_ne!(rig.out("10.0.0.3:50000", "198.51.100.9:53").port, 50_000);
    let random = Rig::new(random(EIM_APDF));
    let kept = (50_000..50_100)
        .filter(|port| {
            random
                .out(&format!("10.0.0.2:{port}"), "198.51.100.9:53")
                .port
                == *port
        })
        .count();
    assert!(kept < 5, "{kept} of 100 kept by chance");
}

#[test]
fn rfc4787_req5_a_mapping_lives_as_long_as_its_timer_and_no_longer() {
    for (preset, one_way, two_way) in [
        (Preset::Rfc, 300, 300),
        (Preset::Linux, 30, 120),
        (Preset::Cloud, 350, 350),
    ] {
        for (answered, lives) in [(false, one_way), (true, two_way)] {
            let mut rig = Rig::new(preset.behaviour());
            let external = rig.out(A, "198.51.100.9:53");
            if answered {
                rig.back("198.51.100.9:53", external).unwrap();
            }
            rig.secs(lives);
            rig.now = pipeline::Instant::from_nanos(rig.now.as_nanos() - 1);
            rig.effects = pipeline::Effects::None;
            assert!(rig.back("198.51.100.9:53", external).is_ok(), "{preset}");
            rig.now = pipeline::Instant::from_nanos(rig.now.as_nanos() + 1);
            let late = rig.back("198.51.100.9:53", external).unwrap_err();
            // A port that peers share is not known to be free before it is swept.
            assert!(
                matches!(late, DropReason::NoMapping | DropReason::Filtered),
                "{preset}"
            );
            assert!(rig.list().is_empty());
        }
    }
}

#[test]
fn rfc4787_req6_what_the_inside_sends_refreshes() {
    let mut rig = Rig::new(EIM_APDF);
    let external = rig.out(A, "198.51.100.9:53");
    for _ in 0..5 {
        rig.secs(299);
        assert_eq!(rig.out(A, "198.51.100.9:53"), external);
    }
    rig.secs(299);
    assert!(rig.back("198.51.100.9:53", external).is_ok());
}

#[test]
fn rfc4787_req6_strangers_do_not_keep_a_mapping_alive() {
    let mut rig = Rig::new(EIM_EIF);
    let external = rig.out(A, "198.51.100.9:53");
    for n in 0..600u16 {
        rig.secs(1);
        let peer = format!("198.51.100.66:{}", 1_000 + n);
        let got = rig.back(&peer, external);
        assert_eq!(got.is_ok(), n < 299, "stranger {n}: {got:?}");
    }
    assert_eq!(
        rig.back("198.51.100.66:1000", external),
        Err(DropReason::NoMapping)
    );
    // One whom the inside has answered does.
    let external = rig.out(A, "198.51.100.9:53");
    rig.back("198.51.100.66:5", external).unwrap();
    rig.out(A, "198.51.100.66:5");
    for _ in 0..10 {
        rig.secs(200);
        assert!(rig.back("198.51.100.66:5", external).is_ok());
    }
}

#[test]
fn rfc4787_req8_filtering() {
    let cases: [(Behaviour, [bool; 3]); 4] = [
        (EIM_EIF, [true, true, true]),
        (EIM_ADF, [true, true, false]),
        (EIM_APDF, [true, false, false]),
        (APDM_EIF, [true, true, true]),
    ];
    for (behaviour, wanted) in cases {
        let rig = Rig::new(behaviour);
        let external = rig.out(A, "198.51.100.9:53");
        let peers = ["198.51.100.9:53", "198.51.100.9:54", "198.51.100.10:53"];
        for (peer, passes) in peers.into_iter().zip(wanted) {
            match rig.back(peer, external) {
                Ok((to, translation)) => {
                    assert!(passes, "{behaviour:?} lets {peer} in");
                    assert_eq!(to, inside(WEB, A));
                    assert_eq!(translation.src, addr(peer));
                    assert_eq!(translation.dst, addr(A));
                }
                Err(reason) => {
                    assert!(!passes, "{behaviour:?} refuses {peer}");
                    assert_eq!(reason, DropReason::Filtered);
                }
            }
        }
    }
    let rig = Rig::new(EIM_EIF);
    let nobody = addr("198.51.100.1:60000");
    assert_eq!(
        rig.back("198.51.100.9:53", nobody),
        Err(DropReason::NoMapping)
    );
}

#[test]
fn rfc4787_req8_an_address_may_answer_as_long_as_one_of_its_ports_was_talked_to() {
    let mut rig = Rig::new(EIM_ADF);
    let external = rig.out(A, "198.51.100.9:53");
    rig.secs(200);
    rig.out(A, "198.51.100.10:53");
    assert!(rig.back("198.51.100.9:99", external).is_ok());
    rig.secs(150);
    assert_eq!(
        rig.back("198.51.100.9:98", external),
        Err(DropReason::Filtered)
    );
    assert!(rig.back("198.51.100.10:98", external).is_ok());
}

#[test]
fn rfc4787_req9_hairpin_uses_external_source() {
    for protocol in [UDP, TCP] {
        let mut rig = Rig::new(EIM_APDF);
        rig.publish(protocol, 8_080, inside(DB, "10.1.0.3:80"));
        let call = match protocol {
            UDP => udp(A, "198.51.100.1:8080"),
            _ => syn(A, "198.51.100.1:8080"),
        };
        let (to, there) = rig.turn(WEB, &call).unwrap();
        assert_eq!(to, inside(DB, "10.1.0.3:80"));
        assert_eq!(there.dst, addr("10.1.0.3:80"));
        assert_eq!(there.src, addr("198.51.100.1:50000"), "not {A}");

        let answer = tuple(protocol, "10.1.0.3:80", "198.51.100.1:50000");
        let answer = match protocol {
            UDP => flow(answer),
            _ => segment(answer, SYN_ACK, 7, 101),
        };
        let (to, back) = rig.turn(DB, &answer).unwrap();
        assert_eq!(to, inside(WEB, A));
        assert_eq!(back.src, addr("198.51.100.1:8080"));
        assert_eq!(back.dst, addr(A));
    }
}

#[test]
fn rfc4787_req9_hairpin_to_a_dynamic_port_meets_its_filter() {
    let b = "10.1.0.3:52000";
    for (behaviour, passes) in [(EIM_EIF, true), (EIM_ADF, false), (EIM_APDF, false)] {
        let rig = Rig::new(behaviour);
        let known_as = rig.send(DB, &udp(b, "198.51.100.9:53")).unwrap().src;
        let call = udp(A, &known_as.to_string());
        if passes {
            let (to, there) = rig.turn(WEB, &call).unwrap();
            assert_eq!(to, inside(DB, b));
            assert_eq!(there.src, addr("198.51.100.1:50000"));
            continue;
        }
        assert_eq!(rig.turn(WEB, &call), Err(DropReason::Filtered));
        // Both send: a hole is punched, as it is between two NATs.
        let (to, there) = rig.turn(DB, &udp(b, "198.51.100.1:50000")).unwrap();
        assert_eq!(to, inside(WEB, A));
        assert_eq!(there.src, known_as);
        let (to, there) = rig.turn(WEB, &call).unwrap();
        assert_eq!(to, inside(DB, b));
        assert_eq!(there.src, addr("198.51.100.1:50000"));
    }
}

#[test]
fn hairpin_between_published_ports() {
    let mut rig = Rig::new(EIM_APDF);
    let publish = |port, to| crate::Publication {
        protocol: UDP,
        host: None,
        ports: crate::PortRange::new(port, port).unwrap(),
        to,
    };
    let (a, b) = (inside(WEB, "10.0.0.2:500"), inside(DB, "10.1.0.3:700"));
    rig.published = crate::Published::new(&[publish(5_000, a), publish(7_000, b)]).unwrap();
    let (to, there) = rig
        .turn(WEB, &udp("10.0.0.2:500", "198.51.100.1:7000"))
        .unwrap();
    assert_eq!((to, there.src), (b, addr("198.51.100.1:5000")));
    let (to, back) = rig
        .turn(DB, &udp("10.1.0.3:700", "198.51.100.1:5000"))
        .unwrap();
    assert_eq!((to, back.src), (a, addr("198.51.100.1:7000")));
    assert_eq!(rig.list().len(), 1, "the answer is of the same connection");
}

#[test]
fn hairpin_to_oneself_is_a_loop() {
    let mut rig = Rig::new(EIM_EIF);
    let external = rig.out(A, "198.51.100.9:53");
    let to_self = udp(A, &external.to_string());
    assert_eq!(rig.turn(WEB, &to_self), Err(DropReason::HairpinLoop));
    rig.publish(UDP, 53, inside(WEB, "10.0.0.2:53"));
    let to_self = udp("10.0.0.2:53", "198.51.100.1:53");
    assert_eq!(rig.turn(WEB, &to_self), Err(DropReason::HairpinLoop));
    let nobody = udp(A, "198.51.100.1:60000");
    assert_eq!(rig.turn(WEB, &nobody), Err(DropReason::NoMapping));
}

#[test]
fn a_network_may_refuse_hairpins() {
    let mut rig = Rig::new(Preset::Cloud.behaviour());
    rig.publish(UDP, 53, inside(DB, "10.1.0.3:53"));
    let call = udp(A, "198.51.100.1:53");
    assert_eq!(rig.turn(WEB, &call), Err(DropReason::Filtered));
}

#[test]
fn rfc4787_req11_behaviour_does_not_change_when_ports_conflict() {
    let rig = Rig::new(EIM_ADF);
    // All of them want one external port; the first gets it.
    let externals: Vec<_> = (2..200)
        .map(|host| rig.out(&format!("10.0.0.{host}:50000"), "198.51.100.9:53"))
        .collect();
    for (host, external) in (2..200).zip(externals) {
        let own = format!("10.0.0.{host}:50000");
        assert_eq!(rig.out(&own, "198.51.100.10:53"), external, "mapping");
        assert!(rig.back("198.51.100.9:54", external).is_ok(), "filtering");
        let stranger = rig.back("198.51.100.11:53", external);
        assert_eq!(stranger, Err(DropReason::Filtered), "filtering");
    }
}

#[test]
fn rfc4787_req12_an_icmp_error_ends_no_mapping_and_prolongs_none() {
    let mut rig = Rig::new(EIM_APDF);
    let external = rig.out(A, "198.51.100.9:53");
    let quoted = tuple(UDP, &external.to_string(), "198.51.100.9:53");
    rig.secs(299);
    let related = rig
        .translator()
        .related_inbound(&quoted, &rig.external())
        .unwrap();
    assert_eq!(related.receiver, inside(WEB, A));
    assert_eq!(related.dst, ip("10.0.0.2"));
    assert_eq!(related.quoted.src, addr(A));
    assert_eq!(related.quoted.dst, addr("198.51.100.9:53"));
    assert!(rig.back("198.51.100.9:53", external).is_ok());
    rig.secs(299);
    let _ = rig.translator().related_inbound(&quoted, &rig.external());
    rig.secs(1);
    assert_eq!(
        rig.translator().related_inbound(&quoted, &rig.external()),
        Err(DropReason::IcmpUnrelated)
    );
}

#[test]
fn ipv6_is_translated_by_the_same_rules() {
    let mut rig = Rig::new(EIM_APDF);
    let external = rig.out("[fd00::2]:50000", "[2001:db8::9]:53");
    assert_eq!(external, addr("[2001:db8::1]:50000"));
    let (to, _) = rig.back("[2001:db8::9]:53", external).unwrap();
    assert_eq!(to, inside(WEB, "[fd00::2]:50000"));
    rig.addresses.truncate(1);
    let sent = rig.send(WEB, &udp("[fd00::2]:50000", "[2001:db8::99]:53"));
    assert_eq!(sent, Err(DropReason::NoRoute));
}
