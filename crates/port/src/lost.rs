//! What stands for a frame that the kernel could not hand over.
//!
//! A superframe of a kind that the virtio header cannot express (SCTP, some tunnels) is thrown
//! away by the kernel as it is read, with EINVAL. The port delivers an empty frame in its place
//! whose header is invalid on purpose, so that the loss is counted as `vnet_invalid` instead of
//! not at all.

use pipeline::{HEADROOM, Received};
use wire::VnetHeader;

/// An Ethernet header of zeroes whose checksum lies far outside of it.
pub(crate) fn inexpressible(room: &mut [u8]) -> Received {
    const HEADER: usize = 14;
    room[HEADROOM..HEADROOM + HEADER].fill(0);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: u16::MAX,
        ..VnetHeader::default()
    };
    Received::new(HEADER, vnet)
}
