//! The table against examples, and against a list that is searched from end to end.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(key: u32, text: &str, reach: Reach, subnet: &str) -> Network {
    Network {
        key: NetworkKey(key),
        name: Some(name(text)),
        reach,
        subnets: vec![subnet.parse().unwrap()],
    }
}

fn endpoint(network: u32, sandbox: u64, names: &[&str], addresses: &[&str]) -> Endpoint {
    Endpoint {
        network: NetworkKey(network),
        sandbox: Some(SandboxKey(sandbox)),
        names: names.iter().map(|text| name(text)).collect(),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
    }
}

/// `web` and two `db` in blue, `web` and `cache` in the internal green, and sandbox 1 in both.
fn two_networks(domain: Option<&str>) -> Zones {
    Zones::new(
        domain.map(name),
        [
            network(1, "blue", Reach::Outside, "10.1.0.0/16"),
            network(2, "green", Reach::Internal, "10.2.0.0/16"),
        ],
        [
            endpoint(1, 1, &["web", "www"], &["10.1.0.2", "2001:db8:1::2"]),
            endpoint(1, 2, &["db-1", "db"], &["10.1.0.3"]),
            endpoint(1, 3, &["db-2", "DB"], &["10.1.0.4"]),
            endpoint(2, 1, &["web"], &["10.2.0.2"]),
            endpoint(2, 4, &["cache"], &["10.2.0.3"]),
        ],
    )
}

const ABSENT: Found<'static, [IpAddr]> = Found::Absent;
const NOT_OURS: Found<'static, [IpAddr]> = Found::NotOurs;

#[test]
fn names_answer_bare_and_under_their_network() {
    let zones = two_networks(None);
    let view = zones.view(NetworkKey(1), ip("10.1.0.3"));
    let web = [ip("10.1.0.2"), ip("2001:db8:1::2")];
    for asked in ["web", "WEB", "www", "web.blue", "www.BLUE"] {
        assert_eq!(
            view.addresses(&name(asked)),
            Found::Ours(&web[..]),
            "{asked}"
        );
    }
    let both = [ip("10.1.0.3"), ip("10.1.0.4")];
    assert_eq!(view.addresses(&name("db")), Found::Ours(&both[..]));
    for asked in [
        "cache",
        "web.green",
        "nobody",
        "nobody.blue",
        "blue",
        "web.blue.blue",
    ] {
        assert_eq!(view.addresses(&name(asked)), NOT_OURS, "{asked}");
    }
}

#[test]
fn the_network_that_was_asked_comes_first_and_the_others_of_the_sandbox_follow() {
    let zones = two_networks(None);
    let blue = zones.view(NetworkKey(1), ip("10.1.0.2"));
    let green = zones.view(NetworkKey(2), ip("::ffff:10.2.0.2"));
    let blue_web = [ip("10.1.0.2"), ip("2001:db8:1::2")];
    let green_web = [ip("10.2.0.2")];
    assert_eq!(blue.addresses(&name("web")), Found::Ours(&blue_web[..]));
    assert_eq!(green.addresses(&name("web")), Found::Ours(&green_web[..]));
    assert_eq!(
        green.addresses(&name("web.blue")),
        Found::Ours(&blue_web[..])
    );
    let cache = [ip("10.2.0.3")];
    assert_eq!(blue.addresses(&name("cache")), Found::Ours(&cache[..]));
    // An address of another network is nobody's here.
    let stranger = zones.view(NetworkKey(1), ip("10.2.0.2"));
    assert_eq!(stranger.addresses(&name("cache")), NOT_OURS);
}

#[test]
fn a_search_domain_is_ours_alone() {
    let zones = two_networks(Some("clear.internal"));
    let view = zones.view(NetworkKey(1), ip("10.1.0.9"));
    let web = [ip("10.1.0.2"), ip("2001:db8:1::2")];
    for asked in ["web", "web.clear.internal", "web.blue.clear.internal"] {
        assert_eq!(
            view.addresses(&name(asked)),
            Found::Ours(&web[..]),
            "{asked}"
        );
    }
    for empty in ["clear.internal", "blue.clear.internal"] {
        assert_eq!(
            view.addresses(&name(empty)),
            Found::Ours(&[][..]),
            "{empty}"
        );
    }
    for absent in [
        "cache.clear.internal",
        "green.clear.internal",
        "a.b.clear.internal",
    ] {
        assert_eq!(view.addresses(&name(absent)), ABSENT, "{absent}");
    }
    assert_eq!(view.addresses(&name("internal")), NOT_OURS);
    assert_eq!(
        view.pointer(ip("10.1.0.2")),
        Found::Ours(&name("web.blue.clear.internal"))
    );
}

