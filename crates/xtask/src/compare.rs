//! `cargo xtask compare`: Clearway beside docker0, a bare bridge and Open vSwitch, in one run.
//!
//! Every contender is set up once, each in namespaces of its own, and they take turns: a round
//! takes each measure of each contender once, and the next round starts with the next contender.
//! Whatever else the machine does, and whatever it did to its clock, so falls on all of them.
//!
//! Nothing can be left behind, not even by SIGKILL: network namespaces have no name and end with
//! this process, so do its children (parent-death signal), and files lie on a tmpfs in a mount
//! namespace that is this process's own. The network it was started in is not touched.

mod bridge;
mod clearway;
mod contender;
mod facts;
mod load;
mod measure;
mod ovs;
mod report;
mod search;
mod stats;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use self::contender::{Contender, Pair};
use self::facts::Facts;
use self::measure::Measure;
use self::report::{CLEARWAY, Report, Sample};
use crate::packages::{Need, ensure_installed};
use crate::{cargo, must_succeed};

/// How long and whom.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fewer and shorter rounds: minutes, for a first look.
    #[arg(long)]
    quick: bool,
    /// Rounds; 5 when nothing is said, 3 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Whom to measure, such as `docker0,bridge`.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Who::ALL)]
    contenders: Vec<Who>,
    /// What to measure, such as `bulk,ping-pong`.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = What::ALL)]
    loads: Vec<What>,
    /// The senders' congestion control in bulk TCP. A new namespace takes the host's, and so would
    /// the result: BBR paces with timers, which cost more than the copying where a timer interrupt
    /// leaves the virtual machine.
    #[arg(long, value_enum, default_value = "cubic")]
    congestion: Congestion,
    /// Write every sample, summary and fact to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to this file too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Take this binary instead of building `target/release/clearway`.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// How a TCP sender finds its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Congestion {
    /// Linux's own default.
    Cubic,
    /// The default of some distributions and clouds.
    Bbr,
}

impl Congestion {
    const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    Clearway,
    Docker0,
    Bridge,
    Ovs,
}

impl Who {
    const ALL: [Self; 4] = [Self::Clearway, Self::Docker0, Self::Bridge, Self::Ovs];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
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
}

impl What {
    const ALL: [Self; 5] = [
        Self::Bulk,
        Self::PingPong,
        Self::Udp,
        Self::Idle,
        Self::Attach,
    ];
}

/// How long each load runs.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rounds: usize,
    /// Seconds of a bulk transfer and of a ping-pong.
    seconds: u32,
    /// Between two offered datagram rates.
    step: f64,
    /// Fresh daemons to time attaching with.
    attach_runs: usize,
    congestion: &'static str,
}

