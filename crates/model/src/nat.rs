//! How a NAT behaves towards its peers: the presets, and what a network may say otherwise.
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
//! | `symmetric` | address and port | address and port | random | 7440 s | 300 s | 60 s |
//!
//! A new preset is a value of [`Preset`] and an arm in [`Preset::behaviour`].

use crate::Invalid;
use std::ops::RangeInclusive;
use std::time::Duration;

words! {
    /// A named behaviour of a NAT.
    #[derive(Default)]
    pub enum Preset ("NAT preset") {
        /// The behaviour that RFC 4787, 5382 and 5508 ask for.
        #[default]
        Rfc = "rfc",
        /// Linux conntrack with MASQUERADE.
        Linux = "linux",
        /// A home router.
        Home = "home",
        /// A firewall's NAT.
        Corporate = "corporate",
        /// A carrier's NAT (RFC 6888).
        Cgnat = "cgnat",
        /// A cloud's NAT gateway.
        Cloud = "cloud",
        /// Everybody may answer.
        FullCone = "full-cone",
        /// The worst case for peer-to-peer programs: a port for each peer, not to be guessed, and no
        /// way back in.
        Symmetric = "symmetric",
    }
}

words! {
    /// The part of the peer's address that a NAT compares when it maps a port, or filters an answer.
    pub enum Dependence ("kind of mapping or filtering") {
        /// Nothing.
        EndpointIndependent = "endpoint-independent",
        /// Its address.
        AddressDependent = "address-dependent",
        /// Its address and port.
        AddressAndPortDependent = "address-and-port-dependent",
    }
}

/// How a network's NAT behaves: a preset, and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Nat {
    /// The preset.
    pub preset: Preset,
    /// Whether the external port depends on the peer (RFC 4787 4.1). `null`: as the preset has it.
    pub mapping: Option<Dependence>,
    /// Who may answer to an external port (RFC 4787 5). `null`: as the preset has it.
    pub filtering: Option<Dependence>,
    /// Whether TCP segments outside their connection's window pass. `null`: as the preset has it.
    pub tcp_liberal: Option<bool>,
    /// Connections one address may hold, 1 to 16777216.
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 1, maximum = 16_777_216, default = 65_536)
    )]
    pub quota: u32,
}

impl Nat {
    /// Allowed quotas, in connections.
    pub const QUOTA: RangeInclusive<u32> = 1..=1 << 24;

    /// Returns the preset's behaviour with the differences.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        let preset = self.preset.behaviour();
        Behaviour {
            mapping: self.mapping.unwrap_or(preset.mapping),
            filtering: self.filtering.unwrap_or(preset.filtering),
            tcp_liberal: self.tcp_liberal.unwrap_or(preset.tcp_liberal),
            ..preset
        }
    }

    /// Compares the quota with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("quota", self.quota, &Self::QUOTA)
    }
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            mapping: None,
            filtering: None,
            tcp_liberal: None,
            quota: 65_536,
        }
    }
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
    /// Whether the external port depends on the peer (RFC 4787 4.1).
    pub mapping: Dependence,
    /// Who may answer to an external port (RFC 4787 5).
    pub filtering: Dependence,
    /// Which external port a mapping gets.
    pub ports: PortChoice,
    /// When a connection is forgotten.
    pub timeouts: Timeouts,
    /// Let TCP segments pass that lie outside their connection's window.
    pub tcp_liberal: bool,
    /// Whether inside hosts reach each other by external addresses (RFC 4787 REQ-9).
    pub hairpin: bool,
}

impl Preset {
    /// Returns what the preset stands for.
    #[must_use]
    pub const fn behaviour(self) -> Behaviour {
        let rfc = Behaviour::RFC;
        match self {
            Self::Rfc | Self::Home => rfc,
            Self::Linux => Behaviour {
                mapping: Dependence::AddressAndPortDependent,
                timeouts: Timeouts::LINUX,
                ..rfc
            },
            Self::Corporate => Behaviour {
                mapping: Dependence::AddressAndPortDependent,
                ports: PortChoice::Random,
                ..rfc
            },
            Self::Cgnat => Behaviour {
                filtering: Dependence::EndpointIndependent,
                ports: PortChoice::Random,
                ..rfc
            },
            Self::Cloud => Behaviour {
                mapping: Dependence::AddressAndPortDependent,
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
                filtering: Dependence::EndpointIndependent,
                ..rfc
            },
            Self::Symmetric => Behaviour {
                mapping: Dependence::AddressAndPortDependent,
                ports: PortChoice::Random,
                hairpin: false,
                ..rfc
            },
        }
    }
}

impl Behaviour {
    const RFC: Self = Self {
        mapping: Dependence::EndpointIndependent,
        filtering: Dependence::AddressAndPortDependent,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_found_by_the_word_it_shows() {
        for (preset, word) in Preset::ALL {
            assert_eq!(preset.to_string(), *word);
            assert_eq!(word.parse(), Ok(*preset));
        }
        assert_eq!(
            "nat".parse::<Dependence>().unwrap_err().to_string(),
            "unknown kind of mapping or filtering `nat`: allowed are endpoint-independent, \
             address-dependent, address-and-port-dependent"
        );
    }

    #[test]
    fn a_network_differs_from_its_preset_where_it_says_so() {
        let nat = Nat {
            preset: Preset::Cgnat,
            filtering: Some(Dependence::AddressDependent),
            tcp_liberal: Some(true),
            ..Nat::default()
        };
        let cgnat = Preset::Cgnat.behaviour();
        assert_eq!(
            nat.behaviour(),
            Behaviour {
                filtering: Dependence::AddressDependent,
                tcp_liberal: true,
                ..cgnat
            }
        );
        let none = Nat { quota: 0, ..nat };
        assert_eq!(
            none.check().unwrap_err().to_string(),
            "quota is 0; allowed are 1 to 16777216"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn words_travel_as_they_are_shown() {
        for (preset, word) in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).unwrap(), *word);
            assert_eq!(
                serde_json::from_value::<Preset>((*word).into()).unwrap(),
                *preset
            );
        }
        let unknown = serde_json::from_str::<Nat>(r#"{"preset":"nat"}"#).unwrap_err();
        assert!(
            unknown
                .to_string()
                .starts_with("unknown NAT preset `nat`: allowed are rfc, linux"),
            "{unknown}"
        );
    }
}
