//! What the gateway does, in the interface's words and the state's. Pure.

use super::name;
use api::{Action, Dependence, Protocol, PublicationCreate, Rule, UplinkAdd, Way};
use control::{
    Listener, Policy, Publication, PublicationRequest, State, UplinkChoice, UplinkRequest,
};
use nat::config::Masquerade;
use nat::{Filtering, Mapping, PortRange, Preset, config};
use wire::IpProtocol;

pub(in crate::manager) fn routing(routing: &api::Routing) -> control::Routing {
    let nat = &routing.nat;
    control::Routing {
        internal: routing.internal,
        icc: routing.icc,
        peers: routing.peers.iter().map(ToString::to_string).collect(),
        uplink: match &routing.uplink {
            api::UplinkChoice::Auto => UplinkChoice::Auto,
            api::UplinkChoice::None => UplinkChoice::None,
            api::UplinkChoice::Named(uplink) => UplinkChoice::Named(uplink.to_string()),
        },
        masquerade: masquerade(routing.masquerade),
        prefix: match routing.nptv6 {
            api::ExternalPrefix::None => None,
            api::ExternalPrefix::Prefix(prefix) => Some(prefix),
        },
        nat: control::Nat {
            preset: preset(nat.preset),
            mapping: nat.mapping.map(mapping),
            filtering: nat.filtering.map(filtering),
            tcp_liberal: nat.tcp_liberal,
            quota: nat.quota,
        },
        host_access: routing.host_access,
        slaac: routing.slaac,
        dhcp: routing.dhcp,
    }
}

pub(in crate::manager) fn api_routing(routing: &control::Routing) -> api::Routing {
    let nat = &routing.nat;
    api::Routing {
        internal: routing.internal,
        icc: routing.icc,
        peers: routing.peers.iter().map(|peer| name(peer)).collect(),
        uplink: match &routing.uplink {
            UplinkChoice::Auto => api::UplinkChoice::Auto,
            UplinkChoice::None => api::UplinkChoice::None,
            UplinkChoice::Named(uplink) => api::UplinkChoice::Named(name(uplink)),
        },
        masquerade: api_masquerade(routing.masquerade),
        nptv6: routing
            .prefix
            .map_or(api::ExternalPrefix::None, api::ExternalPrefix::Prefix),
        nat: api::Nat {
            preset: api_preset(nat.preset),
            mapping: nat.mapping.map(api_mapping),
            filtering: nat.filtering.map(api_filtering),
            tcp_liberal: nat.tcp_liberal,
            quota: nat.quota,
        },
        host_access: routing.host_access,
        slaac: routing.slaac,
        dhcp: routing.dhcp,
    }
}

fn masquerade(masquerade: api::Masquerade) -> Masquerade {
    match masquerade {
        api::Masquerade::Off => Masquerade::Off,
        api::Masquerade::Ipv4 => Masquerade::Ipv4,
        api::Masquerade::Ipv6 => Masquerade::Ipv6,
        api::Masquerade::On => Masquerade::On,
    }
}

fn api_masquerade(masquerade: Masquerade) -> api::Masquerade {
    match masquerade {
        Masquerade::Off => api::Masquerade::Off,
        Masquerade::Ipv4 => api::Masquerade::Ipv4,
        Masquerade::Ipv6 => api::Masquerade::Ipv6,
        Masquerade::On => api::Masquerade::On,
    }
}

fn preset(preset: api::Preset) -> Preset {
    match preset {
        api::Preset::Rfc => Preset::Rfc,
        api::Preset::Linux => Preset::Linux,
        api::Preset::Home => Preset::Home,
        api::Preset::Corporate => Preset::Corporate,
        api::Preset::Cgnat => Preset::Cgnat,
        api::Preset::Cloud => Preset::Cloud,
        api::Preset::FullCone => Preset::FullCone,
    }
}

fn api_preset(preset: Preset) -> api::Preset {
    match preset {
        Preset::Rfc => api::Preset::Rfc,
        Preset::Linux => api::Preset::Linux,
        Preset::Home => api::Preset::Home,
        Preset::Corporate => api::Preset::Corporate,
        Preset::Cgnat => api::Preset::Cgnat,
        Preset::Cloud => api::Preset::Cloud,
        Preset::FullCone => api::Preset::FullCone,
    }
}

