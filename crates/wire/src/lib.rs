//! Wire formats.

mod mac;
mod vlan;
mod vnet;

pub use mac::MacAddr;
pub use vlan::{VlanId, VlanTag};
pub use vnet::{GsoKind, VnetHeader};
