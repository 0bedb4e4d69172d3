use super::*;
use proptest::prelude::*;

fn pools() -> Pools {
    Pools::new([1, 2, 3, 4, 5])
}

fn request(tenant: &str, pool: &str, sub_pool: &str) -> PoolRequest {
    let net = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    PoolRequest {
        space: "clearway-local".to_owned(),
        tenant: tenant.to_owned(),
        pool: net(pool),
        sub_pool: net(sub_pool),
        v6: pool.contains(':'),
    }
}

fn taken(pools: &mut Pools, tenant: &str, pool: &str, sub_pool: &str) -> String {
    pools
        .request_pool(&request(tenant, pool, sub_pool))
        .unwrap()
        .0
}

fn next(pools: &mut Pools, id: &str) -> Result<String, PoolError> {
    let given = pools.request_address(id, None, Kind::Endpoint)?;
    Ok(given.to_string())
}

#[test]
fn tenants_may_have_the_same_addresses_and_one_may_not() {
    let mut pools = pools();
    let blue = taken(&mut pools, "blue", "10.70.0.0/24", "");
    let red = taken(&mut pools, "red", "10.70.0.0/24", "");
    assert_ne!(blue, red);
    assert_eq!(next(&mut pools, &blue).unwrap(), "10.70.0.1/24");
    assert_eq!(next(&mut pools, &red).unwrap(), "10.70.0.1/24");
    for overlapping in ["10.70.0.0/24", "10.70.0.128/25", "10.0.0.0/8"] {
        let error = pools
            .request_pool(&request("blue", overlapping, ""))
            .unwrap_err();
        assert!(matches!(error, PoolError::Overlaps { .. }), "{error}");
    }
    pools.release_pool(&blue);
    let again = taken(&mut pools, "blue", "10.70.0.0/25", "");
    assert_eq!(next(&mut pools, &again).unwrap(), "10.70.0.1/25");
}

#[test]
fn where_none_is_named_a_free_one_is_chosen() {
    let mut pools = pools();
    let chosen = |pools: &mut Pools, v6| {
        let request = PoolRequest {
            v6,
            ..request("", "", "")
        };
        pools.request_pool(&request).unwrap().1.to_string()
    };
    assert_eq!(chosen(&mut pools, false), "10.128.0.0/24");
    taken(&mut pools, "other", "10.128.0.0/23", "");
    assert_eq!(chosen(&mut pools, false), "10.128.2.0/24");
    assert_eq!(chosen(&mut pools, true), "fd01:203:405::/64");
    assert_eq!(chosen(&mut pools, true), "fd01:203:405:1::/64");
    taken(&mut pools, "whole", "10.128.0.0/9", "");
    let error = pools.request_pool(&request("", "", "")).unwrap_err();
    assert_eq!(
        error,
        PoolError::NoPoolLeft("10.128.0.0/9".parse().unwrap())
    );
}

#[test]
fn ranges_are_for_those_who_name_no_address() {
    let mut pools = pools();
    let id = taken(&mut pools, "blue", "10.70.0.5/24", "10.70.0.252/30");
    let mut ask = |wanted: Option<&str>, kind| {
        let wanted = wanted.map(|text| text.parse().unwrap());
        let given = pools.request_address(&id, wanted, kind);
        given.map(|given| given.to_string())
    };
    assert_eq!(ask(None, Kind::Gateway).unwrap(), "10.70.0.1/24");
    assert_eq!(ask(None, Kind::Gateway).unwrap(), "10.70.0.2/24");
    assert_eq!(
        ask(Some("10.70.0.253"), Kind::Endpoint).unwrap(),
        "10.70.0.253/24"
    );
    assert_eq!(
        ask(Some("10.70.0.9"), Kind::Endpoint).unwrap(),
        "10.70.0.9/24"
    );
    assert_eq!(ask(None, Kind::Endpoint).unwrap(), "10.70.0.252/24");
    assert_eq!(ask(None, Kind::Endpoint).unwrap(), "10.70.0.254/24");
    // 10.70.0.255 is the broadcast address.
    let range = "10.70.0.252/30".parse().unwrap();
    assert_eq!(ask(None, Kind::Endpoint), Err(PoolError::Full(range)));
    for (wrong, why) in [
        (
            "10.70.0.9",
            "Address already in use: 10.70.0.9 of pool 10.70.0.0/24 was given before",
        ),
        (
            "10.70.0.255",
            "address 10.70.0.255 of pool 10.70.0.0/24 names the subnet itself or all of its hosts",
        ),
        (
            "10.70.0.0",
            "address 10.70.0.0 of pool 10.70.0.0/24 names the subnet itself or all of its hosts",
        ),
        (
            "10.71.0.1",
            "address 10.71.0.1 does not lie in pool 10.70.0.0/24",
        ),
        (
            "fd00::1",
            "address fd00::1 does not lie in pool 10.70.0.0/24",
        ),
    ] {
        assert_eq!(
            ask(Some(wrong), Kind::Endpoint).unwrap_err().to_string(),
            why
        );
    }
}

