//! The house rules and chores as code.
//!
//! What a reviewer would otherwise have to remember is a command here, and the command that a
//! person runs is the command that CI runs:
//!
//! * `cargo xtask arrows` checks who may depend on whom, crates and modules, and where `unsafe`, clocks and I/O may stand;
//! * `cargo xtask test` checks everything, installs what the tests need and runs them, tier by tier;
//! * `cargo xtask compare` measures Clearway beside its peers;
//! * `cargo xtask engine` runs the tests of Docker against another release's engine;
//! * `cargo xtask package` and `cargo xtask plugin` make what Debian and Docker install.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its terminal"
)]

mod arrows;
mod checks;
mod compare;
mod dependencies;
mod engine;
mod package;
mod packages;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The house rules and chores as code.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the arrows between crates and between modules, and the rules that the compiler does not know.
    Arrows,
    /// Check everything, install the Debian packages that the tests need, and run them.
    Test(test::Options),
    /// Measure Clearway beside docker0, a bare bridge and Open vSwitch, as root.
    Compare(compare::Options),
    /// Run the tests of `tests/docker` against the Docker of another Debian suite, as root.
    Engine(engine::Options),
    /// Write manual pages and completions, and build the Debian package.
    Package(package::Options),
    /// Make the directory that `docker plugin create` takes.
    Plugin(package::plugin::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Arrows => arrows::run(&workspace_root()),
        Chore::Test(options) => test::run(&workspace_root(), &options),
        Chore::Compare(options) => compare::run(&workspace_root(), &options),
        Chore::Engine(options) => engine::run(&workspace_root(), &options),
        Chore::Package(options) => package::run(&workspace_root(), &options),
        Chore::Plugin(options) => package::plugin::run(&workspace_root(), &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace's `Cargo.toml`.
fn workspace_root() -> PathBuf {
    let this_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    this_crate
        .ancestors()
        .nth(2)
        .expect("this crate stands two directories below the workspace root")
        .to_path_buf()
}

/// Returns where cargo builds.
fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |target| root.join(target))
}

/// A `cargo` invocation in the workspace root, with the cargo that started this program.
fn cargo(root: &Path, arguments: &[&str]) -> std::process::Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(program);
    command.current_dir(root).args(arguments);
    command
}

/// Runs a command to its end and turns a non-zero exit into an error that names it.
fn must_succeed(mut command: std::process::Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .map_err(|error| anyhow::anyhow!("cannot run {shown}: {error}"))?;
    anyhow::ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

/// Does one of a chore's steps, between a line that names it and one that says how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    std::io::stdout().flush().context("stdout is closed")?;
    let start = Instant::now();
    let done = work().with_context(|| format!("step `{name}`"))?;
    println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(done)
}
