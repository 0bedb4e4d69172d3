//! From what dockerd says and what Clearway has to what is to be set: pure.
//!
//! A name is one network's, or one endpoint's in its network. Where Docker's is taken or is no name
//! here, the old one stays, and the next look tries again.

use super::dockerd::{Container, Member, View};
use crate::labels;
use api::{Endpoint, EndpointSet, Name, Network, NetworkSet};
use std::collections::{BTreeMap, BTreeSet};

/// Something to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A network gets its name.
    Network {
        /// Its present name.
        network: Name,
        /// The changes.
        set: NetworkSet,
    },
    /// An endpoint gets its names, and labels that say whose it is.
    Endpoint {
        /// Its id.
        endpoint: Name,
        /// The changes.
        set: EndpointSet,
    },
}

/// The containers whose endpoints have not what dockerd would say.
pub(super) fn whom_to_ask_about(
    view: &View,
    networks: &[Network],
    endpoints: &[Endpoint],
) -> BTreeSet<String> {
    members(view, networks, endpoints)
        .filter(|(endpoint, member)| !is_settled(endpoint, member, endpoints))
        .map(|(_, member)| member.container_id.clone())
        .collect()
}

/// Returns what has to be set for both sides to have the same names.
pub(super) fn what_to_change(
    view: &View,
    networks: &[Network],
    endpoints: &[Endpoint],
) -> Vec<Change> {
    let renamed = networks.iter().filter_map(|network| {
        let id = network.spec.labels.get(labels::NETWORK_ID)?;
        let name: Name = view.networks.get(id)?.name.parse().ok()?;
        let free = networks.iter().all(|other| other.spec.name != name);
        free.then(|| Change::Network {
            network: network.spec.name.clone(),
            set: NetworkSet {
                name: Some(name),
                ..NetworkSet::default()
            },
        })
    });
    let named = members(view, networks, endpoints).filter_map(|(endpoint, member)| {
        let container = view.containers.get(&member.container_id)?;
        let set = set_of(endpoint, member, container, endpoints);
        let empty = set == EndpointSet::default();
        (!empty).then(|| Change::Endpoint {
            endpoint: endpoint.id.clone(),
            set,
        })
    });
    // Endpoints are named by their ids, which stay when their network's name does not.
    renamed.chain(named).collect()
}

/// Our endpoints that dockerd knows, each with whom dockerd says it is.
fn members<'a>(
    view: &'a View,
    networks: &'a [Network],
    endpoints: &'a [Endpoint],
) -> impl Iterator<Item = (&'a Endpoint, &'a Member)> {
    let known: BTreeMap<&Name, _> = networks
        .iter()
        .filter_map(|network| {
            let id = network.spec.labels.get(labels::NETWORK_ID)?;
            Some((&network.spec.name, view.networks.get(id)?))
        })
        .collect();
    endpoints.iter().filter_map(move |endpoint| {
        let id = endpoint.labels.get(labels::ENDPOINT_ID)?;
        let member = known.get(&endpoint.network)?.endpoints.get(id)?;
        Some((endpoint, member))
    })
}

/// Returns whether an endpoint has its container's name, or cannot have it. The rest of what is set comes
/// with the name, and changes with a new endpoint only.
fn is_settled(endpoint: &Endpoint, member: &Member, endpoints: &[Endpoint]) -> bool {
    endpoint.labels.get(labels::CONTAINER_NAME) == Some(&member.name)
        && new_name(endpoint, &member.name, endpoints).is_none()
}

/// The name an endpoint is to get, if it has not got it and nobody else in its network has.
fn new_name(endpoint: &Endpoint, wanted: &str, endpoints: &[Endpoint]) -> Option<Name> {
    let wanted: Name = wanted.parse().ok()?;
    let mut near = endpoints.iter().filter(|e| e.network == endpoint.network);
    let taken = near.any(|e| e.name.as_ref() == Some(&wanted) || e.id == wanted);
    (!taken).then_some(wanted)
}

