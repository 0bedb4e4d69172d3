//! The labels that tie Clearway's networks and endpoints to Docker's.

use std::collections::BTreeMap;

/// Docker's id of the network.
pub(crate) const NETWORK_ID: &str = "com.docker.network.id";
/// Docker's id of the endpoint.
pub(crate) const ENDPOINT_ID: &str = "com.docker.endpoint.id";
/// Docker's id of the container.
pub(crate) const CONTAINER_ID: &str = "com.docker.container.id";
/// The container's name in Docker.
pub(crate) const CONTAINER_NAME: &str = "com.docker.container.name";
/// Labels that Compose puts on its containers, as they are called there.
pub(crate) const COMPOSE: &[&str] = &["com.docker.compose.project", "com.docker.compose.service"];
/// The [`crate::fingerprint`] of the request it was made from.
pub(crate) const REQUEST: &str = "clearway.docker.request";
/// The prefix of interfaces' names inside, before their number; of a network or an endpoint.
pub(crate) const IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
/// The address that ports are published at when none is named.
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

/// Returns what says of an endpoint whose it is: a container's id and name, and what Compose calls it among
/// the container's own labels.
pub(crate) fn of_container<'a>(
    id: &'a str,
    name: &'a str,
    own: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let compose = COMPOSE
        .iter()
        .filter_map(|key| Some((*key, own.get(*key)?.as_str())));
    let docker = [(CONTAINER_ID, id), (CONTAINER_NAME, name)].into_iter();
    docker
        .chain(compose)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}
