//! The program that is tested.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `clearway` binary of the profile these tests are built with, built once.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "clearway"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(
            build.status().expect("cargo runs").success(),
            "the binary builds"
        );
        let test = std::env::current_exe().expect("a test knows its own file");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("a test lies in PROFILE/deps");
        profile.join("clearway")
    })
}
