//! What a network's gateway does, and who talks to whom.

use crate::error::in_range;
use crate::net_words::closed_words;
use crate::{ApiError, Name};
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// What a network's gateway does, and who talks to whom: all of it may be changed while containers
/// are attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// Nothing is routed into the network or out of it; the gateway still answers DNS and echo
    /// requests. Containers attached afterwards get no default route.
    #[schema(default = false)]
    pub internal: bool,
    /// Whether containers of the network talk to each other; a port may say otherwise.
    #[schema(default = true)]
    pub icc: bool,
    /// Networks it exchanges packets with, if they name it as well. They need not exist yet.
    #[schema(value_type = Vec<String>)]
    pub peers: BTreeSet<Name>,
    /// Where packets for the world leave.
    pub uplink: UplinkChoice,
    /// Which of them leave with the uplink's address; the others with their own.
    pub masquerade: Masquerade,
    /// The prefix that the world knows the network's IPv6 addresses by instead (NPTv6, RFC 6296).
    pub nptv6: ExternalPrefix,
    /// How its NAT behaves.
    pub nat: Nat,
    /// Whether the host and the containers reach each other, where there is a gateway.
    #[schema(default = true)]
    pub host_access: bool,
    /// Whether router advertisements tell containers to make IPv6 addresses of their own (SLAAC).
    #[schema(default = false)]
    pub slaac: bool,
    /// Whether the gateway leases containers their addresses (DHCP).
    #[schema(default = false)]
    pub dhcp: bool,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            internal: false,
            icc: true,
            peers: BTreeSet::new(),
            uplink: UplinkChoice::Auto,
            masquerade: Masquerade::On,
            nptv6: ExternalPrefix::None,
            nat: Nat::default(),
            host_access: true,
            slaac: false,
            dhcp: false,
        }
    }
}

impl Routing {
    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ApiError> {
        in_range("nat.quota", self.nat.quota, &Nat::QUOTA)
    }
}

/// Where a network's packets for the world leave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UplinkChoice {
    /// Through the first uplink there is.
    #[default]
    Auto,
    /// Nowhere.
    None,
    /// Through the uplink of this name.
    Named(Name),
}

/// Packets that leave with the uplink's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Masquerade {
    /// None.
    Off,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
    /// All.
    #[default]
    On,
}

closed_words!(Masquerade, "way to masquerade", [Off "off", Ipv4 "ipv4", Ipv6 "ipv6", On "on"]);

/// What the world knows a network's IPv6 addresses by, one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalPrefix {
    /// What `masquerade` says.
    #[default]
    None,
    /// Addresses in this prefix, which the world's routers send here; as long as that of the
    /// network's IPv6 subnet, at most 112 bits.
    #[schema(value_type = String, example = "2001:db8:1::/64")]
    Prefix(Ipv6Net),
}

/// How a network's NAT behaves: a preset, and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
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
    #[schema(minimum = 1, maximum = 16_777_216, default = 65_536)]
    pub quota: u32,
}

impl Nat {
    /// Allowed quotas, in connections.
    pub const QUOTA: RangeInclusive<u32> = 1..=1 << 24;
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            preset: Preset::Rfc,
            mapping: None,
            filtering: None,
            tcp_liberal: None,
            quota: 65_536,
        }
    }
}

/// A named behaviour of a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
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

closed_words!(Preset, "NAT preset", [
    Rfc "rfc", Linux "linux", Home "home", Corporate "corporate", Cgnat "cgnat", Cloud "cloud",
    FullCone "full-cone",
]);

/// What of the peer a NAT looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// Nothing.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

closed_words!(Dependence, "kind of mapping or filtering", [
    EndpointIndependent "endpoint-independent",
    AddressDependent "address-dependent",
    AddressAndPortDependent "address-and-port-dependent",
]);

