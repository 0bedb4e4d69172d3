//! A NAT whose clock the test turns: two inside networks, one uplink.

use crate::tcp;
use crate::{
    Behaviour, Dependence, Entry, External, Flow, Inside, NatSettings, PortChoice, PortRange,
    Publication, Published, Segment, Settings, Tables, Translation, Translator, TransportAddr,
    Tuple,
};
use pipeline::{DropReason, Effects, Instant, NetworkId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use wire::{IpProtocol, TcpFlags};

pub(super) const WEB: NetworkId = NetworkId(0);
pub(super) const DB: NetworkId = NetworkId(1);
pub(super) const UP: NetworkId = NetworkId(7);
pub(super) const UDP: IpProtocol = IpProtocol::UDP;
pub(super) const TCP: IpProtocol = IpProtocol::TCP;
pub(super) const ICMP: IpProtocol = IpProtocol::ICMP;

pub(super) const EIM_EIF: Behaviour = behaviour(
    Dependence::EndpointIndependent,
    Dependence::EndpointIndependent,
);
pub(super) const EIM_ADF: Behaviour = behaviour(
    Dependence::EndpointIndependent,
    Dependence::AddressDependent,
);
pub(super) const EIM_APDF: Behaviour = behaviour(
    Dependence::EndpointIndependent,
    Dependence::AddressAndPortDependent,
);
pub(super) const ADM_APDF: Behaviour = behaviour(
    Dependence::AddressDependent,
    Dependence::AddressAndPortDependent,
);
pub(super) const APDM_APDF: Behaviour = behaviour(
    Dependence::AddressAndPortDependent,
    Dependence::AddressAndPortDependent,
);
pub(super) const APDM_EIF: Behaviour = behaviour(
    Dependence::AddressAndPortDependent,
    Dependence::EndpointIndependent,
);

const fn behaviour(mapping: Dependence, filtering: Dependence) -> Behaviour {
    Behaviour {
        mapping,
        filtering,
        ..crate::Preset::Rfc.behaviour()
    }
}

pub(super) struct Rig {
    pub(super) tables: Tables,
    pub(super) published: Published,
    pub(super) settings: Settings,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) range: PortRange,
    pub(super) spared: BTreeSet<(IpProtocol, u16)>,
    pub(super) now: Instant,
    pub(super) effects: Effects,
}

pub(super) type Got = Result<Translation, DropReason>;
pub(super) type GotIn = Result<(Inside, Translation), DropReason>;

