//! Wire formats: what a frame's bytes mean, and nothing about where the frame goes.
//!
//! * [`Headers::parse`] reads a frame's headers once, on arrival; the stages work on the result.
//! * [`VnetHeader`] travels with a frame and says what its sender left undone. [`check_vnet`] is
//!   the gate it passes on arrival; [`checksum::complete`] and [`segment()`] do the work it speaks
//!   of where a frame leaves through something that cannot, and [`wire_mtu`] answers what an MTU
//!   is compared with. [`fragment()`] cuts an IPv4 packet for a link that is narrower.
//! * [`Quoted`] and [`TcpOptions`] are read where somebody asks: the packet inside an ICMP error,
//!   the options of a SYN.
//! * [`checksum`] sums, updates in place and verifies; [`crc32c`] does so for SCTP.
//! * [`emit`] writes frames onto the end of a buffer: what a router says of its own.
//! * [`craft`] makes frames for tests, `explain` and the simulation.
//!
//! A layer is a file with the same verbs: `parse` from bytes, `emit` to bytes where something is
//! made. Everything but `craft` neither allocates (`emit` grows its buffer) nor panics on any
//! bytes, and every type is a plain `Copy` value: there is nothing to share, so nothing about
//! threads to know.
//!
//! The tests hold the parser and the checksums against pnet's on sound and damaged frames, and the
//! frames that [`craft`] makes against smoltcp's: three implementations that agree.

#[cfg(test)]
mod arbitrary;
mod arp;
pub mod checksum;
pub mod craft;
pub mod crc32c;
pub mod emit;
mod ethernet;
mod fragment;
mod headers;
mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod mac;
mod offload;
#[cfg(test)]
mod oracle;
mod quoted;
mod segment;
mod tcp_options;
mod transport;
mod tuple;
mod vlan;
mod vnet;

pub use arp::Arp;
pub use ethernet::{EtherType, MAX_TAGS};
pub use fragment::{FragmentError, fragment};
pub use headers::{Headers, Malformed, Net, ParseError};
pub use icmp::{Icmp, Icmpv6, Nd};
pub use ip::{Fragment, IpProtocol, ParseProtocolError};
pub use ipv4::Ipv4;
pub use ipv6::{Ipv6, MAX_EXTENSIONS};
pub use mac::{MacAddr, ParseMacError};
pub use offload::{MAX_SEGMENTS, VnetError, check_vnet, wire_mtu};
pub use quoted::{Quoted, QuotedTransport};
pub use segment::{SegmentError, segment};
pub use tcp_options::{Mss, TcpOptions};
pub use transport::{Sctp, Tcp, TcpFlags, Transport, Udp};
pub use tuple::{TransportAddr, Tuple};
pub use vlan::{ParseVlanError, VlanId, VlanTag};
pub use vnet::{GsoKind, VnetHeader};