#[test]
fn reverse_names_stay_within_the_networks_of_the_client() {
    let zones = two_networks(None);
    let view = zones.view(NetworkKey(1), ip("10.1.0.3"));
    assert_eq!(
        view.pointer(ip("10.1.0.4")),
        Found::Ours(&name("db-2.blue"))
    );
    assert_eq!(view.pointer(ip("10.1.99.1")), Found::Absent);
    assert_eq!(view.pointer(ip("10.2.0.3")), Found::NotOurs);
}

#[test]
fn one_network_with_a_way_out_is_enough() {
    let zones = two_networks(None);
    for (key, client, reach) in [
        (1, "10.1.0.3", Reach::Outside),
        (2, "10.2.0.3", Reach::Internal),
        (2, "10.2.0.2", Reach::Outside),
        (7, "10.1.0.2", Reach::Internal),
    ] {
        assert_eq!(
            zones.view(NetworkKey(key), ip(client)).reach(),
            reach,
            "{key} {client}"
        );
    }
}

#[test]
fn an_endpoint_of_no_network_is_nobodys_answer() {
    let zones = Zones::new(None, [], [endpoint(1, 1, &["web"], &["10.1.0.2"])]);
    assert_eq!(
        zones
            .view(NetworkKey(1), ip("10.1.0.2"))
            .addresses(&name("web")),
        NOT_OURS
    );
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..6_u8).prop_map(|n| Ipv4Addr::new(10, 0, 0, n).into()),
        (0..6_u16).prop_map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()),
    ]
}

fn any_name() -> impl Strategy<Value = HostName> {
    "[abAB](\\.[nN][012])?".prop_map(|text| name(&text))
}

prop_compose! {
    fn any_endpoint()(
        network in 0..4_u32,
        sandbox in prop::option::of(0..4_u64),
        names in vec(any_name(), 0..3),
        addresses in vec(any_address(), 0..3),
    ) -> Endpoint {
        let (network, sandbox) = (NetworkKey(network), sandbox.map(SandboxKey));
        Endpoint { network, sandbox, names, addresses }
    }
}

/// The networks that a client sees, by searching the list.
fn seen(endpoints: &[Endpoint], network: u32, client: IpAddr) -> Vec<u32> {
    let asker = endpoints.iter().rev().find(|one| {
        one.network.0 == network && one.sandbox.is_some() && one.addresses.contains(&client)
    });
    let Some(asker) = asker else {
        return vec![network];
    };
    let shares = |key: u32| {
        endpoints
            .iter()
            .any(|one| one.network.0 == key && one.sandbox == asker.sandbox)
    };
    let others = (0..3).filter(|&key| key != network && shares(key));
    [network].into_iter().chain(others).collect()
}

/// The addresses of a name in a network, by searching the list.
fn listed(endpoints: &[Endpoint], network: u32, asked: &str) -> Option<BTreeSet<IpAddr>> {
    let of = |text: &str| {
        let mut known = endpoints.iter().filter(|one| {
            one.network.0 == network && one.names.iter().any(|name| name.as_str() == text)
        });
        let first = known.next()?;
        let all = [first].into_iter().chain(known);
        Some(all.flat_map(|one| one.addresses.clone()).collect())
    };
    let suffix = format!(".n{network}");
    of(asked).or_else(|| of(asked.strip_suffix(&suffix)?))
}

proptest! {
    #[test]
    fn the_table_says_what_the_list_says(
        endpoints in vec(any_endpoint(), 0..12),
        network in 0..3_u32,
        client in any_address(),
        asked in any_name(),
    ) {
        let networks = (0..3).map(|key| {
            let reach = if key == 0 { Reach::Outside } else { Reach::Internal };
            network_of(key, reach)
        });
        let zones = Zones::new(None, networks, endpoints.clone());
        let view = zones.view(NetworkKey(network), client);
        let seen = seen(&endpoints, network, client);
        let expected = seen.iter().find_map(|&key| listed(&endpoints, key, asked.as_str()));
        match (view.addresses(&asked), expected) {
            (Found::Ours(addresses), Some(expected)) => {
                prop_assert_eq!(addresses.len(), expected.len(), "each address once");
                prop_assert_eq!(addresses.iter().copied().collect::<BTreeSet<_>>(), expected);
            }
            (found, expected) => prop_assert!(
                found == Found::NotOurs && expected.is_none(), "{found:?} {expected:?}"
            ),
        }
        let reach = if seen.contains(&0) { Reach::Outside } else { Reach::Internal };
        prop_assert_eq!(view.reach(), reach);
        let is_named = endpoints.iter().any(|one| {
            seen.contains(&one.network.0) && !one.names.is_empty() && one.addresses.contains(&client)
        });
        prop_assert_eq!(matches!(view.pointer(client), Found::Ours(_)), is_named);
    }
}

fn network_of(key: u32, reach: Reach) -> Network {
    network(key, &format!("n{key}"), reach, "10.0.0.0/24")
}
