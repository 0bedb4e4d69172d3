//! Uplinks, as they are: the NICs through which containers reach the world.

use crate::{Mac, Name, PortRange};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

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
