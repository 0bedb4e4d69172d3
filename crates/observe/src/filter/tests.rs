use super::*;
use crate::{Flow, Party, Record, Verdict};
use model::NatState;
use pipeline::{Decision, DropReason, Frame, Instant, NetworkId, PortId, Trace, WorkerId};
use proptest::prelude::*;
use std::net::IpAddr;
use wire::craft::{Link, TcpSegment};
use wire::{IpProtocol, MacAddr, TransportAddr, VlanTag, VnetHeader};

const ANN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

struct Town;

impl Resolve for Town {
    fn port_id(&self, name: &str) -> Option<PortId> {
        matches!(name, "ann" | "80").then_some(PortId(1))
    }

    fn network_id(&self, name: &str) -> Option<NetworkId> {
        (name == "web").then_some(NetworkId(5))
    }

    fn endpoint_ids(&self, name: &str) -> Option<EndpointIds> {
        let (ip, port) = match name {
            "shop" => ("10.80.0.2", None),
            "db" => ("10.80.0.3", None),
            "ann" => ("10.80.0.4", Some(PortId(1))),
            _ => return None,
        };
        Some(EndpointIds {
            port,
            network: NetworkId(5),
            ips: vec![ip.parse().unwrap()],
        })
    }
}

fn record(mut bytes: Vec<u8>, steps: &[Decision], verdict: Verdict) -> Record {
    let end = bytes.len();
    let frame = Frame::new(&mut bytes, 0, end, VnetHeader::default());
    let mut record = Record::new(&frame, PortId(1), Instant::ZERO, WorkerId(0));
    (record.network, record.verdict) = (Some(NetworkId(5)), verdict);
    steps.iter().for_each(|step| record.steps.tell(*step));
    record
}

/// TCP from 10.80.0.2:22222 to 198.51.100.1:443, which leaves as 198.51.100.2:63214.
fn masqueraded() -> Record {
    let bytes = Link::new(ANN, GATEWAY)
        .ipv4([10, 80, 0, 2].into(), [198, 51, 100, 1].into())
        .tcp(TcpSegment {
            src_port: 22222,
            dst_port: 443,
            ..TcpSegment::default()
        });
    let addr = |ip: [u8; 4], port| TransportAddr::new(ip.into(), port);
    let translated = Decision::SourceTranslated {
        from: addr([10, 80, 0, 2], 22222),
        to: addr([198, 51, 100, 2], 63214),
    };
    let leaves = Decision::Leaves { port: PortId(9) };
    record(bytes, &[translated, leaves], Verdict::Routed)
}

fn matches(filter: &str, record: &Record) -> bool {
    let filter =
        Filter::parse(filter, Subject::Frames).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let compiled = filter.compile(&Town).unwrap();
    compiled.matches(&Flow::of(record, None))
}

#[track_caller]
fn check(record: &Record, yes: &[&str], no: &[&str]) {
    for filter in yes {
        assert!(matches(filter, record), "{filter} matches");
        assert!(!matches(&format!("not ({filter})"), record), "not {filter}");
    }
    for filter in no {
        assert!(!matches(filter, record), "{filter} does not match");
    }
}

#[test]
fn a_translated_packet_is_found_by_both_of_its_sources() {
    check(
        &masqueraded(),
        &[
            "host 10.80.0.2",
            "src host 198.51.100.2",
            "src 10.80.0.2 and dst 198.51.100.1",
            "net 198.51.100.0/24",
            "dst net 198.51.100.77/24",
            "tcp",
            "ip",
            "port 443",
            "tcp dst port 443",
            "src port 63214",
            "src or dst port 22222",
            "tcp portrange 440-450",
            "proto 6",
            "nat",
            "verdict routed",
            "network web",
            "endpoint shop",
            "port ann",
            "port \"80\"",
            "ether host 02:00:00:00:00:01",
            "02:00:00:00:00:fe",
            "ether dst 02:00:00:00:00:fe",
            "greater 54 and less 54",
            "stage translate",
        ],
        &[
            "dst host 10.80.0.2",
            "src 198.51.100.1",
            "udp",
            "udp port 443",
            "tcp src port 443",
            "ip6 or arp",
            "host 2001:db8::1",
            "port 80",
            "vlan",
            "drop",
            "verdict dropped",
            "endpoint db",
            "ether src 02:00:00:00:00:fe",
            "broadcast",
            "multicast",
            "greater 55",
            "stage admit",
        ],
    );
}

#[test]
fn an_empty_filter_matches_everything() {
    assert!(matches("", &masqueraded()) && matches(" \n", &masqueraded()));
}

