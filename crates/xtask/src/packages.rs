//! Debian packages that the tests and the comparison need: only what is missing is installed.
//!
//! A program is missing when neither `PATH` nor the administrator's directories hold it, so a
//! machine that has it from elsewhere is left alone and needs neither apt nor root.
//!
//! What is installed is not started: a Docker engine would put a bridge and rules into the
//! machine's own network, and the chores start their own. See [`services`].

use std::path::Path;

use anyhow::{Context, Result, bail};

mod services;
use services::Forbidden;

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// File name of the program.
    pub(crate) program: &'static str,
    /// Debian package.
    pub(crate) package: &'static str,
}

/// Shorthand for a table of needs.
pub(crate) const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// Installs the packages of those programs that are not there.
///
/// # Errors
/// When something is missing and cannot be installed; the message names the packages.
pub(crate) fn ensure_installed(needs: &[Need]) -> Result<()> {
    let missing = missing(needs, is_program);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    println!("installing Debian packages: {list}");
    if !is_program("apt-get") {
        bail!("these Debian packages are needed and apt-get is not here to install them: {list}");
    }
    let forbidden = Forbidden::by(Path::new(services::POLICY))
        .with_context(|| format!("as root run: apt-get update && apt-get install -y {list}"))?;
    let apt_get = |verb, packages: &[&str]| apt_get(&forbidden, verb, packages);
    let installed =
        apt_get("install", &missing) || (apt_get("update", &[]) && apt_get("install", &missing));
    drop(forbidden);
    if !installed {
        bail!(
            "cannot install {list} (apt-get failed, its own words are above); \
             as root run: apt-get update && apt-get install -y {list}"
        );
    }
    let still: Vec<&str> = needs
        .iter()
        .filter(|n| !is_program(n.program))
        .map(|n| n.program)
        .collect();
    if !still.is_empty() {
        bail!(
            "apt-get installed {list}, yet these programs are not on PATH: {}",
            still.join(" ")
        );
    }
    Ok(())
}

/// The packages of absent programs, each once, in the table's order.
fn missing(needs: &[Need], present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in needs {
        if !present(need.program) && !packages.contains(&need.package) {
            packages.push(need.package);
        }
    }
    packages
}

fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .any(|directory| Path::new(&directory).join(name).is_file())
}

fn apt_get(forbidden: &Forbidden, verb: &str, packages: &[&str]) -> bool {
    forbidden
        .command("apt-get")
        .args(["-qq", "-y", "--no-install-recommends", verb])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once() {
        let needs = [
            need("ip", "iproute2"),
            need("tc", "iproute2"),
            need("sh", "dash"),
        ];
        assert_eq!(missing(&needs, |name| name == "sh"), ["iproute2"]);
        assert_eq!(missing(&needs, |_| true), Vec::<&str>::new());
    }

    #[test]
    fn the_shell_is_found_and_nonsense_is_not() {
        assert!(is_program("sh"));
        assert!(!is_program("clearway-no-such-program"));
    }
}
