//! The lab's containers: a namespace each, and an interface on one of two networks.

use anyhow::{Context, Result};
use api::{Attach, Client, Endpoint, Name, Netns, NetworkCreate, VlanId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use testbed::Namespace;

/// The network most of them are on.
pub(crate) const LAB: Home = Home {
    name: "lab",
    v4: 80,
    v6: 0x80,
};
/// Another, which does not reach it.
pub(crate) const SHOP: Home = Home {
    name: "shop",
    v4: 81,
    v6: 0x81,
};

/// Who there is, with the VLAN of those that are not in their network's own.
pub(crate) const CAST: [(&str, Home, Option<u16>); 7] = [
    ("ann", LAB, None),
    ("bob", LAB, None),
    ("cat", LAB, Some(10)),
    ("dan", LAB, Some(10)),
    ("eve", LAB, Some(20)),
    ("mal", LAB, None),
    ("sam", SHOP, None),
];

/// A network that containers are at home in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    /// Its name.
    pub(crate) name: &'static str,
    v4: u8,
    v6: u16,
}

impl Home {
    /// The IPv4 address of its `number`th host.
    pub(crate) const fn v4(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.v4, 0, number)
    }

    /// The IPv6 address of its `number`th host.
    pub(crate) const fn v6(self, number: u8) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.v6, 0, 0, 0, 0, number as u16)
    }

    /// Both, with the lengths of the subnets' prefixes.
    pub(crate) fn nets(self, number: u8) -> [IpNet; 2] {
        [
            Ipv4Net::new_assert(self.v4(number), 24).into(),
            Ipv6Net::new_assert(self.v6(number), 64).into(),
        ]
    }

    /// The gateway's addresses.
    pub(crate) fn gateways(self) -> [IpAddr; 2] {
        [self.v4(1).into(), self.v6(1).into()]
    }

    /// Makes the network.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub(crate) fn make(self, client: &Client) -> Result<()> {
        let network = NetworkCreate {
            subnets: self.nets(0).into(),
            ..NetworkCreate::new(self.name.parse()?)
        };
        client
            .network_create(&network)
            .with_context(|| format!("cannot make the network {}", self.name))?;
        Ok(())
    }
}

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its name, its endpoint's and its port's.
    pub(crate) name: Name,
    /// Where its programs would run.
    pub(crate) namespace: Namespace,
    /// Its place on the switch.
    pub(crate) endpoint: Endpoint,
    /// Its IPv4 address.
    pub(crate) v4: Ipv4Addr,
    /// Its IPv6 address.
    pub(crate) v6: Ipv6Addr,
}

impl Container {
    /// Makes a namespace and attaches it to the switch as `home`'s `number`th host.
    ///
    /// # Errors
    /// When the kernel makes no namespace, or the daemon refuses.
    pub(crate) fn attach(
        client: &Client,
        name: &str,
        home: Home,
        vlan: Option<u16>,
        number: u8,
    ) -> Result<Self> {
        let namespace = Namespace::new()?;
        let name: Name = name.parse().context("a container's name")?;
        let mut attach = Attach::new(
            home.name.parse().context("the network's name")?,
            Netns::Path(namespace.path()),
        );
        attach.name = Some(name.clone());
        attach.addresses = home.nets(number).into();
        attach.vlan = vlan.map(VlanId::try_from).transpose()?;
        let endpoint = client
            .attach(&attach)
            .with_context(|| format!("cannot attach {name}"))?;
        Ok(Self {
            name,
            namespace,
            endpoint,
            v4: home.v4(number),
            v6: home.v6(number),
        })
    }

    /// Its addresses, IPv4 first.
    pub(crate) fn ips(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}
