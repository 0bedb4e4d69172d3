//! The same two containers over a Linux bridge: what Clearway is compared with.
//!
//! ```text
//!   left: eth0 ──veth── [ hub: br0 ] ──veth── eth0 :right
//! ```
//! A bare bridge without netfilter: docker0 does more and is slower.

use crate::container::addresses;
use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, RawFd};
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
        netlink(&hub, async |handle| {
            Ok(handle
                .link()
                .add(LinkBridge::new("br0").build())
                .execute()
                .await?)
        })
        .context("this kernel makes no bridge")?;
        let [(left_ip, _), (right_ip, _)] = [addresses(2), addresses(3)];
        plug(&hub, &left, "left", left_ip).context("cannot plug a container into the bridge")?;
        plug(&hub, &right, "right", right_ip).context("cannot plug a container into the bridge")?;
        Ok(Self {
            _hub: hub,
            left,
            right,
            right_ip,
        })
    }
}

/// A veth pair: `eth0` with `ip` in `container`, `name` on the bridge in `hub`.
fn plug(hub: &Namespace, container: &Namespace, name: &str, ip: Ipv4Addr) -> Result<()> {
    let hub_fd = hub.fd().as_raw_fd();
    netlink(container, async |handle| {
        let links = handle.link();
        links.add(cable(name, hub_fd)).execute().await?;
        let eth0 = if_nametoindex("eth0")?;
        handle
            .address()
            .add(eth0, IpAddr::V4(ip), 24)
            .execute()
            .await?;
        let up = LinkUnspec::new_with_index(eth0).up().build();
        Ok(links.change(up).execute().await?)
    })?;
    netlink(hub, async |handle| {
        let port = LinkUnspec::new_with_index(if_nametoindex(name)?)
            .controller(if_nametoindex("br0")?)
            .up()
            .build();
        Ok(handle.link().change(port).execute().await?)
    })
}

/// `eth0` here, its other end `name` in the namespace `there`.
fn cable(name: &str, there: RawFd) -> rtnetlink::packet_route::link::LinkMessage {
    let end = LinkUnspec::new_with_name(name).setns_by_fd(there).build();
    LinkVeth::new("eth0", name)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(end)))
        .build()
}

/// Talks to the kernel from within `namespace`.
fn netlink(
    namespace: &Namespace,
    talk: impl AsyncFnOnce(Handle) -> Result<()> + Send,
) -> Result<()> {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            talk(handle).await
        })
    })
}

#[cfg(test)]
mod tests {
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