/// Changes to a network: an absent field stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSet {
    /// Its new name, free until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Whether nothing is routed into it and out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal: Option<bool>,
    /// Whether its containers talk to each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icc: Option<bool>,
    /// Networks it exchanges packets with: all of them anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub peers: Option<BTreeSet<Name>>,
    /// Where packets for the world leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkChoice>,
    /// Which of them leave with the uplink's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masquerade: Option<Masquerade>,
    /// The prefix that the world knows its IPv6 addresses by instead (NPTv6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nptv6: Option<ExternalPrefix>,
    /// The NAT's preset; what differed from the old one goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Whether the external port depends on the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Dependence>,
    /// Who may answer to an external port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Dependence>,
    /// Whether TCP segments outside their connection's window pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_liberal: Option<bool>,
    /// Connections one address may hold, 1 to 16777216.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 16_777_216)]
    pub quota: Option<u32>,
    /// Whether the host and its containers reach each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_access: Option<bool>,
    /// Whether router advertisements tell its containers to make addresses of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slaac: Option<bool>,
    /// Whether its gateway leases containers their addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
}

impl NetworkSet {
    /// The settings with the changes made.
    #[must_use]
    pub fn applied_to(&self, old: &Routing) -> Routing {
        let nat = match self.preset {
            Some(preset) if preset != old.nat.preset => Nat {
                preset,
                quota: old.nat.quota,
                ..Nat::default()
            },
            Some(_) | None => old.nat.clone(),
        };
        Routing {
            internal: self.internal.unwrap_or(old.internal),
            icc: self.icc.unwrap_or(old.icc),
            peers: self.peers.as_ref().unwrap_or(&old.peers).clone(),
            uplink: self.uplink.as_ref().unwrap_or(&old.uplink).clone(),
            masquerade: self.masquerade.unwrap_or(old.masquerade),
            nptv6: self.nptv6.unwrap_or(old.nptv6),
            nat: Nat {
                preset: nat.preset,
                mapping: self.mapping.or(nat.mapping),
                filtering: self.filtering.or(nat.filtering),
                tcp_liberal: self.tcp_liberal.or(nat.tcp_liberal),
                quota: self.quota.unwrap_or(nat.quota),
            },
            host_access: self.host_access.unwrap_or(old.host_access),
            slaac: self.slaac.unwrap_or(old.slaac),
            dhcp: self.dhcp.unwrap_or(old.dhcp),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ApiError> {
        self.quota
            .map_or(Ok(()), |quota| in_range("quota", quota, &Nat::QUOTA))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_stays_and_another_preset_is_whole() {
        let old = Routing {
            nat: Nat {
                mapping: Some(Dependence::AddressDependent),
                quota: 9,
                ..Nat::default()
            },
            internal: true,
            ..Routing::default()
        };
        assert_eq!(NetworkSet::default().applied_to(&old), old);
        let set: NetworkSet =
            serde_json::from_str(r#"{"preset":"full-cone","icc":false,"uplink":{"named":"up"}}"#)
                .unwrap();
        let new = set.applied_to(&old);
        assert_eq!((new.nat.mapping, new.nat.quota), (None, 9));
        assert_eq!((new.internal, new.icc), (true, false));
        assert_eq!(new.uplink, UplinkChoice::Named("up".parse().unwrap()));
        let same = NetworkSet {
            preset: Some(Preset::Rfc),
            ..NetworkSet::default()
        };
        assert_eq!(same.applied_to(&old), old);
        assert!(serde_json::from_str::<NetworkSet>(r#"{"intrenal":true}"#).is_err());
    }

    #[test]
    fn presets_have_the_words_that_travel() {
        for (preset, word) in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).unwrap(), *word);
            assert_eq!(word.parse(), Ok(*preset));
        }
        for (dependence, word) in Dependence::ALL {
            assert_eq!(serde_json::to_value(dependence).unwrap(), *word);
        }
        assert_eq!(
            "nat".parse::<Preset>().unwrap_err().to_string(),
            "`nat` is no NAT preset: rfc, linux, home, corporate, cgnat, cloud, full-cone are"
        );
    }

    #[test]
    fn a_quota_has_a_range() {
        let set = NetworkSet {
            quota: Some(0),
            ..NetworkSet::default()
        };
        assert_eq!(
            set.check().unwrap_err().message,
            "quota is 0; allowed are 1 to 16777216"
        );
    }
}
