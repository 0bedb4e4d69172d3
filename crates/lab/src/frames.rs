//! Lies in Ethernet frames. Pure.

use std::net::Ipv4Addr;
use wire::craft::Link;
use wire::{Arp, MacAddr};

/// An address of an interface.
pub(crate) type Mac = [u8; 6];

/// An ARP reply to everybody: `ip` is at `mac` (RFC 826).
pub(crate) fn arp_claim(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let (mac, everybody) = (MacAddr(mac), MacAddr([0xff; 6]));
    padded(Link::new(mac, everybody).arp(&Arp {
        operation: Arp::REPLY,
        sender_mac: mac,
        sender_ip: ip,
        target_mac: everybody,
        target_ip: ip,
    }))
}

/// An empty UDP datagram to the discard port (RFC 863).
pub(crate) fn datagram(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    let link = Link::new(MacAddr(from.0), MacAddr(to.0));
    padded(link.ipv4(from.1, to.1).udp(0xc000, 9, &[]))
}

/// The shortest frame there is has 60 bytes before its check sequence.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_shortest_frame_is_padded() {
        let [a, b] = [Ipv4Addr::new(10, 80, 0, 2), Ipv4Addr::new(10, 80, 0, 3)];
        assert_eq!(datagram((ANN, a), ([2; 6], b)).len(), 60);
        assert_eq!(arp_claim(ANN, b).len(), 60);
    }
}
