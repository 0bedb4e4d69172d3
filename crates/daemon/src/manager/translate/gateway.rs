//! What the gateway does, in the interface's words and the state's. Pure.

use super::name;
use api::{Action, OneOrMore, PublicationCreate, Rule, UplinkAdd, Way};
use control::{Endpoint, Listener, Policy, Publication, PublicationRequest, State, UplinkRequest};
use nat::config;

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

pub(in crate::manager) fn policy(policy: &api::Policy) -> Policy {
    let rule = |rule: &Rule| config::Rule {
        action: action(rule.action),
        direction: match rule.direction {
            Way::In => config::Direction::In,
            Way::Out => config::Direction::Out,
        },
        peer: rule.peer,
        protocol: rule.protocol,
        ports: rule.ports,
    };
    Policy {
        otherwise: action(policy.default),
        rules: policy.rules.iter().map(rule).collect(),
    }
}

pub(in crate::manager) fn api_policy(policy: &Policy) -> api::Policy {
    let rule = |rule: &config::Rule| Rule {
        action: api_action(rule.action),
        direction: match rule.direction {
            config::Direction::In => Way::In,
            config::Direction::Out => Way::Out,
        },
        peer: rule.peer,
        protocol: rule.protocol,
        ports: rule.ports,
    };
    api::Policy {
        default: api_action(policy.otherwise),
        rules: policy.rules.iter().map(rule).collect(),
    }
}

fn action(action: Action) -> config::Action {
    match action {
        Action::Allow => config::Action::Allow,
        Action::Deny => config::Action::Deny,
    }
}

fn api_action(action: config::Action) -> Action {
    match action {
        config::Action::Allow => Action::Allow,
        config::Action::Deny => Action::Deny,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_the_state_comes_out_again() {
        let rules = [
            "deny in any",
            "allow out tcp 10.0.0.0/8:1-9",
            "deny out icmpv6",
        ];
        let spec = api::Policy {
            default: Action::Deny,
            rules: rules.map(|rule| rule.parse().unwrap()).to_vec(),
        };
        assert_eq!(api_policy(&policy(&spec)), spec);
    }
}
