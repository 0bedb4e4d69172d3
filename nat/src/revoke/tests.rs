//! Any two configurations: what the change between them cannot touch needs no second look.

use super::*;
use crate::Inside;
use crate::config::{Config, EndpointRules, HostRole, InterfaceConfig, Publication, UplinkRole};
use crate::{
    Action, ExternalPrefix, Gap, Hold, Holder, Live, Masquerade, Nat, Policy, PortRange, Preset,
    Published, Routing, Rule, Stored, Traffic, TransportAddr,
};
use pipeline::NetworkId;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::MacAddr;

const INSIDE: [u32; 3] = [0, 1, 2];
const UPLINKS: [u32; 2] = [3, 4];
const HOST: u32 = 5;
const SERVICES: u32 = 6;
const NOW: Instant = Instant::from_secs(1_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn outside() -> Vec<IpAddr> {
    ["198.51.100.1", "198.51.100.2", "2001:db8:f::1"]
        .map(ip)
        .into()
}

/// The addresses of the endpoints of a network.
fn endpoints(network: u32) -> Vec<IpAddr> {
    [
        format!("10.{network}.0.2"),
        format!("10.{network}.0.3"),
        format!("fd00:{network}::2"),
    ]
    .map(|text| ip(&text))
    .into()
}

fn interface(network: u32, role: Role, addresses: &[String]) -> InterfaceConfig {
    InterfaceConfig {
        network: NetworkId(network),
        role,
        mac: MacAddr([2, 0, 0, 0, 0, network.to_le_bytes()[0]]),
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        mtu: 1500,
        neighbours: BTreeMap::new(),
        peer: None,
    }
}

/// Settings with the NAT of Linux.
fn linux() -> Routing {
    let nat = Nat {
        preset: Preset::Linux,
        quota: 100,
        ..Nat::default()
    };
    Routing {
        nat,
        ..Routing::default()
    }
}

fn inside(network: u32) -> impl Strategy<Value = InterfaceConfig> {
    let masquerade: Vec<_> = Masquerade::ALL.iter().map(|(value, _)| *value).collect();
    let reach = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.8),
        subsequence(INSIDE.to_vec(), 0..=3),
        option::weighted(0.9, select(UPLINKS.to_vec())),
        select(masquerade),
        any::<bool>(),
    );
    reach.prop_map(
        move |(internal, host_access, peers, uplink, masquerade, prefix)| {
            let role = Role::Inside(InsideRole {
                settings: Routing {
                    internal,
                    masquerade,
                    nptv6: match prefix {
                        true => format!("2001:db8:{network}::/64").parse().unwrap(),
                        false => ExternalPrefix::None,
                    },
                    host_access,
                    ..linux()
                },
                overlapping: false,
                peers: peers.into_iter().map(NetworkId).collect(),
                uplink: uplink.map(NetworkId),
                leases: BTreeMap::new(),
            });
            let own = [
                format!("10.{network}.0.1/24"),
                format!("fd00:{network}::1/64"),
            ];
            interface(network, role, &own)
        },
    )
}

fn uplink(network: u32) -> impl Strategy<Value = InterfaceConfig> {
    let ranges =
        [(8_000, 8_003), (8_002, 8_005)].map(|(first, last)| PortRange::new(first, last).unwrap());
    (
        subsequence(outside(), 0..=3),
        select(ranges.to_vec()),
        btree_set((protocol(), port()), 0..3),
    )
        .prop_map(move |(addresses, ports, spared)| {
            let role = Role::Uplink(UplinkRole {
                gateways: Vec::new(),
                ports,
                spared,
            });
            let own: Vec<_> = addresses
                .iter()
                .map(|ip| format!("{ip}/{}", if ip.is_ipv4() { 24 } else { 64 }))
                .collect();
            interface(network, role, &own)
        })
}

fn protocol() -> impl Strategy<Value = IpProtocol> {
    select(vec![IpProtocol::TCP, IpProtocol::UDP])
}

fn port() -> impl Strategy<Value = u16> {
    8_000u16..8_007
}

/// An endpoint that may be there: of a network, with an address of it.
fn member() -> impl Strategy<Value = (u32, IpAddr)> {
    select(INSIDE.to_vec()).prop_flat_map(|network| (Just(network), select(endpoints(network))))
}

