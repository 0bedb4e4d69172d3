//! `clearway trace`: frames as they pass, with the decisions about them.

use super::line::Line;
use super::{HOST, Outside, WORLD, at};
use api::{TraceCount, TraceEvent, TraceRequest, TracedFrame};
use std::time::Instant;
use testbed::Namespace;
use testbed::traffic::{UdpLoad, udp_count};

impl Outside {
    /// The trace's values, from the moment on when every frame is looked at.
    fn trace(&self, request: &TraceRequest) -> api::Stream<TraceEvent> {
        self.clearway.client().trace(request).unwrap()
    }
}

fn filter(words: &str) -> TraceRequest {
    TraceRequest {
        filter: words.to_owned(),
        ..TraceRequest::default()
    }
}

fn labels(frame: &TracedFrame) -> Vec<&str> {
    frame.steps.iter().map(|s| s.label.as_str()).collect()
}

/// Asserts that `wanted` stand among `labels` in this order.
#[track_caller]
fn assert_in_order(labels: &[&str], wanted: &[&str]) {
    let mut rest = labels.iter();
    for label in wanted {
        assert!(
            rest.any(|l| l == label),
            "{label} of {wanted:?}: {labels:?}"
        );
    }
}

#[test]
fn a_connection_through_nat_is_traced_with_its_decisions_in_both_directions() {
    let outside = Outside::with_uplink();
    let (_, shop) = outside.web();
    let of_line = format!("host {} and tcp port 7000", WORLD[0]);
    let frames = outside.trace(&TraceRequest {
        frames: Some(2),
        ..filter(&of_line)
    });
    let line = Line::open((&outside.world, 7000), &shop.ns, at(WORLD[0], 7000));
    let events: Vec<_> = frames.map(Result::unwrap).collect();
    let [
        TraceEvent::Frame(syn),
        TraceEvent::Frame(answer),
        TraceEvent::End(end),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };

    assert_eq!(
        (syn.from.as_str(), syn.verdict.as_str(), syn.into.as_deref()),
        (shop.endpoint.id.as_str(), "routed", Some("eth0"))
    );
    let caller = line.caller();
    assert_eq!(
        syn.summary,
        format!("TCP {caller} -> {}:7000 [S]", WORLD[0])
    );
    let seen = format!("TCP {} -> {}:7000", line.seen, WORLD[0]);
    assert_eq!(syn.leaves_as, Some(seen));
    assert_in_order(
        &labels(syn),
        &[
            "parsed",
            "locked_mac",
            "locked_address",
            "in_vlan",
            "to_gateway",
            "to_uplink",
            "session_opened",
            "source_translated",
            "leaves",
        ],
    );
    let translated = syn.steps.iter().find(|s| s.label == "source_translated");
    let translated = translated.unwrap();
    assert_eq!(
        (translated.code, translated.stage.as_str()),
        (600, "translate")
    );
    assert_eq!(translated.fields["from"], caller.to_string());
    assert_eq!(translated.fields["to"], line.seen.to_string());

    assert_eq!(
        (answer.from.as_str(), answer.into.as_deref()),
        ("eth0", Some("web"))
    );
    assert!(answer.id != syn.id, "another packet");
    let back = format!(
        "TCP {}:7000 -> {}:{} [S.]",
        WORLD[0],
        HOST[0],
        line.seen.port()
    );
    assert_eq!(answer.summary, back);
    assert_in_order(
        &labels(answer),
        &[
            "session_found",
            "destination_translated",
            "to_port",
            "leaves",
        ],
    );
    assert_eq!((end.shown, end.lost), (2, 0));
    assert_eq!(end.matched, 2 + end.skipped);
}

#[test]
fn a_drop_says_why_and_other_frames_do_not_show() {
    let outside = Outside::with_uplink();
    let (web, shop) = outside.web();
    let peer = outside.clearway.container(&web);
    // Its kernel says which groups it listens to, of which nobody wants to hear: these are drops, too.
    let of_ipv4 = format!("endpoint {} and (ip or arp)", shop.endpoint.id);
    let frames = outside.trace(&TraceRequest {
        frames: Some(1),
        drops: true,
        ..filter(&of_ipv4)
    });
    shop.reaches(peer.ip(0));
    // Its neighbour's address is not its own.
    let stolen = format!("address add {}/32 dev eth0", peer.ip(0));
    shop.ns.ip(&stolen).unwrap();
    let from = peer.ip(0).to_string();
    let to = WORLD[0].to_string();
    let _ = shop
        .ns
        .output("ping", &["-c", "1", "-W", "1", "-I", &from, &to]);
    let events: Vec<_> = frames.map(Result::unwrap).collect();
    let [TraceEvent::Frame(frame), TraceEvent::End(_)] = &events[..] else {
        panic!("{events:?}");
    };
    let drop = frame.drop.as_ref().unwrap();
    assert!(
        ["spoofed_ip", "spoofed_arp"].contains(&drop.label.as_str()),
        "{frame:?}"
    );
    let last = frame.steps.last().unwrap();
    assert_eq!(
        (last.label.as_str(), last.stage.as_str()),
        ("dropped", "admit")
    );
    assert_eq!(last.fields["reason"], drop.label);
}

