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
use crate::traffic_control::{Filter, FilterKind, QdiscOrigin};
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
    /// What the bridge is like; `None` when there is no interface of that name.
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
        self.unhush(ifname, state.index)?;
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
    fn hush(&self, ifname: &str, state: &LinkState) -> Result<(), Error> {
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

    fn unhush(&self, ifname: &str, index: u32) -> Result<(), Error> {
        let ours = self.our_filters(ifname, index)?;
        let Some(filter) = ours.iter().find(|it| it.kind == FilterKind::Hush) else {
            return Ok(());
        };
        self.remove_filter(ifname, filter)?;
        match filter.qdisc {
            QdiscOrigin::Ours => self.remove_empty_clsact(ifname, index),
            QdiscOrigin::Foreign => Ok(()),
        }
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
        Note::Uplink { .. } | Note::Host | Note::Services => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GatewayPort, Netns, Place, Stack, doctor};
    use testbed::{Namespace, link};

    const MAC: [u8; 6] = [2, 0x42, 0xac, 0x11, 0, 2];

    /// A host with docker0 as Docker makes it and a container on it, by veth0.
    struct Host {
        host: Namespace,
        container: Namespace,
        netns: Netns,
    }

    impl Host {
        fn new() -> Self {
            let [host, container] = [(); 2].map(|()| Namespace::new().unwrap());
            let at_once = ["-qw", "net.ipv6.conf.default.accept_dad=0"];
            for namespace in [&host, &container] {
                namespace.output("sysctl", &at_once).unwrap();
            }
            link::veth(&host, "veth0", &container, "eth0").unwrap();
            container
                .ip("link set eth0 address 02:42:ac:11:00:02")
                .unwrap();
            host.ip("link add docker0 address 02:42:ac:11:00:01 type bridge")
                .unwrap();
            host.ip("link set veth0 master docker0 txqueuelen 0")
                .unwrap();
            link::address(&host, "docker0", "172.17.0.1/16").unwrap();
            link::address(&host, "docker0", "2001:db8:17::1/64").unwrap();
            link::address(&container, "eth0", "172.17.0.2/16").unwrap();
            link::await_carrier(&host, "docker0").unwrap();
            let netns = Netns::find(Place::Path(host.path())).unwrap();
            Self {
                host,
                container,
                netns,
            }
        }

        fn links<T: Send>(&self, work: impl FnOnce(&Links) -> Result<T, Error> + Send) -> T {
            self.netns.run(|inside| work(&inside.links()?)).unwrap()
        }

        /// Everything that could be changed, but for clocks.
        fn footprint(&self) -> String {
            link::await_carrier(&self.host, "docker0").unwrap();
            let shown = [
                "-d link",
                "-d address",
                "route show table all",
                "-6 route show table all",
            ];
            let shown = shown.map(|words| self.host.ip(words).unwrap());
            let tc = ["qdisc show", "filter show dev veth0 ingress"].map(|words| {
                self.host
                    .output("tc", &words.split(' ').collect::<Vec<_>>())
                    .unwrap()
            });
            let whole = shown
                .into_iter()
                .chain(tc)
                .collect::<Vec<_>>()
                .join("---\n");
            link::without_timers(&whole)
        }

        fn reaches_gateway(&self) -> bool {
            let ping = self
                .container
                .output("ping", &["-c", "1", "-W", "1", "172.17.0.1"]);
            ping.is_ok()
        }
    }

    #[test]
    fn a_port_that_is_taken_off_is_unheard_and_as_it_was_when_it_is_given_back() {
        let it = Host::new();
        assert!(it.reaches_gateway());
        let before = it.footprint();
        it.links(|links| {
            links.take_over("veth0")?;
            links.take_over("veth0")
        });
        assert!(!it.reaches_gateway());
        let state = it.links(|links| links.state("veth0")).unwrap();
        assert_eq!(
            (state.master, state.alias.as_deref()),
            (None, Some("clearway adopted from docker0"))
        );
        assert_eq!(it.links(|links| links.taken_ports("docker0")), ["veth0"]);
        it.links(|links| {
            links.give_back("veth0")?;
            links.give_back("veth0")
        });
        assert_eq!(it.footprint(), before);
        assert!(it.reaches_gateway());
    }

    #[test]
    fn hairpin_mode_comes_back() {
        let it = Host::new();
        it.host
            .ip("link set veth0 type bridge_slave hairpin on")
            .unwrap();
        let before = it.footprint();
        it.links(|links| links.take_over("veth0"));
        it.links(|links| links.give_back("veth0"));
        assert!(before.contains("hairpin on"));
        assert_eq!(it.footprint(), before);
    }

    #[test]
    fn what_a_dead_daemon_took_is_seen_and_given_back() {
        let it = Host::new();
        let before = it.footprint();
        it.links(|links| links.take_over("veth0"));
        let findings = it.links(doctor::inspect);
        let seen: Vec<_> = findings
            .iter()
            .map(|it| format!("{}: {}", it.at, it.what))
            .collect();
        assert_eq!(
            seen,
            [
                "veth0: filter: the host's stack sees nothing of the container",
                "veth0: qdisc clsact",
                "veth0: port taken off docker0",
            ]
        );
        let left = it.links(|links| Ok(doctor::clean(links, &findings)));
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(it.footprint(), before);
        assert_eq!(it.links(doctor::inspect), []);
    }

    #[test]
    fn the_host_prefers_our_way_and_has_its_own_when_ours_is_gone() {
        let it = Host::new();
        let before = it.footprint();
        it.host.ip("tuntap add cw-host mode tap").unwrap();
        let gateways = [
            ("172.17.0.1", "172.17.0.0/16"),
            ("2001:db8:17::1", "2001:db8:17::/64"),
        ]
        .map(|(address, subnet)| crate::Gateway {
            address: address.parse().unwrap(),
            subnet: subnet.parse().unwrap(),
        });
        let way = |to: &str| it.host.ip(&format!("route get {to}")).unwrap();
        it.links(|links| {
            let port = GatewayPort::open(links, "cw-host", Stack::Host, 1500)?;
            for gateway in gateways {
                let refused = port.add(links, gateway).unwrap_err().error;
                assert!(matches!(refused, Error::Overlaps { .. }), "{refused}");
                for _ in 0..2 {
                    port.add_in_front_of(links, gateway, "docker0").unwrap();
                }
            }
            Ok(())
        });
        for to in ["172.17.0.2", "2001:db8:17::2"] {
            assert!(way(to).contains("dev cw-host"), "{}", way(to));
        }
        // Its owner gives the bridge its address anew, as dockerd does where it is missing.
        it.host.ip("address del 172.17.0.1/16 dev docker0").unwrap();
        it.host.ip("address add 172.17.0.1/16 dev docker0").unwrap();
        assert!(way("172.17.0.2").contains("dev cw-host"));
        let findings = it.links(|links| doctor::inspect_bridge(links, "docker0"));
        let left = it.links(|links| Ok(doctor::clean(links, &findings)));
        assert!(left.is_empty(), "{left:?}");
        assert!(way("172.17.0.2").contains("dev docker0"));
        it.links(|links| links.remove("cw-host"));
        assert_eq!(it.footprint(), before);
    }

    #[test]
    fn refusals_say_what_is_in_the_way_and_change_nothing() {
        let it = Host::new();
        it.host.ip("link set veth0 alias precious").unwrap();
        let before = it.footprint();
        let refused = it.links(|links| Ok(links.take_over("veth0").unwrap_err()));
        assert!(refused.to_string().contains("precious"), "{refused}");
        assert_eq!(it.footprint(), before);
        let no_bridge = it.links(|links| Ok(links.bridge("veth0").unwrap_err()));
        assert!(matches!(no_bridge, Error::NotABridge { .. }), "{no_bridge}");
        assert_eq!(it.links(|links| links.bridge("docker7")), None);
    }

    #[test]
    fn a_veth_without_a_bridge_is_hushed_and_heard_again() {
        let it = Host::new();
        it.host.ip("link set veth0 nomaster").unwrap();
        let is_answered = || {
            it.container.ip("neigh flush all").unwrap();
            it.reaches_gateway();
            let known = it.container.ip("neigh show 172.17.0.1").unwrap();
            known.contains("lladdr")
        };
        assert!(is_answered(), "the host does, for all its addresses");
        it.links(|links| links.take_over("veth0"));
        assert!(!is_answered());
        it.links(|links| links.give_back("veth0"));
        assert!(is_answered());
        assert_eq!(it.links(doctor::inspect), []);
    }

    #[test]
    fn a_bridge_and_both_ends_of_a_veth_are_found() {
        let it = Host::new();
        let bridge = it.links(|links| links.bridge("docker0")).unwrap();
        assert_eq!((bridge.link.mtu, bridge.link.mac[5]), (1500, 1));
        let v4 = "172.17.0.1/16".parse().unwrap();
        assert!(bridge.addresses.contains(&v4));
        let inside = Netns::find(Place::Path(it.container.path())).unwrap();
        let ends = inside.run(|inside| inside.links()?.veth_with_mac(MAC));
        let ends = ends.unwrap().unwrap();
        assert_eq!(ends.inside, "eth0");
        let outside = it.links(|links| links.name_of(ends.outside));
        assert_eq!(outside.as_deref(), Some("veth0"));
    }
}
