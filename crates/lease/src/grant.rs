//! Grants: what userspace and the program share so that the kernel may begin flows.
//!
//! Userspace answers a question once: may this station open connections to that address and port, and which way
//! do both directions go? Others like it are then begun where their first packet is. The kernel takes a pair of
//! slots that userspace set aside, makes the leases of both directions from the grant's, and tells of it with
//! the packet. Userspace decides about that packet, too, as about any other, and takes the leases back if it
//! comes to another answer.

use crate::flow::End;
use crate::{FlowKey, FlowLease};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A grant: a slot, as [`Lease`](crate::Lease) is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Grant {
    /// The key of the packets that begin a flow. Its source port is 0 and stands for any.
    pub key: FlowKey,
    /// Not 0: it holds. A store of 0 takes it back.
    pub open: u32,
    /// Of TCP: the largest segment that a SYN may offer to take. A larger one is for userspace to lower.
    pub mss: u32,
    /// Flows begun.
    pub begun: u64,
    /// The time of the last one, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub last: u64,
    /// The leases of the initiator's direction and of the responder's, closed, of a flow whose initiator has
    /// port 0.
    pub flows: [FlowLease; 2],
}

impl Grant {
    /// A grant that holds from the start.
    #[must_use]
    pub fn new(flows: [FlowLease; 2], mss: u16) -> Self {
        let [asks, answers] = flows;
        let flows = [
            asks.as_pattern(End::Source),
            answers.as_pattern(End::Destination),
        ];
        Self {
            key: flows[0].key,
            open: 1,
            mss: mss.into(),
            begun: 0,
            last: 0,
            flows,
        }
    }
}

/// Slots that userspace set aside for flows that the program begins.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Spares {
    /// Counts up: where the program looks next.
    pub next: u64,
    /// Pairs of slots, each number one more than the slot's, the first in the low half; 0 where none is.
    pub pairs: [u64; Self::PAIRS],
}

impl Spares {
    /// Places for pairs: as many flows can begin between two looks of userspace.
    pub const PAIRS: usize = 1024;

    /// A pair of slots as it stands there.
    #[must_use]
    pub fn pair([first, second]: [u32; 2]) -> u64 {
        u64::from(first + 1) | u64::from(second + 1) << 32
    }
}

/// The program's message that it has begun a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Begun {
    /// The slot of the grant.
    pub grant: u32,
    /// The slots of the leases: the initiator's, and the responder's.
    pub slots: [u32; 2],
    /// The length of the first packet's frame. 0 says that nothing was begun, and the slots were not used.
    pub length: u32,
    /// When it came, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub at: u64,
    /// The frame as it came, as far as there is room.
    pub frame: [u8; Self::HEAD],
}

impl Begun {
    /// Bytes of the frame that are told: at least all headers.
    pub const HEAD: usize = 128;
}
