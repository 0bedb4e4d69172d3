//! Docker's port bindings: what is to be published, and which ports to try for it.
//!
//! Docker sends a binding a port, also for `-p 9000-9199:9000-9199`. One entry of ours leads a
//! whole range, so bindings that follow each other are merged again. Docker's other forms leave the
//! choice to us: no host port is any free one, and a host range for one container port is the first
//! free one in it.

use crate::error::Refusal;
use api::{IpProtocol, Name, Outside, PortRange, Publication, PublicationCreate};
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;

/// One line of Docker's map, `com.docker.network.portmap`. The container's address in it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    proto: u8,
    port: u16,
    /// "" is every address of both families, or the network's default.
    #[serde(default, rename = "HostIP")]
    host_ip: String,
    /// 0 is any.
    #[serde(default)]
    host_port: u16,
    /// The last that would do; 0 is `host_port` itself.
    #[serde(default)]
    host_port_end: u16,
}

/// Ports, as Docker shows them: any is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) PortRange);

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ANY {
            return f.pad("0");
        }
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// All of these ports, one to one.
    Whole(Whole),
    /// One of these ports.
    OneOf(OneOf),
}

/// Ports that are wanted as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The host's ports.
    pub(crate) outside: Outside,
    /// The container's first.
    pub(crate) to: u16,
}

impl Whole {
    /// The call that publishes them.
    pub(crate) fn of(&self, endpoint: &Name) -> PublicationCreate {
        PublicationCreate {
            host: self.outside.host,
            ports: self.outside.ports,
            endpoint: endpoint.clone().into(),
            to: self.to,
            protocol: self.outside.protocol,
            listener: api::Listener::Ours,
        }
    }

    /// The lower and the upper half; `None` for a single port.
    pub(crate) fn halves(&self) -> Option<(Self, Self)> {
        let ports = self.outside.ports;
        let middle = ports.first().midpoint(ports.last());
        let with = |ports, to| Self {
            outside: Outside {
                ports,
                ..self.outside
            },
            to,
        };
        let low = PortRange::new(ports.first(), middle)?;
        let high = PortRange::new(middle.checked_add(1)?, ports.last())?;
        let to = self.to.checked_add(high.first() - ports.first())?;
        Some((with(low, self.to), with(high, to)))
    }

    /// The same, if `next` goes on where this ends.
    fn and(&self, next: &Self) -> Option<Self> {
        let (own, more) = (self.outside, next.outside);
        let length = own.ports.last() - own.ports.first();
        let follows = own.host == more.host
            && own.protocol == more.protocol
            && own.ports.last().checked_add(1) == Some(more.ports.first())
            && self.to.checked_add(length)?.checked_add(1) == Some(next.to);
        let ports = PortRange::new(own.ports.first(), more.ports.last())?;
        follows.then_some(Self {
            outside: Outside { ports, ..own },
            to: self.to,
        })
    }
}

/// A port of which the host's side is ours to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneOf {
    /// The host's address.
    pub(crate) host: Option<IpAddr>,
    protocol: IpProtocol,
    /// The ports to choose from.
    pub(crate) among: Candidates,
    to: u16,
}

/// The ports that a host port is chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// The dynamic ports, each after the one that was given last: a port that was just given back
    /// is still in some client's memory.
    Any,
    /// These, from the lowest.
    Range(PortRange),
}

impl Candidates {
    /// The ports.
    pub(crate) fn ports(self) -> PortRange {
        match self {
            Self::Any => ANY,
            Self::Range(ports) => ports,
        }
    }
}

/// As Docker has it: the first dynamic port is left out.
const ANY: PortRange = match PortRange::new(49_153, u16::MAX) {
    Some(ports) => ports,
    None => PortRange::DYNAMIC,
};

impl OneOf {
    /// The choice made.
    pub(crate) const fn at(&self, port: PortRange) -> Whole {
        Whole {
            outside: Outside {
                host: self.host,
                ports: port,
                protocol: self.protocol,
            },
            to: self.to,
        }
    }

    /// The ports to try: those after `after`, then those before, without what is published.
    pub(crate) fn candidates(
        &self,
        after: u16,
        published: &[Publication],
    ) -> impl Iterator<Item = PortRange> {
        let ports = self.among.ports();
        let start = after.saturating_add(1).clamp(ports.first(), ports.last());
        let round = (start..=ports.last()).chain(ports.first()..start);
        let near: Vec<PortRange> = published
            .iter()
            .map(|p| p.spec.outside())
            .filter(|o| o.protocol == self.protocol && share_an_address(o.host, self.host))
            .map(|o| o.ports)
            .collect();
        round
            .filter(move |&port| !near.iter().any(|ports| ports.contains(port)))
            .filter_map(|port| PortRange::new(port, port))
    }
}

