//! Bridges of others (docker0, say) and their ports: taking a port off, and giving it back.
//!
//! ```text
//!   container ── eth0 ═ vethX ── docker0                 before, and after
//!   container ── eth0 ═ vethX ── packet socket           between: no port of the bridge, its frames
//!                         └─ clsact: drop                unseen by the host's stack, a note on it
//! ```
//! The bridge itself is left alone: its owner knows it by its name, its addresses and its MAC.
//!
//! What shaped it:
//! * **The way back stands in the kernel.** What a port was is written on it before it is taken off,
//!   and is removed last when it is given back: whoever dies in between leaves a note that
//!   [`crate::doctor`] reads.
//! * **The host's stack hears a veth that is no port of a bridge**, and answers ARP for each of the
//!   host's addresses: two would answer for the gateway, and a container could pass the router by.
//!   So a filter drops what arrives; packet sockets see it before that.
//! * What else a port was (its costs, its number, entries for it) is as on a port just added, which
//!   is how Docker leaves them, but for hairpin mode, which it sets without a userland proxy.
//!
//! Calls are made on a thread inside the bridge's namespace.

use crate::capture;
use crate::note::{Note, PortOf};
use crate::traffic_control::{Filter, FilterKind};
use crate::{Error, LinkState, Links};
use ipnet::IpNet;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
};

/// What a bridge is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The bridge itself.
    pub link: LinkState,
    /// Its addresses, each with its subnet's length.
    pub addresses: Vec<IpNet>,
}

/// Both ends of a veth pair, one of them in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethEnds {
    /// The name of the end in the sandbox.
    pub inside: String,
    /// The index of the other, in its own namespace.
    pub outside: u32,
}

impl Links {
    /// Returns what the bridge is like; `None` when there is no interface of that name.
    ///
    /// # Errors
    /// [`Error::NotABridge`], [`Error::Link`].
    pub fn bridge(&self, ifname: &str) -> Result<Option<Bridge>, Error> {
        let Some(message) = self.message(ifname)? else {
            return Ok(None);
        };
        if !is_bridge(&message) {
            return Err(Error::NotABridge {
                ifname: ifname.to_owned(),
            });
        }
        Ok(Some(Bridge {
            link: LinkState::of(&message),
            addresses: self.given_addresses(ifname)?,
        }))
    }

    /// Takes an interface for a packet socket alone: off the bridge it is a port of, if it is, and
    /// out of the host's stack's sight. Doing it again changes nothing. All or nothing.
    ///
    /// # Errors
    /// [`Error::Noted`], [`Error::NotABridge`] when it is a port of something else than a bridge;
    /// [`Error::Link`].
    pub fn take_over(&self, ifname: &str) -> Result<(), Error> {
        let taken = self.try_take_over(ifname);
        if taken.is_err() {
            // Its failure would say less than what it is to undo.
            let _ = self.give_back(ifname);
        }
        taken
    }

