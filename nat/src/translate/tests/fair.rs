//! One endpoint's greed is nobody else's harm: quotas, full shards, exhausted ports.

use super::rig::*;
use crate::{Change, Ending};
use pipeline::{DropReason, Effects};

/// The `n`th connection of a host that opens as many as it can.
fn flood(host: u32, n: u32) -> crate::Flow {
    let src = format!("10.0.0.{host}:{}", 1_024 + n % 60_000);
    udp(
        &src,
        &format!("198.51.100.{}:{}", 2 + n % 200, 1 + n / 60_000),
    )
}

#[test]
fn rfc6888_req4_an_address_holds_no_more_than_its_quota() {
    let mut rig = Rig::sized(EIM_APDF, 1 << 16, 100);
    for n in 0..100 {
        rig.send(WEB, &flood(2, n)).unwrap();
    }
    let more = rig.send(WEB, &flood(2, 100));
    assert_eq!(more, Err(DropReason::QuotaExceeded));
    assert_eq!(rig.tables.held_by(WEB, ip("10.0.0.2")), 100);
    assert!(rig.send(WEB, &flood(3, 0)).is_ok(), "another address");
    let same_ip = udp("10.0.0.2:9", "198.51.100.9:9");
    assert!(
        rig.send(DB, &same_ip).is_ok(),
        "the address in another network"
    );
    rig.send(WEB, &flood(2, 50)).expect("what it has goes on");

    // What nobody has answered for five seconds gives way, one for one.
    rig.secs(5);
    rig.send(WEB, &flood(2, 100)).unwrap();
    assert_eq!(rig.tables.held_by(WEB, ip("10.0.0.2")), 100);
    // A quota is looked up live.
    rig.set(EIM_APDF, 200);
    rig.now = pipeline::Instant::from_secs(1_000);
    for n in 101..200 {
        rig.send(WEB, &flood(2, n)).unwrap();
    }
}

#[test]
fn at_its_quota_what_is_established_is_not_given_up() {
    let mut rig = Rig::sized(EIM_APDF, 1 << 16, 20);
    for n in 0..20 {
        let port = 50_000 + n;
        Conversation::open(&rig, &format!("10.0.0.2:{port}"), "198.51.100.9:443");
    }
    rig.secs(1_000);
    let more = rig.send(WEB, &syn("10.0.0.2:51000", "198.51.100.9:443"));
    assert_eq!(more, Err(DropReason::QuotaExceeded));
    assert_eq!(rig.list().len(), 20);
}

#[test]
fn a_flood_of_one_endpoint_leaves_others_unharmed() {
    for behaviour in [APDM_APDF, EIM_APDF] {
        // Room for 32,768 in all: far less than the flood asks for.
        let mut rig = Rig::sized(behaviour, 1 << 15, u32::MAX);
        let mut kept = Vec::new();
        for host in 3..103 {
            let src = format!("10.0.0.{host}:{}", 40_000 + host);
            let sent = udp(&src, "198.51.100.9:53");
            let external = rig.send(WEB, &sent).unwrap().src;
            rig.back("198.51.100.9:53", external).unwrap();
            kept.push((sent, external));
        }
        for n in 0..100_000 {
            rig.now = rig.now + std::time::Duration::from_micros(10);
            let _ = rig.send(WEB, &flood(2, n));
        }
        for (sent, external) in &kept {
            assert_eq!(rig.send(WEB, sent).unwrap().src, *external);
            assert!(rig.back("198.51.100.9:53", *external).is_ok());
        }
        for host in 103..203 {
            let src = format!("10.0.0.{host}:{}", 40_000 + host);
            let new = rig.send(WEB, &udp(&src, "198.51.100.9:53"));
            assert!(new.is_ok(), "10.0.0.{host} under {behaviour:?}: {new:?}");
        }
        assert!(rig.tables.len() <= 1 << 15);
    }
}

#[test]
fn a_flood_of_answered_connections_leaves_newcomers_room() {
    let rig = Rig::sized(APDM_APDF, 1 << 12, u32::MAX);
    for n in 0..10_000 {
        let sent = flood(2, n);
        if let Ok(out) = rig.send(WEB, &sent) {
            rig.receive(&udp(&out.dst.to_string(), &out.src.to_string()))
                .unwrap();
        }
    }
    for host in 3..53 {
        for n in 0..16 {
            let new = rig.send(WEB, &flood(host, n));
            assert!(new.is_ok(), "10.0.0.{host}, {n}: {new:?}");
        }
    }
}

#[test]
fn a_full_shard_of_equals_refuses_rather_than_robs() {
    let rig = Rig::sized(APDM_APDF, 16 * 8, u32::MAX);
    // Eight endpoints, one answered connection each, all in the shard of port 32.
    for host in 2..10 {
        let external = rig.out(&format!("10.0.0.{host}:32"), "198.51.100.9:53");
        rig.back("198.51.100.9:53", external).unwrap();
    }
    let more = rig.send(WEB, &udp("10.0.0.99:32", "198.51.100.9:53"));
    assert_eq!(more, Err(DropReason::NatTableFull));
    assert_eq!(rig.list().len(), 8);
}

