//! Packets that no router forwards: addresses that belong on no wire, source routes, and packets that say
//! they come from where they go.
//!
//! The attacks: a packet from 127.0.0.1 that a careless host believes; one whose answer would be a
//! broadcast (smurf); a SYN to itself from itself (land, CVE-1999-0016); a source route that leads
//! around the rules (RFC 7126, 4.3; RFC 5095).

use pipeline::DropReason;
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::{Headers, IpProtocol, Net, checksum};

/// Returns whether a packet with these headers may be routed at all.
///
/// # Errors
/// [`DropReason::Martian`], [`DropReason::LandAttack`], [`DropReason::SourceRouted`],
/// [`DropReason::IpInvalid`].
pub(crate) fn check(frame: &[u8], headers: &Headers) -> Result<(), DropReason> {
    match headers.net {
        Net::Ipv4(ip) => {
            if checksum::verify_ipv4(frame, headers) == checksum::Verified::Wrong {
                return Err(DropReason::IpInvalid);
            }
            if is_martian_v4(ip.src) || is_martian_v4(ip.dst) {
                return Err(DropReason::Martian);
            }
            if ip.src == ip.dst {
                return Err(DropReason::LandAttack);
            }
            let start = usize::from(headers.l3) + wire::Ipv4::MIN_LEN;
            let end = usize::from(headers.l3) + usize::from(ip.header_len);
            if has_source_route(frame.get(start..end).unwrap_or_default()) {
                return Err(DropReason::SourceRouted);
            }
            Ok(())
        }
        Net::Ipv6(ip) => {
            if is_martian_v6(ip.src) || is_martian_v6(ip.dst) {
                return Err(DropReason::Martian);
            }
            if ip.src == ip.dst {
                return Err(DropReason::LandAttack);
            }
            // Type 0 routing headers are the first extension an attacker would send; no other
            // kind is of use to a container either (RFC 5095, 4).
            let first = frame.get(usize::from(headers.l3) + 6).copied();
            if first == Some(IpProtocol::ROUTING.0) {
                return Err(DropReason::SourceRouted);
            }
            Ok(())
        }
        Net::Arp(_) | Net::Malformed(_) | Net::Other => Err(DropReason::IpInvalid),
    }
}

/// Returns whether `ip` may not be a routed packet's source or destination (RFC 1812, 5.3.7; RFC 6890).
fn is_martian_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first == 0 || ip.is_loopback() || ip.is_link_local() || first >= 224
}

fn is_martian_v6(ip: Ipv6Addr) -> bool {
    ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || ip.to_ipv4_mapped().is_some()
}

/// Returns whether IPv4 options hold a loose or strict source route (RFC 791, 3.1).
fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    while let [kind, rest @ ..] = options {
        match *kind {
            END => return false,
            NOP => options = rest,
            LOOSE | STRICT => return true,
            _ => match rest.first() {
                Some(&len) if len >= 2 => {
                    options = options.get(usize::from(len)..).unwrap_or_default();
                }
                _ => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::MacAddr;
    use wire::craft::Link;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn say(frame: &[u8]) -> Result<(), DropReason> {
        check(frame, &Headers::parse(frame).unwrap())
    }

    #[test]
    fn addresses_that_belong_on_no_wire() {
        let v4 = |src: &str, dst: &str| {
            Link::new(A, B)
                .ipv4(src.parse().unwrap(), dst.parse().unwrap())
                .udp(1, 2, b"x")
        };
        let v6 = |src: &str, dst: &str| {
            Link::new(A, B)
                .ipv6(src.parse().unwrap(), dst.parse().unwrap())
                .udp(1, 2, b"x")
        };
        for (frame, answer) in [
            (v4("10.0.0.2", "198.51.100.1"), Ok(())),
            (v4("127.0.0.1", "10.0.0.2"), Err(DropReason::Martian)),
            (v4("10.0.0.2", "127.0.0.1"), Err(DropReason::Martian)),
            (v4("0.0.0.0", "10.0.0.2"), Err(DropReason::Martian)),
            (v4("10.0.0.2", "255.255.255.255"), Err(DropReason::Martian)),
            (v4("224.0.0.1", "10.0.0.2"), Err(DropReason::Martian)),
            (v4("169.254.1.1", "10.0.0.2"), Err(DropReason::Martian)),
            (v4("240.0.0.1", "10.0.0.2"), Err(DropReason::Martian)),
            (v4("10.0.0.2", "10.0.0.2"), Err(DropReason::LandAttack)),
            (v6("2001:db8::1", "2001:db8::2"), Ok(())),
            (v6("::1", "2001:db8::2"), Err(DropReason::Martian)),
            (v6("ff02::1", "2001:db8::2"), Err(DropReason::Martian)),
            (v6("fe80::1", "2001:db8::2"), Err(DropReason::Martian)),
            (
                v6("::ffff:10.0.0.1", "2001:db8::2"),
                Err(DropReason::Martian),
            ),
            (
                v6("2001:db8::2", "2001:db8::2"),
                Err(DropReason::LandAttack),
            ),
        ] {
            let headers = Headers::parse(&frame).unwrap();
            assert_eq!(say(&frame), answer, "{:?}", headers.net);
        }
    }

    #[test]
    fn a_source_route_is_refused_wherever_it_stands() {
        let packet = || Link::new(A, B).ipv4([10, 0, 0, 2].into(), [198, 51, 100, 1].into());
        let with = |options: &[u8]| say(&packet().options(options).udp(1, 2, b"x"));
        assert_eq!(with(&[148, 4, 0, 0]), Ok(()), "router alert");
        assert_eq!(
            with(&[1, 131, 7, 4, 10, 0, 0, 9]),
            Err(DropReason::SourceRouted)
        );
        assert_eq!(
            with(&[148, 4, 0, 0, 137, 7, 4, 10, 0, 0, 9, 0]),
            Err(DropReason::SourceRouted)
        );
        assert_eq!(
            with(&[7, 0, 0, 0]),
            Ok(()),
            "a length of zero ends the list"
        );
    }

    #[test]
    fn a_wrong_header_checksum_is_seen() {
        let mut frame = Link::new(A, B)
            .ipv4([10, 0, 0, 2].into(), [198, 51, 100, 1].into())
            .udp(1, 2, b"x");
        frame[24] ^= 1;
        assert_eq!(say(&frame), Err(DropReason::IpInvalid));
    }
}
