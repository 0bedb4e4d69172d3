//! Wire formats.

#[cfg(test)]
mod arbitrary;
mod arp;
pub mod checksum;
pub mod craft;
mod ethernet;
mod headers;
mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod mac;
mod offload;
#[cfg(test)]
mod oracle;
mod segment;
mod transport;
mod vlan;
mod vnet;

pub use arp::Arp;
pub use ethernet::{EtherType, MAX_TAGS};
pub use headers::{Headers, Malformed, Net, ParseError};
pub use icmp::{Icmp, Icmpv6, Nd};
pub use ip::{Fragment, IpProtocol};
pub use ipv4::Ipv4;
pub use ipv6::{Ipv6, MAX_EXTENSIONS};
pub use mac::{MacAddr, ParseMacError};
pub use offload::{MAX_SEGMENTS, VnetError, check_vnet, wire_mtu};
pub use segment::{SegmentError, segment};
pub use transport::{Sctp, Tcp, TcpFlags, Transport, Udp};
pub use vlan::{VlanId, VlanTag};
pub use vnet::{GsoKind, VnetHeader};
