//! Who may open a connection to whom: the rules of endpoints.
//!
//! Rules are looked at for the first packet of a connection only; its answers, and all that
//! follows, pass because the connection is known. So a rule costs nothing per packet, and what a
//! change of rules forbids must be flushed from the table of connections by whoever changes them.
//!
//! Both ends have a say: the sender's rules for what it sends, the receiver's for what it
//! receives. An endpoint without rules allows everything.

use crate::Tuple;
use crate::config::EndpointRules;
use hashbrown::HashMap;
use model::{Action, Policy, Rule, RuleDirection};
use pipeline::{Decision, DropReason, NetworkId, Trace};
use std::net::IpAddr;

/// The rules of all endpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    endpoints: HashMap<(NetworkId, IpAddr), Policy>,
    /// Networks in which somebody has rules, so that the others need not look.
    networks: Vec<NetworkId>,
}

impl Policies {
    pub(crate) fn new(rules: Vec<EndpointRules>) -> Self {
        let mut networks: Vec<_> = rules.iter().map(|r| r.network).collect();
        networks.sort_unstable();
        networks.dedup();
        let entry = |r: EndpointRules| ((r.network, r.ip), r.policy);
        let endpoints = rules.into_iter().map(entry).collect();
        Self {
            endpoints,
            networks,
        }
    }

    /// Returns whether any endpoint of `network` has rules.
    pub(crate) fn concerns(&self, network: NetworkId) -> bool {
        self.networks.binary_search(&network).is_ok()
    }

    /// The endpoints whose rules `other` has not, or has differently.
    pub(crate) fn changed<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (NetworkId, IpAddr)> + use<'a> {
        let all = self.endpoints.keys().chain(other.endpoints.keys());
        all.filter(|at| self.endpoints.get(*at) != other.endpoints.get(*at))
            .copied()
    }

    /// Returns whether the endpoint at `ip` in `network` lets a connection with this tuple, as the
    /// endpoint sees it, begin.
    ///
    /// # Errors
    /// [`DropReason::PolicyDenied`].
    pub(crate) fn allows<T: Trace>(
        &self,
        network: NetworkId,
        ip: IpAddr,
        direction: RuleDirection,
        tuple: &Tuple,
        trace: &mut T,
    ) -> Result<(), DropReason> {
        let Some(policy) = self.endpoints.get(&(network, ip)) else {
            return Ok(());
        };
        let found = policy
            .rules
            .iter()
            .enumerate()
            .find(|(_, rule)| matches(rule, direction, tuple));
        let action = found.map_or(policy.default, |(_, rule)| rule.action);
        let rule = found.map(|(index, _)| u32::try_from(index + 1).unwrap_or(u32::MAX));
        trace.tell(match (rule, action) {
            (Some(rule), Action::Allow) => Decision::RuleAllows { rule, ip },
            (Some(rule), Action::Deny) => Decision::RuleDenies { rule, ip },
            (None, Action::Allow) => Decision::DefaultAllows { ip },
            (None, Action::Deny) => Decision::DefaultDenies { ip },
        });
        match action {
            Action::Allow => Ok(()),
            Action::Deny => Err(DropReason::PolicyDenied),
        }
    }
}

/// Returns whether `rule` is about a connection with this tuple.
fn matches(rule: &Rule, direction: RuleDirection, tuple: &Tuple) -> bool {
    let peer = match direction {
        RuleDirection::In => tuple.src.ip,
        RuleDirection::Out => tuple.dst.ip,
    };
    rule.direction == direction
        && rule.peer.is_none_or(|net| net.contains(&peer))
        && rule.protocol.is_none_or(|p| p == tuple.protocol)
        && rule
            .ports
            .is_none_or(|range| range.contains(tuple.dst.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportAddr;
    use pipeline::{NoTrace, Recorder};
    use wire::IpProtocol;

    const NET: NetworkId = NetworkId(3);

    fn tuple(dst: &str, port: u16) -> Tuple {
        Tuple {
            protocol: IpProtocol::TCP,
            src: TransportAddr::new([10, 0, 0, 2].into(), 40_000),
            dst: TransportAddr::new(dst.parse().unwrap(), port),
        }
    }

    fn policies(rules: &[&str], default: Action) -> Policies {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Policies::new(vec![EndpointRules {
            network: NET,
            ip: [10, 0, 0, 2].into(),
            policy: Policy { default, rules },
        }])
    }

    fn ask(policies: &Policies, direction: RuleDirection, tuple: &Tuple) -> Result<(), DropReason> {
        policies.allows(NET, [10, 0, 0, 2].into(), direction, tuple, &mut NoTrace)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policies(
            &["allow out tcp 10.9.0.0/16:443", "deny out any"],
            Action::Allow,
        );
        let denied = Err(DropReason::PolicyDenied);
        assert_eq!(
            ask(&policy, RuleDirection::Out, &tuple("10.9.1.1", 443)),
            Ok(())
        );
        assert_eq!(
            ask(&policy, RuleDirection::Out, &tuple("10.9.1.1", 444)),
            denied
        );
        assert_eq!(
            ask(&policy, RuleDirection::Out, &tuple("10.8.1.1", 443)),
            denied
        );
        assert_eq!(
            ask(&policy, RuleDirection::In, &tuple("10.0.0.2", 80)),
            Ok(()),
            "what no rule is about"
        );
    }

    #[test]
    fn the_rest_is_decided_by_the_default_and_strangers_are_free() {
        let policy = policies(&[], Action::Deny);
        let denied = Err(DropReason::PolicyDenied);
        assert_eq!(
            ask(&policy, RuleDirection::In, &tuple("10.0.0.2", 80)),
            denied
        );
        let other = policy.allows(
            NetworkId(4),
            [10, 0, 0, 2].into(),
            RuleDirection::In,
            &tuple("10.0.0.2", 80),
            &mut NoTrace,
        );
        assert_eq!(other, Ok(()));
        assert!(policy.concerns(NET) && !policy.concerns(NetworkId(4)));
    }

    #[test]
    fn it_says_which_rule_decided() {
        let policy = policies(&["deny out any"], Action::Allow);
        let mut trace = Recorder::default();
        let _ = policy.allows(
            NET,
            [10, 0, 0, 2].into(),
            RuleDirection::Out,
            &tuple("10.9.1.1", 443),
            &mut trace,
        );
        let ip = [10, 0, 0, 2].into();
        assert_eq!(trace.decisions, [Decision::RuleDenies { rule: 1, ip }]);
    }
}
