//! Addresses and routes of a namespace: looking at them, and ours among them.

use crate::links::os_error;
use crate::{Error, Links};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use nix::net::if_::if_indextoname;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::NLM_F_CREATE;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One way a packet can go: a route with several next hops is several of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// The next hop; `None` for what is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub ifname: String,
    /// Of two routes to one destination, the one with less goes first.
    pub metric: u32,
    /// The table it stands in.
    pub table: u32,
}

/// As `ip route` writes it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {}", self.ifname)
    }
}

impl Route {
    /// The table that routes stand in unless told otherwise.
    pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

    /// Returns whether it goes to what no other route goes to.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0
    }
}

impl Links {
    /// The interface's addresses, each with its subnet's length, those left out that cannot be
    /// used yet or turned out to be somebody else's.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn addresses(&self, ifname: &str) -> Result<Vec<IpNet>, Error> {
        self.addresses_but(ifname, UNUSABLE)
    }

    /// The addresses that the interface was given, those included that it may use in a moment.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub(crate) fn given_addresses(&self, ifname: &str) -> Result<Vec<IpNet>, Error> {
        self.addresses_but(ifname, AddressHeaderFlags::Dadfailed)
    }

    fn addresses_but(
        &self,
        ifname: &str,
        unwanted: AddressHeaderFlags,
    ) -> Result<Vec<IpNet>, Error> {
        let messages = self.address_messages("list the addresses of", ifname)?;
        Ok(usable(&messages, unwanted))
    }

    /// The addresses of all interfaces, as [`Links::addresses`] lists those of one. One question, however many
    /// interfaces there are.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn all_addresses(&self) -> Result<Vec<IpNet>, Error> {
        let found = self.handle.address().get().execute().try_collect();
        let found: Vec<_> = self
            .runtime
            .block_on(found)
            .map_err(|error| self.error("list the addresses of", "any", os_error(error)))?;
        Ok(usable(&found, UNUSABLE))
    }

    /// Every route to one place or another, of every table, that leads out by an interface or to
    /// the host itself.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for query in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let found = self.handle.route().get(query).execute().try_collect();
            let found: Vec<RouteMessage> = self
                .runtime
                .block_on(found)
                .map_err(|error| self.error("list the routes of", "any", os_error(error)))?;
            routes.extend(found.iter().flat_map(ways));
        }
        Ok(routes)
    }

    /// The routes to what no other route goes to, best first.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn default_routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = self.routes()?;
        routes.retain(|route| route.is_default() && route.table == Route::MAIN);
        routes.sort_by_key(|route| route.metric);
        Ok(routes)
    }

    /// A route of the host's, other than the default routes, that leads some addresses of `subnet`
    /// elsewhere than to one of the interfaces `but`.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn overlapping(&self, subnet: IpNet, but: &[&str]) -> Result<Option<Route>, Error> {
        let overlaps = |route: &Route| {
            !route.is_default()
                && !but.contains(&route.ifname.as_str())
                && (route.destination.contains(&subnet.network())
                    || subnet.contains(&route.destination.network()))
        };
        Ok(self.routes()?.into_iter().find(overlaps))
    }

    /// Takes an address away. One that is not there is as good as taken.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn remove_address(&self, ifname: &str, address: IpNet) -> Result<(), Error> {
        let what = format!("remove {address} from");
        let messages = self.address_messages(&what, ifname)?;
        let ours = messages
            .into_iter()
            .filter(|it| address_of(it) == Some(address));
        for message in ours {
            let removed = self
                .runtime
                .block_on(self.handle.address().del(message).execute());
            gone_is_fine(removed).map_err(|error| self.error(&what, ifname, error))?;
        }
        Ok(())
    }

    /// Sends what is for `subnet` out by the interface, with the source address `from` unless its
    /// sender has one. Such a route being there already is as good as made.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn add_route(&self, ifname: &str, subnet: IpNet, from: IpAddr) -> Result<(), Error> {
        let what = format!("route {subnet} to");
        let route = on_link(self.index(&what, ifname)?, subnet, Some(from));
        match self
            .runtime
            .block_on(self.handle.route().add(route).execute())
            .map_err(os_error)
        {
            Err(error) if error.raw_os_error() != Some(nix::libc::EEXIST) => {
                Err(self.error(&what, ifname, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The same in front of routes of others to the same subnet, which stay and have no effect.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn add_route_in_front(
        &self,
        ifname: &str,
        subnet: IpNet,
        from: IpAddr,
    ) -> Result<(), Error> {
        let what = format!("route {subnet} first of all to");
        let mut route = on_link(self.index(&what, ifname)?, subnet, Some(from));
        // Of IPv4's with one metric the first counts, which is the one that was added last; IPv6's
        // that go with an address have 256.
        if subnet.addr().is_ipv6() {
            route.attributes.push(RouteAttribute::Priority(IN_FRONT));
        }
        match self.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EEXIST) => {
                Err(self.error(&what, ifname, error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes back [`Links::add_route`] or [`Links::add_route_in_front`].
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn remove_route(&self, ifname: &str, subnet: IpNet) -> Result<(), Error> {
        let what = format!("stop routing {subnet} to");
        let route = on_link(self.index(&what, ifname)?, subnet, None);
        let removed = self
            .runtime
            .block_on(self.handle.route().del(route).execute());
        gone_is_fine(removed).map_err(|error| self.error(&what, ifname, error))
    }

    fn address_messages(&self, what: &str, ifname: &str) -> Result<Vec<AddressMessage>, Error> {
        let index = self.index(what, ifname)?;
        let found = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect();
        self.runtime
            .block_on(found)
            .map_err(|error| self.error(what, ifname, os_error(error)))
    }
}

/// Less than any metric the kernel chooses.
const IN_FRONT: u32 = 64;

fn on_link(index: u32, subnet: IpNet, from: Option<IpAddr>) -> RouteMessage {
    let mut route = match subnet {
        IpNet::V4(subnet) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .scope(RouteScope::Link)
            .output_interface(index)
            .build(),
        IpNet::V6(subnet) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .output_interface(index)
            .build(),
    };
    let from = from.map(|ip| RouteAttribute::PrefSource(ip.into()));
    route.attributes.extend(from);
    route
}

fn gone_is_fine(removed: Result<(), rtnetlink::Error>) -> io::Result<()> {
    match removed.map_err(os_error) {
        Err(error)
            if ![
                nix::libc::ESRCH,
                nix::libc::EADDRNOTAVAIL,
                nix::libc::ENODEV,
            ]
            .map(Some)
            .contains(&error.raw_os_error()) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Addresses that cannot be used yet, or turned out to be somebody else's.
const UNUSABLE: AddressHeaderFlags =
    AddressHeaderFlags::Tentative.union(AddressHeaderFlags::Dadfailed);

fn usable(messages: &[AddressMessage], unwanted: AddressHeaderFlags) -> Vec<IpNet> {
    let wanted = messages
        .iter()
        .filter(|message| !message.header.flags.intersects(unwanted));
    wanted.filter_map(address_of).collect()
}

fn address_of(message: &AddressMessage) -> Option<IpNet> {
    // On a link between two hosts `Address` is the other one's.
    let mut of = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(ip) = attribute {
            of = Some(*ip);
        }
        if let AddressAttribute::Address(ip) = attribute {
            of = of.or(Some(*ip));
        }
    }
    IpNet::new(of?, message.header.prefix_len).ok()
}

/// The ways a route has. Those to nowhere (`blackhole` and the like) and to groups have none.
fn ways(message: &RouteMessage) -> Vec<Route> {
    if !matches!(message.header.kind, RouteType::Unicast | RouteType::Local) {
        return Vec::new();
    }
    let unspecified = if message.header.address_family == AddressFamily::Inet {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let (mut destination, mut metric) = (unspecified, 0);
    let mut table = message.header.table.into();
    let mut hops = vec![hop(&message.attributes)];
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(to) = attribute {
            destination = ip_of(to).unwrap_or(unspecified);
        }
        if let RouteAttribute::Priority(priority) = attribute {
            metric = *priority;
        }
        if let RouteAttribute::Table(number) = attribute {
            table = *number;
        }
        if let RouteAttribute::MultiPath(several) = attribute {
            let hop = |it: &rtnetlink::packet_route::route::RouteNextHop| {
                (Some(it.interface_index), hop(&it.attributes).1)
            };
            hops = several.iter().map(hop).collect();
        }
    }
    let Ok(destination) = IpNet::new(destination, message.header.destination_prefix_length) else {
        return Vec::new();
    };
    let way = |(index, gateway): (Option<u32>, Option<IpAddr>)| {
        let ifname = if_indextoname(index?).ok()?.into_string().ok()?;
        Some(Route {
            destination,
            gateway,
            ifname,
            metric,
            table,
        })
    };
    hops.into_iter().filter_map(way).collect()
}

fn hop(attributes: &[RouteAttribute]) -> (Option<u32>, Option<IpAddr>) {
    let (mut index, mut gateway) = (None, None);
    for attribute in attributes {
        if let RouteAttribute::Oif(oif) = attribute {
            index = Some(*oif);
        }
        if let RouteAttribute::Gateway(ip) = attribute {
            gateway = ip_of(ip);
        }
        if let RouteAttribute::Via(RouteVia::Inet6(ip)) = attribute {
            gateway = Some((*ip).into());
        }
    }
    (index, gateway)
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(ip) = address {
        return Some((*ip).into());
    }
    let RouteAddress::Inet6(ip) = address else {
        return None;
    };
    Some((*ip).into())
}
