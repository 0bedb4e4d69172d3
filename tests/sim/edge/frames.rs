//! The frames of a packet, by its addresses and ports.

use super::tcp::Seg;
use crate::site::{Guest, packet};
use nat::{Kind, TransportAddr, Tuple, classify};
use std::net::{IpAddr, Ipv4Addr};
use wire::craft::TcpSegment;
use wire::{Headers, IpProtocol};

pub(super) fn at(ip: impl Into<IpAddr>, port: u16) -> TransportAddr {
    TransportAddr::new(ip.into(), port)
}

pub(super) const fn tuple(protocol: IpProtocol, src: TransportAddr, dst: TransportAddr) -> Tuple {
    Tuple { protocol, src, dst }
}

pub(super) fn tuple_of(bytes: &[u8]) -> Tuple {
    match classify(&Headers::parse(bytes).unwrap()) {
        Some(Kind::Flow(tuple)) => tuple,
        other => panic!("{other:?} left"),
    }
}

pub(super) fn frame(from: Guest, tuple: &Tuple, segment: Option<Seg>) -> Vec<u8> {
    let packet = packet(from, tuple.src.ip, tuple.dst.ip);
    let (src_port, dst_port) = (tuple.src.port, tuple.dst.port);
    match (tuple.protocol, segment) {
        (IpProtocol::UDP, _) => packet.udp(src_port, dst_port, b"datagram"),
        (
            _,
            Some(Seg {
                flags, seq, ack, ..
            }),
        ) => packet.tcp(TcpSegment {
            src_port,
            dst_port,
            flags,
            seq,
            ack,
            window: 4_000,
            ..TcpSegment::default()
        }),
        // A query's identifier stands where its sender's port would be (RFC 5508 REQ-1).
        (_, None) if dst_port == 0 => packet.echo_request(src_port, 1, b"ping"),
        (_, None) => packet.echo_reply(dst_port, 1, b"pong"),
    }
}

pub(super) fn unreachable(from: Guest, (src, dst): (Ipv4Addr, IpAddr), about: &[u8]) -> Vec<u8> {
    packet(from, src.into(), dst).unreachable(1, about)
}
