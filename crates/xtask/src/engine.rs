//! `cargo xtask engine`: the tests of `tests/docker` against another release's Docker.
//!
//! A Debian suite's engine is installed in a directory that becomes this process's root, with the
//! workspace, the target directory and the toolchain at the paths they have outside: what was built
//! here runs there. The computer's own files and engine are not touched.
//!
//! The trap: chroot(2) does not do. A runc in there takes the computer's root for its own, and what
//! `docker exec` starts is outside of its container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::packages::{ensure_installed, need};
use crate::{cargo, must_succeed, target_directory};

/// Which engine.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The Debian suite whose Docker is judged.
    #[arg(long, default_value = "forky")]
    suite: String,
    /// Install it here; what is there is used again [default: target/engine/SUITE].
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Arguments for the test binary, after `--`.
    #[arg(last = true)]
    filter: Vec<String>,
}

const MIRROR: &str = "http://deb.debian.org/debian";
/// The script of all of Debian's suites, those that are newer than this debootstrap as well.
const SCRIPT: &str = "/usr/share/debootstrap/scripts/sid";
/// What the tests call, beside what every Debian has.
const PACKAGES: &str = "docker.io,docker-cli,docker-compose,busybox,iproute2,iptables,nftables,\
    iputils-ping,procps,binutils";

/// Installs the engine where it is not, and runs the tests there.
///
/// # Errors
/// When something cannot be installed or built, or a test fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let target = target_directory(root);
    let default = || target.join("engine").join(&options.suite);
    let engine = std::path::absolute(options.root.clone().unwrap_or_else(default))?;
    if !engine.exists() {
        install(&options.suite, &engine)?;
    }
    let tests = ["test", "--locked", "--package", "clearway-tests"];
    let suite = [&tests[..], &["--test", "docker"]].concat();
    must_succeed(cargo(root, &[&suite[..], &["--no-run"]].concat()))?;
    let binaries = ["build", "--locked", "--package", "clearway"];
    must_succeed(cargo(root, &binaries))?;

    let paths = [root.to_owned(), target, home(".cargo", "CARGO_HOME")?];
    let shared = outermost(&[&paths[..], &[home(".rustup", "RUSTUP_HOME")?]].concat());
    enter(&engine, &shared).with_context(|| format!("cannot enter {}", engine.display()))?;
    let mut version = Command::new("dockerd");
    version.arg("--version");
    must_succeed(version)?;
    let mut suite = cargo(root, &suite);
    suite.args(["--offline", "--"]).args(&options.filter);
    suite.env("CI", "true").env("PATH", path()?);
    must_succeed(suite)
}

/// Makes the directory `engine`, whole or not at all.
fn install(suite: &str, engine: &Path) -> Result<()> {
    ensure_installed(&[need("debootstrap", "debootstrap")])?;
    let part = engine.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={PACKAGES}")])
        .arg(suite)
        .arg(&part)
        .args([MIRROR, SCRIPT]);
    must_succeed(debootstrap)?;
    fs::rename(&part, engine).with_context(|| format!("cannot make {}", engine.display()))
}

/// Makes `engine` the root of this process, which has one thread. Nobody else sees a change.
fn enter(engine: &Path, shared: &[PathBuf]) -> Result<()> {
    const NONE: Option<&str> = None;
    let bind = |at: &Path, flags| {
        let inside = engine.join(at.strip_prefix("/")?);
        fs::create_dir_all(&inside)?;
        mount(Some(at), &inside, NONE, MsFlags::MS_BIND | flags, NONE)
            .with_context(|| format!("cannot mount {}", at.display()))
    };
    unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS), which takes root")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some(engine), engine, NONE, MsFlags::MS_BIND, NONE)?;
    for at in ["/proc", "/sys", "/dev"] {
        bind(Path::new(at), MsFlags::MS_REC)?;
    }
    for at in shared {
        bind(at, MsFlags::empty())?;
    }
    std::env::set_current_dir(engine)?;
    // The old root lies on the new one, and is taken away (pivot_root(2), under NOTES).
    nix::unistd::pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot leave the computer's root")?;
    std::env::set_current_dir("/").context("cannot stand in the new root")
}

/// A directory of the toolchain's: what the variable says, or its usual place.
fn home(usual: &str, variable: &str) -> Result<PathBuf> {
    if let Some(said) = std::env::var_os(variable) {
        return Ok(said.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(usual))
}

/// `PATH` with the compiler that stands beside this cargo, and the administrator's directories.
fn path() -> Result<std::ffi::OsString> {
    let cargo = std::env::var_os("CARGO").context("`cargo xtask` sets CARGO")?;
    let compiler = Path::new(&cargo).parent().map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = compiler.into_iter().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all.chain(admin))?)
}

/// Those directories that are there and lie in none of the others.
fn outermost(all: &[PathBuf]) -> Vec<PathBuf> {
    let mut sorted: Vec<_> = all.iter().filter(|dir| dir.is_dir()).collect();
    sorted.sort_unstable();
    let mut kept: Vec<PathBuf> = Vec::new();
    for dir in sorted {
        if !kept.iter().any(|outer| dir.starts_with(outer)) {
            kept.push(dir.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_another_directory_is_not_named_twice() {
        let dir = tempfile::tempdir().unwrap();
        let [outer, inner, other] = ["a", "a/target", "ab"].map(|name| dir.path().join(name));
        for made in [&inner, &other] {
            fs::create_dir_all(made).unwrap();
        }
        let absent = dir.path().join("absent");
        let all = [inner.clone(), other.clone(), outer.clone(), absent, inner];
        assert_eq!(outermost(&all), [outer, other]);
    }
}
