//! What an endpoint may send and receive.

use crate::{Change, Endpoint, Error, State, stored};
use nat::config::{Action, Rule};
use serde::{Deserialize, Serialize};
use wire::IpProtocol;

/// The rules of one endpoint. The first that matches a connection's first packet decides; answers
/// always pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// What is done with what no rule matches.
    #[serde(with = "stored::word")]
    pub otherwise: Action,
    /// In order.
    #[serde(with = "stored::rules")]
    pub rules: Vec<Rule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            otherwise: Action::Allow,
            rules: Vec::new(),
        }
    }
}

/// Rules of one endpoint at most: a connection's first packet is compared with each.
const RULES_MAX: usize = 1024;

impl State {
    /// Checks an endpoint's rules.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::BadRule`], [`Error::OutOfRange`].
    pub fn set_policy(&self, endpoint: &str, policy: Policy) -> Result<(Endpoint, Change), Error> {
        let endpoint = self.endpoint_named(endpoint)?;
        check_policy(&policy)?;
        let port = self
            .port(endpoint.port)
            .ok_or_else(|| Error::Contradiction(format!("{} has no port", endpoint.id)))?;
        let endpoint = Endpoint {
            policy,
            ..endpoint.clone()
        };
        let both = Box::new((endpoint.clone(), port.clone()));
        Ok((endpoint, Change::PutEndpoint(both)))
    }
}

pub(crate) fn check_policy(policy: &Policy) -> Result<(), Error> {
    crate::network::check_range("rules", policy.rules.len() as u64, 0..=RULES_MAX as u64)?;
    policy.rules.iter().enumerate().try_for_each(check_rule)
}

fn check_rule((index, rule): (usize, &Rule)) -> Result<(), Error> {
    let refuse = |why| {
        Err(Error::BadRule {
            number: index + 1,
            why,
        })
    };
    let has_ports = |p| [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP].contains(&p);
    if rule.protocol.is_some_and(|p| stored::word_of(p).is_none()) {
        return refuse("its protocol is none of tcp, udp, sctp, icmp and icmpv6");
    }
    if rule.ports.is_some() && !rule.protocol.is_some_and(has_ports) {
        return refuse("only tcp, udp and sctp have ports");
    }
    if rule.peer.is_some_and(|net| net.trunc() != net) {
        return refuse("the host bits of its addresses are not zero");
    }
    Ok(())
}
