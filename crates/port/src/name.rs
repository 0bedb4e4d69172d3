//! Names of interfaces, checked once.

use crate::PortError;
use std::fmt;
use std::str::FromStr;

/// An interface name that the kernel will take (`dev_valid_name`): 1 to 15 bytes, no `/`, `:`,
/// white space, neither `.` nor `..`; no `%` either, which TUNSETIFF would read as a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The longest name, in bytes.
    pub const MAX: usize = 15;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong_byte =
            |byte: u8| matches!(byte, b'/' | b':' | b'%' | 0 | 0x0b) || byte.is_ascii_whitespace();
        let length_fits = (1..=Self::MAX).contains(&text.len());
        if !length_fits || text == "." || text == ".." || text.bytes().any(wrong_byte) {
            return Err(PortError::Name(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_takes_is_a_name() {
        for good in ["e", "eth0", "veth-0_1.100", "a23456789012345"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "tap%d",
            "a\n",
            "a\0",
            "a234567890123456",
        ] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }
}
