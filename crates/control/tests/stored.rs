//! State files that released daemons wrote are read, as what they said.

use clearway_control::{Isolation, State};
use serde_json::Value;

/// The state of a file, which has a version and a boot beside it.
fn state_in(file: &str) -> Value {
    let mut file: Value = serde_json::from_str(file).expect("JSON");
    file["state"].take()
}

fn read(file: &str) -> State {
    let state: State = serde_json::from_value(state_in(file)).expect("it is read");
    state.check().expect("it is sound");
    state
}

const EVERYTHING: &str = include_str!("state/version-1.json");
const EARLY: &str = include_str!("state/version-1-early.json");

/// The file has a value of every kind.
#[test]
fn what_version_1_wrote_is_written_again() {
    let written = serde_json::to_value(read(EVERYTHING)).unwrap();
    assert_eq!(written, state_in(EVERYTHING));
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
