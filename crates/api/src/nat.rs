//! What the NAT follows: connections, and what happens to them.

use crate::{IpProtocol, Mac, Name, NatChange, NatState, NeighbourState};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use utoipa::{IntoParams, ToSchema};

/// A connection. Of an ICMP query the port is its identifier on the side that asked, 0 on the
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NatEntry {
    /// The network of the container in it.
    pub network: Name,
    /// The container's endpoint, if it has one.
    pub endpoint: Option<Name>,
    /// The protocol.
    pub protocol: IpProtocol,
    /// How far it has come.
    pub state: NatState,
    /// As its first packet came.
    pub original: NatTuple,
    /// As its first packet left.
    pub translated: NatTuple,
    /// What went the first packet's way.
    pub sent: NatCount,
    /// What came back.
    pub received: NatCount,
    /// Seconds until it is forgotten if it stays silent.
    pub expires_seconds: u64,
}

/// Source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct NatTuple {
    /// The source, address and port.
    #[schema(value_type = String, example = "10.1.0.2:40000")]
    pub src: SocketAddr,
    /// The destination, address and port.
    #[schema(value_type = String, example = "198.51.100.7:443")]
    pub dst: SocketAddr,
}

/// What passed in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct NatCount {
    /// Packets.
    pub packets: u64,
    /// Their bytes from the IP header on.
    pub bytes: u64,
}

/// Which connections; absent is any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NatFilter {
    /// Of this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub protocol: Option<IpProtocol>,
    /// From these addresses, before or after translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub src: Option<IpNet>,
    /// To these addresses, before or after translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub dst: Option<IpNet>,
    /// With this port on any side, before or after translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub network: Option<Name>,
    /// Of the endpoint with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub endpoint: Option<Name>,
    /// That have come so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<NatState>,
}

impl NatFilter {
    /// Returns whether `entry` is one of them.
    #[must_use]
    pub fn matches(&self, entry: &NatEntry) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, is: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let tuples = [entry.original, entry.translated];
        let src = |net: IpNet| tuples.iter().any(|t| net.contains(&t.src.ip()));
        let dst = |net: IpNet| tuples.iter().any(|t| net.contains(&t.dst.ip()));
        let port = |port| {
            let ports = tuples.iter().flat_map(|t| [t.src.port(), t.dst.port()]);
            ports.into_iter().any(|own| own == port)
        };
        is(self.protocol.as_ref(), &entry.protocol)
            && is(self.network.as_ref(), &entry.network)
            && is(self.state.as_ref(), &entry.state)
            && (self.endpoint.is_none() || self.endpoint == entry.endpoint)
            && self.src.is_none_or(src)
            && self.dst.is_none_or(dst)
            && self.port.is_none_or(port)
    }
}

/// A neighbour of the router: a host on one of its links, found by ARP or NDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbour {
    /// The network or the uplink that it is on.
    pub network: Name,
    /// Its address.
    #[schema(value_type = String, example = "10.1.0.2")]
    pub address: IpAddr,
    /// Its MAC address; `null` while it is not known.
    pub mac: Option<Mac>,
    /// How sure that is.
    pub state: NeighbourState,
    /// Seconds in this state.
    pub age_seconds: u64,
}

/// Something that happened to a connection: one line of the watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NatEvent {
    /// What happened.
    pub event: NatChange,
    /// The connection, as it was then.
    pub entry: NatEntry,
    /// Events before this one that there was no room for.
    #[serde(default)]
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> NatEntry {
        let tuple = |src: &str| NatTuple {
            src: src.parse().unwrap(),
            dst: "198.51.100.7:443".parse().unwrap(),
        };
        NatEntry {
            network: "blue".parse().unwrap(),
            endpoint: Some("web".parse().unwrap()),
            protocol: IpProtocol::TCP,
            state: NatState::Established,
            original: tuple("10.1.0.2:40000"),
            translated: tuple("198.51.100.1:50000"),
            sent: NatCount::default(),
            received: NatCount::default(),
            expires_seconds: 7,
        }
    }

    #[test]
    fn each_field_of_a_filter_counts() {
        for (filter, matches) in [
            (r#"{}"#, true),
            (r#"{"protocol":"tcp"}"#, true),
            (r#"{"protocol":"udp"}"#, false),
            (r#"{"src":"10.1.0.0/24"}"#, true),
            (r#"{"src":"198.51.100.1/32"}"#, true),
            (r#"{"src":"198.51.100.7/32"}"#, false),
            (r#"{"dst":"198.51.100.7/32"}"#, true),
            (r#"{"dst":"10.0.0.0/8"}"#, false),
            (r#"{"port":443}"#, true),
            (r#"{"port":50000}"#, true),
            (r#"{"port":80}"#, false),
            (r#"{"network":"red"}"#, false),
            (r#"{"endpoint":"web","network":"blue"}"#, true),
            (r#"{"endpoint":"db"}"#, false),
            (r#"{"state":"established"}"#, true),
            (r#"{"state":"closing"}"#, false),
        ] {
            let wanted: NatFilter = serde_json::from_str(filter).unwrap();
            assert_eq!(wanted.matches(&entry()), matches, "{filter}");
        }
        let stranger = NatEntry {
            endpoint: None,
            ..entry()
        };
        let of_web: NatFilter = serde_json::from_str(r#"{"endpoint":"web"}"#).unwrap();
        assert!(!of_web.matches(&stranger) && NatFilter::default().matches(&stranger));
    }
}
