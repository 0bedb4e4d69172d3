//! Leases of flows: what userspace and the program share where ports were read for a decision, or where a
//! packet is routed.

use crate::TAGGED;
use std::net::IpAddr;
use wire::{Headers, MacAddr, Net, Transport, TransportAddr, VlanTag};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Both addresses and both ports of a packet, the source's first, as they lie in it. Those of IPv4 take the
/// first 12 bytes; zeroes follow.
pub type Ends = [u8; 36];

/// The ends of a packet from `src` to `dst`.
#[must_use]
pub fn ends(src: TransportAddr, dst: TransportAddr) -> Ends {
    let mut ends = [0; 36];
    let mut rest = &mut ends[..];
    let mut put = |bytes: &[u8]| {
        let (field, behind) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        rest = behind;
    };
    for ip in [src.ip, dst.ip] {
        match ip {
            IpAddr::V4(ip) => put(&ip.octets()),
            IpAddr::V6(ip) => put(&ip.octets()),
        }
    }
    put(&src.port.to_be_bytes());
    put(&dst.port.to_be_bytes());
    ends
}

/// The source and the destination of which [`ends`] are, of IPv4 or of IPv6.
fn addresses(ends: &Ends, is_v4: bool) -> [TransportAddr; 2] {
    let length = if is_v4 { 4 } else { 16 };
    let address = |at: usize| match is_v4 {
        true => IpAddr::from(take::<4>(ends, at)),
        false => IpAddr::from(take::<16>(ends, at)),
    };
    [0, 1].map(|end| {
        let port = u16::from_be_bytes(take(ends, 2 * length + 2 * end));
        TransportAddr::new(address(length * end), port)
    })
}

fn take<const N: usize>(ends: &Ends, at: usize) -> [u8; N] {
    std::array::from_fn(|index| ends[at + index])
}

/// Everything that the pipeline read for a decision about a packet of TCP or UDP, but what the program reads
/// itself: that the packet is whole and sound, has hops left, and opens, ends or resets nothing. Up to the
/// VLAN as [`Key`](crate::Key).
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
pub struct FlowKey {
    /// The low half of [`Terms::generation`](crate::Terms::generation) when the decision was made.
    pub generation: u32,
    /// The interface that the frame came in by.
    pub port: u32,
    /// The receiver's MAC address: the router's, or a station's.
    pub to: [u8; 6],
    /// The sender's MAC address.
    pub from: [u8; 6],
    /// The ethertype, big endian.
    pub ethertype: [u8; 2],
    /// The VLAN that the frame is tagged with and [`TAGGED`]; 0 without a tag.
    pub vlan: u16,
    /// The packet's addresses and ports.
    pub ends: Ends,
    /// IP's protocol.
    pub protocol: u32,
}

impl FlowKey {
    /// The key of a frame that came in by the interface `port`; `None` where no flow can be repeated: neither
    /// TCP nor UDP, a fragment, a packet with options or extension headers, two tags.
    #[must_use]
    pub fn of(generation: u32, port: u32, headers: &Headers) -> Option<Self> {
        let (src, dst, protocol, is_plain) = match headers.net {
            Net::Ipv4(ip) => {
                let is_plain = ip.header_len == 20 && ip.fragment.is_none();
                (ip.src.into(), ip.dst.into(), ip.protocol, is_plain)
            }
            Net::Ipv6(ip) => {
                let is_plain = ip.transport == headers.l3 + 40 && ip.fragment.is_none();
                (ip.src.into(), ip.dst.into(), ip.next_header, is_plain)
            }
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return None,
        };
        let (src_port, dst_port) = match headers.transport {
            Transport::Tcp(tcp) => (tcp.src_port, tcp.dst_port),
            Transport::Udp(udp) => (udp.src_port, udp.dst_port),
            Transport::Sctp(_)
            | Transport::Icmp(_)
            | Transport::Icmpv6(_)
            | Transport::Malformed(_)
            | Transport::None => return None,
        };
        let vlan = match (headers.outer, headers.inner) {
            (None, None) => 0,
            (Some(tag), None) if tag.tpid == VlanTag::CTAG => tag.vid() | TAGGED,
            (Some(_), _) | (None, Some(_)) => return None,
        };
        is_plain.then(|| Self {
            generation,
            port,
            to: headers.dst.0,
            from: headers.src.0,
            ethertype: headers.ethertype.0.to_be_bytes(),
            vlan,
            ends: ends(
                TransportAddr::new(src, src_port),
                TransportAddr::new(dst, dst_port),
            ),
            protocol: protocol.0.into(),
        })
    }
}

