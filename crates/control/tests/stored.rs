//! State files that daemons of older versions wrote are read, as what they said.

use clearway_control::{Isolation, PortKind, State, VERSION};
use model::{Dependence, Masquerade, Preset, UplinkChoice};
use serde_json::Value;
use std::collections::BTreeSet;

/// The state of a file, which has a version and a boot beside it.
fn read(file: &str) -> State {
    let mut file: Value = serde_json::from_str(file).expect("JSON");
    let version = file["version"].as_u64().and_then(|v| v.try_into().ok());
    State::read(version.expect("a version"), file["state"].take()).expect("it is read")
}

/// They have a value of every kind.
const EVERYTHING: &str = include_str!("state/version-1.json");
const BEFORE: &str = include_str!("state/version-2.json");
const WITHOUT_DATAPATHS: &str = include_str!("state/version-3.json");
const WITHOUT_GRANTS: &str = include_str!("state/version-4.json");
const TODAY: &str = include_str!("state/version-5.json");
const EARLY: &str = include_str!("state/version-1-early.json");

#[test]
fn a_file_of_version_1_says_what_it_said() {
    let state = read(EVERYTHING);
    let web = state.network_named("web").unwrap();
    let routing = &web.routing;
    assert!(!routing.icc && !routing.host_access && routing.slaac && routing.dhcp);
    assert_eq!(
        routing.uplink,
        UplinkChoice::Named("world".parse().unwrap())
    );
    assert_eq!(routing.masquerade, Masquerade::Ipv4);
    assert_eq!(routing.nptv6.to_string(), "2001:db8:1::/64");
    let nat = &routing.nat;
    assert_eq!((nat.preset, nat.quota), (Preset::FullCone, 500));
    assert_eq!(nat.mapping, Some(Dependence::AddressDependent));
    assert_eq!(state.network_named("db").unwrap().routing.nptv6.get(), None);
}

#[test]
fn what_the_first_files_did_not_say_is_the_default() {
    let state = read(EARLY);
    let network = state.network_named("plain").unwrap();
    assert!(network.routing.icc && !network.overlapping && network.reserved.is_empty());
    let port = state.port_named("ep-1").unwrap();
    assert_eq!(port.settings.isolated, Isolation::On);
    assert_eq!((port.settings.rate, state.uplinks().count()), (None, 0));
}

#[test]
fn what_is_read_is_written_and_read_again() {
    for file in [
        EVERYTHING,
        BEFORE,
        WITHOUT_DATAPATHS,
        WITHOUT_GRANTS,
        TODAY,
        EARLY,
    ] {
        let state = read(file);
        let written = serde_json::to_value(&state).unwrap();
        assert_eq!(State::read(VERSION, written).unwrap(), state);
    }
}

/// What reads a file may change; what stands in it does so with its version only.
#[test]
fn a_file_of_version_5_is_written_as_it_was_read() {
    let state = read(TODAY);
    let file: Value = serde_json::from_str(TODAY).unwrap();
    assert_eq!(serde_json::to_value(&state).unwrap(), file["state"]);
    assert_eq!(state, read(EVERYTHING), "it says what version 1 said");
    assert_eq!(state, read(BEFORE), "it says what version 2 said");
    assert_eq!(state, read(WITHOUT_GRANTS), "it says what version 4 said");
    assert_eq!(
        state,
        read(WITHOUT_DATAPATHS),
        "it says what version 3 said"
    );
}

#[test]
fn each_network_of_an_older_file_gets_a_uuid_of_its_own() {
    let uuids = |file| -> BTreeSet<_> { read(file).networks().map(|n| n.uuid).collect() };
    assert_eq!(uuids(BEFORE).len(), read(BEFORE).networks().count());
    assert_eq!(uuids(BEFORE), uuids(BEFORE), "the same each time");
    assert!(uuids(BEFORE).is_disjoint(&uuids(EARLY)), "no other host's");
}

#[test]
fn a_network_without_a_place_and_a_place_without_a_network_are_refused() {
    let good: Value = serde_json::from_str(TODAY).unwrap();
    let refused = |of: &str| {
        let mut state = good["state"].clone();
        state[of]["networks"].as_array_mut().unwrap().pop();
        State::read(VERSION, state).unwrap_err().to_string()
    };
    for of in ["desired", "placed"] {
        let says = refused(of);
        assert!(says.contains("has no place, or is none"), "{says}");
    }
}

#[test]
fn another_version_and_an_unknown_key_are_refused() {
    let refused = |version, state: Value| State::read(version, state).unwrap_err().to_string();
    let good = serde_json::to_value(read(EARLY)).unwrap();
    assert_eq!(
        refused(VERSION + 1, good.clone()),
        "it has version 6, this daemon reads versions 1 to 5"
    );
    let mut unknown = good;
    unknown["desired"]["networks"][0]["routing"]["mtv"] = 9.into();
    let says = refused(VERSION, unknown);
    assert!(says.starts_with("unknown field `mtv`"), "{says}");
}

#[test]
fn ports_of_version_1_are_what_was_asked_for() {
    let state = read(EVERYTHING);
    let kind = |name: &str| match &state.ports().find(|port| port.name == name)?.kind {
        PortKind::Own { kind, identity } => Some((kind.to_string(), identity.is_some())),
        PortKind::Endpoint(_) => None,
    };
    let names: Vec<_> = state.ports().map(|port| port.name.as_str()).collect();
    let own: Vec<_> = names.iter().filter_map(|name| kind(name)).collect();
    let want = [
        ("packet veth0", false),
        ("pcap to /tmp/span.pcapng", false),
        ("tap tap0 in pid 4711, 4 queue(s)", true),
    ];
    assert_eq!(own, want.map(|(kind, named)| (kind.to_owned(), named)));
}
