//! Ethernet MAC addresses (IEEE 802, EUI-48).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A 48-bit Ethernet address, as text six two-digit hexadecimal numbers joined by colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "schema",
    schema(as = Mac, value_type = String, pattern = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$", example = "02:42:0a:00:00:02")
)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00
    pub const ZERO: Self = Self([0; 6]);

    /// Returns whether the group bit is set: multicast, broadcast included.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Returns whether this is the broadcast address.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Returns whether a frame may come from this address: an individual one that is not all zeros.
    #[must_use]
    pub fn is_valid_source(self) -> bool {
        !self.is_group() && self != Self::ZERO
    }

    /// The address that a host with this one makes in a prefix of 64 bits, whose other bits are zero:
    /// the modified EUI-64 (RFC 4291, appendix A).
    #[must_use]
    pub fn eui64_in(self, prefix: Ipv6Addr) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let host = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        Ipv6Addr::from_bits(prefix.to_bits() | u128::from(host))
    }

    /// The link-local address it makes, in fe80::/64 (RFC 4291, 2.5.6).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        self.eui64_in(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }

    /// Returns whether this is one of 01:80:C2:00:00:00 to 0F, the link-local protocols' addresses that
    /// an 802.1D bridge does not forward (STP, pause, LACP, LLDP …).
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, last] if last <= 0x0f)
    }

    /// The address as a number, first byte highest.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The address whose number is the low 48 bits of `value`.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six two-digit hexadecimal numbers joined by colons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a MAC address: six hexadecimal bytes joined by colons are, as in 02:42:0a:00:00:02"
)]
pub struct ParseMacError(String);

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseMacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && !p.starts_with('+'))
                .ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        parts
            .next()
            .is_none()
            .then_some(Self(bytes))
            .ok_or_else(wrong)
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_round_trip() {
        let mac: MacAddr = "02:42:0a:00:00:fe".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:0a:00:00:fe");
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
        for wrong in [
            "",
            "02:42:0a:00:00",
            "02:42:0a:00:00:fe:01",
            "2:42:0a:00:00:fe",
            "zz:42:0a:00:00:fe",
            "+2:42:0a:00:00:fe",
        ] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_eui_64_is_that_of_the_rfc() {
        // RFC 4291, appendix A: the local bit is inverted and FFFE stands in the middle.
        let mac: MacAddr = "34:56:78:9a:bc:de".parse().unwrap();
        let own: Ipv6Addr = "fe80::3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(mac.link_local(), own);
        let prefix = "2001:db8:1:2::".parse().unwrap();
        let global: Ipv6Addr = "2001:db8:1:2:3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(mac.eui64_in(prefix), global);
    }

    #[test]
    fn kinds() {
        assert!(MacAddr::BROADCAST.is_group() && MacAddr::BROADCAST.is_broadcast());
        assert!(!MacAddr::ZERO.is_valid_source());
        assert!(MacAddr([1, 0x80, 0xc2, 0, 0, 0x0f]).is_reserved());
        assert!(!MacAddr([1, 0x80, 0xc2, 0, 0, 0x10]).is_reserved());
    }
}
