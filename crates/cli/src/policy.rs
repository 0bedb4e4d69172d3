//! `clearway policy`: what an endpoint may send and receive.

use crate::failure::{Failure, for_each};
use crate::output::{Output, table};
use api::{Action, Client, Name, Policy, Rule};
use std::io::Write;

/// Policies.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum PolicyCommand {
    /// Say what an endpoint may send and receive, whole: the first rule that matches decides
    Set {
        /// The endpoint
        #[arg(value_name = "ENDPOINT")]
        endpoint: Name,
        /// The action for packets that no rule matches: allow or deny
        #[arg(long, value_name = "ACTION", default_value_t = Action::Allow)]
        default: Action,
        /// Rules in order, each one word to the shell: 'allow out tcp 10.0.0.0/8:443', 'deny in any'
        #[arg(value_name = "RULE")]
        rules: Vec<Rule>,
    },
    /// Show what an endpoint may send and receive
    Show {
        /// The endpoint
        #[arg(value_name = "ENDPOINT")]
        endpoint: Name,
        /// How to print
        #[command(flatten)]
        output: Output,
    },
    /// Let endpoints send and receive everything
    Clear {
        /// The endpoints
        #[arg(required = true, value_name = "ENDPOINT")]
        endpoints: Vec<Name>,
    },
}

impl PolicyCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Set {
                endpoint,
                default,
                rules,
            } => {
                let policy = Policy {
                    default: *default,
                    rules: rules.clone(),
                };
                client.policy_set(endpoint, &policy)?;
                Ok(())
            }
            Self::Show { endpoint, output } => output.print(out, &client.policy(endpoint)?, shown),
            Self::Clear { endpoints } => for_each(endpoints, |endpoint| {
                client.policy_clear(endpoint)?;
                Ok(writeln!(out, "{endpoint}")?)
            }),
        }
    }
}

fn shown(policy: &Policy) -> String {
    let rules = policy.rules.iter().enumerate();
    let row = |(i, rule): (usize, &Rule)| [(i + 1).to_string(), rule.to_string()];
    let last = [
        "-".to_owned(),
        format!("{} everything else", policy.default),
    ];
    table(["NUMBER", "RULE"], rules.map(row).chain([last]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_shown_in_their_order() {
        let policy = Policy {
            default: Action::Deny,
            rules: vec![
                "allow out tcp 10.0.0.0/8:443".parse().unwrap(),
                "deny in any".parse().unwrap(),
            ],
        };
        assert_eq!(
            shown(&policy),
            "NUMBER  RULE\n\
             1       allow out tcp 10.0.0.0/8:443\n\
             2       deny in any\n\
             -       deny everything else\n"
        );
    }
}
