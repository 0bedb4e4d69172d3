//! The actions that make the kernel be as the state wants it: ports, uplinks, the links to the
//! host's stack and to the daemon's servers, listeners.
//!
//! ```text
//!   desired, placed    networks, endpoints, uplinks ...; ids, namespaces      State
//!   observed           what the kernel shows, and what this process holds     Observed
//!
//!   places(state)                 ids that the links need, or need no longer  Change
//!   reconcile(state, observed)    all there is to do                          Plan
//!   upkeep(state, held)           what of it needs no look at the kernel      actions
//!   leftovers(state, left)        what of it an earlier daemon left           actions
//!   departure(observed)           what a clean end takes along                actions
//!   facts(state, observed)        what the router is to know of the links     UplinkFacts
//! ```
//! The same functions are asked after every change, when the host's network has changed, after a
//! restart, when a bridge is adopted or released, and without a daemon, for a state that wants nothing
//! (`doctor --clean`). Nothing is remembered between two times: an action that failed is in the next
//! plan again.
//!
//! Actions that take away come first, so that what they free (a NIC, a port, an address) can be
//! used. Each is carried out whole or not at all; what concerns this process alone (ports it holds,
//! sockets it closes) cannot fail. When one fails, those that need it
//! ([`Action::needs`]) are left out and all others are carried out: a NIC that is pulled out takes
//! its uplink down and nothing else.

mod left;
mod link;
mod port;

pub use left::{Left, leftovers};
pub use link::{Captures, Nic, OpenStack, OpenUplink, Ports, STACK_MTU, Way, facts, is_link_local};
pub use port::{Held, PortHeld, Waiting, upkeep};

use crate::attachment::{Attachment, Hidden, Uplink};
use crate::publication::PublicationId;
use crate::{Change, State};
use ipnet::IpNet;
use pipeline::{NetworkId, PortId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// A look at the kernel, and at this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Ports and listeners that this process holds.
    pub held: Held,
    /// Interfaces here that were made for endpoints, by their names.
    pub made: BTreeSet<String>,
    /// Ports of the kernel's datapath whose veth is gone.
    pub parted: BTreeSet<PortId>,
    /// Those whose programs somebody has taken away.
    pub bare: BTreeSet<PortId>,
    /// Things that nobody holds. A daemon does not look for them: those of another that runs beside it
    /// look the same.
    pub left: BTreeSet<Left>,
    /// Interfaces that are ports of a bridge; looked for where an endpoint has a veth.
    pub returned: BTreeSet<String>,
    /// The interfaces that uplinks name, as far as they are there.
    pub nics: BTreeMap<String, Nic>,
    /// Bridges that networks stand in for, as far as they are there.
    pub bridges: BTreeSet<String>,
    /// The host's addresses.
    pub addresses: Vec<IpNet>,
    /// Uplinks that are open, by name.
    pub uplinks: BTreeMap<String, OpenUplink>,
    /// The link to the host's stack, if it is open.
    pub host: Option<OpenStack>,
    /// The link to the daemon's servers, if it is open.
    pub services: Option<OpenStack>,
    /// Gateways' addresses at which questions for names are answered.
    pub names: BTreeSet<(NetworkId, IpAddr)>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Close a port. An interface that was made for it is removed, one that was there is given back.
    ClosePort(PortId),
    /// Keep a port whose veth is gone, dead.
    LosePort(PortId),
    /// Remove an interface that was made for an endpoint that is no more.
    RemoveStray(String),
    /// Close an uplink and its port.
    CloseUplink(String),
    /// Close the link to a stack, and its port; its ways go with it.
    CloseStack(Hidden),
    /// Take a network away from a stack.
    RemoveWay(Hidden, Way),
    /// Answer questions for names of a network no longer.
    Unserve(NetworkId),
    /// Listen at a publication's ports no longer.
    Unlisten(PublicationId),
    /// Take away what an earlier daemon left.
    Undo(Left),
    /// Keep a port that has no interface yet.
    HoldPort(PortId, Waiting),
    /// Open a port, with the interface that is there or a new one.
    OpenPort(PortId),
    /// Put a port's programs back.
    PutPrograms(PortId),
    /// Take a veth off its bridge.
    TakeOver(String),
    /// Open an uplink.
    OpenUplink(Uplink, Captures),
    /// Take other packets from an uplink's NIC.
    Capture(String, Captures),
    /// Open the link to a stack.
    OpenStack(Hidden, Attachment),
    /// Join a network to a stack.
    AddWay(Hidden, Way),
    /// Answer questions for names at a network's gateway.
    Serve(NetworkId, IpAddr),
    /// Listen at a publication's ports of the host.
    Listen(PublicationId),
}

