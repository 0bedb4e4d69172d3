//! The name server: who is known by which name, and the sockets it is asked at.
//!
//! Its sockets stand on each gateway's address in a namespace of our own, so nothing of the host's
//! is in the way, and nothing of the host's can be reached by them. What it forwards leaves from
//! the host's namespace.

use super::writer::Writer;
use crate::plan::Trouble;
use control::{Endpoint, Network, PlacedNetwork};
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
    /// Where it is asked.
    pub(super) serving: BTreeSet<(NetworkId, IpAddr)>,
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

    /// Answers questions that are asked at `ip`, an address of the namespace.
    pub(super) fn serve(
        &mut self,
        netns: &Private,
        network: NetworkId,
        ip: IpAddr,
    ) -> Result<(), Trouble> {
        let key = NetworkKey(network.0);
        let (udp, tcp) = netns.run(|_| listen(ip))?;
        self.server.serve(vec![(key, udp)], vec![(key, tcp)])?;
        self.serving.insert((network, ip));
        Ok(())
    }

    /// Closes the sockets of a network.
    pub(super) fn withdraw(&mut self, network: NetworkId) {
        let withdrawn = self.server.withdraw(NetworkKey(network.0));
        self.runtime.block_on(withdrawn);
        self.serving.retain(|(of, _)| *of != network);
    }

    /// Closes all sockets.
    pub(super) fn withdraw_all(&mut self) {
        let networks: BTreeSet<NetworkId> = self.serving.iter().map(|(id, _)| *id).collect();
        for network in networks {
            self.withdraw(network);
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
            .filter_map(|e| Some(endpoint_of(e, &*self.state.network(e.network)?)))
            .collect();
        let zones = Zones::new(None, networks, endpoints);
        self.servers.names.publish(zones);
    }

    /// Networks whose containers are known by their addresses.
    fn answered(&self) -> impl Iterator<Item = PlacedNetwork<'_>> {
        self.state.networks().filter(|network| !network.overlapping)
    }
}

fn listen(ip: IpAddr) -> Result<(UdpSocket, TcpListener), Trouble> {
    let at = SocketAddr::new(ip, DNS);
    let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

/// RFC 1035, 4.2.
const DNS: u16 = 53;

fn network_of(network: PlacedNetwork<'_>) -> names::Network {
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
        .filter_map(|name| name.as_str().parse().ok())
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