/// Seconds for which a load of two is watched: a busy machine takes longer.
const WATCHED: u32 = 10;

/// The reader does not read until all is over: what does not fit is counted to the frame.
#[test]
fn frames_that_a_slow_reader_misses_are_counted_exactly() {
    let outside = Outside::start();
    let web = outside.clearway.network("web", 1);
    let [shop, peer] = [(); 2].map(|()| outside.clearway.container(&web));
    shop.reaches(peer.ip(0));
    // From now on the container sends nothing of its own: what its interface refuses are datagrams.
    let quiet = "net.ipv6.conf.eth0.disable_ipv6=1";
    shop.ns.output("sysctl", &["-qw", quiet]).unwrap();
    let known = format!(
        "neigh replace {} lladdr {} dev eth0 nud permanent",
        peer.ip(0),
        peer.endpoint.mac
    );
    shop.ns.ip(&known).unwrap();
    // The queue of the TAP was full: such a datagram never came to the switch. The TAP is the container's
    // interface, or beside its veth's other end.
    let refused = || dropped(&shop.ns) + dropped(&outside.clearway.host);
    let before = refused();
    let begun = Instant::now();
    let frames = outside.trace(&TraceRequest {
        seconds: Some(WATCHED),
        ..filter(&format!("src {} and udp", shop.ip(0)))
    });
    let load = UdpLoad {
        size: 64,
        packets: 200_000,
        per_second: Some(100_000),
    };
    let report = udp_count(&peer.ns, &shop.ns, peer.ip(0), &load).unwrap();
    let carried = u64::from(report.sent) - (refused() - before);
    let took = begun.elapsed().as_secs();
    assert!(
        took < u64::from(WATCHED),
        "the load took {took} s, longer than it was watched"
    );

    let (mut shown, mut last_lost, mut end) = (0, 0, TraceCount::default());
    for event in frames {
        match event.unwrap() {
            TraceEvent::Frame(frame) => {
                assert_eq!(frame.from, shop.endpoint.id.as_str());
                shown += 1;
            }
            TraceEvent::Lost(count) => {
                assert!(count.lost > last_lost, "{count:?}");
                last_lost = count.lost;
            }
            TraceEvent::End(count) => end = count,
        }
    }
    assert_eq!(end.matched, carried, "{end:?} {report:?}");
    assert_eq!((end.shown, end.skipped), (shown, 0));
    assert_eq!(end.shown + end.lost, end.matched, "{end:?}");
    assert!(end.lost > 0 && shown > 0, "{end:?}");
}

/// Returns how many frames all interfaces of a namespace dropped that were to be sent.
fn dropped(namespace: &Namespace) -> u64 {
    let shown = namespace.ip("-s -j link show").unwrap();
    let links: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let links = links.as_array().unwrap().iter();
    links
        .map(|link| link["stats64"]["tx"]["dropped"].as_u64().unwrap())
        .sum()
}

#[test]
fn a_filter_that_is_wrong_is_refused_by_word_and_a_reader_may_hang_up() {
    let outside = Outside::start();
    let (client, web) = (
        outside.clearway.client(),
        outside.clearway.network("web", 1),
    );
    for (words, says) in [
        ("hots 10.0.0.1", "`hots` is not known"),
        ("endpoint bob", "there is no endpoint `bob`"),
        ("drop banana", "`banana` is not a drop reason"),
        ("tcp port 70000", "allowed are 0 to 65535"),
    ] {
        let error = client.trace(&filter(words)).unwrap_err().to_string();
        assert!(error.contains(says), "{words}: {error}");
    }
    // Twice as many as may run at once: those that nobody reads any more make room.
    let [shop, peer] = [(); 2].map(|()| outside.clearway.container(&web));
    for _ in 0..32 {
        let begun = testbed::wait_until("room for a trace", crate::fixture::SOON, || {
            client.trace(&filter("")).is_ok()
        });
        begun.unwrap();
    }
    shop.reaches(peer.ip(0));
}
