//! Interfaces of one namespace, over rtnetlink.
//!
//! [`Links`] is made on a thread that is inside the namespace; its socket stays there. It has a
//! runtime of its own, without threads or timers, which costs some 50 us: a plan's requests share
//! one.

use crate::Error;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::runtime::{Builder, Runtime};

/// The interfaces of one namespace.
#[derive(Debug)]
pub struct Links {
    netns: String,
    pub(crate) runtime: Runtime,
    pub(crate) handle: Handle,
}

/// What an interface is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its index in its namespace.
    pub index: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// Its MTU.
    pub mtu: u32,
    /// Whether there is somebody at the other end of it.
    pub carrier: bool,
    /// Whether it carries Ethernet frames.
    pub ethernet: bool,
    /// The note left on it (its `alias`): see [`Links::set_alias`].
    pub alias: Option<String>,
    /// How many packets may wait to be sent.
    pub queue_length: u32,
    /// The index of the bridge, say, that it is a port of.
    pub master: Option<u32>,
    /// Of one end of a veth pair the index of the other, in the namespace where that one is.
    pub peer: Option<u32>,
}

impl LinkState {
    pub(crate) fn of(message: &LinkMessage) -> Self {
        let mut state = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            mac: Vec::new(),
            mtu: 0,
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            alias: None,
            queue_length: 0,
            master: None,
            peer: None,
        };
        for attribute in &message.attributes {
            if let LinkAttribute::Address(mac) = attribute {
                state.mac.clone_from(mac);
            }
            if let LinkAttribute::Mtu(mtu) = attribute {
                state.mtu = *mtu;
            }
            if let LinkAttribute::IfAlias(alias) = attribute {
                state.alias = Some(alias.clone());
            }
            if let LinkAttribute::TxQueueLen(packets) = attribute {
                state.queue_length = *packets;
            }
            if let LinkAttribute::Controller(index) = attribute {
                state.master = Some(*index);
            }
            if let LinkAttribute::Link(index) = attribute {
                state.peer = Some(*index);
            }
        }
        state
    }
}

