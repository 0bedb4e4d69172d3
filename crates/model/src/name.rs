//! How things and namespaces are named.

use crate::Invalid;
use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The name of a network, an endpoint or a port: 1 to 64 letters, digits, `_`, `.` and `-`, the
/// first a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", example = "blue"))]
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
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let good = text.len() <= Self::MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::form(
            "a name",
            text,
            "1 to 64 letters, digits, `_`, `.` or `-`, the first a letter or a digit",
        ))
    }
}

text_in_json!(Name);

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

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Netns {
    /// Made with `ip netns add NAME`: `/run/netns/NAME`.
    Name(Name),
    /// A file that stands for a namespace, such as `/proc/7/ns/net`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    Path(PathBuf),
    /// The namespace a process is in.
    Pid(u32),
}

impl FromStr for Netns {
    type Err = Invalid;

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

/// Refuses what the kernel would not take as an interface's name.
///
/// # Errors
/// [`Invalid`] names the value and what is allowed.
pub fn check_ifname(key: &str, name: &str) -> Result<(), Invalid> {
    let good = (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/:%".contains(&b))
        && name != "."
        && name != "..";
    if good {
        return Ok(());
    }
    Err(Invalid::Conflict(format!(
        "{key} is `{}`; allowed are 1 to 15 printable letters without `/`, `:`, `%` and space",
        name.escape_debug()
    )))
}

#[cfg(all(test, feature = "serde"))]
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