/// Returns what is still to be published of `bindings`: `own` is already. `default_host` is where those
/// without a host address go.
///
/// # Errors
/// [`Refusal::Binding`] names the binding and what is allowed.
pub(crate) fn wishes(
    bindings: &[Binding],
    default_host: Option<IpAddr>,
    own: &[&PublicationCreate],
) -> Result<Vec<Wish>, Refusal> {
    let read = bindings.iter().map(|binding| binding.read(default_host));
    let (mut whole, mut choices) = (Vec::new(), Vec::new());
    for wish in read {
        match wish? {
            Wish::Whole(one) => whole.push(one),
            Wish::OneOf(one) => choices.push(one),
        }
    }
    // A publication serves one choice only, and none that it serves as it is.
    let mut unspoken: Vec<_> = own.to_vec();
    unspoken.retain(|made| !whole.iter().any(|one| serves(made, one)));
    choices.retain(|one| {
        let found = unspoken.iter().position(|made| is_choice(made, one));
        found.map(|at| unspoken.remove(at)).is_none()
    });
    whole.retain(|one| !own.iter().any(|made| serves(made, one)));
    let whole = merged(whole).into_iter().map(Wish::Whole);
    Ok(whole.chain(choices.into_iter().map(Wish::OneOf)).collect())
}

impl Binding {
    fn read(&self, default_host: Option<IpAddr>) -> Result<Wish, Refusal> {
        let wrong = |why: String| Refusal::Binding {
            binding: self.to_string(),
            why,
        };
        let host = match self.host_ip.as_str() {
            "" => default_host,
            text => Some(text.parse().map_err(|_| {
                wrong(format!(
                    "host address `{text}` is none; allowed is an IPv4 or IPv6 address"
                ))
            })?),
        };
        let protocol = IpProtocol(self.proto);
        if !protocol.has_ports() {
            return Err(wrong(format!(
                "protocol {protocol} has no ports; allowed are tcp, udp and sctp"
            )));
        }
        if self.port == 0 {
            return Err(wrong(
                "container port 0 is none; allowed are 1 to 65535".to_owned(),
            ));
        }
        let last = self.host_port_end.max(self.host_port);
        let choice = |among| OneOf {
            host,
            protocol,
            among,
            to: self.port,
        };
        Ok(match PortRange::new(self.host_port, last) {
            None => Wish::OneOf(choice(Candidates::Any)),
            Some(ports) if ports.first() < ports.last() => {
                Wish::OneOf(choice(Candidates::Range(ports)))
            }
            Some(port) => Wish::Whole(choice(Candidates::Any).at(port)),
        })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = IpProtocol(self.proto);
        let Self {
            port,
            host_ip,
            host_port,
            host_port_end,
            ..
        } = self;
        write!(f, "{host_ip}:{host_port}-{host_port_end}:{port}/{protocol}")
    }
}

/// One entry for ports that follow each other.
pub(crate) fn merged(mut single: Vec<Whole>) -> Vec<Whole> {
    let order = |one: &Whole| {
        let Outside {
            host,
            protocol,
            ports,
        } = one.outside;
        (host, protocol, ports.first(), one.to)
    };
    single.sort_by_key(order);
    single.dedup();
    let mut ranges: Vec<Whole> = Vec::new();
    for one in single {
        let longer = ranges.last().and_then(|last| last.and(&one));
        match (ranges.last_mut(), longer) {
            (Some(last), Some(longer)) => *last = longer,
            (Some(_) | None, _) => ranges.push(one),
        }
    }
    ranges
}

/// Returns whether a publication leads all of `one`'s ports to where they are to lead.
fn serves(made: &PublicationCreate, one: &Whole) -> bool {
    let wanted = one.outside;
    made.host == wanted.host
        && made.protocol == wanted.protocol
        && made.ports.contains(wanted.ports.first())
        && made.ports.contains(wanted.ports.last())
        && made
            .to
            .checked_add(wanted.ports.first() - made.ports.first())
            == Some(one.to)
}

/// Returns whether a publication is what would be chosen for `one`.
fn is_choice(made: &PublicationCreate, one: &OneOf) -> bool {
    let single = made.ports.count() == 1;
    single && one.among.ports().contains(made.ports.first()) && serves(made, &one.at(made.ports))
}

/// Returns whether two host addresses cannot both have a port: one of them is every address of the other's
/// family.
fn share_an_address(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests;
