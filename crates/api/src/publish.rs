//! Publications, as they are.

use crate::{Name, PublicationCreate};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// Ports of the host that lead to an endpoint, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// Its id.
    pub id: Name,
    /// What was published; the endpoint by its id.
    pub spec: PublicationCreate,
    /// The endpoint's network.
    pub network: Name,
    /// The endpoint's addresses that the ports lead to, one a family at most.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}
