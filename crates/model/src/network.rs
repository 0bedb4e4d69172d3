//! Networks: bridge domains that never exchange frames at layer 2; what one is made with.

use crate::{AddressRange, Invalid, Name, Routing, VlanId};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A network to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NetworkCreate {
    /// Its name, free until now.
    pub name: Name,
    /// Address ranges that endpoints get their addresses from, none overlapping another network's.
    /// Empty: endpoints have only the addresses they are given.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>, example = json!(["10.1.0.0/16", "2001:db8:1::/64"])))]
    pub subnets: Vec<IpNet>,
    /// The gateway's addresses, at most one per subnet and inside it. `null`: the first address of
    /// each subnet. Empty: there is no gateway, and no default route.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<String>>, example = json!(["10.1.0.1"])))]
    pub gateways: Option<Vec<IpAddr>>,
    /// Addresses of the subnets that no endpoint gets unless it asks for them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub reserved: Vec<AddressRange>,
    /// Whether to take the subnets although the host reaches some of their addresses elsewhere.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allow_overlap: bool,
    /// Whether other networks may have the same addresses. Then neither the host nor other networks
    /// reach its containers by address, and its gateway answers no names; the world is reached by
    /// masquerade and reaches what is published.
    #[cfg_attr(feature = "serde", serde(default))]
    pub overlapping: bool,
    /// The largest IP packet in bytes, 576 to 65535 (at least 1280 with an IPv6 subnet).
    #[cfg_attr(feature = "serde", serde(default = "default_mtu"))]
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 576, maximum = 65535, default = 1500)
    )]
    pub mtu: u16,
    /// The VLAN of ports that are told no other, 1 to 4094.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(default = 1))]
    pub default_vlan: VlanId,
    /// Whether the link-local protocols' addresses 01:80:C2:00:00:0x (LLDP, LACP, STP) are
    /// forwarded. 802.1D 7.12.6 says no; labs say yes.
    #[cfg_attr(feature = "serde", serde(default))]
    pub forward_reserved: bool,
    /// Seconds after which a MAC address that was not seen again is forgotten, 1 to 1000000.
    #[cfg_attr(feature = "serde", serde(default = "default_ageing"))]
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 1, maximum = 1_000_000, default = 300)
    )]
    pub ageing_seconds: u32,
    /// MAC addresses the network remembers at most, 16 to 4194304.
    #[cfg_attr(feature = "serde", serde(default = "default_max_macs"))]
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 16, maximum = 4_194_304, default = 65_536)
    )]
    pub max_macs: u32,
    /// MAC addresses remembered at one port at most, 1 to 16777216; a port may say another number.
    #[cfg_attr(feature = "serde", serde(default = "default_max_macs_per_port"))]
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 1, maximum = 16_777_216, default = 4096)
    )]
    pub max_macs_per_port: u32,
    /// The limits of floods of each port; a port may say otherwise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub storm: StormLimits,
    /// The settings of its gateway.
    #[cfg_attr(feature = "serde", serde(default))]
    pub routing: Routing,
    /// Free words for whoever made the network.
    #[cfg_attr(feature = "serde", serde(default))]
    pub labels: BTreeMap<String, String>,
}

impl NetworkCreate {
    /// Allowed MTUs, in bytes.
    pub const MTU: RangeInclusive<u16> = 576..=u16::MAX;

