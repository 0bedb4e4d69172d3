//! Uplinks: the NICs through which containers reach the world.

use crate::port::check_ifname;
use crate::{ApiError, Mac, Name, PortRange};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// An uplink to be added. The host keeps using the NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UplinkAdd {
    /// The NIC, an interface in the daemon's own namespace.
    pub dev: String,
    /// Its name. `null`: the NIC's.
    #[serde(default)]
    pub name: Option<Name>,
    /// The external ports that mappings are made of: 256 at least, from 1024 on.
    #[serde(default = "dynamic")]
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
    /// [`crate::ErrorCode::Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ApiError> {
        check_ifname("dev", &self.dev)?;
        let count = u32::from(self.ports.last()) + 1 - u32::from(self.ports.first());
        if self.ports.first() < 1024 || count < 256 {
            return Err(ApiError::invalid(format!(
                "ports is {}; allowed are 256 at least of 1024 to 65535",
                self.ports
            )));
        }
        Ok(())
    }
}

/// An uplink as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uplink {
    /// Its name.
    pub name: Name,
    /// The NIC.
    pub dev: String,
    /// The external ports that mappings are made of.
    pub ports: PortRange,
    /// Whether packets can leave through it.
    pub state: UplinkState,
    /// Why they cannot.
    pub why: Option<String>,
    /// The NIC's MAC address.
    pub mac: Option<Mac>,
    /// The host's addresses at the NIC.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// The next hops, one a family at most.
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<IpAddr>,
    /// The networks whose packets leave through it.
    pub networks: Vec<Name>,
}

/// Whether packets can leave through an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UplinkState {
    /// They can.
    Up,
    /// They cannot.
    Down,
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
