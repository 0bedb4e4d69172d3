use super::*;
use crate::PortRange;
use proptest::prelude::*;

const WEB: NetworkId = NetworkId(0);

fn publication(host: Option<&str>, ports: (u16, u16), to: &str) -> Publication {
    let to: std::net::SocketAddr = to.parse().unwrap();
    Publication {
        protocol: IpProtocol::TCP,
        host: host.map(|ip| ip.parse().unwrap()),
        ports: PortRange::new(ports.0, ports.1).unwrap(),
        to: Inside {
            network: WEB,
            addr: TransportAddr::new(to.ip(), to.port()),
        },
    }
}

fn at(text: &str) -> TransportAddr {
    let addr: std::net::SocketAddr = text.parse().unwrap();
    TransportAddr::new(addr.ip(), addr.port())
}

fn inside(text: &str) -> Inside {
    Inside {
        network: WEB,
        addr: at(text),
    }
}

/// The draw for a port that has one backend: nobody asks for it.
fn only() -> u32 {
    unreachable!("there is one")
}

#[test]
fn a_range_leads_port_by_port() {
    let published = Published::new(&[publication(None, (8_000, 8_099), "10.0.0.2:80")]).unwrap();
    let of = |text| published.inside_of(IpProtocol::TCP, at(text), only);
    assert_eq!(of("198.51.100.1:8000"), Some(inside("10.0.0.2:80")));
    assert_eq!(of("198.51.100.77:8099"), Some(inside("10.0.0.2:179")));
    assert_eq!(of("198.51.100.1:7999"), None);
    assert_eq!(of("198.51.100.1:8100"), None);
    assert_eq!(of("[2001:db8::1]:8000"), None, "the other family");
    assert_eq!(
        published.inside_of(IpProtocol::UDP, at("198.51.100.1:8000"), only),
        None
    );
    let known_by = |text| published.external_port_of(IpProtocol::TCP, inside(text));
    assert_eq!(known_by("10.0.0.2:80"), Some((None, 8_000)));
    assert_eq!(known_by("10.0.0.2:179"), Some((None, 8_099)));
    assert_eq!(known_by("10.0.0.2:180"), None);
    assert_eq!(known_by("10.0.0.3:80"), None);
}

#[test]
fn a_port_bound_to_an_address_is_known_there_alone() {
    let published = Published::new(&[
        publication(Some("127.0.0.1"), (80, 80), "10.0.0.2:8080"),
        publication(Some("198.51.100.1"), (81, 81), "10.0.0.2:8080"),
        publication(Some("198.51.100.2"), (80, 80), "10.0.0.3:8080"),
    ])
    .unwrap();
    let of = |text| published.inside_of(IpProtocol::TCP, at(text), only);
    assert_eq!(of("127.0.0.1:80"), Some(inside("10.0.0.2:8080")));
    assert_eq!(of("198.51.100.2:80"), Some(inside("10.0.0.3:8080")));
    assert_eq!(of("198.51.100.1:80"), None);
    let own = inside("10.0.0.2:8080");
    let uplink = ["198.51.100.1".parse().unwrap()];
    let known_by = published.external_at(IpProtocol::TCP, own, &uplink);
    assert_eq!(known_by, Some((Some(uplink[0]), 81)));
    assert!(published.leads_outside(IpProtocol::TCP, own, &uplink));
    assert!(!published.leads_outside(IpProtocol::TCP, own, &[]));
}

#[test]
fn any_address_may_be_written_as_zeros() {
    let published =
        Published::new(&[publication(Some("0.0.0.0"), (80, 80), "10.0.0.2:80")]).unwrap();
    assert!(published.leads_inside(IpProtocol::TCP, at("198.51.100.1:80")));
}

#[test]
fn what_contradicts_itself_is_refused_with_its_values() {
    let error = |publication| Published::new(&[publication]).unwrap_err().to_string();
    assert_eq!(
        error(publication(None, (1, 1_000), "10.0.0.2:65000")),
        "1000 ports from 10.0.0.2:65000 on reach past port 65535"
    );
    assert_eq!(
        error(publication(Some("2001:db8::1"), (1, 1), "10.0.0.2:80")),
        "10.0.0.2 cannot be published at 2001:db8::1: both must be IPv4 or both IPv6"
    );
    assert_eq!(
        error(publication(None, (1, 2), "10.0.0.2:0")),
        "port 0 cannot be published: 1 to 65535 can"
    );
    let icmp = Publication {
        protocol: IpProtocol::ICMP,
        ..publication(None, (1, 1), "10.0.0.2:80")
    };
    assert_eq!(
        error(icmp),
        "ICMP has no ports to publish: TCP, UDP and SCTP have"
    );
}

