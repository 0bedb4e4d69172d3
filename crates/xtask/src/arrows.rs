//! `cargo xtask arrows`: the rules of ARCHITECTURE.md that the compiler does not know.
//!
//! Three parts, and one table. `graph` compares what `cargo metadata` says with the allowed arrows
//! between crates, `modules` does the same for the modules of each crate, and `source` says what may
//! stand in a file. The last two read Rust as tokens (`syntax`), so that a word in a comment or a
//! string is no finding, and `#[cfg(test)]` items are told from the rest.

mod graph;
mod modules;
mod source;
mod syntax;
mod table;

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Checks everything and prints every finding before it fails.
///
/// # Errors
/// When a rule is broken, or a file or `cargo metadata` cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = graph::workspace_packages(root)?;
    let mut findings = graph::check(&packages);
    let mut files = 0;
    for package in &packages {
        let kind = graph::rule_for(&package.name).map(|rule| rule.kind);
        for path in source::rust_files(&package.directory)? {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let inside = path.strip_prefix(&package.directory).unwrap_or(&path);
            let shown = path.strip_prefix(root).unwrap_or(&path);
            findings.extend(
                source::check(inside, &text, kind)
                    .into_iter()
                    .map(|finding| format!("{}{finding}", shown.display())),
            );
            files += 1;
        }
        for root in ["src/lib.rs", "src/main.rs"] {
            let root = package.directory.join(root);
            if root.exists() {
                let tree = modules::Tree::read(&root)?;
                findings.extend(modules::check(&package.name, &tree));
            }
        }
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!(
            "{} finding(s); the rules are in ARCHITECTURE.md",
            findings.len()
        );
    }
    println!(
        "arrows: {} crates and {files} files keep the rules",
        packages.len()
    );
    Ok(())
}