/// A publication, of one backend or two.
fn publication() -> impl Strategy<Value = Vec<Publication>> {
    let at = (protocol(), option::of(select(outside())), port(), 0u16..3);
    let backends = (member(), option::of(member()));
    (at, backends, port()).prop_map(|((protocol, host, first, more), (member, other), to)| {
        let backend = |(network, ip): (u32, IpAddr)| Publication {
            protocol,
            host: host.filter(|host| host.is_ipv4() == ip.is_ipv4()),
            ports: PortRange::new(first, first + more).unwrap(),
            to: Inside {
                network: NetworkId(network),
                addr: TransportAddr::new(ip, to),
            },
        };
        let other = other.filter(|(_, ip)| ip.is_ipv4() == member.1.is_ipv4());
        std::iter::once(member).chain(other).map(backend).collect()
    })
}

fn rules() -> impl Strategy<Value = EndpointRules> {
    let action = || select(vec![Action::Allow, Action::Deny]);
    let rule = (
        action(),
        select(vec![RuleDirection::In, RuleDirection::Out]),
        option::of(protocol()),
        option::of(port()),
    )
        .prop_map(|(action, direction, protocol, port)| Rule {
            action,
            direction,
            peer: None,
            protocol,
            ports: port.map(|port| PortRange::new(port, port).unwrap()),
        });
    (member(), vec(rule, 0..3), action()).prop_map(|((network, ip), rules, default)| {
        EndpointRules {
            network: NetworkId(network),
            ip,
            policy: Policy { default, rules },
        }
    })
}

fn config() -> impl Strategy<Value = Config> {
    let stack = |network, role| option::weighted(0.9, Just(interface(network, role, &[])));
    let interfaces = (
        INSIDE.map(|id| option::weighted(0.9, inside(id))),
        UPLINKS.map(|id| option::weighted(0.9, uplink(id))),
        stack(HOST, Role::Host(HostRole::default())),
        stack(SERVICES, Role::Services),
    );
    (interfaces, vec(publication(), 0..4), vec(rules(), 0..4)).prop_map(
        |((inside, uplinks, host, services), wanted, rules)| {
            let mut publications = Vec::new();
            for publication in wanted.into_iter().flatten() {
                publications.push(publication);
                if Published::new(&publications).is_err() {
                    publications.pop();
                }
            }
            let all = inside.into_iter().chain(uplinks).chain([host, services]);
            Config {
                interfaces: all.flatten().collect(),
                publications,
                rules,
            }
        },
    )
}

/// Two configurations that have some of their parts in common.
fn change() -> impl Strategy<Value = (Config, Config)> {
    let kept = (
        vec(prop::bool::weighted(0.8), 7),
        any::<bool>(),
        any::<bool>(),
    );
    (config(), config(), kept).prop_map(|(before, mut after, (interfaces, published, ruled))| {
        for (id, keeps) in (0..).zip(interfaces) {
            if keeps {
                let is_it = |interface: &InterfaceConfig| interface.network == NetworkId(id);
                after.interfaces.retain(|interface| !is_it(interface));
                let old = before.interfaces.iter().find(|interface| is_it(interface));
                after.interfaces.extend(old.cloned());
            }
        }
        if published {
            after.publications.clone_from(&before.publications);
        }
        if ruled {
            after.rules.clone_from(&before.rules);
        }
        (before, after)
    })
}

fn party() -> impl Strategy<Value = Party> {
    let own = prop_oneof![
        3 => member(),
        1 => select(UPLINKS.to_vec()).prop_map(|id| (id, ip("192.0.2.9"))),
        1 => Just((HOST, ip("10.0.0.1"))),
        1 => Just((SERVICES, ip("10.0.0.1"))),
    ];
    let seen = option::of((select(outside()), port()));
    (own, port(), seen).prop_map(|((network, ip), port, seen)| Party {
        network: NetworkId(network),
        addr: TransportAddr::new(ip, port),
        seen_as: seen.map(|(ip, port)| TransportAddr::new(ip, port)),
    })
}

