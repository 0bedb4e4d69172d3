//! The same two containers over a Linux bridge: what Clearway is compared with.
//!
//! ```text
//!   left: eth0 ──veth── [ hub: br0 ] ──veth── eth0 :right
//! ```
//! A bare bridge without netfilter: docker0 does more and is slower.

use crate::container::LAB;
use crate::links;
use anyhow::Result;
use std::net::Ipv4Addr;
use testbed::Namespace;

/// Two containers and the bridge between them; gone when dropped.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// Where the bridge is.
    _hub: Namespace,
    /// One container.
    pub(crate) left: Namespace,
    /// The other.
    pub(crate) right: Namespace,
    /// The other's address.
    pub(crate) right_ip: Ipv4Addr,
}

impl Bridge {
    /// Makes namespaces, bridge and cables.
    ///
    /// # Errors
    /// When the kernel makes no bridge or no veth.
    pub(crate) fn new() -> Result<Self> {
        let [hub, left, right] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        links::bridge(&hub, "br0")?;
        links::set_up(&hub, "br0", &[], &[])?;
        // Where br_netfilter is loaded every new namespace has it on.
        hub.run(|| {
            let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        });
        for (number, port, container) in [(2, "left", &left), (3, "right", &right)] {
            links::cable(container, "eth0", &hub, port)?;
            links::join(&hub, port, "br0")?;
            links::set_up(container, "eth0", &LAB.nets(number)[..1], &[])?;
        }
        Ok(Self {
            _hub: hub,
            left,
            right,
            right_ip: LAB.v4(3),
        })
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use testbed::traffic::{Ping, ping};

    #[test]
    fn the_bridge_carries_pings() {
        match Bridge::new() {
            Ok(bridge) => {
                let report = ping(&bridge.left, &Ping::new(bridge.right_ip.into())).unwrap();
                assert!(report.is_complete(), "{report:?}");
            }
            Err(error) => testbed::cannot_run(&format!("{error:#}")),
        }
    }
}