impl Pace {
    fn of(options: &Options) -> Self {
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

/// One load and the row it fills.
#[derive(Debug, Clone, Copy)]
enum Load {
    Bulk(Measure, usize),
    PingPong,
    Datagrams(Measure, u32),
}

impl Load {
    const fn kind(self) -> What {
        match self {
            Self::Bulk(Measure::BulkAlone | Measure::BulkIdle, _) => What::Idle,
            Self::Bulk(..) => What::Bulk,
            Self::PingPong => What::PingPong,
            Self::Datagrams(..) => What::Udp,
        }
    }
}

/// A contender that is set up, with what it is measured for.
struct Entry {
    contender: Box<dyn Contender>,
    /// Its column in the table.
    column: &'static str,
    pairs: Vec<Pair>,
    loads: Vec<Load>,
}

const PAIRS: usize = 8;
const IDLE: usize = 500;
/// Lies on the private tmpfs.
const DIRECTORY: &str = "/run/clearway-compare";
const LOADS: &[Load] = &[
    Load::Bulk(Measure::BulkOne, 1),
    Load::Bulk(Measure::BulkAll, PAIRS),
    Load::PingPong,
    Load::Datagrams(Measure::Datagrams64, 64),
    Load::Datagrams(Measure::Datagrams1400, 1400),
];
const ALONE: &[Load] = &[Load::Bulk(Measure::BulkAlone, 1)];
const BESIDE_IDLE: &[Load] = &[Load::Bulk(Measure::BulkIdle, 1)];
/// Datagrams a second: below what any contender loses at, and above what iperf3 can send.
const RATES: (f64, f64) = (5_000.0, 1_000_000.0);

/// Measures and prints the table.
///
/// # Errors
/// When a program is missing, a contender cannot be set up or a load fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let clearway = options.contenders.contains(&Who::Clearway);
    let program = if clearway {
        binary(root, options)?
    } else {
        PathBuf::new()
    };
    let mut entries = entries(options, &program);
    install(&entries)?;
    cover_run()?;
    let facts = Facts::read(root, options.congestion.name(), versions(&entries)?);
    for line in facts.lines() {
        println!("{line}");
    }
    if facts.load_average_before > 0.5 {
        println!("note: this machine does other work too: numbers will be low and wide");
    }
    for entry in &mut entries {
        let name = entry.contender.name();
        let pairs = pairs_for(&entry.loads);
        entry.pairs = entry
            .contender
            .setup(pairs)
            .with_context(|| format!("cannot set up {name}"))?;
        println!("{name}: {pairs} pair(s) of containers connected");
    }
    let pace = Pace::of(options);
    let mut samples = rounds(&mut entries, pace)?;
    drop(entries);
    if clearway && options.loads.contains(&What::Attach) {
        samples.extend(attach_rounds(&program, pace.attach_runs)?);
    }
    publish(options, &Report::new(facts, columns(options), samples))
}

/// The release binary, built unless one was named.
fn binary(root: &Path, options: &Options) -> Result<PathBuf> {
    let program = match &options.binary {
        Some(program) => program.clone(),
        None => {
            must_succeed(cargo(
                root,
                &["build", "--release", "--package", "clearway"],
            ))?;
            target_directory(root).join("release/clearway")
        }
    };
    std::path::absolute(&program).with_context(|| format!("no path: {}", program.display()))
}

fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |target| root.join(target))
}

/// Covers `/run` with a tmpfs that only this process and its children see, for sockets, databases
/// and state.
fn cover_run() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("compare makes namespaces and takes root")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make mounts private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)
        .context("cannot cover /run with a tmpfs")
}

/// Everybody who is wanted and has something to do.
fn entries(options: &Options, program: &Path) -> Vec<Entry> {
    let clearway = |name: &'static str, idle: usize| {
        Box::new(clearway::Clearway::new(
            name,
            program,
            Path::new(DIRECTORY).join(name),
            idle,
        ))
    };
    let mut entries = Vec::new();
    let mut add = |contender: Box<dyn Contender>, column, loads: &[Load]| {
        let wanted = |load: &&Load| options.loads.contains(&load.kind());
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
    for who in &options.contenders {
        match who {
            Who::Clearway => {
                add(clearway(CLEARWAY, 0), CLEARWAY, LOADS);
                add(clearway("clearway-alone", 0), CLEARWAY, ALONE);
                add(clearway("clearway-idle", IDLE), CLEARWAY, BESIDE_IDLE);
            }
            Who::Docker0 => add(Box::<bridge::Docker0>::default(), "docker0", LOADS),
            Who::Bridge => add(Box::<bridge::Bare>::default(), "bridge", LOADS),
            Who::Ovs => add(
                Box::new(ovs::Ovs::new(Path::new(DIRECTORY).join("ovs"))),
                "ovs",
                LOADS,
            ),
        }
    }
    entries
}

/// All at once and before anything is set up: what apt starts or stirs then is over.
fn install(entries: &[Entry]) -> Result<()> {
    let of_contenders = entries.iter().flat_map(|entry| entry.contender.needs());
    let needs: Vec<Need> = load::NEEDS.iter().chain(of_contenders).copied().collect();
    ensure_installed(&needs)
}

