//! The world: what lies behind the NIC of the namespace that stands for the host.
//!
//! ```text
//!   [ host: eth0 ] ──veth── [ eth0: world ]
//!     198.51.100.2            198.51.100.1
//! ```

use crate::links;
use anyhow::Result;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use testbed::Namespace;

/// The host's NIC.
pub(crate) const NIC: &str = "eth0";
/// The host's addresses there, for which it takes its containers'.
pub(crate) const HOST: [IpAddr; 2] = ips(2);
/// The world's addresses.
pub(crate) const WORLD: [IpAddr; 2] = ips(1);
/// The port of the host's that is published.
pub(crate) const PUBLISHED: u16 = 8080;
/// The port of the container's that it leads to.
pub(crate) const SERVED: u16 = 80;

/// A host with a NIC, and the world behind it.
#[derive(Debug)]
pub(crate) struct Outside {
    /// The namespace that stands for the host.
    pub(crate) host: Namespace,
    /// The world's.
    pub(crate) world: Namespace,
}

impl Outside {
    /// Gives `host` a NIC and puts the world behind it.
    ///
    /// # Errors
    /// When the kernel makes no veth.
    pub(crate) fn connect(host: &Namespace) -> Result<Self> {
        let (host, world) = (host.clone(), Namespace::new()?);
        links::cable(&host, NIC, &world, "eth0")?;
        links::set_up(&world, "eth0", &nets(1), &[])?;
        links::set_up(&host, NIC, &nets(2), &WORLD)?;
        Ok(Self { host, world })
    }
}

/// The published port at `host`, one of [`HOST`].
pub(crate) const fn published(host: IpAddr) -> SocketAddr {
    SocketAddr::new(host, PUBLISHED)
}

const fn ips(number: u8) -> [IpAddr; 2] {
    [IpAddr::V4(v4(number)), IpAddr::V6(v6(number))]
}

fn nets(number: u8) -> [IpNet; 2] {
    [
        Ipv4Net::new_assert(v4(number), 24).into(),
        Ipv6Net::new_assert(v6(number), 64).into(),
    ]
}

const fn v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, number)
}

const fn v6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, number as u16)
}
