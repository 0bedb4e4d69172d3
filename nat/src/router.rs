//! The router at one moment: what it is configured to be, made into tables for the hot path, and
//! the live state that outlives a change of it.
//!
//! Like the switch's topology a [`Router`] is immutable and published whole. [`Live`] is shared
//! between the snapshots: connections, neighbours, fragments and rate limits go on.

use crate::config::{Config, InsideRole, Role};
use crate::due::Due;
use crate::fragments::Fragments;
use crate::gateway::{self, Gateway};
use crate::interface::Interface;
use crate::nptv6::{PrefixError, Prefixes};
use crate::outbox::Outbox;
use crate::policy::Policies;
use crate::published::{PublishError, Published};
use crate::routes::Routes;
use crate::table::{Entry, Gap, Imported, NatSettings, Settings, Stored, Tables};
use crate::translate::External;
use hashbrown::HashMap;
use pipeline::{Instant, NetworkId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::{Headers, IpProtocol};

/// Everything a frame needs to know of the router.
#[derive(Debug, Clone)]
pub struct Router {
    /// By network id.
    interfaces: Vec<Option<Interface>>,
    /// The uplinks' addresses: whose uplink each is.
    pub(crate) external: HashMap<IpAddr, NetworkId>,
    /// The gateways' addresses, and the host's own that are no uplink's.
    local: HashMap<IpAddr, ()>,
    /// The subnets of containers.
    inside: Routes<NetworkId>,
    /// Prefixes that stand for networks' own in the world (NPTv6).
    pub(crate) prefixes: Prefixes,
    pub(crate) host: Option<NetworkId>,
    pub(crate) services: Option<NetworkId>,
    pub(crate) published: Published,
    pub(crate) settings: Settings,
    pub(crate) policy: Policies,
    /// State that lives longer than the configuration.
    pub live: Arc<Live>,
}

/// State that lives longer than a configuration. Safe to use from every worker at once.
#[derive(Debug)]
pub struct Live {
    /// Connections.
    pub tables: Tables,
    /// Pieces of packets.
    pub fragments: Fragments,
    /// Neighbours, limits and timers.
    pub gateway: Arc<Gateway>,
    /// When the router is to be polled.
    pub due: Due,
}

/// Why a configuration does not make a router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two interfaces are in one network.
    #[error("{0} has two interfaces")]
    DuplicateInterface(NetworkId),
    /// Publications that cannot stand, or not together.
    #[error(transparent)]
    Publication(#[from] PublishError),
    /// Prefixes that cannot be translated to each other.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
}

/// The destination that an address is, seen from one of the router's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A gateway's address, on this link or another, or one of the host's.
    Gateway,
    /// An address the world knows us by, on this uplink.
    External(NetworkId),
    /// In a network of containers.
    Inside(NetworkId),
    /// An address in the prefix that stands for this network of containers in the world.
    Prefixed(NetworkId),
    /// Somewhere in the world.
    World,
}

impl Live {
    /// The connections that are kept unless told otherwise.
    pub const CAPACITY: u32 = 1 << 20;

    /// No connections, and room for `capacity`; no neighbours. `secret` is random and told to
    /// nobody: it keeps attackers from choosing where in a table their connections stand.
    #[must_use]
    pub fn new(capacity: u32, secret: u64) -> Self {
        Self {
            tables: Tables::new(capacity, secret),
            fragments: Fragments::default(),
            gateway: Arc::default(),
            due: Due::default(),
        }
    }
}

impl Default for Router {
    /// A router that is attached to nothing.
    fn default() -> Self {
        let live = Arc::new(Live::new(Live::CAPACITY, 0));
        Self::new(Config::default(), live).expect("nothing contradicts itself")
    }
}

