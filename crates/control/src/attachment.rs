//! Networks that nobody made.
//!
//! What the router is attached to is a network of the switch. A NIC, the host's stack and the
//! daemon's own servers each stand alone in one, behind one port: such a network takes its ids
//! from the space of all networks and ports, and is in none of their lists.

use crate::stored;
use model::PortRange;
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};

/// A hidden network with its only port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    #[serde(with = "stored::form")]
    pub network: NetworkId,
    /// The port, a TAP.
    #[serde(with = "stored::form")]
    pub port: PortId,
}

/// A hidden network of which there is one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// The host's own stack.
    Host,
    /// The daemon's own servers.
    Services,
}

/// A NIC that containers reach the world through; the host keeps using it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// Its name, unique among uplinks.
    pub name: String,
    /// The interface in the daemon's namespace.
    pub dev: String,
    /// The external ports that mappings are made of.
    #[serde(with = "stored::form")]
    pub ports: PortRange,
    /// Its place in the switch.
    #[serde(flatten)]
    pub place: Attachment,
}
