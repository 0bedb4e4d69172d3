//! Requests about uplinks, and the places of what the router is attached to beside networks.

use crate::attachment::{Attachment, Hidden, Uplink};
use crate::state::not_found;
use crate::{Change, Error, State};
use model::{FdbLimits, Name, UplinkAdd, UplinkChoice};

/// A hidden network's forwarding database: hosts of one segment at most.
pub(crate) const HIDDEN_FDB: FdbLimits = FdbLimits {
    max_entries: 4096,
    max_per_port: 4096,
    ageing_secs: 300,
};

impl State {
    /// The uplinks, in the order they were added: the first serves networks that name none.
    pub fn uplinks(&self) -> impl Iterator<Item = &Uplink> + '_ {
        self.placed.uplinks.iter()
    }

    /// The uplink of this name.
    #[must_use]
    pub fn uplink_named(&self, name: &str) -> Option<&Uplink> {
        self.placed.uplinks.iter().find(|u| u.name == name)
    }

    /// The uplink that a network's packets for the world leave through.
    #[must_use]
    pub fn uplink_of(&self, network: &crate::Network) -> Option<&Uplink> {
        match &network.routing.uplink {
            UplinkChoice::Auto => self.placed.uplinks.first(),
            UplinkChoice::None => None,
            UplinkChoice::Named(name) => self.uplink_named(name.as_str()),
        }
    }

    /// Checks an uplink to be made.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn add_uplink(&self, request: &UplinkAdd) -> Result<(Uplink, Change), Error> {
        request.check()?;
        let UplinkAdd { dev, name, ports } = request;
        let name = match name {
            Some(name) => name.to_string(),
            None => dev.parse::<Name>()?.into(),
        };
        if self.uplink_named(&name).is_some() {
            return Err(Error::NameTaken {
                what: "uplink",
                name,
            });
        }
        self.check_interface_free(None, dev)?;
        if let Some(owner) = self.uplinks().find(|u| u.dev == *dev) {
            return Err(Error::IfnameTaken {
                sandbox: "the daemon's namespace".to_owned(),
                ifname: dev.clone(),
                owner: owner.name.clone(),
            });
        }
        self.check_room()?;
        let uplink = Uplink {
            name,
            dev: dev.clone(),
            ports: *ports,
            place: self.free_place(),
        };
        let mut uplinks = self.placed.uplinks.clone();
        uplinks.push(uplink.clone());
        Ok((uplink, Change::SetUplinks(uplinks)))
    }

    /// Checks an uplink's removal: no network may name it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::UplinkInUse`].
    pub fn remove_uplink(&self, name: &str) -> Result<(Uplink, Change), Error> {
        let uplink = self
            .uplink_named(name)
            .ok_or_else(|| not_found("uplink", name))?;
        let is_named = |choice: &UplinkChoice| match choice {
            UplinkChoice::Named(uplink) => uplink.as_str() == name,
            UplinkChoice::Auto | UplinkChoice::None => false,
        };
        let networks: Vec<_> = self
            .networks()
            .filter(|n| is_named(&n.routing.uplink))
            .map(|n| n.name.clone())
            .collect();
        if !networks.is_empty() {
            return Err(Error::UplinkInUse {
                name: name.to_owned(),
                networks,
            });
        }
        let mut uplinks = self.placed.uplinks.clone();
        uplinks.retain(|u| u.name != name);
        Ok((uplink.clone(), Change::SetUplinks(uplinks)))
    }

    /// The place of the host's stack or of the services, if it has one.
    #[must_use]
    pub fn place_of(&self, which: Hidden) -> Option<Attachment> {
        match which {
            Hidden::Host => self.placed.host,
            Hidden::Services => self.placed.services,
        }
    }

    /// Gives the host's stack or the services a place, the one there is if there is one.
    pub fn add_place(&self, which: Hidden) -> (Attachment, Change) {
        match self.place_of(which) {
            Some(place) => (place, Change::Nothing),
            None => {
                let place = self.free_place();
                (place, Change::SetHidden(which, Some(place)))
            }
        }
    }

    /// Takes the place of the host's stack or the services away.
    pub fn remove_place(&self, which: Hidden) -> Change {
        match self.place_of(which) {
            Some(_) => Change::SetHidden(which, None),
            None => Change::Nothing,
        }
    }

    /// Every hidden network.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = Attachment> + '_ {
        let uplinks = self.placed.uplinks.iter().map(|u| u.place);
        uplinks.chain(self.placed.host).chain(self.placed.services)
    }

    pub(crate) fn hidden_mut(&mut self, which: Hidden) -> &mut Option<Attachment> {
        match which {
            Hidden::Host => &mut self.placed.host,
            Hidden::Services => &mut self.placed.services,
        }
    }

    fn free_place(&self) -> Attachment {
        Attachment {
            network: self.free_network_id(),
            port: self.free_port_id(),
        }
    }
}
