//! Who takes which loads, and for how long.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

use super::clearway::Company;
use super::contender::{Contender, Pair, Start};
use super::docker::{Docker, Driver};
use super::measure::Measure;
use super::nat::{Beside, Nat};
use super::report::CLEARWAY;
use super::{Options, bridge, clearway, load, ovs, search};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Who {
    Clearway,
    /// An earlier build, named by --before.
    Before,
    /// Clearway while somebody traces every frame and does not read on.
    Watched,
    Docker0,
    Bridge,
    Ovs,
}

impl Who {
    /// In the table's order.
    pub(super) const ALL: [Self; 6] = [
        Self::Clearway,
        Self::Before,
        Self::Watched,
        Self::Docker0,
        Self::Bridge,
        Self::Ovs,
    ];
    /// Those that are measured when nothing is said.
    pub(super) const USUAL: [Self; 4] = [Self::Clearway, Self::Docker0, Self::Bridge, Self::Ovs];

    const fn column(self) -> &'static str {
        match self {
            Self::Clearway => CLEARWAY,
            Self::Before => "before",
            Self::Watched => "watched",
            Self::Docker0 => "docker0",
            Self::Bridge => "bridge",
            Self::Ovs => "ovs",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Bulk TCP, one pair and all at once.
    Bulk,
    /// TCP ping-pong.
    PingPong,
    /// Datagrams at little loss.
    Udp,
    /// Bulk TCP beside idle ports; Clearway only.
    Idle,
    /// The time to attach; Clearway only.
    Attach,
    /// Bulk TCP from a container to the world; Clearway and docker0, as all that begins with nat.
    NatBulkOut,
    /// Bulk TCP from the world to a published port.
    NatBulkIn,
    /// TCP ping-pong with the world.
    NatPingPong,
    /// Short TCP connections, to the world and to a published port.
    NatConnections,
    /// Datagrams to the world at little loss.
    NatUdp,
    /// Some of these beside a million connections; Clearway only. Compared with what the loads
    /// above give without, when they are measured too.
    NatFull,
    /// Some of these with 10 000 ports and a range published; Clearway only. Compared in the same
    /// way.
    NatPublished,
    /// Bulk TCP, ping-pong and datagrams between containers that Docker's engine started; Clearway
    /// and docker0, as all that begins with docker.
    Docker,
    /// The time that Docker's engine takes to start a container.
    DockerStart,
    /// The daemon's memory with 100 containers of Docker's; Clearway only.
    DockerMemory,
}

impl What {
    pub(super) const ALL: [Self; 15] = [
        Self::Bulk,
        Self::PingPong,
        Self::Udp,
        Self::Idle,
        Self::Attach,
        Self::NatBulkOut,
        Self::NatBulkIn,
        Self::NatPingPong,
        Self::NatConnections,
        Self::NatUdp,
        Self::NatFull,
        Self::NatPublished,
        Self::Docker,
        Self::DockerStart,
        Self::DockerMemory,
    ];
}

/// How long each load runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) rounds: usize,
    /// Seconds of a bulk transfer, of a ping-pong and of short connections.
    seconds: u32,
    /// Between two offered datagram rates.
    step: f64,
    /// Fresh daemons to time attaching with.
    pub(super) attach_runs: usize,
    congestion: &'static str,
}

impl Pace {
    pub(super) fn of(options: &Options) -> Self {
        let (rounds, seconds, step, attach_runs) = if options.quick {
            (3, 1, 1.15, 1)
        } else {
            (5, 3, 1.07, 5)
        };
        let rounds = options.rounds.map_or(rounds, usize::from);
        Self {
            rounds,
            seconds,
            step,
            attach_runs,
            congestion: options.congestion.name(),
        }
    }
}

/// A load, by whose name it is asked for, and the rows it fills.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    what: What,
    between: Between,
    task: Task,
}

#[derive(Debug, Clone, Copy)]
enum Between {
    /// So many pairs of containers.
    Pairs(usize),
    /// A container and the world.
    Out,
    /// The world and a published port.
    In,
    /// None but what the contender starts.
    Nobody,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Bulk(Measure),
    /// The mean, and the 99th percentile.
    PingPong(Measure, Measure),
    /// Of so many bytes.
    Datagrams(Measure, u32),
    Connections(Measure),
    Start(Measure, Start),
}

/// What a load saw.
pub(super) struct Seen {
    pub(super) values: Vec<(Measure, f64)>,
    /// What the values do not say.
    pub(super) note: Option<String>,
}