impl Router {
    /// The router that `config` describes, with the state of `live`.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn new(config: Config, live: Arc<Live>) -> Result<Self, ConfigError> {
        let Config {
            interfaces: configured,
            publications,
            rules,
        } = config;
        let published = Published::new(&publications)?;
        let mut interfaces: Vec<Option<Interface>> = Vec::new();
        for interface in configured {
            let id = interface.network;
            if interfaces.len() <= id.index() {
                interfaces.resize_with(id.index() + 1, || None);
            }
            if interfaces[id.index()]
                .replace(Interface::new(interface))
                .is_some()
            {
                return Err(ConfigError::DuplicateInterface(id));
            }
        }
        let all = || interfaces.iter().flatten();
        let of_kind = |wanted: fn(&Role) -> bool| all().filter(move |f| wanted(&f.role));
        let own = |wanted| {
            of_kind(wanted)
                .flat_map(|f| f.ips.iter().map(|ip| (*ip, f.network)))
                .collect()
        };
        let settings = Settings::new(
            all().filter_map(|f| f.inside().map(|role| (f.network, role.settings()))),
        );
        let routable = all().filter(|f| f.inside().is_some_and(|role| !role.overlapping));
        let inside =
            Routes::new(routable.flat_map(|f| f.addresses.iter().map(|net| (*net, f.network))));
        let pairs = all()
            .filter_map(Interface::prefixes)
            .collect::<Result<_, _>>()?;
        let first = |wanted| of_kind(wanted).next().map(|f| f.network);
        Ok(Self {
            external: own(|role| matches!(role, Role::Uplink(_))),
            local: local(&interfaces),
            inside,
            prefixes: Prefixes::new(pairs),
            host: first(|role| matches!(role, Role::Host(_))),
            services: first(|role| matches!(role, Role::Services)),
            published,
            settings,
            policy: Policies::new(rules),
            live,
            interfaces,
        })
    }

    /// Returns whether rules are asked for what is switched within `network`.
    #[must_use]
    pub fn judges(&self, network: NetworkId) -> bool {
        self.policy.concerns(network)
    }

    pub(crate) fn interface(&self, network: NetworkId) -> Option<&Interface> {
        self.interfaces.get(network.index())?.as_ref()
    }

    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().flatten()
    }

    /// Returns what `ip` is to the router, seen from `interface`.
    pub(crate) fn place(&self, interface: &Interface, ip: IpAddr) -> Destination {
        if interface.owns(ip) {
            return match interface.role {
                Role::Uplink(_) => Destination::External(interface.network),
                Role::Inside(_) | Role::Host(_) | Role::Services => Destination::Gateway,
            };
        }
        // Its own subnet first: two networks may use one range.
        if interface.inside().is_some() && interface.addresses.iter().any(|net| net.contains(&ip)) {
            return Destination::Inside(interface.network);
        }
        if let Some(uplink) = self.external.get(&ip) {
            return Destination::External(*uplink);
        }
        if self.local.contains_key(&ip) {
            return Destination::Gateway;
        }
        if let Some(network) = self.prefixes.network(ip) {
            return Destination::Prefixed(network);
        }
        match self.inside.find(ip) {
            Some(network) => Destination::Inside(network),
            None => Destination::World,
        }
    }

    /// The uplink of `network`, as a NAT sees it.
    pub(crate) fn external(&self, uplink: NetworkId) -> Option<External<'_>> {
        let interface = self.interface(uplink)?;
        let Role::Uplink(role) = &interface.role else {
            return None;
        };
        Some(External {
            network: uplink,
            addresses: &interface.ips,
            ports: role.ports,
            spared: &role.spared,
        })
    }

    /// Returns whether an external port leads inside, or may.
    pub(crate) fn takes(
        &self,
        uplink: NetworkId,
        protocol: IpProtocol,
        to: crate::TransportAddr,
    ) -> bool {
        self.published.leads_inside(protocol, to)
            || self
                .external(uplink)
                .is_some_and(|e| e.ports.contains(to.port))
    }

    /// Returns whether the router answers for `ip` on the link of `interface`: for its own addresses, and
    /// towards the host and the servers for all it knows a way to.
    pub(crate) fn answers_for(&self, interface: &Interface, ip: IpAddr) -> bool {
        match interface.role {
            Role::Inside(_) | Role::Uplink(_) => interface.owns(ip),
            Role::Host(_) | Role::Services => {
                interface.link_local == ip
                    || matches!(self.place(interface, ip), Destination::Inside(_))
            }
        }
    }

    /// Returns whether a frame that would be flooded in `network` is the router's business instead: an
    /// ARP request or neighbour solicitation for an address it answers for, a router
    /// solicitation, a DHCP request where it leases.
    #[must_use]
    pub fn claims(&self, network: NetworkId, headers: &Headers) -> bool {
        self.interface(network).is_some_and(|interface| {
            gateway::claims(interface, &|ip| self.answers_for(interface, ip), headers)
        })
    }

    /// Does what is due: questions asked again, announcements, advertisements, packets given up.
    /// When something is due again is in the outbox. Called by whoever claimed it ([`Due::claim`]);
    /// more often is harmless.
    pub fn poll(&self, now: Instant, outbox: &mut Outbox) {
        self.live.gateway.poll(self.interfaces(), now, outbox);
        self.live.fragments.poll(now, outbox);
    }

    /// Forgets connections that are over, some of a large table at a time. It has no deadline and
    /// is no part of a poll: it takes milliseconds, in which a worker that did it would lose
    /// datagrams. Called about once a second by a caller who is in no hurry.
    pub fn expire(&self, now: Instant) {
        self.live
            .tables
            .expire(&self.settings, now, EXPIRED_AT_ONCE);
    }

    /// The connections that are `wanted`.
    #[must_use]
    pub fn connections(&self, now: Instant, wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        self.live.tables.list(&self.settings, now, wanted)
    }

    /// Forgets the connections that `keep` refuses, and answers how many they were.
    pub fn retain_connections(&self, now: Instant, keep: impl FnMut(&Entry) -> bool) -> usize {
        self.live.tables.retain(&self.settings, now, keep)
    }

    /// Every connection that is established. The others are young or at their end, and begin anew.
    #[must_use]
    pub fn export_connections(&self, now: Instant) -> Vec<Stored> {
        let mut all = self.live.tables.export(&self.settings, now);
        all.retain(Stored::is_established);
        all
    }

    /// Takes back connections that were exported `ago`, which counts as silence, and answers how
    /// many fit in. To be done before the first packet is judged by this router; what it does not
    /// admit is for [`Router::revoke`] to find.
    pub fn import_connections(
        &self,
        all: &[Stored],
        gap: Gap,
        ago: Duration,
        now: Instant,
    ) -> usize {
        let given = (&self.published, &self.settings);
        let added = all.iter().filter(|stored| {
            let stored = stored.after(gap, ago);
            self.live.tables.import(&stored, given, now) == Imported::Added
        });
        added.count()
    }
}

/// Connections forgotten at most in one go: 200 000 take some 10 ms, spread over the shards.
const EXPIRED_AT_ONCE: usize = 200_000;

fn local(interfaces: &[Option<Interface>]) -> HashMap<IpAddr, ()> {
    let own = |interface: &Interface| match &interface.role {
        Role::Inside(role) if role.overlapping => Vec::new(),
        Role::Inside(_) => interface.ips.clone(),
        Role::Host(host) => host.addresses.clone(),
        Role::Uplink(_) | Role::Services => Vec::new(),
    };
    let all = interfaces.iter().flatten().flat_map(own);
    all.map(|ip| (ip, ())).collect()
}

impl InsideRole {
    fn settings(&self) -> NatSettings {
        NatSettings {
            behaviour: self.settings.nat.behaviour(),
            quota: self.settings.nat.quota,
        }
    }
}