fn mapping(dependence: Dependence) -> Mapping {
    match dependence {
        Dependence::EndpointIndependent => Mapping::EndpointIndependent,
        Dependence::AddressDependent => Mapping::AddressDependent,
        Dependence::AddressAndPortDependent => Mapping::AddressAndPortDependent,
    }
}

fn api_mapping(mapping: Mapping) -> Dependence {
    match mapping {
        Mapping::EndpointIndependent => Dependence::EndpointIndependent,
        Mapping::AddressDependent => Dependence::AddressDependent,
        Mapping::AddressAndPortDependent => Dependence::AddressAndPortDependent,
    }
}

fn filtering(dependence: Dependence) -> Filtering {
    match dependence {
        Dependence::EndpointIndependent => Filtering::EndpointIndependent,
        Dependence::AddressDependent => Filtering::AddressDependent,
        Dependence::AddressAndPortDependent => Filtering::AddressAndPortDependent,
    }
}

fn api_filtering(filtering: Filtering) -> Dependence {
    match filtering {
        Filtering::EndpointIndependent => Dependence::EndpointIndependent,
        Filtering::AddressDependent => Dependence::AddressDependent,
        Filtering::AddressAndPortDependent => Dependence::AddressAndPortDependent,
    }
}

fn ports(range: api::PortRange) -> PortRange {
    PortRange {
        first: range.first(),
        last: range.last(),
    }
}

pub(in crate::manager) fn port_range(range: PortRange) -> api::PortRange {
    api::PortRange::new(range.first, range.last).expect("the state's ranges run forwards from 1")
}

pub(in crate::manager) fn uplink_request(uplink: &UplinkAdd) -> UplinkRequest {
    UplinkRequest {
        dev: uplink.dev.clone(),
        name: uplink.name.as_ref().map(ToString::to_string),
        ports: ports(uplink.ports),
    }
}

pub(in crate::manager) fn publication_request(request: &PublicationCreate) -> PublicationRequest {
    PublicationRequest {
        protocol: IpProtocol(request.protocol.0),
        host: request.host,
        ports: ports(request.ports),
        endpoint: request.endpoint.to_string(),
        to: request.to,
        listener: match request.listener {
            api::Listener::Ours => Listener::Ours,
            api::Listener::Another => Listener::Another,
        },
    }
}

/// A publication as it is. `None` when its endpoint is not there, which the state excludes.
pub(in crate::manager) fn publication(
    state: &State,
    publication: &Publication,
) -> Option<api::Publication> {
    let endpoint = state.endpoint(publication.endpoint)?;
    let targets = state.expanded(publication);
    Some(api::Publication {
        id: name(&publication.id.to_string()),
        spec: PublicationCreate {
            host: publication.host,
            ports: port_range(publication.ports),
            endpoint: name(&state.port(endpoint.port)?.name),
            to: publication.to,
            protocol: Protocol(publication.protocol.0),
            listener: match publication.listener {
                Listener::Ours => api::Listener::Ours,
                Listener::Another => api::Listener::Another,
            },
        },
        network: name(&state.network(endpoint.network)?.name),
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
        protocol: rule.protocol.map(|protocol| IpProtocol(protocol.0)),
        ports: rule.ports.map(ports),
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
        protocol: rule.protocol.map(|protocol| Protocol(protocol.0)),
        ports: rule.ports.map(port_range),
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
        for (preset, _) in api::Preset::ALL {
            let every = api::Masquerade::ALL.iter();
            for ((masquerade, _), (dependence, _)) in every.zip(Dependence::ALL.iter().cycle()) {
                let spec = api::Routing {
                    internal: true,
                    icc: false,
                    peers: [name("red")].into(),
                    uplink: api::UplinkChoice::Named(name("up")),
                    masquerade: *masquerade,
                    nptv6: api::ExternalPrefix::Prefix("2001:db8::/64".parse().unwrap()),
                    nat: api::Nat {
                        preset: *preset,
                        mapping: Some(*dependence),
                        filtering: Some(*dependence),
                        tcp_liberal: Some(true),
                        quota: 5,
                    },
                    host_access: false,
                    slaac: true,
                    dhcp: true,
                };
                assert_eq!(api_routing(&routing(&spec)), spec);
                assert_eq!(preset.to_string(), super::preset(*preset).to_string());
            }
        }
        assert_eq!(
            routing(&api::Routing::default()),
            control::Routing::default()
        );
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
