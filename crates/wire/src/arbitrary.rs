//! Frames for the property tests: a [`Spec`] says what a frame is to be, and so what a parser must
//! find in it; [`damaged`] makes a sound frame one that is not.

use crate::craft::{Link, Packet, TcpSegment};
use crate::{IpProtocol, MacAddr, TcpFlags, VlanTag};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Everything a crafted IP frame is made of.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) src: MacAddr,
    pub(crate) dst: MacAddr,
    pub(crate) tags: Vec<VlanTag>,
    pub(crate) ip: Ip,
    pub(crate) l4: L4,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) enum Ip {
    V4 {
        src: Ipv4Addr,
        dst: Ipv4Addr,
        hops: u8,
        id: u16,
        dont_fragment: bool,
        options: Vec<u8>,
    },
    V6 {
        src: Ipv6Addr,
        dst: Ipv6Addr,
        hops: u8,
        extensions: Vec<(IpProtocol, Vec<u8>)>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum L4 {
    Tcp {
        ports: (u16, u16),
        flags: u8,
        seq: u32,
        ack: u32,
        options: Vec<u8>,
    },
    Udp {
        ports: (u16, u16),
    },
    Echo {
        id: u16,
        seq: u16,
    },
    Raw {
        protocol: IpProtocol,
    },
}

impl Spec {
    pub(crate) fn build(&self) -> Vec<u8> {
        let packet = self.packet();
        match &self.l4 {
            L4::Tcp {
                ports,
                flags,
                seq,
                ack,
                options,
            } => packet.tcp(TcpSegment {
                src_port: ports.0,
                dst_port: ports.1,
                flags: TcpFlags(*flags),
                seq: *seq,
                ack: *ack,
                window: 500,
                options,
                payload: &self.payload,
            }),
            L4::Udp { ports } => packet.udp(ports.0, ports.1, &self.payload),
            L4::Echo { id, seq } => packet.echo_request(*id, *seq, &self.payload),
            L4::Raw { protocol } => packet.raw(*protocol, &self.payload),
        }
    }

    /// Bytes before the transport header.
    pub(crate) fn transport_offset(&self) -> usize {
        let ip = match &self.ip {
            Ip::V4 { options, .. } => 20 + options.len(),
            Ip::V6 { extensions, .. } => {
                40 + extensions
                    .iter()
                    .map(|(_, body)| 1 + body.len())
                    .sum::<usize>()
            }
        };
        14 + 4 * self.tags.len() + ip
    }

    fn packet(&self) -> Packet {
        let link = self
            .tags
            .iter()
            .fold(Link::new(self.src, self.dst), |link, tag| link.tag(*tag));
        match &self.ip {
            Ip::V4 {
                src,
                dst,
                hops,
                id,
                dont_fragment,
                options,
            } => link
                .ipv4(*src, *dst)
                .hops(*hops)
                .id(*id)
                .dont_fragment(*dont_fragment)
                .options(options),
            Ip::V6 {
                src,
                dst,
                hops,
                extensions,
            } => {
                let packet = link.ipv6(*src, *dst).hops(*hops);
                extensions
                    .iter()
                    .fold(packet, |packet, (kind, body)| packet.extension(*kind, body))
            }
        }
    }
}

/// Frames of every kind the parser understands, with up to 200 bytes of payload.
pub(crate) fn specs() -> impl Strategy<Value = Spec> {
    let l4 = prop_oneof![
        4 => tcp(),
        3 => udp(),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(id, seq)| L4::Echo { id, seq }),
        1 => raw_protocols().prop_map(|protocol| L4::Raw { protocol }),
    ];
    specs_of(l4, 0..200)
}

/// TCP and UDP frames large enough to be superframes.
pub(crate) fn large_specs() -> impl Strategy<Value = Spec> {
    specs_of(prop_oneof![tcp(), udp()], 0..20_000)
}

fn specs_of(
    l4: impl Strategy<Value = L4>,
    payload: std::ops::Range<usize>,
) -> impl Strategy<Value = Spec> {
    let ip = prop_oneof![ipv4(), ipv6()];
    (
        macs(),
        macs(),
        vec(tags(), 0..=2),
        ip,
        l4,
        vec(any::<u8>(), payload),
    )
        .prop_map(|(src, dst, tags, ip, l4, payload)| Spec {
            src,
            dst,
            tags,
            ip,
            l4,
            payload,
        })
}

/// Sound frames with a few bytes changed, some cut short, some with padding.
pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<Index>(), any::<u8>()), 0..6);
    (specs(), changes, any::<Index>(), any::<Index>(), 0..4_u8).prop_map(
        |(spec, changes, cut, near, how)| {
            let mut frame = spec.build();
            let headers = frame.len().min(100);
            for (at, byte) in changes {
                frame[at.index(headers)] = byte;
            }
            match how {
                0 => frame.truncate(cut.index(frame.len() + 1)),
                1 => frame.truncate((spec.transport_offset() + near.index(24)).min(frame.len())),
                2 => frame.resize(frame.len() + near.index(40), 0xa5),
                _ => {}
            }
            frame
        },
    )
}

