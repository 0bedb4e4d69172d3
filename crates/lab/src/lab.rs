//! The lab from its first word to its exit code.
//!
//! ```text
//!   become root ─> daemon, network, containers ─> scenes, one after the other ─> [--keep: Ctrl-C]
//!        │                     │                          │                              │
//!        └── a sentence, 1 <───┘     a failed check, go on┘          cleanup scene, summary, 0 | 1
//! ```

use crate::Args;
use crate::container::{CAST, Container, LAB, SHOP};
use crate::finding::{Check, Finding, Kept, KeptContainer, Machine, Report, SceneReport};
use crate::interrupt::Interrupt;
use crate::outside::{HOST, Outside, PUBLISHED, SERVED, WORLD};
use crate::running::Slot;
use crate::scenes::{CLEANUP, INSIDE, OUTSIDE, Scene};
use crate::screen::Screen;
use crate::{render, rootless};
use anyhow::{Context, Result};
use api::Client;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Instant;
use testbed::Namespace;
use testbed::traffic::tcp_meet;

/// Plays every scene, shows what was found out and takes everything away again.
///
/// It must be called while the process has one thread: without root it moves into a user
/// namespace. The exit code is 0 when every check held, 1 when one did not or the lab could not
/// run; a signal ends the process with 130 once everything is taken away.
#[must_use = "the exit code says whether every check held"]
pub fn run(args: &Args) -> ExitCode {
    let screen = Screen::new(args.json);
    let begin = Instant::now();
    let mut report = Report::new(machine());
    if let Err(error) = play(args, screen, begin, &mut report) {
        report.error = Some(format!("{error:#}"));
    }
    close(&mut report, begin);
    if report.kept.is_none() {
        publish(&report, args, screen);
    } else {
        // The document, or the summary, was published before the wait for Ctrl-C.
        screen.show(&render::last_word(&report, screen.style));
        if args.json && !report.ok {
            screen.complain("clearway lab: taking it down failed");
        }
    }
    if let Some(error) = &report.error {
        screen.complain(&format!("clearway lab: {error}"));
    }
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(args: &Args, screen: Screen, begin: Instant, report: &mut Report) -> Result<()> {
    report.machine.rootless = rootless::become_root()?;
    screen.show(&render::header(report, screen.style));
    let slot = Slot::default();
    let interrupt = Interrupt::watch({
        let slot = slot.clone();
        move |code| {
            screen.complain("clearway lab: interrupted, cleaning up");
            slot.end(code)
        }
    })?;
    let stage = Stage::build(*args, screen, slot, &report.machine)?;
    for scene in &INSIDE {
        perform(scene, &stage, report);
    }
    if stage.outside.get().is_some() {
        for scene in &OUTSIDE {
            perform(scene, &stage, report);
        }
    }
    if args.keep {
        // So that `nat ls` has something to show.
        let ann = &stage.container("ann").namespace;
        let _standing = stage
            .outside()
            .and_then(|outside| tcp_meet(&outside.world, ann, WORLD[0].into()));
        report.kept = Some(stage.kept());
        close(report, begin);
        publish(report, args, screen);
        interrupt.wait();
    }
    perform(&CLEANUP, &stage, report);
    Ok(())
}

/// Everything a scene works with. Dropping it, by a panic too, takes the daemon away.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The command line.
    pub(crate) args: Args,
    /// The daemon.
    pub(crate) client: Client,
    /// Where the daemon is kept.
    pub(crate) slot: Slot,
    /// Why measurements say little here.
    pub(crate) busy: Option<String>,
    /// Whether the lab is root in a user namespace only.
    pub(crate) rootless: bool,
    /// The namespace that the daemon runs in.
    pub(crate) host: Namespace,
    outside: OnceCell<Outside>,
    screen: Screen,
    cast: Vec<Container>,
}

