//! Three lies in Ethernet frames, byte by byte. Pure.

use std::net::Ipv4Addr;

/// An address of an interface.
pub(crate) type Mac = [u8; 6];

/// An ARP reply to everybody: `ip` is at `mac` (RFC 826).
pub(crate) fn arp_claim(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 2]); // Ethernet, IPv4, address lengths, reply
    for part in [&mac[..], &ip.octets(), &[0xff; 6], &ip.octets()] {
        frame.extend(part);
    }
    padded(frame)
}

/// An empty UDP datagram to the discard port (RFC 863), without a UDP checksum, as IPv4 allows.
pub(crate) fn datagram(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(to.0, from.0, 0x0800);
    let mut header = [
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    header[12..16].copy_from_slice(&from.1.octets());
    header[16..20].copy_from_slice(&to.1.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend([0xc0, 0, 0, 9, 0, 8, 0, 0]);
    padded(frame)
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend(to);
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// The shortest frame there is has 60 bytes before its check sequence.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|w| u16::from_be_bytes([w[0], w[1]]));
    let sum = words.fold(0u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Mac = [2, 0, 0, 0, 0, 1];
    const BOB: Mac = [2, 0, 0, 0, 0, 2];

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        let [a, b] = [Ipv4Addr::new(10, 80, 0, 2), Ipv4Addr::new(10, 80, 0, 3)];
        let frame = datagram((ANN, a), (BOB, b));
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(frame[26..34], [10, 80, 0, 2, 10, 80, 0, 3]);
    }

    #[test]
    fn an_arp_claim_says_who_is_where() {
        let frame = arp_claim(ANN, Ipv4Addr::new(10, 80, 0, 3));
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[20..22], [0, 2]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 1, 10, 80, 0, 3]);
    }
}