/// A decision about a flow, and what came of it: a slot, as [`Lease`](crate::Lease) is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowLease {
    /// The key that it is for. A run that was held up may come here by the key of an earlier lease.
    pub key: FlowKey,
    /// Not 0: it holds. A store of 0 takes it back.
    pub open: u32,
    /// The interface that the frame leaves by: the host's end of the receiver's veth, or a NIC.
    pub out: u32,
    /// One of [`Way`](crate::Way).
    pub way: u32,
    /// The largest IP packet that the receiver takes.
    pub mtu: u32,
    /// The receiver's MAC address as the frame leaves, where it is routed.
    pub to: [u8; 6],
    /// The sender's.
    pub from: [u8; 6],
    /// Addresses and ports as the packet leaves, where they are translated.
    pub ends: Ends,
    /// One of [`Changes`].
    pub changes: u32,
    /// The sum that this adds to what an IPv4 header's checksum covers,
    pub header: u32,
    /// to the pseudo-header,
    pub pseudo: u32,
    /// and to the ports. All three as they lie in memory.
    pub ports: u32,
    /// Of TCP: the slot of what the other side sends, by whose words this side's segments are judged;
    /// [`UNJUDGED`] where any segment passes.
    pub twin: u32,
    /// Of TCP: by how many bits the sender's windows are scaled, and one or more of [`scale`].
    pub scale: u32,
    /// Of TCP: what the sender has said.
    pub said: Said,
    /// Frames repeated. A superframe is one, as for a port.
    pub frames: u64,
    /// Their bytes, from the MAC addresses on, without a tag.
    pub bytes: u64,
    /// The time of the last one, nanoseconds of `CLOCK_MONOTONIC_COARSE`.
    pub last: u64,
}

/// Marks of [`FlowLease::scale`], of a connection that the program has begun.
pub mod scale {
    /// The bits that say by how much windows are scaled.
    pub const BITS: u32 = 0x0f;
    /// The sender's SYN offers to scale; once both were seen: both do.
    pub const OFFERED: u32 = 0x100;
    /// The sender has not answered yet.
    pub const UNHEARD: u32 = 0x200;
    /// The sender has sent its SYN and nothing else.
    pub const UNACKED: u32 = 0x400;
}

/// A [`FlowLease::twin`] that is none.
pub const UNJUDGED: u32 = u32::MAX;

/// The changes to a frame of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Changes {
    /// Nothing: it stays in its network.
    Nothing = 0,
    /// It is routed: it gets other MAC addresses, and the packet has one hop less.
    Routed = 1,
    /// Its addresses and ports change, too.
    Translated = 2,
}

/// The furthest figures that a TCP sender has said in the segments that were seen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Said {
    /// One past its highest sequence number.
    pub end: u32,
    /// Its highest acknowledgement number.
    pub ack: u32,
    /// Its largest window, in bytes.
    pub window: u32,
    /// Not 0: it sent a FIN.
    pub finished: u32,
}

/// A direction of a TCP connection as its lease begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// As [`FlowLease::twin`].
    pub twin: u32,
    /// As [`FlowLease::scale`].
    pub scale: u32,
    /// As [`FlowLease::said`].
    pub said: Said,
}

impl Direction {
    /// That of a datagram's flow, which has none.
    pub const NONE: Self = Self {
        twin: UNJUDGED,
        scale: 0,
        said: Said {
            end: 0,
            ack: 0,
            window: 0,
            finished: 0,
        },
    };
}

/// How a routed frame is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The next hop's MAC address.
    pub to: MacAddr,
    /// The router's.
    pub from: MacAddr,
    /// The ends that the packet leaves with; `None` leaves them.
    pub ends: Option<Ends>,
}

impl FlowLease {
    /// The lease that those of flows from any port are made of: closed, and with port 0 for the initiator's, which
    /// is the source port or the destination port of this direction.
    pub(crate) fn as_pattern(self, initiator: End) -> Self {
        let mut pattern = Self {
            open: 0,
            scale: 0,
            said: Direction::NONE.said,
            ..self
        };
        let at = self.key.port_at(initiator);
        pattern.key = self.key.without_port(initiator);
        pattern.ends[at..at + 2].fill(0);
        pattern
    }

    /// The source and the destination of its packets as they come.
    #[must_use]
    pub fn arrives(&self) -> [TransportAddr; 2] {
        addresses(&self.key.ends, self.is_v4())
    }

    /// The source and the destination of its packets as they leave.
    #[must_use]
    pub fn leaves(&self) -> [TransportAddr; 2] {
        addresses(&self.ends, self.is_v4())
    }

    fn is_v4(&self) -> bool {
        self.key.ethertype == [0x08, 0x00]
    }

    /// A lease that holds from the start, without a frame yet. `change` is `None` for a frame that stays in its
    /// network.
    #[must_use]
    pub fn new(key: FlowKey, out: Out, change: Option<Change>, direction: Direction) -> Self {
        let ends = change.and_then(|change| change.ends);
        let (pseudo, ports) = ends.map_or((0, 0), |new| key.difference(&new));
        // The hops are the first byte of their word, which loses one.
        let hop = u32::from(!u16::from_ne_bytes([1, 0]));
        Self {
            key,
            open: 1,
            out: out.interface,
            way: out.way as u32,
            mtu: out.mtu,
            to: change.map_or(key.to, |change| change.to.0),
            from: change.map_or(key.from, |change| change.from.0),
            ends: ends.unwrap_or(key.ends),
            changes: match (change, ends) {
                (None, _) => Changes::Nothing,
                (Some(_), None) => Changes::Routed,
                (Some(_), Some(_)) => Changes::Translated,
            } as u32,
            header: folded(u64::from(pseudo) + u64::from(hop)),
            pseudo,
            ports,
            twin: direction.twin,
            scale: direction.scale,
            said: direction.said,
            frames: 0,
            bytes: 0,
            last: 0,
        }
    }
}

