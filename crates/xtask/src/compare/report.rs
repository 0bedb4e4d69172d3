//! From samples to a table for people and JSON for programs. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::facts::Facts;
use super::measure::{Better, Goal, Measure};
use super::stats::Summary;

/// The contender that the others are compared with.
pub(super) const CLEARWAY: &str = "clearway";

/// One number that was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// What was measured.
    pub(super) measure: Measure,
    /// Of whom.
    pub(super) contender: &'static str,
    /// In which round, from 1.
    pub(super) round: usize,
    /// In the measure's unit.
    pub(super) value: f64,
}

/// Everything a run brought.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    facts: Facts,
    /// The columns: Clearway first.
    contenders: Vec<&'static str>,
    rows: Vec<Row>,
    samples: Vec<Sample>,
    /// What the samples do not say, such as connections that failed.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    measure: Measure,
    label: &'static str,
    unit: &'static str,
    summaries: BTreeMap<&'static str, Summary>,
    /// Clearway's median divided by each peer's.
    ratios: BTreeMap<&'static str, f64>,
    goals: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    /// Such as `>= 1.15x docker0`.
    goal: String,
    /// What was reached, as the goal counts.
    reached: f64,
    met: bool,
}

impl Report {
    /// Sums samples up. Measures nobody was asked for have no row.
    pub(super) fn new(
        facts: Facts,
        contenders: Vec<&'static str>,
        samples: Vec<Sample>,
        notes: Vec<String>,
    ) -> Self {
        let rows = Measure::ALL
            .into_iter()
            .filter_map(|measure| row(measure, &contenders, &samples))
            .collect();
        Self {
            facts,
            contenders,
            rows,
            samples,
            notes,
        }
    }

    /// The table with the facts above and the notes below it, in Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.facts.lines() {
            let _ = writeln!(text, "- {line}");
        }
        let peers: Vec<&str> = self
            .contenders
            .iter()
            .copied()
            .filter(|name| *name != CLEARWAY)
            .collect();
        let _ = write!(text, "\n| median (min - max) | unit |");
        for name in &self.contenders {
            let _ = write!(text, " {name} |");
        }
        for name in &peers {
            let _ = write!(text, " / {name} |");
        }
        text.push_str(" goal |\n");
        let columns = 3 + self.contenders.len() + peers.len();
        let _ = writeln!(text, "|{}", "---|".repeat(columns));
        for row in &self.rows {
            text.push_str(&row.markdown(&self.contenders, &peers));
        }
        for (number, note) in self.notes.iter().enumerate() {
            let gap = if number == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}- note: {note}");
        }
        text
    }

    /// Every sample, summary and fact.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn summary(samples: &[Sample], measure: Measure, contender: &str) -> Option<Summary> {
    let matching = samples
        .iter()
        .filter(|s| s.measure == measure && s.contender == contender);
    Summary::of(matching.map(|sample| sample.value).collect())
}

