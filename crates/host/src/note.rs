//! What we leave written on an interface that we made or took (its alias, which `ip link` shows): so that it is
//! known, and what was done for it can be undone, when the process that did it is gone.

use crate::reserved::PortSet;
use std::fmt;

/// What an interface is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The way to the world through `nic`; these ports were reserved for it.
    Uplink { nic: String, reserved: PortSet },
    /// The way between the host's stack and containers.
    Host,
    /// The way between containers and the daemon's own servers.
    Services,
    /// The host's side of this endpoint's interface.
    Endpoint(String),
    /// Somebody else's: a container's way, taken off the bridge it was a port of.
    Adopted(PortOf),
}

/// What an interface was to a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortOf {
    /// The bridge.
    pub(crate) bridge: String,
    /// Whether frames might leave where they came from.
    pub(crate) hairpin: bool,
}

/// The longest alias the kernel keeps (`IFALIASZ` less its end).
const MAX: usize = 255;

const UPLINK: &str = "clearway uplink of ";
const RESERVED: &str = ", reserved ports ";
const HOST: &str = "clearway host port";
const SERVICES: &str = "clearway services port";
const ENDPOINT: &str = "clearway endpoint ";
const ADOPTED: &str = "clearway adopted from ";
const HAIRPIN: &str = ", hairpin";

impl Note {
    /// Reads an interface's alias; `None` when it is not a note of ours.
    pub(crate) fn parse(alias: &str) -> Option<Self> {
        if let Some(uplink) = alias.strip_prefix(UPLINK) {
            let (nic, reserved) = uplink.split_once(RESERVED).unwrap_or((uplink, ""));
            return Some(Self::Uplink {
                nic: nic.to_owned(),
                reserved: PortSet::parse(reserved),
            });
        }
        if let Some(endpoint) = alias.strip_prefix(ENDPOINT) {
            return Some(Self::Endpoint(endpoint.to_owned()));
        }
        if let Some(port) = alias.strip_prefix(ADOPTED) {
            let bridge = port.strip_suffix(HAIRPIN);
            return Some(Self::Adopted(PortOf {
                bridge: bridge.unwrap_or(port).to_owned(),
                hairpin: bridge.is_some(),
            }));
        }
        match alias {
            HOST => Some(Self::Host),
            SERVICES => Some(Self::Services),
            _ => None,
        }
    }

    /// All the ports that these notes say were reserved.
    pub(crate) fn reserved<'a>(notes: impl Iterator<Item = &'a Self>) -> PortSet {
        notes.fold(PortSet::default(), |all, note| match note {
            Self::Uplink { reserved, .. } => all.plus(reserved),
            Self::Host | Self::Services | Self::Endpoint(_) | Self::Adopted(_) => all,
        })
    }

    /// The alias. Ports are named as far as there is room: of a list that was in pieces before,
    /// the last pieces may stay reserved when the process that reserved them dies.
    pub(crate) fn alias(&self) -> String {
        let mut alias = self.to_string();
        while alias.len() > MAX {
            alias.truncate(alias.rfind(',').unwrap_or(MAX));
        }
        alias
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uplink { nic, reserved } if reserved.is_empty() => write!(f, "{UPLINK}{nic}"),
            Self::Uplink { nic, reserved } => write!(f, "{UPLINK}{nic}{RESERVED}{reserved}"),
            Self::Host => f.write_str(HOST),
            Self::Services => f.write_str(SERVICES),
            Self::Endpoint(endpoint) => write!(f, "{ENDPOINT}{endpoint}"),
            Self::Adopted(PortOf { bridge, hairpin }) => {
                write!(
                    f,
                    "{ADOPTED}{bridge}{}",
                    if *hairpin { HAIRPIN } else { "" }
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written_and_others_are_not_ours() {
        for note in [
            uplink(&[49_152..=65_535, 7..=7]),
            uplink(&[]),
            Note::Host,
            Note::Services,
            Note::Endpoint("ep-7".to_owned()),
            adopted(false),
            adopted(true),
        ] {
            assert_eq!(Note::parse(&note.alias()), Some(note));
        }
        for other in [
            "",
            "uplink to the core switch",
            "clearway",
            "clearwayhost port",
        ] {
            assert_eq!(Note::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_between_two_ranges() {
        let pieces: Vec<_> = (0..40).map(|n| 50_000 + 10 * n..=50_001 + 10 * n).collect();
        let alias = uplink(&pieces).alias();
        assert!(alias.len() <= MAX);
        let Some(Note::Uplink { reserved, .. }) = Note::parse(&alias) else {
            panic!("{alias}")
        };
        assert_eq!(reserved.ranges(), pieces[..reserved.ranges().len()]);
    }

    fn adopted(hairpin: bool) -> Note {
        let bridge = "docker0".to_owned();
        Note::Adopted(PortOf { bridge, hairpin })
    }

    fn uplink(reserved: &[std::ops::RangeInclusive<u16>]) -> Note {
        Note::Uplink {
            nic: "eth0".to_owned(),
            reserved: PortSet::of(reserved),
        }
    }
}
