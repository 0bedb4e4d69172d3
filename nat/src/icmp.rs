//! ICMP errors on their way through: whose packet do they quote, and how are both rewritten
//! (RFC 5508, 4)?
//!
//! ```text
//!   error:   router R -> X     it goes where the quoted packet came from
//!   quotes:          X -> Y    so X is X, or somebody lies
//! ```
//! The attack is a made-up error that ends or slows a connection of others (RFC 5927). From outside
//! it costs the attacker the right addresses and ports; so a flow must be known that has them
//! (`translate/related.rs`), and what quotes another error, a fragment without ports, or somebody
//! else's packet is dropped here. Whether the sequence number quoted lies in the window is for the
//! host to check, which knows (RFC 5927, 4).
//!
//! The checksum of the quoted IP header is not verified, although RFC 5508 REQ-3 a) suggests it:
//! routers quote packets as they left them, checksum or not, and a traceroute that stops there
//! helps nobody. It is moved by what changes, so what was wrong stays wrong.
//!
//! Plain functions; nothing is shared.

use crate::translate::Related;
use crate::{Translation, TransportAddr, Tuple, addresses};
use pipeline::{DropReason, Frame};
use std::net::IpAddr;
use wire::checksum::{Verified, verify_transport};
use wire::{Headers, Icmp, Net, Quoted, QuotedTransport, Transport};

/// The packet that the ICMP error in `frame` quotes, as the error's receiver must have sent it.
///
/// # Errors
/// [`DropReason::IcmpUnrelated`] when it cannot have: the quote is too short or of another's
/// packet, of an error, or of a later fragment; the error is damaged or in fragments itself, or
/// one that means nothing beyond its own link.
pub fn quoted_tuple(frame: &Frame<'_>, headers: &Headers) -> Result<Tuple, DropReason> {
    let quoted = Quoted::parse(frame.bytes(), headers).ok_or(DropReason::IcmpUnrelated)?;
    let (_, receiver, _) = addresses(headers).ok_or(DropReason::IcmpUnrelated)?;
    let sound =
        frame.vnet.needs_csum() || verify_transport(frame.bytes(), headers) == Verified::Right;
    if quoted.src != receiver || is_local(headers) || !sound {
        return Err(DropReason::IcmpUnrelated);
    }
    let (from, to) = match quoted.what {
        QuotedTransport::Ports { src, dst } => (src, dst),
        QuotedTransport::Query { id, asked: true } => (id, 0),
        QuotedTransport::Query { id, asked: false } => (0, id),
        QuotedTransport::Portless => (0, 0),
        // RFC 1122, 3.2.2: neither may have caused one.
        QuotedTransport::Error | QuotedTransport::LaterFragment => {
            return Err(DropReason::IcmpUnrelated);
        }
    };
    Ok(Tuple {
        protocol: quoted.protocol,
        src: TransportAddr::new(quoted.src, from),
        dst: TransportAddr::new(quoted.dst, to),
    })
}

/// How an error from `sender`, which quotes `quoted`, is rewritten: its own addresses, without
/// ports, and those of the packet it quotes.
///
/// Its source stays, because any router on the way may have sent it (RFC 5508 REQ-4); unless it
/// comes from where addresses are hidden: then it is the one the flow shows (REQ-5).
#[must_use]
pub fn translations(sender: IpAddr, quoted: &Tuple, related: &Related) -> Translations {
    let hidden = related.src != quoted.dst.ip;
    let src = if hidden { related.src } else { sender };
    Translations {
        outer: Translation {
            src: TransportAddr::new(src, 0),
            dst: TransportAddr::new(related.dst, 0),
        },
        quoted: related.quoted,
    }
}

/// The two halves of the rewrite of an ICMP error; see [`crate::Rewrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translations {
    /// Of the error.
    pub outer: Translation,
    /// Of the packet it quotes.
    pub quoted: Translation,
}

