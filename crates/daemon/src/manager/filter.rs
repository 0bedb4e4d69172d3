//! Filters of requests, with the names of today.

use api::ApiError;
use control::{Hidden, State};
use observe::{EndpointIds, Filter, FlowMatch, Resolve, Subject};
use pipeline::{NetworkId, PortId};

/// Reads a filter and looks its names up.
///
/// # Errors
/// The word that is not understood or says nothing about the subject, or the name that is not there: a
/// filter that names what does not exist would match nothing for another reason than the user thinks.
pub(super) fn compile(text: &str, subject: Subject, state: &State) -> Result<FlowMatch, ApiError> {
    Filter::parse(text, subject)
        .and_then(|filter| filter.compile(&Lookup(state)))
        .map_err(|error| ApiError::invalid(error.to_string()))
}

/// The names that a filter may use.
struct Lookup<'s>(&'s State);

impl Resolve for Lookup<'_> {
    fn port_id(&self, name: &str) -> Option<PortId> {
        let port = self.0.port_named(name).ok().map(|port| port.id);
        port.or_else(|| self.hidden(name).map(|place| place.port))
    }

    fn network_id(&self, name: &str) -> Option<NetworkId> {
        let network = self.0.network_named(name).ok().map(|network| network.id);
        network.or_else(|| self.hidden(name).map(|place| place.network))
    }

    fn endpoint_ids(&self, name: &str) -> Option<EndpointIds> {
        let endpoint = self.0.endpoint_named(name).ok()?;
        Some(EndpointIds {
            port: Some(endpoint.port),
            network: endpoint.network,
            ips: endpoint.addresses.iter().map(ipnet::IpNet::addr).collect(),
        })
    }
}

impl Lookup<'_> {
    /// The place of an uplink, the host or the servers.
    fn hidden(&self, name: &str) -> Option<control::Attachment> {
        match name {
            "host" => self.0.place_of(Hidden::Host),
            "services" => self.0.place_of(Hidden::Services),
            _ => self.0.uplinks().find(|u| u.name == name).map(|u| u.place),
        }
    }
}
