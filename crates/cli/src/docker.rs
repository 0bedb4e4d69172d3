//! `clearway docker`: makes the daemon a service that is there before Docker, and undoes it.
//!
//! The steps are decided by `plan` from what is `found`, and then said and done one at
//! a time; `--dry-run` only says it. Nothing is begun that cannot be ended: who may not, or has no
//! systemd, is refused before the first step. With `--prefix` the files alone are written, for an
//! image or a package, and neither root nor systemd is needed.
//!
//! The trap: whoever edits the settings owns them. They are removed only as they were written, and
//! a unit only with the mark that says by whom.

mod plan;
mod route;

use crate::failure::Failure;
use api::UplinkAdd;
use plan::{Found, Refusal, Service, Step, Wish};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The service for Docker.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum DockerCommand {
    /// Make the daemon a service that starts before Docker and serves its networks
    Install(InstallArgs),
    /// Undo what install did, and nothing else
    Uninstall(Target),
}

/// How to install.
#[derive(Debug, Clone, clap::Args)]
pub struct InstallArgs {
    /// Let containers reach the world through this NIC [default: the default route's]
    #[arg(long = "uplink", value_name = "IFNAME")]
    uplinks: Vec<String>,
    #[command(flatten)]
    place: Target,
}

/// The directory to change, and whether to change it at all.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Write files below this directory, and leave systemd alone
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

impl DockerCommand {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Install(args) => args.run(out),
            Self::Uninstall(place) => {
                place.check(None)?;
                if place.prefix.is_none() {
                    warn_of_networks()?;
                }
                let steps = plan::uninstall(&Found::look(place.root()), place.service());
                place.carry_out(&steps, out)
            }
        }
    }
}

impl InstallArgs {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        for dev in &self.uplinks {
            let checked = UplinkAdd::new(dev).check();
            checked.map_err(|error| Failure::Usage(format!("--uplink {dev}: {error}")))?;
        }
        let program = self.place.program()?;
        self.place.check(Some(&program))?;
        let root = self.place.root();
        let wish = Wish {
            program,
            named: self.uplinks.clone(),
            routed: fs::read_to_string(root.join("proc/net/route"))
                .ok()
                .and_then(|table| route::default_interface(&table)),
            service: self.place.service(),
        };
        let steps = plan::install(&Found::look(root), &wish)?;
        self.place.carry_out(&steps, out)
    }
}

impl Target {
    fn root(&self) -> &Path {
        self.prefix.as_deref().unwrap_or_else(|| Path::new("/"))
    }

    fn service(&self) -> Service {
        if self.prefix.is_some() {
            Service::Alone
        } else {
            Service::Driven
        }
    }

    /// Returns what the service runs: this program, or in a prefix the one that will be there.
    fn program(&self) -> Result<PathBuf, Failure> {
        if self.prefix.is_some() {
            return Ok(plan::PROGRAM.into());
        }
        std::env::current_exe()
            .map_err(|error| Failure::File(format!("cannot find this program: {error}")))
    }

    /// Refuses what could not be ended.
    fn check(&self, program: Option<&Path>) -> Result<(), Failure> {
        if self.dry_run || self.prefix.is_some() {
            return Ok(());
        }
        // The owner of a process's entry is its effective user.
        let root = fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
        // What sd_booted(3) looks at.
        let systemd = Path::new("/run/systemd/system").is_dir();
        Ok(plan::possible(root, systemd, program)?)
    }

    fn carry_out(&self, steps: &[Step], out: &mut dyn Write) -> Result<(), Failure> {
        for step in steps {
            writeln!(out, "{}", step.shown(self.root()))?;
            // Each line is there before what it says is done.
            out.flush()?;
            if !self.dry_run {
                act(step, self.root()).map_err(Failure::File)?;
            }
        }
        Ok(())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Several(vec![refusal.to_string()])
    }
}

impl Found {
    /// Looks at what is below `root`.
    fn look(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(plan::below(root, path)).ok();
        let there = |path: &str| plan::below(root, path).symlink_metadata().is_ok();
        let leads = |(link, unit): &(String, &'static str)| {
            fs::read_link(plan::below(root, link)).is_ok_and(|to| to == Path::new(unit))
        };
        let units = plan::UNITS.into_iter();
        Self {
            units: units
                .filter_map(|(path, _)| Some((path, text(path)?)))
                .collect(),
            packaged: plan::PACKAGED.iter().any(|path| there(path)),
            settings: text(plan::SETTINGS),
            links: plan::links()
                .into_iter()
                .filter(leads)
                .map(|(link, _)| link)
                .collect(),
            state: there(plan::STATE),
        }
    }
}

/// Does one step, or says why it cannot be done.
fn act(step: &Step, root: &Path) -> Result<(), String> {
    let failed = |what: &str, path: &Path, error: io::Error| {
        format!("cannot {what} {}: {error}", path.display())
    };
    match step {
        Step::Write { path, text } => {
            let path = plan::below(root, path);
            make_parent(&path)
                .and_then(|()| fs::write(&path, text))
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
                .map_err(|error| failed("write", &path, error))
        }
        Step::Link { path, target } => {
            let path = plan::below(root, path);
            // A link that leads elsewhere is of a unit that is no more.
            if path.is_symlink() {
                fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
            }
            make_parent(&path)
                .and_then(|()| symlink(target, &path))
                .map_err(|error| failed("make the link", &path, error))
        }
        Step::Remove { path } => {
            let path = plan::below(root, path);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
            remove_empty_above(&path, root);
            Ok(())
        }
        Step::Systemctl(words) => systemctl(words),
        Step::Keep { .. } | Step::Note(_) => Ok(()),
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Directories that held nothing else were made by install; the first that holds more ends it.
fn remove_empty_above(path: &Path, root: &Path) {
    for directory in path.ancestors().skip(1) {
        if directory == root || fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

fn systemctl(words: &[&str]) -> Result<(), String> {
    let said = words.join(" ");
    let ended = Command::new("systemctl")
        .args(words)
        .status()
        .map_err(|error| format!("cannot run systemctl: {error}"))?;
    if ended.success() {
        return Ok(());
    }
    Err(format!(
        "`systemctl {said}` ended with {ended}; `journalctl -u clearway` says more. What was done stays; `clearway docker uninstall` undoes it"
    ))
}

/// A network that outlives its driver cannot be joined any more. Docker is asked by its own
/// command line, which knows where it listens; without one there is nothing to warn of.
fn warn_of_networks() -> Result<(), Failure> {
    let asked = Command::new("docker")
        .args(["network", "ls", "--filter", "driver=clearway"])
        .args(["--format", "{{.Name}}"])
        .output();
    let Ok(answer) = asked else { return Ok(()) };
    let warning = if answer.status.success() {
        left(&String::from_utf8_lossy(&answer.stdout))
    } else {
        let why = String::from_utf8_lossy(&answer.stderr);
        let why = why.lines().next().unwrap_or_default();
        Some(format!(
            "Docker does not say whether it has networks of this driver: {why}"
        ))
    };
    if let Some(warning) = warning {
        writeln!(io::stderr(), "clearway: warning: {warning}")?;
    }
    Ok(())
}

/// The warning, from the names that Docker lists, one a line.
fn left(names: &str) -> Option<String> {
    let names: Vec<&str> = names.lines().filter(|name| !name.is_empty()).collect();
    let list = names.join(" ");
    (!names.is_empty()).then(|| {
        format!(
            "Docker still has networks of this driver, and no container on them will start: `docker network rm {list}` removes them"
        )
    })
}

#[cfg(test)]
mod tests;