#[test]
fn exhausted_ports_are_named_where_nobody_holds_too_many() {
    let mut rig = Rig::new(EIM_APDF);
    rig.range = crate::PortRange::new(50_000, 50_031).unwrap();
    // Two ports a shard, of either parity.
    let port = |host: u8| format!("10.0.0.{host}:50000");
    rig.out(&port(2), "198.51.100.9:53");
    let second = rig.out(&port(3), "198.51.100.9:53");
    assert_eq!(second.port, 50_001, "the other parity is better than none");
    let third = rig.send(WEB, &udp(&port(4), "198.51.100.9:53"));
    assert_eq!(third, Err(DropReason::PortsExhausted));
    rig.secs(300);
    let later = rig.send(WEB, &udp(&port(4), "198.51.100.9:53"));
    assert_eq!(
        later.unwrap().src.port,
        50_000,
        "the first is over, though not swept"
    );
}

#[test]
fn a_port_that_a_socket_of_the_host_has_is_nobodys_mapping() {
    let mut rig = Rig::new(EIM_APDF);
    rig.range = crate::PortRange::new(50_000, 50_063).unwrap();
    rig.spared.insert((UDP, 50_000));
    for host in 2..5 {
        let out = rig.out(&format!("10.0.0.{host}:50000"), "198.51.100.9:53");
        assert_ne!(out.port, 50_000);
    }
    let tcp = rig.send(WEB, &syn("10.0.0.2:50000", "198.51.100.9:53"));
    assert_eq!(tcp.unwrap().src.port, 50_000, "of another protocol");
}

#[test]
fn short_connections_to_one_peer_never_run_out_of_ports() {
    for behaviour in [EIM_APDF, EIM_EIF] {
        let rig = Rig::new(behaviour);
        // More than there are external ports, all in far less than four minutes.
        for port in 10_000..60_000 {
            let conversation =
                Conversation::open(&rig, &format!("10.0.0.2:{port}"), "198.51.100.9:443");
            conversation.sends(&rig, FIN_ACK, 101, 501).unwrap();
            conversation.answers(&rig, FIN_ACK, 501, 102).unwrap();
            conversation.sends(&rig, ACK, 102, 502).unwrap();
        }
        // What stands is not given up for them.
        let stands = Conversation::open(&rig, "10.0.0.2:9000", "198.51.100.9:443");
        for port in 10_000..60_000 {
            let _ = rig.send(WEB, &syn(&format!("10.0.0.2:{port}"), "198.51.100.8:443"));
        }
        stands.answers(&rig, ACK, 501, 101).unwrap();
    }
}

#[test]
fn who_calls_a_port_does_not_take_it() {
    // One port, and its holder has had the time that everybody gets.
    let mut rig = Rig::new(EIM_EIF);
    rig.range = crate::PortRange::new(50_000, 50_000).unwrap();
    let external = rig.out("10.0.0.2:50000", "198.51.100.9:53");
    rig.secs(10);
    let call = udp("10.0.0.3:50000", &external.to_string());
    for effects in [Effects::None, Effects::Live] {
        rig.effects = effects;
        assert_eq!(rig.turn(WEB, &call), Err(DropReason::PortsExhausted));
    }
    assert_eq!(rig.list()[0].inside().addr, addr("10.0.0.2:50000"));
}

#[test]
fn who_calls_a_port_does_not_take_its_holders_place() {
    // Two places a shard, and the callee has both.
    let mut rig = Rig::sized(EIM_EIF, 32, u32::MAX);
    let external = rig.out("10.0.0.2:32", "198.51.100.9:53");
    rig.out("10.0.0.2:32", "198.51.100.9:54");
    rig.secs(10);
    let call = udp("10.0.0.3:32", &external.to_string());
    for effects in [Effects::None, Effects::Live] {
        rig.effects = effects;
        assert_eq!(rig.turn(WEB, &call), Err(DropReason::NatTableFull));
    }
    assert_eq!(rig.list().len(), 2);
}

#[test]
fn who_is_robbed_of_what_is_told() {
    let rig = Rig::sized(EIM_APDF, 16, u32::MAX);
    rig.tables.watch(1_600);
    rig.out("10.0.0.2:32", "198.51.100.9:53");
    rig.out("10.0.0.2:32", "198.51.100.9:54");
    let mut events = Vec::new();
    assert_eq!(rig.tables.events(&mut events), 0);
    let what: Vec<_> = events
        .iter()
        .map(|event| (event.change, event.entry.responder.addr.port))
        .collect();
    assert_eq!(
        what,
        [
            (Change::Opened, 53),
            (Change::Ended(Ending::Evicted), 53),
            (Change::Opened, 54),
        ]
    );
}

#[test]
fn a_question_about_a_full_table_evicts_nothing() {
    let mut rig = Rig::sized(EIM_APDF, 16, u32::MAX);
    rig.out("10.0.0.2:32", "198.51.100.9:53");
    rig.effects = Effects::None;
    let asked = rig.send(WEB, &udp("10.0.0.2:32", "198.51.100.9:54"));
    assert!(asked.is_ok());
    assert_eq!(rig.list()[0].responder.addr.port, 53);
}
