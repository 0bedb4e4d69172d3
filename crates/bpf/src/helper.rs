//! The kernel's functions that a program may call.

use std::fmt;

/// A version of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u16, pub u16);

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Whether a call may move the packet's bytes, so that pointers into it are no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Stays,
    Moves,
}
use Packet::{Moves, Stays};

macro_rules! helpers {
    ($($(#[$doc:meta])* $helper:ident = $number:literal $name:literal ($arguments:literal) $packet:ident $major:literal . $minor:literal;)*) => {
        /// A helper: a function of the kernel's, by the number that is its ABI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Helper {
            $($(#[$doc])* $helper = $number,)*
        }

        impl Helper {
            /// Every helper here.
            pub const ALL: &[Self] = &[$(Self::$helper,)*];

            const fn row(self) -> (&'static str, u8, Packet, KernelVersion) {
                match self {
                    $(Self::$helper => ($name, $arguments, $packet, KernelVersion($major, $minor)),)*
                }
            }
        }
    };
}

helpers! {
    /// `(map, key)`: the value's address, or 0.
    MapLookup = 1 "map_lookup_elem" (2) Stays 3 . 18;
    /// `(map, key, value, flags)`
    MapUpdate = 2 "map_update_elem" (4) Stays 3 . 18;
    /// `(map, key)`
    MapDelete = 3 "map_delete_elem" (2) Stays 3 . 18;
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    KtimeGetNs = 5 "ktime_get_ns" (0) Stays 4 . 1;
    /// A number of 32 bits that nobody guesses by chance.
    GetPrandomU32 = 7 "get_prandom_u32" (0) Stays 4 . 1;
    /// The processor's number.
    GetSmpProcessorId = 8 "get_smp_processor_id" (0) Stays 4 . 1;
    /// `(skb, offset, from, length, flags)`
    SkbStoreBytes = 9 "skb_store_bytes" (5) Moves 4 . 1;
    /// `(skb, offset, from, to, size)`: mends an IPv4 header's checksum.
    L3CsumReplace = 10 "l3_csum_replace" (5) Moves 4 . 1;
    /// `(skb, offset, from, to, flags)`: mends a TCP, UDP or ICMP checksum, finished or not.
    L4CsumReplace = 11 "l4_csum_replace" (5) Moves 4 . 1;
    /// `(skb, protocol, tci)`
    SkbVlanPush = 18 "skb_vlan_push" (3) Moves 4 . 3;
    /// `(skb)`
    SkbVlanPop = 19 "skb_vlan_pop" (1) Moves 4 . 3;
    /// `(ifindex, flags)`: the answer is to be the program's.
    Redirect = 23 "redirect" (2) Stays 4 . 4;
    /// `(skb, offset, to, length)`
    SkbLoadBytes = 26 "skb_load_bytes" (4) Stays 4 . 5;
    /// `(skb, type)`: who the packet is for, `PACKET_HOST` or others.
    SkbChangeType = 32 "skb_change_type" (2) Stays 4 . 8;
    /// `(skb, length)`: so many bytes can be read by address afterwards.
    SkbPullData = 39 "skb_pull_data" (2) Moves 4 . 9;
    /// `(skb, tuple, size, netns, flags)`: a socket, to be released, or 0.
    SkLookupTcp = 84 "sk_lookup_tcp" (5) Stays 4 . 20;
    /// As for TCP.
    SkLookupUdp = 85 "sk_lookup_udp" (5) Stays 4 . 20;
    /// `(socket)`
    SkRelease = 86 "sk_release" (1) Stays 4 . 20;
    /// `(ring, data, size, flags)`
    RingbufOutput = 130 "ringbuf_output" (4) Stays 5 . 8;
    /// `(ring, size, flags)`: a record, to be submitted or discarded, or 0.
    RingbufReserve = 131 "ringbuf_reserve" (3) Stays 5 . 8;
    /// `(record, flags)`
    RingbufSubmit = 132 "ringbuf_submit" (2) Stays 5 . 8;
    /// `(record, flags)`
    RingbufDiscard = 133 "ringbuf_discard" (2) Stays 5 . 8;
    /// `(ifindex, flags)`: to where the peer of this veth is, at once. At ingress only.
    RedirectPeer = 155 "redirect_peer" (2) Stays 5 . 10;
    /// Nanoseconds of `CLOCK_MONOTONIC_COARSE`: as old as the last tick, and cheap.
    KtimeGetCoarseNs = 160 "ktime_get_coarse_ns" (0) Stays 5 . 11;
}

impl Helper {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The helper of that number, if it is one of these.
    #[must_use]
    pub fn by_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.number() == number)
    }

    /// Its name, without the `bpf_` that all have.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// How many of `R1` to `R5` it takes.
    #[must_use]
    pub const fn arguments(self) -> u8 {
        self.row().1
    }

    /// Whether pointers into the packet are lost by the call.
    #[must_use]
    pub const fn moves_packet(self) -> bool {
        matches!(self.row().2, Moves)
    }

    /// The first kernel that has it.
    #[must_use]
    pub const fn since(self) -> KernelVersion {
        self.row().3
    }
}
