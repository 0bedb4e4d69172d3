//! Frames that stay in their network, and what they are to the router all the same: a connection
//! that endpoints' rules are about, or news of a neighbour.
//!
//! Rules hold between neighbours as they hold across networks, so where an endpoint has any, the
//! network's connections are followed. A later fragment passes: without its packet's first one,
//! which is asked about, it is of no use to anybody. What holds the link together (ARP, neighbour
//! discovery) is no connection.
//!
//! A TCP connection that began before there was any rule was not followed, and nobody can say which
//! end began it. Its segments pass where either end might have: a rule that forbids one direction
//! ends it, a rule about something else does not.

use crate::arrival::Arrival;
use crate::gateway;
use crate::icmp::quoted_tuple;
use crate::leave::{flow, link, session, translator};
use crate::outbox::Outbox;
use crate::router::Router;
use crate::tuple::{Kind, Tuple, classify};
use model::RuleDirection;
use pipeline::{Context, DropReason, NetworkId, Trace};
use std::net::IpAddr;
use wire::{Net, Transport};

/// Returns whether a frame that stays in its network may pass the rules of its two ends.
///
/// # Errors
/// [`DropReason::PolicyDenied`]; where rules are, those of a table of connections.
#[inline]
pub fn bridge<T: Trace>(
    context: &mut Context<T>,
    router: &Router,
    arrival: &Arrival<'_>,
) -> Result<(), DropReason> {
    if !router.policy.concerns(arrival.network) {
        return Ok(());
    }
    ruled(context, router, arrival)
}

fn ruled<T: Trace>(
    context: &mut Context<T>,
    router: &Router,
    arrival: &Arrival<'_>,
) -> Result<(), DropReason> {
    if matches!(arrival.headers.transport, Transport::Icmpv6(icmp) if icmp.nd.is_some()) {
        return Ok(());
    }
    let network = arrival.network;
    let translator = translator(router, context);
    let trace = &mut context.trace;
    match classify(arrival.headers) {
        None => match arrival.headers.net {
            // Nobody could say what it is: not past rules.
            Net::Malformed(_) => Err(DropReason::IpInvalid),
            Net::Arp(_) | Net::Ipv4(_) | Net::Ipv6(_) | Net::Other => Ok(()),
        },
        Some(Kind::LaterFragment) => Ok(()),
        Some(Kind::Damaged) => Err(DropReason::IpInvalid),
        Some(Kind::IcmpError) => {
            let quoted = quoted_tuple(arrival.frame, arrival.headers)?;
            translator
                .related_followed(network, network, &quoted)
                .map(|_| ())
        }
        Some(Kind::Flow(tuple) | Kind::Portless(tuple)) => {
            if is_group(tuple.dst.ip) {
                return allowed(router, network, &tuple, trace);
            }
            let mut begins = false;
            let admit = || {
                begins = true;
                allowed(router, network, &tuple, trace)
            };
            match translator.follow(network, network, &flow(arrival, tuple), admit) {
                Err(DropReason::TcpNotSyn) => either_may_begin(router, network, &tuple, trace),
                followed => followed.map(|()| trace.tell(session(begins))),
            }
        }
    }
}

fn either_may_begin<T: Trace>(
    router: &Router,
    network: NetworkId,
    tuple: &Tuple,
    trace: &mut T,
) -> Result<(), DropReason> {
    allowed(router, network, tuple, trace)?;
    allowed(router, network, &tuple.reversed(), trace)
}

fn allowed<T: Trace>(
    router: &Router,
    network: NetworkId,
    tuple: &Tuple,
    trace: &mut T,
) -> Result<(), DropReason> {
    let policy = &router.policy;
    policy.allows(network, tuple.src.ip, RuleDirection::Out, tuple, trace)?;
    policy.allows(network, tuple.dst.ip, RuleDirection::In, tuple, trace)
}

