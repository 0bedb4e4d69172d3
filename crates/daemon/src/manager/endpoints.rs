//! Calls about endpoints.

use super::refuse::{KernelError, refused};
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Manager, translate};
use super::{make, open};
use api::{
    ApiError, Attach, Datapath, DatapathKind, Detach, EndpointCalls, EndpointSet, ErrorCode, Join,
    Name, Policy, Via,
};
use control::{Change, Endpoint, EndpointId, NamespaceId, Sandbox, State};
use host::Netns;
use wire::MacAddr;

impl EndpointCalls for Manager {
    fn endpoints(&self) -> Result<Vec<api::Endpoint>, ApiError> {
        Ok(self.now().endpoints())
    }

    fn attach(&self, endpoint: &Attach) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.attach(endpoint))
    }

    fn endpoint(&self, name: &Name) -> Result<api::Endpoint, ApiError> {
        self.now().endpoint(name)
    }

    fn endpoint_set(&self, name: &Name, set: &EndpointSet) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.endpoint_set(name, set))
    }

    fn endpoint_remove(&self, name: &Name) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.detach(&Detach::Endpoint(name.clone())))
    }

    fn endpoint_join(&self, name: &Name, join: &Join) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.endpoint_join(name, join))
    }

    fn endpoint_leave(&self, name: &Name) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.endpoint_leave(name))
    }

    fn detach(&self, which: &Detach) -> Result<api::Endpoint, ApiError> {
        self.change(|writer| writer.detach(which))
    }

    fn policy(&self, endpoint: &Name) -> Result<Policy, ApiError> {
        self.now().policy(endpoint)
    }

    fn policy_set(&self, endpoint: &Name, policy: &Policy) -> Result<Policy, ApiError> {
        self.change(|writer| writer.policy_set(endpoint, policy))
    }

    fn policy_clear(&self, endpoint: &Name) -> Result<(), ApiError> {
        self.policy_set(endpoint, &Policy::default()).map(drop)
    }
}

impl Writer {
    /// Makes an endpoint; with a namespace its interface as well.
    pub(super) fn attach(&mut self, attach: &Attach) -> Result<api::Endpoint, ApiError> {
        let identity = attach.netns.as_ref().map(find).transpose()?;
        let network = self.state.network_named(attach.network.as_str()).ok();
        let network = network.map(|network| network.id);
        let datapath = match identity {
            Some(_) => self.datapath(network, attach.datapath)?,
            None => DatapathKind::default(),
        };
        let planned = self.state.attach(attach, identity, datapath).or_else(|_| {
            // What is in the way may belong to a container that ended since the last look.
            self.retire_gone();
            if let Some(identity) = identity {
                self.retire_dead(identity, &attach.ifname);
            }
            self.state.attach(attach, identity, datapath)
        });
        let (endpoint, change, _) = planned.map_err(|error| refused(&error))?;
        if endpoint.sandbox.is_some() {
            self.bring_in(&endpoint, change)?;
        } else {
            let begun = self.begin(change)?;
            self.publish(begun);
            self.live.settle(&self.state);
        }
        tracing::info!(endpoint = %endpoint.id, ifname = %endpoint.ifname, "made");
        shown(&self.state, &endpoint)
    }

    /// Gives an endpoint its interface.
    pub(super) fn endpoint_join(
        &mut self,
        name: &Name,
        join: &Join,
    ) -> Result<api::Endpoint, ApiError> {
        let id = self.endpoint_id(name)?;
        let identity = match join.via {
            Via::MovedTap => find_or_expect(&join.netns)?,
            Via::Tap | Via::Veth { .. } => Some(find(&join.netns)?),
        };
        let join = &self.with_veth(id, join, identity)?;
        let (network, asked) = match self.state.endpoint(id) {
            Some(endpoint) => (Some(endpoint.network), endpoint.asked),
            None => (None, Datapath::Auto),
        };
        let datapath = self.datapath(network, asked)?;
        let joined = self.state.join(id, join, identity, datapath).or_else(|_| {
            self.retire_gone();
            self.state.join(id, join, identity, datapath)
        });
        let (endpoint, change, _) = joined.map_err(|error| refused(&error))?;
        self.bring_in(&endpoint, change)?;
        tracing::info!(endpoint = %id, netns = %join.netns, ifname = %endpoint.ifname, "joined");
        shown(&self.state, &endpoint)
    }

    /// Takes an endpoint's interface away, and what is published of it.
    pub(super) fn endpoint_leave(&mut self, name: &Name) -> Result<api::Endpoint, ApiError> {
        let id = self.endpoint_id(name)?;
        let (endpoint, change) = self.state.leave(id).map_err(|error| refused(&error))?;
        self.change(change)?;
        tracing::info!(endpoint = %id, "left");
        shown(&self.state, &endpoint)
    }

