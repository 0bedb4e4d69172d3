//! A router on one link, heard and polled; every frame it sends is read by smoltcp.
//!
//! Whatever is heard is first asked with [`Effects::None`]: the verdict must be the same, and
//! nothing may be sent.

mod advert;
mod arp;
mod dhcp4;
mod dhcp6;
mod echo;
mod error;
mod junk;
mod ndp;
mod neighbour;

use super::{Gateway, Link, NextHop, claims, local, observe};
use crate::Routing;
use crate::arrival::Arrival;
use crate::config::{HostRole, InsideRole, InterfaceConfig, Lease, Role};
use crate::interface::Interface;
use crate::outbox::{Outbox, Post};
use ipnet::IpNet;
use pipeline::{DropReason, Effects, Frame, HEADROOM, Instant, NetworkId, PortId, Recorder};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv4Repr,
    Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpRepr,
    UdpPacket, UdpRepr,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use wire::{Headers, MacAddr, VnetHeader};

pub(super) const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
pub(super) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
pub(super) const NETWORK: NetworkId = NetworkId(3);
pub(super) const PORT: PortId = PortId(7);

/// A router with one interface.
pub(super) struct Lab {
    config: InterfaceConfig,
    pub(super) interface: Interface,
    pub(super) live: Gateway,
    pub(super) outbox: Outbox,
    pub(super) now: Instant,
    /// Addresses that the router answers for beside its own.
    pub(super) proxied: Vec<IpNet>,
}

pub(super) fn role() -> InsideRole {
    InsideRole {
        settings: Routing::default(),
        overlapping: false,
        peers: Vec::new(),
        uplink: None,
        leases: BTreeMap::new(),
    }
}

/// A network that leases PEER 10.1.0.77 and 2001:db8:1::77.
pub(super) fn leasing() -> Lab {
    leasing_with(|_| ())
}

pub(super) fn leasing_with(change: impl FnOnce(&mut InsideRole)) -> Lab {
    let lease = Lease {
        addresses: vec![
            "10.1.0.77/24".parse().unwrap(),
            "2001:db8:1::77/64".parse().unwrap(),
        ],
        hostname: Some("web-1".to_owned()),
    };
    let mut role = InsideRole {
        leases: [(PEER, lease)].into(),
        ..role()
    };
    role.settings.dhcp = true;
    change(&mut role);
    Lab::with(Role::Inside(role))
}

impl Lab {
    /// 10.1.0.1/24 and 2001:db8:1::1/64, a network of containers.
    pub(super) fn new() -> Self {
        Self::with(Role::Inside(role()))
    }

    pub(super) fn with(role: Role) -> Self {
        let config = InterfaceConfig {
            network: NETWORK,
            role,
            mac: GATEWAY,
            addresses: vec![
                "10.1.0.1/24".parse().unwrap(),
                "2001:db8:1::1/64".parse().unwrap(),
            ],
            mtu: 1500,
            neighbours: BTreeMap::new(),
            peer: None,
        };
        let mut lab = Self {
            interface: Interface::new(config.clone()),
            config,
            live: Gateway::default(),
            outbox: Outbox::default(),
            now: Instant::from_secs(1000),
            proxied: Vec::new(),
        };
        lab.outbox.due(lab.now);
        lab
    }

