//! The snapshot that readers see: everything the daemon knows at one moment, and nothing that could change it.
//!
//! ```text
//!   change ──> writer (one, behind a lock) ──> show() ──> Snapshot ──> status, ports, drops, nat, ...
//!                                                           │
//!                                              dataplane <──┘ counters, connections, addresses: live
//! ```
//! A reader takes the newest snapshot, which is a pointer, and works with it as long as it likes. A
//! writer that is busy, or stuck in the kernel, delays no reader. Counters go on in a snapshot, and
//! those of a port that was closed meanwhile stay as they were: a sum over one snapshot is right.
//!
//! Each file of calls adds its own to it, beside the writer's: `ports.rs`, `networks.rs`, ...

use super::open::PortStatus;
use api::{Counters, DatapathStatus};
use control::{State, UplinkFacts};
use dataplane::Dataplane;
use pipeline::{NetworkId, PortId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use switch::fdb::Fdb;

/// Everything the daemon knows at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: Arc<State>,
    /// The host's facts about its uplinks.
    pub(super) facts: UplinkFacts,
    /// Why the other uplinks are down.
    pub(super) down: BTreeMap<String, String>,
    /// Where frames are carried.
    pub(super) datapath: DatapathStatus,
    /// One for each port of the state, and of the router's own links.
    pub(super) ports: BTreeMap<PortId, Arc<PortStatus>>,
    /// The counters of ports that were removed.
    pub(super) past: Counters,
    /// Warnings, each for a person to read.
    pub(super) warnings: Vec<String>,
    pub(super) dataplane: Arc<Dataplane>,
    pub(super) started: Instant,
}

impl Snapshot {
    /// Before anything is known.
    pub(super) fn empty(dataplane: Arc<Dataplane>, started: Instant) -> Self {
        Self {
            state: Arc::new(State::new(0)),
            facts: UplinkFacts::default(),
            down: BTreeMap::new(),
            datapath: DatapathStatus::default(),
            ports: BTreeMap::new(),
            past: Counters::default(),
            warnings: Vec::new(),
            dataplane,
            started,
        }
    }

    /// The forwarding database of a network.
    pub(super) fn fdb_of(&self, network: NetworkId) -> Option<Arc<Fdb>> {
        let topology = self.dataplane.topology();
        topology
            .network(network)
            .map(|network| Arc::clone(&network.fdb))
    }

    /// Returns the counters of a port.
    pub(super) fn counted(&self, id: PortId) -> Counters {
        let status = self.ports.get(&id);
        status.map_or_else(Counters::default, |status| status.counters())
    }
}
