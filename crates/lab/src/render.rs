//! Findings as text for a terminal of 80 columns. Pure.

mod bars;

use crate::finding::{Kept, Report, SceneReport};

/// How text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colours (ECMA-48 SGR).
    pub(crate) colour: bool,
    /// Characters beyond ASCII.
    pub(crate) unicode: bool,
}

/// A colour's number.
#[derive(Debug, Clone, Copy)]
enum Paint {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Cyan = 36,
}

impl Style {
    /// Spaces at the end stay outside, so that a line can be trimmed.
    fn paint(self, paint: Paint, text: &str) -> String {
        let inked = text.trim_end();
        if self.colour && !inked.is_empty() {
            let spaces = &text[inked.len()..];
            format!("\x1b[{}m{inked}\x1b[0m{spaces}", paint as u8)
        } else {
            text.to_owned()
        }
    }
}

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns of a fact's label, and where its text starts.
const LABEL: usize = 13;

/// Returns what is about to happen.
pub(crate) fn header(report: &Report, style: Style) -> String {
    let machine = &report.machine;
    let rights = if machine.rootless {
        "without root, in a user namespace"
    } else {
        "as root"
    };
    let mut text = style.paint(Paint::Bold, &format!("Clearway {} lab", report.version));
    text.push('\n');
    let place = format!(
        "Linux {}, {} CPUs, {rights}. Seven containers, two networks and a world, in network \
         namespaces of their own: this machine's network is not touched.",
        machine.kernel, machine.cpus
    );
    for part in wrap(&place, WIDTH) {
        line(&mut text, &style.paint(Paint::Dim, &part));
    }
    text
}

/// One scene: what it is about, what was found out, what failed.
pub(crate) fn scene(scene: &SceneReport, style: Style) -> String {
    let mut text = String::from("\n");
    let seconds = format!("{:.1} s", scene.seconds);
    let gap = WIDTH.saturating_sub(scene.name.len() + 2 + scene.title.len() + seconds.len());
    line(
        &mut text,
        &format!(
            "{}  {}{:gap$}{}",
            style.paint(Paint::Cyan, scene.name),
            style.paint(Paint::Bold, scene.title),
            "",
            style.paint(Paint::Dim, &seconds)
        ),
    );
    let finding = &scene.finding;
    for (index, fact) in finding.facts.iter().enumerate() {
        let again = index > 0 && finding.facts[index - 1].label == fact.label;
        let label = if again { "" } else { fact.label.as_str() };
        labelled(&mut text, label, Paint::Dim, &fact.text, style);
    }
    text.push_str(&bars::bars(&finding.numbers, style));
    for why in &finding.skipped {
        labelled(&mut text, "skipped", Paint::Dim, why, style);
    }
    for check in finding.checks.iter().filter(|check| !check.ok) {
        let why = check.why.as_deref().unwrap_or("no reason given");
        labelled(
            &mut text,
            "FAILED",
            Paint::Red,
            &format!("{}: {why}", check.what),
            style,
        );
    }
    text
}

/// Every check, and what it comes to.
pub(crate) fn summary(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let mut scene_before = "";
    for (scene, check) in report.checks() {
        if scene_before.is_empty() {
            text.push('\n');
        }
        let name = if scene.name == scene_before {
            ""
        } else {
            scene.name
        };
        scene_before = scene.name;
        let outcome = if check.ok {
            style.paint(Paint::Green, "ok    ")
        } else {
            style.paint(Paint::Red, "FAILED")
        };
        let name = style.paint(Paint::Cyan, &format!("{name:<LABEL$}"));
        line(&mut text, &format!("{name}{outcome}  {}", check.what));
    }
    text.push_str(&last_word(report, style));
    if let Some(kept) = &report.kept {
        text.push_str(&look(kept, report.machine.rootless, style));
    }
    text
}

/// Returns what all checks come to, in one line.
pub(crate) fn last_word(report: &Report, style: Style) -> String {
    let all = report.checks().count();
    let failed = report.checks().filter(|(_, check)| !check.ok).count();
    if all == 0 {
        return String::new();
    }
    let (paint, words) = if failed > 0 {
        (Paint::Red, format!("{failed} of {all} checks FAILED"))
    } else if report.error.is_some() {
        (
            Paint::Red,
            format!("{all} checks held, then the lab had to end"),
        )
    } else {
        (Paint::Green, format!("all {all} checks held"))
    };
    let down = report
        .scenes
        .last()
        .is_some_and(|scene| scene.name == "cleanup");
    // A lab that was kept ran for as long as somebody looked at it, which says nothing.
    let time = if down && report.kept.is_some() {
        String::new()
    } else {
        format!(" in {:.1} s", report.seconds)
    };
    let left = if down && failed == 0 {
        "; nothing is left behind"
    } else {
        ""
    };
    format!("\n{}{time}{left}.\n", style.paint(paint, &words))
}

/// How to look at what was left running: whole commands, to be copied.
fn look(kept: &Kept, rootless: bool, style: Style) -> String {
    let mut text = String::from("\n");
    let until = "Everything is left running until Ctrl-C. From another terminal:";
    line(&mut text, &style.paint(Paint::Bold, until));
    for command in [
        "port ls",
        "fdb show",
        "drops",
        "uplink ls",
        "publish ls",
        "nat ls",
        "doctor",
        "explain --port ann tcp 10.80.0.2 198.51.100.1:443",
    ] {
        let (binary, socket) = (kept.binary.display(), kept.socket.display());
        line(
            &mut text,
            &format!("  {binary} --socket {socket} {command}"),
        );
    }
    line(
        &mut text,
        "In a container, in the world or on the host, such as `ip address` or `ping`:",
    );
    for container in kept.containers.iter().chain(&kept.outside) {
        let enter = if rootless {
            format!("nsenter -U --preserve-credentials -t {}", kept.pid)
        } else {
            "nsenter".to_owned()
        };
        line(
            &mut text,
            &format!(
                "  {enter} --net={} sh    # {}, {}",
                container.netns.display(),
                container.name,
                container.addresses.join(", ")
            ),
        );
    }
    text
}

/// A label and its text, wrapped beside it.
fn labelled(text: &mut String, label: &str, paint: Paint, words: &str, style: Style) {
    let mut label = style.paint(paint, &format!("{label:<LABEL$}"));
    for part in wrap(words, WIDTH - 2 - LABEL) {
        line(text, &format!("  {label}{part}"));
        label = format!("{:LABEL$}", "");
    }
}

fn line(text: &mut String, words: &str) {
    text.push_str(words.trim_end());
    text.push('\n');
}

/// Breaks at spaces into lines of at most `width` characters; a longer word stands alone.
fn wrap(words: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        let used = last.chars().count();
        if used == 0 {
            last.push_str(word);
        } else if used + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
