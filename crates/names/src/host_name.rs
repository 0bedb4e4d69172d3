//! Names as DNS can carry and this crate can own them: labels of letters, digits, `-` and `_`.
//!
//! A name that is asked for may be any bytes (RFC 2181 section 11), dots inside a label included:
//! `a.b` as one label is not `a.b` as two. Nothing outside the alphabet is ever one of ours, so
//! the two cannot be confused.

use hickory_proto::rr::Name;
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The longest label, in bytes (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;
/// The longest name as text without its last dot: 255 bytes on the wire (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;

/// A host's name: one label or more, in lower case, without a last dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Why a word is not a [`HostName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAHostName {
    /// Too long, or nothing at all.
    #[error("{name:?} has {} bytes: a DNS name has 1 to {NAME_MAX}", name.len())]
    Length {
        /// The word.
        name: String,
    },
    /// A part between dots is too long, or nothing at all.
    #[error("{name:?} has the label {label:?}: a DNS label has 1 to {LABEL_MAX} bytes")]
    Label {
        /// The word.
        name: String,
        /// The part.
        label: String,
    },
    /// A character that no name of ours has.
    #[error("{name:?} has the character {character:?}: expected letters, digits, '-', '_', '.'")]
    Character {
        /// The word.
        name: String,
        /// The first such character.
        character: char,
    },
}

impl HostName {
    /// The name as text, in lower case, without a last dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what stands before `.suffix`, when the name ends so.
    #[must_use]
    pub fn within(&self, suffix: &Self) -> Option<&str> {
        strip(&self.0, suffix)
    }

    /// The name and then `suffix`; none when DNS cannot carry that many bytes.
    #[must_use]
    pub fn join(&self, suffix: &Self) -> Option<Self> {
        let joined = format!("{self}.{suffix}");
        (joined.len() <= NAME_MAX).then_some(Self(joined))
    }

    /// The name that a query is about; none when it is certainly not one of ours.
    pub(crate) fn asked(name: &Name) -> Option<Self> {
        let mut text = String::with_capacity(name.len());
        for label in name {
            if !text.is_empty() {
                text.push('.');
            }
            for &byte in label {
                if !is_allowed(byte) {
                    return None;
                }
                text.push(char::from(byte.to_ascii_lowercase()));
            }
        }
        (!text.is_empty()).then_some(Self(text))
    }

    /// The name as messages carry it.
    pub(crate) fn to_name(&self) -> Option<Name> {
        Name::from_labels(self.0.split('.').map(str::as_bytes)).ok()
    }
}

/// Returns what stands before `.suffix` in `name`.
pub(crate) fn strip<'a>(name: &'a str, suffix: &HostName) -> Option<&'a str> {
    name.strip_suffix(&suffix.0)?.strip_suffix('.')
}

const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl FromStr for HostName {
    type Err = NotAHostName;

    fn from_str(name: &str) -> Result<Self, NotAHostName> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(NotAHostName::Length {
                name: name.to_owned(),
            });
        }
        let foreign = |c: &char| !(c.is_ascii() && is_allowed(*c as u8) || *c == '.');
        if let Some(character) = name.chars().find(foreign) {
            return Err(NotAHostName::Character {
                name: name.to_owned(),
                character,
            });
        }
        let unfit = |label: &&str| label.is_empty() || label.len() > LABEL_MAX;
        if let Some(label) = name.split('.').find(unfit) {
            return Err(NotAHostName::Label {
                name: name.to_owned(),
                label: label.to_owned(),
            });
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// Tables of names are searched by text: its hash and order are the name's own.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_what_is_not_one() {
        for good in ["a", "web", "Web-1", "_x_", "a.b", "0", &"x".repeat(63)] {
            assert_eq!(
                good.parse::<HostName>().unwrap().as_str(),
                good.to_lowercase()
            );
        }
        for (bad, why) in [
            ("", "\"\" has 0 bytes: a DNS name has 1 to 253".to_owned()),
            (
                "a..b",
                "\"a..b\" has the label \"\": a DNS label has 1 to 63 bytes".to_owned(),
            ),
            (
                "a.",
                "\"a.\" has the label \"\": a DNS label has 1 to 63 bytes".to_owned(),
            ),
            (
                "é",
                "\"é\" has the character 'é': expected letters, digits, '-', '_', '.'".to_owned(),
            ),
        ] {
            assert_eq!(bad.parse::<HostName>().unwrap_err().to_string(), why);
        }
        for long in ["x".repeat(64), "x.".repeat(126) + "xx"] {
            assert!(long.parse::<HostName>().is_err(), "{long}");
        }
    }

    #[test]
    fn a_dot_inside_a_label_is_no_name_of_ours() {
        let one = Name::from_labels([&b"a.b"[..]]).unwrap();
        let two = Name::from_labels([&b"A"[..], b"b"]).unwrap();
        assert_eq!(HostName::asked(&one), None);
        assert_eq!(HostName::asked(&two), Some("a.b".parse().unwrap()));
        assert_eq!(HostName::asked(&Name::root()), None);
    }

    #[test]
    fn suffixes_end_at_a_dot() {
        let name: HostName = "web.blue".parse().unwrap();
        assert_eq!(name.within(&"blue".parse().unwrap()), Some("web"));
        assert_eq!(name.within(&"lue".parse().unwrap()), None);
        assert_eq!(name.within(&name), None);
        let long: HostName = "y.".repeat(120).trim_end_matches('.').parse().unwrap();
        assert_eq!(long.join(&long), None);
    }

    proptest! {
        #[test]
        fn every_name_survives_the_wire(text in "[a-zA-Z0-9_-]{1,63}(\\.[a-zA-Z0-9_-]{1,20}){0,8}") {
            let name: HostName = text.parse().unwrap();
            prop_assert_eq!(HostName::asked(&name.to_name().unwrap()), Some(name));
        }
    }
}
