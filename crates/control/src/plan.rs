//! What the kernel has to do for an endpoint, in order, each step with its undo.
//!
//! The TAP is *made* in the sandbox, not moved there: moving a netdev between namespaces waits for
//! a grace period (16 ms measured), making it takes 0.2 ms. Docker alone insists on moving it. All that is done to the TAP
//! afterwards goes away with it, so removing the TAP undoes the whole plan.

use ipnet::IpNet;
use std::net::IpAddr;
use wire::MacAddr;

/// The largest MTU the kernel lets a TAP have: 65535 less its Ethernet header. A network's MTU
/// may be larger (a VLAN device on a trunk, a NIC); its endpoints' is this at most.
pub const TAP_MTU_MAX: u16 = 65_521;

/// Steps for the host, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a plan does nothing until it is carried out"]
pub struct InterfacePlan {
    /// The steps.
    pub steps: Vec<InterfaceStep>,
}

/// One thing for the kernel to do, in the endpoint's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceStep {
    /// Make the TAP and keep it open.
    MakeTap {
        /// Its name.
        ifname: String,
        /// Its queues.
        queues: u8,
    },
    /// Remove the TAP.
    RemoveTap {
        /// Its name.
        ifname: String,
    },
    /// Give an interface its MAC address and MTU, and set it up: one request to the kernel, so
    /// that the interface is never up with another MAC.
    Configure {
        /// The interface.
        ifname: String,
        /// Its MAC address.
        mac: MacAddr,
        /// Its MTU.
        mtu: u16,
    },
    /// Give an interface its MAC address and MTU, and leave it down for others to set up.
    Prepare {
        /// The interface.
        ifname: String,
        /// Its MAC address.
        mac: MacAddr,
        /// Its MTU.
        mtu: u16,
    },
    /// Give an interface an address, usable at once: we gave it, so nobody is asked whether it is
    /// taken (no IPv6 duplicate address detection).
    AddAddress {
        /// The interface.
        ifname: String,
        /// The address with its subnet's prefix length.
        address: IpNet,
    },
    /// Send what is for nobody near to `gateway`.
    DefaultRoute {
        /// The interface.
        ifname: String,
        /// The next hop.
        gateway: IpAddr,
    },
}

impl InterfaceStep {
    /// Returns what takes the step back; `None` where that is done with the TAP.
    #[must_use]
    pub fn undo(&self) -> Option<Self> {
        match self {
            Self::MakeTap { ifname, .. } => Some(Self::RemoveTap {
                ifname: ifname.clone(),
            }),
            Self::RemoveTap { .. }
            | Self::Configure { .. }
            | Self::Prepare { .. }
            | Self::AddAddress { .. }
            | Self::DefaultRoute { .. } => None,
        }
    }
}

impl InterfacePlan {
    /// Returns what takes the whole plan back: each step's undo, last first.
    pub fn undo(&self) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .rev()
                .filter_map(InterfaceStep::undo)
                .collect(),
        }
    }
}
