//! TCP resets (RFC 9293, 3.10.7.1): nobody listens on that port of the gateway.
//!
//! Without an answer a client would wait a minute for what was never there. A reset is never
//! answered with a reset, and a damaged segment with nothing.

use super::link::{HOPS, Link};
use super::sound;
use crate::arrival::Arrival;
use crate::outbox::Outbox;
use pipeline::{Decision, Trace};
use wire::emit::Ends;
use wire::{Headers, IpProtocol, Net, Tcp, TcpFlags, Transport};

/// Answers a segment to a closed port, unless it is one that is not to be answered.
pub(crate) fn send<T: Trace>(
    link: Link<'_>,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) {
    let headers = arrival.headers;
    let (Transport::Tcp(tcp), Some(ends)) = (headers.transport, back(headers)) else {
        return;
    };
    // Port 0 is nobody's (RFC 6335, 6).
    let silent = tcp.flags.contains(TcpFlags::RST)
        || tcp.src_port == 0
        || tcp.dst_port == 0
        || headers.dst.is_group()
        || !sound(headers, arrival.frame);
    if silent {
        return;
    }
    trace.tell(Decision::ResetSent { port: tcp.dst_port });
    let (seq, ack, flags) = numbers(&tcp, headers.payload_len());
    let envelope = link.envelope(headers.src, ends, HOPS);
    link.post(outbox, |out| {
        envelope.emit(out, IpProtocol::TCP, |out| {
            out.extend_from_slice(&tcp.dst_port.to_be_bytes());
            out.extend_from_slice(&tcp.src_port.to_be_bytes());
            out.extend_from_slice(&seq.to_be_bytes());
            out.extend_from_slice(&ack.to_be_bytes());
            // Five words of header; no window, no urgent data.
            out.extend_from_slice(&[5 << 4, flags.0, 0, 0, 0, 0, 0, 0]);
        });
    });
}

/// `<SEQ=SEG.ACK><CTL=RST>`, or `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`.
fn numbers(tcp: &Tcp, payload: usize) -> (u32, u32, TcpFlags) {
    if tcp.flags.contains(TcpFlags::ACK) {
        return (tcp.ack, 0, TcpFlags::RST);
    }
    let control = |flag| u32::from(tcp.flags.contains(flag));
    let len = u32::try_from(payload).unwrap_or(0) + control(TcpFlags::SYN) + control(TcpFlags::FIN);
    let ack = tcp.seq.wrapping_add(len);
    (0, ack, TcpFlags::RST.union(TcpFlags::ACK))
}

fn back(headers: &Headers) -> Option<Ends> {
    match headers.net {
        Net::Ipv4(ip) => Some(Ends::V4(ip.dst, ip.src)),
        Net::Ipv6(ip) => Some(Ends::V6(ip.dst, ip.src)),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    }
}
