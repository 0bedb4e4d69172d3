//! How the daemon is, and what it dropped.

use crate::{Datapath, DatapathKind, Name, Uplink};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The number of the configuration in force; each change raises it.
    pub generation: u64,
    /// Where frames are carried.
    pub datapath: DatapathStatus,
    /// The threads that carry frames.
    pub workers: Vec<WorkerStatus>,
    /// Networks.
    pub networks: u32,
    /// Ports, by state.
    pub ports: PortsStatus,
    /// Endpoints.
    pub endpoints: u32,
    /// MAC addresses remembered.
    pub macs: u64,
    /// The ways to the world, the first serving networks that name none.
    pub uplinks: Vec<Uplink>,
    /// Ranges of ports that are published.
    pub publications: u32,
    /// Frames received from all ports, those of removed ports included.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Troubles that need a person's attention, a sentence each.
    pub warnings: Vec<String>,
}

/// Where frames are carried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct DatapathStatus {
    /// The daemon's setting, which networks and endpoints may override.
    pub setting: Datapath,
    /// The datapath in force where neither does.
    pub in_force: DatapathKind,
    /// Why the kernel carries nothing, if it was tried and cannot.
    pub why: Option<String>,
}

/// One thread that carries frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Its number, from 0.
    pub id: u32,
    /// Queues of ports it owns.
    pub ports: u32,
    /// Frames it carried.
    pub frames: u64,
    /// The share of the time since it started that it spent on a processor, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub busy: f64,
}

/// Ports, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PortsStatus {
    /// They carry frames.
    pub up: u32,
    /// They were set down.
    pub down: u32,
    /// Their interface is gone.
    pub dead: u32,
}

/// Dropped frames, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// Every reason there is, in the order of codes; those that never happened count 0.
    pub reasons: Vec<DropRow>,
}

impl Drops {
    /// Frames dropped for the reason with this label.
    #[must_use]
    pub fn count(&self, label: &str) -> u64 {
        self.reasons
            .iter()
            .filter(|row| row.label == label)
            .map(|row| row.count)
            .sum()
    }
}

/// One reason for which frames are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropRow {
    /// Its number in traces, never used for another reason.
    pub code: u8,
    /// Its short name.
    pub label: String,
    /// Its meaning, as a sentence.
    pub sentence: String,
    /// Frames dropped for it, at removed ports too.
    pub count: u64,
    /// The ports where it happened.
    pub ports: Vec<PortDrops>,
}

/// Drops at one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortDrops {
    /// The port.
    pub port: Name,
    /// Frames dropped.
    pub count: u64,
}
