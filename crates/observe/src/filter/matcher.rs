//! The compiled filter: a tree of tests, asked for each record, connection or entry.

use crate::flow::{End, Flow, Side};
use crate::record::{Record, Verdict};
use ipnet::IpNet;
use model::NatState;
use pipeline::{Decision, DropReason, NetworkId, PortId, Stage};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use wire::{EtherType, IpProtocol, MacAddr};

/// Looks up the names that people gave.
pub trait Resolve {
    /// Returns the id of the port called `name`.
    fn port_id(&self, name: &str) -> Option<PortId>;

    /// Returns the id of the network called `name`.
    fn network_id(&self, name: &str) -> Option<NetworkId>;

    /// Returns the ids of the endpoint called `name`.
    fn endpoint_ids(&self, name: &str) -> Option<EndpointIds>;
}

/// An endpoint, by what a frame shows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointIds {
    /// The port of its interface, while it has one.
    pub port: Option<PortId>,
    /// Its network, in which its addresses are its own.
    pub network: NetworkId,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// A side of a packet, or either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Either,
    Source,
    Destination,
}

/// A test of one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Net(Direction, IpNet),
    Ports(Option<IpProtocol>, Direction, RangeInclusive<u16>),
    Mac(Direction, MacAddr),
    Broadcast,
    Multicast,
    EtherType(EtherType),
    Protocol(IpProtocol),
    Vlan(Option<u16>),
    /// At least so many bytes.
    Greater(u32),
    /// At most so many bytes.
    Less(u32),
    Port(PortId),
    Network(NetworkId),
    Endpoint(EndpointIds),
    Drop(Option<DropReason>),
    /// One of [`Verdict::LABELS`].
    Verdict(&'static str),
    Stage(Stage),
    Translated,
    State(NatState),
}

/// Tests, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node<T> {
    Test(T),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl<T> Node<T> {
    /// The same tree with each test replaced.
    pub(super) fn try_map<U, E>(&self, map: &impl Fn(&T) -> Result<U, E>) -> Result<Node<U>, E> {
        let boxed = |node: &Self| node.try_map(map).map(Box::new);
        Ok(match self {
            Self::Test(test) => Node::Test(map(test)?),
            Self::Not(node) => Node::Not(boxed(node)?),
            Self::And(a, b) => Node::And(boxed(a)?, boxed(b)?),
            Self::Or(a, b) => Node::Or(boxed(a)?, boxed(b)?),
        })
    }
}

/// A filter with its names looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMatch {
    root: Option<Node<Test>>,
}

impl FlowMatch {
    pub(super) const fn new(root: Option<Node<Test>>) -> Self {
        Self { root }
    }

    /// The filter that matches everything.
    #[must_use]
    pub const fn all() -> Self {
        Self { root: None }
    }

    /// Returns whether the filter matches.
    #[must_use]
    pub fn matches(&self, flow: &Flow<'_>) -> bool {
        self.root.as_ref().is_none_or(|root| root.matches(flow))
    }

    /// Returns whether something of `network` alone may match: false only where another network is asked
    /// for.
    #[must_use]
    pub fn may_match_in(&self, network: NetworkId) -> bool {
        self.root
            .as_ref()
            .is_none_or(|root| root.may_match_in(network))
    }

    /// The same filter, of dropped frames only.
    #[must_use]
    pub fn and_dropped(self) -> Self {
        let dropped = Node::Test(Test::Drop(None));
        Self {
            root: Some(match self.root {
                None => dropped,
                Some(root) => Node::And(Box::new(root), Box::new(dropped)),
            }),
        }
    }
}

impl Node<Test> {
    fn matches(&self, flow: &Flow<'_>) -> bool {
        match self {
            Self::Test(test) => test.matches(flow),
            Self::Not(node) => !node.matches(flow),
            Self::And(a, b) => a.matches(flow) && b.matches(flow),
            Self::Or(a, b) => a.matches(flow) || b.matches(flow),
        }
    }

