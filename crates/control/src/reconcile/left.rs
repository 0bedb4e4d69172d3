//! Things in the host's network that an earlier daemon left, and nobody holds.

use super::Action;
use crate::State;
use ipnet::IpNet;
use std::collections::BTreeSet;

/// A thing of ours in the host's network, in the order in which they are taken away: an uplink's TAP
/// says which ports were reserved for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Filters on an interface, and the qdisc that was made for them.
    Filters(String),
    /// Ports that sockets of the host keep out of.
    ReservedPorts,
    /// The host's way to a bridge's containers.
    Way {
        /// The TAP that it leads to.
        tap: String,
        /// The bridge's address, with its subnet's length.
        gateway: IpNet,
    },
    /// An interface that we made, with the addresses and routes on it.
    Interface(String),
    /// A port that was taken off its bridge.
    TakenPort(String),
}

/// Returns what takes away all that the state does not want. An endpoint keeps its port; all else
/// that the state wants is held.
#[must_use]
pub fn leftovers(state: &State, left: &BTreeSet<Left>) -> Vec<Action> {
    let is_wanted = |left: &&Left| match left {
        Left::TakenPort(ifname) => state.endpoints().any(|e| e.veth() == Some(ifname)),
        Left::Filters(_) | Left::ReservedPorts | Left::Way { .. } | Left::Interface(_) => false,
    };
    let unwanted = left.iter().filter(|left| !is_wanted(left));
    unwanted.cloned().map(Action::Undo).collect()
}