#[test]
fn and_and_or_have_one_precedence_and_join_from_the_left() {
    let record = masqueraded();
    // As libpcap does: (tcp or udp) and udp.
    assert!(!matches("tcp or udp and udp", &record));
    assert!(matches("tcp or (udp and udp)", &record));
    assert!(matches("udp && udp || tcp", &record));
    assert!(matches("!udp and not not tcp", &record));
}

#[test]
fn arp_vlans_and_groups() {
    let mut bytes = Link::new(ANN, MacAddr::BROADCAST)
        .arp_request([10, 80, 0, 2].into(), [10, 80, 0, 3].into());
    let arp = record(bytes.clone(), &[], Verdict::Flooded);
    check(
        &arp,
        &[
            "arp",
            "host 10.80.0.3",
            "broadcast",
            "ether broadcast",
            "multicast",
        ],
        &["ip", "port 0", "proto 0", "vlan", "src 10.80.0.3"],
    );
    let tag = VlanTag {
        tpid: VlanTag::CTAG,
        tci: 10,
    };
    bytes.splice(12..12, tag.to_bytes());
    let tagged = record(bytes, &[], Verdict::Flooded);
    check(
        &tagged,
        &["vlan", "vlan 10", "vlan 10 and arp"],
        &["vlan 11"],
    );
}

#[test]
fn drops_by_reason_and_by_a_port_that_refused() {
    let short = record(vec![1; 4], &[], Verdict::Dropped(DropReason::FrameTooShort));
    check(
        &short,
        &["drop", "drop frame_too_short", "verdict dropped", "less 14"],
        &[
            "drop spoofed_ip",
            "ip",
            "host 10.0.0.1",
            "ether host 01:01:01:01:01:01",
        ],
    );
    let refused = Decision::PortRefused {
        port: PortId(9),
        reason: DropReason::TxFull,
    };
    let lost = record(vec![0; 60], &[refused], Verdict::Forwarded);
    check(
        &lost,
        &["drop tx_full", "drop"],
        &["drop tx_gone", "verdict dropped"],
    );
    let all = Filter::parse("", Subject::Frames)
        .unwrap()
        .compile(&Town)
        .unwrap();
    let kept = Flow::of(&lost, None);
    assert!(all.clone().and_dropped().matches(&kept));
    assert!(!all.and_dropped().matches(&Flow::of(&masqueraded(), None)));
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let refused = |filter: &str| {
        Filter::parse(filter, Subject::Frames)
            .unwrap_err()
            .to_string()
    };
    for (filter, says) in [
        (
            "hots 10.0.0.1",
            "`hots` is not known; a filter is made of host, net,",
        ),
        ("host web-1", "`web-1` is not an IP address"),
        (
            "net 10.0.0.0/40",
            "`10.0.0.0/40` stands where a prefix like",
        ),
        (
            "tcp port 70000",
            "`70000` is not a port number; allowed are 0 to 65535",
        ),
        (
            "src port db",
            "`db` is not a port number; allowed are 0 to 65535",
        ),
        ("portrange 9-1", "the port range 9-1 ends before it begins"),
        (
            "vlan 4096",
            "`4096` is not a VLAN id; allowed are 0 to 4095",
        ),
        (
            "proto 256",
            "`256` is not a protocol number; allowed are 0 to 255",
        ),
        ("ether host 02:00", "`02:00` is not a MAC address"),
        (
            "drop spoofed",
            "`spoofed` is not a drop reason; similar are spoofed_mac,",
        ),
        (
            "drop banana",
            "`banana` is not a drop reason; `clearway drops` lists them",
        ),
        (
            "verdict lost",
            "`lost` is not a verdict; allowed are forwarded, flooded,",
        ),
        (
            "stage nat",
            "`nat` is not a stage; allowed are parse, admit,",
        ),
        (
            "tcp udp",
            "`udp` stands where `and`, `or` or the end was expected",
        ),
        ("(tcp", "a bracket is not closed"),
        (
            "tcp)",
            "`)` stands where `and`, `or` or the end was expected",
        ),
        ("tcp and", "the end stands where host, net,"),
        ("tcp & udp", "`&` alone is no operator; write `&&`"),
        ("port \"db", "the quotation mark before `db` is not closed"),
        (
            "network",
            "the end stands where the name of a network was expected",
        ),
    ] {
        let error = refused(filter);
        assert!(error.starts_with(says), "{filter}: {error}");
    }
    assert!(refused(&"(".repeat(40)).contains("more than 32 open brackets"));
    assert!(refused(&"not ".repeat(190)).contains("more than 32 open brackets"));
    assert!(refused(&"tcp ".repeat(201)).contains("more than 200 words"));
}

