//! Ports of the world that lead to an endpoint, or to one of several: the publication's backends.
//!
//! A range is one entry, however long.

use crate::model::EndpointId;
use crate::stored::{self, Record};
use model::{Listener, OneOrMore, Outside, PortRange};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use wire::IpProtocol;

/// A publication's identity: never used again in the life of a state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicationId(pub u32);

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pub-{}", self.0)
    }
}

/// A range of external ports that leads to endpoints: as many ports there, from `to` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its identity.
    pub id: PublicationId,
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The external address. `0.0.0.0` and `::` are every one of the family, none is every one of
    /// both.
    pub host: Option<IpAddr>,
    /// The external ports.
    #[serde(with = "stored::form")]
    pub ports: PortRange,
    /// The endpoint; of several each is a backend.
    pub endpoint: OneOrMore<EndpointId>,
    /// The first port there.
    pub to: u16,
    /// Who listens to the external ports on the host itself.
    #[serde(default)]
    pub listener: Listener,
}

impl Publication {
    pub(crate) fn outside(&self) -> Outside {
        Outside {
            host: self.host,
            ports: self.ports,
            protocol: self.protocol,
        }
    }

    /// Returns whether one external address and port would lead to two endpoints' ports.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.ports.meets(other.ports)
            && self.protocol == other.protocol
            && hosts_meet(self.host, other.host)
    }
}

/// `[HOST:]PORTS->PORTS/PROTOCOL`, as Docker shows it.
impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        let inside = self.ports.moved_to(self.to).unwrap_or(self.ports);
        write!(f, "{}->{}:{inside}", self.ports, self.endpoint)?;
        write!(f, "/{}", self.protocol)
    }
}

impl Record for Publication {
    type Id = PublicationId;
    fn id(&self) -> PublicationId {
        self.id
    }
}

/// Returns whether two external addresses have one in common.
fn hosts_meet(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
        }
    }
}