/// A contender that is set up, with what it is measured for.
pub(super) struct Entry {
    pub(super) contender: Box<dyn Contender>,
    /// Its column in the table.
    pub(super) column: &'static str,
    pub(super) pairs: Vec<Pair>,
    pub(super) loads: Vec<Load>,
}

/// Containers beside which one is attached, and bulk TCP is measured.
pub(super) const IDLE: usize = 500;
/// Lies on the private tmpfs.
pub(super) const DIRECTORY: &str = "/run/clearway-compare";

/// Everybody who is wanted and has something to do; `before` is the earlier build.
pub(super) fn entries(options: &Options, program: &Path, before: &Path) -> Vec<Entry> {
    let directory = |name: &str| Path::new(DIRECTORY).join(name);
    let switch = |name: &'static str, program: &Path, beside| {
        let directory = directory(name);
        Box::new(clearway::Clearway::new(name, program, directory, beside))
    };
    let nat = |name: &'static str, program: &Path, beside| {
        Box::new(Nat::new(name, program, directory(name), beside))
    };
    let docker = |name: &'static str, driver| Box::new(Docker::new(name, driver));
    let mut entries = Vec::new();
    for who in &options.contenders {
        let column = who.column();
        let mut add = |contender: Box<dyn Contender>, loads: &[Load]| {
            let wanted = |load: &&Load| options.loads.contains(&load.what);
            let loads: Vec<Load> = loads.iter().filter(wanted).copied().collect();
            if !loads.is_empty() {
                entries.push(Entry {
                    contender,
                    column,
                    pairs: Vec::new(),
                    loads,
                });
            }
        };
        match who {
            Who::Clearway => {
                add(switch(CLEARWAY, program, Company::None), SWITCHED);
                add(switch("clearway-alone", program, Company::None), ALONE);
                add(
                    switch("clearway-idle", program, Company::Idle(IDLE)),
                    BESIDE_IDLE,
                );
                add(nat("clearway-nat", program, Beside::Nothing), TRANSLATED);
                add(nat("clearway-full", program, Beside::Connections), FULL);
                add(
                    nat("clearway-published", program, Beside::Publications),
                    PUBLISHED,
                );
                let driver = Driver::Clearway(program.to_owned());
                add(docker("docker-clearway", driver), DOCKER);
            }
            Who::Before => {
                add(switch("before", before, Company::None), SWITCHED);
                add(nat("before-nat", before, Beside::Nothing), TRANSLATED);
            }
            Who::Watched => add(switch("watched", program, Company::Watcher), SWITCHED),
            Who::Docker0 => {
                add(Box::<bridge::Docker0>::default(), SWITCHED);
                add(Box::<bridge::DockerNat>::default(), TRANSLATED);
                add(docker("docker-bridge", Driver::Bridge), DOCKER);
            }
            Who::Bridge => add(Box::<bridge::Bare>::default(), SWITCHED),
            Who::Ovs => add(Box::new(ovs::Ovs::new(directory("ovs"))), SWITCHED),
        }
    }
    entries
}

/// The columns in the table's order, each once.
pub(super) fn columns(options: &Options) -> Vec<&'static str> {
    Who::ALL
        .into_iter()
        .filter(|who| options.contenders.contains(who))
        .map(Who::column)
        .collect()
}

/// Pairs of containers that the loads run between.
pub(super) fn pairs_for(loads: &[Load]) -> usize {
    let pairs = |load: &Load| match load.between {
        Between::Pairs(pairs) => pairs,
        Between::Out | Between::In | Between::Nobody => 0,
    };
    loads.iter().map(pairs).max().unwrap_or(0)
}

impl Load {
    /// Runs it on a contender, between what its setup answered.
    ///
    /// # Errors
    /// When a program fails, or nothing gets through.
    pub(super) fn take(
        self,
        contender: &mut dyn Contender,
        pairs: &[Pair],
        pace: Pace,
    ) -> Result<Seen> {
        let pairs = match self.between {
            Between::Nobody => &[],
            Between::Pairs(count) => &pairs[..count],
            Between::Out => &pairs[..1],
            Between::In => &pairs[1..2],
        };
        let mut note = None;
        let values = match self.task {
            Task::Bulk(measure) => {
                vec![(measure, load::bulk(pairs, pace.seconds, pace.congestion)?)]
            }
            Task::PingPong(mean, p99) => {
                let latency = load::ping_pong(&pairs[0], pace.seconds)?;
                vec![(mean, latency.mean), (p99, latency.p99)]
            }
            Task::Datagrams(measure, payload) => {
                let ladder = search::ladder(RATES.0, RATES.1, pace.step);
                let best = search::highest_delivered(&ladder, |rate| {
                    load::datagrams(&pairs[0], payload, rate, 1)
                })?;
                vec![(measure, best / 1e3)]
            }
            Task::Connections(measure) => {
                let short = load::connections(&pairs[0], pace.seconds)?;
                note = short.failed;
                vec![(measure, short.per_second)]
            }
            Task::Start(measure, what) => {
                let times = contender.start(what)?.into_iter();
                times
                    .map(|took| (measure, took.as_secs_f64() * 1e3))
                    .collect()
            }
        };
        Ok(Seen { values, note })
    }
}

