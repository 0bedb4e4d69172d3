//! Policies: what an endpoint may send and receive.

use crate::{Invalid, IpProtocol, PortRange};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The rules of one endpoint, in order: the first that matches a connection's first packet
/// decides. Answers always pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Policy {
    /// What is done with what no rule matches.
    #[cfg_attr(feature = "serde", serde(default))]
    pub default: Action,
    /// The rules, 1024 at most.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Rules at most.
    pub const RULES: usize = 1024;

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the rule and what is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.rules.len() > Self::RULES {
            return Err(Invalid::Conflict(format!(
                "there are {} rules; allowed are {} at most",
                self.rules.len(),
                Self::RULES
            )));
        }
        self.rules.iter().enumerate().try_for_each(|(i, rule)| {
            rule.check()
                .map_err(|why| Invalid::Conflict(format!("rule {}, `{rule}`: {why}", i + 1)))
        })
    }
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Rule {
    /// What is done with what matches.
    pub action: Action,
    /// Whether it is about what the endpoint sends or receives.
    pub direction: RuleDirection,
    /// The protocol. `null`: every one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub protocol: Option<IpProtocol>,
    /// The peer's addresses. `null`: every one.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub peer: Option<IpNet>,
    /// The destination ports, of `tcp`, `udp` or `sctp`. `null`: every one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ports: Option<PortRange>,
}

impl Rule {
    /// The protocols that a rule may name.
    const PROTOCOLS: [IpProtocol; 5] = [
        IpProtocol::TCP,
        IpProtocol::UDP,
        IpProtocol::SCTP,
        IpProtocol::ICMP,
        IpProtocol::ICMPV6,
    ];

    fn check(&self) -> Result<(), String> {
        if self.protocol.is_some_and(|p| !Self::PROTOCOLS.contains(&p)) {
            return Err("its protocol is none of tcp, udp, sctp, icmp and icmpv6".to_owned());
        }
        if self.ports.is_some() && !self.protocol.is_some_and(IpProtocol::has_ports) {
            return Err("only tcp, udp and sctp have ports".to_owned());
        }
        match self.peer.filter(|net| net.trunc() != *net) {
            None => Ok(()),
            Some(net) => Err(format!(
                "the host bits of {net} are not zero; {} is a range",
                net.trunc()
            )),
        }
    }
}

words! {
    /// The action of a rule.
    #[derive(Default)]
    pub enum Action ("action") {
        /// Lets pass.
        #[default]
        Allow = "allow",
        /// Drops.
        Deny = "deny",
    }
}

words! {
    /// A direction, seen from the endpoint.
    pub enum RuleDirection ("direction") {
        /// Packets that it receives.
        In = "in",
        /// Packets that it sends.
        Out = "out",
    }
}

/// `allow out tcp 10.0.0.0/8:443`, `deny in any`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.direction)?;
        match self.protocol {
            Some(protocol) => write!(f, " {protocol}")?,
            None if self.peer.is_none() => return f.write_str(" any"),
            None => {}
        }
        match (self.peer, self.ports) {
            (None, None) => Ok(()),
            (None, Some(ports)) => write!(f, " :{ports}"),
            (Some(peer), None) => write!(f, " {peer}"),
            (Some(peer @ IpNet::V4(_)), Some(ports)) => write!(f, " {peer}:{ports}"),
            (Some(peer @ IpNet::V6(_)), Some(ports)) => write!(f, " [{peer}]:{ports}"),
        }
    }
}

