//! Why a request is refused: the value, and what would have been accepted.

use ipnet::{IpNet, Ipv6Net};
use std::net::IpAddr;
use wire::{MacAddr, VlanId};

/// A request that does not fit the state. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that can be nobody's.
    #[error(transparent)]
    Invalid(#[from] model::Invalid),
    /// The name is taken.
    #[error("{what} `{name}` already exists")]
    NameTaken {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Nothing has this name or id.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// The network still has ports.
    #[error("network `{name}` is in use by {}", ports.join(", "))]
    NetworkInUse {
        /// The network.
        name: String,
        /// Its ports.
        ports: Vec<String>,
    },
    /// A network stands in for the bridge already.
    #[error("bridge {bridge} is adopted already: network `{network}` stands in for it")]
    Adopted {
        /// The bridge.
        bridge: String,
        /// The network.
        network: String,
    },
    /// No network stands in for the bridge.
    #[error("bridge {0} is not adopted")]
    NotAdopted(String),
    /// An entry to be configured is configured elsewhere.
    #[error(
        "{mac} in VLAN {vlan} of network `{network}` is already static on port `{port}`: remove that entry first"
    )]
    StaticElsewhere {
        /// The network.
        network: String,
        /// The VLAN.
        vlan: VlanId,
        /// The address.
        mac: MacAddr,
        /// The port that has it.
        port: String,
    },
    /// An endpoint's own entry goes with the endpoint.
    #[error("{mac} in VLAN {vlan} belongs to endpoint {endpoint}; detach that instead")]
    StaticOfEndpoint {
        /// The VLAN.
        vlan: VlanId,
        /// The address.
        mac: MacAddr,
        /// The endpoint.
        endpoint: String,
    },
    /// A port in another network, or in none.
    #[error("port `{port}` is not in network `{network}`")]
    NotInNetwork {
        /// The port.
        port: String,
        /// The network.
        network: String,
    },
    /// An endpoint's port stays in the network whose addresses it has.
    #[error(
        "port `{port}` belongs to endpoint {endpoint}, which cannot change its network: detach and attach again"
    )]
    EndpointStays {
        /// The port.
        port: String,
        /// The endpoint.
        endpoint: String,
    },
    /// A default router that cannot be reached directly, or a second one.
    #[error("{gateway} cannot be the endpoint's gateway: {why}")]
    UnreachableGateway {
        /// The gateway.
        gateway: IpAddr,
        /// Why not.
        why: &'static str,
    },
    /// A port that belongs to an endpoint.
    #[error("port `{name}` belongs to endpoint {endpoint}; detach that instead")]
    PortOfEndpoint {
        /// The port.
        name: String,
        /// The endpoint.
        endpoint: String,
    },
    /// A subnet that overlaps another network's, or another of its own.
    #[error("subnet {net} overlaps {other} of network `{network}`")]
    SubnetOverlaps {
        /// The subnet asked for.
        net: IpNet,
        /// The subnet in the way.
        other: IpNet,
        /// The network that has it.
        network: String,
    },
    /// A prefix for addresses that the network does not have.
    #[error("network `{network}` has no IPv6 subnet with a gateway that {prefix} could stand for")]
    NothingToTranslate {
        /// The network.
        network: String,
        /// The prefix asked for.
        prefix: Ipv6Net,
    },
    /// A prefix that the network's own cannot be translated to.
    #[error(transparent)]
    Prefix(#[from] nat::PrefixError),
    /// A subnet that cannot be one.
    #[error("{net} cannot be a subnet: {why}")]
    BadSubnet {
        /// The subnet.
        net: IpNet,
        /// Why not.
        why: String,
    },
    /// A gateway that cannot be one.
    #[error("{gateway} cannot be the gateway of {net}: it is not a host's address there")]
    BadGateway {
        /// The gateway.
        gateway: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// An address in none of the network's subnets.
    #[error(
        "{address} is in no subnet of network `{network}` ({})",
        subnets(subnets_)
    )]
    NotInSubnet {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// Its subnets.
        subnets_: Vec<IpNet>,
    },
    /// An address nobody may have.
    #[error("{address} cannot be an endpoint's address: {why}")]
    BadAddress {
        /// The address.
        address: IpAddr,
        /// Why not.
        why: String,
    },
    /// An address that is taken.
    #[error("{address} already belongs to endpoint {owner}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The endpoint.
        owner: String,
    },
    /// No address is left.
    #[error("subnet {0} of network `{1}` has no free address left")]
    SubnetFull(IpNet, String),
    /// A MAC address that cannot be an interface's.
    #[error("{0} cannot be an interface's MAC address: it is a group address or all zeros")]
    BadMac(MacAddr),
    /// A MAC address that is taken.
    #[error("{mac} already belongs to {owner}")]
    MacTaken {
        /// The MAC address.
        mac: MacAddr,
        /// An endpoint, or a gateway.
        owner: String,
    },
    /// An endpoint has one sandbox at most.
    #[error("endpoint {endpoint} is in {sandbox} already; it must leave that first")]
    Joined {
        /// The endpoint.
        endpoint: String,
        /// Its sandbox.
        sandbox: String,
    },
    /// The sandbox has an interface of that name.
    #[error("{sandbox} already has an interface `{ifname}`, of port `{owner}`")]
    IfnameTaken {
        /// The namespace.
        sandbox: String,
        /// The interface.
        ifname: String,
        /// The port it belongs to.
        owner: String,
    },
    /// A mirror of the port itself, or of one that is a mirror's destination.
    #[error("port `{name}` cannot mirror `{of}`: {why}")]
    BadMirror {
        /// The destination.
        name: String,
        /// The watched port.
        of: String,
        /// Why not.
        why: &'static str,
    },
    /// A subnet with addresses that the host reaches elsewhere.
    #[error("subnet {net} overlaps the host's {route}: take another, or insist with allow_overlap")]
    RouteOverlaps {
        /// The subnet asked for.
        net: IpNet,
        /// The route, in words.
        route: String,
    },
    /// A network that is to be its own peer.
    #[error("network `{0}` cannot be its own peer")]
    OwnPeer(String),
    /// An endpoint's name that another has in the same network.
    #[error("network `{network}` already has an endpoint `{name}`, {owner}")]
    EndpointNameTaken {
        /// The name.
        name: String,
        /// The network.
        network: String,
        /// The endpoint that has it.
        owner: String,
    },
    /// A name that endpoints of several networks have.
    #[error("several endpoints are named `{name}`: {}; say which by its id", ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The endpoints.
        ids: Vec<String>,
    },
    /// An uplink that networks name.
    #[error("uplink `{name}` is named by network {}", networks.join(", "))]
    UplinkInUse {
        /// The uplink.
        name: String,
        /// The networks.
        networks: Vec<String>,
    },
    /// An address that nothing outside can send to.
    #[error("nothing can be published at {0}: it is a link-local, multicast or reserved address")]
    BadHost(IpAddr),
    /// An endpoint that no way from outside leads to.
    #[error(
        "endpoint {endpoint} cannot be reached{}: it has no such address in a subnet with a gateway",
        host.map_or_else(String::new, |host| format!(" from {host}"))
    )]
    NotRouted {
        /// The endpoint.
        endpoint: String,
        /// The external address.
        host: Option<IpAddr>,
    },
    /// A publication that names an endpoint twice.
    #[error("{0} is named twice: each endpoint is a backend once")]
    BackendTwice(String),
    /// A port that is published already.
    #[error("{asked} takes a port of {id}, {taken}")]
    PublicationTaken {
        /// What was asked for.
        asked: String,
        /// The id of what has it.
        id: String,
        /// What has it.
        taken: String,
    },
    /// A forwarding database without room for a static entry.
    #[error("the forwarding database of network `{0}` has {1}")]
    TableFull(String, String),
    /// A port more than the switch has ids for.
    #[error("there are {0} ports and uplinks already, and no more can be")]
    PortsFull(usize),
    /// A state file that contradicts itself.
    #[error("the state contradicts itself: {0}")]
    Contradiction(String),
}

fn subnets(subnets: &[IpNet]) -> String {
    let list: Vec<_> = subnets.iter().map(IpNet::to_string).collect();
    if list.is_empty() {
        "it has none".to_owned()
    } else {
        list.join(", ")
    }
}
