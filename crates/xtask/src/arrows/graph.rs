//! Who depends on whom, from `cargo metadata`, against the table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::table::{IMPURE_PACKAGES, Kind, RULES, Rule};

/// One workspace member as `cargo metadata` sees it.
#[derive(Debug)]
pub(super) struct Package {
    /// Package name, as in its manifest.
    pub(super) name: String,
    /// The directory of its manifest.
    pub(super) directory: PathBuf,
    /// What its manifest names, in any section.
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Present for a dependency inside the workspace.
    path: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

/// The members of the workspace at `root`.
///
/// # Errors
/// When cargo cannot be run or its answer cannot be read.
pub(super) fn workspace_packages(root: &Path) -> Result<Vec<Package>> {
    let output = crate::cargo(root, &["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")?;
    Ok(metadata.packages.into_iter().map(Package::from).collect())
}

impl From<RawPackage> for Package {
    fn from(raw: RawPackage) -> Self {
        let directory = raw
            .manifest_path
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .to_path_buf();
        Self {
            name: raw.name,
            directory,
            dependencies: raw.dependencies,
        }
    }
}

/// The table's row for a package.
pub(super) fn rule_for(package: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.package == package)
}

/// Every dependency that the table does not allow, and every row without a crate or the reverse.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for rule in RULES {
        if !packages.iter().any(|package| package.name == rule.package) {
            findings.push(format!(
                "{}: has a row in the table but is no crate",
                rule.package
            ));
        }
    }
    for package in packages {
        let Some(rule) = rule_for(&package.name) else {
            findings.push(format!(
                "{}: has no row in the table of arrows",
                package.name
            ));
            continue;
        };
        findings.extend(
            package
                .dependencies
                .iter()
                .filter_map(|dependency| objection(rule, dependency))
                .map(|objection| format!("{}: {objection}", package.name)),
        );
    }
    findings
}

fn objection(rule: &Rule, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let in_workspace = dependency.path.is_some();
    let dev = dependency.kind.as_deref() == Some("dev");
    if rule.never.contains(&name) {
        return Some(format!(
            "must never see {name}, not even in dev-dependencies"
        ));
    }
    if dev {
        return None;
    }
    if in_workspace && !rule.may_use.contains(&name) {
        return Some(format!(
            "may not depend on {name} (allowed: {:?})",
            rule.may_use
        ));
    }
    if !in_workspace && rule.kind == Kind::Pure && IMPURE_PACKAGES.contains(&name) {
        return Some(format!(
            "is pure and may not depend on {name}, which does I/O"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|&(name, kind, inside)| Dependency {
                name: name.to_owned(),
                kind: kind.map(str::to_owned),
                path: inside.then(|| "somewhere".to_owned()),
            })
            .collect();
        Package {
            name: name.to_owned(),
            directory: PathBuf::new(),
            dependencies,
        }
    }

    fn objections(package: &Package) -> Vec<String> {
        let rule = rule_for(&package.name).unwrap();
        package
            .dependencies
            .iter()
            .filter_map(|d| objection(rule, d))
            .collect()
    }

    #[test]
    fn an_arrow_in_the_table_is_allowed() {
        let switch = package("clearway-switch", &[("clearway-wire", None, true)]);
        assert_eq!(objections(&switch), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_against_the_table_is_found() {
        let wire = package("clearway-wire", &[("clearway-pipeline", None, true)]);
        assert_eq!(objections(&wire).len(), 1);
    }

    #[test]
    fn dev_dependencies_are_free_but_switch_and_nat_never_meet() {
        let switch = package(
            "clearway-switch",
            &[
                ("clearway-sim", Some("dev"), true),
                ("clearway-nat", Some("dev"), true),
            ],
        );
        let found = objections(&switch);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("clearway-nat"));
        let nat = package("clearway-nat", &[("clearway-switch", Some("dev"), true)]);
        assert_eq!(objections(&nat).len(), 1);
    }

    #[test]
    fn a_pure_crate_takes_no_package_that_does_io() {
        let control = package(
            "clearway-control",
            &[("tokio", None, false), ("ipnet", None, false)],
        );
        assert_eq!(objections(&control).len(), 1);
    }

    #[test]
    fn an_unknown_crate_is_found() {
        let findings = check(&[package("clearway-common", &[])]);
        assert!(
            findings
                .iter()
                .any(|f| f.starts_with("clearway-common: has no row"))
        );
    }

    #[test]
    fn the_table_itself_has_no_cycle_and_no_stranger() {
        // Each pass removes the crates whose arrows all lead to removed ones.
        let mut left: Vec<&Rule> = RULES.iter().collect();
        while !left.is_empty() {
            let names: Vec<&str> = left.iter().map(|rule| rule.package).collect();
            let before = left.len();
            left.retain(|rule| rule.may_use.iter().any(|used| names.contains(used)));
            assert!(left.len() < before, "cycle among {names:?}");
        }
        for rule in RULES {
            for used in rule.may_use {
                assert!(rule_for(used).is_some(), "{used} has no row");
            }
        }
    }
}