#[test]
fn a_name_that_is_not_there_is_named() {
    for (filter, says) in [
        ("port bob", "there is no port `bob`"),
        ("tcp and network bob", "there is no network `bob`"),
        ("not endpoint bob", "there is no endpoint `bob`"),
    ] {
        let filter = Filter::parse(filter, Subject::Frames).unwrap();
        assert_eq!(filter.compile(&Town).unwrap_err().to_string(), says);
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "host",
        "net",
        "port",
        "portrange",
        "src",
        "dst",
        "or",
        "and",
        "not",
        "(",
        ")",
        "!",
        "&&",
        "||",
        "tcp",
        "udp",
        "icmp",
        "arp",
        "ip",
        "ip6",
        "vlan",
        "drop",
        "tx_full",
        "verdict",
        "routed",
        "stage",
        "route",
        "nat",
        "endpoint",
        "shop",
        "network",
        "web",
        "10.80.0.2",
        "10.80.0.0/16",
        "443",
        "1-500",
        "ether",
        "02:00:00:00:00:01",
        "broadcast",
        "greater",
        "less",
        "proto",
        "\"80\"",
        "ünïcode",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

proptest! {
    /// Any text is refused with a sentence or answers, and its negation answers the
    /// opposite.
    #[test]
    fn any_words_are_a_filter_or_refused(text in words()) {
        let Ok(filter) = Filter::parse(&text, Subject::Frames) else { return Ok(()) };
        prop_assert_eq!(filter.to_string(), text.clone());
        let Ok(compiled) = filter.compile(&Town) else { return Ok(()) };
        let record = masqueraded();
        let answer = compiled.matches(&Flow::of(&record, None));
        if !text.trim().is_empty() {
            prop_assert_eq!(matches(&format!("not ({text})"), &record), !answer);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = Filter::parse(&text, Subject::Frames);
    }

    /// An address test agrees with comparing the addresses by hand.
    #[test]
    fn hosts_and_nets_are_those_of_the_headers(src: [u8; 4], dst: [u8; 4], asked: [u8; 4], len in 0u8..=32) {
        let bytes = Link::new(ANN, GATEWAY).ipv4(src.into(), dst.into()).udp(1, 2, b"");
        let record = record(bytes, &[], Verdict::Routed);
        let ip = IpAddr::from(asked);
        let near = |other: [u8; 4]| {
            let shift = 32 - u32::from(len);
            let cut = |ip: [u8; 4]| u32::from_be_bytes(ip).checked_shr(shift).unwrap_or(0);
            cut(asked) == cut(other)
        };
        prop_assert_eq!(matches(&format!("net {ip}/{len}"), &record), near(src) || near(dst));
        prop_assert_eq!(matches(&format!("dst net {ip}/{len}"), &record), near(dst));
        prop_assert_eq!(matches(&format!("host {ip}"), &record), asked == src || asked == dst);
    }
}

/// A TCP connection that is masqueraded, from 10.80.0.2:40000 in the network `web`.
fn connection() -> Flow<'static> {
    let party = |network, addr: &str, seen_as: Option<&str>| {
        let parsed = |text: &str| {
            let addr: std::net::SocketAddr = text.parse().unwrap();
            TransportAddr::new(addr.ip(), addr.port())
        };
        Party {
            network: NetworkId(network),
            addr: parsed(addr),
            seen_as: seen_as.map(parsed),
        }
    };
    let inside = party(5, "10.80.0.2:40000", Some("198.51.100.2:50000"));
    let outside = party(9, "10.80.0.3:443", None);
    Flow::connection(IpProtocol::TCP, NatState::Established, [inside, outside])
}

#[track_caller]
fn check_flow(subject: Subject, flow: &Flow<'_>, yes: &[&str], no: &[&str]) {
    let all = yes.iter().map(|filter| (filter, true));
    for (filter, wanted) in all.chain(no.iter().map(|filter| (filter, false))) {
        let parsed = Filter::parse(filter, subject).unwrap_or_else(|e| panic!("{filter}: {e}"));
        let found = parsed.compile(&Town).unwrap().matches(flow);
        assert_eq!(found, wanted, "{filter}");
    }
}

#[test]
fn a_connection_is_found_by_both_of_its_addresses() {
    check_flow(
        Subject::Connections,
        &connection(),
        &[
            "",
            "host 10.80.0.2",
            "src 198.51.100.2 and dst port 443",
            "net 10.80.0.0/16 and not udp",
            "tcp portrange 40000-40001",
            "port 50000",
            "10.80.0.3",
            "ip and nat",
            "network web",
            "endpoint shop",
            "state established",
        ],
        &[
            "dst 10.80.0.2",
            "udp port 443",
            "icmp",
            "ip6",
            "state opening or state closing",
        ],
    );
}

#[test]
fn an_endpoint_is_known_by_its_address_in_its_own_network() {
    // 10.80.0.3 is db's in the network `web`; the one that was called is in another.
    check_flow(
        Subject::Connections,
        &connection(),
        &["10.80.0.3"],
        &["endpoint db"],
    );
}

#[test]
fn identifiers_of_pings_are_no_ports() {
    let party = |ip: [u8; 4], port| Party {
        network: NetworkId(5),
        addr: TransportAddr::new(ip.into(), port),
        seen_as: None,
    };
    let ends = [party([10, 80, 0, 2], 443), party([198, 51, 100, 9], 0)];
    let ping = Flow::connection(IpProtocol::ICMP, NatState::Opening, ends);
    check_flow(
        Subject::Connections,
        &ping,
        &["icmp", "proto 1 and state opening"],
        &["port 443", "portrange 0-65535", "nat"],
    );
}

#[test]
fn an_entry_is_found_by_what_it_says() {
    let entry = Flow::entry(NetworkId(5), 7, ANN, PortId(1));
    check_flow(
        Subject::Entries,
        &entry,
        &[
            "",
            "02:00:00:00:00:01",
            "ether 02:00:00:00:00:01",
            "ether host 02:00:00:00:00:01 and vlan 7",
            "network web and not vlan 8",
            "port ann",
            // A number is a name here.
            "port 80",
            "endpoint ann",
        ],
        &["02:00:00:00:00:02", "vlan 0", "endpoint db"],
    );
}

#[test]
fn a_network_without_a_match_is_told_by_the_filter_alone() {
    let may = |filter: &str, network| {
        let parsed = Filter::parse(filter, Subject::Entries).unwrap();
        parsed
            .compile(&Town)
            .unwrap()
            .may_match_in(NetworkId(network))
    };
    for (filter, elsewhere) in [
        ("", true),
        ("vlan 7", true),
        ("network web", false),
        ("network web and vlan 7", false),
        ("vlan 7 and (network web)", false),
        ("network web or vlan 7", true),
        ("not network web", true),
    ] {
        assert!(may(filter, 5), "{filter}: `web` is network 5");
        assert_eq!(may(filter, 6), elsewhere, "{filter}");
    }
}

#[test]
fn words_that_say_nothing_about_the_subject_are_refused_by_name() {
    for (subject, filter, says) in [
        (
            Subject::Frames,
            "state opening",
            "`state` says nothing about a frame; a filter is made of host, net, port,",
        ),
        (
            Subject::Connections,
            "tcp and drop policy_denied",
            "`drop` says nothing about a connection; a filter is made of host, net, port, portrange, \
             src, dst, ip, ip6, tcp, udp, sctp, icmp, icmp6, proto, network, endpoint, nat, state, \
             or an IP address",
        ),
        (
            Subject::Connections,
            "(ether host 02:00:00:00:00:01)",
            "`ether` says nothing about a connection;",
        ),
        (
            Subject::Connections,
            "not 02:00:00:00:00:01",
            "`02:00:00:00:00:01` says nothing about a connection;",
        ),
        (
            Subject::Connections,
            "port ann",
            "`ann` is not a port number; allowed are 0 to 65535",
        ),
        (
            Subject::Connections,
            "ip broadcast",
            "`broadcast` stands where `and`, `or` or the end was expected",
        ),
        (
            Subject::Connections,
            "state open",
            "unknown state of a connection `open`: allowed are opening, established, closing",
        ),
        (
            Subject::Connections,
            "hots",
            "`hots` is not known; a filter is made of host, net, port, portrange, src,",
        ),
        (
            Subject::Entries,
            "host 10.80.0.2",
            "`host` says nothing about an entry of the forwarding database; a filter is made of \
             port, ether, vlan, network, endpoint, or a MAC address",
        ),
        (
            Subject::Entries,
            "10.80.0.2",
            "`10.80.0.2` says nothing about an entry of the forwarding database;",
        ),
        (
            Subject::Entries,
            "ether src 02:00:00:00:00:01",
            "`src` says nothing about an entry of the forwarding database;",
        ),
        (
            Subject::Entries,
            "vlan",
            "the end stands where a VLAN id was expected",
        ),
    ] {
        let error = Filter::parse(filter, subject).unwrap_err().to_string();
        assert!(error.starts_with(says), "{filter}: {error}");
    }
}