fn row(measure: Measure, contenders: &[&'static str], samples: &[Sample]) -> Option<Row> {
    let summaries: BTreeMap<&'static str, Summary> = contenders
        .iter()
        .filter_map(|&name| Some((name, summary(samples, measure, name)?)))
        .collect();
    if summaries.is_empty() {
        return None;
    }
    let own = summaries.get(CLEARWAY).map(|own| own.median);
    let ratios = summaries
        .iter()
        .filter(|(name, _)| **name != CLEARWAY)
        .filter_map(|(&name, peer)| Some((name, own? / peer.median)))
        .collect();
    let goals = measure
        .goals()
        .iter()
        .filter_map(|goal| verdict(measure, *goal, own?, samples))
        .collect();
    Some(Row {
        measure,
        label: measure.label(),
        unit: measure.unit(),
        summaries,
        ratios,
        goals,
    })
}

fn verdict(measure: Measure, goal: Goal, own: f64, samples: &[Sample]) -> Option<Verdict> {
    let (reached, wanted, against) = match goal {
        Goal::Peer(peer, ratio) => (
            own / summary(samples, measure, peer)?.median,
            ratio,
            format!("x {peer}"),
        ),
        Goal::Own(other, ratio) => (
            own / summary(samples, other, CLEARWAY)?.median,
            ratio,
            format!("x {}", other.label()),
        ),
        Goal::Plain(most) => (own, most, format!(" {}", measure.unit())),
    };
    let (sign, met) = match measure.better() {
        Better::Higher => (">=", reached >= wanted),
        Better::Lower => ("<=", reached <= wanted),
    };
    Some(Verdict {
        goal: format!("{sign} {wanted}{against}"),
        reached,
        met,
    })
}

impl Row {
    fn markdown(&self, contenders: &[&str], peers: &[&str]) -> String {
        let mut text = format!("| {} | {} |", self.label, self.unit);
        for name in contenders {
            match self.summaries.get(name) {
                Some(s) => {
                    let _ = write!(
                        text,
                        " {} ({} - {}) |",
                        short(s.median),
                        short(s.min),
                        short(s.max)
                    );
                }
                None => text.push_str(" |"),
            }
        }
        for name in peers {
            match self.ratios.get(name) {
                Some(ratio) => {
                    let _ = write!(text, " {ratio:.2}x |");
                }
                None => text.push_str(" |"),
            }
        }
        let goals: Vec<String> = self.goals.iter().map(Verdict::words).collect();
        let _ = writeln!(text, " {} |", goals.join("; "));
        text
    }
}

impl Verdict {
    fn words(&self) -> String {
        let verdict = if self.met { "met" } else { "**missed**" };
        format!("{}: {verdict} ({})", self.goal, short(self.reached))
    }
}

/// Three digits are what such a measurement is worth.
fn short(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            processor: "A CPU".into(),
            cores: 2,
            memory_gib: 8.0,
            kernel: "Linux".into(),
            system: "An OS".into(),
            commit: "abc".into(),
            rustc: "rustc".into(),
            load: vec!["iperf 3".into()],
            contenders: vec!["docker0".into()],
            load_average_before: 0.0,
        }
    }

    fn samples(measure: Measure, contender: &'static str, values: &[f64]) -> Vec<Sample> {
        let sample = |(round, &value)| Sample {
            measure,
            contender,
            round,
            value,
        };
        values.iter().enumerate().map(sample).collect()
    }

    fn report(samples: Vec<Sample>) -> Report {
        Report::new(facts(), vec![CLEARWAY, "docker0"], samples, Vec::new())
    }

    #[test]
    fn medians_make_the_ratio_and_the_goal_is_judged_by_its_direction() {
        let mut all = samples(Measure::BulkOne, CLEARWAY, &[24.0, 12.0, 99.0]);
        all.extend(samples(Measure::BulkOne, "docker0", &[20.0]));
        all.extend(samples(Measure::PingPongMean, CLEARWAY, &[30.0]));
        all.extend(samples(Measure::PingPongMean, "docker0", &[30.0]));
        let report = report(all);
        assert_eq!(report.rows[0].ratios["docker0"], 1.2);
        assert!(report.rows[0].goals[0].met);
        assert!(
            !report.rows[1].goals[0].met,
            "a latency must fall, not rise, to its goal"
        );
        let text = report.markdown();
        assert!(
            text.contains(
                "| 24.0 (12.0 - 99.0) | 20.0 (20.0 - 20.0) | 1.20x | >= 1.15x docker0: met (1.20) |"
            ),
            "{text}"
        );
        assert!(
            text.contains("<= 0.8x docker0: **missed** (1.00)"),
            "{text}"
        );
    }

    #[test]
    fn a_goal_against_an_absent_peer_is_left_out() {
        let report = report(samples(Measure::BulkOne, CLEARWAY, &[24.0]));
        assert!(report.rows[0].goals.is_empty());
        assert!(report.rows[0].ratios.is_empty());
    }

    #[test]
    fn goals_against_itself_and_plain_limits() {
        let mut all = samples(Measure::BulkAlone, CLEARWAY, &[20.0]);
        all.extend(samples(Measure::BulkIdle, CLEARWAY, &[18.0]));
        all.extend(samples(Measure::AttachLastCommand, CLEARWAY, &[9.0]));
        let report = report(all);
        assert!(!report.rows[1].goals[0].met);
        assert!(report.rows[2].goals[0].met);
        assert_eq!(report.rows.len(), 3);
    }

    #[test]
    fn notes_stand_below_the_table() {
        let all = samples(Measure::NatConnectionsOut, CLEARWAY, &[1.0]);
        let notes = vec!["first".into(), "second".into()];
        let text = Report::new(facts(), vec![CLEARWAY], all, notes).markdown();
        assert!(
            text.ends_with(" |\n\n- note: first\n- note: second\n"),
            "{text}"
        );
    }

    #[test]
    fn json_holds_every_sample() {
        let report = report(samples(Measure::BulkOne, CLEARWAY, &[1.0, 2.0]));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["samples"].as_array().unwrap().len(), 2);
        assert_eq!(json["rows"][0]["summaries"]["clearway"]["median"], 1.5);
    }
}
