//! What is so on the host: its interfaces, and the ports that its sockets have.

use crate::links::os_error;
use crate::reserved::PortSet;
use crate::{Error, LinkState, Links, Ports, Route};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What an uplink has to know of its NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The interface: its MAC address, its MTU, whether it carries.
    pub link: LinkState,
    /// Its addresses, each with its subnet's length.
    pub addresses: Vec<IpNet>,
    /// The next hops of its best default routes: one an IP version at most.
    pub gateways: Vec<IpAddr>,
}

impl Links {
    /// The facts about a NIC; `None` when there is no interface of that name.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn facts(&self, nic: &str) -> Result<Option<Facts>, Error> {
        let Some(link) = self.state(nic)? else {
            return Ok(None);
        };
        let routes = self.default_routes()?;
        let best = |is_version: fn(&IpAddr) -> bool| {
            let through = routes.iter().filter(|route| route.ifname == nic);
            through.filter_map(|route| route.gateway).find(is_version)
        };
        let gateways = [best(IpAddr::is_ipv4), best(IpAddr::is_ipv6)];
        Ok(Some(Facts {
            link,
            addresses: self.addresses(nic)?,
            gateways: gateways.into_iter().flatten().collect(),
        }))
    }

    /// The interface that the host's own best default route leaves by: IPv4's if there is one.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn default_interface(&self) -> Result<Option<String>, Error> {
        let routes = self.default_routes()?;
        let first = |v4: bool| {
            let of_version = |route: &&Route| route.destination.addr().is_ipv4() == v4;
            routes.iter().find(of_version)
        };
        Ok(first(true)
            .or_else(|| first(false))
            .map(|route| route.ifname.clone()))
    }

    /// Every interface, by name.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn all(&self) -> Result<Vec<(String, LinkState)>, Error> {
        let found = self.handle.link().get().execute().try_collect();
        let found: Vec<LinkMessage> = self
            .runtime
            .block_on(found)
            .map_err(|error| self.error("list", "any", os_error(error)))?;
        let named = |message: &LinkMessage| {
            let name = message.attributes.iter().find_map(|attribute| {
                let LinkAttribute::IfName(name) = attribute else {
                    return None;
                };
                Some(name.clone())
            });
            Some((name?, LinkState::of(message)))
        };
        Ok(found.iter().filter_map(named).collect())
    }

    /// The ports that sockets of the namespace have now at one of `addresses` or at all: services,
    /// and the near ends of connections. Those that only wait for stray packets of a connection
    /// that ended do not count.
    ///
    /// # Errors
    /// [`Error::Resources`] when the kernel's lists cannot be read.
    pub fn ports_in_use(&self, addresses: &[IpAddr]) -> Result<Ports, Error> {
        let of = |lists: [&str; 2]| {
            let mut ports = Vec::new();
            for list in lists {
                let text = read(list).map_err(|source| Error::Resources {
                    what: "list the sockets",
                    netns: self.netns().to_owned(),
                    source,
                })?;
                let reachable = sockets(&text)
                    .filter(|at| at.ip().is_unspecified() || addresses.contains(&at.ip()))
                    .map(|at| at.port()..=at.port());
                ports.extend(reachable);
            }
            Ok(PortSet::of(&ports).ranges())
        };
        Ok(Ports {
            tcp: of(["tcp", "tcp6"])?,
            udp: of(["udp", "udp6"])?,
            ..Ports::default()
        })
    }
}

impl Ports {
    /// These but not `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let minus = |a: &[_], b: &[_]| PortSet::of(a).minus(&PortSet::of(b)).ranges();
        Self {
            tcp: minus(&self.tcp, &others.tcp),
            udp: minus(&self.udp, &others.udp),
            sctp: minus(&self.sctp, &others.sctp),
            echo: minus(&self.echo, &others.echo),
        }
    }
}

/// One of the kernel's lists of sockets; a kernel without IPv6 lacks some.
fn read(list: &str) -> io::Result<String> {
    match fs::read_to_string(format!("/proc/thread-self/net/{list}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// Returns where the sockets of a list are: of each line but the first the second column, unless the
/// fourth says TIME_WAIT.
fn sockets(list: &str) -> impl Iterator<Item = SocketAddr> + '_ {
    const TIME_WAIT: &str = "06";
    list.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next()?;
        (columns.nth(1)? != TIME_WAIT).then_some(())?;
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(SocketAddr::new(address(ip)?, port))
    })
}

/// An address as the kernel prints it there: each of its words as a number of the machine's.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let number = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(u32::from_be_bytes(number.to_ne_bytes()))
    };
    if hex.len() == 8 {
        return Some(Ipv4Addr::from_bits(word(0)?).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let bits = words
        .iter()
        .fold(0, |bits, word| bits << 32 | u128::from(*word));
    Some(Ipv6Addr::from_bits(bits).to_canonical())
}