/// Where a lease sends frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// The interface.
    pub interface: u32,
    /// How.
    pub way: crate::Way,
    /// The largest IP packet that the receiver takes.
    pub mtu: u32,
}

/// An end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

impl FlowKey {
    /// The same key with port 0 at an end.
    pub(crate) fn without_port(mut self, end: End) -> Self {
        let at = self.port_at(end);
        self.ends[at..at + 2].fill(0);
        self
    }

    /// The place of a port in [`FlowKey::ends`].
    const fn port_at(&self, end: End) -> usize {
        let addresses = if matches!(self.ethertype, [0x08, 0x00]) {
            8
        } else {
            32
        };
        addresses + 2 * end as usize
    }

    /// The sums that new ends add to the pseudo-header and to the ports (RFC 1624, equation 3).
    fn difference(&self, new: &Ends) -> (u32, u32) {
        let addresses = if self.ethertype == [0x08, 0x00] {
            8
        } else {
            32
        };
        let sum = |of: std::ops::Range<usize>| {
            let words = |ends: &Ends| {
                let (words, _) = ends[of.clone()].as_chunks();
                words
                    .iter()
                    .map(|word| u32::from_ne_bytes(*word))
                    .collect::<Vec<_>>()
            };
            let changes = words(&self.ends).into_iter().zip(words(new));
            folded(
                changes
                    .map(|(old, new)| u64::from(!old) + u64::from(new))
                    .sum(),
            )
        };
        (sum(0..addresses), sum(addresses..addresses + 4))
    }
}

/// A sum of 32 bits, with the carries brought round.
#[expect(clippy::cast_possible_truncation, reason = "folded before")]
const fn folded(sum: u64) -> u32 {
    let once = (sum >> 32) + (sum & 0xffff_ffff);
    ((once >> 32) + (once & 0xffff_ffff)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use std::mem::offset_of;
    use wire::craft::Link;
    use wire::{Fragment, IpProtocol, VlanId};

    fn link() -> Link {
        Link::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))
    }

    fn of(frame: &[u8]) -> Option<FlowKey> {
        FlowKey::of(7, 4, &Headers::parse(frame).unwrap())
    }

    #[test]
    fn a_key_begins_as_that_of_switched_frames_and_has_no_gap() {
        assert_eq!(offset_of!(FlowKey, ends), offset_of!(Key, source));
        assert_eq!(offset_of!(FlowKey, vlan), offset_of!(Key, vlan));
        assert_eq!((size_of::<FlowKey>(), size_of::<FlowLease>()), (64, 192));
    }

    #[test]
    fn a_key_has_what_the_frame_has() {
        let ip = || link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let key = of(&ip().udp(0x1234, 53, &[])).unwrap();
        assert_eq!((key.generation, key.port, key.vlan), (7, 4, 0));
        assert_eq!((key.to, key.from), ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]));
        assert_eq!((key.ethertype, key.protocol), ([8, 0], 17));
        let ends = [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 53];
        assert_eq!(
            (&key.ends[..12], &key.ends[12..]),
            (&ends[..], &[0; 24][..])
        );

        let (a, b) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let vlan = VlanId::new(5).unwrap();
        let key = of(&link().vlan(vlan).ipv6(a, b).udp(1, 2, &[])).unwrap();
        assert_eq!((key.ethertype, key.vlan), ([0x86, 0xdd], 5 | TAGGED));
        let out = Out {
            interface: 1,
            way: crate::Way::Out,
            mtu: 1500,
        };
        let lease = FlowLease::new(key, out, None, Direction::NONE);
        let both = [(a, 1), (b, 2)].map(|(ip, port)| TransportAddr::new(ip.into(), port));
        assert_eq!((lease.arrives(), lease.leaves()), (both, both));
        assert_eq!(
            key.ends[12..],
            [&[0, 0, 0, 1][..], &b.octets(), &[0, 1, 0, 2]].concat()
        );
    }

    #[test]
    fn what_is_never_repeated_has_no_key() {
        let ip = || link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = Fragment {
            id: 1,
            offset: 0,
            more: true,
        };
        let vlan = VlanId::new(5).unwrap();
        for frame in [
            ip().echo_request(1, 1, &[]),
            ip().fragment(first).udp(1, 2, &[]),
            ip().options(&[1, 1, 1, 1]).udp(1, 2, &[]),
            ip().raw(IpProtocol::UDP, &[0; 7]),
            link().arp_request([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
            link()
                .vlan(vlan)
                .vlan(vlan)
                .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
                .udp(1, 2, &[]),
        ] {
            assert_eq!(of(&frame), None, "{frame:x?}");
        }
    }
}
