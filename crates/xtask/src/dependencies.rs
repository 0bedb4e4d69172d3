//! Rules about dependencies: which may be there, and which of them in the binary.
//!
//! * None asks for a newer Rust than `rust-version` promises. Only one toolchain is at hand, so this
//!   is read from `cargo metadata`; clippy's `incompatible_msrv` looks at what our own code calls.
//! * Each comes from crates.io under a licence that `deny.toml` allows. This is the part of
//!   cargo-deny that needs no program to be built first; where cargo-deny is installed, it runs, too.
//! * What only tests need is no part of the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{cargo, must_succeed};

/// Packages that stand in dev-dependencies alone.
const FOR_TESTS: &[&str] = &[
    "clearway-sim",
    "criterion",
    "dhcproto",
    "loom",
    "pnet",
    "proptest",
    "smoltcp",
    "tun-tap",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// `None` for a member of the workspace.
    source: Option<String>,
    rust_version: Option<String>,
    license: Option<String>,
}

/// The part of `deny.toml` that is read.
#[derive(Deserialize)]
struct Allowed {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks versions of Rust, sources, licences, and the binary's dependencies.
///
/// # Errors
/// With every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let metadata = ["metadata", "--locked", "--format-version=1"];
    let linux = ["--filter-platform=x86_64-unknown-linux-gnu"];
    let metadata = output(cargo(root, &[&metadata[..], &linux].concat()))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo metadata printed something else")?;
    let tree = ["tree", "--locked", "--package=clearway", "--edges=normal"];
    let tree = output(cargo(root, &[&tree[..], &["--prefix=none"]].concat()))?;
    let allowed = fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let allowed: Allowed = toml::from_str(&allowed).context("deny.toml cannot be read")?;
    let mut findings = too_new(&metadata.packages)?;
    findings.extend(foreign(&metadata.packages, &allowed.licenses.allow));
    findings.extend(for_tests(&tree));
    ensure!(findings.is_empty(), "{}", findings.join("; "));
    Ok(())
}

/// Runs cargo-deny where it is installed, and says so where not.
///
/// Advisories are checked where there is a database of them (`cargo deny fetch`): to fetch one takes
/// a server that a test machine may not reach.
///
/// # Errors
/// When cargo-deny objects.
pub(crate) fn deny(root: &Path) -> Result<()> {
    let home = cargo_home()?;
    let Some(program) = find("cargo-deny", &home) else {
        println!("SKIPPED, advisories too: `cargo install --locked cargo-deny` installs it");
        return Ok(());
    };
    let check = |offline: &[&str], what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root).arg("--locked").args(offline);
        command.arg("check").args(what);
        must_succeed(command)
    };
    check(&[], &["licenses", "bans", "sources"])?;
    let databases = home.join("advisory-dbs");
    let is_there = fs::read_dir(&databases)
        .is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())));
    if is_there {
        return check(&["--offline"], &["advisories"]);
    }
    let databases = databases.display();
    println!("advisories: SKIPPED, no database in {databases}; `cargo deny fetch` gets one");
    Ok(())
}

fn find(program: &str, cargo_home: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([cargo_home.join("bin")]);
    let mut programs = places.map(|at| at.join(program));
    programs.find(|program| program.is_file())
}

fn cargo_home() -> Result<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(home)
        .context("neither CARGO_HOME nor HOME is set")
}

/// Finds packages that need a newer Rust than a member of the workspace promises.
fn too_new(packages: &[Package]) -> Result<Vec<String>> {
    let mut promised = [u32::MAX; 3];
    for member in packages.iter().filter(|package| package.source.is_none()) {
        let own = member.rust_version.as_deref();
        let own = own.with_context(|| format!("{} has no rust-version", member.name))?;
        promised = promised.min(version(own)?);
    }
    let mut findings = Vec::new();
    for Package {
        name, rust_version, ..
    } in packages
    {
        if let Some(needed) = rust_version
            && version(needed)? > promised
        {
            let [major, minor, _] = promised;
            findings.push(format!(
                "{name} needs Rust {needed}; ours is {major}.{minor}"
            ));
        }
    }
    Ok(findings)
}

