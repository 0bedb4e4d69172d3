//! What the gateway does, in the interface's words and the state's. Pure.

use super::name;
use api::{OneOrMore, PublicationCreate, UplinkAdd};
use control::{Endpoint, Listener, Publication, PublicationRequest, State, UplinkRequest};

pub(in crate::manager) fn uplink_request(uplink: &UplinkAdd) -> UplinkRequest {
    UplinkRequest {
        dev: uplink.dev.clone(),
        name: uplink.name.as_ref().map(ToString::to_string),
        ports: uplink.ports,
    }
}

pub(in crate::manager) fn publication_request(request: &PublicationCreate) -> PublicationRequest {
    PublicationRequest {
        protocol: request.protocol,
        host: request.host,
        ports: request.ports,
        endpoint: request.endpoint.map(ToString::to_string),
        to: request.to,
        listener: match request.listener {
            api::Listener::Ours => Listener::Ours,
            api::Listener::Another => Listener::Another,
        },
    }
}

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
            listener: match publication.listener {
                Listener::Ours => api::Listener::Ours,
                Listener::Another => api::Listener::Another,
            },
        },
        network: OneOrMore::try_from(networks.collect::<Option<Vec<_>>>()?).ok()?,
        addresses: targets.iter().map(|target| target.to.addr.ip).collect(),
    })
}
