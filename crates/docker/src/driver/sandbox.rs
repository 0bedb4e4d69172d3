//! Sandboxes: an endpoint's interface comes into a container, and goes.
//!
//! dockerd insists on moving the interface itself: it is made in the daemon's namespace, called
//! after the endpoint, and dockerd moves and renames it, gives it its addresses and sets it up.
//! dockerd counts the interfaces of a container, so their names are a prefix and its number.

use super::Driver;
use super::messages::{EndpointRef, InterfaceName, Join, Joined};
use crate::error::{Refusal, gone};
use crate::labels;
use api::{Endpoint, Netns, Via};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

impl Driver {
    /// Makes an endpoint's interface; content when it is there for that very sandbox.
    pub(crate) fn join(&self, request: &Join) -> Result<Joined, Refusal> {
        let endpoint = self.endpoint(&request.endpoint_id)?;
        let join = api::Join {
            netns: Netns::Path(self.path_here(&request.sandbox_key)),
            ifname: ifname_of(&request.endpoint_id),
            via: Via::MovedTap,
        };
        join.check()?;
        let there = endpoint.netns.as_ref() == Some(&join.netns)
            && endpoint.ifname == join.ifname
            && endpoint.via == join.via;
        if !there {
            self.client.endpoint_join(&endpoint.id, &join)?;
        }
        let dst_prefix = self.dst_prefix(&endpoint, &request.network_id)?;
        self.changed.notify_one();
        Ok(joined(&endpoint, join.ifname, dst_prefix))
    }

    /// Takes an endpoint's interface away, and what is published of it: dockerd 29 forgets to say
    /// the latter after a live restore. Content when there is no such endpoint.
    pub(crate) fn leave(&self, request: &EndpointRef) -> Result<(), Refusal> {
        if let Some(endpoint) = self.find_endpoint(&request.endpoint_id)? {
            gone(self.client.endpoint_leave(&endpoint.id))?;
        }
        Ok(())
    }

    /// Returns what dockerd calls an interface before its number: the endpoint's word, the network's, `eth`.
    fn dst_prefix(&self, endpoint: &Endpoint, network_id: &str) -> Result<String, Refusal> {
        if let Some(own) = endpoint.labels.get(labels::IFACE_PREFIX) {
            return Ok(own.clone());
        }
        let network = self.find_network(network_id)?;
        let prefix = network.and_then(|mut n| n.spec.labels.remove(labels::IFACE_PREFIX));
        Ok(prefix.unwrap_or_else(|| "eth".to_owned()))
    }

    /// A sandbox's path as the daemon sees it.
    fn path_here(&self, sandbox: &Path) -> PathBuf {
        let moved = self.netns_prefix.as_ref().and_then(|(theirs, ours)| {
            let rest = sandbox.strip_prefix(theirs).ok()?;
            Some(ours.join(rest))
        });
        moved.unwrap_or_else(|| sandbox.to_owned())
    }
}

/// Returns what an endpoint's interface is called before it is moved: 13 bytes at most.
fn ifname_of(endpoint_id: &str) -> String {
    let short = endpoint_id.get(..11).unwrap_or(endpoint_id);
    format!("cw{short}")
}

/// An endpoint has no gateways when its network is internal or has none; dockerd is to find no
/// other way out for it then.
fn joined(endpoint: &Endpoint, src_name: String, dst_prefix: String) -> Joined {
    let mut gateways = endpoint.gateways.iter().copied();
    let gateway = gateways.clone().find(IpAddr::is_ipv4);
    let gateway_ipv6 = gateways.find(IpAddr::is_ipv6);
    Joined {
        interface_name: InterfaceName {
            src_name,
            dst_prefix,
        },
        gateway,
        gateway_ipv6,
        disable_gateway_service: gateway.is_none() && gateway_ipv6.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[test]
    fn a_managed_plugin_sees_sandboxes_elsewhere() {
        let driver = |prefix| {
            let client = api::Client::new("/nonexistent");
            Driver::new(client, prefix, Arc::new(Notify::new()))
        };
        let key = Path::new("/var/run/docker/netns/4ac1e87d387e");
        assert_eq!(driver(None).path_here(key), key);
        let moved = driver(Some(("/var/run/docker".into(), "/run/docker-host".into())));
        assert_eq!(
            moved.path_here(key),
            Path::new("/run/docker-host/netns/4ac1e87d387e")
        );
        let elsewhere = Path::new("/var/run/dockers/x");
        assert_eq!(moved.path_here(elsewhere), elsewhere);
    }

    #[test]
    fn interfaces_are_called_after_their_endpoints() {
        let name = ifname_of("784700c01f0cc11eeb92d9561b0619d5");
        assert_eq!(name, "cw784700c01f0");
        assert_eq!(ifname_of("ab"), "cwab");
    }
}
