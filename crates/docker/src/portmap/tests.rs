use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

fn binding(proto: u8, port: u16, host_ip: &str, first: u16, last: u16) -> Binding {
    serde_json::from_value(json!({
        "Proto": proto, "IP": "", "Port": port,
        "HostIP": host_ip, "HostPort": first, "HostPortEnd": last
    }))
    .unwrap()
}

fn made(text: &str) -> PublicationCreate {
    text.parse().unwrap()
}

fn publication(text: &str) -> Publication {
    Publication {
        id: "p1".parse().unwrap(),
        spec: made(text),
        network: "n".parse::<Name>().unwrap().into(),
        addresses: Vec::new(),
    }
}

/// Wishes in the command line's words; choices as `LIST of them`.
fn words(bindings: &[Binding], own: &[&str]) -> Vec<String> {
    let own: Vec<_> = own.iter().map(|text| made(text)).collect();
    let own: Vec<_> = own.iter().collect();
    let endpoint: Name = "ep".parse().unwrap();
    let word = |wish: &Wish| match wish {
        Wish::Whole(whole) => {
            let spec = whole.of(&endpoint);
            spec.check().unwrap();
            format!("{}->{}", spec.outside(), spec.to)
        }
        Wish::OneOf(one) => {
            let host = one.host.map_or_else(String::new, |host| format!("{host} "));
            let among = Ports(one.among.ports());
            format!("one of {host}{among}/{}->{}", one.protocol, one.to)
        }
    };
    wishes(bindings, None, &own)
        .unwrap()
        .iter()
        .map(word)
        .collect()
}

#[test]
fn dockers_forms_are_understood() {
    let bindings = [
        binding(6, 80, "", 8081, 8081),
        binding(6, 7070, "", 0, 0),
        binding(17, 53, "127.0.0.1", 5353, 5353),
        binding(6, 80, "", 9000, 9010),
        binding(132, 80, "::1", 8087, 8087),
    ];
    assert_eq!(
        words(&bindings, &[]),
        [
            "8081/tcp->80",
            "127.0.0.1:5353/udp->53",
            "[::1]:8087/sctp->80",
            "one of 0/tcp->7070",
            "one of 9000-9010/tcp->80",
        ]
    );
}

#[test]
fn neighbours_become_one_entry() {
    let mut bindings: Vec<_> = (9000..9200)
        .rev()
        .map(|port| binding(6, port, "", port, port))
        .collect();
    bindings.push(binding(6, 9000, "", 9000, 9000));
    bindings.push(binding(6, 9300, "", 9200, 9200));
    bindings.push(binding(17, 9200, "", 9200, 9200));
    bindings.push(binding(6, 9200, "127.0.0.1", 9200, 9200));
    bindings.push(binding(6, 65_535, "", 65_535, 65_535));
    assert_eq!(
        words(&bindings, &[]),
        [
            "9000-9199/tcp->9000",
            "9200/tcp->9300",
            "65535/tcp->65535",
            "9200/udp->9200",
            "127.0.0.1:9200/tcp->9200",
        ]
    );
}

#[test]
fn what_is_published_already_is_not_wished_again() {
    let bindings = [
        binding(6, 80, "", 8080, 8080),
        binding(6, 81, "", 8081, 8081),
        binding(6, 80, "", 0, 0),
        binding(6, 80, "", 0, 0),
        binding(6, 80, "", 9000, 9010),
    ];
    let all = words(&bindings, &[]);
    assert_eq!(all.len(), 4, "{all:?}");
    let own = [
        "8080-8081:ep:80",
        "50000:ep:80",
        "50001:ep:80",
        "9003:ep:80",
    ];
    assert_eq!(words(&bindings, &own), [""; 0]);
    assert_eq!(
        words(&bindings, &own[..2]),
        ["one of 0/tcp->80", "one of 9000-9010/tcp->80"]
    );
    // 50000 is one wish's own, so it is not the other's choice as well.
    let fixed = [binding(6, 80, "", 50_000, 50_000), binding(6, 80, "", 0, 0)];
    assert_eq!(words(&fixed, &["50000:ep:80"]), ["one of 0/tcp->80"]);
}

#[test]
fn the_networks_host_address_is_for_those_without_one() {
    let host = "127.0.0.1".parse().ok();
    let bindings = [
        binding(6, 80, "", 8080, 8080),
        binding(6, 80, "0.0.0.0", 8081, 8081),
    ];
    let found = wishes(&bindings, host, &[]).unwrap();
    let hosts: Vec<_> = found
        .iter()
        .map(|wish| match wish {
            Wish::Whole(whole) => whole.outside.host,
            Wish::OneOf(one) => one.host,
        })
        .collect();
    assert_eq!(hosts, ["0.0.0.0".parse().ok(), host]);
}

