//! Publications: ports of the host that lead to an endpoint, or to one of several.

use crate::{Invalid, IpProtocol, Name, OneOrMore, PortRange};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Ports to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PublicationCreate {
    /// The external address, one of an uplink's. `0.0.0.0` and `::` are every one of the family,
    /// `null` is every one of both.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub host: Option<IpAddr>,
    /// The external ports; a range is one entry.
    pub ports: PortRange,
    /// The endpoint, by id, by port or by name. A list of several is of backends: each new connection
    /// goes to one of those whose ports are up, chosen evenly by the client's address and port.
    #[cfg_attr(feature = "schema", schema(schema_with = OneOrMore::<Name>::schema))]
    pub endpoint: OneOrMore<Name>,
    /// The first port there, 1 to 65535; the range goes on from there.
    #[cfg_attr(feature = "schema", schema(minimum = 1))]
    pub to: u16,
    /// `tcp`, `udp` or `sctp`.
    #[cfg_attr(feature = "serde", serde(default = "tcp"))]
    pub protocol: IpProtocol,
    /// Who listens to the external ports on the host itself.
    #[cfg_attr(feature = "serde", serde(default))]
    pub listener: Listener,
}

/// Who listens to published ports on the host itself, and serves what it sends to itself. What comes
/// from outside gets to neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Listener {
    /// The daemon does, which keeps other programs off the ports.
    #[default]
    Ours,
    /// Another program has the ports: Docker's `docker-proxy`, say.
    Another,
}

impl PublicationCreate {
    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        self.outside().leads_to(self.to).map(|_| ())
    }
}

/// `[HOST:]PORTS:ENDPOINT[,ENDPOINT...]:PORT[/PROTOCOL]`, also with `->` before the endpoints.
impl FromStr for PublicationCreate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| {
            Invalid::Conflict(format!(
                "`{text}` is no publication: {why}; [HOST:]PORT[-PORT]:ENDPOINT[,ENDPOINT...]:PORT[/PROTOCOL] is, with -> for : before the endpoint if you like"
            ))
        };
        let (ways, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = protocol.parse()?;
        let (outside, inside) = match ways.split_once("->") {
            Some(both) => both,
            None => {
                let at = ways.rmatch_indices(':').nth(1).map(|(at, _)| at);
                let (outside, inside) =
                    ways.split_at(at.ok_or_else(|| wrong("an endpoint or a port is missing"))?);
                (outside, &inside[1..])
            }
        };
        let (host, ports) = outside_of(outside.trim())?;
        let (endpoints, to) = inside
            .trim()
            .split_once(':')
            .ok_or_else(|| wrong("the endpoint's port is missing"))?;
        let to: PortRange = to.parse()?;
        if to != ports.moved_to(to.first()).unwrap_or(to) && to.first() != to.last() {
            return Err(wrong("the two ranges are not of one length"));
        }
        let endpoints: Vec<Name> = endpoints
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            host,
            ports,
            endpoint: OneOrMore::try_from(endpoints)?,
            to: to.first(),
            protocol,
            listener: Listener::default(),
        })
    }
}

