//! The steps of install and uninstall, decided from what is found, and from nothing else.
//!
//! ```text
//!                        a package's units are there   none are
//!   install    units     the package's                 written, wanted by multi-user, docker, sockets
//!              settings  NIC filled in                 written
//!   uninstall  units     the package's                 stopped, removed
//!              settings  NIC taken out                 removed
//! ```
//! A unit without our mark is somebody else's: it stops install, and uninstall keeps it. Settings that
//! somebody changed are kept either way. Settings are as they were written when they differ from the
//! packaged ones in the NICs alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The program that the service runs, unless it stands elsewhere.
pub(super) const PROGRAM: &str = "/usr/bin/clearway";
/// The units that install writes: where, and what, but for the program.
pub(super) const UNITS: [(&str, &str); 2] = [
    (
        "/etc/systemd/system/clearway.socket",
        include_str!("../../../../packaging/clearway.socket"),
    ),
    (
        "/etc/systemd/system/clearway.service",
        include_str!("../../../../packaging/clearway.service"),
    ),
];
/// A package's unit, where a distribution puts it.
pub(super) const PACKAGED: [&str; 2] = [
    "/usr/lib/systemd/system/clearway.service",
    "/lib/systemd/system/clearway.service",
];
/// The daemon's settings.
pub(super) const SETTINGS: &str = "/etc/clearway/clearway.toml";
/// The directory of the daemon's state.
pub(super) const STATE: &str = "/var/lib/clearway";

const SETTINGS_TEXT: &str = include_str!("../../../../packaging/clearway.toml");
const MARK: &str = "# Written by `clearway docker install`, removed by `clearway docker uninstall`; `systemctl edit clearway` adds to it.\n";
const NO_UPLINKS: &str = "uplinks = []";

/// The state of an installation.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Texts of those of [`UNITS`] that are there, by their paths.
    pub(super) units: BTreeMap<&'static str, String>,
    /// Whether a package brought a service.
    pub(super) packaged: bool,
    /// Text of [`SETTINGS`].
    pub(super) settings: Option<String>,
    /// Those of [`links`] that lead to their unit.
    pub(super) links: Vec<String>,
    /// Whether [`STATE`] exists.
    pub(super) state: bool,
}

/// The installation that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// The program that the service runs.
    pub(super) program: PathBuf,
    /// The NICs that were named.
    pub(super) named: Vec<String>,
    /// The default route's NIC.
    pub(super) routed: Option<String>,
    /// Whether the service manager is told.
    pub(super) service: Service,
}

/// Whether the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// It is: the service starts and stops.
    Driven,
    /// It is not: the files are not this host's.
    Alone,
}

/// One thing to do, or to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Write a file, and the directories above it.
    Write { path: String, text: String },
    /// Make a symbolic link.
    Link { path: String, target: &'static str },
    /// Remove a file or link, and directories that are empty then.
    Remove { path: String },
    /// Call systemctl.
    Systemctl(&'static [&'static str]),
    /// Leave a file as it is.
    Keep { path: &'static str, why: String },
    /// Only say it.
    Note(String),
}

/// Why nothing was begun.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "writing to /etc and starting a service takes root: run it with sudo, or with --prefix DIR to write the files elsewhere"
    )]
    NotRoot,
    #[error(
        "systemd does not run here (there is no /run/systemd/system), so no service can be started: run `clearway daemon --docker` before Docker starts, or use --prefix DIR to write the files alone"
    )]
    NoSystemd,
    #[error(
        "a service's program stands below /usr or /opt, and this is {}: `install -m 755 {} /usr/bin/clearway` and run that one",
        .0.display(), .0.display()
    )]
    Elsewhere(PathBuf),
    #[error("{0} was not written by `clearway docker install`; move it away first")]
    ForeignUnit(&'static str),
}

