//! Containers, the host and the world: routing and NAT on the real kernel.
//!
//! A namespace stands for the host, in which the daemon runs, one for the world; a veth pair between
//! them is the host's NIC and its wire. No firewall rule and no forwarding is set anywhere.

use crate::fixture::{Clearway, Container, SOON};
use api::{Name, UplinkAdd};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::{Namespace, link, wait_until};

const HOST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const WORLD4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
const WORLD: [IpAddr; 2] = [IpAddr::V4(WORLD4), IpAddr::V6(WORLD6)];

/// A daemon whose host has a NIC, and the world at the wire's other end.
pub(crate) struct Outside {
    pub(crate) clearway: Clearway,
    pub(crate) world: Namespace,
}

impl Outside {
    pub(crate) fn start() -> Self {
        let clearway = Clearway::start();
        let world = Namespace::new().unwrap();
        let host = &clearway.host;
        link::veth(host, "eth0", &world, "eth0").unwrap();
        for (ns, v4, v6) in [
            (host, "198.51.100.2/24", "2001:db8:ffff::2/64"),
            (&world, "198.51.100.1/24", "2001:db8:ffff::1/64"),
        ] {
            link::address(ns, "eth0", v4).unwrap();
            link::address(ns, "eth0", v6).unwrap();
            link::await_carrier(ns, "eth0").unwrap();
        }
        for words in [
            ["route", "add", "default", "via", "198.51.100.1"].as_slice(),
            &["-6", "route", "add", "default", "via", "2001:db8:ffff::1"],
        ] {
            let done = host.command("ip").args(words).status().unwrap();
            assert!(done.success());
        }
        Self { clearway, world }
    }

    /// With the NIC as an uplink.
    pub(crate) fn with_uplink() -> Self {
        let outside = Self::start();
        let client = outside.clearway.client();
        client.uplink_add(&UplinkAdd::new("eth0")).unwrap();
        outside
    }

    pub(crate) fn container(&self, network: &Name) -> Container {
        self.clearway.container(network)
    }
}

#[test]
fn a_container_reaches_the_world_as_its_host() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let container = outside.container(&web);
    for world in WORLD {
        container.reaches(world);
    }
    for world in WORLD {
        tcp_exact(&outside.world, &container.ns, world, 20_000_000).unwrap();
    }
}
