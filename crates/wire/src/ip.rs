//! Things that IPv4 and IPv6 share: protocol numbers and the idea of a fragment.

use std::fmt;
use std::str::FromStr;

/// The number of a transport protocol or IPv6 extension header (IANA "Protocol Numbers"). As text
/// it is `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "schema",
    schema(as = Protocol, value_type = String, example = "tcp")
)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// IGMP, the groups that an IPv4 host listens to.
    pub const IGMP: Self = Self(2);
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
    /// PIM, multicast routers among themselves.
    pub const PIM: Self = Self(103);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::SCTP, "sctp"),
        (Self::ICMP, "icmp"),
        (Self::ICMPV6, "icmpv6"),
    ];

    /// Returns whether its packets name ports.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    /// Returns the name that it has in a sentence: `TCP`, `ICMPv6`, `protocol 47`.
    #[must_use]
    pub fn title(self) -> impl fmt::Display {
        Title(self)
    }
}

/// A protocol in a sentence.
struct Title(IpProtocol);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpProtocol::HOP_BY_HOP => f.write_str("hop-by-hop options"),
            IpProtocol::ICMP => f.write_str("ICMP"),
            IpProtocol::TCP => f.write_str("TCP"),
            IpProtocol::UDP => f.write_str("UDP"),
            IpProtocol::ROUTING => f.write_str("routing header"),
            IpProtocol::FRAGMENT => f.write_str("fragment header"),
            IpProtocol::AH => f.write_str("AH"),
            IpProtocol::ICMPV6 => f.write_str("ICMPv6"),
            IpProtocol::NO_NEXT => f.write_str("no next header"),
            IpProtocol::DESTINATION => f.write_str("destination options"),
            IpProtocol::SCTP => f.write_str("SCTP"),
            IpProtocol(other) => write!(f, "protocol {other}"),
        }
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::WORDS.iter().find(|(own, _)| own == self) {
            Some((_, word)) => f.pad(word),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

/// The text names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a protocol: tcp, udp, sctp, icmp, icmpv6 and numbers up to 255 are")]
pub struct ParseProtocolError(String);

impl FromStr for IpProtocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::WORDS.iter().find(|(_, word)| *word == text);
        let number = || text.parse().ok().map(Self);
        let known = named.map(|(own, _)| *own).or_else(number);
        known.ok_or_else(|| ParseProtocolError(text.to_owned()))
    }
}

impl TryFrom<String> for IpProtocol {
    type Error = ParseProtocolError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IpProtocol> for String {
    fn from(protocol: IpProtocol) -> Self {
        protocol.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read_as_they_are_shown() {
        for text in ["tcp", "icmpv6", "47"] {
            assert_eq!(text.parse::<IpProtocol>().unwrap().to_string(), text);
        }
        assert_eq!("6".parse(), Ok(IpProtocol::TCP));
        assert_eq!(
            "gre".parse::<IpProtocol>().unwrap_err().to_string(),
            "`gre` is not a protocol: tcp, udp, sctp, icmp, icmpv6 and numbers up to 255 are"
        );
        for wrong in ["", "256", "TCP"] {
            assert!(wrong.parse::<IpProtocol>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sentences_have_names_of_their_own() {
        let titles = [IpProtocol::TCP, IpProtocol::ICMPV6, IpProtocol(47)];
        let titles = titles.map(|protocol| protocol.title().to_string());
        assert_eq!(titles, ["TCP", "ICMPv6", "protocol 47"]);
    }
}
