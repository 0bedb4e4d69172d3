//! What the gateway does, in the interface's words and the state's. Pure.

use super::name;
use api::{OneOrMore, PublicationCreate};
use control::{Endpoint, Publication, State};

/// A publication as it is. `None` when an endpoint is not there, which the state excludes.
pub(in crate::manager) fn publication(
    state: &State,
    publication: &Publication,
) -> Option<api::Publication> {
    let endpoints = publication
        .endpoint
        .try_map(|id| state.endpoint(*id).ok_or(()));
    let endpoints = endpoints.ok()?;
    let port = |e: &&Endpoint| state.port(e.port).map(|port| name(&port.name)).ok_or(());
    let mut networks: Vec<_> = endpoints.iter().map(|endpoint| endpoint.network).collect();
    networks.sort_unstable();
    networks.dedup();
    let networks = networks
        .iter()
        .map(|id| Some(name(&state.network(*id)?.name)));
    let targets = state.expanded(publication);
    Some(api::Publication {
        id: name(&publication.id.to_string()),
        spec: PublicationCreate {
            host: publication.host,
            ports: publication.ports,
            endpoint: endpoints.try_map(port).ok()?,
            to: publication.to,
            protocol: publication.protocol,
            listener: publication.listener,
        },
        network: OneOrMore::try_from(networks.collect::<Option<Vec<_>>>()?).ok()?,
        addresses: targets.iter().map(|target| target.to.addr.ip).collect(),
    })
}