/// All there is to do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The actions.
    pub actions: Vec<Action>,
    /// Uplinks that cannot be had, by name, and why.
    pub down: BTreeMap<String, String>,
}

/// Returns the change that gives the host's stack and the daemon's servers a place where a network
/// wants them, and takes it where none does.
pub fn places(state: &State) -> Change {
    let host = place(state, Hidden::Host);
    if host == Change::Nothing {
        return place(state, Hidden::Services);
    }
    // One after the other: each takes the lowest ids that are free.
    let mut after = state.clone();
    let _ = after.commit(host.clone());
    Change::All(vec![host, place(&after, Hidden::Services)])
}

fn place(state: &State, which: Hidden) -> Change {
    let is_wanted = match which {
        Hidden::Host => state.networks().any(|network| network.wants_host()),
        Hidden::Services => state.networks().any(|network| network.has_gateway()),
    };
    if is_wanted {
        state.add_place(which).1
    } else {
        state.remove_place(which)
    }
}

/// Compares what is desired with what is there.
#[must_use]
pub fn reconcile(state: &State, observed: &Observed) -> Plan {
    let mut plan = Plan {
        actions: upkeep(state, &observed.held),
        down: BTreeMap::new(),
    };
    plan.actions.extend(leftovers(state, &observed.left));
    let mut making = Vec::new();
    port::lost(state, observed, &mut plan.actions);
    port::missing(state, observed, &mut making);
    link::uplinks(state, observed, &mut plan, &mut making);
    link::stack(
        state,
        observed,
        Hidden::Host,
        &mut plan.actions,
        &mut making,
    );
    link::stack(
        state,
        observed,
        Hidden::Services,
        &mut plan.actions,
        &mut making,
    );
    link::names(state, observed, &mut plan.actions, &mut making);
    port::unheard(state, &observed.held, &mut making);
    plan.actions.extend(making);
    plan
}

/// Returns what a clean end takes along: all that is ours outside of containers. Their interfaces
/// stay for the next daemon, but for those that were there before.
#[must_use]
pub fn departure(observed: &Observed) -> Vec<Action> {
    let uplinks = observed.uplinks.keys().cloned().map(Action::CloseUplink);
    let host = observed.host.is_some();
    let host = host.then_some(Action::CloseStack(Hidden::Host));
    uplinks
        .chain(host)
        .chain(observed.held.borrowed())
        .collect()
}

impl Action {
    /// Returns whether it is of no use when `failed` has failed.
    #[must_use]
    pub fn needs(&self, failed: &Self) -> bool {
        match (failed, self) {
            (Self::CloseUplink(name), Self::OpenUplink(uplink, _)) => uplink.name == *name,
            (Self::Unserve(closed), Self::Serve(network, _)) => closed == network,
            (Self::OpenStack(stack, _), Self::AddWay(of, _)) => stack == of,
            (Self::OpenStack(Hidden::Services, _), Self::Serve(..)) => true,
            (Self::AddWay(Hidden::Services, way), Self::Serve(_, at)) => way.address == *at,
            _ => false,
        }
    }
}

/// The words for what is missing while the action fails.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosePort(id) | Self::HoldPort(id, _) => write!(f, "closing port {id}"),
            Self::LosePort(id) => write!(f, "the veth of port {id} is gone"),
            Self::RemoveStray(ifname) => {
                write!(f, "{ifname} of an endpoint that is no more is there")
            }
            Self::PutPrograms(id) => write!(f, "the programs of port {id} were taken away"),
            Self::CloseUplink(name) => write!(f, "closing uplink {name}"),
            Self::CloseStack(_) => f.write_str("closing a stack's link"),
            Self::RemoveWay(_, way) => write!(f, "the way to {} is still there", way.subnet),
            Self::Unserve(_) => f.write_str("closing the name server's sockets"),
            Self::Unlisten(id) => write!(f, "closing the listeners of {id}"),
            Self::Undo(_) => f.write_str("what an earlier daemon left is still there"),
            Self::OpenPort(id) => write!(f, "port {id} could not be opened"),
            Self::TakeOver(ifname) => write!(f, "{ifname} is a port of its bridge again"),
            Self::OpenUplink(Uplink { name, .. }, _) | Self::Capture(name, _) => {
                write!(f, "uplink {name} is down")
            }
            Self::OpenStack(Hidden::Host, _) => f.write_str("containers and the host are parted"),
            Self::OpenStack(Hidden::Services, _) => f.write_str("the name server is not there"),
            Self::AddWay(_, way) => write!(f, "{} cannot be reached", way.subnet),
            Self::Serve(_, ip) => write!(f, "nobody can ask for names at {ip}"),
            Self::Listen(id) => write!(f, "{id} is not served on the host itself"),
        }
    }
}

#[cfg(test)]
mod tests;