    /// A network of that name with every default.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            subnets: Vec::new(),
            gateways: None,
            reserved: Vec::new(),
            allow_overlap: false,
            overlapping: false,
            mtu: default_mtu(),
            default_vlan: VlanId::DEFAULT,
            forward_reserved: false,
            ageing_seconds: default_ageing(),
            max_macs: default_max_macs(),
            max_macs_per_port: default_max_macs_per_port(),
            storm: StormLimits::default(),
            routing: Routing::default(),
            labels: BTreeMap::new(),
        }
    }

    /// The bounds of its forwarding database.
    #[must_use]
    pub const fn fdb(&self) -> FdbLimits {
        FdbLimits {
            max_entries: self.max_macs,
            max_per_port: self.max_macs_per_port,
            ageing_secs: self.ageing_seconds,
        }
    }

    /// Compares every value with its range, and gateways with subnets.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("mtu", self.mtu, &Self::MTU)?;
        self.fdb().check()?;
        self.storm.check()?;
        self.routing.check()?;
        self.check_addresses()?;
        Self::check_reserved(&self.subnets, &self.reserved)
    }

    fn check_addresses(&self) -> Result<(), Invalid> {
        if self.mtu < 1280 && self.subnets.iter().any(|net| matches!(net, IpNet::V6(_))) {
            return Err(Invalid::Conflict(format!(
                "mtu is {}; a network with an IPv6 subnet needs 1280 to 65535 (RFC 8200 5)",
                self.mtu
            )));
        }
        let gateways = self.gateways.as_deref().unwrap_or_default();
        for (i, net) in self.subnets.iter().enumerate() {
            if let Some(other) = self.subnets[..i]
                .iter()
                .find(|other| other.contains(net) || net.contains(*other))
            {
                return Err(Invalid::Conflict(format!(
                    "subnets {other} and {net} overlap"
                )));
            }
            let count = gateways
                .iter()
                .filter(|gateway| net.contains(*gateway))
                .count();
            if count > 1 {
                return Err(Invalid::Conflict(format!(
                    "subnet {net} has {count} gateways; allowed is 1"
                )));
            }
        }
        match gateways
            .iter()
            .find(|gateway| !self.subnets.iter().any(|net| net.contains(*gateway)))
        {
            Some(gateway) => Err(Invalid::Conflict(format!(
                "gateway {gateway} lies in none of the network's subnets"
            ))),
            None => Ok(()),
        }
    }
}

impl NetworkCreate {
    /// Refuses reserved ranges that are not ranges of one subnet.
    ///
    /// # Errors
    /// [`Invalid`] names the range.
    pub fn check_reserved(subnets: &[IpNet], reserved: &[AddressRange]) -> Result<(), Invalid> {
        let inside = |range: &AddressRange| {
            subnets
                .iter()
                .any(|net| net.contains(&range.first()) && net.contains(&range.last()))
        };
        match reserved.iter().find(|range| !inside(range)) {
            Some(range) => Err(Invalid::Conflict(format!(
                "reserved {range} lies in none of the network's subnets"
            ))),
            None => Ok(()),
        }
    }
}

/// The bounds of a network's forwarding database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FdbLimits {
    /// MAC addresses at most.
    pub max_entries: u32,
    /// Learned MAC addresses at one port at most.
    pub max_per_port: u32,
    /// Seconds after which an address that was not seen again is forgotten.
    pub ageing_secs: u32,
}

impl FdbLimits {
    /// Allowed sizes: the tables are made of so many entries.
    pub const ENTRIES: RangeInclusive<u32> = 16..=1 << 22;
    /// Allowed limits of one port; one above the table's own limits nothing.
    pub const PER_PORT: RangeInclusive<u32> = 1..=1 << 24;
    /// Allowed ageing times, in seconds.
    pub const AGEING: RangeInclusive<u32> = 1..=1_000_000;

    /// Compares every number with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("max_macs", self.max_entries, &Self::ENTRIES)?;
        Invalid::unless_in("max_macs_per_port", self.max_per_port, &Self::PER_PORT)?;
        Invalid::unless_in("ageing_seconds", self.ageing_secs, &Self::AGEING)
    }
}

impl Default for FdbLimits {
    fn default() -> Self {
        Self {
            max_entries: default_max_macs(),
            max_per_port: default_max_macs_per_port(),
            ageing_secs: default_ageing(),
        }
    }
}

/// Frames a second that a port may send to be flooded; what is over is dropped and counted.
/// `null` is no limit, 0 lets none pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StormLimits {
    /// Broadcast frames a second, 0 to 100000000.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(maximum = 100_000_000))]
    pub broadcast: Option<u32>,
    /// Multicast frames a second, 0 to 100000000.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(maximum = 100_000_000))]
    pub multicast: Option<u32>,
    /// Frames a second to a unicast address nobody has learned, 0 to 100000000.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(maximum = 100_000_000))]
    pub unknown_unicast: Option<u32>,
}