/// The columns in the table's order, each once.
fn columns(options: &Options) -> Vec<&'static str> {
    let column = |who: Who| match who {
        Who::Clearway => CLEARWAY,
        Who::Docker0 => "docker0",
        Who::Bridge => "bridge",
        Who::Ovs => "ovs",
    };
    Who::ALL
        .into_iter()
        .filter(|who| options.contenders.contains(who))
        .map(column)
        .collect()
}

fn versions(entries: &[Entry]) -> Result<Vec<String>> {
    let own_columns = entries
        .iter()
        .filter(|entry| entry.contender.name() == entry.column);
    own_columns
        .map(|entry| Ok(format!("{}: {}", entry.column, entry.contender.version()?)))
        .collect()
}

fn pairs_for(loads: &[Load]) -> usize {
    let pairs = |load: &Load| match load {
        Load::Bulk(_, pairs) => *pairs,
        Load::PingPong | Load::Datagrams(..) => 1,
    };
    loads.iter().map(pairs).max().unwrap_or(0)
}

fn rounds(entries: &mut [Entry], pace: Pace) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 1..=pace.rounds {
        for entry in &*entries {
            for load in &entry.loads {
                let seen = take(*load, &entry.pairs, pace)
                    .with_context(|| format!("round {round}, {}", entry.contender.name()))?;
                for (measure, value) in seen {
                    println!(
                        "round {round}/{}  {:<14}  {:<34}  {value:>8.2} {}",
                        pace.rounds,
                        entry.contender.name(),
                        measure.label(),
                        measure.unit()
                    );
                    samples.push(Sample {
                        measure,
                        contender: entry.column,
                        round,
                        value,
                    });
                }
            }
        }
        // Nobody is always the first, on a machine that has rested.
        entries.rotate_left(1);
    }
    Ok(samples)
}

fn take(load: Load, pairs: &[Pair], pace: Pace) -> Result<Vec<(Measure, f64)>> {
    match load {
        Load::Bulk(measure, count) => Ok(vec![(
            measure,
            load::bulk(&pairs[..count], pace.seconds, pace.congestion)?,
        )]),
        Load::PingPong => {
            let latency = load::ping_pong(&pairs[0], pace.seconds)?;
            Ok(vec![
                (Measure::PingPongMean, latency.mean),
                (Measure::PingPongP99, latency.p99),
            ])
        }
        Load::Datagrams(measure, payload) => {
            let ladder = search::ladder(RATES.0, RATES.1, pace.step);
            let best = search::highest_delivered(&ladder, |rate| {
                load::datagrams(&pairs[0], payload, rate, 1)
            })?;
            Ok(vec![(measure, best / 1e3)])
        }
    }
}

fn attach_rounds(program: &Path, runs: usize) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 1..=runs {
        let directory = Path::new(DIRECTORY).join(format!("attach-{round}"));
        let times = clearway::attach_times(program, &directory, IDLE)
            .with_context(|| format!("attaching {IDLE} containers, run {round}"))?;
        println!("attach {round}/{runs}  {times:?}");
        for (measure, value) in [
            (Measure::AttachFirstCommand, times.first_command),
            (Measure::AttachLastCommand, times.last_command),
            (Measure::AttachFirstExchange, times.first_exchange),
            (Measure::AttachLastExchange, times.last_exchange),
        ] {
            samples.push(Sample {
                measure,
                contender: CLEARWAY,
                round,
                value,
            });
        }
    }
    Ok(samples)
}

fn publish(options: &Options, report: &Report) -> Result<()> {
    let table = report.markdown();
    println!("\n{table}");
    if let Some(path) = &options.markdown {
        std::fs::write(path, &table).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.json {
        let json = report.json().context("a sample is no number")?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
