//! From what dockerd says and what Clearway has to what is to be done: pure.

use crate::labels;
use crate::portmap::{Whole, merged};
use api::{
    Adoption, Attach, Endpoint, EndpointSet, IpProtocol, Join, Listener, Mac, Masquerade, Name,
    Netns, Network, NetworkSet, Outside, PortRange, Publication, PublicationCreate, Via,
};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// The state of Clearway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ours {
    pub(super) adoptions: Vec<Adoption>,
    pub(super) networks: Vec<Network>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) publications: Vec<Publication>,
}

/// The state of dockerd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Theirs {
    /// Its networks, by their bridges; of one that is missing dockerd says nothing.
    pub(super) networks: BTreeMap<String, DockerNetwork>,
    /// The containers in them, by their ids.
    pub(super) containers: BTreeMap<String, Container>,
}

/// A network of Docker's own bridge driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DockerNetwork {
    pub(super) internal: bool,
    pub(super) icc: bool,
    pub(super) masquerade: bool,
    /// Its containers' ids, by their endpoints'.
    pub(super) members: BTreeMap<String, String>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) sandbox: PathBuf,
    pub(super) labels: BTreeMap<String, String>,
    /// Its memberships in networks, by its endpoints' ids.
    pub(super) members: BTreeMap<String, Member>,
    pub(super) bindings: Vec<Binding>,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) mac: Mac,
    pub(super) addresses: Vec<IpNet>,
    pub(super) aliases: Vec<String>,
}

/// A port of the host's that leads to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) host: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) to: u16,
    pub(super) protocol: IpProtocol,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// A container is gone.
    Detach(Name),
    /// A container is new.
    Attach(Box<Attach>),
    /// Its interface is there.
    Join(Name, Join),
    /// It has ports.
    Publish(PublicationCreate),
    /// It is called otherwise.
    SetEndpoint(Name, EndpointSet),
    /// A network is to be otherwise.
    SetNetwork(Name, NetworkSet),
}

/// Docker's id of an adopted endpoint. Not [`labels::ENDPOINT_ID`], which says that dockerd has made
/// it through the driver.
const ADOPTED: &str = "clearway.docker.adopted";

/// Returns what has to be done for both sides to have the same containers. What frees something comes first.
/// Done, it makes room for what depends on it: the next look says what that is.
pub(super) fn what_to_do(theirs: &Theirs, ours: &Ours) -> Vec<Act> {
    let mut acts = Vec::new();
    for adoption in &ours.adoptions {
        let Some(network) = theirs.networks.get(adoption.bridge.as_str()) else {
            continue;
        };
        acts.extend(settings(network, &adoption.network, ours));
        acts.extend(gone(network, &adoption.network, ours));
    }
    for adoption in &ours.adoptions {
        let Some(network) = theirs.networks.get(adoption.bridge.as_str()) else {
            continue;
        };
        for (id, container_id) in &network.members {
            let Some(container) = theirs.containers.get(container_id) else {
                continue;
            };
            let Some(member) = container.members.get(id) else {
                continue;
            };
            let wanted = Wanted {
                network: &adoption.network,
                id,
                container_id,
                container,
                member,
            };
            acts.extend(wanted.acts(ours));
        }
    }
    acts
}

/// A container that is to be on a network of ours.
struct Wanted<'a> {
    network: &'a Name,
    id: &'a str,
    container_id: &'a str,
    container: &'a Container,
    member: &'a Member,
}

