//! Echo replies (RFC 792, RFC 1122, 3.2.2.6; RFC 4443, 4.2): the gateway can be pinged.
//!
//! The reply goes back to where the request came from, as long as the request; so a request with a
//! forged source harms its victim no more than the attacker's own bytes would. A request in
//! fragments is not put together: a ping that needs more than the link's MTU asks for more than a
//! sign of life. Broadcasts are never answered (RFC 1122, 3.2.2.6 allows that), because one request
//! would make every router of a link speak.

use super::link::{HOPS, Link};
use super::sound;
use crate::arrival::Arrival;
use crate::outbox::Outbox;
use pipeline::{Decision, DropReason, Trace};
use wire::emit::Ends;
use wire::{Fragment, Headers, Icmp, Icmpv6, IpProtocol, Net, Transport};

/// Answers an echo request to an address of the router's.
///
/// # Errors
/// [`DropReason::GatewayIgnored`] when it is a fragment, damaged, or was sent to many;
/// [`DropReason::GatewayClosed`] when it is no echo request.
pub(crate) fn handle<T: Trace>(
    link: Link<'_>,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let headers = arrival.headers;
    let Some(request) = Request::of(headers) else {
        return Err(DropReason::GatewayClosed);
    };
    let payload = headers
        .packet_end()
        .and_then(|end| arrival.frame.bytes().get(request.offset..end))
        .and_then(|message| message.get(4..));
    let (Some(payload), true) = (payload, request.may_be_answered(arrival)) else {
        trace.tell(Decision::EchoRefused);
        return Err(DropReason::GatewayIgnored);
    };
    trace.tell(Decision::EchoAnswered);
    let mut envelope = link.envelope(headers.src, request.back, HOPS);
    // RFC 1812, 4.3.2.5: the reply is served as the request was.
    envelope.traffic_class = request.traffic_class;
    link.post(outbox, |out| {
        envelope.emit(out, request.protocol, |out| {
            out.extend_from_slice(&[request.answer, 0, 0, 0]);
            out.extend_from_slice(payload);
        });
    });
    Ok(())
}

/// An echo request, and how it is answered.
struct Request {
    back: Ends,
    traffic_class: u8,
    protocol: IpProtocol,
    answer: u8,
    offset: usize,
    fragment: Option<Fragment>,
}

impl Request {
    fn of(headers: &Headers) -> Option<Self> {
        match (headers.net, headers.transport) {
            (Net::Ipv4(ip), Transport::Icmp(icmp)) if icmp.kind == Icmp::ECHO_REQUEST => {
                Some(Self {
                    back: Ends::V4(ip.dst, ip.src),
                    traffic_class: ip.tos,
                    protocol: IpProtocol::ICMP,
                    answer: Icmp::ECHO_REPLY,
                    offset: usize::from(icmp.offset),
                    fragment: ip.fragment,
                })
            }
            (Net::Ipv6(ip), Transport::Icmpv6(icmp)) if icmp.kind == Icmpv6::ECHO_REQUEST => {
                Some(Self {
                    back: Ends::V6(ip.dst, ip.src),
                    traffic_class: ip.traffic_class,
                    protocol: IpProtocol::ICMPV6,
                    answer: Icmpv6::ECHO_REPLY,
                    offset: usize::from(icmp.offset),
                    // RFC 6946: a fragment that is the whole packet.
                    fragment: ip.fragment.filter(|f| f.more || !f.is_first()),
                })
            }
            _ => None,
        }
    }

    fn may_be_answered(&self, arrival: &Arrival<'_>) -> bool {
        let from_one = match self.back {
            Ends::V4(us, peer) => {
                !us.is_multicast()
                    && !us.is_broadcast()
                    && !peer.is_unspecified()
                    && !peer.is_multicast()
                    && !peer.is_broadcast()
                    && !peer.is_loopback()
            }
            Ends::V6(us, peer) => {
                !us.is_multicast()
                    && !peer.is_unspecified()
                    && !peer.is_multicast()
                    && !peer.is_loopback()
            }
        };
        from_one
            && self.fragment.is_none()
            && !arrival.headers.dst.is_group()
            && sound(arrival.headers, arrival.frame)
    }
}