    /// Changes an endpoint's names.
    pub(super) fn endpoint_set(
        &mut self,
        name: &Name,
        set: &EndpointSet,
    ) -> Result<api::Endpoint, ApiError> {
        let id = self.endpoint_id(name)?;
        let (endpoint, change) = self
            .state
            .set_endpoint(id, set)
            .map_err(|error| refused(&error))?;
        self.change(change)?;
        shown(&self.state, &endpoint)
    }

    /// The request, with the veth that it leaves for us to find.
    fn with_veth(
        &self,
        id: EndpointId,
        join: &Join,
        identity: Option<NamespaceId>,
    ) -> Result<Join, ApiError> {
        let mut join = join.clone();
        if let Via::Veth { host: host @ None } = &mut join.via {
            let endpoint = self.state.endpoint(id);
            let mac = endpoint.map_or(MacAddr::BROADCAST, |endpoint| endpoint.mac);
            let found = make::find_veth(&join.netns, identity, mac);
            let found = found.map_err(|error| error.to_api())?;
            join.ifname = found.inside;
            *host = Some(found.host);
        }
        Ok(join)
    }

    /// Makes the interface of an endpoint that `change` puts into its sandbox.
    fn bring_in(&mut self, endpoint: &Endpoint, change: Change) -> Result<(), ApiError> {
        let brought = self.try_bring_in(endpoint, change);
        if brought.is_err() {
            // Before anything else: a veth that is left would refuse the next attempt.
            let plan = self.state.plan(endpoint);
            make::unmake(&plan);
            open::Interface::of(&self.state, endpoint).give_back();
        }
        brought
    }

    fn try_bring_in(&mut self, endpoint: &Endpoint, change: Change) -> Result<(), ApiError> {
        // Dropped on the way out, what was made is unmade.
        let opened = make::make_endpoint(&self.state, endpoint).map_err(|error| error.to_api())?;
        let begun = self.begin(change)?;
        let programs = opened.programs;
        if let Err(error) = opened.persist().and_then(|()| self.put_programs(programs)) {
            self.revert(begun);
            return Err(error.to_api());
        }
        // The interface is up and has things to say: the topology knows it before they are read.
        self.publish(begun);
        self.live.settle(&self.state);
        let netns = open::watched(endpoint);
        self.take_in(endpoint.port, netns, opened)
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
        let answer = shown(&self.state, &endpoint)?;
        let (_, change) = self
            .state
            .detach(endpoint.id)
            .map_err(|error| refused(&error))?;
        let begun = self.begin(change)?;
        self.publish(begun);
        self.live.settle(&self.state);
        tracing::info!(endpoint = %endpoint.id, "detached");
        Ok(answer)
    }

    fn endpoint_id(&self, name: &Name) -> Result<EndpointId, ApiError> {
        let found = self.state.endpoint_named(name.as_str());
        found
            .map(|endpoint| endpoint.id)
            .map_err(|error| refused(&error))
    }

    fn find_endpoint(&self, netns: &api::Netns, ifname: &str) -> Result<&Endpoint, ApiError> {
        // By what it is while it is there, and by how it was named when it is not.
        let identity = find(netns).ok();
        let is_there =
            |s: &Sandbox| (identity.is_some() && s.identity == identity) || s.namespace == *netns;
        let is = |e: &&Endpoint| e.ifname == ifname && e.sandbox.as_ref().is_some_and(is_there);
        let missing = || {
            ApiError::not_found(format!(
                "no endpoint has interface {ifname} in network namespace {netns}"
            ))
        };
        self.state.endpoints().find(is).ok_or_else(missing)
    }
}

impl Snapshot {
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

    /// One endpoint.
    pub(super) fn endpoint(&self, name: &Name) -> Result<api::Endpoint, ApiError> {
        let found = self.state.endpoint_named(name.as_str());
        shown(&self.state, found.map_err(|error| refused(&error))?)
    }
}

fn shown(state: &State, endpoint: &Endpoint) -> Result<api::Endpoint, ApiError> {
    translate::endpoint(state, endpoint)
        .ok_or_else(|| ApiError::internal(format!("endpoint {} is not whole", endpoint.id)))
}

/// Returns which namespace is named.
pub(super) fn find(netns: &api::Netns) -> Result<NamespaceId, ApiError> {
    let found = Netns::find(translate::place(netns));
    found
        .map(|found| named(&found))
        .map_err(|error| KernelError::from(error).to_api())
}

/// Returns what a namespace is.
pub(super) fn named(netns: &Netns) -> NamespaceId {
    let identity = netns.identity();
    NamespaceId {
        device: identity.device,
        inode: identity.inode,
    }
}

/// Returns which namespace is named, or `None` for one that will be: dockerd names the file of a
/// container's namespace before it makes either.
fn find_or_expect(netns: &api::Netns) -> Result<Option<NamespaceId>, ApiError> {
    let expected = |error: ApiError| match (error.code, netns) {
        (ErrorCode::NotFound | ErrorCode::Invalid, api::Netns::Path(path))
            if path.is_absolute() =>
        {
            Ok(None)
        }
        _ => Err(error),
    };
    find(netns).map(Some).or_else(expected)
}
