//! Networks: bridge domains that never exchange frames at layer 2.

use crate::{Mac, Name, NetworkCreate, Publication};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Its number in traces.
    pub id: u32,
    /// The values it was made with.
    pub spec: NetworkCreate,
    /// Ports in it.
    pub ports: u32,
    /// Endpoints in it.
    pub endpoints: u32,
    /// MAC addresses it remembers now.
    pub macs: u64,
    /// The gateway's MAC address; `null` without a gateway.
    pub gateway_mac: Option<Mac>,
    /// The gateway's addresses.
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<IpAddr>,
    /// The uplink its packets for the world leave through now.
    pub uplink: Option<Name>,
    /// Publications of its endpoints.
    pub publications: Vec<Publication>,
}
