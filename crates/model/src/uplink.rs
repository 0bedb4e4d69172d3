//! Uplinks: the NICs through which containers reach the world, and how a network's packets leave
//! through them.

use crate::name::check_ifname;
use crate::{Invalid, Name, PortRange};
use ipnet::Ipv6Net;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An uplink to be added. The host keeps using the NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct UplinkAdd {
    /// The NIC, an interface in the daemon's own namespace.
    pub dev: String,
    /// Its name. `null`: the NIC's.
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: Option<Name>,
    /// The external ports that mappings are made of: 256 at least, from 1024 on.
    #[cfg_attr(feature = "serde", serde(default = "dynamic"))]
    pub ports: PortRange,
}

impl UplinkAdd {
    /// `dev` with every default.
    #[must_use]
    pub fn new(dev: &str) -> Self {
        Self {
            dev: dev.to_owned(),
            name: None,
            ports: dynamic(),
        }
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ifname("dev", &self.dev)?;
        Self::check_ports(self.ports)
    }

    /// Refuses external ports that are too few, or below 1024, where the host's own servers listen.
    ///
    /// # Errors
    /// [`Invalid`] says what is allowed.
    pub fn check_ports(ports: PortRange) -> Result<(), Invalid> {
        if ports.first() < 1024 || ports.count() < 256 {
            return Err(Invalid::Conflict(format!(
                "ports is {ports}; allowed are 256 at least of 1024 to 65535"
            )));
        }
        Ok(())
    }
}

/// Where a network's packets for the world leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum UplinkChoice {
    /// Through the first uplink there is.
    #[default]
    Auto,
    /// Nowhere.
    None,
    /// Through the uplink of this name.
    Named(Name),
}

impl FromStr for UplinkChoice {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            name => name.parse().map(Self::Named),
        }
    }
}

impl fmt::Display for UplinkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::None => f.pad("none"),
            Self::Named(name) => fmt::Display::fmt(name, f),
        }
    }
}

words! {
    /// Packets that leave with the uplink's address.
    #[derive(Default)]
    pub enum Masquerade ("way to masquerade") {
        /// None.
        Off = "off",
        /// Those of IPv4.
        Ipv4 = "ipv4",
        /// Those of IPv6.
        Ipv6 = "ipv6",
        /// All.
        #[default]
        On = "on",
    }
}

impl Masquerade {
    /// Returns whether packets from `ip` are among them.
    #[must_use]
    pub const fn covers(self, ip: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
            Self::On => true,
        }
    }
}

/// The prefix by which the world knows a network's IPv6 addresses, one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ExternalPrefix {
    /// The value of `masquerade`.
    #[default]
    None,
    /// Addresses in this prefix, which the world's routers send here; as long as that of the
    /// network's IPv6 subnet, at most 112 bits.
    #[cfg_attr(feature = "schema", schema(value_type = String, example = "2001:db8:1::/64"))]
    Prefix(Ipv6Net),
}

impl ExternalPrefix {
    /// Returns the prefix, if there is one.
    #[must_use]
    pub const fn get(self) -> Option<Ipv6Net> {
        match self {
            Self::None => None,
            Self::Prefix(prefix) => Some(prefix),
        }
    }
}

impl FromStr for ExternalPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::None);
        }
        let form = "none is allowed, or a prefix such as 2001:db8:1::/64";
        let prefix = text.parse().map(Self::Prefix);
        prefix.map_err(|_| Invalid::form("an IPv6 prefix", text, form))
    }
}

impl fmt::Display for ExternalPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Prefix(prefix) => f.pad(&prefix.to_string()),
        }
    }
}

const fn dynamic() -> PortRange {
    PortRange::DYNAMIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_is_enough() {
        let add: UplinkAdd = serde_json::from_str(r#"{"dev":"eth0"}"#).unwrap();
        assert_eq!(add, UplinkAdd::new("eth0"));
        assert_eq!(add.check(), Ok(()));
        for (ports, good) in [
            ("1024-1279", true),
            ("1023-9000", false),
            ("1024-1278", false),
        ] {
            let ports = ports.parse().unwrap();
            assert_eq!(
                UplinkAdd {
                    ports,
                    ..add.clone()
                }
                .check()
                .is_ok(),
                good
            );
        }
        assert!(UplinkAdd::new("a/b").check().is_err());
    }
}
