//! Connections that pass by leases, too: it is as if all was seen here.

use super::rig::*;
use crate::tcp::{Said, Side, Tracker};
use crate::{Ledger, Over, Repeated, SessionId, Tuple};
use pipeline::{DropReason, Instant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const A: &str = "10.0.0.2:40000";
const P: &str = "198.51.100.99:80";
/// The slots of what A sends and of what it gets.
const SLOTS: [u32; 2] = [7, 8];

/// Packets that passed by each slot and were not taken yet, and what was told of it.
#[derive(Debug, Default)]
struct Slots(Mutex<BTreeMap<u32, Repeated>>, Mutex<BTreeMap<u32, Said>>);

impl Ledger for Slots {
    fn take(&self, slot: u32) -> Repeated {
        let mut slots = self.0.lock().unwrap();
        slots.remove(&slot).unwrap_or_default()
    }

    fn say(&self, slot: u32, said: Said) {
        self.1.lock().unwrap().insert(slot, said);
    }
}

impl Slots {
    fn of(rig: &Rig) -> Arc<Self> {
        let slots = Arc::new(Self::default());
        let ledger: Arc<dyn Ledger> = slots.clone();
        rig.tables.keep_ledger(&ledger);
        slots
    }

    fn repeat(&self, slot: u32, packets: u64, last: Instant, said: Option<Said>) {
        let repeated = Repeated {
            packets,
            bytes: 1000 * packets,
            last,
            said,
        };
        self.0.lock().unwrap().insert(slot, repeated);
    }
}

fn said(end: u32, ack: u32) -> Option<Said> {
    Some(Said {
        end,
        ack,
        window: 65_535,
        finished: false,
        scale: None,
        acks: true,
    })
}

/// The session of a packet from inside that has passed, with leases for both directions.
fn lease(rig: &Rig, sent: &Tuple) -> SessionId {
    let out = rig.send(WEB, &flow_of(sent)).unwrap();
    let external = rig.external();
    let known = rig.translator().known_outbound(WEB, sent, &external, &out);
    let known = known.unwrap();
    assert_eq!(known.side, Side::Initiator);
    for (side, slot) in [Side::Initiator, Side::Responder].into_iter().zip(SLOTS) {
        assert!(rig.tables.lease(known.session, side, slot).is_some());
    }
    known.session
}

/// A packet that changes nothing.
fn flow_of(sent: &Tuple) -> crate::Flow {
    match sent.protocol {
        TCP => segment(*sent, ACK, 101, 501),
        _ => flow(*sent),
    }
}

fn over(rig: &Rig) -> Vec<(u32, SessionId)> {
    let mut over: Vec<Over> = Vec::new();
    let any = rig.tables.has_over();
    rig.tables.take_over(&mut over);
    assert_eq!(any, !over.is_empty());
    assert!(!rig.tables.has_over());
    over.iter().map(|it| (it.slot, it.session)).collect()
}

#[test]
fn it_lives_and_counts_by_what_passes_elsewhere() {
    let mut rig = Rig::new(EIM_EIF);
    let slots = Slots::of(&rig);
    let sent = tuple(UDP, A, P);
    let session = lease(&rig, &sent);
    for _ in 0..100 {
        rig.secs(25);
        slots.repeat(SLOTS[0], 3, rig.now, None);
        slots.repeat(SLOTS[1], 2, rig.now, None);
        rig.tables.settle(session, rig.now);
    }
    let [entry] = &rig.list()[..] else {
        panic!("one connection");
    };
    assert_eq!((entry.sent.packets, entry.sent.bytes), (301, 300_100));
    assert_eq!((entry.answered.packets, entry.state), (200, "two-way"));
    // Nobody settled: who looks sees it all the same, and who sweeps, too.
    rig.secs(25);
    slots.repeat(SLOTS[0], 1, rig.now, None);
    assert_eq!(rig.list()[0].sent.packets, 302);
    rig.secs(200);
    slots.repeat(SLOTS[0], 1, rig.now, None);
    assert_eq!(rig.tables.expire(&rig.settings, rig.now, 1 << 20), 0);
    assert!(over(&rig).is_empty());
    // Silence ends it, and its leases with it.
    rig.secs(10_000);
    assert_eq!(rig.tables.expire(&rig.settings, rig.now, 1 << 20), 1);
    assert_eq!(over(&rig), SLOTS.map(|slot| (slot, session)));
    assert!(over(&rig).is_empty());
}

#[test]
fn only_the_inside_keeps_what_it_has_given_up_alive() {
    // As for packets that are seen (RFC 4787 REQ-6): an unanswered call from outside is not prolonged by it.
    let mut rig = Rig::new(EIM_EIF);
    let slots = Slots::of(&rig);
    let external = rig.out(A, P);
    let caller = tuple(UDP, "198.51.100.77:5000", &external.to_string());
    rig.receive(&flow(caller)).unwrap();
    let (_, outer) = rig.receive(&flow(caller)).unwrap();
    let known = rig
        .translator()
        .known_inbound(&caller, &rig.external(), &outer);
    let session = known.unwrap().session;
    assert!(rig.tables.lease(session, Side::Initiator, 9).is_some());
    for _ in 0..40 {
        rig.secs(10);
        slots.repeat(9, 1, rig.now, None);
        rig.tables.settle(session, rig.now);
    }
    assert!(rig.list().is_empty());
}

#[test]
fn a_reset_is_judged_by_what_was_said_elsewhere() {
    let rig = Rig::new(EIM_EIF);
    let slots = Slots::of(&rig);
    let conversation = Conversation::open(&rig, A, P);
    let session = lease(&rig, &conversation.sent);
    // A million bytes each way.
    let news = |by: u32| {
        slots.repeat(SLOTS[0], 1000, rig.now, said(101 + by, 501 + by));
        slots.repeat(SLOTS[1], 1000, rig.now, said(501 + by, 101 + by));
    };
    news(1_000_000);
    // Blind: what was right a million bytes ago, and anything else, is outside of the window.
    let outside = Err(DropReason::TcpOutOfWindow);
    for seq in [501, 400_000, 3_000_000_000] {
        assert_eq!(conversation.answers(&rig, RST, seq, 0), outside, "{seq}");
    }
    // Inside of it, for its receiver to challenge.
    news(2_000_000);
    conversation.answers(&rig, RST, 2_000_600, 0).unwrap();
    assert_eq!(rig.list()[0].state, "ESTABLISHED");
    assert!(over(&rig).is_empty());
    // The number that is expected now, though nobody here saw a segment with it.
    news(3_000_000);
    conversation.answers(&rig, RST, 3_000_501, 0).unwrap();
    assert_eq!(rig.list()[0].state, "CLOSE");
    assert_eq!(over(&rig), SLOTS.map(|slot| (slot, session)));
}

#[test]
fn a_connection_that_ended_elsewhere_is_over_and_can_begin_anew() {
    let rig = Rig::new(EIM_EIF);
    let slots = Slots::of(&rig);
    let conversation = Conversation::open(&rig, A, P);
    let session = lease(&rig, &conversation.sent);
    let finished = |end, ack| {
        said(end, ack).map(|said| Said {
            finished: true,
            ..said
        })
    };
    slots.repeat(SLOTS[0], 5, rig.now, finished(2_002, 501));
    rig.tables.settle(session, rig.now);
    assert_eq!(rig.list()[0].state, "FIN_WAIT");
    assert!(over(&rig).is_empty());
    slots.repeat(SLOTS[0], 1, rig.now, finished(2_002, 7_002));
    slots.repeat(SLOTS[1], 5, rig.now, finished(7_002, 2_002));
    // Nobody was told yet; a SYN with the same ports finds it over.
    let out = rig.send(WEB, &segment(conversation.sent, SYN, 9_000, 0));
    out.unwrap();
    assert_eq!(rig.list()[0].state, "SYN_SENT");
    let mut slots_over = over(&rig);
    slots_over.dedup();
    assert!(slots_over.iter().all(|(_, of)| *of == session));
    assert!(slots_over.iter().any(|(slot, _)| *slot == SLOTS[0]));
    assert!(slots_over.iter().any(|(slot, _)| *slot == SLOTS[1]));
    // What is said of the old one is not about the new one.
    slots.repeat(SLOTS[0], 1, rig.now, said(1, 1));
    rig.tables.settle(session, rig.now);
    rig.tables.release(session, Side::Initiator, rig.now);
    assert!(rig.tables.lease(session, Side::Initiator, 11).is_none());
    assert_eq!(rig.list()[0].sent.packets, 1);
}

#[test]
fn a_lease_is_one_of_a_live_session_and_is_released_once_nothing_passes() {
    let rig = Rig::new(EIM_EIF);
    let slots = Slots::of(&rig);
    let conversation = Conversation::open(&rig, A, P);
    let session = lease(&rig, &conversation.sent);
    let (tables, first) = (&rig.tables, Side::Initiator);
    assert!(tables.lease(session, first, 12).is_none(), "it has one");
    rig.tables.retain(&rig.settings, rig.now, |_| true);
    slots.repeat(SLOTS[0], 4, rig.now, said(500, 501));
    tables.release(session, first, rig.now);
    assert_eq!(rig.list()[0].sent.packets, 7, "the last are not lost");
    let begins = tables.lease(session, first, 12).unwrap();
    assert_eq!(begins.unwrap().end, 500, "it begins where the last one was");
    // Flushed: both that are left.
    rig.tables.retain(&rig.settings, rig.now, |_| false);
    assert_eq!(over(&rig), [(12, session), (SLOTS[1], session)]);
    assert!(tables.lease(session, first, 13).is_none(), "it is gone");
}

#[test]
fn a_sender_that_has_come_further_than_numbers_tell_is_followed() {
    let syn = |from| crate::tcp::Segment {
        flags: from,
        seq: 100,
        ack: 101,
        window: 1000,
        len: 0,
        window_scale: Some(14),
    };
    let mut tracker = Tracker::new(&syn(SYN)).unwrap();
    tracker
        .advance(Side::Responder, &syn(SYN_ACK), false)
        .unwrap();
    let far = 101_u32.wrapping_add(3_500_000_000);
    tracker.take_in([said(far, 101), said(101, far)], true);
    assert_eq!(tracker.said(Side::Initiator).end, far);
    assert_eq!(tracker.said(Side::Responder).ack, far);
}
