//! Adoptions: bridges of the host's whose containers are on a network of ours.

use crate::{Invalid, Name};
use ipnet::IpNet;
use model::check_ifname;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A bridge to be adopted: a network stands in for it that has its name, its addresses for gateways
/// and its MTU. The bridge stays as it is, and has its containers back when it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// The bridge, in the daemon's own namespace.
    #[schema(example = "docker0")]
    pub bridge: Name,
}

impl Adopt {
    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ifname("bridge", self.bridge.as_str())
    }
}

/// An adopted bridge, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Adoption {
    /// The bridge.
    pub bridge: Name,
    /// The network that stands in for it.
    pub network: Name,
    /// The gateway's addresses there, which are the bridge's.
    #[schema(value_type = Vec<String>, example = json!(["172.17.0.1/16"]))]
    pub addresses: Vec<IpNet>,
    /// The network's endpoints.
    pub endpoints: Vec<Name>,
}