impl Links {
    /// Opens a netlink socket in the calling thread's namespace, called `netns` in errors.
    pub(crate) fn open(netns: &str) -> Result<Self, Error> {
        let failed = |what| {
            move |source| Error::Resources {
                what,
                netns: netns.to_owned(),
                source,
            }
        };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed("make a netlink runtime"))?;
        let (connection, handle, _) = {
            let _in_runtime = runtime.enter();
            rtnetlink::new_connection().map_err(failed("open a netlink socket"))?
        };
        runtime.spawn(connection);
        Ok(Self {
            netns: netns.to_owned(),
            runtime,
            handle,
        })
    }

    /// Returns what the interface is like; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn state(&self, ifname: &str) -> Result<Option<LinkState>, Error> {
        Ok(self.message(ifname)?.as_ref().map(LinkState::of))
    }

    /// All that the kernel says of an interface.
    pub(crate) fn message(&self, ifname: &str) -> Result<Option<LinkMessage>, Error> {
        let mut found = self
            .handle
            .link()
            .get()
            .match_name(ifname.to_owned())
            .execute();
        match self.runtime.block_on(found.try_next()).map_err(os_error) {
            Ok(message) => Ok(message),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => Err(self.error("look at", ifname, error)),
        }
    }

    /// Returns what the interface is like; one that is not there is an error.
    pub(crate) fn existing(&self, ifname: &str) -> Result<LinkState, Error> {
        let missing = || io::Error::from_raw_os_error(nix::libc::ENODEV);
        self.state(ifname)?
            .ok_or_else(|| self.error("find", ifname, missing()))
    }

    /// Gives the interface its MAC address and MTU and sets it up, in one request: it is never up
    /// with another address.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn configure(&self, ifname: &str, mac: [u8; 6], mtu: u16) -> Result<(), Error> {
        let change = self
            .link(ifname)?
            .address(mac.to_vec())
            .mtu(mtu.into())
            .up();
        self.set("set MAC and MTU of and set up", ifname, change)
    }

    /// Gives the interface its MAC address and MTU, and leaves it up or down as it is.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn prepare(&self, ifname: &str, mac: [u8; 6], mtu: u16) -> Result<(), Error> {
        let change = self.link(ifname)?.address(mac.to_vec()).mtu(mtu.into());
        self.set("set MAC and MTU of", ifname, change)
    }

    /// The name of the interface that has this MAC address.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn with_mac(&self, mac: [u8; 6]) -> Result<Option<String>, Error> {
        let all = self.all()?;
        let found = all.into_iter().find(|(_, state)| state.mac == mac);
        Ok(found.map(|(ifname, _)| ifname))
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn set_mtu(&self, ifname: &str, mtu: u16) -> Result<(), Error> {
        self.set("set the MTU of", ifname, self.link(ifname)?.mtu(mtu.into()))
    }

    /// Sets the interface up, or down.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn set_up(&self, ifname: &str, up: bool) -> Result<(), Error> {
        let link = self.link(ifname)?;
        self.set(
            if up { "set up" } else { "set down" },
            ifname,
            if up { link.up() } else { link.down() },
        )
    }

    /// Sets how many packets wait for a reader of the interface.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn set_queue_length(&self, ifname: &str, packets: u32) -> Result<(), Error> {
        self.set(
            "set the queue length of",
            ifname,
            self.link(ifname)?.txqueuelen(packets),
        )
    }

    /// Leaves a note on the interface, shown by `ip link` as its alias: 1 to 255 bytes.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn set_alias(&self, ifname: &str, alias: &str) -> Result<(), Error> {
        let note = LinkAttribute::IfAlias(alias.to_owned());
        let change = self.link(ifname)?.append_extra_attribute(note);
        self.set("leave a note on", ifname, change)
    }

    /// Gives the interface another name. It must be down.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn rename(&self, ifname: &str, to: &str) -> Result<(), Error> {
        self.set("rename", ifname, self.link(ifname)?.name(to))
    }

    /// Adds an address that is usable at once: nobody is asked whether it is taken
    /// (IFA_F_NODAD), because whoever gave it knows.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn add_address(&self, ifname: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index("add an address to", ifname)?;
        let mut request = self
            .handle
            .address()
            .add(index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let added = self.runtime.block_on(request.execute());
        added.map_err(|error| self.error(&format!("add {address} to"), ifname, os_error(error)))
    }

    /// Sends what is for nobody near through the interface to `gateway`.
    ///
    /// # Errors
    /// [`Error::Link`]; EEXIST when there is such a route already.
    pub fn add_default_route(&self, ifname: &str, gateway: IpAddr) -> Result<(), Error> {
        let index = self.index("route by", ifname)?;
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
        };
        let added = self
            .runtime
            .block_on(self.handle.route().add(route).execute());
        added.map_err(|error| {
            self.error(
                &format!("make {gateway} the default gateway of"),
                ifname,
                os_error(error),
            )
        })
    }

    /// Removes the interface. One that is not there is as good as removed.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn remove(&self, ifname: &str) -> Result<(), Error> {
        let Some(LinkState { index, .. }) = self.state(ifname)? else {
            return Ok(());
        };
        match self
            .runtime
            .block_on(self.handle.link().del(index).execute())
            .map_err(os_error)
        {
            Err(error) if error.raw_os_error() != Some(nix::libc::ENODEV) => {
                Err(self.error("remove", ifname, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The namespace's name in messages.
    pub(crate) fn netns(&self) -> &str {
        &self.netns
    }

    pub(crate) fn link(&self, ifname: &str) -> Result<LinkMessageBuilder<LinkUnspec>, Error> {
        Ok(LinkUnspec::new_with_index(self.index("change", ifname)?))
    }

    pub(crate) fn set(
        &self,
        what: &str,
        ifname: &str,
        change: LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Error> {
        let set = self
            .runtime
            .block_on(self.handle.link().set(change.build()).execute());
        set.map_err(|error| self.error(what, ifname, os_error(error)))
    }

    pub(crate) fn index(&self, what: &str, ifname: &str) -> Result<u32, Error> {
        if_nametoindex(ifname).map_err(|errno| self.error(what, ifname, errno.into()))
    }

    pub(crate) fn error(&self, what: &str, ifname: &str, source: io::Error) -> Error {
        Error::Link {
            what: what.to_owned(),
            ifname: ifname.to_owned(),
            netns: self.netns.clone(),
            source,
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that `map_err(os_error)` reads well"
)]
pub(crate) fn os_error(error: rtnetlink::Error) -> io::Error {
    let rtnetlink::Error::NetlinkError(message) = &error else {
        return io::Error::other(error.to_string());
    };
    message.code.map_or_else(
        || io::Error::other(error.to_string()),
        |code| io::Error::from_raw_os_error(code.get().abs()),
    )
}
