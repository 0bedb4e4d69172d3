//! `cargo xtask package`: what a distribution's package is made of, and the Debian package itself.
//!
//! The binary writes its own manual pages and completions, so they cannot tell of another version.
//! They stand in `target/package` of the workspace, wherever cargo builds, because the Debian
//! package's list of files (`package.metadata.deb` in `crates/clearway/Cargo.toml`) names them there.

pub(crate) mod plugin;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{cargo, must_succeed, target_directory};

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the manual pages and completions.
    #[arg(long)]
    documents_only: bool,
}

/// Writes the documents, and builds the Debian package where cargo-deb is installed.
///
/// # Errors
/// When something cannot be built or written.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let program = release(root)?;
    let directory = root.join("target/package");
    documents(&program, &directory)?;
    println!("manual pages and completions: {}", directory.display());
    if options.documents_only {
        return Ok(());
    }
    if !has_cargo_deb(root) {
        println!("no Debian package without cargo-deb: `cargo install cargo-deb`, then again");
        return Ok(());
    }
    let output = directory.display().to_string();
    let deb = [
        "deb",
        "--package",
        "clearway",
        "--no-build",
        "--strip",
        "--output",
    ];
    must_succeed(cargo(root, &[&deb[..], &[&output]].concat()))
}

/// Builds the binary as users have it, and answers where it is.
pub(crate) fn release(root: &Path) -> Result<PathBuf> {
    let build = ["build", "--release", "--locked", "--package", "clearway"];
    must_succeed(cargo(root, &build))?;
    Ok(target_directory(root).join("release/clearway"))
}

/// Has `program` write its manual pages and completions, in place of those of before.
fn documents(program: &Path, directory: &Path) -> Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for made in [&man, &completions] {
        match fs::remove_dir_all(made) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(made),
        }
        .with_context(|| format!("cannot make {}", made.display()))?;
    }
    let mut pages = Command::new(program);
    pages.arg("man").arg(&man);
    must_succeed(pages)?;
    for (shell, file) in COMPLETIONS {
        let script = Command::new(program)
            .args(["completions", shell])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(
            script.status.success(),
            "{} completions {shell} ended with {}",
            program.display(),
            script.status
        );
        let path = completions.join(file);
        fs::write(&path, script.stdout)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A shell, and the file name under which it finds its script.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "clearway"),
    ("zsh", "_clearway"),
    ("fish", "clearway.fish"),
];

fn has_cargo_deb(root: &Path) -> bool {
    cargo(root, &["deb", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
