//! `clearway doctor`: what is not as it should be, and how to put it right.

use crate::failure::Failure;
use crate::output::{Output, table};
use api::{Cleaned, Client, Finding};
use std::io::Write;

/// What is not as it should be.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// Put it right
    #[arg(long)]
    clean: bool,
    #[command(flatten)]
    output: Output,
}

impl DoctorArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        if !self.clean {
            return self
                .output
                .print(out, &client.doctor()?, |found| shown(found));
        }
        let cleaned = client.doctor_clean()?;
        self.output.print(out, &cleaned, |cleaned| done(cleaned))?;
        match cleaned.iter().filter(|c| c.failed.is_some()).count() {
            0 => Ok(()),
            left => Err(Failure::Several(vec![format!(
                "{left} could not be put right"
            )])),
        }
    }
}

fn shown(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "everything is as it should be\n".to_owned();
    }
    let row = |f: &Finding| [f.r#where.clone(), f.what.clone(), f.undo.clone()];
    table(["WHERE", "WHAT", "UNDO"], findings.iter().map(row))
}

fn done(cleaned: &[Cleaned]) -> String {
    if cleaned.is_empty() {
        return "everything is as it should be\n".to_owned();
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
