//! Questions to dockerd about networks whose bridges are adopted, and the containers in them.

use super::plan::{Binding, Container, DockerNetwork, Member, Ours, Theirs};
use crate::names::{self, AskError};
use api::IpProtocol;
use bollard::models::{ContainerInspectResponse, EndpointSettings, NetworkInspect, PortBinding};
use futures_util::Stream;
use futures_util::future::join_all;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// dockerd, on one socket, and what it said of containers.
#[derive(Debug)]
pub(super) struct Dockerd {
    asked: names::Dockerd,
    /// Containers by their ids. What a container is in a network stays while its endpoint there
    /// does: each is asked about once.
    seen: Mutex<BTreeMap<String, Container>>,
}

impl Dockerd {
    /// Finds the socket.
    pub(super) fn connect(socket: &Path) -> Result<Self, AskError> {
        let asked = names::Dockerd::connect(socket)?;
        let seen = Mutex::default();
        Ok(Self { asked, seen })
    }

    /// Something that may be a reason to look, each time it happens.
    pub(super) fn events(&self) -> impl Stream<Item = Result<(), AskError>> {
        self.asked.events()
    }

    /// The networks of adopted bridges, with those of their containers that we do not have yet as
    /// they are, or that may have changed.
    pub(super) async fn view(&self, ours: &Ours) -> Result<Theirs, AskError> {
        let mut theirs = Theirs::default();
        let mut present = Present::default();
        let bridges: BTreeSet<&str> = ours.adoptions.iter().map(|a| a.bridge.as_str()).collect();
        for (id, bridge) in self.asked.bridges().await? {
            if !bridges.contains(bridge.as_str()) {
                continue;
            }
            if let Some(network) = self.asked.inspected_network(&id).await? {
                present.add(&network);
                theirs.networks.insert(bridge, network_of(network));
            }
        }
        theirs.containers = self.seen_of(&present);
        let new = present
            .0
            .keys()
            .filter(|id| !theirs.containers.contains_key(*id));
        // dockerd answers for a container that is being started when it has started: none is to wait
        // for another.
        let asked = new.map(|id| async {
            let found = self.asked.inspected_container(id).await;
            found.map(|found| Some((id.clone(), container_of(found?))))
        });
        for answer in join_all(asked).await {
            theirs.containers.extend(answer?);
        }
        self.seen().clone_from(&theirs.containers);
        Ok(theirs)
    }

