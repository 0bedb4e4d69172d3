//! Calls about endpoints.

use super::core::Core;
use super::open::{self, OpenPort, Opened, netns_of};
use super::refuse::{KernelError, refused};
use super::translate;
use api::{ApiError, Attach, Detach};
use control::{Endpoint, NamespaceId, Sandbox};
use host::Netns;

impl Core {
    /// Attaches a container.
    pub(super) fn attach(&mut self, attach: &Attach) -> Result<api::Endpoint, ApiError> {
        let (netns, sandbox) = find(&attach.netns)?;
        let request = translate::attach_request(attach, sandbox);
        let planned = self.state.attach(&request).or_else(|_| {
            // What is in the way may belong to a container that ended since the last look.
            self.retire_gone();
            self.retire_dead(request.sandbox.identity, &request.ifname);
            self.state.attach(&request)
        });
        let (endpoint, change, plan) = planned.map_err(|error| refused(&error))?;
        let made = open::make_endpoint(&netns, &plan).map_err(|error| error.to_api())?;
        // Dropped on the way out, what was made is unmade.
        let opened = Opened::from(made);
        let begun = self.begin(change)?;
        if let Err(error) = opened.persist() {
            self.revert(begun);
            return Err(error.to_api());
        }
        // The interface is up and has things to say: the topology knows it before they are read.
        self.publish(begun);
        self.live.settle(&self.state);
        self.take_in(endpoint.port, Some(netns), opened)?;
        tracing::info!(endpoint = %endpoint.id, netns = %attach.netns, ifname = %endpoint.ifname, "attached");
        self.endpoint(&endpoint)
    }

    /// Detaches a container.
    pub(super) fn detach(&mut self, detach: &Detach) -> Result<api::Endpoint, ApiError> {
        let endpoint = match detach {
            Detach::Endpoint(name) => self
                .state
                .endpoint_named(name.as_str())
                .map_err(|error| refused(&error))?,
            Detach::Interface { netns, ifname } => self.find_endpoint(netns, ifname)?,
        }
        .clone();
        let answer = self.endpoint(&endpoint)?;
        let (_, change, _) = self
            .state
            .detach(endpoint.id)
            .map_err(|error| refused(&error))?;
        let begun = self.begin(change)?;
        self.publish(begun);
        let open = self
            .open
            .get(&endpoint.port)
            .is_some_and(OpenPort::is_tap_held);
        self.close_for_good(endpoint.port);
        self.live.settle(&self.state);
        if !open {
            remove_leftover(&endpoint);
        }
        tracing::info!(endpoint = %endpoint.id, "detached");
        Ok(answer)
    }

    /// All endpoints, by name.
    pub(super) fn endpoints(&self) -> Vec<api::Endpoint> {
        let mut all: Vec<_> = self
            .state
            .endpoints()
            .filter_map(|e| translate::endpoint(&self.state, e))
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Result<api::Endpoint, ApiError> {
        translate::endpoint(&self.state, endpoint)
            .ok_or_else(|| ApiError::internal(format!("endpoint {} is not whole", endpoint.id)))
    }

    fn find_endpoint(&self, netns: &api::Netns, ifname: &str) -> Result<&Endpoint, ApiError> {
        // By what it is while it is there, and by how it was named when it is not.
        let identity = find(netns).ok().map(|(_, sandbox)| sandbox.identity);
        let named = translate::namespace(netns);
        let is = |e: &&Endpoint| {
            e.ifname == ifname
                && (Some(e.sandbox.identity) == identity || e.sandbox.namespace == named)
        };
        let missing = || {
            ApiError::not_found(format!(
                "no endpoint has interface {ifname} in network namespace {netns}"
            ))
        };
        self.state.endpoints().find(is).ok_or_else(missing)
    }
}

/// The namespace that is named.
pub(super) fn find(netns: &api::Netns) -> Result<(Netns, Sandbox), ApiError> {
    let found =
        Netns::find(translate::place(netns)).map_err(|error| KernelError::from(error).to_api())?;
    let identity = found.identity();
    let identity = NamespaceId {
        device: identity.device,
        inode: identity.inode,
    };
    let sandbox = Sandbox {
        namespace: translate::namespace(netns),
        identity,
    };
    Ok((found, sandbox))
}

/// Removes an interface that an earlier daemon left and this one could not open.
fn remove_leftover(endpoint: &Endpoint) {
    let netns = netns_of(&endpoint.sandbox);
    let removed = netns.run(|inside| inside.links()?.remove(&endpoint.ifname));
    if let Err(error) = removed
        && !error.is_namespace_gone()
    {
        tracing::warn!(%error, "an interface was left behind");
    }
}
