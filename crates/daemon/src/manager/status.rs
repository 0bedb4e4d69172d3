//! How the daemon is, and what it dropped.

use super::snapshot::Snapshot;
use super::{Manager, tally, translate};
use api::{
    ApiError, Cleaned, Counters, DropRow, Drops, ExplainRequest, Explanation, Finding, Name,
    PortDrops, PortState, PortsStatus, Status, TraceEvent, TraceRequest, WatchCalls, WorkerStatus,
};
use control::Hidden;
use pipeline::{DropReason, PortId};
use std::collections::BTreeMap;
use std::fs;
use tokio::sync::mpsc;

impl WatchCalls for Manager {
    fn drops(&self) -> Result<Drops, ApiError> {
        Ok(self.now().drops())
    }

    fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        self.now().doctor()
    }

    fn doctor_clean(&self) -> Result<Vec<Cleaned>, ApiError> {
        self.change(|writer| Ok(writer.doctor_clean()))
    }

    fn status(&self) -> Result<Status, ApiError> {
        Ok(self.now().status())
    }

    fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ApiError> {
        self.now().explain(request)
    }

    fn trace(&self, request: &TraceRequest) -> Result<mpsc::Receiver<TraceEvent>, ApiError> {
        self.begin_trace(request)
    }
}

impl Snapshot {
    /// How the daemon is.
    pub(super) fn status(&self) -> Status {
        let all = self.counted_in_all();
        let mut ports = PortsStatus::default();
        for port in self.state.ports() {
            match self.port_state(port).0 {
                PortState::Up => ports.up += 1,
                PortState::Down => ports.down += 1,
                PortState::Dead => ports.dead += 1,
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: self.dataplane.view().generation,
            datapath: self.datapath.clone(),
            workers: self.workers(),
            networks: count(self.state.networks().count()),
            ports,
            endpoints: count(self.state.endpoints().count()),
            macs: self
                .state
                .networks()
                .filter_map(|n| self.fdb_of(n.id))
                .map(|fdb| fdb.len() as u64)
                .sum(),
            uplinks: self.uplinks(),
            publications: count(self.state.publications().count()),
            frames: all.rx_frames,
            bytes: all.rx_bytes,
            dropped: all.dropped(),
            warnings: self.warnings.clone(),
        }
    }

    /// Returns what was dropped, for every reason there is.
    pub(super) fn drops(&self) -> Drops {
        let mut ports: BTreeMap<Name, Counters> = BTreeMap::new();
        for (called, id) in self.every_port() {
            let counters = ports.entry(translate::name(called)).or_default();
            tally::add(counters, &self.counted(id));
        }
        let row = |&reason: &DropReason| {
            let label = reason.label();
            let of = |counters: &Counters| counters.drops.get(label).copied().unwrap_or(0);
            let at: Vec<_> = ports
                .iter()
                .map(|(port, c)| PortDrops {
                    port: port.clone(),
                    count: of(c),
                })
                .filter(|d| d.count > 0)
                .collect();
            DropRow {
                code: reason.code(),
                label: label.to_owned(),
                sentence: reason.describe().to_owned(),
                count: of(&self.past) + at.iter().map(|d| d.count).sum::<u64>(),
                ports: at,
            }
        };
        Drops {
            reasons: DropReason::ALL.iter().map(row).collect(),
        }
    }

    fn counted_in_all(&self) -> Counters {
        let mut all = self.past.clone();
        self.every_port()
            .for_each(|(_, id)| tally::add(&mut all, &self.counted(id)));
        all
    }

    /// The ports there are, and those of the router's own links by what is behind them: what the
    /// world sends is dropped there.
    fn every_port(&self) -> impl Iterator<Item = (&str, PortId)> {
        let ports = self.state.ports().map(|p| (p.name.as_str(), p.id));
        let uplinks = self.state.uplinks();
        let uplinks = uplinks.map(|u| (u.name.as_str(), u.place.port));
        let stacks = [(Hidden::Host, "host"), (Hidden::Services, "services")];
        let stacks = stacks
            .into_iter()
            .filter_map(|(which, called)| Some((called, self.state.place_of(which)?.port)));
        ports.chain(uplinks).chain(stacks)
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let alive = self.started.elapsed().as_secs_f64();
        let times = processor_times();
        let shown = |worker: dataplane::WorkerStatus| {
            let name = format!("clearway-w{}", worker.id.0);
            let spent: f64 = times
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, seconds)| seconds)
                .sum();
            WorkerStatus {
                id: worker.id.0,
                ports: u32::try_from(worker.queues).unwrap_or(u32::MAX),
                frames: worker.frames,
                busy: if alive > 0.0 {
                    (spent / alive).clamp(0.0, 1.0)
                } else {
                    0.0
                },
            }
        };
        self.dataplane.workers().into_iter().map(shown).collect()
    }
}

/// Seconds each thread of this process spent on a processor, by the threads' names.
fn processor_times() -> Vec<(String, f64)> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let time = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        // The first number is nanoseconds on a processor.
        let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos: f64 = spent.split(' ').next()?.parse().ok()?;
        Some((name.trim().to_owned(), nanos / 1e9))
    };
    tasks.filter_map(Result::ok).filter_map(time).collect()
}
