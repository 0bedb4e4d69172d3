//! An endpoint's life between its making and its removal: a sandbox joins it and leaves it again,
//! and it is given other names.
//!
//! ```text
//!   attach ──> waiting ── join ──> in a sandbox ── leave ──> waiting ── detach ──> gone
//!      └─────────────── with a sandbox ──┘  └───────────── detach ────────────────────┘
//! ```
//! Docker takes the long way, one step a call; `clearway attach` makes two of them at once.
//! Addresses, MAC and names stay the endpoint's while it waits. What is published of it does not:
//! a listener nobody answers behind would only take the port from others.

use crate::model::{Endpoint, EndpointId, NamespaceId, Port, Sandbox};
use crate::placed::PlacedNetwork;
use crate::plan::InterfacePlan;
use crate::state::not_found;
use crate::{Change, Error, State};
use model::{DatapathKind, EndpointSet, Join, Name, Via};

impl State {
    /// Checks that a sandbox can join an endpoint; `identity` is that of its namespace, if it is there,
    /// `datapath` the one in force for it, and of a veth our end is named. The plan is what the kernel has to do for it.
    ///
    /// # Errors
    /// [`Error::Joined`] when it has one; which value does not do, and what would.
    pub fn join(
        &self,
        id: EndpointId,
        request: &Join,
        identity: Option<NamespaceId>,
        datapath: DatapathKind,
    ) -> Result<(Endpoint, Change, InterfacePlan), Error> {
        let old = self.endpoint_with(id)?;
        if let Some(sandbox) = &old.sandbox {
            return Err(Error::Joined {
                endpoint: id.to_string(),
                sandbox: sandbox.namespace.to_string(),
            });
        }
        request.check()?;
        let endpoint = Endpoint {
            sandbox: Some(Sandbox {
                namespace: request.netns.clone(),
                identity,
            }),
            ifname: request.ifname.clone(),
            via: request.via.clone(),
            datapath,
            ..old.clone()
        };
        let no_veth = || not_found("veth of endpoint", &id.to_string());
        let (place, ifname) = endpoint.interface().ok_or_else(no_veth)?;
        self.check_interface_free(place, ifname)?;
        let plan = self.plan(&endpoint);
        Ok((endpoint.clone(), self.put(endpoint)?, plan))
    }