/// `ACTION DIRECTION any`, or `ACTION DIRECTION [PROTOCOL] [ADDRESSES][:PORTS]`, IPv6 addresses
/// before ports in brackets.
impl FromStr for Rule {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| {
            Invalid::Conflict(format!(
                "`{text}` is no rule: {why}; allow|deny in|out any is, or allow|deny in|out [PROTOCOL] [CIDR][:PORTS]"
            ))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [action, direction, what @ ..] = words.as_slice() else {
            return Err(wrong("its action or its direction is missing"));
        };
        let (protocol, target) = match what {
            [] => return Err(wrong("it does not say about what")),
            ["any"] => (None, None),
            ["any", target] => (None, Some(*target)),
            [one] => match one.parse() {
                Ok(protocol) => (Some(protocol), None),
                Err(_) => (None, Some(*one)),
            },
            [protocol, target] => (Some(protocol.parse()?), Some(*target)),
            [..] => return Err(wrong("it has too many words")),
        };
        let (peer, ports) = target.map_or(Ok((None, None)), target_of)?;
        let rule = Self {
            action: action.parse()?,
            direction: direction.parse()?,
            protocol,
            peer,
            ports,
        };
        rule.check().map_err(|why| wrong(&why))?;
        Ok(rule)
    }
}

/// `CIDR`, `CIDR:PORTS`, `[CIDR]:PORTS`, `:PORTS`; `any` for every address.
fn target_of(text: &str) -> Result<(Option<IpNet>, Option<PortRange>), Invalid> {
    if let Some(net) = net_of(text) {
        return Ok((net, None));
    }
    let wrong = || {
        Invalid::Conflict(format!(
            "`{text}` is neither a protocol nor addresses and ports: CIDR, CIDR:PORTS, [CIDR]:PORTS and :PORTS are"
        ))
    };
    let (addresses, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = addresses
        .strip_prefix('[')
        .and_then(|net| net.strip_suffix(']'))
        .unwrap_or(addresses);
    let net = match bare {
        "" => None,
        net => net_of(net).ok_or_else(wrong)?,
    };
    Ok((net, Some(ports.parse()?)))
}

/// A range, an address as a range of one, or any; `None` for something else.
fn net_of(text: &str) -> Option<Option<IpNet>> {
    if text == "any" {
        return Some(None);
    }
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_shown() {
        for text in [
            "allow out tcp 10.0.0.0/8:443",
            "deny in any",
            "deny out udp :53",
            "allow in icmpv6",
            "deny out 198.51.100.0/24",
            "allow out sctp [2001:db8::/32]:8000-8099",
            "allow in tcp 2001:db8::/32",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for (text, shown) in [
            ("allow out tcp 10.0.0.1", "allow out tcp 10.0.0.1/32"),
            ("allow out tcp any:443", "allow out tcp :443"),
            ("deny  in  any any", "deny in any"),
            ("deny in any 10.0.0.0/8", "deny in 10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, why) in [
            ("", "its action or its direction is missing"),
            ("allow in", "it does not say about what"),
            (
                "permit in any",
                "unknown action `permit`: allowed are allow, deny",
            ),
            ("allow up any", "unknown direction `up`"),
            ("allow in any :80", "only tcp, udp and sctp have ports"),
            ("allow in tcp 10.0.0.1/8", "10.0.0.0/8 is a range"),
            (
                "allow in tcp x:80",
                "CIDR, CIDR:PORTS, [CIDR]:PORTS and :PORTS are",
            ),
            ("allow in tcp :0", "`0` is not a range of ports"),
            ("allow in tcp a b", "it has too many words"),
            ("allow in 47", "its protocol is none of tcp, udp, sctp"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_policy_is_checked_rule_by_rule() {
        let policy: Policy = serde_json::from_str(
            r#"{"default":"deny","rules":[{"action":"allow","direction":"in","ports":"80"}]}"#,
        )
        .unwrap();
        assert_eq!(
            policy.check().unwrap_err().to_string(),
            "rule 1, `allow in any`: only tcp, udp and sctp have ports"
        );
        let long = Policy {
            rules: vec!["deny in any".parse().unwrap(); 1025],
            ..Policy::default()
        };
        assert_eq!(
            long.check().unwrap_err().to_string(),
            "there are 1025 rules; allowed are 1024 at most"
        );
        assert_eq!(Policy::default().check(), Ok(()));
    }
}
