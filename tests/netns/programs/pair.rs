//! Two containers on veths, which know each other, and a TAP beside each host end that nobody reads.

use lease::{Key, source};
use offload::Interfaces;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, link};
use wire::MacAddr;

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)];
pub(super) const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 9, 1]), MacAddr([2, 0, 0, 0, 9, 2])];

pub(super) struct Pair {
    pub(super) host: Namespace,
    pub(super) containers: [Namespace; 2],
    /// The host ends and TAPs.
    pub(super) at: [Interfaces; 2],
}

fn index(namespace: &Namespace, interface: &str) -> u32 {
    let line = namespace.ip(&format!("-o link show {interface}")).unwrap();
    line.split(':').next().unwrap().parse().unwrap()
}

impl Pair {
    pub(super) fn new() -> Self {
        let host = Namespace::new().unwrap();
        let containers = [(); 2].map(|()| Namespace::new().unwrap());
        let at = [0, 1].map(|it| {
            let (container, other) = (&containers[it], 1 - it);
            link::veth(&host, &format!("p{it}"), container, "eth0").unwrap();
            container
                .ip(&format!("link set eth0 address {}", MACS[it]))
                .unwrap();
            link::address(container, "eth0", &format!("{}/24", ADDRESSES[it])).unwrap();
            let (neighbour, mac) = (ADDRESSES[other], MACS[other]);
            container
                .ip(&format!("neigh add {neighbour} lladdr {mac} dev eth0"))
                .unwrap();
            host.ip(&format!("tuntap add t{it} mode tap")).unwrap();
            host.ip(&format!("link set t{it} up")).unwrap();
            Interfaces {
                host: index(&host, &format!("p{it}")),
                tap: Some(index(&host, &format!("t{it}"))),
            }
        });
        Self {
            host,
            containers,
            at,
        }
    }

    /// The key of what one container sends to the other.
    pub(super) fn key(&self, from: usize, generation: u32) -> Key {
        Key {
            generation,
            port: self.at[from].host,
            to: MACS[1 - from].0,
            from: MACS[from].0,
            ethertype: [0x08, 0x00],
            vlan: 0,
            source: source(IpAddr::V4(ADDRESSES[from])),
        }
    }

    /// How many of three requests the first container gets answered.
    pub(super) fn answers(&self, change: impl FnOnce(&mut Ping)) -> u16 {
        let mut asked = Ping {
            count: 3,
            timeout: Duration::from_millis(300),
            ..Ping::new(IpAddr::V4(ADDRESSES[1]))
        };
        change(&mut asked);
        ping(&self.containers[0], &asked).unwrap().received
    }
}
