//! The world beyond the host: another namespace behind the host's NIC.
//!
//! ```text
//!   container ── contender ── [ host: eth0 ] ── veth ── [ eth0: world ]
//!                              198.51.100.2              198.51.100.1
//! ```
//! Every contender that translates addresses stands in this same place.

use std::net::Ipv4Addr;

use anyhow::Result;
use testbed::Namespace;

use super::contender::Pair;

/// The host's address at its NIC, which it takes for its containers'.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The NIC.
pub(super) const NIC: &str = "eth0";
/// The world throws away what comes for these addresses, and says nothing.
pub(super) const SILENT: [u8; 2] = [10, 99];

/// The world's address.
pub(super) const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Gives `host` a NIC and answers the world behind it.
///
/// # Errors
/// When an interface cannot be made.
pub(super) fn world(host: &Namespace) -> Result<Namespace> {
    let world = Namespace::new()?;
    testbed::link::veth(host, NIC, &world, "eth0")?;
    testbed::link::address(host, NIC, &format!("{HOST}/24"))?;
    testbed::link::address(&world, "eth0", &format!("{WORLD}/24"))?;
    host.ip(&format!("route add default via {WORLD}"))?;
    let [high, low] = SILENT;
    world.ip(&format!("route add blackhole {high}.{low}.0.0/16"))?;
    Ok(world)
}

/// The two ways between a container and the world: out to an address of the world's, and in to the
/// host's address, where the container's port is published under its own number.
pub(super) fn ways(world: &Namespace, container: &Namespace, address: Ipv4Addr) -> Vec<Pair> {
    let out = Pair {
        server: world.clone(),
        client: container.clone(),
        listens: WORLD,
        address: WORLD,
    };
    let into = Pair {
        server: container.clone(),
        client: world.clone(),
        listens: address,
        address: HOST,
    };
    vec![out, into]
}