/// Returns whether the error is of no use beyond its own link: a redirect, which only a host's own router
/// may send (RFC 1122, 3.2.2.2), a source quench, which nobody may (RFC 6633).
fn is_local(headers: &Headers) -> bool {
    const SOURCE_QUENCH: u8 = 4;
    let kind = match (headers.net, headers.transport) {
        (Net::Ipv4(_), Transport::Icmp(icmp)) => icmp.kind,
        _ => return false,
    };
    matches!(kind, SOURCE_QUENCH | Icmp::REDIRECT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inside;
    use pipeline::NetworkId;
    use wire::checksum::Sum;
    use wire::craft::{Link, Packet};
    use wire::{Fragment, IpProtocol, MacAddr, VnetHeader};

    const ROUTER: [u8; 4] = [198, 51, 100, 1];
    const X: [u8; 4] = [198, 51, 100, 2];
    const Y: [u8; 4] = [198, 51, 100, 9];
    const UNRELATED: Result<Tuple, DropReason> = Err(DropReason::IcmpUnrelated);

    fn link() -> Link {
        Link::new(MacAddr([2; 6]), MacAddr([4; 6]))
    }

    fn sent() -> Packet {
        link().ipv4(X.into(), Y.into())
    }

    fn error_from(outer: &Packet, kind: u8, packet: &[u8]) -> Vec<u8> {
        let mut message = [&[kind, 1, 0, 0, 0, 0, 0, 0], packet].concat();
        let sum = Sum::of(&message).finished();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        outer.raw(IpProtocol::ICMP, &message)
    }

    fn error(kind: u8, quoted: &[u8]) -> Vec<u8> {
        error_from(&link().ipv4(ROUTER.into(), X.into()), kind, &quoted[14..])
    }

    fn read(bytes: &[u8]) -> Result<Tuple, DropReason> {
        let mut room = bytes.to_vec();
        let end = room.len();
        let frame = Frame::new(&mut room, 0, end, VnetHeader::default());
        quoted_tuple(&frame, &Headers::parse(bytes).unwrap())
    }

    fn addr(ip: [u8; 4], port: u16) -> TransportAddr {
        TransportAddr::new(ip.into(), port)
    }

    #[test]
    fn the_quoted_packet_s_tuple() {
        for (packet, protocol, from, to) in [
            (sent().udp(5000, 53, b"question"), IpProtocol::UDP, 5000, 53),
            (sent().echo_request(77, 1, b""), IpProtocol::ICMP, 77, 0),
            (sent().echo_reply(77, 1, b""), IpProtocol::ICMP, 0, 77),
            (sent().raw(IpProtocol(47), &[0; 8]), IpProtocol(47), 0, 0),
        ] {
            for kind in [3, 11, 12] {
                let tuple = read(&error(kind, &packet)).unwrap();
                assert_eq!(
                    tuple,
                    Tuple {
                        protocol,
                        src: addr(X, from),
                        dst: addr(Y, to)
                    }
                );
            }
        }
    }

    #[test]
    fn a_quote_that_lies_is_refused() {
        let packet = sent().udp(5000, 53, b"question");
        let foreign = link().ipv4(Y.into(), X.into()).udp(53, 5000, b"answer");
        assert_eq!(
            read(&error(3, &foreign)),
            UNRELATED,
            "somebody else's packet"
        );
        assert_eq!(read(&error(3, &packet[..41])), UNRELATED, "too short");
        assert_eq!(
            read(&error(3, &error(3, &packet))),
            UNRELATED,
            "about an error"
        );
        let later = Fragment {
            id: 1,
            offset: 8,
            more: true,
        };
        let piece = sent().fragment(later).raw(IpProtocol::UDP, &[0; 8]);
        assert_eq!(read(&error(3, &piece)), UNRELATED, "a later fragment");
        for kind in [4, 5] {
            assert_eq!(read(&error(kind, &packet)), UNRELATED, "{kind}");
        }
        assert_eq!(read(&packet), UNRELATED, "no error at all");
    }

    #[test]
    fn rfc_5508_req_3_a_damaged_error_is_refused() {
        let mut frame = error(3, &sent().udp(5000, 53, b"question"));
        frame[40] ^= 1;
        assert_eq!(read(&frame), UNRELATED);
    }

    #[test]
    fn an_error_in_fragments_is_refused() {
        let outer = link().ipv4(ROUTER.into(), X.into());
        let outer = outer.fragment(Fragment {
            id: 1,
            offset: 0,
            more: true,
        });
        let packet = sent().udp(5000, 53, b"question");
        assert_eq!(read(&error_from(&outer, 3, &packet[14..])), UNRELATED);
    }

    #[test]
    fn only_where_addresses_are_hidden_the_sender_s_is() {
        let network = NetworkId(1);
        let quoted = Tuple {
            protocol: IpProtocol::UDP,
            src: addr(X, 50_000),
            dst: addr(Y, 53),
        };
        let inside = Related {
            receiver: Inside {
                network,
                addr: addr([10, 1, 0, 5], 5000),
            },
            dst: [10, 1, 0, 5].into(),
            src: Y.into(),
            quoted: Translation {
                src: addr([10, 1, 0, 5], 5000),
                dst: addr(Y, 53),
            },
        };
        let in_from_a_router = translations(ROUTER.into(), &quoted, &inside);
        assert_eq!(in_from_a_router.outer.src, addr(ROUTER, 0));
        assert_eq!(in_from_a_router.outer.dst, addr([10, 1, 0, 5], 0));
        assert_eq!(in_from_a_router.quoted, inside.quoted);

        let quoted = Tuple {
            protocol: IpProtocol::UDP,
            src: addr(Y, 53),
            dst: addr([10, 1, 0, 5], 5000),
        };
        let outside = Related {
            receiver: Inside {
                network,
                addr: addr(Y, 53),
            },
            dst: Y.into(),
            src: X.into(),
            quoted: Translation {
                src: addr(Y, 53),
                dst: addr(X, 50_000),
            },
        };
        let out_from_an_inner_router = translations([10, 1, 0, 200].into(), &quoted, &outside);
        assert_eq!(out_from_an_inner_router.outer.src, addr(X, 0));
        assert_eq!(out_from_an_inner_router.outer.dst, addr(Y, 0));
    }
}
