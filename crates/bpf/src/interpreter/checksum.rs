//! The Internet checksum as the kernel mends it (`include/net/checksum.h`): all numbers have the bytes in
//! the order in which they lie in memory.

/// Adds with the carry brought round.
const fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u32
}

/// 16 bits of 32, inverted.
#[expect(clippy::cast_possible_truncation, reason = "folded before")]
const fn fold(sum: u32) -> u16 {
    let once = (sum >> 16) + (sum & 0xffff);
    let twice = (once >> 16) + (once & 0xffff);
    !(twice as u16)
}

/// A checksum after `from` became `to` in what it covers.
pub(super) fn replace(checksum: u16, from: u32, to: u32) -> u16 {
    fold(add(add(!u32::from(checksum), !from), to))
}

/// A checksum after what it covers changed by `difference`.
pub(super) fn replace_by(checksum: u16, difference: u32) -> u16 {
    fold(add(difference, !u32::from(checksum)))
}

/// An unfinished checksum, which is the pseudo-header's sum, not inverted.
pub(super) fn replace_unfinished(sum: u16, from: u32, to: u32) -> u16 {
    !fold(add(add(u32::from(sum), !from), to))
}

/// The same, by the difference.
pub(super) fn replace_unfinished_by(sum: u16, difference: u32) -> u16 {
    !fold(add(difference, u32::from(sum)))
}
