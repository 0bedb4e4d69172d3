//! Tests of what is seen of the tables, and what it costs.

use super::rig::*;
use crate::{Change, Ending, Entry, Imported, Phase};
use pipeline::{DropReason, Effects};

const A: &str = "10.0.0.2:50000";

#[test]
fn policy_is_asked_once_a_connection() {
    let rig = Rig::new(EIM_APDF);
    let mut asked = 0;
    for _ in 0..3 {
        rig.translator()
            .outbound(WEB, &udp(A, "198.51.100.9:53"), &rig.external(), || {
                asked += 1;
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(asked, 1);
    let denied =
        rig.translator()
            .outbound(WEB, &udp(A, "198.51.100.9:54"), &rig.external(), || {
                Err(DropReason::PolicyDenied)
            });
    assert_eq!(denied, Err(DropReason::PolicyDenied));
    assert_eq!(rig.list().len(), 1);
}

#[test]
fn policy_of_a_hairpin_is_asked_about_the_endpoint() {
    let mut rig = Rig::new(EIM_EIF);
    let b = inside(DB, "10.1.0.3:52000");
    let dynamic = rig.send(DB, &udp("10.1.0.3:52000", "198.51.100.9:1"));
    rig.publish(UDP, 53, b);
    for to in [addr("198.51.100.1:53"), dynamic.unwrap().src] {
        let call = udp(A, &to.to_string());
        let mut asked = Vec::new();
        let denied = rig.translator().hairpin(WEB, &call, &rig.external(), |to| {
            asked.push(to);
            Err(DropReason::PolicyDenied)
        });
        assert_eq!(denied, Err(DropReason::PolicyDenied));
        assert_eq!(asked, [b]);
    }
    assert_eq!(rig.list().len(), 1, "only B's own");
}

#[test]
fn a_protocol_without_ports_is_followed_but_not_translated() {
    let rig = Rig::new(EIM_APDF);
    let gre = flow(tuple(wire::IpProtocol(47), "10.0.0.2:0", "198.51.100.9:0"));
    assert_eq!(rig.send(WEB, &gre), Err(DropReason::Untranslatable));
    assert_eq!(rig.turn(WEB, &gre), Err(DropReason::Untranslatable));
    let back = flow(gre.tuple.reversed());
    let translator = rig.translator();
    translator.follow(WEB, UP, &gre, || Ok(())).unwrap();
    let never = || Err(DropReason::PolicyDenied);
    translator.follow(UP, WEB, &back, never).unwrap();
    assert_eq!(rig.list()[0].answered.packets, 1);
}

#[test]
fn answers_of_followed_flows_pass_and_strangers_are_asked_about() {
    let rig = Rig::new(EIM_APDF);
    let translator = rig.translator();
    let deny = || Err(DropReason::PolicyDenied);
    let call = udp(A, "10.1.0.3:53");
    let answer = udp("10.1.0.3:53", A);
    let denied = translator.follow(DB, WEB, &answer, deny);
    assert_eq!(denied, Err(DropReason::PolicyDenied));
    translator.follow(WEB, DB, &call, || Ok(())).unwrap();
    translator.follow(DB, WEB, &answer, deny).unwrap();
    // The same addresses between other networks are another flow.
    assert!(translator.follow(UP, WEB, &answer, deny).is_err());
    assert!(translator.follow(WEB, UP, &call, deny).is_err());
}

#[test]
fn a_question_changes_nothing_and_answers_as_a_packet() {
    for behaviour in [EIM_APDF, random(EIM_APDF), random(APDM_APDF)] {
        let mut rig = Rig::new(behaviour);
        for n in 0..100 {
            let new = udp(
                &format!("10.0.0.{}:{}", 2 + n % 7, 40_000 + n),
                "198.51.100.9:53",
            );
            rig.effects = Effects::None;
            let before = (rig.tables.len(), rig.list());
            let asked = rig.send(WEB, &new);
            assert_eq!((rig.tables.len(), rig.list()), before);
            rig.effects = Effects::Live;
            assert_eq!(rig.send(WEB, &new), asked);
        }
        let before = rig.list();
        rig.effects = Effects::None;
        rig.secs(10);
        let external = before[0].initiator.seen_as.unwrap();
        rig.back("198.51.100.9:53", external).unwrap();
        rig.now = pipeline::Instant::from_secs(1_000);
        assert_eq!(rig.list(), before, "nothing counted, nothing refreshed");
    }
}

#[test]
fn a_preset_holds_for_connections_that_are_there() {
    let mut rig = Rig::new(EIM_APDF);
    let external = rig.out(A, "198.51.100.9:53");
    assert_eq!(
        rig.back("198.51.100.8:53", external),
        Err(DropReason::Filtered)
    );
    rig.set(EIM_EIF, u32::MAX);
    assert!(rig.back("198.51.100.8:53", external).is_ok());
    rig.set(crate::Preset::Linux.behaviour(), u32::MAX);
    rig.secs(30);
    assert!(rig.list().is_empty(), "30 seconds for what nobody answers");
}

#[test]
fn a_connection_that_begins_anew_may_have_its_port_again() {
    let mut rig = Rig::new(EIM_APDF);
    rig.range = crate::PortRange::new(50_000, 50_000).unwrap();
    let conversation = Conversation::open(&rig, A, "198.51.100.9:443");
    conversation.sends(&rig, RST, 101, 0).unwrap();
    rig.set(APDM_APDF, u32::MAX);
    let again = rig.send(WEB, &syn(A, "198.51.100.9:443"));
    assert_eq!(again.unwrap().src.port, 50_000);
    assert_eq!(rig.list().len(), 1);
}

#[test]
fn networks_with_the_same_addresses_do_not_meet() {
    let rig = Rig::new(EIM_APDF);
    let one = rig.send(WEB, &udp(A, "198.51.100.9:53")).unwrap().src;
    let two = rig.send(DB, &udp(A, "198.51.100.9:53")).unwrap().src;
    assert_ne!(one, two);
    let to = |external| rig.back("198.51.100.9:53", external).unwrap().0;
    assert_eq!((to(one), to(two)), (inside(WEB, A), inside(DB, A)));
}

#[test]
fn a_mapping_at_an_address_the_uplink_lost_is_made_anew() {
    let mut rig = Rig::new(EIM_APDF);
    rig.out(A, "198.51.100.9:53");
    rig.addresses = vec![ip("198.51.100.2")];
    let moved = rig.out(A, "198.51.100.9:54");
    assert_eq!(moved, addr("198.51.100.2:50000"));
}

#[test]
fn a_published_port_is_nobodys_mapping() {
    let mut rig = Rig::new(EIM_APDF);
    rig.publish(UDP, 50_000, inside(DB, "10.1.0.3:53"));
    assert_ne!(rig.out(A, "198.51.100.9:53").port, 50_000);
    // The endpoint behind it is known by it, whatever it does.
    let own = rig.send(DB, &udp("10.1.0.3:53", "198.51.100.9:99"));
    assert_eq!(own.unwrap().src, addr("198.51.100.1:50000"));
}

#[test]
fn listing_filters_flushing_and_counters() {
    let mut rig = Rig::new(EIM_APDF);
    let external = rig.out(A, "198.51.100.9:53");
    rig.secs(7);
    rig.back("198.51.100.9:53", external).unwrap();
    rig.out("10.0.0.3:40000", "198.51.100.10:80");
    let of_a = |entry: &Entry| entry.inside().addr == addr(A);
    let [entry] = &rig.tables.list(&rig.settings, rig.now, of_a)[..] else {
        panic!("one");
    };
    assert_eq!(entry.inside().seen_as, Some(external));
    assert_eq!(entry.peer().addr, addr("198.51.100.9:53"));
    assert_eq!(entry.state, "two-way");
    assert_eq!(entry.age.as_secs(), 7);
    assert_eq!((entry.sent.packets, entry.answered.bytes), (1, 100));
    let gone = rig
        .tables
        .retain(&rig.settings, rig.now, |entry| !of_a(entry));
    assert_eq!(gone, 1);
    assert_eq!(rig.list().len(), 1);
    assert_eq!(rig.tables.held_by(WEB, ip("10.0.0.2")), 0);
    let gone = rig
        .tables
        .retain(&rig.settings, rig.now, |entry| entry.peer().addr.port != 80);
    assert_eq!((gone, rig.tables.len()), (1, 0));
    assert_eq!(
        rig.back("198.51.100.9:53", external),
        Err(DropReason::NoMapping)
    );
}

#[test]
fn events_are_kept_in_order_and_losses_counted() {
    let mut rig = Rig::new(EIM_APDF);
    rig.out("10.0.0.9:1", "198.51.100.9:53");
    rig.tables.watch(16);
    let conversation = Conversation::open(&rig, A, "198.51.100.9:443");
    rig.secs(1);
    conversation.sends(&rig, RST, 101, 0).unwrap();
    rig.secs(240);
    assert_eq!(rig.tables.expire(&rig.settings, rig.now, 1 << 20), 1);
    let mut events = Vec::new();
    let lost = rig.tables.events(&mut events);
    // One event a shard is kept: the first.
    assert_eq!((events.len(), lost), (1, 3));
    assert_eq!(events[0].change, Change::Opened);
    assert_eq!(events[0].entry.state, "SYN_SENT");
    rig.tables.watch(1_600);
    rig.out(A, "198.51.100.9:53");
    rig.secs(300);
    rig.tables.expire(&rig.settings, rig.now, 1 << 20);
    events.clear();
    assert_eq!(rig.tables.events(&mut events), 0);
    let changes: Vec<_> = events.iter().map(|event| event.change).collect();
    let expired = Change::Ended(Ending::Expired);
    assert_eq!(changes, [Change::Opened, expired, expired]);
    assert!(rig.tables.is_empty());
}

#[test]
fn each_step_of_a_connection_is_told() {
    let mut rig = Rig::new(EIM_APDF);
    rig.tables.watch(1_600);
    let conversation = Conversation::open(&rig, A, "198.51.100.9:443");
    conversation.sends(&rig, RST, 101, 0).unwrap();
    rig.secs(240);
    rig.tables.expire(&rig.settings, rig.now, 1 << 20);
    let mut events = Vec::new();
    assert_eq!(rig.tables.events(&mut events), 0);
    let told: Vec<_> = events.iter().map(|e| (e.change, e.entry.phase)).collect();
    assert_eq!(
        told,
        [
            (Change::Opened, Phase::Opening),
            (Change::Established, Phase::Established),
            (Change::Closed, Phase::Closing),
            (Change::Ended(Ending::Expired), Phase::Closing),
        ]
    );
}

#[test]
fn connections_outlive_a_restart() {
    for behaviour in [EIM_APDF, EIM_ADF, ADM_APDF, APDM_EIF, APDM_APDF] {
        let mut old = Rig::new(behaviour);
        old.publish(UDP, 7_000, inside(DB, "10.1.0.9:53"));
        let external = old.out(A, "198.51.100.9:53");
        old.out(A, "198.51.100.9:54");
        old.back("198.51.100.9:53", external).unwrap();
        let conversation = Conversation::open(&old, A, "198.51.100.9:443");
        old.receive(&udp("198.51.100.9:5", "198.51.100.1:7000"))
            .unwrap();
        old.turn(WEB, &udp("10.0.0.3:40000", "198.51.100.1:7000"))
            .unwrap();
        let call = udp("10.0.0.2:5", "10.1.0.3:6");
        old.translator().follow(WEB, DB, &call, || Ok(())).unwrap();
        old.secs(20);

        let mut new = Rig::new(behaviour);
        new.publish(UDP, 7_000, inside(DB, "10.1.0.9:53"));
        new.now = old.now;
        let stored = old.tables.export(&old.settings, old.now);
        let put = |one| {
            new.tables
                .import(one, (&new.published, &new.settings), new.now)
        };
        for one in &stored {
            assert_eq!(put(one), Imported::Added);
            assert_eq!(put(one), Imported::Refused, "once");
        }
        let sorted = |rig: &Rig| {
            let mut list = rig.list();
            list.sort_by_key(|entry| (entry.protocol, entry.initiator, entry.responder));
            list
        };
        assert_eq!(sorted(&old), sorted(&new));
        assert_eq!(new.out(A, "198.51.100.9:54"), old.out(A, "198.51.100.9:54"));
        assert!(new.back("198.51.100.9:53", external).is_ok());
        conversation.sends(&new, ACK, 101, 501).unwrap();
        new.secs(7_440);
        new.tables.expire(&new.settings, new.now, 1 << 20);
        assert!(new.tables.is_empty());
    }
}

#[test]
fn a_stored_connection_is_refused_where_packets_would_not_find_it() {
    let mut rig = Rig::new(EIM_APDF);
    rig.publish(UDP, 7_000, inside(DB, "10.1.0.9:53"));
    rig.out(A, "198.51.100.9:53");
    rig.receive(&udp("198.51.100.9:5", "198.51.100.1:7000"))
        .unwrap();
    let stored = rig.tables.export(&rig.settings, rig.now);
    let refuses = |other: &Rig| {
        stored.iter().all(|one| {
            let given = (&other.published, &other.settings);
            other.tables.import(one, given, other.now) == Imported::Refused
        })
    };
    let mut other = Rig::new(EIM_APDF);
    other.publish(UDP, 50_000, inside(DB, "10.1.0.9:53"));
    assert!(refuses(&other), "other ports are published");
    let taken = Rig::new(EIM_APDF);
    taken.out("10.0.0.77:50000", "198.51.100.9:53");
    assert!(refuses(&taken), "the port is another's");
}

#[test]
fn expiry_works_through_the_table_in_bounded_steps() {
    let mut rig = Rig::new(APDM_APDF);
    for n in 0..16_000 {
        let src = format!("10.0.{}.{}:{}", n % 250, n % 241, 10_000 + n);
        rig.out(&src, &format!("198.51.100.{}:53", 2 + n % 200));
    }
    rig.secs(300);
    let mut steps = 0;
    while !rig.tables.is_empty() {
        let freed = rig.tables.expire(&rig.settings, rig.now, 1_600);
        assert!(freed <= 1_600);
        steps += 1;
    }
    assert!((10..=12).contains(&steps), "{steps}");
}

#[test]
fn expiry_looks_at_each_connection_once_however_much_it_may_do() {
    let mut rig = Rig::new(EIM_APDF);
    for n in 0..40 {
        rig.out(&format!("10.0.0.2:{}", 50_000 + n), "198.51.100.9:53");
    }
    let expire = |rig: &Rig| rig.tables.expire(&rig.settings, rig.now, usize::MAX);
    assert_eq!(expire(&rig), 0);
    rig.secs(300);
    assert_eq!(expire(&rig), 40);
}

#[test]
fn a_connection_costs_256_bytes_at_most() {
    // The dearest kind: every connection has a mapping and a port of its own.
    let mut rig = Rig::sized(EIM_APDF, 1 << 18, u32::MAX);
    rig.addresses = (1..=5).map(|n| ip(&format!("198.51.100.{n}"))).collect();
    rig.range = crate::PortRange::new(1_024, 65_535).unwrap();
    let mut n = 0u32;
    while rig.tables.len() < 1 << 18 && n < 1 << 19 {
        let src = format!("10.0.{}.{}:{}", n % 16, n / 16 % 16, 1_024 + n % 61_001);
        let _ = rig.send(WEB, &udp(&src, "198.51.101.9:53"));
        n += 1;
    }
    let (count, bytes) = (rig.tables.len(), rig.tables.bytes());
    assert!(count > (1 << 18) * 9 / 10, "{count}");
    let each = bytes / count;
    println!("{each} bytes a connection");
    assert!(each <= 256, "{each} bytes each of {count}");
    let empty = Rig::new(EIM_APDF).tables.bytes();
    assert!(empty < 64 * 1024, "{empty} bytes of nothing");
}

#[test]
fn workers_share_the_tables() {
    let rig = Rig::sized(EIM_APDF, 1 << 12, 500);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let rig = &rig;
            scope.spawn(move || {
                for n in 0..5_000 {
                    let host = 2 + (worker * 7 + n) % 20;
                    let src = format!("10.0.0.{host}:{}", 40_000 + n % 900);
                    let Ok(out) = rig.send(WEB, &udp(&src, "198.51.100.9:53")) else {
                        continue;
                    };
                    // Another worker may have evicted it in between; it is never anybody else's.
                    if let Ok((to, _)) = rig.back("198.51.100.9:53", out.src) {
                        assert_eq!(to.network, WEB);
                    }
                    if n % 500 == 0 {
                        rig.tables.expire(&rig.settings, rig.now, 100);
                        let _ = rig.list();
                    }
                }
            });
        }
    });
    let list = rig.list();
    for host in 2..22 {
        let own = ip(&format!("10.0.0.{host}"));
        let held = list.iter().filter(|e| e.inside().addr.ip == own).count();
        assert_eq!(rig.tables.held_by(WEB, own) as usize, held);
    }
    assert!(rig.tables.len() <= 1 << 12);
}