impl Stage {
    fn build(args: Args, screen: Screen, slot: Slot, machine: &Machine) -> Result<Self> {
        screen.progress("starting the daemon");
        let (client, host) = slot.start()?;
        let mut stage = Self {
            args,
            client,
            slot,
            busy: machine.is_busy(),
            rootless: machine.rootless,
            host,
            outside: OnceCell::new(),
            screen,
            cast: Vec::new(),
        };
        for home in [LAB, SHOP] {
            home.make(&stage.client)?;
        }
        for (number, (name, home, vlan)) in (2..).zip(CAST) {
            screen.progress(&format!("attaching {name}"));
            let container = Container::attach(&stage.client, name, home, vlan, number)?;
            stage.cast.push(container);
        }
        let ports = format!("{PUBLISHED}:sam:{SERVED}").parse()?;
        stage
            .client
            .publish(&ports)
            .context("sam's port cannot be published")?;
        Ok(stage)
    }

    /// The container called `name`, one of [`CAST`].
    pub(crate) fn container(&self, name: &str) -> &Container {
        let found = self
            .cast
            .iter()
            .find(|container| container.name.as_str() == name);
        found.expect("scenes name containers of the cast only")
    }

    /// All containers.
    pub(crate) fn containers(&self) -> &[Container] {
        &self.cast
    }

    /// Puts a world behind the host: the scenes from now on have one.
    pub(crate) fn lies_behind(&self, outside: Outside) {
        // There is one scene that does, and it is played once.
        let _ = self.outside.set(outside);
    }

    /// The world.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn outside(&self) -> Result<&Outside> {
        self.outside.get().context("there is no world here")
    }

    /// Shows what is being done now.
    pub(crate) fn progress(&self, what: &str) {
        self.screen.progress(what);
    }

    fn kept(&self) -> Kept {
        let place = |name: &str, namespace: &Namespace, addresses: [IpAddr; 2]| KeptContainer {
            name: name.to_owned(),
            netns: namespace.path(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        };
        let places = |outside: &Outside| {
            vec![
                place("world", &outside.world, WORLD),
                place("host", &outside.host, HOST),
            ]
        };
        let kept = |container: &Container| KeptContainer {
            name: container.name.to_string(),
            netns: container.namespace.path(),
            addresses: container
                .endpoint
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        Kept {
            pid: std::process::id(),
            binary: std::env::current_exe().unwrap_or_else(|_| "clearway".into()),
            socket: self.client.socket().to_owned(),
            containers: self.cast.iter().map(kept).collect(),
            outside: self.outside.get().map(places).unwrap_or_default(),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.slot.take());
    }
}

/// A scene that cannot go on is a failed check, and the next one is played.
fn perform(scene: &Scene, stage: &Stage, report: &mut Report) {
    stage.progress(scene.title);
    let begin = Instant::now();
    let mut finding = Finding::default();
    if let Err(error) = (scene.run)(stage, &mut finding) {
        finding.checks.push(Check {
            what: format!("the scene `{}` runs to its end", scene.name),
            ok: false,
            why: Some(format!("{error:#}")),
        });
    }
    stage.slot.still_ours();
    let played = SceneReport {
        name: scene.name,
        title: scene.title,
        seconds: seconds_since(begin),
        ok: finding.all_held(),
        finding,
    };
    stage
        .screen
        .show(&render::scene(&played, stage.screen.style));
    report.scenes.push(played);
}

fn close(report: &mut Report, begin: Instant) {
    report.seconds = seconds_since(begin);
    report.ok = report.all_held();
}

/// To the millisecond.
fn seconds_since(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 1e3).round() / 1e3
}

fn publish(report: &Report, args: &Args, screen: Screen) {
    if args.json {
        let document = serde_json::to_string_pretty(report);
        screen.document(&document.expect("a report has string keys only"));
    } else {
        screen.show(&render::summary(report, screen.style));
    }
}

fn machine() -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let loads = read("/proc/loadavg");
    let last_minute = loads.split(' ').next().and_then(|load| load.parse().ok());
    Machine {
        kernel: kernel.trim().to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        load: last_minute.unwrap_or(0.0),
        rootless: false,
    }
}