    /// Checks that an endpoint's sandbox can leave it: always, also when there is none.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn leave(&self, id: EndpointId) -> Result<(Endpoint, Change), Error> {
        let endpoint = Endpoint {
            sandbox: None,
            via: Via::Tap,
            datapath: DatapathKind::default(),
            ..self.endpoint_with(id)?.clone()
        };
        let mut changes = self.unpublish_all(id);
        changes.push(self.put(endpoint.clone())?);
        Ok((endpoint, Change::All(changes)))
    }

    /// Remembers which namespace an endpoint's sandbox is, now that it is there.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn sandbox_found(&self, id: EndpointId, identity: NamespaceId) -> Result<Change, Error> {
        let mut endpoint = self.endpoint_with(id)?.clone();
        if let Some(sandbox) = &mut endpoint.sandbox {
            sandbox.identity = Some(identity);
        }
        self.put(endpoint)
    }

    /// Checks other names of an endpoint. Its port has the new name as well, unless another port
    /// does.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn set_endpoint(
        &self,
        id: EndpointId,
        set: &EndpointSet,
    ) -> Result<(Endpoint, Change), Error> {
        let old = self.endpoint_with(id)?;
        let endpoint = Endpoint {
            name: set.name.as_ref().or(old.name.as_ref()).cloned(),
            aliases: set.aliases.as_ref().unwrap_or(&old.aliases).clone(),
            labels: set.labels.as_ref().unwrap_or(&old.labels).clone(),
            ..old.clone()
        };
        let network = self
            .network(endpoint.network)
            .ok_or_else(|| not_found("network", &endpoint.network.to_string()))?;
        self.check_name(network, id, endpoint.name.as_ref())?;
        let port = self.port_with_endpoint(&endpoint)?;
        let name = if endpoint.name == old.name {
            port.name.clone()
        } else {
            self.port_name(id, endpoint.name.as_ref())?
        };
        let port = Port {
            name,
            ..port.clone()
        };
        let change = Change::PutEndpoint(Box::new((endpoint.clone(), port)));
        Ok((endpoint, change))
    }

    pub(crate) fn endpoint_with(&self, id: EndpointId) -> Result<&Endpoint, Error> {
        self.endpoint(id)
            .ok_or_else(|| not_found("endpoint", &id.to_string()))
    }

    /// The name of an endpoint's port: the endpoint's own unless another port has it, then its id.
    pub(crate) fn port_name(&self, id: EndpointId, wanted: Option<&Name>) -> Result<String, Error> {
        let other = |name: &str| {
            let port = self.port_named(name).ok();
            port.is_some_and(|port| self.endpoint_of(port).is_none_or(|e| e.id != id))
        };
        if let Some(name) = wanted.filter(|name| !other(name.as_str())) {
            return Ok(name.to_string());
        }
        let name = id.to_string();
        if other(&name) {
            return Err(Error::NameTaken { what: "port", name });
        }
        Ok(name)
    }

    /// An endpoint's name is nobody else's in its network; an alias may be.
    pub(crate) fn check_name(
        &self,
        network: PlacedNetwork<'_>,
        id: EndpointId,
        name: Option<&Name>,
    ) -> Result<(), Error> {
        let Some(name) = name else {
            return Ok(());
        };
        let mut others = self
            .endpoints()
            .filter(|e| e.network == network.id && e.id != id);
        let has = |e: &Endpoint| e.name.as_ref() == Some(name) || e.id.to_string() == name.as_str();
        match others.find(|e| has(e)) {
            None => Ok(()),
            Some(owner) => Err(Error::EndpointNameTaken {
                name: name.to_string(),
                network: network.name.clone(),
                owner: owner.id.to_string(),
            }),
        }
    }

    fn put(&self, endpoint: Endpoint) -> Result<Change, Error> {
        let port = self.port_with_endpoint(&endpoint)?.clone();
        Ok(Change::PutEndpoint(Box::new((endpoint, port))))
    }

    fn port_with_endpoint(&self, endpoint: &Endpoint) -> Result<&Port, Error> {
        self.port(endpoint.port)
            .ok_or_else(|| not_found("port", &endpoint.port.to_string()))
    }
}

impl Endpoint {
    /// The interface we hold, with its namespace; ours if `None`. Nothing while it waits.
    #[must_use]
    pub fn interface(&self) -> Option<(Option<&Sandbox>, &str)> {
        let sandbox = self.sandbox.as_ref()?;
        Some(match &self.via {
            Via::Tap => (Some(sandbox), &self.ifname),
            Via::MovedTap => (None, &self.ifname),
            Via::Veth { host } => (None, host.as_ref()?),
        })
    }

    /// Our end of its veth, while it is in a sandbox by one.
    #[must_use]
    pub fn veth(&self) -> Option<&str> {
        match self.via {
            Via::Veth { .. } => self.interface().map(|(_, host)| host),
            Via::Tap | Via::MovedTap => None,
        }
    }

    /// Returns whether its interface is in this namespace.
    #[must_use]
    pub fn is_in(&self, namespace: NamespaceId) -> bool {
        self.sandbox
            .as_ref()
            .is_some_and(|sandbox| sandbox.identity == Some(namespace))
    }

    /// Returns whether it shares a sandbox.
    pub(crate) fn is_beside(&self, sandbox: Option<&Sandbox>) -> bool {
        let identity = sandbox.and_then(|sandbox| sandbox.identity);
        identity.is_some_and(|identity| self.is_in(identity))
    }
}