const fn row(what: What, between: Between, task: Task) -> Load {
    Load {
        what,
        between,
        task,
    }
}

const PAIRS: usize = 8;
const ONE: Between = Between::Pairs(1);
/// Datagrams a second: below what any contender loses at, and above what iperf3 can send.
const RATES: (f64, f64) = (5_000.0, 1_000_000.0);

const SWITCHED: &[Load] = &[
    row(What::Bulk, ONE, Task::Bulk(Measure::BulkOne)),
    row(
        What::Bulk,
        Between::Pairs(PAIRS),
        Task::Bulk(Measure::BulkAll),
    ),
    row(
        What::PingPong,
        ONE,
        Task::PingPong(Measure::PingPongMean, Measure::PingPongP99),
    ),
    row(What::Udp, ONE, Task::Datagrams(Measure::Datagrams64, 64)),
    row(
        What::Udp,
        ONE,
        Task::Datagrams(Measure::Datagrams1400, 1400),
    ),
];
const ALONE: &[Load] = &[row(What::Idle, ONE, Task::Bulk(Measure::BulkAlone))];
const BESIDE_IDLE: &[Load] = &[row(What::Idle, ONE, Task::Bulk(Measure::BulkIdle))];
/// Short connections come last: those that are over are remembered for minutes, with their ports.
const TRANSLATED: &[Load] = &[
    row(
        What::NatBulkOut,
        Between::Out,
        Task::Bulk(Measure::NatBulkOut),
    ),
    row(What::NatBulkIn, Between::In, Task::Bulk(Measure::NatBulkIn)),
    row(
        What::NatPingPong,
        Between::Out,
        Task::PingPong(Measure::NatPingPongMean, Measure::NatPingPongP99),
    ),
    row(
        What::NatUdp,
        Between::Out,
        Task::Datagrams(Measure::NatDatagrams64, 64),
    ),
    row(
        What::NatUdp,
        Between::Out,
        Task::Datagrams(Measure::NatDatagrams1400, 1400),
    ),
    row(
        What::NatConnections,
        Between::Out,
        Task::Connections(Measure::NatConnectionsOut),
    ),
    row(
        What::NatConnections,
        Between::In,
        Task::Connections(Measure::NatConnectionsIn),
    ),
];
/// In the order of [`TRANSLATED`].
const FULL: &[Load] = &[
    row(
        What::NatFull,
        Between::Out,
        Task::Bulk(Measure::NatFullBulkOut),
    ),
    row(
        What::NatFull,
        Between::Out,
        Task::PingPong(Measure::NatFullPingPongMean, Measure::NatFullPingPongP99),
    ),
    row(
        What::NatFull,
        Between::Out,
        Task::Datagrams(Measure::NatFullDatagrams64, 64),
    ),
    row(
        What::NatFull,
        Between::Out,
        Task::Connections(Measure::NatFullConnectionsOut),
    ),
];
const PUBLISHED: &[Load] = &[
    row(
        What::NatPublished,
        Between::In,
        Task::Bulk(Measure::NatPublishedBulkIn),
    ),
    row(
        What::NatPublished,
        Between::In,
        Task::Connections(Measure::NatPublishedConnectionsIn),
    ),
];
const DOCKER: &[Load] = &[
    row(What::Docker, ONE, Task::Bulk(Measure::DockerBulkOne)),
    row(
        What::Docker,
        Between::Pairs(PAIRS),
        Task::Bulk(Measure::DockerBulkAll),
    ),
    row(
        What::Docker,
        ONE,
        Task::PingPong(Measure::DockerPingPongMean, Measure::DockerPingPongP99),
    ),
    row(
        What::Docker,
        ONE,
        Task::Datagrams(Measure::DockerDatagrams64, 64),
    ),
    row(
        What::Docker,
        ONE,
        Task::Datagrams(Measure::DockerDatagrams1400, 1400),
    ),
    row(
        What::DockerStart,
        Between::Nobody,
        Task::Start(Measure::DockerFirstPacket, Start::ToFirstPacket),
    ),
    row(
        What::DockerStart,
        Between::Nobody,
        Task::Start(Measure::DockerPorts, Start::WithPorts),
    ),
];
