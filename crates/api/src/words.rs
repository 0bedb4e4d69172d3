//! Words with a form of their own: a name, a MAC address, a VLAN, a network namespace.
//!
//! Each travels as text (a VLAN as a number) and is checked where it enters: a value of one of
//! these types is well formed.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use utoipa::ToSchema;

/// Text that is not the word it should be; the message names it and the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseWordError(pub(crate) String);

/// The name of a network, an endpoint or a port: 1 to 64 letters, digits, `_`, `.` and `-`, the
/// first a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", example = "blue")]
pub struct Name(String);

impl Name {
    /// Letters a name may have at most.
    pub const MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let good = text.len() <= Self::MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        if good {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(ParseWordError(format!(
            "`{}` is not a name: 1 to {} letters, digits, `_`, `.` or `-`, the first a letter or a digit",
            shown.escape_debug(),
            Self::MAX
        )))
    }
}

impl TryFrom<String> for Name {
    type Error = ParseWordError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An Ethernet address, as text six two-digit hexadecimal numbers joined by colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$", example = "02:42:0a:00:00:02")]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let byte = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        };
        let bytes: Option<Vec<u8>> = parts.into_iter().map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            ParseWordError(format!("`{text}` is not a MAC address: six hexadecimal bytes joined by colons are, as in 02:42:0a:00:00:02"))
        })
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseWordError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A VLAN, 1 to 4094 (IEEE 802.1Q).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(try_from = "u16", into = "u16")]
#[schema(value_type = u16, minimum = 1, maximum = 4094, example = 10)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN of a port that was told no other.
    pub const DEFAULT: Self = Self(1);

    /// The VLAN as a number, 1 to 4094.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for VlanId {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u16> for VlanId {
    type Error = ParseWordError;

    fn try_from(id: u16) -> Result<Self, Self::Error> {
        match id {
            1..=4094 => Ok(Self(id)),
            0 | 4095.. => Err(ParseWordError(format!(
                "VLAN {id} does not exist: allowed are 1 to 4094"
            ))),
        }
    }
}

impl From<VlanId> for u16 {
    fn from(vlan: VlanId) -> Self {
        vlan.0
    }
}

impl FromStr for VlanId {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id: u16 = text.parse().map_err(|_| {
            ParseWordError(format!("`{text}` is not a VLAN: allowed are 1 to 4094"))
        })?;
        id.try_into()
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Netns {
    /// Made with `ip netns add NAME`: `/run/netns/NAME`.
    Name(Name),
    /// A file that stands for a namespace, such as `/proc/7/ns/net`.
    #[schema(value_type = String)]
    Path(PathBuf),
    /// The namespace a process is in.
    Pid(u32),
}

impl FromStr for Netns {
    type Err = ParseWordError;

    /// A text with a `/` is a path, any other a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            Ok(Self::Path(text.into()))
        } else {
            text.parse().map(Self::Name)
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Path(path) => f.pad(&path.to_string_lossy()),
            Self::Pid(pid) => f.pad(&format!("pid {pid}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_out_of_the_file_system() {
        for good in ["blue", "0", "web-1_a.b", &"x".repeat(64)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for wrong in [
            "",
            ".",
            "..",
            "../etc",
            "a/b",
            "-a",
            "a b",
            "ä",
            "a\0",
            &"x".repeat(65),
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
            assert!(
                serde_json::from_value::<Name>(serde_json::json!(wrong)).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn macs_and_vlans_say_what_is_allowed() {
        assert_eq!(
            "02:42:0A:00:00:02".parse::<Mac>().unwrap().to_string(),
            "02:42:0a:00:00:02"
        );
        for wrong in [
            "",
            "02:42:0a:00:00",
            "02:42:0a:00:00:02:03",
            "2:42:0a:00:00:02",
            "+2:42:0a:00:00:02",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        assert_eq!("4094".parse::<VlanId>().unwrap().get(), 4094);
        assert_eq!(
            "4095".parse::<VlanId>().unwrap_err().to_string(),
            "VLAN 4095 does not exist: allowed are 1 to 4094"
        );
        assert!(serde_json::from_str::<VlanId>("0").is_err());
    }

    #[test]
    fn a_namespace_is_a_name_a_path_or_a_process() {
        assert_eq!(
            "web".parse::<Netns>().unwrap(),
            Netns::Name("web".parse().unwrap())
        );
        assert_eq!(
            "/proc/7/ns/net".parse::<Netns>().unwrap(),
            Netns::Path("/proc/7/ns/net".into())
        );
        assert_eq!(
            serde_json::to_string(&Netns::Pid(7)).unwrap(),
            r#"{"pid":7}"#
        );
    }
}
