//! The name server: who is known by which name, and the sockets it is asked at.
//!
//! Its sockets stand on each gateway's address in a namespace of our own, so nothing of the host's
//! is in the way, and nothing of the host's can be reached by them. What it forwards leaves from
//! the host's namespace.

use super::writer::Writer;
use control::{Endpoint, Network};
use host::Private;
use names::{HostName, NetworkKey, Reach, SandboxKey, Zones};
use pipeline::NetworkId;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// The name server and what it serves.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) names: names::Names,
    server: names::Server,
    serving: BTreeSet<(NetworkId, IpAddr)>,
    runtime: tokio::runtime::Handle,
}

impl Servers {
    /// A server that serves nothing yet. Called from a thread of the runtime it is to run on.
    pub(super) fn start() -> Self {
        let (names, runtime) = (names::Names::new(), tokio::runtime::Handle::current());
        let resolvers = names::Resolvers::follow("/etc/resolv.conf");
        let settings = names::Settings::default();
        Self {
            server: names::Server::new(runtime.clone(), names.clone(), resolvers, settings),
            names,
            serving: BTreeSet::new(),
            runtime,
        }
    }
}

impl Writer {
    /// Tells the name server who there is. Every question decided afterwards knows.
    pub(super) fn publish_names(&self) {
        let networks: Vec<_> = self.answered().map(network_of).collect();
        let named = |e: &&Endpoint| self.answered().any(|n| n.id == e.network);
        let endpoints: Vec<_> = self
            .state
            .endpoints()
            .filter(named)
            .filter_map(|e| Some(endpoint_of(e, self.state.network(e.network)?)))
            .collect();
        let zones = Zones::new(None, networks, endpoints);
        self.servers.names.publish(zones);
    }

    /// Networks whose containers are known by their addresses.
    fn answered(&self) -> impl Iterator<Item = &Network> {
        self.state.networks().filter(|network| !network.overlapping)
    }

    /// Listens at every gateway's address.
    pub(super) fn serve_names(&mut self, netns: &Private, troubles: &mut Vec<String>) {
        let wanted: BTreeSet<(NetworkId, IpAddr)> = self
            .answered()
            .flat_map(|n| n.subnets.iter().filter_map(|s| Some((n.id, s.gateway?))))
            .collect();
        let Servers {
            server,
            serving,
            runtime,
            ..
        } = &mut self.servers;
        let stale: BTreeSet<NetworkId> = serving.difference(&wanted).map(|(id, _)| *id).collect();
        for id in stale {
            runtime.block_on(server.withdraw(NetworkKey(id.0)));
            serving.retain(|(network, _)| *network != id);
        }
        for (id, ip) in wanted {
            if serving.contains(&(id, ip)) {
                continue;
            }
            let key = NetworkKey(id.0);
            let served = netns.run(|_| listen(ip)).and_then(|(udp, tcp)| {
                server
                    .serve(vec![(key, udp)], vec![(key, tcp)])
                    .map_err(Unheard)
            });
            match served {
                Ok(()) => {
                    serving.insert((id, ip));
                }
                Err(Unheard(error)) => {
                    troubles.push(format!("nobody can ask for names at {ip}: {error}"));
                }
            }
        }
    }
}

/// Why a socket is not there.
struct Unheard(std::io::Error);

impl From<host::Error> for Unheard {
    fn from(error: host::Error) -> Self {
        Self(std::io::Error::other(error.to_string()))
    }
}

fn listen(ip: IpAddr) -> Result<(UdpSocket, TcpListener), Unheard> {
    let at = SocketAddr::new(ip, DNS);
    let opened = || {
        let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((udp, tcp))
    };
    opened().map_err(Unheard)
}

/// RFC 1035, 4.2.
const DNS: u16 = 53;

fn network_of(network: &Network) -> names::Network {
    names::Network {
        key: NetworkKey(network.id.0),
        name: network.name.parse().ok(),
        reach: if network.routing.internal {
            Reach::Internal
        } else {
            Reach::Outside
        },
        subnets: network.subnets.iter().map(|s| s.net).collect(),
    }
}

/// Its names stand alone and under its network's search domain, which is the world's where nobody
/// here has the name.
fn endpoint_of(endpoint: &Endpoint, network: &Network) -> names::Endpoint {
    let short: Vec<HostName> = endpoint
        .name
        .iter()
        .chain(&endpoint.aliases)
        // What is no host name was refused when it was given.
        .filter_map(|name| name.parse().ok())
        .collect();
    let domain = network.routing.search_domain.get();
    let domain: Option<HostName> = domain.and_then(|domain| domain.parse().ok());
    let full: Vec<HostName> = short
        .iter()
        .filter_map(|name| name.join(domain.as_ref()?))
        .collect();
    let sandbox = endpoint
        .sandbox
        .as_ref()
        .and_then(|sandbox| sandbox.identity);
    names::Endpoint {
        network: NetworkKey(endpoint.network.0),
        sandbox: sandbox.map(|id| SandboxKey(id.inode ^ id.device.rotate_left(32))),
        names: [short, full].concat(),
        addresses: endpoint.addresses.iter().map(ipnet::IpNet::addr).collect(),
    }
}
