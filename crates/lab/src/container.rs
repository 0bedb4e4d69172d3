//! The lab's containers: a namespace each, and an interface on the switch.

use anyhow::{Context, Result};
use api::{Attach, Client, Endpoint, Name, Netns, VlanId};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use testbed::Namespace;

/// The network all of them are on.
pub(crate) const NETWORK: &str = "lab";

/// Who there is, with the VLAN of those that are not in the network's own.
pub(crate) const CAST: [(&str, Option<u16>); 6] = [
    ("ann", None),
    ("bob", None),
    ("cat", Some(10)),
    ("dan", Some(10)),
    ("eve", Some(20)),
    ("mal", None),
];

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
    /// Makes a namespace and attaches it to the switch as the lab's `number`th host.
    ///
    /// # Errors
    /// When the kernel makes no namespace, or the daemon refuses.
    pub(crate) fn attach(
        client: &Client,
        name: &str,
        vlan: Option<u16>,
        number: u8,
    ) -> Result<Self> {
        let namespace = Namespace::new()?;
        let (v4, v6) = addresses(number);
        let name: Name = name.parse().context("a container's name")?;
        let mut attach = Attach::new(
            NETWORK.parse().context("the network's name")?,
            Netns::Path(namespace.path()),
        );
        attach.name = Some(name.clone());
        attach.addresses = vec![net(v4.into(), 24)?, net(v6.into(), 64)?];
        attach.vlan = vlan.map(VlanId::try_from).transpose()?;
        let endpoint = client
            .attach(&attach)
            .with_context(|| format!("cannot attach {name}"))?;
        Ok(Self {
            name,
            namespace,
            endpoint,
            v4,
            v6,
        })
    }
}

/// The lab's `number`th host.
pub(crate) const fn addresses(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (
        Ipv4Addr::new(10, 80, 0, number),
        Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, number as u16),
    )
}

fn net(address: IpAddr, prefix: u8) -> Result<IpNet> {
    IpNet::new(address, prefix).context("a prefix length")
}
