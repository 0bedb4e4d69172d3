//! Requests about ports.

use crate::model::{Isolation, Mirror, NamespaceId, Port, PortKind, PortSettings, Sandbox};
use crate::{Change, Error, State};
use model::{AdminState, Name, PortAdd};
use pipeline::{NetworkId, PortId};

impl State {
    /// Checks a port to be made that is not an endpoint's; `identity` is that of the namespace
    /// that its kind names.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn add_port(
        &self,
        request: &PortAdd,
        identity: Option<NamespaceId>,
    ) -> Result<(Port, Change), Error> {
        let (name, kind) = (request.name.to_string(), request.kind.clone());
        if self.port_named(&name).is_ok() {
            return Err(Error::NameTaken { what: "port", name });
        }
        self.check_kind(&kind, identity)?;
        self.check_room()?;
        let port = Port {
            id: self.free_port_id(),
            name,
            kind: PortKind::Own { kind, identity },
            network: self.network_id(request.network.as_ref())?,
            settings: self.port_settings(request)?,
        };
        self.check_settings(&port)?;
        Ok((port.clone(), Change::PutPort(Box::new(port))))
    }

    /// The settings of a port to be added, or changed: the ports that it names are found.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn port_settings(&self, port: &PortAdd) -> Result<PortSettings, Error> {
        let id = |name: &Name| self.port_named(name.as_str()).map(|port| port.id);
        let mirror = |mirror: &model::Mirror| {
            let of = mirror.of.iter().map(id).collect::<Result<_, Error>>()?;
            let direction = mirror.direction;
            Ok::<_, Error>(Mirror { of, direction })
        };
        Ok(PortSettings {
            up: port.admin == AdminState::Up,
            vlan: port.vlan.clone(),
            isolated: match port.isolated {
                None => Isolation::AsNetwork,
                Some(true) => Isolation::On,
                Some(false) => Isolation::Off,
            },
            lock: port.lock.clone(),
            max_macs: port.max_macs,
            storm: port.storm,
            rate: port.rate,
            mirror: port.mirror.as_ref().map(mirror).transpose()?,
        })
    }

    /// The network that is named, if one is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn network_id(&self, name: Option<&Name>) -> Result<Option<NetworkId>, Error> {
        let id = |name: &Name| self.network_named(name.as_str()).map(|network| network.id);
        name.map(id).transpose()
    }

    /// Checks new settings of a port, and the network it is to be in.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn set_port(
        &self,
        id: PortId,
        network: Option<NetworkId>,
        settings: PortSettings,
    ) -> Result<(Port, Change), Error> {
        let old = self.port(id).ok_or_else(|| Error::NotFound {
            what: "port",
            name: id.to_string(),
        })?;
        if let PortKind::Endpoint(endpoint) = old.kind
            && network != old.network
        {
            return Err(Error::EndpointStays {
                port: old.name.clone(),
                endpoint: endpoint.to_string(),
            });
        }
        let port = Port {
            network,
            settings,
            ..old.clone()
        };
        self.check_settings(&port)?;
        Ok((port.clone(), Change::PutPort(Box::new(port))))
    }

    /// Checks a port's removal.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::PortOfEndpoint`].
    pub fn remove_port(&self, name: &str) -> Result<(Port, Change), Error> {
        let port = self.port_named(name)?;
        if let PortKind::Endpoint(endpoint) = port.kind {
            return Err(Error::PortOfEndpoint {
                name: name.to_owned(),
                endpoint: endpoint.to_string(),
            });
        }
        Ok((
            port.clone(),
            self.without_mentions(port.id, Change::DropPort(port.id)),
        ))
    }

    /// `removal` of the port `id` after everything that mentions it: mirrors and configured
    /// entries. Ids are used again, so a mention left behind would come to mean another port.
    pub(crate) fn without_mentions(&self, id: PortId, removal: Change) -> Change {
        let mirrors = self.ports().filter(|p| watches(p, id)).map(|port| {
            let mut port = port.clone();
            port.settings
                .mirror
                .iter_mut()
                .for_each(|m| m.of.retain(|&of| of != id));
            Change::PutPort(Box::new(port))
        });
        let statics = self
            .networks()
            .map(|network| self.flush_statics(network, |s| s.port == id));
        let mut changes: Vec<_> = mirrors
            .chain(statics)
            .filter(|change| *change != Change::Nothing)
            .collect();
        changes.push(removal);
        Change::All(changes)
    }

    fn check_kind(
        &self,
        kind: &model::PortKind,
        identity: Option<NamespaceId>,
    ) -> Result<(), Error> {
        kind.check()?;
        let Some(ifname) = kind.ifname() else {
            return Ok(());
        };
        let sandbox = kind.netns().map(|netns| Sandbox {
            namespace: netns.clone(),
            identity,
        });
        self.check_interface_free(sandbox.as_ref(), ifname)
    }

    pub(crate) fn check_settings(&self, port: &Port) -> Result<(), Error> {
        if let Some(id) = port.network.filter(|&id| self.network(id).is_none()) {
            return Err(Error::NotFound {
                what: "network",
                name: id.to_string(),
            });
        }
        let settings = &port.settings;
        model::check_limits(
            settings.lock.as_ref(),
            settings.max_macs,
            settings.storm.as_ref(),
            settings.rate,
        )?;
        self.check_mirror(port)
    }

    /// A mirror watches other ports that are no mirror's destination themselves (copies of copies
    /// would have no end), and a port is watched by one mirror at most.
    fn check_mirror(&self, port: &Port) -> Result<(), Error> {
        let Some(mirror) = &port.settings.mirror else {
            return Ok(());
        };
        let watcher = |of| self.ports().find(|p| p.id != port.id && watches(p, of));
        for &of in &mirror.of {
            let refuse = |why| {
                Err(Error::BadMirror {
                    name: port.name.clone(),
                    of: self.name_of(of),
                    why,
                })
            };
            let Some(watched) = self.port(of) else {
                return refuse("there is no such port");
            };
            if of == port.id {
                return refuse("it is the port itself");
            }
            if watched.settings.mirror.is_some() {
                return refuse("that port is a mirror's destination");
            }
            if watcher(of).is_some() {
                return refuse("that port is mirrored already");
            }
        }
        if watcher(port.id).is_some() {
            let of = mirror
                .of
                .first()
                .map_or_else(String::new, |&of| self.name_of(of));
            return Err(Error::BadMirror {
                name: port.name.clone(),
                of,
                why: "it is mirrored itself",
            });
        }
        Ok(())
    }

    pub(crate) fn name_of(&self, id: PortId) -> String {
        self.port(id)
            .map_or_else(|| id.to_string(), |p| p.name.clone())
    }
}

/// Returns whether `port` is the destination of a mirror of `of`.
fn watches(port: &Port, of: PortId) -> bool {
    port.settings
        .mirror
        .as_ref()
        .is_some_and(|m| m.of.contains(&of))
}
