//! Ports of the switch: how they are, and what they counted.

use crate::{DatapathKind, Name, PortAdd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A port as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Port {
    /// Its number in traces.
    pub id: u32,
    /// The values it was added with, and changed to since.
    pub spec: PortAdd,
    /// Whether it carries frames.
    pub state: PortState,
    /// Why it does not.
    pub why: Option<String>,
    /// The endpoint it belongs to.
    pub endpoint: Option<Name>,
    /// Where its frames are carried.
    pub datapath: DatapathKind,
    /// The workers that own its queues.
    pub workers: Vec<u32>,
    /// MAC addresses remembered at it now.
    pub macs: u64,
    /// Counts since it was added.
    pub counters: Counters,
}

/// Whether a port carries frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// It does.
    Up,
    /// It does not: it was set down, here or in its namespace.
    Down,
    /// Its interface or its namespace is gone; it never will again.
    Dead,
}

/// Counts of a port. A superframe is one frame.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    /// Frames that came from the port.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that were sent to the port.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames dropped, by the reason's label; reasons that never happened are absent.
    pub drops: BTreeMap<String, u64>,
}

impl Counters {
    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }
}
