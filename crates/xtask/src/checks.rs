//! Checks that run no test. None of them needs root, and nothing is installed.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{arrows, cargo, dependencies, must_succeed, step};

/// Runs the checks, the quick ones first, and stops at the first that fails.
///
/// # Errors
/// When a check fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    step("cargo fmt --check", || {
        must_succeed(cargo(root, &["fmt", "--all", "--check"])).context("`cargo fmt` puts it right")
    })?;
    step("dependencies", || dependencies::run(root))?;
    step("cargo clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--locked"];
        must_succeed(cargo(
            root,
            &[&lint[..], &["--", "-D", "warnings"]].concat(),
        ))
    })?;
    step("arrows", || arrows::run(root))?;
    step("cargo doc", || {
        let mut doc = cargo(root, &["doc", "--workspace", "--no-deps", "--locked"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        must_succeed(doc)
    })?;
    step("cargo deny", || dependencies::deny(root))
}