impl Rig {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self::sized(behaviour, 1 << 16, u32::MAX)
    }

    pub(super) fn sized(behaviour: Behaviour, capacity: u32, quota: u32) -> Self {
        let own = NatSettings { behaviour, quota };
        Self {
            tables: Tables::new(capacity, 0x5eed),
            published: Published::default(),
            settings: Settings::new([(WEB, own), (DB, own)]),
            addresses: vec![ip("198.51.100.1"), ip("2001:db8::1")],
            range: PortRange::DYNAMIC,
            spared: BTreeSet::new(),
            now: Instant::from_secs(1_000),
            effects: Effects::Live,
        }
    }

    pub(super) fn publish(&mut self, protocol: IpProtocol, ports: u16, to: Inside) {
        self.published = Published::new(&[Publication {
            protocol,
            host: None,
            ports: PortRange::new(ports, ports).unwrap(),
            to,
        }])
        .unwrap();
    }

    pub(super) fn set(&mut self, behaviour: Behaviour, quota: u32) {
        let own = NatSettings { behaviour, quota };
        self.settings = Settings::new([(WEB, own), (DB, own)]);
    }

    pub(super) fn translator(&self) -> Translator<'_> {
        Translator {
            tables: &self.tables,
            published: &self.published,
            settings: &self.settings,
            now: self.now,
            effects: self.effects,
        }
    }

    pub(super) fn external(&self) -> External<'_> {
        External {
            network: UP,
            addresses: &self.addresses,
            ports: self.range,
            spared: &self.spared,
        }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(super) fn secs(&mut self, secs: u64) {
        self.wait(Duration::from_secs(secs));
    }

    pub(super) fn send(&self, from: NetworkId, flow: &Flow) -> Got {
        self.translator()
            .outbound(from, flow, &self.external(), || Ok(()))
    }

    pub(super) fn receive(&self, flow: &Flow) -> GotIn {
        self.translator()
            .inbound(flow, &self.external(), |_| Ok(()))
    }

    pub(super) fn turn(&self, from: NetworkId, flow: &Flow) -> GotIn {
        self.translator()
            .hairpin(from, flow, &self.external(), |_| Ok(()))
    }

    /// Sends a UDP packet from network WEB; answers the external address.
    pub(super) fn out(&self, src: &str, dst: &str) -> TransportAddr {
        self.send(WEB, &udp(src, dst)).unwrap().src
    }

    /// A UDP packet from the world.
    pub(super) fn back(&self, src: &str, dst: TransportAddr) -> GotIn {
        self.receive(&udp(src, &dst.to_string()))
    }

    pub(super) fn list(&self) -> Vec<Entry> {
        self.tables.list(&self.settings, self.now, |_| true)
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn addr(text: &str) -> TransportAddr {
    let addr: std::net::SocketAddr = text.parse().unwrap();
    TransportAddr::new(addr.ip(), addr.port())
}

pub(super) fn inside(network: NetworkId, text: &str) -> Inside {
    Inside {
        network,
        addr: addr(text),
    }
}

pub(super) fn tuple(protocol: IpProtocol, src: &str, dst: &str) -> Tuple {
    Tuple {
        protocol,
        src: addr(src),
        dst: addr(dst),
    }
}

pub(super) fn flow(tuple: Tuple) -> Flow {
    Flow {
        tuple,
        segment: Segment::Other,
        len: 100,
    }
}

pub(super) fn udp(src: &str, dst: &str) -> Flow {
    flow(tuple(UDP, src, dst))
}

pub(super) fn icmp(src: &str, dst: &str) -> Flow {
    flow(tuple(ICMP, src, dst))
}

pub(super) fn segment(tuple: Tuple, flags: TcpFlags, seq: u32, ack: u32) -> Flow {
    Flow {
        segment: Segment::Tcp(tcp::Segment {
            flags,
            seq,
            ack,
            window: 65_535,
            len: 0,
            window_scale: None,
        }),
        ..flow(tuple)
    }
}

pub(super) const SYN: TcpFlags = TcpFlags::SYN;
pub(super) const ACK: TcpFlags = TcpFlags::ACK;
pub(super) const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);
pub(super) const FIN_ACK: TcpFlags = TcpFlags::FIN.union(TcpFlags::ACK);
pub(super) const RST: TcpFlags = TcpFlags::RST;

pub(super) fn syn(src: &str, dst: &str) -> Flow {
    segment(tuple(TCP, src, dst), SYN, 100, 0)
}

/// A connection that is opened, and how it looks from both sides of the NAT.
pub(super) struct Conversation {
    pub(super) sent: Tuple,
    pub(super) seen: Tuple,
}

impl Conversation {
    /// The handshake of a TCP connection from inside.
    pub(super) fn open(rig: &Rig, src: &str, dst: &str) -> Self {
        let sent = tuple(TCP, src, dst);
        let out = rig.send(WEB, &segment(sent, SYN, 100, 0)).unwrap();
        let seen = Tuple {
            protocol: TCP,
            src: out.src,
            dst: out.dst,
        };
        let conversation = Self { sent, seen };
        conversation.answers(rig, SYN_ACK, 500, 101).unwrap();
        conversation.sends(rig, ACK, 101, 501).unwrap();
        conversation
    }

    pub(super) fn sends(&self, rig: &Rig, flags: TcpFlags, seq: u32, ack: u32) -> Got {
        rig.send(WEB, &segment(self.sent, flags, seq, ack))
    }

    pub(super) fn answers(&self, rig: &Rig, flags: TcpFlags, seq: u32, ack: u32) -> GotIn {
        rig.receive(&segment(self.seen.reversed(), flags, seq, ack))
    }
}

pub(super) fn random(behaviour: Behaviour) -> Behaviour {
    Behaviour {
        ports: PortChoice::Random,
        ..behaviour
    }
}
