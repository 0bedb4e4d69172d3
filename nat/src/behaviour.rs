//! How a NAT behaves towards its peers, and the presets.
//!
//! | preset | mapping | filtering | ports | TCP est. | UDP | ICMP |
//! |---|---|---|---|---|---|---|
//! | `rfc` | endpoint-independent | address and port | preserved | 7440 s | 300 s | 60 s |
//! | `linux` | address and port | address and port | preserved | 432000 s | 120 s, 30 s one-way | 30 s |
//! | `home` | endpoint-independent | address and port | preserved | 7440 s | 300 s | 60 s |
//! | `corporate` | address and port | address and port | random | 7440 s | 300 s | 60 s |
//! | `cgnat` | endpoint-independent | endpoint-independent | random | 7440 s | 300 s | 60 s |
//! | `cloud` | address and port | address and port | random | 7440 s | 350 s | 60 s |
//! | `full-cone` | endpoint-independent | endpoint-independent | preserved | 7440 s | 300 s | 60 s |
//!
//! A new preset is a line in [`Preset::ALL`] and an arm in [`Preset::behaviour`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Whether the external port depends on who is talked to (RFC 4787, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mapping {
    /// One external port for all peers.
    EndpointIndependent,
    /// One for each peer's address.
    AddressDependent,
    /// One for each peer's address and port.
    AddressAndPortDependent,
}

/// Who may answer to an external port (RFC 4787, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Whoever's address was talked to.
    AddressDependent,
    /// Whoever's address and port was talked to.
    AddressAndPortDependent,
}

/// Which external port a new mapping gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortChoice {
    /// The inside port where it can be had, else one of the same parity (RFC 4787 REQ-4).
    Preserve,
    /// Any (RFC 6056).
    Random,
}

/// How long a connection may be silent before it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// TCP, until both sides have answered.
    pub tcp_opening: Duration,
    /// TCP, established.
    pub tcp_established: Duration,
    /// TCP, after a FIN of both sides, or a RST.
    pub tcp_closing: Duration,
    /// UDP, and any other, once both sides have spoken.
    pub udp: Duration,
    /// UDP, and any other, while only one side has.
    pub udp_one_way: Duration,
    /// ICMP queries.
    pub icmp: Duration,
    /// SCTP, established.
    pub sctp: Duration,
}

/// How a NAT behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Behaviour {
    /// Whether the external port depends on the peer.
    pub mapping: Mapping,
    /// Who may answer.
    pub filtering: Filtering,
    /// Which external port a mapping gets.
    pub ports: PortChoice,
    /// When a connection is forgotten.
    pub timeouts: Timeouts,
    /// Let TCP segments pass that lie outside their connection's window.
    pub tcp_liberal: bool,
    /// Whether inside hosts reach each other by external addresses (RFC 4787 REQ-9).
    pub hairpin: bool,
}

/// A named behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Preset {
    /// What RFC 4787, 5382 and 5508 ask for.
    #[default]
    Rfc,
    /// Linux conntrack with MASQUERADE.
    Linux,
    /// A home router.
    Home,
    /// A firewall's NAT.
    Corporate,
    /// A carrier's NAT (RFC 6888).
    Cgnat,
    /// A cloud's NAT gateway.
    Cloud,
    /// Everybody may answer.
    FullCone,
}

impl Preset {
    /// Every preset with its name.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Rfc, "rfc"),
        (Self::Linux, "linux"),
        (Self::Home, "home"),
        (Self::Corporate, "corporate"),
        (Self::Cgnat, "cgnat"),
        (Self::Cloud, "cloud"),
        (Self::FullCone, "full-cone"),
    ];

    /// What it stands for.
    #[must_use]
    pub const fn behaviour(self) -> Behaviour {
        let rfc = Behaviour::RFC;
        match self {
            Self::Rfc | Self::Home => rfc,
            Self::Linux => Behaviour {
                mapping: Mapping::AddressAndPortDependent,
                timeouts: Timeouts::LINUX,
                ..rfc
            },
            Self::Corporate => Behaviour {
                mapping: Mapping::AddressAndPortDependent,
                ports: PortChoice::Random,
                ..rfc
            },
            Self::Cgnat => Behaviour {
                filtering: Filtering::EndpointIndependent,
                ports: PortChoice::Random,
                ..rfc
            },
            Self::Cloud => Behaviour {
                mapping: Mapping::AddressAndPortDependent,
                ports: PortChoice::Random,
                hairpin: false,
                timeouts: Timeouts {
                    udp: Duration::from_secs(350),
                    udp_one_way: Duration::from_secs(350),
                    ..Timeouts::RFC
                },
                ..rfc
            },
            Self::FullCone => Behaviour {
                filtering: Filtering::EndpointIndependent,
                ..rfc
            },
        }
    }
}

impl Behaviour {
    const RFC: Self = Self {
        mapping: Mapping::EndpointIndependent,
        filtering: Filtering::AddressAndPortDependent,
        ports: PortChoice::Preserve,
        timeouts: Timeouts::RFC,
        tcp_liberal: false,
        hairpin: true,
    };
}

impl Timeouts {
    /// RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2.
    const RFC: Self = Self {
        tcp_opening: Duration::from_secs(240),
        tcp_established: Duration::from_secs(7440),
        tcp_closing: Duration::from_secs(240),
        udp: Duration::from_secs(300),
        udp_one_way: Duration::from_secs(300),
        icmp: Duration::from_secs(60),
        sctp: Duration::from_secs(7440),
    };

    /// `net.netfilter.nf_conntrack_*_timeout*` as Linux sets them.
    const LINUX: Self = Self {
        tcp_opening: Duration::from_secs(120),
        tcp_established: Duration::from_secs(432_000),
        tcp_closing: Duration::from_secs(120),
        udp: Duration::from_secs(120),
        udp_one_way: Duration::from_secs(30),
        icmp: Duration::from_secs(30),
        sctp: Duration::from_secs(432_000),
    };
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::RFC
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::ALL
            .iter()
            .find(|(preset, _)| preset == self)
            .expect("every preset has a name");
        f.write_str(name)
    }
}

/// A name that is no preset's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no NAT preset: rfc, linux, home, corporate, cgnat, cloud and full-cone are")]
pub struct UnknownPreset(pub String);

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(preset, _)| *preset)
            .ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_found_by_the_name_it_shows() {
        for (preset, name) in Preset::ALL {
            assert_eq!(preset.to_string(), *name);
            assert_eq!(name.parse(), Ok(*preset));
        }
        assert!("nat".parse::<Preset>().is_err());
    }
}
