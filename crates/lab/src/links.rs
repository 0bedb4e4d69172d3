//! Cables, bridges, addresses and routes, by way of rtnetlink: the lab may not count on `ip`.

use anyhow::{Context, Result};
use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, RawFd};
use testbed::Namespace;

/// A veth pair: `name` in `here`, `peer` in `there`, both down.
///
/// # Errors
/// When the kernel makes none.
pub(crate) fn cable(here: &Namespace, name: &str, there: &Namespace, peer: &str) -> Result<()> {
    let pair = veth(name, peer, there.fd().as_raw_fd());
    netlink(here, async |handle| {
        Ok(handle.link().add(pair).execute().await?)
    })
    .with_context(|| format!("this kernel makes no veth {name}"))
}

fn veth(name: &str, peer: &str, there: RawFd) -> LinkMessage {
    let end = LinkUnspec::new_with_name(peer).setns_by_fd(there).build();
    LinkVeth::new(name, peer)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(end)))
        .build()
}

/// A bridge, down.
///
/// # Errors
/// When the kernel makes none.
pub(crate) fn bridge(hub: &Namespace, name: &str) -> Result<()> {
    let bridge = LinkBridge::new(name).build();
    netlink(hub, async |handle| {
        Ok(handle.link().add(bridge).execute().await?)
    })
    .context("this kernel makes no bridge")
}

/// Makes `port` one of `bridge`'s, and sets it up.
///
/// # Errors
/// When one of them is not there.
pub(crate) fn join(hub: &Namespace, port: &str, bridge: &str) -> Result<()> {
    netlink(hub, async |handle| {
        let member = LinkUnspec::new_with_index(if_nametoindex(port)?)
            .controller(if_nametoindex(bridge)?)
            .up()
            .build();
        Ok(handle.link().change(member).execute().await?)
    })
    .with_context(|| format!("cannot plug {port} into {bridge}"))
}

/// Sets `interface` up with these addresses, which are usable at once (no duplicate detection), and
/// sends what is for nobody near to `gateways`.
///
/// # Errors
/// When the interface is not there or refuses.
pub(crate) fn set_up(
    namespace: &Namespace,
    interface: &str,
    addresses: &[IpNet],
    gateways: &[IpAddr],
) -> Result<()> {
    netlink(namespace, async |handle| {
        let index = if_nametoindex(interface)?;
        for address in addresses {
            add_address(&handle, index, *address).await?;
        }
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().change(up).execute().await?;
        for gateway in gateways {
            add_default_route(&handle, index, *gateway).await?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot set {interface} up"))
}

async fn add_address(handle: &Handle, index: u32, address: IpNet) -> Result<()> {
    let (ip, prefix) = (address.addr(), address.prefix_len());
    let mut request = handle.address().add(index, ip, prefix);
    if ip.is_ipv6() {
        let message = request.message_mut();
        message.header.flags |= AddressHeaderFlags::Nodad;
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        message.attributes.push(flags);
    }
    Ok(request.execute().await?)
}

async fn add_default_route(handle: &Handle, index: u32, gateway: IpAddr) -> Result<()> {
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .build(),
    };
    Ok(handle.route().add(route).execute().await?)
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
