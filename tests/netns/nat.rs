//! Containers, the host and the world: routing and NAT on the real kernel.
//!
//! ```text
//!   containers ── clearway ── host eth0 ── wire ── eth0 world eth1 ── wire ── eth0 far
//!                 10.x        198.51.100.2         .1         .129                .130
//! ```
//! A namespace stands for the host, in which the daemon runs, one for the world, one for what lies
//! beyond it, where a test needs that. Veth pairs are NICs and wires. No firewall rule is set
//! anywhere, and nothing but the world forwards.

use crate::fixture::{Clearway, Container, SOON, name};
use api::{Name, UplinkAdd};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use testbed::{Namespace, link, wait_until};

mod changes;
mod connections;
mod footprint;
mod gateway;
mod judges;
mod leases;
mod line;
mod names;
mod nic;
mod policy;
mod published;
mod repeated;
mod resolver;
mod revoke;
mod routed;
mod sctp;
mod stun;
mod survive;
mod talk;
mod traced;
mod world;

pub(crate) const HOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2)),
];
pub(crate) const WORLD: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)),
];
pub(crate) const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 130)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 2)),
];

/// A daemon whose host has a NIC, and the world at the wire's other end.
pub(crate) struct Outside {
    pub(crate) clearway: Clearway,
    pub(crate) world: Namespace,
}

impl Outside {
    pub(crate) fn start() -> Self {
        Self::around(Clearway::start())
    }

    /// The outside of a daemon whose containers have nothing in the host's namespace.
    pub(crate) fn in_userspace() -> Self {
        Self::around(Clearway::start_with("datapath = \"userspace\""))
    }

    /// The outside of a daemon that was started in a way of its own.
    pub(crate) fn around(clearway: Clearway) -> Self {
        let world = Namespace::new().unwrap();
        let outside = Self { clearway, world };
        outside.wire();
        outside
    }

    /// Connects the host to the world.
    fn wire(&self) {
        let (host, world) = (self.host(), &self.world);
        link::veth(host, "eth0", world, "eth0").unwrap();
        self.address_host(["198.51.100.2/25", "2001:db8:ffff::2/64"]);
        for net in ["198.51.100.1/25", "2001:db8:ffff::1/64"] {
            link::address(world, "eth0", net).unwrap();
        }
        for ns in [host, world] {
            link::await_carrier(ns, "eth0").unwrap();
            settled(ns);
        }
    }

    /// Gives the host its addresses and its default routes.
    pub(crate) fn address_host(&self, nets: [&str; 2]) {
        let host = self.host();
        for net in nets {
            link::address(host, "eth0", net).unwrap();
        }
        host.ip("route add default via 198.51.100.1").unwrap();
        host.ip("-6 route add default via 2001:db8:ffff::1")
            .unwrap();
    }

    /// With the NIC as an uplink.
    pub(crate) fn with_uplink() -> Self {
        let outside = Self::start();
        outside.uplink();
        outside
    }

    pub(crate) fn uplink(&self) {
        let client = self.clearway.client();
        client.uplink_add(&UplinkAdd::new("eth0")).unwrap();
    }

    /// A namespace beyond the world, behind a link of this MTU.
    pub(crate) fn far(&self, mtu: u16) -> Namespace {
        let (world, far) = (&self.world, Namespace::new().unwrap());
        link::veth(world, "eth1", &far, "eth0").unwrap();
        for (ns, ifname, net) in [
            (world, "eth1", "198.51.100.129/25"),
            (world, "eth1", "2001:db8:fffe::1/64"),
            (&far, "eth0", "198.51.100.130/25"),
            (&far, "eth0", "2001:db8:fffe::2/64"),
        ] {
            link::address(ns, ifname, net).unwrap();
            ns.ip(&format!("link set {ifname} mtu {mtu}")).unwrap();
        }
        far.ip("route add default via 198.51.100.129").unwrap();
        far.ip("-6 route add default via 2001:db8:fffe::1").unwrap();
        for switch in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            world.output("sysctl", &["-qw", switch]).unwrap();
        }
        settled(world);
        settled(&far);
        far
    }

    pub(crate) fn host(&self) -> &Namespace {
        &self.clearway.host
    }

    /// The network 10.1.0.0/16 and 2001:db8:1::/64, and a container there that reaches the world.
    pub(crate) fn web(&self) -> (Name, Container) {
        let web = self.clearway.network("web", 1);
        let container = self.clearway.container(&web);
        for world in WORLD {
            container.reaches(world);
        }
        (web, container)
    }

    /// A container that is called `called`.
    pub(crate) fn container(&self, network: &Name, called: &str) -> Container {
        self.clearway
            .container_with(network, |attach| attach.name = Some(name(called)))
    }

    /// Waits until `label` was counted more often than `before`.
    pub(crate) fn counted(&self, label: &str, before: u64) {
        let counted = wait_until(&format!("{label} counted"), SOON, || {
            self.clearway.dropped(label) > before
        });
        if let Err(error) = counted {
            let drops = self.clearway.client().drops().unwrap();
            let counted: Vec<_> = drops.reasons.iter().filter(|row| row.count > 0).collect();
            panic!("{error}; only {counted:?}");
        }
    }
}

/// The gateway's addresses in network `n` of [`Clearway::network`].
pub(crate) fn gateway(n: u8) -> [IpAddr; 2] {
    [format!("10.{n}.0.1"), format!("2001:db8:{n}::1")].map(|ip| ip.parse().unwrap())
}

pub(crate) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// Waits until no address of `ns` is looked at for duplicates any more.
pub(crate) fn settled(ns: &Namespace) {
    wait_until("addresses that may be used", SOON, || {
        !ns.ip("-6 address").unwrap().contains("tentative")
    })
    .unwrap();
}