#[test]
fn what_means_nothing_says_so() {
    for (wrong, why) in [
        (
            binding(6, 80, "x", 1, 1),
            "port binding x:1-1:80/tcp: host address `x` is none; allowed is an IPv4 or IPv6 address",
        ),
        (
            binding(47, 80, "", 1, 1),
            "port binding :1-1:80/47: protocol 47 has no ports; allowed are tcp, udp and sctp",
        ),
        (
            binding(6, 0, "", 1, 1),
            "port binding :1-1:0/tcp: container port 0 is none; allowed are 1 to 65535",
        ),
    ] {
        assert_eq!(wishes(&[wrong], None, &[]).unwrap_err().to_string(), why);
    }
}

#[test]
fn choices_go_round_and_leave_out_what_is_taken() {
    let choice = |among, host: Option<&str>| OneOf {
        host: host.map(|host| host.parse().unwrap()),
        protocol: IpProtocol::TCP,
        among,
        to: 80,
    };
    let tried = |one: OneOf, after, published: &[&str]| -> Vec<u16> {
        let published: Vec<_> = published.iter().map(|text| publication(text)).collect();
        let ports = one.candidates(after, &published).map(PortRange::first);
        ports.collect()
    };
    let any = choice(Candidates::Any, None);
    let all = tried(any, 0, &[]);
    assert_eq!((all[0], all.len()), (49_153, 16_383));
    let after = tried(any, 65_534, &[]);
    assert_eq!(after[..2], [65_535, 49_153]);
    assert_eq!(tried(any, 65_535, &[]).len(), 16_383);

    let range = Candidates::Range("9000-9003".parse().unwrap());
    let published = [
        "127.0.0.1:9000:x:1",
        "0.0.0.0:9001:x:1",
        "9002:x:1/udp",
        "[::]:9003:x:1",
    ];
    assert_eq!(tried(choice(range, None), 0, &published), [9002]);
    assert_eq!(
        tried(choice(range, Some("127.0.0.1")), 0, &published),
        [9002, 9003]
    );
    assert_eq!(
        tried(choice(range, Some("127.0.0.2")), 0, &published),
        [9000, 9002, 9003]
    );
    assert_eq!(
        tried(choice(range, Some("::1")), 0, &published),
        [9000, 9001, 9002]
    );
}

#[test]
fn a_range_falls_into_halves_down_to_a_port() {
    let whole = Whole {
        outside: "8000-8002".parse().unwrap(),
        to: 1,
    };
    let (low, high) = whole.halves().unwrap();
    assert_eq!(
        (low.outside.to_string(), low.to),
        ("8000-8001/tcp".into(), 1)
    );
    assert_eq!((high.outside.to_string(), high.to), ("8002/tcp".into(), 3));
    assert_eq!(high.halves(), None);
}

/// Every single way that wishes stand for.
fn ways(wishes: &[Wish]) -> BTreeSet<(Option<IpAddr>, u8, u16, u16)> {
    let mut ways = BTreeSet::new();
    for wish in wishes {
        let Wish::Whole(whole) = wish else { continue };
        let Outside {
            host,
            protocol,
            ports,
        } = whole.outside;
        for (port, to) in (ports.first()..=ports.last()).zip(whole.to..) {
            assert!(ways.insert((host, protocol.0, port, to)), "{port} twice");
        }
    }
    ways
}

proptest! {
    #[test]
    fn merging_changes_nothing_but_the_number_of_entries(
        ports in prop::collection::vec((1u16..30, 0u16..3, prop::bool::ANY, prop::bool::ANY), 0..40)
    ) {
        let bindings: Vec<_> = ports
            .iter()
            .map(|&(port, shift, tcp, local)| {
                let host = if local { "127.0.0.1" } else { "" };
                binding(if tcp { 6 } else { 17 }, port + shift, host, port, port)
            })
            .collect();
        let merged = wishes(&bindings, None, &[]).unwrap();
        let wanted: BTreeSet<_> = ports
            .iter()
            .map(|&(port, shift, tcp, local)| {
                let host = local.then(|| "127.0.0.1".parse().unwrap());
                (host, if tcp { 6 } else { 17 }, port, port + shift)
            })
            .collect();
        prop_assert_eq!(ways(&merged), wanted);
        let single: Vec<_> = merged
            .iter()
            .map(|wish| match wish {
                Wish::Whole(whole) => whole.of(&"ep".parse().unwrap()),
                Wish::OneOf(_) => unreachable!("nothing was left to choose"),
            })
            .collect();
        let own: Vec<_> = single.iter().collect();
        prop_assert_eq!(wishes(&bindings, None, &own).unwrap(), []);
    }
}
