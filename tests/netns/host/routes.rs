//! The host's own routes and addresses.

use super::{found, joined, with_links};
use host::{Error, Links};

/// A namespace with `eth0`, which has an address of each version, and what `ip` was told.
fn with_routes(told: &[&str], test: impl FnOnce(&Links) -> Result<(), Error> + Send) {
    let [host, _other] = joined();
    for words in told {
        host.ip(words).unwrap();
    }
    with_links(&found(&host), test);
}

fn default(links: &Links) -> Vec<String> {
    let routes = links.default_routes().unwrap();
    routes.iter().map(ToString::to_string).collect()
}

#[test]
fn default_routes_are_found_best_first() {
    let told = [
        "route add default via 198.51.100.9 metric 50",
        "route add default via 198.51.100.1 metric 10",
        "route add default via 198.51.100.7 table 77",
        "route add 10.0.0.0/8 via 198.51.100.8",
        "-6 route add default via 2001:db8::1 metric 20",
    ];
    with_routes(&told, |links| {
        let want = [
            "0.0.0.0/0 via 198.51.100.1 dev eth0",
            "::/0 via 2001:db8::1 dev eth0",
            "0.0.0.0/0 via 198.51.100.9 dev eth0",
        ];
        assert_eq!(default(links), want);
        Ok(())
    });
}

#[test]
fn each_next_hop_is_a_route() {
    let told = [
        "route add default nexthop via 198.51.100.1 nexthop via 198.51.100.9",
        "route add 10.9.0.0/16 via inet6 2001:db8::9",
    ];
    with_routes(&told, |links| {
        assert_eq!(default(links).len(), 2);
        let by_v6 = "10.9.0.0/16 via 2001:db8::9 dev eth0";
        assert!(
            links
                .routes()?
                .iter()
                .any(|route| route.to_string() == by_v6)
        );
        Ok(())
    });
}

#[test]
fn addresses_are_listed_with_their_subnets() {
    with_routes(&[], |links| {
        let mut addresses = links.addresses("eth0")?;
        addresses.retain(|net| !net.to_string().starts_with("fe80"));
        let want = ["198.51.100.2/24", "2001:db8::2/64"].map(|net| net.parse().unwrap());
        assert_eq!(addresses, want);
        links.remove_address("eth0", want[0])?;
        links.remove_address("eth0", want[0])?;
        assert!(!links.addresses("eth0")?.contains(&want[0]));
        Ok(())
    });
}

#[test]
fn a_route_of_the_hosts_own_is_found_when_it_overlaps() {
    let told = [
        "route add default via 198.51.100.1",
        "route add 10.8.0.0/16 via 198.51.100.8",
        "route add blackhole 10.0.0.0/8",
        "-6 route add 2001:db8:8::/48 via 2001:db8::8",
    ];
    with_routes(&told, |links| {
        for (subnet, route) in [
            ("10.8.5.0/24", Some("10.8.0.0/16 via 198.51.100.8 dev eth0")),
            ("10.0.0.0/8", Some("10.8.0.0/16 via 198.51.100.8 dev eth0")),
            ("10.9.0.0/16", None),
            ("198.51.100.128/25", Some("198.51.100.0/24 dev eth0")),
            ("127.5.0.0/16", Some("127.0.0.0/8 dev lo")),
            (
                "2001:db8:8:1::/64",
                Some("2001:db8:8::/48 via 2001:db8::8 dev eth0"),
            ),
            ("2001:db8:9::/64", None),
        ] {
            let found = links.overlapping(subnet.parse().unwrap(), &["cw-host"])?;
            let found = found.map(|route| route.to_string());
            assert_eq!(found.as_deref(), route, "{subnet}");
        }
        assert_eq!(
            links.overlapping("10.8.5.0/24".parse().unwrap(), &["cw", "eth0"])?,
            None
        );
        Ok(())
    });
}