impl StormLimits {
    /// Allowed limits, in frames a second.
    pub const RATE: RangeInclusive<u32> = 0..=100_000_000;

    /// Compares every limit with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        let named = [
            ("storm.broadcast", self.broadcast),
            ("storm.multicast", self.multicast),
            ("storm.unknown_unicast", self.unknown_unicast),
        ];
        named.into_iter().try_for_each(|(key, rate)| {
            rate.map_or(Ok(()), |rate| Invalid::unless_in(key, rate, &Self::RATE))
        })
    }
}

const fn default_mtu() -> u16 {
    1500
}

const fn default_ageing() -> u32 {
    300
}

const fn default_max_macs() -> u32 {
    65_536
}

const fn default_max_macs_per_port() -> u32 {
    4096
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blue() -> NetworkCreate {
        NetworkCreate::new("blue".parse().unwrap())
    }

    #[test]
    fn a_name_is_enough_and_unknown_fields_are_refused() {
        assert_eq!(
            serde_json::from_str::<NetworkCreate>(r#"{"name":"blue"}"#).unwrap(),
            blue()
        );
        let error =
            serde_json::from_str::<NetworkCreate>(r#"{"name":"blue","mtv":9000}"#).unwrap_err();
        assert!(
            error.to_string().starts_with("unknown field `mtv`"),
            "{error}"
        );
        assert_eq!(blue().check(), Ok(()));
    }

    #[test]
    fn refusals_name_field_value_and_range() {
        let message = |network: NetworkCreate| network.check().unwrap_err().to_string();
        assert_eq!(
            message(NetworkCreate { mtu: 575, ..blue() }),
            "mtu is 575; allowed are 576 to 65535"
        );
        assert_eq!(
            message(NetworkCreate {
                ageing_seconds: 0,
                ..blue()
            }),
            "ageing_seconds is 0; allowed are 1 to 1000000"
        );
        assert_eq!(
            message(NetworkCreate {
                max_macs: 0,
                ..blue()
            }),
            "max_macs is 0; allowed are 16 to 4194304"
        );
        let storm = StormLimits {
            multicast: Some(200_000_000),
            ..StormLimits::default()
        };
        assert_eq!(
            message(NetworkCreate { storm, ..blue() }),
            "storm.multicast is 200000000; allowed are 0 to 100000000"
        );
    }

    #[test]
    fn addresses_must_fit_together() {
        let with = |subnets: &[&str], gateways: &[&str]| NetworkCreate {
            subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
            gateways: Some(gateways.iter().map(|ip| ip.parse().unwrap()).collect()),
            ..blue()
        };
        assert_eq!(
            with(
                &["10.1.0.0/16", "2001:db8::/64"],
                &["10.1.0.1", "2001:db8::1"]
            )
            .check(),
            Ok(())
        );
        for (network, wrong) in [
            (
                with(&["10.1.0.0/16", "10.1.2.0/24"], &[]),
                "subnets 10.1.0.0/16 and 10.1.2.0/24 overlap",
            ),
            (
                with(&["10.1.0.0/16"], &["10.2.0.1"]),
                "gateway 10.2.0.1 lies in none of the network's subnets",
            ),
            (
                with(&["10.1.0.0/16"], &["10.1.0.1", "10.1.0.2"]),
                "subnet 10.1.0.0/16 has 2 gateways; allowed is 1",
            ),
        ] {
            assert_eq!(network.check().unwrap_err().to_string(), wrong);
        }
        let reserved = NetworkCreate {
            reserved: vec!["10.2.0.1-10.2.0.9".parse().unwrap()],
            ..with(&["10.1.0.0/16"], &[])
        };
        assert_eq!(
            reserved.check().unwrap_err().to_string(),
            "reserved 10.2.0.1-10.2.0.9 lies in none of the network's subnets"
        );
        assert!(
            NetworkCreate {
                mtu: 1279,
                ..with(&["2001:db8::/64"], &[])
            }
            .check()
            .is_err()
        );
    }
}
