//! Endpoints.

use super::messages::{CreateEndpoint, EndpointCreated, EndpointRef, Interface, MacChosen};
use super::network::name_of;
use super::{Driver, has};
use crate::error::{Refusal, gone};
use crate::labels;
use crate::options::apply_to_endpoint;
use api::{Attach, Detach, Endpoint, Netns};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Driver {
    /// Makes an endpoint that waits for its sandbox; content when this very request made it before.
    pub(crate) fn create_endpoint(
        &self,
        request: &CreateEndpoint,
        fingerprint: &str,
    ) -> Result<EndpointCreated, Refusal> {
        let id = &request.endpoint_id;
        let endpoints = self.client.endpoints()?;
        if let Some(old) = endpoints
            .iter()
            .find(|e| has(&e.labels, labels::ENDPOINT_ID, id))
        {
            if has(&old.labels, labels::REQUEST, fingerprint) {
                return Ok(created(&request.interface, old));
            }
            return Err(Refusal::Differs {
                what: "endpoint",
                id: id.clone(),
            });
        }
        let mut options = attach_of(request)?;
        let own_labels = &mut options.labels;
        own_labels.insert(labels::ENDPOINT_ID.to_owned(), id.clone());
        own_labels.insert(labels::REQUEST.to_owned(), fingerprint.to_owned());
        let made = self.with_network(&request.network_id, |network| {
            let attach = Attach {
                network: network.spec.name.clone(),
                ..options.clone()
            };
            for stale in endpoints.iter().filter(|e| is_in_the_way(e, &attach)) {
                tracing::info!(endpoint = %stale.id, "removed: Docker gave its address to another");
                gone(self.client.detach(&Detach::Endpoint(stale.id.clone())))?;
            }
            self.client.attach(&attach)
        })?;
        let made = made.ok_or_else(|| Refusal::NoNetwork(request.network_id.clone()))?;
        Ok(created(&request.interface, &made))
    }

    /// Removes an endpoint; content when there is none.
    pub(crate) fn delete_endpoint(&self, request: &EndpointRef) -> Result<(), Refusal> {
        if let Some(endpoint) = self.find_endpoint(&request.endpoint_id)? {
            gone(self.client.detach(&Detach::Endpoint(endpoint.id)))?;
        }
        Ok(())
    }

    /// Returns whether an endpoint is there.
    pub(crate) fn endpoint_info(&self, request: &EndpointRef) -> Result<(), Refusal> {
        self.endpoint(&request.endpoint_id).map(|_| ())
    }
}

/// Returns what Docker asks for, in a network yet to be named, without the labels that tell whose it is.
fn attach_of(request: &CreateEndpoint) -> Result<Attach, Refusal> {
    let interface = &request.interface;
    let addresses = [interface.address, interface.address_ipv6];
    let mut attach = Attach {
        mac: interface.mac_address,
        addresses: addresses.into_iter().flatten().collect(),
        ..Attach::unjoined(name_of(&request.network_id)?)
    };
    // Without an IPAM the container finds its addresses itself, so it cannot be locked to any.
    attach.locked = !attach.addresses.is_empty();
    apply_to_endpoint(&mut attach, &request.options)?;
    attach.check()?;
    Ok(attach)
}

/// The MAC address, if it was left to us.
fn created(asked: &Interface, endpoint: &Endpoint) -> EndpointCreated {
    let ours = asked.mac_address.is_none();
    EndpointCreated {
        interface: ours.then_some(MacChosen {
            mac_address: endpoint.mac,
        }),
    }
}

/// Returns whether an endpoint is one that a killed dockerd forgot, and has what the new one is to have:
/// dockerd gives addresses anew after that, without a word about their old owners.
fn is_in_the_way(old: &Endpoint, new: &Attach) -> bool {
    let address = |net: &ipnet::IpNet| -> IpAddr { net.addr() };
    let wanted: Vec<IpAddr> = new.addresses.iter().map(address).collect();
    old.network == new.network
        && old.labels.contains_key(labels::ENDPOINT_ID)
        && old
            .addresses
            .iter()
            .map(address)
            .any(|a| wanted.contains(&a))
        && !is_in_a_sandbox(old)
}

/// Returns whether an endpoint's sandbox is there. When a sandbox ends dockerd unmounts its namespace, and
/// leaves an empty file at the path for up to a minute.
pub(crate) fn is_in_a_sandbox(endpoint: &Endpoint) -> bool {
    match &endpoint.netns {
        None => false,
        Some(Netns::Path(path)) => file_system(path)
            .is_some_and(|own| Some(own) == file_system(Path::new("/proc/self/ns/net"))),
        Some(Netns::Name(_) | Netns::Pid(_)) => true,
    }
}

fn file_system(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.dev())
}
