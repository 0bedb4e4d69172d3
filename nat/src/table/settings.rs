//! How each inside network's connections are treated, looked up for every packet: what is changed
//! here holds for the connections that are already there.

use super::session::{Class, Session};
use crate::{Behaviour, Timeouts};
use pipeline::NetworkId;
use std::time::Duration;
use wire::IpProtocol;

/// How one inside network's connections are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatSettings {
    /// How its NAT behaves.
    pub behaviour: Behaviour,
    /// Connections one address may hold (RFC 6888 REQ-4).
    pub quota: u32,
}

impl Default for NatSettings {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::default(),
            quota: u32::MAX,
        }
    }
}

/// The settings of every inside network. Immutable, part of the router's snapshot.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    networks: Vec<Option<Rules>>,
    /// Of a network that has none: its connections live on until they time out.
    otherwise: Rules,
}

/// Settings as the hot path wants them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) behaviour: Behaviour,
    pub(crate) quota: u32,
    timeouts: Nanos,
}

#[derive(Debug, Clone, Copy)]
struct Nanos {
    tcp: [u64; 3],
    udp: [u64; 2],
    sctp: [u64; 2],
    icmp: u64,
}

impl Settings {
    /// The settings of these networks.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = (NetworkId, NatSettings)>) -> Self {
        let mut settings = Self::default();
        for (network, own) in networks {
            settings.set(network, own);
        }
        settings
    }

    /// The settings of `network`.
    #[must_use]
    pub fn get(&self, network: NetworkId) -> NatSettings {
        let rules = self.rules(network);
        NatSettings {
            behaviour: rules.behaviour,
            quota: rules.quota,
        }
    }

    /// Returns whether `network` is an inside network.
    #[must_use]
    pub fn is_inside(&self, network: NetworkId) -> bool {
        matches!(self.networks.get(network.index()), Some(Some(_)))
    }

    #[inline]
    pub(crate) fn rules(&self, network: NetworkId) -> &Rules {
        match self.networks.get(network.index()) {
            Some(Some(rules)) => rules,
            Some(None) | None => &self.otherwise,
        }
    }

    fn set(&mut self, network: NetworkId, own: NatSettings) {
        if self.networks.len() <= network.index() {
            self.networks.resize_with(network.index() + 1, || None);
        }
        self.networks[network.index()] = Some(Rules::new(own));
    }
}

impl Rules {
    fn new(NatSettings { behaviour, quota }: NatSettings) -> Self {
        Self {
            behaviour,
            quota,
            timeouts: Nanos::new(&behaviour.timeouts),
        }
    }

    /// Nanoseconds that `session` may be silent.
    #[inline]
    pub(crate) fn timeout(&self, session: &Session) -> u64 {
        let Nanos {
            tcp,
            udp,
            sctp,
            icmp,
        } = &self.timeouts;
        let two_way = usize::from(session.class != Class::Opening);
        match session.protocol {
            IpProtocol::TCP => tcp[session.class.index()],
            IpProtocol::ICMP | IpProtocol::ICMPV6 => *icmp,
            IpProtocol::SCTP => sctp[two_way],
            _ => udp[two_way],
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(NatSettings::default())
    }
}

impl Nanos {
    fn new(timeouts: &Timeouts) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut tcp = [0; 3];
        tcp[Class::Opening.index()] = nanos(timeouts.tcp_opening);
        tcp[Class::Established.index()] = nanos(timeouts.tcp_established);
        tcp[Class::Closing.index()] = nanos(timeouts.tcp_closing);
        Self {
            tcp,
            udp: [nanos(timeouts.udp_one_way), nanos(timeouts.udp)],
            sctp: [nanos(timeouts.udp_one_way), nanos(timeouts.sctp)],
            icmp: nanos(timeouts.icmp),
        }
    }
}
