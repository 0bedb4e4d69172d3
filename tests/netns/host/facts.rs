//! Facts that are read of a NIC and of the host's sockets.

use super::{found, joined, with_links};
use host::Ports;
use std::net::{IpAddr, TcpListener, UdpSocket};
use testbed::Namespace;

#[test]
fn a_nics_facts() {
    let [host, _other] = joined();
    for words in [
        "route add default via 198.51.100.9 metric 50",
        "route add default via 198.51.100.1 metric 10",
        "-6 route add default via 2001:db8::1",
    ] {
        host.ip(words).unwrap();
    }
    let (facts, lo, none, default) = with_links(&found(&host), |links| {
        let [eth0, lo, none] = ["eth0", "lo", "eth7"].map(|nic| links.facts(nic));
        Ok((eth0?, lo?, none?, links.default_interface()?))
    });
    let facts = facts.unwrap();
    assert!(facts.link.carrier && facts.link.ethernet && facts.link.up);
    assert_eq!((facts.link.mtu, facts.link.mac.len()), (1500, 6));
    assert!(
        facts
            .addresses
            .contains(&"198.51.100.2/24".parse().unwrap())
    );
    let gateways = ["198.51.100.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(facts.gateways, gateways);
    let lo = lo.unwrap();
    assert!(!lo.link.ethernet && lo.gateways.is_empty());
    assert_eq!(none, None);
    assert_eq!(default.as_deref(), Some("eth0"));
}

#[test]
fn ports_that_sockets_have_are_found() {
    let host = Namespace::new().unwrap();
    let used = with_links(&found(&host), |links| {
        let _tcp = TcpListener::bind("127.0.0.1:50001").unwrap();
        let _tcp6 = TcpListener::bind("[::1]:50003").unwrap();
        let _udp = UdpSocket::bind("0.0.0.0:50002").unwrap();
        let _any6 = UdpSocket::bind("[::]:50004").unwrap();
        let elsewhere = links.ports_in_use(&["198.51.100.2".parse().unwrap()])?;
        assert_eq!((elsewhere.tcp.len(), elsewhere.udp.len()), (0, 2));
        links.ports_in_use(&["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()])
    });
    assert_eq!(used.tcp, [50_001..=50_001, 50_003..=50_003]);
    assert_eq!(used.udp, [50_002..=50_002, 50_004..=50_004]);
    let pool = Ports {
        tcp: vec![50_000..=50_010],
        echo: vec![50_000..=50_010],
        ..Ports::default()
    };
    let left = pool.without(&used);
    assert_eq!(
        left.tcp,
        [50_000..=50_000, 50_002..=50_002, 50_004..=50_010]
    );
    assert_eq!(left.echo, pool.echo);
}
