//! Transport addresses, and the tuple of a packet.

use crate::IpProtocol;
use std::fmt;
use std::net::IpAddr;

/// An IP address and a port (RFC 4787 writes `X:x`). Of an ICMP query the port is its identifier
/// on the side that asked, 0 on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TransportAddr {
    /// The address.
    pub ip: IpAddr,
    /// The port, or the query's identifier.
    pub port: u16,
}

impl TransportAddr {
    /// `ip:port`.
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }
}

impl fmt::Display for TransportAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// Protocol, source and destination of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// The transport protocol.
    pub protocol: IpProtocol,
    /// The sender.
    pub src: TransportAddr,
    /// The receiver.
    pub dst: TransportAddr,
}

impl Tuple {
    /// The tuple of the answers.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            dst: self.src,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol.title(), self.src, self.dst)
    }
}
