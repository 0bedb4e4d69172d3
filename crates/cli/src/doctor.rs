//! `clearway doctor`: what is ours in the host's network, what is not as it should be, and how to
//! put it right; also when no daemon is there to be asked.

use crate::failure::Failure;
use crate::output::{Output, table};
use api::{ApiError, Cleaned, Client, ClientError, Finding, Name};
use std::io::Write;

/// Work that can be done without a daemon, by whoever has the right to.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// Finds what a daemon that is gone left in the host's network.
    pub inspect: fn() -> Result<Vec<Finding>, ApiError>,
    /// Undoes it.
    pub clean: fn() -> Result<Vec<Cleaned>, ApiError>,
    /// Gives one bridge back what is its own.
    pub release: fn(&Name) -> Result<Vec<Cleaned>, ApiError>,
}

/// Things of ours in the host's network, and what is not as it should be.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// Put right what is not as it should be; without a daemon, undo all that one left behind
    #[arg(long)]
    clean: bool,
    #[command(flatten)]
    output: Output,
}

impl DoctorArgs {
    pub(crate) fn run(
        &self,
        client: &Client,
        alone: &Alone,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        if !self.clean {
            let found = or_alone(client.doctor(), alone.inspect)?;
            return self.output.print(out, &found, |found| shown(found));
        }
        let cleaned = or_alone(client.doctor_clean(), alone.clean)?;
        self.output.print(out, &cleaned, |cleaned| done(cleaned))?;
        all_done(&cleaned, "put right")
    }
}

/// Fails when something was not done.
pub(crate) fn all_done(cleaned: &[Cleaned], what: &str) -> Result<(), Failure> {
    match cleaned.iter().filter(|c| c.failed.is_some()).count() {
        0 => Ok(()),
        left => Err(Failure::Several(vec![format!(
            "{left} could not be {what}"
        )])),
    }
}

/// Returns what the daemon says; what can be told without one where there is none.
fn or_alone<T>(
    asked: Result<T, ClientError>,
    alone: fn() -> Result<T, ApiError>,
) -> Result<T, Failure> {
    match asked {
        Err(ClientError::NoDaemon { .. }) => {
            alone().map_err(|error| Failure::Several(vec![error.message]))
        }
        other => Ok(other?),
    }
}

fn shown(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return NOTHING.to_owned();
    }
    let row = |f: &Finding| [f.r#where.clone(), f.what.clone(), f.undo.clone()];
    table(["WHERE", "WHAT", "UNDO"], findings.iter().map(row))
}

const NOTHING: &str = "nothing of ours is in the host's network, and all is as it should be\n";

pub(crate) fn done(cleaned: &[Cleaned]) -> String {
    if cleaned.is_empty() {
        return NOTHING.to_owned();
    }
    let row = |c: &Cleaned| {
        let outcome = match &c.failed {
            None => "put right".to_owned(),
            Some(why) => format!("still there: {why}"),
        };
        [c.finding.r#where.clone(), c.finding.what.clone(), outcome]
    };
    table(["WHERE", "WHAT", "OUTCOME"], cleaned.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            what: "the port is dead".into(),
            r#where: "port web".into(),
            undo: "clearway detach web".into(),
        }
    }

    #[test]
    fn findings_say_how_to_put_them_right() {
        assert_eq!(
            shown(&[finding()]),
            "WHERE     WHAT              UNDO\n\
             port web  the port is dead  clearway detach web\n"
        );
        let cleaned = |failed: Option<&str>| Cleaned {
            finding: finding(),
            failed: failed.map(str::to_owned),
        };
        assert_eq!(
            done(&[cleaned(None), cleaned(Some("no room"))]),
            "WHERE     WHAT              OUTCOME\n\
             port web  the port is dead  put right\n\
             port web  the port is dead  still there: no room\n"
        );
        assert_eq!(shown(&[]), done(&[]));
    }
}