    fn may_match_in(&self, network: NetworkId) -> bool {
        match self {
            Self::Test(Test::Network(wanted)) => *wanted == network,
            Self::Test(_) | Self::Not(_) => true,
            Self::And(a, b) => a.may_match_in(network) && b.may_match_in(network),
            Self::Or(a, b) => a.may_match_in(network) || b.may_match_in(network),
        }
    }
}

impl Test {
    fn matches(&self, flow: &Flow<'_>) -> bool {
        let record = flow.record;
        match self {
            Self::Net(direction, net) => any(flow, *direction, |end| net.contains(&end.ip)),
            Self::Ports(protocol, direction, ports) => {
                protocol.is_none_or(|p| flow.protocol == Some(p))
                    && any(flow, *direction, |end| {
                        end.port.is_some_and(|port| ports.contains(&port))
                    })
            }
            Self::Mac(direction, mac) => {
                let [src, dst] = flow.macs.map(|own| own == Some(*mac));
                match direction {
                    Direction::Source => src,
                    Direction::Destination => dst,
                    Direction::Either => src || dst,
                }
            }
            Self::Broadcast => flow.macs[1].is_some_and(MacAddr::is_broadcast),
            Self::Multicast => flow.macs[1].is_some_and(MacAddr::is_group),
            Self::EtherType(ethertype) => flow.ethertype == Some(*ethertype),
            Self::Protocol(protocol) => flow.protocol == Some(*protocol),
            Self::Vlan(vid) => match vid {
                Some(vid) => flow.vlan == Some(*vid),
                None => flow.vlan.is_some(),
            },
            Self::Greater(len) => record.is_some_and(|r| r.len >= *len),
            Self::Less(len) => record.is_some_and(|r| r.len <= *len),
            Self::Port(port) => passes(flow, *port),
            Self::Network(network) => flow.networks.contains(&Some(*network)),
            Self::Endpoint(endpoint) => concerns(flow, endpoint),
            Self::Drop(wanted) => dropped(flow, *wanted),
            Self::Verdict(label) => record.is_some_and(|r| r.verdict.label() == *label),
            Self::Stage(stage) => flow.reached(*stage),
            Self::Translated => flow.is_translated(),
            Self::State(state) => flow.state == Some(*state),
        }
    }
}

fn any(flow: &Flow<'_>, direction: Direction, is: impl Fn(&End) -> bool) -> bool {
    let side = |side: &Side| side.iter().flatten().any(&is);
    match direction {
        Direction::Source => side(&flow.src),
        Direction::Destination => side(&flow.dst),
        Direction::Either => side(&flow.src) || side(&flow.dst),
    }
}

fn passes(flow: &Flow<'_>, port: PortId) -> bool {
    let leaves = |record: &Record| record.ports().any(|to| to == port);
    flow.port == Some(port) || flow.record.is_some_and(leaves)
}

/// Returns whether an endpoint sent the frame, got it, or would have got it.
fn concerns(flow: &Flow<'_>, endpoint: &EndpointIds) -> bool {
    let is_at = |network: Option<NetworkId>, side: &Side| {
        let mut ends = side.iter().flatten();
        network == Some(endpoint.network) && ends.any(|end| endpoint.ips.contains(&end.ip))
    };
    let [src, dst] = flow.networks;
    endpoint.port.is_some_and(|port| passes(flow, port))
        || is_at(src, &flow.src)
        || is_at(dst, &flow.dst)
}

/// Returns whether the frame was dropped, or a copy of it was refused by its port.
fn dropped(flow: &Flow<'_>, wanted: Option<DropReason>) -> bool {
    let is = |reason| wanted.is_none_or(|wanted| wanted == reason);
    let refused =
        |step: &Decision| matches!(*step, Decision::PortRefused { reason, .. } if is(reason));
    flow.record.is_some_and(|record| {
        matches!(record.verdict, Verdict::Dropped(reason) if is(reason))
            || record.steps.as_slice().iter().any(refused)
    })
}
