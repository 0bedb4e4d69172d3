//! Interfaces in the host's namespace that stand for a container: the end of its veth, and a TAP.
//!
//! ```text
//!   container ── eth0 ═ host's end        no addresses, no IPv6, a note on each;
//!                             TAP         clsact: drop, behind the programs of whoever uses them
//! ```
//! Its shape comes from these:
//! * **One request makes both ends**, each in its namespace: a link that is moved waits for a grace period.
//! * **The host's stack must not hear a container past the router.** The programs in front take all
//!   there is; while they are missing, the filter behind them drops it.
//! * **What no daemon remembers is found by name and note**, and by both: a name alone may be anybody's.

use crate::note::Note;
use crate::{Error, LinkState, Links, Netns, sysctl};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use std::os::fd::AsRawFd;

impl Links {
    /// Makes a veth pair: one end here, the other in `netns`, or here as well. Both are down.
    ///
    /// # Errors
    /// [`Error::Link`] with EEXIST when there is an interface of one of the names; those of entering
    /// `netns`.
    pub fn make_veth(&self, host: &str, other: &str, netns: Option<&Netns>) -> Result<(), Error> {
        let netns = netns.map(Netns::open).transpose()?;
        let mut peer = LinkMessage::default();
        peer.attributes
            .push(LinkAttribute::IfName(other.to_owned()));
        if let Some(netns) = &netns {
            let place = LinkAttribute::NetNsFd(netns.as_raw_fd());
            peer.attributes.push(place);
        }
        let mut pair = LinkMessage::default();
        pair.attributes = vec![
            LinkAttribute::IfName(host.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let made = self.request(
            RouteNetlinkMessage::NewLink(pair),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        made.map(drop)
            .map_err(|error| self.error(&format!("make a veth pair of {other} and"), host, error))
    }

    /// Sets an interface up that stands for an endpoint: out of the host's stack's sight, with a note
    /// that says for which. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::Sysctl`].
    pub fn hide(&self, ifname: &str, endpoint: &str, mtu: u16) -> Result<(), Error> {
        sysctl::no_ipv6(ifname)?;
        self.hush(ifname, &self.existing(ifname)?)?;
        let note = Note::Endpoint(endpoint.to_owned()).alias();
        let change = self.link(ifname)?.mtu(mtu.into()).up();
        let change = change.append_extra_attribute(LinkAttribute::IfAlias(note));
        self.set("set up", ifname, change)
    }
}

impl LinkState {
    /// The endpoint whose host's side the interface is, by its note.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        match Note::parse(self.alias.as_deref()?)? {
            Note::Endpoint(endpoint) => Some(endpoint),
            Note::Uplink { .. } | Note::Host | Note::Services | Note::Adopted(_) => None,
        }
    }
}