/// Returns whether a packet to `ip` is for many: it has no one receiver whose rules could be asked, and
/// no answers that belong to it.
fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// Looks at a frame that is flooded: it may say where a neighbour of the router's is now.
pub fn observe<T>(
    context: &mut Context<T>,
    router: &Router,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
) {
    if let Some(interface) = router.interface(arrival.network) {
        gateway::observe(link(router, interface, context), arrival, outbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Live;
    use crate::config::{Config, EndpointRules};
    use model::{Action, Policy, PortRange, Rule};
    use pipeline::{Frame, Instant, NoTrace, PortId};
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use wire::craft::{Link, TcpSegment};
    use wire::{Headers, IpProtocol, MacAddr, TcpFlags, VnetHeader};

    const NETWORK: NetworkId = NetworkId(1);
    /// Calls.
    const A: (u8, u16) = (2, 40_000);
    /// Serves, and has rules.
    const B: (u8, u16) = (3, 80);

    fn carried(
        router: &Router,
        from: (u8, u16),
        to: (u8, u16),
        flags: TcpFlags,
    ) -> Result<(), DropReason> {
        let ip = |(host, _)| Ipv4Addr::new(10, 1, 0, host);
        let mac = |(host, _)| MacAddr([2, 0, 0, 0, 0, host]);
        let mut bytes = Link::new(mac(from), mac(to))
            .ipv4(ip(from), ip(to))
            .tcp(TcpSegment {
                src_port: from.1,
                dst_port: to.1,
                flags,
                seq: 1,
                ack: 1,
                window: 1000,
                options: &[],
                payload: b"",
            });
        let headers = Headers::parse(&bytes).unwrap();
        let end = bytes.len();
        let frame = Frame::new(&mut bytes, 0, end, VnetHeader::default());
        let arrival = Arrival {
            network: NETWORK,
            from: PortId(0),
            frame: &frame,
            headers: &headers,
        };
        let now = Instant::from_secs(1);
        bridge(&mut Context::live(now, NoTrace), router, &arrival)
    }

    fn router(default: Action, rules: Vec<Rule>) -> Router {
        let rules = EndpointRules {
            network: NETWORK,
            ip: Ipv4Addr::new(10, 1, 0, B.0).into(),
            policy: Policy { default, rules },
        };
        let config = Config {
            rules: vec![rules],
            ..Config::default()
        };
        Router::new(config, Arc::new(Live::new(1000, 7))).unwrap()
    }

    fn calls_to(port: u16, action: Action) -> Rule {
        Rule {
            action,
            direction: RuleDirection::In,
            peer: None,
            protocol: Some(IpProtocol::TCP),
            ports: PortRange::new(port, port),
        }
    }

    #[test]
    fn what_began_before_the_rules_goes_on_unless_one_forbids_it() {
        use Action::{Allow, Deny};
        let denied = Err(DropReason::PolicyDenied);
        let cases = [
            (Allow, vec![], [Ok(()), Ok(())]),
            (Allow, vec![calls_to(22, Deny)], [Ok(()), Ok(())]),
            // Either direction ends with it: its answers are no calls of B's.
            (Allow, vec![calls_to(B.1, Deny)], [denied, denied]),
            // B may not call; whether it did, nobody knows.
            (Deny, vec![calls_to(B.1, Allow)], [denied, denied]),
        ];
        for (default, rules, want) in cases {
            let router = router(default, rules.clone());
            let seen = [(A, B), (B, A)].map(|(from, to)| carried(&router, from, to, TcpFlags::ACK));
            assert_eq!(seen, want, "{default:?} {rules:?}");
        }
    }

    #[test]
    fn what_begins_under_rules_is_followed() {
        let router = router(Action::Deny, vec![calls_to(B.1, Action::Allow)]);
        let answer = TcpFlags::SYN.union(TcpFlags::ACK);
        carried(&router, A, B, TcpFlags::SYN).unwrap();
        // It is compared with what A sent, and acknowledges none of it.
        let refused = carried(&router, B, A, answer);
        assert_eq!(refused, Err(DropReason::TcpOutOfWindow));
    }
}
