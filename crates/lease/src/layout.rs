//! What userspace and the program share.

use std::mem::offset_of;
use std::net::IpAddr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Everything that the pipeline read for a decision about switched unicast. The addresses and the ethertype
/// lie as in the frame.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Key {
    /// The low half of [`Terms::generation`] when the decision was made.
    pub generation: u32,
    /// The interface that the frame came in by.
    pub port: u32,
    /// The receiver's MAC address.
    pub to: [u8; 6],
    /// The sender's MAC address.
    pub from: [u8; 6],
    /// The ethertype, big endian.
    pub ethertype: [u8; 2],
    /// The VLAN that the frame is tagged with and [`TAGGED`]; 0 without a tag.
    pub vlan: u16,
    /// The sender's IP address where the port is locked to its addresses (see [`source`]), else zeroes.
    pub source: [u8; 16],
}

impl Key {
    /// Returns the key of a frame, which has its tag in its place; `None` where no frame like it is ever
    /// repeated. `locked` says whether the port is locked to its addresses.
    #[must_use]
    pub fn of(frame: &[u8], port: u32, generation: u32, locked: bool) -> Option<Self> {
        let (&to, rest) = frame.split_first_chunk::<6>()?;
        let (&from, rest) = rest.split_first_chunk::<6>()?;
        let (vlan, rest) = match rest {
            [0x81, 0x00, high, low, rest @ ..] => {
                let tag = u16::from_be_bytes([*high, *low]);
                (tag & 0x0fff | TAGGED, rest)
            }
            // The tag of a provider.
            [0x88, 0xa8, ..] => return None,
            rest => (0, rest),
        };
        let (&ethertype, packet) = rest.split_first_chunk::<2>()?;
        if to[0] & 1 != 0 || packet.len() < LEAST_PACKET {
            return None;
        }
        let source = match ethertype {
            _ if !locked => [0; 16],
            IPV4 => source(IpAddr::from(*packet[12..].first_chunk::<4>()?)),
            IPV6 => *packet[8..].first_chunk::<16>()?,
            _ => return None,
        };
        Some(Self {
            generation,
            port,
            to,
            from,
            ethertype,
            vlan,
            source,
        })
    }
}

impl Key {
    /// Returns the sender's IP address; `None` where it is not part of the key.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        if self.source == [0; 16] {
            return None;
        }
        match self.ethertype {
            IPV4 => self.source.first_chunk::<4>().map(|it| IpAddr::from(*it)),
            IPV6 => Some(IpAddr::from(self.source)),
            _ => None,
        }
    }
}

/// Bytes behind the ethertype that every frame with a lease has: to the end of an IPv6 source address.
const LEAST_PACKET: usize = 24;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// In [`Key::vlan`]: the frame has a tag.
pub const TAGGED: u16 = 0x1000;

/// An address as [`Key::source`] has it. The ethertype tells the versions apart.
#[must_use]
pub fn source(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut source = [0; 16];
            source[..4].copy_from_slice(&address.octets());
            source
        }
    }
}

/// A decision, and what came of it: a slot of an array that userspace maps. A slot is filled while it is
/// closed, and filled anew only once no run of the program can hold it any more. So what a run reads there
/// belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lease {
    /// The key that it is for. A run that was held up may come here by the key of an earlier lease.
    pub key: Key,
    /// Not 0: it holds. A store of 0 takes it back.
    pub open: u32,
    /// The host's end of the receiver's veth.
    pub out: u32,
    /// One of [`Way`].
    pub way: u32,
    /// The largest IP packet that the receiver takes.
    pub mtu: u32,
    /// Frames repeated. A superframe is one, as for a port.
    pub frames: u64,
    /// Their bytes, from the MAC addresses on, with the tag.
    pub bytes: u64,
    /// The time of the last one, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub last: u64,
}

impl Lease {
    /// A lease that carried nothing yet: out by the host's end `out`, at most `mtu` bytes a packet.
    #[must_use]
    pub const fn new(key: Key, out: u32, way: Way, mtu: u32) -> Self {
        Self {
            key,
            open: 1,
            out,
            way: way as u32,
            mtu,
            frames: 0,
            bytes: 0,
            last: 0,
        }
    }
}

/// How a frame goes to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Way {
    /// Out by the host's end, over the receiver's backlog.
    Out = 0,
    /// Straight into the receiver's namespace.
    Peer = 1,
}

/// A port at whose interface the program hangs, by the interface's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Port {
    /// The TAP that takes what has no lease. 0 is a NIC: there it goes on to others' filters and to the host.
    pub tap: u32,
    /// Not 0: the port is locked to its addresses, and they are in each key.
    pub locked: u32,
    /// The router's MAC address there: frames to it are looked up by flow. Zeroes where there is no router.
    pub gateway: [u8; 6],
    /// Not 0: every frame is looked up by flow, as in a network with rules about connections.
    pub flows: u16,
    /// Frames without a lease.
    pub missed: u64,
}

impl Port {
    /// A port that is taken for locked, beside no router, until more is known of it.
    #[must_use]
    pub const fn new(tap: u32) -> Self {
        Self {
            tap,
            locked: 1,
            gateway: [0; 6],
            flows: 0,
            missed: 0,
        }
    }
}

/// The terms of all leases: numbers that userspace sets without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Terms {
    /// Leases of another generation are none.
    pub generation: u64,
    /// The time at which all leases end, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub until: u64,
    /// The time from which on the program begins no flow, on the same clock: userspace has to hear of it soon.
    pub begins: u64,
}

impl Terms {
    /// The place of [`Terms::generation`] among the numbers.
    pub const GENERATION: usize = offset_of!(Self, generation) / size_of::<u64>();
    /// The place of [`Terms::until`] among the numbers.
    pub const UNTIL: usize = offset_of!(Self, until) / size_of::<u64>();
    /// The place of [`Terms::begins`] among the numbers.
    pub const BEGINS: usize = offset_of!(Self, begins) / size_of::<u64>();
}