/// Finds packages that are not from crates.io, or under no allowed licence.
fn foreign(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(source) = &package.source else {
            continue;
        };
        let name = &package.name;
        if source != CRATES_IO {
            findings.push(format!("{name} comes from {source}, not from crates.io"));
        }
        let licence = package.license.as_deref().unwrap_or("none");
        if !is_allowed(licence, allowed) {
            findings.push(format!(
                "{name}: deny.toml does not allow its licence, {licence}"
            ));
        }
    }
    findings
}

/// Returns whether an SPDX expression can be met with these licences. Every `AND` is read as binding last,
/// which refuses some that could be met and accepts none that cannot.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    let is_met = |licence: &str| allowed.iter().any(|one| one == licence.trim());
    let mut parts = plain.split(" AND ");
    parts.all(|part| part.split(" OR ").any(is_met))
}

fn version(text: &str) -> Result<[u32; 3]> {
    let mut version = [0; 3];
    for (part, digits) in version.iter_mut().zip(text.split('.')) {
        let read = digits.parse();
        *part = read.with_context(|| format!("`{text}` is no version of Rust"))?;
    }
    Ok(version)
}

/// Finds packages in the binary's tree, one a line, that only tests need.
fn for_tests(tree: &str) -> Vec<String> {
    let named = |line: &str| line.split(' ').next().map(ToOwned::to_owned);
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(named)
        .filter(|name| FOR_TESTS.contains(&name.as_str()))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .iter()
        .map(|name| format!("{name} is part of the binary; only tests need it"))
        .collect()
}

fn output(mut command: Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{shown} printed no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, source: Option<&str>, rust_version: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            source: source.map(ToOwned::to_owned),
            rust_version: rust_version.map(ToOwned::to_owned),
            license: None,
        }
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_named() {
        let registry = Some("registry");
        let packages = [
            package("ours", None, Some("1.91")),
            package("old", registry, None),
            package("as-old", registry, Some("1.91.0")),
            package("new", registry, Some("1.91.1")),
        ];
        let findings = too_new(&packages).unwrap();
        assert_eq!(findings, ["new needs Rust 1.91.1; ours is 1.91"]);
        assert!(too_new(&[package("ours", None, None)]).is_err());
        assert!(too_new(&[package("ours", None, Some("new"))]).is_err());
    }

    #[test]
    fn sources_and_licences_are_held_against_what_is_allowed() {
        let allowed = ["MIT", "ISC"].map(ToOwned::to_owned);
        for (licence, is_right) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("(MIT OR Apache-2.0) AND ISC", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", false),
        ] {
            let package = Package {
                license: Some(licence.to_owned()),
                ..package("it", Some(CRATES_IO), None)
            };
            assert_eq!(
                foreign(&[package], &allowed).is_empty(),
                is_right,
                "{licence}"
            );
        }
        let git = Package {
            license: Some("MIT".to_owned()),
            ..package("it", Some("git+https://example.net/it"), None)
        };
        assert_eq!(foreign(&[git], &allowed).len(), 1);
        assert_eq!(
            foreign(&[package("it", Some(CRATES_IO), None)], &allowed).len(),
            1
        );
        assert!(foreign(&[package("ours", None, None)], &allowed).is_empty());
    }

    #[test]
    fn what_only_tests_need_is_found_in_the_binary() {
        let tree = [
            "clearway v0.1.0 (/x)",
            "smoltcp v0.14.0",
            "serde v1.0.0",
            "smoltcp v0.14.0 (*)",
        ];
        let findings = for_tests(&tree.join("\n"));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("smoltcp "), "{findings:?}");
    }
}
