//! Messages between dockerd and a network driver. Go's nil comes as `null` or as "", and stands for
//! an empty list or for nothing.

use crate::fields::{empty_is_none, or_default};
use crate::portmap::Binding;
use api::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// `CreateNetwork`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetwork {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: NetworkOptions,
    #[serde(default, rename = "IPv4Data", deserialize_with = "or_default")]
    pub(super) ipv4_data: Vec<IpamData>,
    #[serde(default, rename = "IPv6Data", deserialize_with = "or_default")]
    pub(super) ipv6_data: Vec<IpamData>,
}

/// The known ones of a network's options; others are ignored.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct NetworkOptions {
    /// The user's options, given with `-o`.
    #[serde(
        default,
        rename = "com.docker.network.generic",
        deserialize_with = "or_default"
    )]
    pub(super) generic: Map<String, Value>,
    #[serde(default, rename = "com.docker.network.internal")]
    pub(super) internal: bool,
    /// Absent up to version 27, when every network had IPv4.
    #[serde(default = "yes", rename = "com.docker.network.enable_ipv4")]
    pub(super) enable_ipv4: bool,
}

/// A subnet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamData {
    /// The address space, which tells whose IPAM gave the pool.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) address_space: String,
    pub(super) pool: IpNet,
    #[serde(default, deserialize_with = "empty_is_none")]
    pub(super) gateway: Option<IpNet>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) aux_addresses: BTreeMap<String, IpNet>,
}

/// `GwAllocCheck`: the options alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GwAllocCheck {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: NetworkOptions,
}

/// Its answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct GatewaysWanted {
    #[serde(rename = "SkipIPv4")]
    pub(super) skip_ipv4: bool,
    #[serde(rename = "SkipIPv6")]
    pub(super) skip_ipv6: bool,
}

/// `AllocateNetwork`, of which only the options go back.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AllocateNetwork {
    #[serde(default, deserialize_with = "or_default")]
    options: Map<String, Value>,
}

/// `DeleteNetwork`.
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkRef {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
}

/// `DeleteEndpoint`, `EndpointOperInfo`, `Leave`, `RevokeExternalConnectivity`. The endpoint's id is
/// enough.
#[derive(Debug, Deserialize)]
pub(crate) struct EndpointRef {
    #[serde(rename = "EndpointID")]
    pub(super) endpoint_id: String,
}

/// `CreateEndpoint`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateEndpoint {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) interface: Interface,
    /// The user's options, given with `--driver-opt`, and Docker's own.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Map<String, Value>,
}

/// An interface's addresses.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Interface {
    #[serde(default, rename = "Address", deserialize_with = "empty_is_none")]
    pub(super) address: Option<IpNet>,
    #[serde(default, rename = "AddressIPv6", deserialize_with = "empty_is_none")]
    pub(super) address_ipv6: Option<IpNet>,
    #[serde(default, rename = "MacAddress", deserialize_with = "empty_is_none")]
    pub(super) mac_address: Option<Mac>,
}

/// Its answer: what the request left open, and nothing else, or dockerd takes it for an error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EndpointCreated {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<MacChosen>,
}

/// A MAC address that we chose.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MacChosen {
    pub(super) mac_address: Mac,
}

/// `Join`. The ports it names are those of `ProgramExternalConnectivity`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Join {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint_id: String,
    pub(super) sandbox_key: PathBuf,
}

/// Its answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Joined {
    pub(super) interface_name: InterfaceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<IpAddr>,
    #[serde(rename = "GatewayIPv6", skip_serializing_if = "Option::is_none")]
    pub(super) gateway_ipv6: Option<IpAddr>,
    /// Keeps dockerd from making a bridge of its own (`docker_gwbridge`) for the way out.
    pub(super) disable_gateway_service: bool,
}

/// The name of the interface that dockerd moves, and the prefix of its name inside, before a number.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InterfaceName {
    pub(super) src_name: String,
    pub(super) dst_prefix: String,
}

/// `ProgramExternalConnectivity`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Program {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: ProgramOptions,
}

/// Its options; more may stand there, and is ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ProgramOptions {
    #[serde(
        default,
        rename = "com.docker.network.portmap",
        deserialize_with = "or_default"
    )]
    pub(super) portmap: Vec<Binding>,
}

const fn yes() -> bool {
    true
}
