//! What the kernel has to do for an endpoint, in order, each step with its undo.
//!
//! ```text
//!   userspace   here                               sandbox   TAP
//!   kernel      here   host's end ════ veth ═══    sandbox   the other end
//!                      TAP, for what the program at the host's end leaves to the workers
//! ```
//! An interface is *made* in the sandbox, not moved there: moving a netdev between namespaces waits for
//! a grace period (16 ms measured), making it takes 0.2 ms, and one request makes both ends of a veth,
//! each where it belongs. Docker alone insists on moving it. All that is done to an interface
//! afterwards goes away with it, so removing what was made undoes the whole plan.

use ipnet::IpNet;
use std::net::IpAddr;
use wire::MacAddr;

/// The largest MTU the kernel lets a TAP have: 65535 less its Ethernet header. A network's MTU
/// may be larger (a VLAN device on a trunk, a NIC); its endpoints' is this at most.
pub const TAP_MTU_MAX: u16 = 65_521;

/// Steps for the host, in order: first those here, then those in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a plan does nothing until it is carried out"]
pub struct InterfacePlan {
    /// The steps in our own namespace.
    pub here: Vec<InterfaceStep>,
    /// The steps in the endpoint's sandbox.
    pub there: Vec<InterfaceStep>,
}

/// One thing for the kernel to do.
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
    /// Make a veth pair, one end of it here.
    MakeVeth {
        /// The end here.
        host: String,
        /// The other end.
        ifname: String,
        /// Whether that is in the sandbox.
        there: bool,
    },
    /// Remove a veth pair.
    RemoveVeth {
        /// Its end here.
        host: String,
    },
    /// Set up an interface here that the host's stack is to see nothing of: it has no addresses, and
    /// takes whatever the container may send.
    Hide {
        /// The interface.
        ifname: String,
        /// The id of the endpoint that it is for.
        endpoint: String,
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
    /// Returns what takes the step back; `None` where that is done with what was made before.
    #[must_use]
    pub fn undo(&self) -> Option<Self> {
        match self {
            Self::MakeTap { ifname, .. } => Some(Self::RemoveTap {
                ifname: ifname.clone(),
            }),
            Self::MakeVeth { host, .. } => Some(Self::RemoveVeth { host: host.clone() }),
            Self::RemoveTap { .. }
            | Self::RemoveVeth { .. }
            | Self::Hide { .. }
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
        let undo = |steps: &[InterfaceStep]| {
            let steps = steps.iter().rev();
            steps.filter_map(InterfaceStep::undo).collect()
        };
        Self {
            here: undo(&self.here),
            there: undo(&self.there),
        }
    }
}