impl Wanted<'_> {
    fn acts(&self, ours: &Ours) -> Vec<Act> {
        let there = ours
            .endpoints
            .iter()
            .find(|e| adopted_as(e) == Some(self.id));
        let Some(endpoint) = there else {
            return vec![Act::Attach(Box::new(self.attach(ours)))];
        };
        if endpoint.netns.is_none() {
            let join = Join {
                netns: Netns::Path(self.container.sandbox.clone()),
                ifname: "eth0".to_owned(),
                via: Via::Veth { host: None },
            };
            return vec![Act::Join(endpoint.id.clone(), join)];
        }
        let renamed = self.renamed(endpoint, ours);
        let publish = |ports| Act::Publish(ports);
        let ports = self.unpublished(endpoint, ours).into_iter().map(publish);
        renamed.into_iter().chain(ports).collect()
    }

    fn attach(&self, ours: &Ours) -> Attach {
        Attach {
            mac: Some(self.member.mac),
            addresses: self.member.addresses.clone(),
            name: self.name(None, ours),
            aliases: self.aliases(),
            labels: self.labels(),
            ..Attach::unjoined(self.network.clone())
        }
    }

    /// The container's name, if it is one here and nobody else's in the network.
    fn name(&self, own: Option<&Name>, ours: &Ours) -> Option<Name> {
        let name: Name = self.container.name.parse().ok()?;
        let mut others = ours.endpoints.iter().filter(|e| Some(&e.id) != own);
        let taken = others.any(|e| {
            e.network == *self.network && (e.name.as_ref() == Some(&name) || e.id == name)
        });
        (!taken).then_some(name)
    }

    fn aliases(&self) -> Vec<Name> {
        let names = self.member.aliases.iter().filter_map(|a| a.parse().ok());
        names
            .filter(|n: &Name| n.as_str() != self.container.name)
            .collect()
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let container = self.container;
        labels::of_container(self.container_id, &container.name, &container.labels)
            .chain([(ADOPTED.to_owned(), self.id.to_owned())])
            .collect()
    }

    fn renamed(&self, endpoint: &Endpoint, ours: &Ours) -> Option<Act> {
        let name = self.name(Some(&endpoint.id), ours);
        let (aliases, labels) = (self.aliases(), self.labels());
        let set = EndpointSet {
            name: name.filter(|name| Some(name) != endpoint.name.as_ref()),
            aliases: (aliases != endpoint.aliases).then_some(aliases),
            labels: (labels != endpoint.labels).then_some(labels),
        };
        let empty = set == EndpointSet::default();
        (!empty).then(|| Act::SetEndpoint(endpoint.id.clone(), set))
    }

    /// Its ports that are not published yet, several in a row as one.
    fn unpublished(&self, endpoint: &Endpoint, ours: &Ours) -> Vec<PublicationCreate> {
        let wanted = self.container.bindings.iter().filter(|b| self.is_ours(b));
        let missing = wanted.filter(|b| !ours.publications.iter().any(|p| covers(&p.spec, b)));
        merged(missing.filter_map(Binding::whole).collect())
            .into_iter()
            .map(|ports| PublicationCreate {
                listener: Listener::Another,
                ..ports.of(&endpoint.id)
            })
            .collect()
    }

    /// Returns what is for the host alone never comes by a NIC, and what has an address of the other family
    /// than the container is `docker-proxy`'s.
    fn is_ours(&self, binding: &Binding) -> bool {
        let same_family = |host: IpAddr| {
            let mut addresses = self.member.addresses.iter();
            addresses.any(|net| net.addr().is_ipv4() == host.is_ipv4())
        };
        match binding.host {
            None => true,
            Some(host) => !host.is_loopback() && same_family(host),
        }
    }
}

impl Binding {
    /// Returns what is published for it; nothing for port 0, which is none.
    fn whole(&self) -> Option<Whole> {
        let ports = PortRange::new(self.port, self.port)?;
        Some(Whole {
            outside: Outside {
                host: self.host,
                ports,
                protocol: self.protocol,
            },
            to: self.to,
        })
    }
}

/// Returns what a network of Docker's wants of the one that stands in for it.
fn settings(network: &DockerNetwork, name: &Name, ours: &Ours) -> Option<Act> {
    let own = ours.networks.iter().find(|n| n.spec.name == *name)?;
    let routing = &own.spec.routing;
    let differs = |wanted: bool, is: bool| (wanted != is).then_some(wanted);
    let masquerade = if network.masquerade {
        Masquerade::On
    } else {
        Masquerade::Off
    };
    let set = NetworkSet {
        internal: differs(network.internal, routing.internal),
        icc: differs(network.icc, routing.icc),
        masquerade: (masquerade != routing.masquerade).then_some(masquerade),
        ..NetworkSet::default()
    };
    let empty = set == NetworkSet::default();
    (!empty).then(|| Act::SetNetwork(name.clone(), set))
}

/// Adopted endpoints whose container is not in the network any more.
fn gone(network: &DockerNetwork, name: &Name, ours: &Ours) -> Vec<Act> {
    let known: BTreeSet<&str> = network.members.keys().map(String::as_str).collect();
    let own = ours.endpoints.iter().filter(|e| e.network == *name);
    let gone = own.filter(|e| adopted_as(e).is_some_and(|id| !known.contains(id)));
    gone.map(|e| Act::Detach(e.id.clone())).collect()
}

fn adopted_as(endpoint: &Endpoint) -> Option<&str> {
    endpoint.labels.get(ADOPTED).map(String::as_str)
}

/// Returns whether a binding is published: several networks of one container have the same bindings, of
/// which one is enough.
fn covers(spec: &PublicationCreate, binding: &Binding) -> bool {
    spec.protocol == binding.protocol
        && spec.host == binding.host
        && spec.ports.contains(binding.port)
}

#[cfg(test)]
mod tests;