    /// Those that are as they were when they were asked about.
    fn seen_of(&self, present: &Present) -> BTreeMap<String, Container> {
        let seen = self.seen();
        let same = seen
            .iter()
            .filter(|(id, container)| present.is(id, container));
        same.map(|(id, container)| (id.clone(), container.clone()))
            .collect()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is in the networks: containers by their ids, with their names and their endpoints' ids.
#[derive(Debug, Default)]
struct Present(BTreeMap<String, (String, BTreeSet<String>)>);

impl Present {
    fn add(&mut self, network: &NetworkInspect) {
        for (container, at) in network.containers.iter().flatten() {
            let (name, endpoints) = self.0.entry(container.clone()).or_default();
            if let Some(new) = &at.name {
                name.clone_from(new);
            }
            endpoints.extend(at.endpoint_id.clone());
        }
    }

    /// Returns whether this is still all there is to say of a container.
    fn is(&self, id: &str, container: &Container) -> bool {
        self.0.get(id).is_some_and(|(name, endpoints)| {
            let known = |endpoint| container.members.contains_key(endpoint);
            *name == container.name && endpoints.iter().all(known)
        })
    }
}

fn network_of(network: NetworkInspect) -> DockerNetwork {
    let options = network.options.unwrap_or_default();
    let is_on = |key: &str| options.get(key).is_none_or(|value| value != "false");
    // Of docker0 it says whether dockerd masquerades, which it does not with `--iptables=false`; of
    // others whether whoever made them wants it.
    let is_docker0 = options
        .get("com.docker.network.bridge.default_bridge")
        .is_some_and(|value| value == "true");
    let members = network.containers.unwrap_or_default().into_iter();
    DockerNetwork {
        internal: network.internal.unwrap_or_default(),
        icc: is_on("com.docker.network.bridge.enable_icc"),
        masquerade: is_docker0 || is_on("com.docker.network.bridge.enable_ip_masquerade"),
        members: members
            .filter_map(|(container, at)| Some((at.endpoint_id?, container)))
            .collect(),
    }
}

fn container_of(container: ContainerInspectResponse) -> Container {
    let settings = container.network_settings.unwrap_or_default();
    let labels = container.config.and_then(|config| config.labels);
    let name = container.name.unwrap_or_default();
    let networks = settings.networks.unwrap_or_default().into_values();
    Container {
        name: name.trim_start_matches('/').to_owned(),
        sandbox: settings.sandbox_key.unwrap_or_default().into(),
        labels: labels.unwrap_or_default().into_iter().collect(),
        members: networks.filter_map(member_of).collect(),
        bindings: bindings_of(settings.ports.unwrap_or_default()),
    }
}

fn member_of(at: EndpointSettings) -> Option<(String, Member)> {
    let address = |ip: Option<String>, length: Option<i64>| -> Option<IpNet> {
        let ip: IpAddr = ip?.parse().ok()?;
        IpNet::new(ip, u8::try_from(length?).ok()?).ok()
    };
    let addresses = [
        address(at.ip_address, at.ip_prefix_len),
        address(at.global_ipv6_address, at.global_ipv6_prefix_len),
    ];
    let aliases: BTreeSet<String> = at
        .aliases
        .into_iter()
        .chain(at.dns_names)
        .flatten()
        .collect();
    let member = Member {
        mac: at.mac_address?.parse().ok()?,
        addresses: addresses.into_iter().flatten().collect(),
        aliases: aliases.into_iter().collect(),
    };
    // One without is not as far: it is asked about again.
    (!member.addresses.is_empty()).then_some((at.endpoint_id?, member))
}

/// Returns what is published, as `80/tcp` and the host's addresses and ports that lead there.
fn bindings_of(ports: HashMap<String, Option<Vec<PortBinding>>>) -> Vec<Binding> {
    let mut found: BTreeMap<(String, Option<IpAddr>, u16), Binding> = BTreeMap::new();
    for (inside, outside) in ports {
        for binding in outside.into_iter().flatten() {
            if let Some(binding) = binding_of(&inside, &binding) {
                let key = (inside.clone(), binding.host, binding.port);
                found.insert(key, binding);
            }
        }
    }
    found.into_values().collect()
}

fn binding_of(inside: &str, outside: &PortBinding) -> Option<Binding> {
    let (to, protocol) = inside.split_once('/')?;
    let protocol: IpProtocol = protocol.parse().ok()?;
    let host = outside.host_ip.as_deref().unwrap_or_default();
    let host: Option<IpAddr> = match host {
        "" => None,
        address => Some(address.parse().ok()?),
    };
    Some(Binding {
        host,
        port: outside.host_port.as_deref()?.parse().ok()?,
        to: to.parse().ok()?,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EndpointResource;

    #[test]
    fn a_networks_options_are_read_and_docker0_masquerades_with_us() {
        let network = |options: &[(&str, &str)]| {
            let option = |(key, value): &(&str, &str)| {
                (
                    format!("com.docker.network.bridge.{key}"),
                    (*value).to_owned(),
                )
            };
            network_of(NetworkInspect {
                options: Some(options.iter().map(option).collect()),
                internal: Some(true),
                ..NetworkInspect::default()
            })
        };
        let off = ("enable_ip_masquerade", "false");
        assert!(!network(&[off]).masquerade);
        assert!(network(&[off, ("default_bridge", "true")]).masquerade);
        let plain = network(&[]);
        assert!(plain.masquerade && plain.icc && plain.internal);
        assert!(!network(&[("enable_icc", "false")]).icc);
    }

    #[test]
    fn bindings_are_read_as_docker_writes_them() {
        let binding = |host: &str, port: &str| PortBinding {
            host_ip: Some(host.to_owned()),
            host_port: Some(port.to_owned()),
        };
        let ports = HashMap::from([
            (
                "80/tcp".to_owned(),
                Some(vec![binding("0.0.0.0", "8080"), binding("::", "8080")]),
            ),
            ("53/udp".to_owned(), Some(vec![binding("", "5353")])),
            ("81/tcp".to_owned(), None),
            ("82/tcp".to_owned(), Some(vec![binding("0.0.0.0", "")])),
        ]);
        let shown: Vec<_> = bindings_of(ports)
            .iter()
            .map(|b| format!("{:?} {}->{}/{}", b.host, b.port, b.to, b.protocol))
            .collect();
        assert_eq!(
            shown,
            [
                "None 5353->53/udp",
                "Some(0.0.0.0) 8080->80/tcp",
                "Some(::) 8080->80/tcp"
            ]
        );
    }

    #[test]
    fn a_container_is_asked_about_again_when_it_was_renamed_or_connected() {
        let member = |endpoint: &str, name: &str| {
            let at = EndpointResource {
                name: Some(name.to_owned()),
                endpoint_id: Some(endpoint.to_owned()),
                ..EndpointResource::default()
            };
            NetworkInspect {
                containers: Some(HashMap::from([("c1".to_owned(), at)])),
                ..NetworkInspect::default()
            }
        };
        let there = Member {
            mac: "02:42:ac:11:00:02".parse().unwrap(),
            addresses: Vec::new(),
            aliases: Vec::new(),
        };
        let container = Container {
            name: "web".to_owned(),
            members: BTreeMap::from([("e1".to_owned(), there)]),
            ..Container::default()
        };
        for (networks, same) in [
            (vec![member("e1", "web")], true),
            (vec![member("e1", "till")], false),
            (vec![member("e2", "web")], false),
            (vec![member("e1", "web"), member("e2", "web")], false),
            (vec![], false),
        ] {
            let mut present = Present::default();
            networks.iter().for_each(|network| present.add(network));
            assert_eq!(present.is("c1", &container), same, "{present:?}");
        }
    }

    #[test]
    fn a_member_has_its_mac_and_its_addresses() {
        let at = EndpointSettings {
            endpoint_id: Some("e1".to_owned()),
            mac_address: Some("02:42:ac:11:00:02".to_owned()),
            ip_address: Some("172.17.0.2".to_owned()),
            ip_prefix_len: Some(16),
            global_ipv6_address: Some(String::new()),
            global_ipv6_prefix_len: Some(0),
            aliases: Some(vec!["db".to_owned()]),
            dns_names: Some(vec!["db".to_owned(), "web".to_owned()]),
            ..EndpointSettings::default()
        };
        let (id, member) = member_of(at.clone()).unwrap();
        assert_eq!(id, "e1");
        assert_eq!(member.addresses, ["172.17.0.2/16".parse().unwrap()]);
        assert_eq!(member.aliases, ["db", "web"]);
        // One that has not got there yet has none.
        let early = EndpointSettings {
            mac_address: Some(String::new()),
            ..at
        };
        assert_eq!(member_of(early), None);
    }
}
