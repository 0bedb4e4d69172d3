//! Numbers that look random and are the same each time.

use wire::MacAddr;

/// A locally administered, individual address that depends on every bit of `seed` and `number`.
pub(crate) fn hashed_mac(seed: u64, number: u64) -> MacAddr {
    let mac = MacAddr::from_u64(mix(mix(seed) ^ number));
    let [first, rest @ ..] = mac.0;
    let [b, c, d, e, f] = rest;
    MacAddr([(first & !0x01) | 0x02, b, c, d, e, f])
}

/// A bijection in which each bit of the answer depends on each bit of `x` (SplitMix64's finish).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
