//! `clearway adopt` and `clearway release`: bridges of the host's whose containers are on a network of
//! ours, and the way back; the latter also when no daemon is there.

use crate::doctor::{Alone, all_done, done};
use crate::failure::{Failure, for_each};
use crate::output::{Output, list, table};
use api::{Adopt, Adoption, Cleaned, Client, ClientError, Name};
use std::io::Write;

/// Bridges to be adopted.
#[derive(Debug, Clone, clap::Args)]
pub struct AdoptArgs {
    /// Bridges of this host, docker0 say; without any, those that are adopted are listed
    #[arg(value_name = "BRIDGE")]
    bridges: Vec<Name>,
    #[command(flatten)]
    output: Output,
}

/// Bridges to be released.
#[derive(Debug, Clone, clap::Args)]
pub struct ReleaseArgs {
    /// Adopted bridges
    #[arg(required = true, value_name = "BRIDGE")]
    bridges: Vec<Name>,
}

impl AdoptArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        if self.bridges.is_empty() {
            let all = client.adoptions()?;
            return self.output.print(out, &all, |all| listed(all));
        }
        for_each(&self.bridges, |bridge| {
            let adopted = client.adopt(&Adopt {
                bridge: bridge.clone(),
            })?;
            Ok(writeln!(out, "{}", adopted.network)?)
        })
    }
}

impl ReleaseArgs {
    pub(crate) fn run(
        &self,
        client: &Client,
        alone: &Alone,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        for_each(&self.bridges, |bridge| match client.release(bridge) {
            Ok(()) => Ok(writeln!(out, "{bridge}")?),
            Err(ClientError::NoDaemon { .. }) => release_alone(bridge, alone, out),
            Err(error) => Err(error.into()),
        })
    }
}

/// Gives back what a daemon that is gone has taken. The next one takes it again.
fn release_alone(bridge: &Name, alone: &Alone, out: &mut dyn Write) -> Result<(), Failure> {
    let failed = |error: api::ApiError| Failure::Several(vec![error.message]);
    let cleaned: Vec<Cleaned> = (alone.release)(bridge).map_err(failed)?;
    out.write_all(done(&cleaned).as_bytes())?;
    all_done(&cleaned, "given back")?;
    Ok(writeln!(
        out,
        "no daemon runs; one that starts adopts {bridge} again until it is told to release it"
    )?)
}

fn listed(all: &[Adoption]) -> String {
    let row = |a: &Adoption| {
        [
            a.bridge.to_string(),
            a.network.to_string(),
            list(&a.addresses),
            a.endpoints.len().to_string(),
        ]
    };
    table(
        ["BRIDGE", "NETWORK", "ADDRESSES", "ENDPOINTS"],
        all.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{ApiError, Finding};

    #[test]
    fn an_adopted_bridge_is_a_line() {
        let adoption = Adoption {
            bridge: "docker0".parse().unwrap(),
            network: "docker0".parse().unwrap(),
            addresses: vec!["172.17.0.1/16".parse().unwrap()],
            endpoints: vec!["web".parse().unwrap(), "ep-2".parse().unwrap()],
        };
        assert_eq!(
            listed(&[adoption]),
            "BRIDGE   NETWORK  ADDRESSES      ENDPOINTS\n\
             docker0  docker0  172.17.0.1/16  2\n"
        );
    }

    fn cleaned(bridge: &Name) -> Result<Vec<Cleaned>, ApiError> {
        Ok(vec![Cleaned {
            finding: Finding {
                what: format!("port taken off {bridge}"),
                r#where: "veth1".into(),
                undo: String::new(),
            },
            failed: None,
        }])
    }

    #[test]
    fn without_a_daemon_its_leftovers_are_given_back() {
        let alone = Alone {
            inspect: || Ok(Vec::new()),
            clean: || Ok(Vec::new()),
            release: cleaned,
        };
        let args = ReleaseArgs {
            bridges: vec!["docker0".parse().unwrap()],
        };
        let mut out = Vec::new();
        let nobody = Client::new("/nonexistent/clearway.sock");
        args.run(&nobody, &alone, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("veth1  port taken off docker0  put right"),
            "{out}"
        );
        assert!(out.contains("adopts docker0 again"), "{out}");
    }
}
