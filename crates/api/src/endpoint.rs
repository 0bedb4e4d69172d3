//! Endpoints: a container's interface on a network.

use crate::{DatapathKind, Mac, Name, Netns, Via, VlanId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use utoipa::ToSchema;

/// Which endpoint to take away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Detach {
    /// The one with this id.
    Endpoint(Name),
    /// The one whose interface this is.
    Interface {
        /// The container's network namespace.
        netns: Netns,
        /// The interface's name inside.
        ifname: String,
    },
}

/// A container's interface on a network, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id, which is its port's name.
    pub id: Name,
    /// The name by which others in the network find it.
    pub name: Option<Name>,
    /// Further names.
    pub aliases: Vec<Name>,
    /// The network it is attached to.
    pub network: Name,
    /// The sandbox: its namespace as it was named when it was joined; `null` before that.
    pub netns: Option<Netns>,
    /// The interface's name inside; with `via` `moved_tap`, what it was before it was moved.
    pub ifname: String,
    /// How the interface gets there.
    pub via: Via,
    /// The datapath in force for it; `null` before it is joined.
    pub datapath: Option<DatapathKind>,
    /// The interface's MAC address.
    pub mac: Mac,
    /// Its addresses with prefix length.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// Its default gateways.
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<IpAddr>,
    /// The VLAN it is in.
    pub vlan: VlanId,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Whether its port refuses frames from other addresses.
    pub locked: bool,
    /// The switch's port it is on.
    pub port: Name,
    /// Free words.
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_names_one_thing() {
        let by_id: Detach = serde_json::from_str(r#"{"endpoint":"e1"}"#).unwrap();
        assert_eq!(by_id, Detach::Endpoint("e1".parse().unwrap()));
        let by_interface: Detach =
            serde_json::from_str(r#"{"interface":{"netns":{"pid":7},"ifname":"eth0"}}"#).unwrap();
        assert_eq!(
            by_interface,
            Detach::Interface {
                netns: Netns::Pid(7),
                ifname: "eth0".into()
            }
        );
    }
}
