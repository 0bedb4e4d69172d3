//! A range of ports, a range of addresses.

use crate::Invalid;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Ports, both ends included: `80` or `8000-8099`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, pattern = "^[0-9]+(-[0-9]+)?$", example = "8000-8099"))]
pub struct PortRange(Span<u16>);

impl PortRange {
    /// The dynamic ports (RFC 6335, 6).
    pub const DYNAMIC: Self = Self(Span {
        first: 49_152,
        last: 65_535,
    });

    /// From `first` to `last`; `None` when they run backwards or begin with 0, which is no port.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last {
            return None;
        }
        Some(Self(Span { first, last }))
    }

    /// The lowest.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.0.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.0.last
    }

    /// Returns whether `port` is one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.0.first <= port && port <= self.0.last
    }

    /// Returns how many they are.
    #[must_use]
    pub const fn count(self) -> u32 {
        (self.0.last - self.0.first) as u32 + 1
    }

    /// Each of them, from the lowest on.
    #[must_use]
    pub const fn iter(self) -> RangeInclusive<u16> {
        self.0.first..=self.0.last
    }

    /// Returns whether a port is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0.first <= other.0.last && other.0.first <= self.0.last
    }

    /// As many ports from `first` on; `None` when there are not so many.
    #[must_use]
    pub const fn moved_to(self, first: u16) -> Option<Self> {
        match first.checked_add(self.0.last - self.0.first) {
            Some(last) => Self::new(first, last),
            None => None,
        }
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = ends(text).and_then(|(first, last)| Self::new(first, last));
        range.ok_or_else(|| {
            Invalid::form(
                "a range of ports",
                text,
                "PORT or FIRST-LAST is, of 1 to 65535",
            )
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&from_to(&self.0.first, &self.0.last))
    }
}

/// Reads `FIRST-LAST`, or one value that is both.
fn ends<T: FromStr>(text: &str) -> Option<(T, T)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Writes what [`ends`] reads.
fn from_to<T: fmt::Display + PartialEq>(first: &T, last: &T) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// Addresses of one family, both ends included: `10.1.0.5` or `10.1.0.100-10.1.0.120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "10.1.0.100-10.1.0.120"))]
pub struct AddressRange(Span<IpAddr>);

/// Both ends of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Span<T> {
    first: T,
    last: T,
}

impl AddressRange {
    /// From `first` to `last`; `None` when they run backwards or are of two families.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let good = first.is_ipv4() == last.is_ipv4() && first <= last;
        good.then_some(Self(Span { first, last }))
    }

    /// The lowest.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.0.first
    }

    /// The highest.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.0.last
    }
}

impl AddressRange {
    /// Returns whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.first <= address && address <= self.0.last
    }
}

impl FromStr for AddressRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = ends(text).and_then(|(first, last)| Self::new(first, last));
        range.ok_or_else(|| {
            Invalid::form(
                "a range of addresses",
                text,
                "IP or FIRST-LAST is, of one family",
            )
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&from_to(&self.0.first, &self.0.last))
    }
}

text_in_json!(PortRange);
text_in_json!(AddressRange);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_shown() {
        for text in ["80", "1-65535"] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
        for text in ["10.1.0.5", "2001:db8::1-2001:db8::9"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_range_says_what_is() {
        for wrong in ["", "0", "0-5", "9-8", "1-65536", "a", "1-2-3"] {
            let error = wrong.parse::<PortRange>().unwrap_err().to_string();
            assert!(
                error.contains("is not a range of ports: PORT or FIRST-LAST is"),
                "{error}"
            );
        }
        for wrong in ["", "10.1.0.9-10.1.0.2", "10.1.0.1-2001:db8::1", "x"] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let of = |text: &str| text.parse::<PortRange>().unwrap();
        let range = of("8000-8003");
        assert_eq!(range.count(), 4);
        assert!(range.iter().eq([8000, 8001, 8002, 8003]));
        assert_eq!(
            [7999, 8000, 8003, 8004].map(|port| range.contains(port)),
            [false, true, true, false]
        );
        for (other, meets) in [("1-7999", false), ("1-8000", true), ("8003", true)] {
            assert_eq!(range.meets(of(other)), meets, "{other}");
            assert_eq!(of(other).meets(range), meets, "{other}");
        }
        assert_eq!(of("1-65535").count(), 65_535);
    }

    #[test]
    fn a_range_moves_as_a_whole() {
        let range: PortRange = "8000-8099".parse().unwrap();
        assert_eq!(range.moved_to(1).unwrap().to_string(), "1-100");
        assert_eq!((range.moved_to(65_437), range.moved_to(0)), (None, None));
    }
}