fn ends() -> impl Strategy<Value = Ends> {
    (protocol(), party(), party()).prop_map(|(protocol, initiator, responder)| Ends {
        protocol,
        initiator,
        responder,
    })
}

fn router(config: Config) -> Router {
    Router::new(config, Arc::new(Live::new(1_000, 7))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_a_change_cannot_touch_is_judged_as_before(
        (before, after) in change(),
        all in vec(ends(), 60),
    ) {
        let (before, after) = (router(before), router(after));
        let affected = Affected::between(&before, &after);
        for ends in &all {
            let same = before.permits(ends) == after.permits(ends);
            prop_assert!(same || affected.touches(ends), "{ends:?}");
            prop_assert!(!affected.is_empty() || !affected.touches(ends));
        }
    }
}

#[test]
fn what_the_router_does_not_read_touches_nothing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..100 {
        let before = config().new_tree(&mut runner).unwrap().current();
        let mut after = before.clone();
        for interface in &mut after.interfaces {
            interface.mtu = 9_000;
            interface.neighbours.insert(ip("10.0.0.2"), MacAddr([2; 6]));
            if let Role::Inside(role) = &mut interface.role {
                (role.settings.nat.quota, role.settings.dhcp) = (7, true);
            }
        }
        let (before, after) = (router(before), router(after));
        assert!(Affected::between(&before, &after).is_empty());
    }
}

/// Everything reaches everything.
fn open() -> Config {
    let inside = |network| {
        let role = Role::Inside(InsideRole {
            settings: linux(),
            overlapping: false,
            peers: INSIDE.map(NetworkId).into(),
            uplink: None,
            leases: BTreeMap::new(),
        });
        interface(network, role, &[format!("10.{network}.0.1/24")])
    };
    Config {
        interfaces: INSIDE.map(inside).into(),
        ..Config::default()
    }
}

/// A connection between any two endpoints of any two networks.
fn connections() -> Vec<Stored> {
    let all: Vec<_> = INSIDE
        .into_iter()
        .flat_map(|network| endpoints(network).into_iter().map(move |ip| (network, ip)))
        .filter(|(_, ip)| ip.is_ipv4())
        .collect();
    let party = |(network, ip): (u32, IpAddr)| Party {
        network: NetworkId(network),
        addr: TransportAddr::new(ip, 8_000),
        seen_as: None,
    };
    let pairs = all
        .iter()
        .enumerate()
        .flat_map(|(n, from)| all[n + 1..].iter().map(move |to| (*from, *to)));
    pairs
        .map(|(from, to)| Stored {
            protocol: IpProtocol::UDP,
            initiator: party(from),
            responder: party(to),
            holder: Holder::Initiator,
            uplink: NetworkId(0),
            hold: Hold::Nothing,
            tracker: None,
            answered: true,
            traffic: [Traffic::default(); 2],
            idle: Duration::ZERO,
            age: Duration::ZERO,
        })
        .collect()
}

/// The connections that are left of all, and how many were revoked.
fn left(config: Config, revoke: impl FnOnce(&Router) -> usize) -> (Vec<Stored>, usize) {
    let router = router(config);
    let all = connections();
    let added = router.import_connections(&all, Gap::Silent, Duration::ZERO, NOW);
    assert_eq!(added, all.len());
    let gone = revoke(&router);
    let mut left = router.export_connections(NOW);
    left.sort_by_key(|stored| (stored.initiator, stored.responder));
    (left, gone)
}

#[test]
fn a_selective_revocation_leaves_what_a_full_one_leaves() {
    let mut parted = open();
    if let Role::Inside(role) = &mut parted.interfaces[1].role {
        role.peers.clear();
    }
    let mut ruled = open();
    ruled.rules.push(EndpointRules {
        network: NetworkId(0),
        ip: ip("10.0.0.2"),
        policy: Policy {
            default: Action::Deny,
            ..Policy::default()
        },
    });
    for (after, gone) in [(open(), 0), (parted, 8), (ruled, 5)] {
        let before = router(open());
        let full = left(after.clone(), |router| router.revoke(NOW));
        let selective = left(after, |router| router.revoke_since(&before, NOW));
        assert_eq!((selective.1, full.1), (gone, gone));
        assert_eq!(selective.0, full.0);
    }
}