#[test]
fn wrong_pools_say_why() {
    let mut pools = pools();
    let v6 = PoolRequest {
        v6: true,
        ..request("", "10.0.0.0/24", "")
    };
    let elsewhere = PoolRequest {
        space: "LocalDefault".into(),
        ..request("", "10.0.0.0/24", "")
    };
    for (request, why) in [
        (
            request("", "10.0.0.0/24", "10.1.0.0/25"),
            "range 10.1.0.0/25 does not lie in pool 10.0.0.0/24",
        ),
        (
            request("", "", "10.1.0.0/25"),
            "range 10.1.0.0/25 is of no pool; name the subnet as well",
        ),
        (
            elsewhere,
            "address space `LocalDefault` is not known; allowed are clearway-local and clearway-global",
        ),
        (v6, "pool 10.0.0.0/24 is not of IPv6"),
    ] {
        assert_eq!(pools.request_pool(&request).unwrap_err().to_string(), why);
    }
    assert_eq!(pools, Pools::new([1, 2, 3, 4, 5]));
}

#[test]
fn the_smallest_and_the_largest_subnets_have_hosts() {
    for (net, all) in [
        ("10.0.0.8/30", &["10.0.0.9", "10.0.0.10"][..]),
        ("10.0.0.8/31", &["10.0.0.8", "10.0.0.9"]),
        ("10.0.0.8/32", &["10.0.0.8"]),
        ("fd00::/126", &["fd00::1", "fd00::2", "fd00::3"]),
        ("fd00::/127", &["fd00::", "fd00::1"]),
        (
            "255.255.255.254/31",
            &["255.255.255.254", "255.255.255.255"],
        ),
    ] {
        let mut pools = pools();
        let id = taken(&mut pools, "", net, "");
        let mut found = Vec::new();
        while let Ok(given) = pools.request_address(&id, None, Kind::Endpoint) {
            found.push(given.addr().to_string());
        }
        assert_eq!(found, all, "{net}");
    }
    let mut pools = pools();
    let id = taken(&mut pools, "", "fd00::/8", "");
    assert_eq!(next(&mut pools, &id).unwrap(), "fd00::1/8");
}

#[derive(Debug, Clone)]
enum Step {
    Next(Kind),
    Given(u8),
    Release(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Next(Kind::Endpoint)),
        1 => Just(Step::Next(Kind::Gateway)),
        3 => (0u8..40).prop_map(Step::Given),
        4 => (0u8..40).prop_map(Step::Release),
    ]
}

proptest! {
    /// The model is the set of addresses that are out, and a search from the lowest.
    #[test]
    fn no_address_is_given_twice(
        steps in prop::collection::vec(step(), 1..200),
        narrow in prop::bool::ANY,
    ) {
        let mut pools = pools();
        let id = taken(&mut pools, "t", "10.9.0.0/27", if narrow { "10.9.0.8/29" } else { "" });
        let hosts = 1..31u8;
        let range = if narrow { 8..16u8 } else { hosts.clone() };
        let mut out = BTreeSet::new();
        let ip = |n: u8| IpAddr::from([10, 9, 0, n]);
        for step in steps {
            match step {
                Step::Next(kind) => {
                    let mut among = match kind {
                        Kind::Endpoint => range.clone(),
                        Kind::Gateway => hosts.clone(),
                    };
                    let wanted = among.find(|n| !out.contains(n));
                    let given = pools.request_address(&id, None, kind).ok();
                    prop_assert_eq!(given.map(|net| net.addr()), wanted.map(ip));
                    out.extend(wanted);
                }
                Step::Given(n) => {
                    let given = pools.request_address(&id, Some(ip(n)), Kind::Endpoint);
                    let free = hosts.contains(&n) && out.insert(n);
                    prop_assert_eq!(given.is_ok(), free, "{:?}", given);
                }
                Step::Release(n) => {
                    pools.release_address(&id, Some(ip(n)));
                    out.remove(&n);
                }
            }
            let kept = serde_json::to_string(&pools).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Pools>(&kept).unwrap(), &pools);
        }
    }
}