    /// Undoes [`Links::take_over`]. An interface, or a bridge, that is gone needs nothing.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn give_back(&self, ifname: &str) -> Result<(), Error> {
        let Some(state) = self.state(ifname)? else {
            return Ok(());
        };
        let from = from_of(&state);
        if let Some(from) = &from
            && let Some(bridge) = self.state(&from.bridge)?
        {
            if state.master != Some(bridge.index) {
                self.set_master(ifname, bridge.index)?;
            }
            if from.hairpin {
                self.set_hairpin(ifname)?;
            }
        }
        self.remove_filters(ifname, &[FilterKind::Hush])?;
        match from {
            Some(_) => self.clear_alias(ifname),
            None => Ok(()),
        }
    }

    /// The interfaces that were taken off a bridge.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn taken_ports(&self, bridge: &str) -> Result<Vec<String>, Error> {
        let of_bridge =
            |state: &LinkState| from_of(state).is_some_and(|from| from.bridge == bridge);
        let all = self.all()?.into_iter();
        let taken = all.filter(|(_, state)| of_bridge(state));
        Ok(taken.map(|(ifname, _)| ifname).collect())
    }

    /// The veth pair whose end in this namespace has the MAC address; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn veth_with_mac(&self, mac: [u8; 6]) -> Result<Option<VethEnds>, Error> {
        let ends = |(inside, state): (String, LinkState)| {
            let outside = state.peer.filter(|_| state.mac == mac)?;
            Some(VethEnds { inside, outside })
        };
        Ok(self.all()?.into_iter().find_map(ends))
    }

    /// The name of an interface whose other end has the index `peer` elsewhere.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn name_of(&self, index: u32) -> Result<Option<String>, Error> {
        let mut all = self.all()?.into_iter();
        let found = all.find(|(_, state)| state.index == index && state.peer.is_some());
        Ok(found.map(|(ifname, _)| ifname))
    }

    fn try_take_over(&self, ifname: &str) -> Result<(), Error> {
        let missing = || std::io::Error::from_raw_os_error(nix::libc::ENODEV);
        let message = self
            .message(ifname)?
            .ok_or_else(|| self.error("find", ifname, missing()))?;
        let state = LinkState::of(&message);
        if let Some(master) = state.master {
            let bridge = self.bridge_with(ifname, master)?;
            let hairpin = is_hairpin(&message);
            self.note(ifname, &state, PortOf { bridge, hairpin })?;
        }
        self.hush(ifname, &state)?;
        match state.master {
            Some(_) => self.set_master(ifname, 0),
            None => Ok(()),
        }
    }

    /// Writes on a port what it was. One that its bridge's owner has put back by himself has a note
    /// of ours already.
    fn note(&self, ifname: &str, state: &LinkState, from: PortOf) -> Result<(), Error> {
        match &state.alias {
            Some(alias) if from_of(state).is_none() => Err(Error::Noted {
                ifname: ifname.to_owned(),
                alias: alias.clone(),
            }),
            Some(_) | None => self.set_alias(ifname, &Note::Adopted(from).alias()),
        }
    }

    fn bridge_with(&self, port: &str, index: u32) -> Result<String, Error> {
        let all = self.all()?.into_iter();
        let mut of_index = all.filter(|(_, state)| state.index == index);
        let not_there = || Error::NotABridge {
            ifname: format!("number {index}, which {port} is a port of,"),
        };
        let (ifname, _) = of_index.next().ok_or_else(not_there)?;
        self.bridge(&ifname)?.ok_or_else(not_there)?;
        Ok(ifname)
    }

    /// A trap: with its first qdisc an interface that had no queue gets the length of one.
    pub(crate) fn hush(&self, ifname: &str, state: &LinkState) -> Result<(), Error> {
        let index = state.index;
        let there = self.our_filters(ifname, index)?;
        if there.iter().any(|filter| filter.kind == FilterKind::Hush) {
            return Ok(());
        }
        let qdisc = self.add_clsact(ifname, index)?;
        if self.existing(ifname)?.queue_length != state.queue_length {
            self.set_queue_length(ifname, state.queue_length)?;
        }
        let filter = Filter {
            kind: FilterKind::Hush,
            index,
            qdisc,
        };
        self.put_filter(ifname, &filter, &capture::drop_everything(), index)
    }

    fn set_master(&self, ifname: &str, index: u32) -> Result<(), Error> {
        let what = match index {
            0 => "take off its bridge",
            _ => "give back to its bridge",
        };
        self.set(what, ifname, self.link(ifname)?.controller(index))
    }

    /// A request to make a link: a request to set one passes over what a port is to its bridge.
    fn set_hairpin(&self, ifname: &str) -> Result<(), Error> {
        let settings = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)]);
        let link = self.link(ifname)?;
        let change = link.append_extra_attribute(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(settings),
        ]));
        self.request(RouteNetlinkMessage::NewLink(change.build()), 0)
            .map(drop)
            .map_err(|error| self.error("set hairpin mode of", ifname, error))
    }

    fn clear_alias(&self, ifname: &str) -> Result<(), Error> {
        /// `linux/if_link.h`.
        const IFLA_IFALIAS: u16 = 20;
        let none = LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, Vec::new()));
        let change = self.link(ifname)?.append_extra_attribute(none);
        self.set("take a note off", ifname, change)
    }
}

fn from_of(state: &LinkState) -> Option<PortOf> {
    match Note::parse(state.alias.as_deref()?)? {
        Note::Adopted(from) => Some(from),
        Note::Uplink { .. } | Note::Host | Note::Services | Note::Endpoint(_) => None,
    }
}

fn infos(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let lists = message.attributes.iter().filter_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else {
            return None;
        };
        Some(infos)
    });
    lists.flatten()
}

fn is_bridge(message: &LinkMessage) -> bool {
    infos(message).any(|info| *info == LinkInfo::Kind(InfoKind::Bridge))
}

fn is_hairpin(port: &LinkMessage) -> bool {
    infos(port).any(|info| {
        let LinkInfo::PortData(InfoPortData::BridgePort(settings)) = info else {
            return false;
        };
        settings.contains(&InfoBridgePort::HairpinMode(true))
    })
}
