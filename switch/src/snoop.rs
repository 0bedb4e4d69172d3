//! Stage 4, forward: of a frame that is flooded, who needs it?
//!
//! The attack is nobody's: every kernel reports the groups it listens to and looks for routers, some
//! eight frames for each container that starts, and a copy for everybody makes that eight times their
//! number. So what only routers read goes to routers (RFC 4541, 2.1.1 and 3):
//!
//! ```text
//!   IGMP, MLD: report, leave, done     where a multicast router was heard
//!   router solicitation                where a router advertisement would be admitted
//!   all else, queries among it         everywhere
//! ```
//! A query, PIM, and an advertisement of a router or a multicast router are what a router is heard by. A query from
//! 0.0.0.0, of a switch that has no address, counts as well: it snoops on the answers. Groups' own traffic still goes
//! everywhere, so nobody who listens to a group misses it, whoever asks or does not ask who does.

use crate::forward::{Flood, Forward};
use crate::topology::Ingress;
use pipeline::{Context, Decision, Effects, Trace};
use wire::{Headers, Icmpv6, IpProtocol, Nd, Net, Transport};

/// Says for which ports a flooded frame is; `frame` begins with its destination MAC.
pub fn snoop<T: Trace>(
    context: &mut Context<T>,
    ingress: Ingress<'_>,
    headers: &Headers,
    frame: &[u8],
    flood: Flood,
) -> Forward {
    let message = match flood {
        Flood::Multicast => Message::of(headers, frame),
        Flood::Broadcast | Flood::Unknown | Flood::Report | Flood::Solicitation => None,
    };
    Forward::Flood(match message {
        Some(Message::Report) => {
            context.tell(Decision::GroupReport);
            Flood::Report
        }
        Some(Message::Solicitation) => {
            context.tell(Decision::RouterWanted);
            Flood::Solicitation
        }
        Some(Message::Router) => {
            let port = ingress.port.id;
            context.tell(Decision::RouterHeard { port });
            if context.effects == Effects::Live {
                ingress.network.fdb.hear_router(port, context.now);
            }
            flood
        }
        None => flood,
    })
}

/// The kind of a multicast frame, to a switch that snoops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// Its sender listens to groups, or no longer.
    Report,
    /// Its sender looks for routers.
    Solicitation,
    /// Its sender is a router.
    Router,
}

impl Message {
    fn of(headers: &Headers, frame: &[u8]) -> Option<Self> {
        match (headers.net, headers.transport) {
            (_, Transport::Icmpv6(icmp)) => Self::of_icmpv6(icmp),
            (Net::Ipv4(ip), _) if ip.protocol == IpProtocol::IGMP && ip.fragment.is_none() => {
                Self::of_igmp(*frame.get(headers.transport_offset()?)?)
            }
            (Net::Ipv4(ip), _) if ip.protocol == IpProtocol::PIM => Some(Self::Router),
            (Net::Ipv6(ip), _) if ip.next_header == IpProtocol::PIM => Some(Self::Router),
            _ => None,
        }
    }

    /// RFC 2710, 3; RFC 3810, 5; RFC 4286, 4.
    const fn of_icmpv6(icmp: Icmpv6) -> Option<Self> {
        match (icmp.kind, icmp.nd) {
            (131 | 132 | 143, _) => Some(Self::Report),
            (_, Some(Nd::RouterSolicit)) => Some(Self::Solicitation),
            (130 | 151, _) | (_, Some(Nd::RouterAdvert)) => Some(Self::Router),
            _ => None,
        }
    }

    /// RFC 1112, appendix I; RFC 2236, 2.1; RFC 3376, 4; RFC 4286, 4.
    const fn of_igmp(kind: u8) -> Option<Self> {
        match kind {
            0x12 | 0x16 | 0x17 | 0x22 => Some(Self::Report),
            0x11 | 0x30 => Some(Self::Router),
            _ => None,
        }
    }
}
