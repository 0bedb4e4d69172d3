//! `clearway publish` and `clearway ports`, in the habits of `docker run -p` and `docker port`.

use crate::failure::{Failure, for_each};
use crate::output::{Output, list, table};
use api::{Client, Name, Outside, PortRange, Publication, PublicationCreate};
use std::io::Write;

/// Publications.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum PublishCommand {
    /// Let ports of the host lead to an endpoint, or each new connection to one of several
    Add {
        /// [HOSTIP:]PORT[-PORT]:ENDPOINT[,ENDPOINT...]:PORT[/PROTOCOL], also 'HOSTIP:PORT->ENDPOINT:PORT/PROTOCOL'; an IPv6 HOSTIP in brackets
        #[arg(required = true, value_name = "SPEC")]
        specs: Vec<PublicationCreate>,
    },
    /// List publications
    Ls(Output),
    /// Remove publications
    Rm {
        /// Their ids, or [HOSTIP:]PORT[-PORT][/PROTOCOL]
        #[arg(required = true, value_name = "ID|SPEC")]
        which: Vec<String>,
    },
}

/// Published ports, by endpoint.
#[derive(Debug, Clone, clap::Args)]
pub struct PortsArgs {
    /// Of this endpoint alone
    #[arg(value_name = "ENDPOINT")]
    endpoint: Option<Name>,
    #[command(flatten)]
    output: Output,
}

impl PublishCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Add { specs } => for_each(specs, |spec| {
                let publication = client.publish(spec)?;
                Ok(writeln!(out, "{}", publication.id)?)
            }),
            Self::Ls(output) => output.print(out, &client.publications()?, |all| listed(all)),
            Self::Rm { which } => {
                let all = client.publications()?;
                let ids = which
                    .iter()
                    .map(|which| find(&all, which))
                    .collect::<Result<Vec<_>, _>>()?;
                for_each(&ids, |id| {
                    client.unpublish(id)?;
                    Ok(writeln!(out, "{id}")?)
                })
            }
        }
    }
}

impl PortsArgs {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let all = client.publications()?;
        let is = |e: &Name| self.endpoint.as_ref().is_none_or(|wanted| wanted == e);
        let has = |p: &Publication| p.spec.endpoint.iter().any(is);
        let own: Vec<Publication> = all.into_iter().filter(has).collect();
        self.output.print(out, &own, |own| ports(own, is))
    }
}

/// The id of the publication that is meant: by its id, by what is outside, or by all of it.
fn find(all: &[Publication], which: &str) -> Result<Name, Failure> {
    if let Some(publication) = all.iter().find(|p| p.id.as_str() == which) {
        return Ok(publication.id.clone());
    }
    let outside: Option<Outside> = which.parse().ok();
    let whole: Option<PublicationCreate> = which.parse().ok();
    let is =
        |p: &&Publication| Some(p.spec.outside()) == outside || Some(&p.spec) == whole.as_ref();
    match all.iter().find(is) {
        Some(publication) => Ok(publication.id.clone()),
        None => Err(Failure::Several(vec![format!(
            "nothing is published as `{which}`; `clearway publish ls` lists what is"
        )])),
    }
}

/// The endpoint's ports.
fn inside(publication: &Publication) -> String {
    let spec = &publication.spec;
    let range = spec
        .ports
        .moved_to(spec.to)
        .map_or_else(|| spec.to.to_string(), |range: PortRange| range.to_string());
    format!("{range}/{}", spec.protocol)
}

fn listed(all: &[Publication]) -> String {
    let row = |p: &Publication| {
        [
            p.id.to_string(),
            p.spec.outside().to_string(),
            p.spec.endpoint.to_string(),
            inside(p),
            p.network.to_string(),
            list(&p.addresses),
        ]
    };
    table(
        [
            "ID",
            "OUTSIDE",
            "ENDPOINT",
            "INSIDE",
            "NETWORK",
            "ADDRESSES",
        ],
        all.iter().map(row),
    )
}

/// A line for each port of an endpoint that is asked for, an endpoint's together:
/// `web  80/tcp -> 8080/tcp`.
fn ports(all: &[Publication], is: impl Fn(&Name) -> bool) -> String {
    let mut all: Vec<(&Name, &Publication)> = all
        .iter()
        .flat_map(|p| p.spec.endpoint.iter().map(move |endpoint| (endpoint, p)))
        .collect();
    all.retain(|(endpoint, _)| is(endpoint));
    all.sort_by_key(|(endpoint, _)| *endpoint);
    let row = |(endpoint, p): &(&Name, &Publication)| {
        let way = format!("{} -> {}", inside(p), p.spec.outside());
        [endpoint.to_string(), way]
    };
    table(["ENDPOINT", "PORTS"], all.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(id: &str, spec: &str) -> Publication {
        Publication {
            id: id.parse().unwrap(),
            spec: spec.parse().unwrap(),
            network: "blue".parse::<Name>().unwrap().into(),
            addresses: vec!["10.1.0.2".parse().unwrap()],
        }
    }

    fn all() -> [Publication; 2] {
        [
            publication("pub-1", "20000-29999:web:20000"),
            publication("pub-2", "[2001:db8::1]:53:db:5353/udp"),
        ]
    }

    #[test]
    fn a_publication_is_a_line() {
        assert_eq!(
            listed(&all()),
            "ID     OUTSIDE               ENDPOINT  INSIDE           NETWORK  ADDRESSES\n\
             pub-1  20000-29999/tcp       web       20000-29999/tcp  blue     10.1.0.2\n\
             pub-2  [2001:db8::1]:53/udp  db        5353/udp         blue     10.1.0.2\n"
        );
        assert_eq!(
            ports(&all(), |_| true),
            "ENDPOINT  PORTS\n\
             db        5353/udp -> [2001:db8::1]:53/udp\n\
             web       20000-29999/tcp -> 20000-29999/tcp\n"
        );
    }

    #[test]
    fn each_backend_has_its_line() {
        let several = [publication("pub-3", "8080:web,shop:80")];
        assert!(listed(&several).contains("pub-3  8080/tcp  web,shop  80/tcp"));
        assert_eq!(
            ports(&several, |_| true),
            "ENDPOINT  PORTS\n\
             shop      80/tcp -> 8080/tcp\n\
             web       80/tcp -> 8080/tcp\n"
        );
        let shop = |endpoint: &Name| endpoint.as_str() == "shop";
        assert_eq!(ports(&several, shop).lines().count(), 2);
        let id = find(&several, "8080:web,shop:80").unwrap();
        assert_eq!(id.as_str(), "pub-3");
    }

    #[test]
    fn a_publication_is_found_by_id_or_by_what_is_outside() {
        let id = |which| find(&all(), which).map(|id| id.to_string());
        for which in [
            "pub-2",
            "[2001:db8::1]:53/udp",
            "[2001:db8::1]:53:db:5353/udp",
        ] {
            assert_eq!(id(which).unwrap(), "pub-2");
        }
        assert_eq!(id("20000-29999").unwrap(), "pub-1");
        assert_eq!(
            id("20000").unwrap_err().to_string(),
            "nothing is published as `20000`; `clearway publish ls` lists what is"
        );
    }
}