fn macs() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn tags() -> impl Strategy<Value = VlanTag> {
    (select(&[VlanTag::CTAG, VlanTag::STAG]), any::<u16>())
        .prop_map(|(tpid, tci)| VlanTag { tpid, tci })
}

fn ipv4() -> BoxedStrategy<Ip> {
    let options = (0..=10_usize).prop_flat_map(|words| vec(any::<u8>(), words * 4));
    (
        any::<[u8; 4]>(),
        any::<[u8; 4]>(),
        any::<u8>(),
        any::<u16>(),
        any::<bool>(),
        options,
    )
        .prop_map(|(src, dst, hops, id, dont_fragment, options)| Ip::V4 {
            src: src.into(),
            dst: dst.into(),
            hops,
            id,
            dont_fragment,
            options,
        })
        .boxed()
}

fn ipv6() -> BoxedStrategy<Ip> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<u8>(),
        vec(extensions(), 0..4),
    )
        .prop_map(|(src, dst, hops, extensions)| Ip::V6 {
            src: src.into(),
            dst: dst.into(),
            hops,
            extensions,
        })
        .boxed()
}

/// A header of 8, 16 or 24 bytes whose length field says so.
fn extensions() -> impl Strategy<Value = (IpProtocol, Vec<u8>)> {
    let kinds = select(&[
        IpProtocol::HOP_BY_HOP,
        IpProtocol::ROUTING,
        IpProtocol::DESTINATION,
        IpProtocol::AH,
    ]);
    (kinds, 0..3_u8).prop_flat_map(|(kind, more)| {
        let len = if kind == IpProtocol::AH {
            2 * more
        } else {
            more
        };
        let body = 6 + 8 * usize::from(more);
        vec(any::<u8>(), body).prop_map(move |rest| (kind, [&[len], &rest[..]].concat()))
    })
}

fn tcp() -> BoxedStrategy<L4> {
    let options = (0..=10_usize).prop_flat_map(|words| vec(any::<u8>(), words * 4));
    (
        any::<(u16, u16)>(),
        any::<u8>(),
        any::<u32>(),
        any::<u32>(),
        options,
    )
        .prop_map(|(ports, flags, seq, ack, options)| L4::Tcp {
            ports,
            flags,
            seq,
            ack,
            options,
        })
        .boxed()
}

fn udp() -> BoxedStrategy<L4> {
    any::<(u16, u16)>()
        .prop_map(|ports| L4::Udp { ports })
        .boxed()
}

/// SCTP, ICMP, GRE, ESP, and the end of an IPv6 chain; their payload is then noise.
fn raw_protocols() -> impl Strategy<Value = IpProtocol> {
    select(&[
        IpProtocol::SCTP,
        IpProtocol::ICMP,
        IpProtocol::ICMPV6,
        IpProtocol(47),
        IpProtocol(50),
        IpProtocol::NO_NEXT,
    ])
}
