//! Which names are names.

use crate::Error;

/// Characters in a name of ours at most.
const NAME_MAX: usize = 64;
/// Bytes in an interface's name at most: the kernel's IFNAMSIZ less its terminating zero.
const IFNAME_MAX: usize = 15;

/// Refuses what is not `[a-zA-Z0-9][a-zA-Z0-9_.-]*` or too long: such a name is safe in a path, a
/// URL and a table.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let first = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first && rest && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Error::BadName {
        what,
        name: name.to_owned(),
        max: NAME_MAX,
    })
}

/// Refuses what the kernel does not take for an interface's name.
pub(crate) fn check_ifname(name: &str) -> Result<(), Error> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if name.is_empty()
        || name.len() > IFNAME_MAX
        || matches!(name, "." | "..")
        || name.chars().any(bad)
    {
        return Err(Error::BadIfname {
            name: name.to_owned(),
            max: IFNAME_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "0", "blue", "A_b.c-9", &"x".repeat(64)] {
            assert!(check_name("network", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(check_name("network", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interface_names() {
        for good in ["eth0", "e", "fifteen-letters", "eth0.100"] {
            assert!(check_ifname(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "sixteen-letters-",
            "a b",
            "a/b",
            "eth0:1",
            "tap%d",
        ] {
            assert!(check_ifname(bad).is_err(), "{bad}");
        }
    }
}
