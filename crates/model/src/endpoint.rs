//! Endpoints: what a container's interface on a network is made with.

use crate::name::check_ifname;
use crate::{
    Datapath, Invalid, MacAddr, Name, Netns, NetworkCreate, PortKind, Rate, VlanId, check_host_mac,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An endpoint to be made. With a namespace it is joined at once: a TAP is made there, given its
/// addresses and set up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Attach {
    /// The network to attach to.
    pub network: Name,
    /// The container's network namespace. `null`: the endpoint has no interface until it is joined.
    #[cfg_attr(feature = "serde", serde(default))]
    pub netns: Option<Netns>,
    /// The interface's name inside, 1 to 15 bytes without `/` and space.
    #[cfg_attr(feature = "serde", serde(default = "default_ifname"))]
    #[cfg_attr(feature = "schema", schema(default = "eth0"))]
    pub ifname: String,
    /// The interface's MAC address. `null`: made from the address, else at random.
    #[cfg_attr(feature = "serde", serde(default))]
    pub mac: Option<MacAddr>,
    /// Addresses with prefix length. Empty: one is taken from each of the network's subnets.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>, example = json!(["10.1.0.2/16"])))]
    pub addresses: Vec<IpNet>,
    /// Default gateways, at most one a family. `null`: the network's.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<String>>))]
    pub gateways: Option<Vec<IpAddr>>,
    /// The VLAN the container is in. `null`: the network's default.
    #[cfg_attr(feature = "serde", serde(default))]
    pub vlan: Option<VlanId>,
    /// The interface's MTU in bytes, 576 to the network's. `null`: the network's.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(minimum = 576, maximum = 65535))]
    pub mtu: Option<u16>,
    /// The name by which others in the network find it, unique there: a container's name. The port has it,
    /// too, unless another port does. `null`: it has none, and the daemon names the port.
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: Option<Name>,
    /// Further names; several endpoints may share one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub aliases: Vec<Name>,
    /// Whether the port refuses frames from other MAC and IP addresses than the given ones.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub locked: bool,
    /// Whether the port is protected, where the network's `icc` does not say so already: protected
    /// ports do not talk to each other.
    #[cfg_attr(feature = "serde", serde(default))]
    pub isolated: bool,
    /// How much it may send, and as much receive. `null`: any.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rate: Option<Rate>,
    /// Queues of the TAP, 1 to 16.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 16, default = 1))]
    pub queues: u8,
    /// Where its frames are carried, from its next joining on. `auto`: as its network says.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(default = "auto"))]
    pub datapath: Datapath,
    /// Free words for whoever attached it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub labels: BTreeMap<String, String>,
}

impl Attach {
    /// Attaches `netns` to `network` with every default.
    #[must_use]
    pub fn new(network: Name, netns: Netns) -> Self {
        Self {
            netns: Some(netns),
            ..Self::unjoined(network)
        }
    }

    /// An endpoint of `network` that waits for its sandbox, with every default.
    #[must_use]
    pub fn unjoined(network: Name) -> Self {
        Self {
            network,
            netns: None,
            ifname: default_ifname(),
            mac: None,
            addresses: Vec::new(),
            gateways: None,
            vlan: None,
            mtu: None,
            name: None,
            aliases: Vec::new(),
            locked: yes(),
            isolated: false,
            rate: None,
            queues: one(),
            datapath: Datapath::Auto,
            labels: BTreeMap::new(),
        }
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ifname("ifname", &self.ifname)?;
        Invalid::unless_in("queues", self.queues, &PortKind::QUEUES)?;
        if let Some(mtu) = self.mtu {
            Invalid::unless_in("mtu", mtu, &NetworkCreate::MTU)?;
        }
        self.rate.map_or(Ok(()), |rate| rate.check())?;
        match self.mac {
            Some(mac) => check_host_mac("mac", mac),
            None => Ok(()),
        }
    }
}

/// A sandbox for an endpoint: the endpoint gets its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Join {
    /// The container's network namespace.
    pub netns: Netns,
    /// The interface's name, 1 to 15 bytes without `/` and space: inside the namespace, or, with
    /// `via` `moved_tap`, in the daemon's until it is moved.
    #[cfg_attr(feature = "serde", serde(default = "default_ifname"))]
    #[cfg_attr(feature = "schema", schema(default = "eth0"))]
    pub ifname: String,
    /// How the interface gets there.
    #[cfg_attr(feature = "serde", serde(default))]
    pub via: Via,
}

impl Join {
    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ifname("ifname", &self.ifname)?;
        match &self.via {
            Via::Veth { host: Some(host) } => check_ifname("via.veth.host", host),
            Via::Veth { host: None } | Via::Tap | Via::MovedTap => Ok(()),
        }
    }
}

/// How an endpoint's interface gets into its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Via {
    /// It is made there, given its addresses and routes, and set up: a TAP, or one end of a veth with the
    /// datapath `kernel`.
    #[default]
    Tap,
    /// It is made in the daemon's namespace with its MAC address and MTU. Whoever joins the
    /// endpoint moves it, names it, gives it its addresses and sets it up, as Docker does.
    MovedTap,
    /// It is there already: one end of a veth pair. The other is taken off the bridge it is a port
    /// of, if it is, and given back when the endpoint is left.
    Veth {
        /// The other end, in the daemon's namespace. `null`: that of the veth in the sandbox which
        /// has the endpoint's MAC address.
        #[cfg_attr(feature = "serde", serde(default))]
        host: Option<String>,
    },
}

/// Changes to an endpoint: an absent field stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EndpointSet {
    /// The name by which others in the network find it. The port gets the name, too, if it is free.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<Name>,
    /// Further names: all of them anew.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub aliases: Option<Vec<Name>>,
    /// Free words: all of them anew.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub labels: Option<BTreeMap<String, String>>,
}

fn default_ifname() -> String {
    "eth0".to_owned()
}

const fn yes() -> bool {
    true
}

const fn one() -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_namespace_are_enough() {
        let attach: Attach =
            serde_json::from_str(r#"{"network":"blue","netns":{"name":"web"}}"#).unwrap();
        assert_eq!(
            attach,
            Attach::new("blue".parse().unwrap(), "web".parse().unwrap())
        );
        assert_eq!(attach.check(), Ok(()));
        for (attach, wrong) in [
            (
                Attach {
                    queues: 0,
                    ..attach.clone()
                },
                "queues is 0; allowed are 1 to 16",
            ),
            (
                Attach {
                    mtu: Some(100),
                    ..attach.clone()
                },
                "mtu is 100; allowed are 576 to 65535",
            ),
            (
                Attach {
                    mac: Some(MacAddr([1, 0, 0, 0, 0, 0])),
                    ..attach.clone()
                },
                "mac is 01:00:00:00:00:00; allowed is an individual address that is not all zeros",
            ),
        ] {
            assert_eq!(attach.check().unwrap_err().to_string(), wrong);
        }
    }
}
