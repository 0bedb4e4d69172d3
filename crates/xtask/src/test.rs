//! `cargo xtask test`: everything that must hold before a change lands, in one command.
//!
//! The checks first, then the tests, tier by tier. The tests' output passes through as it comes;
//! because `cargo test` prints one summary for each binary, the totals are added up and stand in the
//! last line. Under `CI=true` a test that cannot run fails by itself.

mod tier;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::packages::ensure_installed;
use crate::{checks, must_succeed, step};
use tier::Tier;

/// What to leave out.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the checks: formatting, lints, arrows, documentation, dependencies
    #[arg(long, conflicts_with = "tiers")]
    checks_only: bool,
    /// Only the tests of these tiers, and no checks
    #[arg(long = "tier", value_enum, value_delimiter = ',', value_name = "TIER")]
    tiers: Vec<Tier>,
}

/// Runs all steps and stops at the first that fails; the tests are one step.
///
/// # Errors
/// When a check fails, a package cannot be installed or a test fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut tiers = options.tiers.clone();
    if tiers.is_empty() {
        checks::run(root)?;
        tiers = Tier::ALL.to_vec();
    }
    if options.checks_only {
        return Ok(());
    }
    tiers.sort_unstable();
    tiers.dedup();
    for tier in &tiers {
        step(&format!("packages for {tier}"), || {
            ensure_installed(&tier.needs())
        })?;
    }
    let mut tally = Tally::default();
    for tier in tiers {
        step(&format!("build {tier}"), || build(root, tier))?;
        step(&format!("test {tier}"), || test(root, tier, &mut tally))?;
    }
    for line in &tally.panics {
        println!("{line}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.ignored
    );
    ensure!(
        tally.broken.is_empty(),
        "failed: {}",
        tally.broken.join(", ")
    );
    ensure!(tally.passed > 0, "no test was run");
    Ok(())
}

fn build(root: &Path, tier: Tier) -> Result<()> {
    for run in tier.runs() {
        must_succeed(run.build(root))?;
    }
    Ok(())
}

fn test(root: &Path, tier: Tier, tally: &mut Tally) -> Result<()> {
    for run in tier.runs() {
        let command = run.test(root);
        let shown = format!("{command:?}");
        if !tally.run(command)? {
            tally.broken.push(shown);
        }
    }
    Ok(())
}

/// What the test binaries reported, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The commands that did not end well.
    broken: Vec<String>,
    /// The first lines of each panic that was printed. They are repeated at the end: of a long output,
    /// not all is kept everywhere.
    panics: Vec<String>,
}

/// Lines of a panic that are repeated: where it was, and what it says.
const PANIC: usize = 3;

impl Tally {
    /// Runs one `cargo test` and adds what it reports. Returns whether it ended well.
    fn run(&mut self, mut command: Command) -> Result<bool> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let output = child.stdout.take().expect("stdout was asked to be a pipe");
        let mut repeat = 0;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read cargo test's output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.add(&line);
            if line.starts_with("thread '") && line.contains(" panicked at ") {
                repeat = PANIC;
            }
            if repeat > 0 {
                repeat -= 1;
                self.panics.push(line.into_owned());
            }
        }
        let ended = child.wait().context("cannot wait for cargo test")?;
        Ok(ended.success())
    }

    /// Adds a line like `test result: ok. 5 passed; 0 failed; 1 ignored; ...`; others change nothing.
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else {
            return;
        };
        let Some((_, counts)) = summary.split_once(". ") else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up_and_other_lines_are_not() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.add("test a::b ... ok");
        tally.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert_eq!(
            tally,
            Tally {
                passed: 7,
                failed: 3,
                ignored: 1,
                ..Tally::default()
            }
        );
    }
}