#[test]
fn backends_have_the_same_ports_on_both_sides() {
    let a = publication(None, (80, 89), "10.0.0.2:8080");
    let b = publication(None, (80, 89), "10.0.0.3:8080");
    let published = Published::new(&[a, b]).unwrap();
    let of = |draw| published.inside_of(IpProtocol::TCP, at("198.51.100.1:81"), || draw);
    assert_eq!(of(0), Some(inside("10.0.0.2:8081")));
    assert_eq!(of(u32::MAX / 2), Some(inside("10.0.0.2:8081")));
    assert_eq!(of(u32::MAX / 2 + 1), Some(inside("10.0.0.3:8081")));
    assert_eq!(of(u32::MAX), Some(inside("10.0.0.3:8081")));
    for own in ["10.0.0.2:8081", "10.0.0.3:8081"] {
        let known_by = published.external_port_of(IpProtocol::TCP, inside(own));
        assert_eq!(known_by, Some((None, 81)));
    }
    let moved = publication(None, (80, 89), "10.0.0.3:8081");
    assert_eq!(
        Published::new(&[a, moved]).unwrap_err().to_string(),
        "the backends of a publication have the same ports: TCP ports 80-89 to 10.0.0.2:8080 in \
         network0 and TCP ports 80-89 to 10.0.0.3:8081 in network0"
    );
    for other in [a, publication(None, (80, 88), "10.0.0.3:8080")] {
        let error = Published::new(&[a, other]).unwrap_err();
        assert!(
            matches!(error, PublishError::Overlap { port: 80, .. }),
            "{error}"
        );
    }
}

#[test]
fn an_overlap_names_both() {
    let a = publication(None, (80, 90), "10.0.0.2:80");
    let b = publication(Some("198.51.100.1"), (85, 85), "10.0.0.3:80");
    for (first, second) in [(a, b), (b, a)] {
        let error = Published::new(&[first, second]).unwrap_err();
        assert_eq!(
            error,
            PublishError::Overlap {
                first,
                second,
                port: 85
            }
        );
    }
    let text = Published::new(&[a, b]).unwrap_err().to_string();
    assert_eq!(
        text,
        "port 85 is published twice: TCP ports 80-90 to 10.0.0.2:80 in network0 \
         and TCP 198.51.100.1 ports 85-85 to 10.0.0.3:80 in network0"
    );
    let v6 = publication(None, (80, 90), "[fd00::2]:80");
    assert!(Published::new(&[a, v6]).is_ok(), "families do not overlap");
}

fn are_backends(a: &Publication, b: &Publication) -> bool {
    (a.host, a.ports, a.to.addr.port) == (b.host, b.ports, b.to.addr.port) && a.to != b.to
}

proptest! {
    #[test]
    fn both_tables_answer_as_a_list_does(
        list in proptest::collection::vec(
            (0..3u8, prop_oneof![1..60u16, Just(7)], 0..20u16, 0..3u8, prop_oneof![1..60u16, Just(9)]), 0..12),
        external in (1..3u8, 1..90u16),
        own in (0..3u8, 1..90u16),
        draw: u32,
    ) {
        let mut kept: Vec<Publication> = Vec::new();
        for (host, first, more, to, port) in list {
            let host = (host > 0).then(|| format!("198.51.100.{host}"));
            let to = format!("10.0.0.{to}:{port}");
            let new = publication(host.as_deref(), (first, first + more), &to);
            let clash = kept.iter().any(|old| {
                (old.host.is_none() || new.host.is_none() || old.host == new.host)
                    && old.ports.meets(new.ports)
                    && !are_backends(old, &new)
            });
            kept.push(new);
            prop_assert_eq!(Published::new(&kept).is_err(), clash);
            if clash {
                kept.pop();
            }
        }
        let published = Published::new(&kept).unwrap();
        let external = at(&format!("198.51.100.{}:{}", external.0, external.1));
        let leads: Vec<_> = kept.iter().filter_map(|publication| {
            let here = publication.host.is_none_or(|host| host == external.ip)
                && publication.ports.contains(external.port);
            here.then(|| {
                let mut to = publication.to;
                to.addr.port += external.port - publication.ports.first();
                to
            })
        }).collect();
        let backends = published.backends_of(IpProtocol::TCP, external);
        prop_assert_eq!(backends.collect::<Vec<_>>(), leads.clone());
        let chosen = published.inside_of(IpProtocol::TCP, external, || draw);
        prop_assert_eq!(chosen.is_some(), !leads.is_empty());
        prop_assert!(chosen.is_none_or(|chosen| leads.contains(&chosen)));

        let own = inside(&format!("10.0.0.{}:{}", own.0, own.1));
        let addresses = ["198.51.100.1".parse().unwrap()];
        let exits: Vec<_> = kept
            .iter()
            .filter(|p| p.host.is_none() || p.host == Some(addresses[0]))
            .filter_map(|p| {
                let offset = own.addr.port.checked_sub(p.to.addr.port)?;
                let here = p.to.addr.ip == own.addr.ip && u32::from(offset) < p.ports.count();
                here.then(|| (p.host, p.ports.first() + offset))
            })
            .collect();
        let first = exits.iter().find(|(host, _)| host.is_none()).or_else(|| exits.first());
        let found = published.external_at(IpProtocol::TCP, own, &addresses);
        prop_assert_eq!(found, first.copied());
        prop_assert_eq!(
            published.leads_outside(IpProtocol::TCP, own, &addresses),
            found.is_some()
        );
    }
}
