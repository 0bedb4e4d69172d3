//! The form that all messages of neighbour discovery share (RFC 4861).

use std::net::Ipv6Addr;
use wire::MacAddr;

/// Hops of a message that was not forwarded (RFC 4861, 3.1).
pub(super) const HOPS: u8 = 255;
/// Everybody on the link (RFC 4291, 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Option: source link-layer address (RFC 4861, 4.6.1), one unit of eight bytes long.
pub(super) const SOURCE_LLADDR: [u8; 2] = [1, 1];

/// The MAC of an IPv6 group (RFC 2464, 7).
pub(super) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}
