//! `cargo xtask compare`: Clearway beside docker0, a bare bridge and Open vSwitch, in one run; and as
//! Docker's plugin beside Docker's own bridge driver.
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
mod daemon;
mod docker;
mod facts;
mod flows;
mod load;
mod measure;
mod nat;
mod outside;
mod ovs;
mod plan;
mod report;
mod search;
mod stats;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use self::facts::Facts;
use self::measure::Measure;
use self::plan::{DIRECTORY, Entry, IDLE, Pace, What, Who};
use self::report::{CLEARWAY, Report, Sample};
use crate::package;
use crate::packages::{Need, ensure_installed};

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
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Who::USUAL)]
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
    /// The binary of an earlier build, for the contender `before`.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
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

/// Measures and prints the table.
///
/// # Errors
/// When a program is missing, a contender cannot be set up or a load fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let clearway = options.contenders.contains(&Who::Clearway);
    let program = if clearway || options.contenders.contains(&Who::Watched) {
        binary(root, options)?
    } else {
        PathBuf::new()
    };
    let mut entries = plan::entries(options, &program, &before(options)?);
    install(&entries)?;
    cover()?;
    let facts = Facts::read(root, options.congestion.name(), versions(&entries)?);
    for line in facts.lines() {
        println!("{line}");
    }
    if facts.load_average_before > 0.5 {
        println!("note: this machine does other work too: numbers will be low and wide");
    }
    for entry in &mut entries {
        let name = entry.contender.name();
        let pairs = plan::pairs_for(&entry.loads);
        entry.pairs = entry
            .contender
            .setup(pairs)
            .with_context(|| format!("cannot set up {name}"))?;
        println!("{name} is set up");
    }
    let pace = Pace::of(options);
    let (mut samples, notes) = rounds(&mut entries, pace)?;
    drop(entries);
    if clearway && options.loads.contains(&What::Attach) {
        samples.extend(attach_rounds(&program, pace.attach_runs)?);
    }
    if clearway && options.loads.contains(&What::DockerMemory) {
        samples.push(Sample {
            measure: Measure::DockerMemory,
            contender: CLEARWAY,
            round: 1,
            value: docker::memory(&program).context("Docker's containers for memory")?,
        });
    }
    publish(
        options,
        &Report::new(facts, plan::columns(options), samples, notes),
    )
}

/// The release binary, built unless one was named.
fn binary(root: &Path, options: &Options) -> Result<PathBuf> {
    let program = match &options.binary {
        Some(program) => program.clone(),
        None => package::release(root)?,
    };
    std::path::absolute(&program).with_context(|| format!("no path: {}", program.display()))
}

/// The earlier build's binary, where it is a contender.
fn before(options: &Options) -> Result<PathBuf> {
    if !options.contenders.contains(&Who::Before) {
        return Ok(PathBuf::new());
    }
    let Some(program) = &options.before else {
        bail!("the contender `before` is an earlier build: name its binary with --before");
    };
    std::path::absolute(program).with_context(|| format!("no path: {}", program.display()))
}

/// Covers directories with a tmpfs each that only this process and its children see: `/run` for
/// sockets, databases and state, and another for temporary files, because machines of Docker's
/// cover `/run` once more.
fn cover() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("compare makes namespaces and takes root")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make mounts private")?;
    for place in ["/run", TEMPORARY] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), NONE)
            .with_context(|| format!("cannot cover {place} with a tmpfs"))?;
    }
    if let Err(other) = tempfile::env::override_temp_dir(Path::new(TEMPORARY)) {
        bail!("temporary files are in {} already", other.display());
    }
    Ok(())
}

/// There on every system, and nobody's checkout.
const TEMPORARY: &str = "/media";

/// All at once and before anything is set up: what apt starts or stirs then is over.
fn install(entries: &[Entry]) -> Result<()> {
    let of_contenders = entries.iter().flat_map(|entry| entry.contender.needs());
    let needs: Vec<Need> = load::NEEDS.iter().chain(of_contenders).copied().collect();
    ensure_installed(&needs)
}

/// Returns what each column is, by the first of its contenders.
fn versions(entries: &[Entry]) -> Result<Vec<String>> {
    let mut columns: Vec<&str> = Vec::new();
    let mut versions = Vec::new();
    for entry in entries {
        if !columns.contains(&entry.column) {
            columns.push(entry.column);
            versions.push(format!("{}: {}", entry.column, entry.contender.version()?));
        }
    }
    Ok(versions)
}

/// The samples, and what they do not say.
fn rounds(entries: &mut [Entry], pace: Pace) -> Result<(Vec<Sample>, Vec<String>)> {
    let (mut samples, mut notes) = (Vec::new(), Vec::new());
    for round in 1..=pace.rounds {
        for entry in &mut *entries {
            let name = entry.contender.name();
            let turn = || format!("round {round}, {name}");
            entry.contender.refresh().with_context(turn)?;
            for load in &entry.loads {
                let contender = entry.contender.as_mut();
                let seen = load
                    .take(contender, &entry.pairs, pace)
                    .with_context(turn)?;
                for &(measure, value) in &seen.values {
                    println!(
                        "round {round}/{}  {:<18}  {:<45}  {value:>8.2} {}",
                        pace.rounds,
                        name,
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
                if let (Some(note), Some((measure, _))) = (seen.note, seen.values.first()) {
                    let note = format!("round {round}, {name}, {}: {note}", measure.label());
                    println!("{note}");
                    notes.push(note);
                }
            }
            entry.contender.confirm().with_context(turn)?;
        }
        // Nobody is always the first, on a machine that has rested.
        entries.rotate_left(1);
    }
    Ok((samples, notes))
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
