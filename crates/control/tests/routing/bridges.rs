//! Networks that stand in for bridges, and ports that other programs have on the host.

use super::*;

fn adopt(state: &State, name: &str, subnet: &str, bridge: &str) -> Result<Change, Error> {
    let bridge = Bridge {
        ifname: bridge.to_owned(),
        mac: MacAddr([2, 0x42, 172, 17, 0, 1]),
    };
    let adopted = state.adopt_bridge(&network(name, &[subnet]), bridge, |_| None);
    adopted.map(|(_, change)| change)
}

/// Containers know their gateway by its MAC address already.
#[test]
fn a_network_that_stands_in_for_a_bridge_has_its_mac_address() {
    let mut state = state();
    let change = adopt(&state, "docker0", "172.17.0.0/16", "docker0").unwrap();
    let _ = state.commit(change);
    let network = state.network_for("docker0").unwrap();
    let mac = MacAddr([2, 0x42, 172, 17, 0, 1]);
    assert_eq!(
        (network.name.as_str(), state.gateway_mac(network.id)),
        ("docker0", mac)
    );
    let config = Live::router_config(&state, &UplinkFacts::default());
    let interface = config.interfaces.iter().find(|i| i.network == network.id);
    assert_eq!(interface.unwrap().mac, mac);

    for (name, bridge, says) in [
        ("other", "docker0", "network `docker0` stands in for it"),
        (
            "other",
            "no/bridge",
            "bridge is `no/bridge`; allowed are 1 to 15 printable letters",
        ),
    ] {
        let refused = refusal(adopt(&state, name, "172.18.0.0/16", bridge));
        assert!(refused.contains(says), "{refused}");
    }
    let unknown = state.network_for("docker7").unwrap_err();
    assert_eq!(unknown.to_string(), "bridge docker7 is not adopted");
    // The state file remembers it.
    let stored = serde_json::to_string(&state).unwrap();
    let read: State = serde_json::from_str(&stored).unwrap();
    read.check().unwrap();
    assert_eq!(read.network_for("docker0").unwrap(), network);
}

/// What is sent to the host goes to the program that has the port; what comes from outside does not.
#[test]
fn a_port_that_another_program_has_is_published_to_the_world() {
    let mut state = state();
    attach(&mut state, &request(1, "blue", "web"));
    let request = PublicationCreate {
        listener: Listener::Another,
        ..publication("web", None, (8080, 8080), 80)
    };
    let (publication, change) = state.publish(&request).unwrap();
    let _ = state.commit(change);
    assert_eq!(publication.listener, Listener::Another);
    assert_eq!(
        Live::router_config(&state, &UplinkFacts::default())
            .publications
            .len(),
        2
    );
}
