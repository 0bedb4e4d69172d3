//! The daemon's effects on the host's network: links, routes, bridges, each in a namespace that
//! stands for the host's.

mod bridge;
mod facts;
mod links;
mod monitor;
mod netns;
mod routes;

use host::{Error, Links, NamespaceRef, Netns};
use testbed::{Namespace, link};

/// The namespace, as the daemon finds one.
fn found(namespace: &Namespace) -> Netns {
    Netns::find(NamespaceRef::Path(namespace.path())).unwrap()
}

/// Two namespaces, joined by a veth whose ends are both `eth0`; the first has an address of each
/// IP version.
fn joined() -> [Namespace; 2] {
    let [host, other] = [(); 2].map(|()| Namespace::new().unwrap());
    link::veth(&host, "eth0", &other, "eth0").unwrap();
    link::address(&host, "eth0", "198.51.100.2/24").unwrap();
    link::address(&host, "eth0", "2001:db8::2/64").unwrap();
    [host, other]
}

/// Runs `work` on the interfaces of a namespace.
fn with_links<T: Send>(netns: &Netns, work: impl FnOnce(&Links) -> Result<T, Error> + Send) -> T {
    netns.run(|inside| work(&inside.links()?)).unwrap()
}
