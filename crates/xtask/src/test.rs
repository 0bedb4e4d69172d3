//! `cargo xtask test`: everything that must hold before a change lands, in one command.
//!
//! Cheap checks first, so that a slip in formatting costs seconds. The tests' output passes
//! through as it comes; because `cargo test` prints one summary for each binary, the totals are
//! added up and stand in the last line. Under `CI=true` a test that cannot run fails by itself.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::packages::{Need, ensure_installed, need};
use crate::{arrows, cargo, must_succeed};

/// What the tests call on a real kernel.
const NEEDS: &[Need] = &[
    need("ip", "iproute2"),
    need("bridge", "iproute2"),
    need("tc", "iproute2"),
    need("ethtool", "ethtool"),
    need("ping", "iputils-ping"),
    need("arping", "iputils-arping"),
    need("tcpdump", "tcpdump"),
    need("traceroute", "traceroute"),
    need("tracepath", "iputils-tracepath"),
    need("iperf3", "iperf3"),
    need("curl", "curl"),
    need("nmap", "nmap"),
    need("ss", "iproute2"),
    need("sysctl", "procps"),
    need("dig", "bind9-dnsutils"),
    need("udhcpc", "udhcpc"),
    need("dhclient", "isc-dhcp-client"),
    need("turnserver", "coturn"),
    need("nft", "nftables"),
    need("iptables-restore", "iptables"),
    need("dockerd", "docker.io"),
    need("docker", "docker.io"),
    need("docker-compose", "docker-compose"),
    need("busybox", "busybox"),
    need("setpriv", "util-linux"),
];

/// What to leave out.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the checks: formatting, lints and arrows.
    #[arg(long)]
    checks_only: bool,
    /// Arguments for the test binaries, after `--`.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// Runs all steps and stops at the first that fails.
///
/// # Errors
/// When a package cannot be installed or a step fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    step("packages", || ensure_installed(NEEDS))?;
    step("cargo fmt --check", || {
        must_succeed(cargo(root, &["fmt", "--all", "--check"])).context("`cargo fmt` puts it right")
    })?;
    step("cargo clippy", || {
        let lint = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        must_succeed(cargo(root, &lint))
    })?;
    step("arrows", || arrows::run(root))?;
    if options.checks_only {
        return Ok(());
    }
    let tally = step("cargo test", || run_tests(root, &options.filter))?;
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.ignored
    );
    ensure!(tally.clean, "cargo test failed");
    ensure!(tally.passed > 0, "no test was run");
    Ok(())
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    std::io::stdout().flush().context("stdout is closed")?;
    let start = Instant::now();
    let done = work().with_context(|| format!("step `{name}`"))?;
    println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(done)
}

/// What the test binaries reported, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Did cargo itself end well?
    clean: bool,
}

fn run_tests(root: &Path, filter: &[String]) -> Result<Tally> {
    let mut command = cargo(root, &["test", "--workspace", "--no-fail-fast", "--locked"]);
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let output = child.stdout.take().expect("stdout was asked to be a pipe");
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo test's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(&line);
    }
    tally.clean = child
        .wait()
        .context("cannot wait for cargo test")?
        .success();
    Ok(tally)
}

impl Tally {
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
                clean: false
            }
        );
    }
}
