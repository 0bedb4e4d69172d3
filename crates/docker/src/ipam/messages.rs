//! Messages between dockerd and an IPAM driver.

use super::pools::SPACES;
use crate::error::Refusal;
use crate::fields::empty_is_none;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `GetDefaultAddressSpaces`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddressSpaces {
    local_default_address_space: &'static str,
    global_default_address_space: &'static str,
}

impl AddressSpaces {
    pub(super) const OURS: Self = Self {
        local_default_address_space: SPACES[0],
        global_default_address_space: SPACES[1],
    };
}

/// `RequestPool`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestPool {
    #[serde(default)]
    pub(super) address_space: String,
    /// Nothing: we choose.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub(super) pool: Option<IpNet>,
    /// `--ip-range`.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub(super) sub_pool: Option<IpNet>,
    /// `--ipam-opt`.
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) v6: bool,
}

impl RequestPool {
    /// Returns whose pool it is; "" when nobody says.
    pub(super) fn tenant(&self) -> Result<String, Refusal> {
        let mut tenant = String::new();
        for (key, value) in self.options.iter().flatten() {
            match key.as_str() {
                "pool" => tenant.clone_from(value),
                docker if docker.starts_with("com.docker.") => {}
                _ => {
                    return Err(Refusal::Option {
                        key: key.clone(),
                        why: format!(
                            "is unknown, its value is `{value}`; allowed is pool, the name of a tenant"
                        ),
                    });
                }
            }
        }
        Ok(tenant)
    }
}

/// Its answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pool {
    #[serde(rename = "PoolID")]
    pub(super) pool_id: String,
    pub(super) pool: IpNet,
    pub(super) data: BTreeMap<String, String>,
}

/// `ReleasePool`.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasePool {
    #[serde(rename = "PoolID")]
    pub(super) pool_id: String,
}

/// `RequestAddress`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestAddress {
    #[serde(rename = "PoolID")]
    pub(super) pool_id: String,
    /// Nothing: the next free one.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub(super) address: Option<IpAddr>,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
}

impl RequestAddress {
    pub(super) fn is_for_a_gateway(&self) -> bool {
        let kind = self
            .options
            .as_ref()
            .and_then(|o| o.get("RequestAddressType"));
        kind.is_some_and(|kind| kind == "com.docker.network.gateway")
    }
}

/// Its answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Address {
    pub(super) address: IpNet,
    pub(super) data: BTreeMap<String, String>,
}

/// `ReleaseAddress`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReleaseAddress {
    #[serde(rename = "PoolID")]
    pub(super) pool_id: String,
    #[serde(default, deserialize_with = "empty_is_none")]
    pub(super) address: Option<IpAddr>,
}

/// Docker keeps a driver's data with a pool or an address; ours have none.
pub(super) const NO_DATA: BTreeMap<String, String> = BTreeMap::new();