    /// The interface is configured anew.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut InterfaceConfig)) {
        change(&mut self.config);
        self.interface = Interface::new(self.config.clone());
        self.outbox.due(self.now);
    }

    /// The host's link: the router answers for 10.2.0.0/16 and 2001:db8:2::/64 there.
    pub(super) fn proxy() -> Self {
        let mut lab = Self::with(Role::Host(HostRole::default()));
        lab.proxied = vec![
            "10.2.0.0/16".parse().unwrap(),
            "2001:db8:2::/64".parse().unwrap(),
        ];
        lab
    }

    /// Returns what `ask` answers with and without effects, which must be the same.
    fn both<A: PartialEq + std::fmt::Debug>(
        &mut self,
        frame: &[u8],
        vnet: VnetHeader,
        ask: impl Fn(Link<'_>, &Arrival<'_>, &mut Outbox, &mut Recorder) -> A,
    ) -> A {
        let Self {
            interface,
            live,
            outbox,
            now,
            proxied,
            config: _,
        } = self;
        let owns = |ip: IpAddr| interface.owns(ip) || proxied.iter().any(|net| net.contains(&ip));
        let mut room = vec![0; HEADROOM];
        room.extend_from_slice(frame);
        let end = room.len();
        let frame = Frame::new(&mut room, HEADROOM, end, vnet);
        let headers = &Headers::parse(frame.bytes()).unwrap();
        let arrival = Arrival {
            network: interface.network,
            from: PORT,
            frame: &frame,
            headers,
        };
        let mut link = Link {
            interface,
            owns: &owns,
            live,
            now: *now,
            effects: Effects::None,
        };
        let before = outbox.len();
        let mut asked = Recorder::default();
        let answer = ask(link, &arrival, outbox, &mut asked);
        assert_eq!(outbox.len(), before, "a question sends nothing");
        link.effects = Effects::Live;
        let mut told = Recorder::default();
        assert_eq!(ask(link, &arrival, outbox, &mut told), answer);
        assert_eq!(asked, told);
        answer
    }

    /// The router hears a frame that is for itself.
    pub(super) fn hear(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        self.hear_vnet(frame, VnetHeader::default())
    }

    pub(super) fn hear_vnet(&mut self, frame: &[u8], vnet: VnetHeader) -> Result<(), DropReason> {
        self.both(frame, vnet, |link, arrival, outbox, trace| {
            local(link, arrival, outbox, trace)
        })
    }

    /// The router sees a frame that is flooded.
    pub(super) fn observe(&mut self, frame: &[u8]) {
        self.both(frame, VnetHeader::default(), |link, arrival, outbox, _| {
            observe(link, arrival, outbox);
        });
    }

    pub(super) fn claims(&mut self, frame: &[u8]) -> bool {
        self.both(frame, VnetHeader::default(), |link, arrival, _, _| {
            claims(link.interface, link.owns, arrival.headers)
        })
    }

    /// A packet in `frame`, from `port`, is on its way to `ip` on the link.
    pub(super) fn next_hop(&mut self, ip: &str, frame: &[u8], port: PortId) -> NextHop {
        let ip = ip.parse().unwrap();
        self.both(
            frame,
            VnetHeader::default(),
            |link, arrival, outbox, trace| {
                let arrival = Arrival {
                    from: port,
                    ..*arrival
                };
                link.next_hop(ip, &arrival, outbox, trace)
            },
        )
    }

    /// Time passes, in which what is due is done.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.outbox.take_due() {
            if due > end {
                self.outbox.due(due);
                break;
            }
            self.now = self.now.max(due);
            let interfaces = std::iter::once(&self.interface);
            self.live.poll(interfaces, self.now, &mut self.outbox);
        }
        self.now = end;
    }

    /// A time in which announcements and first advertisements are over.
    pub(super) fn settled(mut self) -> Self {
        self.pass(60);
        self.outbox.clear();
        self
    }

    /// Returns what the router wants done, in order; the outbox is empty then. Frames it sends are sound.
    pub(super) fn posted(&mut self) -> Vec<(Post, Vec<u8>)> {
        let posts = (0..self.outbox.len()).map(|i| self.outbox.get(i).unwrap());
        let posts: Vec<_> = posts.map(|(post, frame)| (post, frame.to_vec())).collect();
        self.outbox.clear();
        for (post, frame) in &posts {
            if let Post::Send(network) = post {
                assert_eq!(*network, NETWORK);
                assert_sound(frame);
            }
        }
        posts
    }

    /// The frames the router sends.
    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        let posts = self.posted().into_iter();
        posts
            .map(|(post, frame)| {
                assert_eq!(post, Post::Send(NETWORK));
                frame
            })
            .collect()
    }

    /// The one frame the router sends.
    pub(super) fn answer(&mut self) -> Vec<u8> {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:02x?}");
        sent.remove(0)
    }
}

/// smoltcp, which verifies every checksum, reads the frame to its last byte.
fn assert_sound(frame: &[u8]) {
    let headers = Headers::parse(frame).unwrap();
    assert_eq!(headers.src, GATEWAY);
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).unwrap()).unwrap();
        }
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!(usize::from(ip.total_len()), ethernet.payload().len());
            let ends = (ip.src_addr().into(), ip.dst_addr().into());
            assert_sound_transport(ip.next_header(), ends, ip.payload());
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            assert_eq!(ip.total_len(), ethernet.payload().len());
            let ends = (ip.src_addr().into(), ip.dst_addr().into());
            assert_sound_transport(ip.next_header(), ends, ip.payload());
        }
        EthernetProtocol::Unknown(kind) => panic!("type {kind:04x}"),
    }
}

fn assert_sound_transport(protocol: IpProtocol, (src, dst): (IpAddress, IpAddress), bytes: &[u8]) {
    let caps = ChecksumCapabilities::default();
    match (protocol, src, dst) {
        (IpProtocol::Icmp, ..) => {
            let packet = Icmpv4Packet::new_checked(bytes).unwrap();
            assert!(packet.verify_checksum());
            // The quote of an error may be as damaged as the packet was.
            if packet.msg_type() == Icmpv4Message::EchoReply {
                Icmpv4Repr::parse(&packet, &caps).unwrap();
            }
        }
        (IpProtocol::Icmpv6, IpAddress::Ipv6(src), IpAddress::Ipv6(dst)) => {
            let packet = Icmpv6Packet::new_checked(bytes).unwrap();
            assert!(packet.verify_checksum(&src, &dst));
            if !packet.msg_type().is_error() {
                Icmpv6Repr::parse(&src, &dst, &packet, &caps).unwrap();
            }
        }
        (IpProtocol::Tcp, ..) => {
            let packet = TcpPacket::new_checked(bytes).unwrap();
            TcpRepr::parse(&packet, &src, &dst, &caps).unwrap();
        }
        (IpProtocol::Udp, ..) => {
            let packet = UdpPacket::new_checked(bytes).unwrap();
            UdpRepr::parse(&packet, &src, &dst, &caps).unwrap();
        }
        _ => panic!("{protocol}"),
    }
}
