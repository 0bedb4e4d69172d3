//! Stacks of ours at the gateways' addresses: the host's, and the daemon's servers'.

use super::rig::{LIMIT, Rig, TAP, is_to, next, transmit};
use host::{Gateway, GatewayPort, Netns, Route, Stack};
use ipnet::IpNet;
use port::Port;
use port::tap::{Tap, TapConfig};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use testbed::wait_until;
use wire::craft::Link;
use wire::{Headers, MacAddr, Net, VnetHeader};

#[test]
fn a_route_of_the_hosts_own_keeps_a_network_away() {
    let rig = Rig::new();
    let _tap = rig.tap();
    rig.host
        .ip("route add 10.1.0.0/16 via 198.51.100.1")
        .unwrap();
    let before = rig.footprint();
    let refused = rig.links(|links| {
        let port = GatewayPort::open(links, TAP, Stack::Host, 1500).unwrap();
        port.add(links, gateway("10.1.0.1/24")).unwrap_err()
    });
    let want =
        "the host has a route into 10.1.0.0/24 already: 10.1.0.0/16 via 198.51.100.1 dev eth0";
    assert_eq!(refused.to_string(), want);
    assert_eq!(rig.host.ip("route show 10.1.0.0/24").unwrap(), "");
    assert!(before.contains("10.1.0.0/16"));
}

pub(super) fn gateway(net: &str) -> Gateway {
    let net: IpNet = net.parse().unwrap();
    Gateway {
        address: net.addr(),
        subnet: net.trunc(),
    }
}

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const CONTAINER4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const CONTAINER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);

/// Has `port` on the stack that `netns` is, asks it from a container's address of each version,
/// and answers from what address it replied.
fn ask(netns: &Netns, tap: &mut Port, mac: MacAddr, dst_port: u16) {
    let stack = Link::new(ROUTER, mac);
    let questions = [
        stack.clone().ipv4(CONTAINER4, GATEWAY4),
        stack.clone().ipv6(CONTAINER6, GATEWAY6),
    ];
    for (version, question) in questions.into_iter().enumerate() {
        let address: IpAddr = [GATEWAY4.into(), GATEWAY6.into()][version];
        let server = netns
            .run(|_| Ok::<_, host::Error>(UdpSocket::bind((address, dst_port))))
            .unwrap()
            .unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        await_local(netns, address);
        transmit(
            tap,
            &question.udp(4444, dst_port, b"?"),
            VnetHeader::default(),
        );
        let (len, from) = server.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((len, from.port()), (1, 4444));
        server.send_to(b"!", from).unwrap();
        if version == 0 {
            next(tap, |frame| {
                frame[12..14] == [8, 6] && frame[38..42] == CONTAINER4.octets()
            });
            transmit(
                tap,
                &stack.arp_reply(CONTAINER4, GATEWAY4),
                VnetHeader::default(),
            );
        } else {
            next(tap, |frame| {
                frame[20] == 58 && frame[54] == 135 && frame[62..78] == CONTAINER6.octets()
            });
            let advert = stack.neighbour_advert(CONTAINER6, GATEWAY6, CONTAINER6);
            transmit(tap, &advert, VnetHeader::default());
        }
        let (answer, _) = next(tap, |frame| is_to(frame, 4444));
        let headers = Headers::parse(&answer).unwrap();
        assert_eq!((headers.dst, source(&headers)), (ROUTER, Some(address)));
    }
}

/// Waits until what is sent to `address` is taken: the kernel sees to an IPv6 address in the
/// background.
fn await_local(netns: &Netns, address: IpAddr) {
    let is_local = || {
        let routes = netns.run(|inside| inside.links()?.routes()).unwrap();
        let mut to = routes.iter().filter(|it| it.table != Route::MAIN);
        to.any(|it| it.destination == IpNet::from(address))
    };
    wait_until(&format!("{address} on the stack"), LIMIT, is_local).unwrap();
}

fn source(headers: &Headers) -> Option<IpAddr> {
    match headers.net {
        Net::Ipv4(ip) => Some(ip.src.into()),
        Net::Ipv6(ip) => Some(ip.src.into()),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    }
}

#[test]
fn containers_reach_the_host_at_their_gateways() {
    let rig = Rig::new();
    let before = rig.footprint();
    let mut tap = rig.tap();
    let gateways = ["10.1.0.1/24", "2001:db8:1::1/64"].map(gateway);
    let port = rig.links(|links| {
        let port = GatewayPort::open(links, TAP, Stack::Host, 1500).unwrap();
        // Twice changes nothing.
        for gateway in gateways.iter().chain(&gateways) {
            port.add(links, *gateway).unwrap();
        }
        assert_eq!(
            port.addresses(links).unwrap(),
            gateways.map(|it| it.address)
        );
        port
    });
    let mac = rig.links(|links| links.state(TAP)).unwrap().unwrap().mac;
    ask(&rig.netns, &mut tap, MacAddr(mac.try_into().unwrap()), 7000);
    rig.links(|links| {
        for gateway in gateways {
            assert!(port.remove(links, gateway).is_empty());
            assert!(port.remove(links, gateway).is_empty(), "gone is gone");
        }
        links.remove(TAP)
    })
    .unwrap();
    assert_eq!(rig.footprint(), before);
}

#[test]
fn the_daemons_servers_answer_in_a_namespace_of_their_own() {
    let services = host::Private::new().unwrap();
    let (mut tap, mac) = services
        .run(|inside| {
            let tap = Tap::open(TapConfig::new("services".parse().unwrap())).unwrap();
            let links = inside.links()?;
            let port = GatewayPort::open(&links, "services", Stack::Services, 1500)?;
            for net in ["10.1.0.1/24", "2001:db8:1::1/64"] {
                port.add(&links, gateway(net)).unwrap();
            }
            let mac = links.state("services")?.unwrap().mac;
            Ok::<_, host::Error>((tap.into_port(), MacAddr(mac.try_into().unwrap())))
        })
        .unwrap();
    ask(services.netns(), &mut tap, mac, 53);
}
