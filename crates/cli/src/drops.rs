//! `clearway drops`: what was dropped, and why.

use crate::failure::Failure;
use crate::output::{Format, Output, list, table};
use api::{Client, DropRow, Drops, PortDrops};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// Dropped frames, by reason.
#[derive(Debug, Clone, clap::Args)]
pub struct DropsArgs {
    /// Go on, and print what is dropped from now on, each so many seconds, each second when none are given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Show reasons that never happened, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
}

impl DropsArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let mut before = client.drops()?;
        let Some(seconds) = self.watch else {
            return self
                .output
                .print(out, &before, |drops| shown(drops, self.all));
        };
        loop {
            #[expect(
                clippy::disallowed_methods,
                reason = "the pause between two looks is what was asked for"
            )]
            std::thread::sleep(Duration::from_secs(seconds));
            let now = client.drops()?;
            let risen = since(&before, &now);
            before = now;
            match self.output.format {
                Format::Table if risen.reasons.is_empty() => {}
                Format::Table => writeln!(out, "{}", shown(&risen, false))?,
                Format::Json => writeln!(
                    out,
                    "{}",
                    serde_json::to_string(&risen).map_err(std::io::Error::from)?
                )?,
            }
            out.flush()?;
        }
    }
}

/// Returns what happened between two looks. A count that fell belongs to a new daemon, which began at 0.
fn since(before: &Drops, now: &Drops) -> Drops {
    let old: BTreeMap<u8, &DropRow> = before.reasons.iter().map(|row| (row.code, row)).collect();
    let risen = |old: u64, new: u64| new.checked_sub(old).unwrap_or(new);
    let row = |row: &DropRow| {
        let old = old.get(&row.code);
        let count = risen(old.map_or(0, |old| old.count), row.count);
        let old: BTreeMap<_, _> = old
            .iter()
            .flat_map(|old| &old.ports)
            .map(|at| (&at.port, at.count))
            .collect();
        let at = |at: &PortDrops| PortDrops {
            port: at.port.clone(),
            count: risen(old.get(&at.port).copied().unwrap_or(0), at.count),
        };
        let ports = row.ports.iter().map(at).filter(|at| at.count > 0).collect();
        (count > 0).then(|| DropRow {
            count,
            ports,
            ..row.clone()
        })
    };
    Drops {
        reasons: now.reasons.iter().filter_map(row).collect(),
    }
}

fn shown(drops: &Drops, all: bool) -> String {
    let rows: Vec<_> = drops
        .reasons
        .iter()
        .filter(|row| all || row.count > 0)
        .collect();
    if rows.is_empty() {
        return "nothing was dropped\n".to_owned();
    }
    let row = |row: &DropRow| {
        let ports = list(
            row.ports
                .iter()
                .map(|at| format!("{}={}", at.port, at.count)),
        );
        [
            row.count.to_string(),
            row.label.clone(),
            ports,
            row.sentence.clone(),
        ]
    };
    table(
        ["COUNT", "REASON", "PORTS", "MEANING"],
        rows.into_iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(isolated: u64, tx_full: u64) -> Drops {
        let row = |code, label: &str, count: u64| DropRow {
            code,
            label: label.into(),
            sentence: format!("{label} happened."),
            count,
            ports: if count > 0 {
                vec![PortDrops {
                    port: "web".parse().unwrap(),
                    count,
                }]
            } else {
                Vec::new()
            },
        };
        Drops {
            reasons: vec![row(22, "isolated", isolated), row(27, "tx_full", tx_full)],
        }
    }

    #[test]
    fn reasons_that_happened_are_shown() {
        assert_eq!(
            shown(&drops(3, 0), false),
            "COUNT  REASON    PORTS  MEANING\n\
             3      isolated  web=3  isolated happened.\n"
        );
        assert_eq!(shown(&drops(3, 0), true).lines().count(), 3);
        assert_eq!(shown(&drops(0, 0), false), "nothing was dropped\n");
    }

    #[test]
    fn a_watch_shows_what_rose() {
        assert_eq!(
            since(&drops(3, 1), &drops(3, 5)),
            Drops {
                reasons: drops(0, 4).reasons.split_off(1)
            }
        );
        assert_eq!(since(&drops(3, 1), &drops(3, 1)).reasons, []);
        assert_eq!(
            since(&drops(9, 0), &drops(2, 0)).reasons[0].count,
            2,
            "a new daemon begins at 0"
        );
    }
}
