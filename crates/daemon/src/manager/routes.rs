//! The host's routes, as far as a subnet must not hide them.
//!
//! A subnet that overlaps a route of the host's (a VPN, a company's network) would make one of the
//! two unreachable for whoever uses both. The default routes lead to everything and are left out.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The route of the host that leads to addresses of `net`, in words.
pub(super) fn overlapping(net: IpNet) -> Option<String> {
    overlapping_but(net, None)
}

/// The same, the routes of one interface left out.
pub(super) fn overlapping_but(net: IpNet, dev: Option<&str>) -> Option<String> {
    let table = |path| fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (
        table("/proc/thread-self/net/route"),
        table("/proc/thread-self/net/ipv6_route"),
    );
    routes_v4(&v4)
        .chain(routes_v6(&v6))
        .filter(|route| Some(route.dev) != dev)
        .find(|route| route.net.contains(&net) || net.contains(&route.net))
        .map(|route| format!("route to {} over {}", route.net, route.dev))
}

struct Route<'t> {
    net: IpNet,
    dev: &'t str,
}

/// `/proc/net/route`: a header, then `IFACE DESTINATION GATEWAY FLAGS REFCNT USE METRIC MASK ..`,
/// addresses as hexadecimal numbers in the machine's own byte order.
fn routes_v4(table: &str) -> impl Iterator<Item = Route<'_>> {
    table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (dev, to, mask) = (words.first()?, words.get(1)?, words.get(7)?);
        let address = |hex| {
            let number = u32::from_str_radix(hex, 16).ok()?;
            Some(Ipv4Addr::from(number.to_ne_bytes()))
        };
        let net = Ipv4Net::with_netmask(address(to)?, address(mask)?).ok()?;
        let lo = *dev == "lo" || net.prefix_len() == 0;
        (!lo).then_some(Route {
            net: net.into(),
            dev,
        })
    })
}

/// `/proc/net/ipv6_route`: `DESTINATION LENGTH SOURCE LENGTH NEXTHOP METRIC REFCNT USE FLAGS IFACE`,
/// all hexadecimal.
fn routes_v6(table: &str) -> impl Iterator<Item = Route<'_>> {
    table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (to, length, dev) = (words.first()?, words.get(1)?, words.get(9)?);
        let address = Ipv6Addr::from_bits(u128::from_str_radix(to, 16).ok()?);
        let net = Ipv6Net::new(address, u8::from_str_radix(length, 16).ok()?).ok()?;
        let own = address.is_unicast_link_local() || address.is_multicast();
        let lo = *dev == "lo" || net.prefix_len() == 0 || own;
        (!lo).then_some(Route {
            net: net.into(),
            dev,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun0\t0000090A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
";
    const V6: &str = "\
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
";

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_and_default_ones_left_out() {
        let shown = |route: Route<'_>| format!("{} {}", route.net, route.dev);
        let v4: Vec<_> = routes_v4(V4).map(shown).collect();
        assert_eq!(v4, ["10.9.0.0/16 tun0"]);
        let v6: Vec<_> = routes_v6(V6).map(shown).collect();
        assert_eq!(v6, ["2001:db8::/64 eth0"]);
    }

    #[test]
    fn what_is_not_understood_is_no_route() {
        assert_eq!(routes_v4("header\nx\neth0 zz 0 0 0 0 0 0\n").count(), 0);
        assert_eq!(routes_v6("x\n\n20010db8 40\n").count(), 0);
    }
}
