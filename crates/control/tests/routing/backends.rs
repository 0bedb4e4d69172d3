//! Publications that lead to several endpoints.

use super::*;

/// The addresses that everything published leads to, in the order of the router's list.
fn targets(state: &State) -> Vec<String> {
    let config = Live::router_config(state, &UplinkFacts::default());
    let all = config.publications.iter();
    all.map(|p| p.to.addr.to_string()).collect()
}

#[test]
fn a_publication_leads_to_those_of_its_backends_that_are_there() {
    let mut state = state();
    let endpoints = [(1, "blue", "web"), (2, "blue", "shop"), (3, "plain", "old")];
    let [web, shop, old] =
        endpoints.map(|(inode, network, name)| attach(&mut state, &request(inode, network, name)));
    let several = |names: &[&str]| PublicationCreate {
        endpoint: OneOrMore::try_from(
            names
                .iter()
                .map(|name| name.parse().expect("a name"))
                .collect::<Vec<Name>>(),
        )
        .expect("there is one"),
        ..publication("web", None, (8080, 8080), 80)
    };
    assert_eq!(
        refusal(state.publish(&several(&["web", "old", "ep-1"]))),
        "web is named twice: each endpoint is a backend once"
    );
    let id = publish(&mut state, &several(&["web", "shop", "old"]));
    let all = [
        "10.1.0.2:80",
        "[2001:db8:1::2]:80",
        "10.1.0.3:80",
        "[2001:db8:1::3]:80",
        "10.2.0.2:80",
    ];
    assert_eq!(targets(&state), all);
    let shown = state.publications().next().unwrap().to_string();
    assert_eq!(shown, "8080->ep-1,ep-2,ep-3:80/tcp");

    let set = |state: &mut State, up| {
        for endpoint in [&web, &shop] {
            let mut port = state.port(endpoint.port).unwrap().clone();
            port.settings.up = up;
            let _ = state.commit(Change::PutPort(Box::new(port)));
        }
    };
    set(&mut state, false);
    // Nobody else has an IPv6 address: as with one endpoint alone, the port is still theirs.
    assert_eq!(targets(&state), [all[1], all[3], all[4]]);
    set(&mut state, true);
    assert_eq!(targets(&state), all);

    let written = serde_json::to_value(&state).unwrap();
    assert_eq!(
        written["placed"]["publications"][0]["endpoint"],
        serde_json::json!([1, 2, 3])
    );
    assert_eq!(
        State::read(clearway_control::VERSION, written).unwrap(),
        state
    );

    let (_, change) = state.detach(web.id).unwrap();
    let undo = state.commit(change);
    assert_eq!(targets(&state), all[2..]);
    let _ = state.commit(undo);
    assert_eq!(targets(&state), all, "what is taken back is as it was");
    for gone in [&web, &old] {
        let (_, change) = state.detach(gone.id).unwrap();
        let _ = state.commit(change);
    }
    let written = serde_json::to_value(&state).unwrap();
    assert_eq!(
        written["placed"]["publications"][0]["endpoint"], 2,
        "one is written as ever"
    );
    assert_eq!(state.publications().next().unwrap().id.to_string(), id);
    let (_, change) = state.leave(shop.id).unwrap();
    let _ = state.commit(change);
    assert_eq!(state.publications().count(), 0);
}
