//! What IPv4 and IPv6 share: protocol numbers and the idea of a fragment.

use std::fmt;

/// The number of a transport protocol or IPv6 extension header (IANA "Protocol Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// IPv6 routing header.
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header.
    pub const FRAGMENT: Self = Self(44);
    /// Authentication header.
    pub const AH: Self = Self(51);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// IPv6: nothing follows.
    pub const NO_NEXT: Self = Self(59);
    /// IPv6 destination options.
    pub const DESTINATION: Self = Self(60);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HOP_BY_HOP => f.write_str("hop-by-hop options"),
            Self::ICMP => f.write_str("ICMP"),
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::ROUTING => f.write_str("routing header"),
            Self::FRAGMENT => f.write_str("fragment header"),
            Self::AH => f.write_str("AH"),
            Self::ICMPV6 => f.write_str("ICMPv6"),
            Self::NO_NEXT => f.write_str("no next header"),
            Self::DESTINATION => f.write_str("destination options"),
            Self::SCTP => f.write_str("SCTP"),
            Self(other) => write!(f, "protocol {other}"),
        }
    }
}

/// Where in a larger packet this one belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The same in all fragments of a packet: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Bytes of the packet's payload before this fragment's; a multiple of 8.
    pub offset: u16,
    /// Whether fragments follow.
    pub more: bool,
}

impl Fragment {
    /// Returns whether this is the fragment that begins with the transport header. Only the first one
    /// has ports.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }
}