fn set_of(
    endpoint: &Endpoint,
    member: &Member,
    container: &Container,
    endpoints: &[Endpoint],
) -> EndpointSet {
    let docker_id = endpoint.labels.get(labels::ENDPOINT_ID);
    let aliases = aliases_of(docker_id.map_or("", String::as_str), member, container);
    let mut own_labels = endpoint.labels.clone();
    own_labels.extend(labels::of_container(
        &member.container_id,
        &member.name,
        &container.labels,
    ));
    EndpointSet {
        name: new_name(endpoint, &member.name, endpoints),
        aliases: (aliases != endpoint.aliases).then_some(aliases),
        labels: (own_labels != endpoint.labels).then_some(own_labels),
    }
}

/// Returns what else Docker finds a container by: its network aliases, the first of its id, its host name.
fn aliases_of(endpoint_id: &str, member: &Member, container: &Container) -> Vec<Name> {
    let own = container.aliases.get(endpoint_id).into_iter().flatten();
    let short = member.container_id.get(..12);
    let all = own
        .map(String::as_str)
        .chain(short)
        .chain([container.hostname.as_str()]);
    let mut seen = BTreeSet::from([member.name.as_str()]);
    all.filter(|alias| seen.insert(alias))
        .filter_map(|alias| alias.parse().ok())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::dockerd::DockerNetwork;
    use super::*;
    use api::{NetworkCreate, Via};

    pub(in crate::names) fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn network(own: &str, docker_id: Option<&str>) -> Network {
        let mut spec = NetworkCreate::new(name(own));
        let label = |id: &str| (labels::NETWORK_ID.to_owned(), id.to_owned());
        spec.labels = docker_id.map(label).into_iter().collect();
        Network {
            id: 1,
            spec,
            ports: 0,
            endpoints: 0,
            macs: 0,
            gateway_mac: None,
            gateways: Vec::new(),
            uplink: None,
            publications: Vec::new(),
        }
    }

    pub(in crate::names) fn endpoint(id: &str, network: &str, docker_id: &str) -> Endpoint {
        Endpoint {
            id: name(id),
            name: None,
            aliases: Vec::new(),
            network: name(network),
            netns: None,
            ifname: "cw0".to_owned(),
            via: Via::MovedTap,
            datapath: None,
            mac: "02:42:0a:00:00:02".parse().unwrap(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            vlan: 1.try_into().unwrap(),
            mtu: 1500,
            locked: true,
            port: name(id),
            labels: [(labels::ENDPOINT_ID.to_owned(), docker_id.to_owned())].into(),
        }
    }

    /// Docker's network `N` called `web` with endpoints that belong to container `c` + their id.
    pub(in crate::names) fn view(members: &[(&str, &str)]) -> View {
        let member = |(id, called): &(&str, &str)| {
            let member = Member {
                container_id: format!("c{id}234567890123"),
                name: (*called).to_owned(),
            };
            ((*id).to_owned(), member)
        };
        let network = DockerNetwork {
            name: "web".to_owned(),
            endpoints: members.iter().map(member).collect(),
        };
        let containers = network.endpoints.iter().map(|(id, member)| {
            let container = Container {
                hostname: format!("host{id}"),
                labels: [
                    (labels::COMPOSE[0].to_owned(), "shop".to_owned()),
                    ("other".to_owned(), "x".to_owned()),
                ]
                .into(),
                aliases: [(id.clone(), vec!["alias".to_owned(), member.name.clone()])].into(),
            };
            (member.container_id.clone(), container)
        });
        View {
            containers: containers.collect(),
            networks: [("N".to_owned(), network.clone())].into(),
        }
    }

    /// Returns what both sides are after the changes.
    fn settle(view: &View, networks: &mut [Network], endpoints: &mut [Endpoint]) -> usize {
        let changes = what_to_change(view, networks, endpoints);
        for change in &changes {
            match change {
                Change::Network { network, set } => {
                    let new = set.name.clone().unwrap();
                    for endpoint in endpoints.iter_mut().filter(|e| e.network == *network) {
                        endpoint.network = new.clone();
                    }
                    let found = networks.iter_mut().find(|n| n.spec.name == *network);
                    found.unwrap().spec.name = new;
                }
                Change::Endpoint { endpoint, set } => {
                    let found = endpoints.iter_mut().find(|e| e.id == *endpoint).unwrap();
                    if set.name.is_some() {
                        found.name.clone_from(&set.name);
                    }
                    if let Some(aliases) = &set.aliases {
                        found.aliases.clone_from(aliases);
                    }
                    if let Some(labels) = &set.labels {
                        found.labels.clone_from(labels);
                    }
                }
            }
        }
        changes.len()
    }

    fn name_of(endpoint: &Endpoint) -> Option<&str> {
        endpoint.name.as_ref().map(Name::as_str)
    }

    #[test]
    fn networks_and_endpoints_get_dockers_names() {
        let view = view(&[("1", "db")]);
        let mut networks = [network("docker-N", Some("N")), network("own", None)];
        let mut endpoints = [
            endpoint("ep-1", "docker-N", "1"),
            endpoint("ep-2", "own", "9"),
        ];
        let asked = whom_to_ask_about(&view, &networks, &endpoints);
        assert_eq!(Vec::from_iter(asked), ["c1234567890123"]);
        assert_eq!(settle(&view, &mut networks, &mut endpoints), 2);
        assert_eq!(networks[0].spec.name.as_str(), "web");
        let found = &endpoints[0];
        assert_eq!(name_of(found), Some("db"));
        let aliases: Vec<_> = found.aliases.iter().map(Name::as_str).collect();
        assert_eq!(aliases, ["alias", "c12345678901", "host1"]);
        for (key, value) in [
            (labels::ENDPOINT_ID, "1"),
            (labels::CONTAINER_ID, "c1234567890123"),
            (labels::CONTAINER_NAME, "db"),
            (labels::COMPOSE[0], "shop"),
        ] {
            assert_eq!(found.labels[key], value);
        }
        assert_eq!(found.labels.len(), 4, "not every label is taken over");
        assert_eq!(name_of(&endpoints[1]), None);
        // In step, nobody is asked about and nothing changes.
        assert_eq!(what_to_change(&view, &networks, &endpoints), []);
        assert!(whom_to_ask_about(&view, &networks, &endpoints).is_empty());
    }

    #[test]
    fn a_renamed_container_is_renamed() {
        let mut networks = [network("web", Some("N"))];
        let mut endpoints = [endpoint("ep-1", "web", "1")];
        settle(&view(&[("1", "db")]), &mut networks, &mut endpoints);
        let later = view(&[("1", "db2")]);
        assert_eq!(whom_to_ask_about(&later, &networks, &endpoints).len(), 1);
        settle(&later, &mut networks, &mut endpoints);
        assert_eq!(name_of(&endpoints[0]), Some("db2"));
        assert_eq!(endpoints[0].labels[labels::CONTAINER_NAME], "db2");
    }

    #[test]
    fn who_has_a_name_keeps_it_until_it_goes() {
        let view = view(&[("1", "db"), ("2", "a name that is none")]);
        let mut networks = [network("docker-N", Some("N")), network("web", None)];
        let mut endpoints = [
            endpoint("ep-1", "docker-N", "1"),
            endpoint("ep-2", "docker-N", "2"),
            Endpoint {
                name: Some(name("db")),
                ..endpoint("ep-3", "docker-N", "3")
            },
        ];
        assert_eq!(settle(&view, &mut networks, &mut endpoints), 2);
        assert_eq!(networks[0].spec.name.as_str(), "docker-N");
        assert_eq!(
            (name_of(&endpoints[0]), name_of(&endpoints[1])),
            (None, None)
        );
        assert_eq!(endpoints[0].labels[labels::CONTAINER_NAME], "db");
        assert_eq!(what_to_change(&view, &networks, &endpoints), []);
        assert!(whom_to_ask_about(&view, &networks, &endpoints).is_empty());
        // Their owners gone, the names are free.
        assert_eq!(settle(&view, &mut networks[..1], &mut endpoints[..2]), 2);
        assert_eq!(networks[0].spec.name.as_str(), "web");
        assert_eq!(name_of(&endpoints[0]), Some("db"));
    }

    #[test]
    fn what_dockerd_does_not_know_stays() {
        let networks = [network("docker-M", Some("M"))];
        let endpoints = [endpoint("ep-1", "docker-M", "1")];
        let view = view(&[("1", "db")]);
        assert_eq!(what_to_change(&view, &networks, &endpoints), []);
    }
}
