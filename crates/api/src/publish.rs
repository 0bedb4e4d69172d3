//! Publications, as they are.

use crate::{Name, OneOrMore, PublicationCreate};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// Ports of the host that lead to an endpoint, or to one of several, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// Its id.
    pub id: Name,
    /// The publication as it was asked for; the endpoints by their ports.
    pub spec: PublicationCreate,
    /// The endpoint's network; a list with each network once where several endpoints have several.
    #[schema(schema_with = OneOrMore::<Name>::schema)]
    pub network: OneOrMore<Name>,
    /// The addresses that the ports lead to now, one a family at most for each endpoint.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}
