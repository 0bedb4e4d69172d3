//! CRC32c, SCTP's checksum (RFC 9260, appendix A), updated in place.
//!
//! A CRC is linear: what a change of four bytes does to it depends on the changed bits and on how
//! many bytes follow, not on what those are. So a NAT that rewrites ports moves the checksum by
//! that much, without reading the payload; and a packet that was damaged before stays damaged,
//! where a sum computed anew would vouch for it.
//!
//! ```text
//!   crc(new packet) = crc(old packet) xor crc'(old bytes xor new bytes, then zeros)
//!   crc'(d, then n zero bytes) = d * x^(8n + 32) mod P       over GF(2)
//! ```
//! Numbers are bit-reflected: the highest bit is the coefficient of x^0.

/// Castagnoli's polynomial, without x^32.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The CRC32c of `bytes`. In an SCTP packet it stands little-endian at offset 8, computed with
/// zeros in its place.
#[must_use]
pub fn of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

/// A CRC32c after four of its bytes, `old`, have become `new`, with `after` bytes behind them.
#[must_use]
pub fn update(crc: u32, old: [u8; 4], new: [u8; 4], after: usize) -> u32 {
    let change = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    crc ^ times(change, x_to_the_bytes(after + 4))
}

/// x^(8 * bytes).
fn x_to_the_bytes(bytes: usize) -> u32 {
    let (mut power, mut rest) = (1 << 31, bytes);
    // x^8, squared with every bit of the exponent.
    let mut square = 1 << 23;
    while rest != 0 {
        if rest & 1 == 1 {
            power = times(power, square);
        }
        square = times(square, square);
        rest >>= 1;
    }
    power
}

/// The product of two polynomials modulo P.
const fn times(a: u32, b: u32) -> u32 {
    let (mut product, mut a, mut b) = (0, a, b);
    while a != 0 {
        if a >> 31 == 1 {
            product ^= b;
        }
        a <<= 1;
        b = times_x(b);
    }
    product
}

const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & (a & 1).wrapping_neg())
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = times_x(crc);
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(of(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn an_update_is_what_a_full_crc_would_be(mut bytes in vec(any::<u8>(), 4..3000), at in any::<prop::sample::Index>(), new in any::<[u8; 4]>()) {
            let at = at.index(bytes.len() - 3);
            let before = of(&bytes);
            let old: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            bytes[at..at + 4].copy_from_slice(&new);
            prop_assert_eq!(update(before, old, new, bytes.len() - at - 4), of(&bytes));
        }
    }
}
