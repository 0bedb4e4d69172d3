//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! Only that pairing is understood: a message about other kinds of addresses is
//! [`Malformed::AddressKind`], because nothing behind a port that is locked to its addresses could
//! be checked in it.

use crate::MacAddr;
use crate::headers::Malformed;
use std::net::Ipv4Addr;

/// An ARP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// [`Arp::REQUEST`], [`Arp::REPLY`], or a rarer one.
    pub operation: u16,
    /// Who the sender says it is at layer 2; need not be the frame's source.
    pub sender_mac: MacAddr,
    /// The address the sender claims; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The receiver's MAC address; zeros in a request.
    pub target_mac: MacAddr,
    /// The address asked for, or told to.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Who has `target_ip`?
    pub const REQUEST: u16 = 1;
    /// `sender_ip` is at `sender_mac`.
    pub const REPLY: u16 = 2;
    /// Bytes of a message.
    pub const LEN: usize = 28;

    /// Hardware type Ethernet, protocol type IPv4, 6 and 4 bytes of address.
    const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

    /// Returns whether the message announces its own sender (RFC 5227, 3): what a host sends unasked.
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// Returns whether the message asks if an address is in use without claiming it (RFC 5227, 2.1).
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.operation == Self::REQUEST && self.sender_ip.is_unspecified()
    }

    pub(crate) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let Some(m) = message.first_chunk::<{ Self::LEN }>() else {
            return Err(Malformed::Truncated);
        };
        if m[..6] != Self::ETHERNET_IPV4 {
            return Err(Malformed::AddressKind);
        }
        Ok(Self {
            operation: u16::from_be_bytes([m[6], m[7]]),
            sender_mac: MacAddr([m[8], m[9], m[10], m[11], m[12], m[13]]),
            sender_ip: Ipv4Addr::new(m[14], m[15], m[16], m[17]),
            target_mac: MacAddr([m[18], m[19], m[20], m[21], m[22], m[23]]),
            target_ip: Ipv4Addr::new(m[24], m[25], m[26], m[27]),
        })
    }

    pub(crate) fn emit(&self) -> [u8; Self::LEN] {
        let mut m = [0; Self::LEN];
        m[..6].copy_from_slice(&Self::ETHERNET_IPV4);
        m[6..8].copy_from_slice(&self.operation.to_be_bytes());
        m[8..14].copy_from_slice(&self.sender_mac.0);
        m[14..18].copy_from_slice(&self.sender_ip.octets());
        m[18..24].copy_from_slice(&self.target_mac.0);
        m[24..28].copy_from_slice(&self.target_ip.octets());
        m
    }
}