impl Step {
    /// The line that says it.
    pub(super) fn shown(&self, root: &Path) -> String {
        let at = |path: &str| below(root, path).display().to_string();
        match self {
            Self::Write { path, .. } => format!("write {}", at(path)),
            Self::Link { path, target } => format!("link {} to {target}", at(path)),
            Self::Remove { path } => format!("remove {}", at(path)),
            Self::Systemctl(words) => format!("run systemctl {}", words.join(" ")),
            Self::Keep { path, why } => format!("keep {}: {why}", at(path)),
            Self::Note(text) => text.clone(),
        }
    }

    fn changes(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Link { .. } | Self::Remove { .. } | Self::Systemctl(_) => {
                true
            }
            Self::Keep { .. } | Self::Note(_) => false,
        }
    }
}

/// `path`, which begins with a slash, in the tree whose root is `root`.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Returns what `systemctl enable` would make: a link for each unit that wants one of these, and its target.
pub(super) fn links() -> Vec<(String, &'static str)> {
    UNITS.into_iter().flat_map(links_to).collect()
}

fn links_to((path, text): (&'static str, &str)) -> Vec<(String, &'static str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let wanted = text.lines().filter_map(|l| l.strip_prefix("WantedBy="));
    let link = |by: &str| (format!("/etc/systemd/system/{by}.wants/{name}"), path);
    wanted.flat_map(str::split_whitespace).map(link).collect()
}

/// Returns whether the service manager can be told, and the service find `program`.
///
/// # Errors
/// A [`Refusal`] that says what is missing and what does without it.
pub(super) fn possible(root: bool, systemd: bool, program: Option<&Path>) -> Result<(), Refusal> {
    if !root {
        return Err(Refusal::NotRoot);
    }
    if !systemd {
        return Err(Refusal::NoSystemd);
    }
    match program {
        Some(program) if !["/usr", "/opt"].iter().any(|dir| program.starts_with(dir)) => {
            Err(Refusal::Elsewhere(program.to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The steps of install.
///
/// # Errors
/// [`Refusal::ForeignUnit`].
pub(super) fn install(found: &Found, wish: &Wish) -> Result<Vec<Step>, Refusal> {
    let mut steps = if found.packaged {
        // One of ours from before the package would win over the package's.
        let mut steps = remove_units(found, Service::Alone);
        steps.push(Step::Note("the service is a package's".to_owned()));
        steps
    } else {
        write_units(found, &wish.program)?
    };
    steps.extend(write_settings(found.settings.as_deref(), wish));
    if wish.service == Service::Driven {
        if steps.iter().any(Step::changes) {
            steps.push(Step::Systemctl(&["daemon-reload"]));
            steps.push(Step::Systemctl(&["restart", "clearway.service"]));
        } else {
            steps.push(Step::Systemctl(&["start", "clearway.service"]));
        }
    }
    Ok(steps)
}

/// The steps of uninstall.
pub(super) fn uninstall(found: &Found, service: Service) -> Vec<Step> {
    let mut steps = remove_units(found, service);
    steps.extend(remove_settings(found));
    if !steps.iter().any(Step::changes) {
        steps.push(Step::Note("there is nothing to undo".to_owned()));
        return steps;
    }
    if service == Service::Driven {
        steps.push(Step::Systemctl(&["daemon-reload"]));
        if found.packaged {
            steps.push(Step::Systemctl(&["restart", "clearway.service"]));
        }
    }
    if found.state {
        steps.push(Step::Keep {
            path: STATE,
            why: "the networks that the daemon remembers".to_owned(),
        });
    }
    steps
}

fn write_units(found: &Found, program: &Path) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    for unit in UNITS {
        let (path, text) = unit;
        let text = MARK.to_owned() + &text.replace(PROGRAM, &program.display().to_string());
        steps.push(match found.units.get(path) {
            Some(there) if *there == text => Step::Keep {
                path,
                why: AS_IT_SHOULD_BE.to_owned(),
            },
            Some(there) if !there.starts_with(MARK) => return Err(Refusal::ForeignUnit(path)),
            Some(_) | None => Step::Write {
                path: path.to_owned(),
                text,
            },
        });
        let missing = links_to(unit)
            .into_iter()
            .filter(|(link, _)| !found.links.contains(link));
        steps.extend(missing.map(|(path, target)| Step::Link { path, target }));
    }
    Ok(steps)
}

fn remove_units(found: &Found, service: Service) -> Vec<Step> {
    let mut steps = Vec::new();
    for unit in UNITS {
        let path = unit.0;
        match found.units.get(path) {
            None => {}
            Some(text) if !text.starts_with(MARK) => steps.push(Step::Keep {
                path,
                why: "not written by `clearway docker install`".to_owned(),
            }),
            Some(_) => {
                let links = links_to(unit).into_iter().map(|(link, _)| link);
                let there = links.filter(|link| found.links.contains(link));
                let gone = there.chain([path.to_owned()]);
                steps.extend(gone.map(|path| Step::Remove { path }));
            }
        }
    }
    if service == Service::Driven && steps.iter().any(Step::changes) {
        let stop = Step::Systemctl(&["stop", "clearway.socket", "clearway.service"]);
        steps.insert(0, stop);
    }
    steps
}

fn write_settings(there: Option<&str>, wish: &Wish) -> Vec<Step> {
    let uplinks: Vec<&String> = if wish.named.is_empty() {
        wish.routed.iter().collect()
    } else {
        wish.named.iter().collect()
    };
    let text = settings(&uplinks);
    let keep = |why: String| Step::Keep {
        path: SETTINGS,
        why,
    };
    let write = Step::Write {
        path: SETTINGS.to_owned(),
        text: text.clone(),
    };
    match there {
        Some(there) if there == text => vec![keep(AS_IT_SHOULD_BE.to_owned())],
        Some(there) if !as_written(there) => vec![keep(format!(
            "changed by hand; it needs `docker = true` and `{}`",
            line(&uplinks)
        ))],
        // A NIC that somebody chose is changed by who names another.
        Some(there) if wish.named.is_empty() && !there.contains(NO_UPLINKS) => {
            vec![keep("it names its uplinks".to_owned())]
        }
        Some(_) | None if uplinks.is_empty() => vec![
            write,
            Step::Note(
                "there is no default route: containers reach the world after `clearway uplink add IFNAME`"
                    .to_owned(),
            ),
        ],
        Some(_) | None => vec![write],
    }
}

fn remove_settings(found: &Found) -> Option<Step> {
    let there = found.settings.as_deref()?;
    let path = SETTINGS.to_owned();
    if !as_written(there) {
        return Some(Step::Keep {
            path: SETTINGS,
            why: "changed by hand".to_owned(),
        });
    }
    if !found.packaged {
        return Some(Step::Remove { path });
    }
    (there != SETTINGS_TEXT).then(|| Step::Write {
        path,
        text: SETTINGS_TEXT.to_owned(),
    })
}

/// The packaged settings with these NICs.
fn settings(uplinks: &[&String]) -> String {
    SETTINGS_TEXT.replace(NO_UPLINKS, &line(uplinks))
}

fn line(uplinks: &[&String]) -> String {
    let quoted: Vec<String> = uplinks.iter().map(|dev| format!("{dev:?}")).collect();
    format!("uplinks = [{}]", quoted.join(", "))
}

fn as_written(text: &str) -> bool {
    without_uplinks(text).eq(without_uplinks(SETTINGS_TEXT))
}

fn without_uplinks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("uplinks = "))
}

const AS_IT_SHOULD_BE: &str = "it is as it should be";

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            program: PROGRAM.into(),
            named: Vec::new(),
            routed: Some("eth0".into()),
            service: Service::Driven,
        }
    }

    /// Returns what is there after `steps`.
    fn after(mut found: Found, steps: &[Step]) -> Found {
        for step in steps {
            let (path, text) = match step {
                Step::Write { path, text } => (path.as_str(), Some(text.clone())),
                Step::Link { path, .. } => (path.as_str(), Some(String::new())),
                Step::Remove { path } => (path.as_str(), None),
                Step::Systemctl(_) | Step::Keep { .. } | Step::Note(_) => continue,
            };
            let unit = UNITS.into_iter().find(|(unit, _)| *unit == path);
            match (path, unit, text) {
                (_, Some((unit, _)), Some(text)) => drop(found.units.insert(unit, text)),
                (_, Some((unit, _)), None) => drop(found.units.remove(unit)),
                (SETTINGS, None, text) => found.settings = text,
                (link, None, Some(_)) => found.links.push(link.to_owned()),
                (link, None, None) => found.links.retain(|there| there != link),
            }
        }
        found
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| step.shown(Path::new("/")))
            .collect()
    }

    #[test]
    fn a_bare_host_gets_units_links_and_settings() {
        let steps = install(&Found::default(), &wish()).unwrap();
        assert_eq!(
            shown(&steps),
            [
                "write /etc/systemd/system/clearway.socket",
                "link /etc/systemd/system/sockets.target.wants/clearway.socket to /etc/systemd/system/clearway.socket",
                "write /etc/systemd/system/clearway.service",
                "link /etc/systemd/system/multi-user.target.wants/clearway.service to /etc/systemd/system/clearway.service",
                "link /etc/systemd/system/docker.service.wants/clearway.service to /etc/systemd/system/clearway.service",
                "write /etc/clearway/clearway.toml",
                "run systemctl daemon-reload",
                "run systemctl restart clearway.service",
            ]
        );
        let found = after(Found::default(), &steps);
        assert!(
            found
                .settings
                .as_ref()
                .unwrap()
                .ends_with("\nuplinks = [\"eth0\"]\n")
        );
        let again = install(&found, &wish()).unwrap();
        assert_eq!(
            shown(&again),
            [
                "keep /etc/systemd/system/clearway.socket: it is as it should be",
                "keep /etc/systemd/system/clearway.service: it is as it should be",
                "keep /etc/clearway/clearway.toml: it is as it should be",
                "run systemctl start clearway.service",
            ]
        );
        assert_eq!(
            shown(&uninstall(&found, Service::Driven)),
            [
                "run systemctl stop clearway.socket clearway.service",
                "remove /etc/systemd/system/sockets.target.wants/clearway.socket",
                "remove /etc/systemd/system/clearway.socket",
                "remove /etc/systemd/system/multi-user.target.wants/clearway.service",
                "remove /etc/systemd/system/docker.service.wants/clearway.service",
                "remove /etc/systemd/system/clearway.service",
                "remove /etc/clearway/clearway.toml",
                "run systemctl daemon-reload",
            ]
        );
    }

    #[test]
    fn a_package_keeps_its_unit_and_gets_its_settings_back() {
        let packaged = Found {
            packaged: true,
            settings: Some(SETTINGS_TEXT.to_owned()),
            state: true,
            ..Found::default()
        };
        let steps = install(&packaged, &wish()).unwrap();
        assert_eq!(
            shown(&steps)[..2],
            [
                "the service is a package's",
                "write /etc/clearway/clearway.toml"
            ]
        );
        let installed = after(packaged.clone(), &steps);
        let undo = uninstall(&installed, Service::Driven);
        assert_eq!(
            shown(&undo),
            [
                "write /etc/clearway/clearway.toml",
                "run systemctl daemon-reload",
                "run systemctl restart clearway.service",
                "keep /var/lib/clearway: the networks that the daemon remembers",
            ]
        );
        let undone = after(installed, &undo);
        assert_eq!(undone.settings, packaged.settings);
        assert_eq!(
            shown(&uninstall(&undone, Service::Driven)),
            ["there is nothing to undo"]
        );
    }

    #[test]
    fn a_package_that_comes_later_wins() {
        let ours = after(
            Found::default(),
            &install(&Found::default(), &wish()).unwrap(),
        );
        let both = Found {
            packaged: true,
            ..ours
        };
        let found = after(both.clone(), &install(&both, &wish()).unwrap());
        assert_eq!((found.units, found.links), Default::default());
        assert_eq!(found.settings, both.settings);
    }

    #[test]
    fn what_somebody_else_wrote_is_kept() {
        let unit = Found {
            units: [(UNITS[1].0, "[Unit]\n".to_owned())].into(),
            ..Found::default()
        };
        assert_eq!(
            install(&unit, &wish()),
            Err(Refusal::ForeignUnit(UNITS[1].0))
        );
        assert_eq!(
            shown(&uninstall(&unit, Service::Driven)),
            [
                "keep /etc/systemd/system/clearway.service: not written by `clearway docker install`",
                "there is nothing to undo"
            ]
        );
        let edited = Found {
            settings: Some("docker = false\n".to_owned()),
            ..Found::default()
        };
        let kept = "keep /etc/clearway/clearway.toml: changed by hand";
        assert!(
            shown(&install(&edited, &wish()).unwrap()).contains(&format!(
                "{kept}; it needs `docker = true` and `uplinks = [\"eth0\"]`"
            ))
        );
        assert_eq!(shown(&uninstall(&edited, Service::Driven))[0], kept);
    }

    #[test]
    fn what_cannot_be_done_is_refused_before_it_is_begun() {
        let usr = Path::new(PROGRAM);
        let said = |root, systemd, program| {
            possible(root, systemd, program).map_err(|refusal| refusal.to_string())
        };
        assert!(
            said(false, true, Some(usr))
                .unwrap_err()
                .contains("takes root")
        );
        assert!(
            said(true, false, None)
                .unwrap_err()
                .contains("systemd does not run here")
        );
        assert_eq!(
            said(true, true, Some(Path::new("/home/ann/clearway"))).unwrap_err(),
            "a service's program stands below /usr or /opt, and this is /home/ann/clearway: \
             `install -m 755 /home/ann/clearway /usr/bin/clearway` and run that one"
        );
        assert_eq!(said(true, true, Some(usr)), Ok(()));
    }

    #[test]
    fn a_chosen_uplink_stays_until_another_is_named() {
        let found = Found {
            settings: Some(settings(&[&"wlan0".to_owned()])),
            ..Found::default()
        };
        let settings_after = |wish: &Wish| {
            after(found.clone(), &install(&found, wish).unwrap())
                .settings
                .unwrap()
        };
        assert!(settings_after(&wish()).contains("[\"wlan0\"]"));
        let named = Wish {
            named: vec!["eth1".into(), "eth2".into()],
            ..wish()
        };
        assert!(settings_after(&named).contains("uplinks = [\"eth1\", \"eth2\"]"));
    }

    #[test]
    fn without_a_default_route_the_way_to_one_is_told() {
        let nowhere = Wish {
            routed: None,
            ..wish()
        };
        let steps = install(&Found::default(), &nowhere).unwrap();
        assert!(
            shown(&steps)
                .iter()
                .any(|line| line.contains("clearway uplink add"))
        );
        assert_eq!(
            after(Found::default(), &steps).settings.as_deref(),
            Some(SETTINGS_TEXT)
        );
    }

    #[test]
    fn the_unit_runs_the_program_where_it_stands_and_an_older_one_is_replaced() {
        let local = Wish {
            program: "/usr/local/bin/clearway".into(),
            ..wish()
        };
        let older = Found {
            units: [(UNITS[1].0, MARK.to_owned() + "[Unit]\n")].into(),
            ..Found::default()
        };
        let found = after(older.clone(), &install(&older, &local).unwrap());
        let unit = &found.units[UNITS[1].0];
        assert!(unit.contains("\nExecStart=/usr/local/bin/clearway daemon --config "));
        assert!(unit.contains("\nBefore=docker.service\n") && unit.contains("\nType=notify\n"));
    }
}
