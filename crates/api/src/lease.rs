//! Decisions that the kernel repeats.

use crate::{IpProtocol, Mac, Name, NatTuple, VlanId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// A decision that the kernel repeats, until it is taken back: about switched frames, about one direction of a
/// connection, or about connections that it may begin (a grant).
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
    /// Their receiver's MAC address, as they leave.
    pub receiver: Mac,
    /// The port that the forwarding database sends them to.
    pub to: Name,
    /// The connection, where they are routed, translated or asked of rules.
    pub flow: Option<LeasedFlow>,
    /// Connections that the kernel has begun by it, from any port of the sender's; `null` of what is no grant.
    pub begun: Option<u64>,
    /// Their ethertype.
    pub ethertype: u16,
    /// Frames that the kernel carried by it. A superframe is one.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Frames that the kernel carried by a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leased {
    /// Frames. A superframe is one.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One direction of a connection that the kernel repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeasedFlow {
    /// The protocol's number.
    #[schema(value_type = u8)]
    pub protocol: IpProtocol,
    /// The addresses of its packets as they come. The source port of a grant is 0 and stands for any.
    pub arrives: NatTuple,
    /// The addresses as they leave.
    pub leaves: NatTuple,
    /// The network that they leave into.
    pub into: Name,
}