/// `[HOST:]PORTS`, an IPv6 host in brackets.
fn outside_of(text: &str) -> Result<(Option<IpAddr>, PortRange), Invalid> {
    let Some((host, ports)) = text.rsplit_once(':') else {
        return Ok((None, text.parse()?));
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host: Option<IpAddr> = match bare {
        Some(v6) => v6.parse().ok().filter(IpAddr::is_ipv6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    };
    let host = host.ok_or_else(|| {
        Invalid::Conflict(format!(
            "`{text}` does not begin with an address: IP:PORT is meant, or [IP]:PORT with IPv6"
        ))
    })?;
    Ok((Some(host), ports.parse()?))
}

/// The part before the arrow: `[HOST:]PORTS/PROTOCOL`. It belongs to one publication only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside {
    /// The external address.
    pub host: Option<IpAddr>,
    /// The external ports.
    pub ports: PortRange,
    /// The protocol.
    pub protocol: IpProtocol,
}

impl PublicationCreate {
    /// The part before the arrow.
    #[must_use]
    pub const fn outside(&self) -> Outside {
        Outside {
            host: self.host,
            ports: self.ports,
            protocol: self.protocol,
        }
    }
}

impl Outside {
    /// Returns as many ports of an endpoint, from `to` on.
    ///
    /// # Errors
    /// [`Invalid`] when there are not so many, or the protocol has no ports.
    pub fn leads_to(self, to: u16) -> Result<PortRange, Invalid> {
        let Self {
            ports, protocol, ..
        } = self;
        if !protocol.has_ports() {
            return Err(Invalid::Conflict(format!(
                "protocol is {protocol}; allowed are tcp, udp and sctp"
            )));
        }
        ports.moved_to(to).ok_or_else(|| {
            Invalid::Conflict(format!(
                "ports {ports} do not fit from port {to} on; allowed are 1 to 65535"
            ))
        })
    }
}

impl FromStr for Outside {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (way, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (host, ports) = outside_of(way)?;
        Ok(Self {
            host,
            ports,
            protocol: protocol.parse()?,
        })
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(IpAddr::V4(host)) => write!(f, "{host}:")?,
            Some(IpAddr::V6(host)) => write!(f, "[{host}]:")?,
            None => {}
        }
        write!(f, "{}/{}", self.ports, self.protocol)
    }
}

#[cfg(feature = "serde")]
const fn tcp() -> IpProtocol {
    IpProtocol::TCP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String, u16) {
        let spec: PublicationCreate = text.parse().unwrap();
        assert_eq!(spec.check(), Ok(()));
        (
            spec.outside().to_string(),
            spec.endpoint.to_string(),
            spec.to,
        )
    }

    #[test]
    fn specs_are_read_as_docker_writes_them() {
        for (text, outside, to) in [
            ("8080:web:80", "8080/tcp", 80),
            ("198.51.100.1:8080:web:80/udp", "198.51.100.1:8080/udp", 80),
            (
                "[2001:db8::1]:53:web:5353/sctp",
                "[2001:db8::1]:53/sctp",
                5353,
            ),
            (
                "0.0.0.0:20000-29999->web:20000-29999/tcp",
                "0.0.0.0:20000-29999/tcp",
                20_000,
            ),
            ("[::]:80->web:80", "[::]:80/tcp", 80),
            ("80 -> web:80", "80/tcp", 80),
            ("100-199:web:1", "100-199/tcp", 1),
        ] {
            assert_eq!(
                read(text),
                (outside.to_owned(), "web".to_owned(), to),
                "{text}"
            );
        }
    }

    #[test]
    fn several_endpoints_stand_between_commas() {
        for text in ["8080:web1,web2:80", "8080->web1,web2:80/tcp"] {
            let spec: PublicationCreate = text.parse().unwrap();
            assert_eq!((spec.endpoint.len(), spec.to), (2, 80));
            assert_eq!(spec.endpoint.to_string(), "web1,web2");
            let json = serde_json::to_value(&spec).unwrap();
            assert_eq!(json["endpoint"], serde_json::json!(["web1", "web2"]));
        }
        let one: PublicationCreate = "8080:web1:80".parse().unwrap();
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(json["endpoint"], "web1", "one is written as ever");
    }

    #[test]
    fn what_is_no_spec_says_why() {
        for (text, why) in [
            ("8080", "an endpoint or a port is missing"),
            ("8080:web", "an endpoint or a port is missing"),
            ("8080->web", "the endpoint's port is missing"),
            ("x:8080:web:80", "does not begin with an address"),
            ("2001:db8::1:53:web:53", "does not begin with an address"),
            ("8080:web:80/gre", "`gre` is not a protocol"),
            ("0:web:80", "`0` is not a range of ports"),
            ("80-89:web:80-88", "the two ranges are not of one length"),
            ("80:a b:80", "is not a name"),
            ("80:web,:80", "`` is not a name"),
        ] {
            let error = text.parse::<PublicationCreate>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let long: PublicationCreate = "1-9:web:65530".parse().unwrap();
        assert!(
            long.check()
                .unwrap_err()
                .to_string()
                .contains("do not fit from port 65530 on")
        );
        let icmp: PublicationCreate = "1:web:1/icmp".parse().unwrap();
        assert!(icmp.check().is_err());
    }
}
