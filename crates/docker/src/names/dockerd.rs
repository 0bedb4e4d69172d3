//! Questions to dockerd about our networks and their containers, over its API.

use super::changes;
use crate::labels;
use api::{Endpoint, Network};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerInspectResponse, NetworkInspect};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    ListNetworksOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why dockerd does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// An error of its client.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A socket that its client cannot be told.
    #[error("{} is not text", .0.display())]
    Path(PathBuf),
    /// It does not answer in time.
    #[error("dockerd is too slow")]
    Slow,
    /// It ended.
    #[error("dockerd ended its stream of events")]
    Ended,
}

/// Our networks and their containers, as dockerd knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View {
    /// The networks by id; one that is missing dockerd does not know.
    pub(super) networks: BTreeMap<String, DockerNetwork>,
    /// The containers asked about, by id.
    pub(super) containers: BTreeMap<String, Container>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DockerNetwork {
    pub(super) name: String,
    /// Who is in it, by the endpoint's id.
    pub(super) endpoints: BTreeMap<String, Member>,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    pub(super) container_id: String,
    pub(super) name: String,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Container {
    pub(super) hostname: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Its names beside the first, by the endpoint's id.
    pub(super) aliases: BTreeMap<String, Vec<String>>,
}

/// dockerd, on one socket. Each request is a connection of its own.
#[derive(Debug)]
pub(crate) struct Dockerd(Docker);

impl Dockerd {
    /// Finds the socket.
    pub(crate) fn connect(socket: &Path) -> Result<Self, AskError> {
        let path = socket.to_str();
        let path = path.ok_or_else(|| AskError::Path(socket.to_owned()))?;
        // Without a version in its paths dockerd answers as its own, so old ones do as well.
        let docker =
            Docker::connect_with_unix(path, TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)?;
        Ok(Self(docker))
    }

    /// Something that may change a name, each time it happens from now on: dockerd tells once more
    /// what happened between this call and the first poll.
    pub(crate) fn events(&self) -> impl Stream<Item = Result<(), AskError>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = now.unwrap_or_default().as_secs().to_string();
        let filters: HashMap<&str, Vec<&str>> = HashMap::from([
            ("type", vec!["network", "container"]),
            ("event", EVENTS.to_vec()),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&since)
            .filters(&filters)
            .build();
        let events = self.0.events(Some(options));
        events.map(|event| event.map(|_| ()).map_err(AskError::from))
    }

    /// All our networks, and those containers in them whose endpoints have not their names yet.
    pub(super) async fn view(
        &self,
        networks: &[Network],
        endpoints: &[Endpoint],
    ) -> Result<View, AskError> {
        let mut view = View::default();
        for network in networks {
            let Some(id) = network.spec.labels.get(labels::NETWORK_ID) else {
                continue;
            };
            if let Some(found) = self.network(id).await? {
                view.networks.insert(id.clone(), found);
            }
        }
        for id in changes::whom_to_ask_about(&view, networks, endpoints) {
            if let Some(found) = self.container(&id).await? {
                view.containers.insert(id, found);
            }
        }
        Ok(view)
    }

    /// The networks of Docker's own bridge driver: their ids, and their bridges.
    pub(crate) async fn bridges(&self) -> Result<Vec<(String, String)>, AskError> {
        let filters = HashMap::from([("driver", vec!["bridge"])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters);
        let networks = self.0.list_networks(Some(options.build())).await?;
        let bridge = |network: bollard::models::Network| {
            let id = network.id?;
            let named = network.options.and_then(|mut o| o.remove(BRIDGE_NAME));
            let bridge = named.unwrap_or_else(|| format!("br-{}", id.get(..12).unwrap_or(&id)));
            Some((id, bridge))
        };
        Ok(networks.into_iter().filter_map(bridge).collect())
    }

    /// All that it says of a network.
    pub(crate) async fn inspected_network(
        &self,
        id: &str,
    ) -> Result<Option<NetworkInspect>, AskError> {
        let asked = self.0.inspect_network(id, None::<InspectNetworkOptions>);
        Ok(unless_missing(asked.await)?)
    }

    /// All that it says of a container.
    pub(crate) async fn inspected_container(
        &self,
        id: &str,
    ) -> Result<Option<ContainerInspectResponse>, AskError> {
        let asked = self
            .0
            .inspect_container(id, None::<InspectContainerOptions>);
        Ok(unless_missing(asked.await)?)
    }

    async fn network(&self, id: &str) -> Result<Option<DockerNetwork>, AskError> {
        let Some(network) = self.inspected_network(id).await? else {
            return Ok(None);
        };
        let members = network.containers.unwrap_or_default().into_iter();
        let endpoints = members.filter_map(|(container_id, member)| {
            let name = member.name.unwrap_or_default();
            Some((member.endpoint_id?, Member { container_id, name }))
        });
        Ok(Some(DockerNetwork {
            name: network.name.unwrap_or_default(),
            endpoints: endpoints.collect(),
        }))
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, AskError> {
        let Some(container) = self.inspected_container(id).await? else {
            return Ok(None);
        };
        let config = container.config.unwrap_or_default();
        let networks = container.network_settings.and_then(|s| s.networks);
        let aliases = networks.unwrap_or_default().into_values().filter_map(|at| {
            let aliases = at.aliases.into_iter().chain(at.dns_names).flatten();
            Some((at.endpoint_id?, aliases.collect()))
        });
        Ok(Some(Container {
            hostname: config.hostname.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            aliases: aliases.collect(),
        }))
    }
}

/// The option that names a network's bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// How long one answer may take.
const TIMEOUT_SECONDS: u64 = 30;
/// Events of networks and containers that may change a name or an endpoint.
const EVENTS: &[&str] = &[
    "create",
    "destroy",
    "connect",
    "disconnect",
    "start",
    "rename",
    "die",
];

/// Returns what is missing was removed between two questions.
fn unless_missing<T>(answer: Result<T, DockerError>) -> Result<Option<T>, DockerError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(DockerError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}
