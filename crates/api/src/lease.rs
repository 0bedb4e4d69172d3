//! Decisions that the kernel repeats.

use crate::{Mac, Name, VlanId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// A decision about switched frames that the kernel repeats, until it is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// The network.
    pub network: Name,
    /// The VLAN in it.
    pub vlan: VlanId,
    /// The port that the frames come from.
    pub from: Name,
    /// Their sender's MAC address.
    pub sender: Mac,
    /// Their sender's IP address, where the port is locked to its addresses.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Their receiver's MAC address.
    pub receiver: Mac,
    /// The port that the forwarding database sends them to.
    pub to: Name,
    /// Their ethertype.
    pub ethertype: u16,
    /// Frames that the kernel carried by it. A superframe is one.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}
