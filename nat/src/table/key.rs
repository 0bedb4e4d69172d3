//! Keys by which a packet's session is looked up.
//!
//! ```text
//!   a packet            from, src -> to, dst        the networks it comes from and goes to
//!   to our own address  from, src -> none, dst      where it goes is what the lookup answers
//! ```
//! A translated session has two keys, one a direction. An untranslated one has a single key, as
//! both directions are brought into one order.
//!
//! Hashes are 32 bits, seeded with the table's secret: who does not know it cannot choose tuples
//! that meet in one bucket.

use crate::{TransportAddr, Tuple};
use foldhash::fast::FixedState;
use pipeline::NetworkId;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::IpProtocol;

/// An address of either family in 16 bytes; which family it is stands in the protocol's [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Ip([u32; 4]);

impl Ip {
    pub(crate) fn to_addr(self, v6: bool) -> IpAddr {
        let [a, b, c, d] = self.0;
        if v6 {
            let high = u128::from(a) << 96 | u128::from(b) << 64;
            IpAddr::V6(Ipv6Addr::from_bits(
                high | u128::from(c) << 32 | u128::from(d),
            ))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(d))
        }
    }
}

impl From<IpAddr> for Ip {
    #[inline]
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self([0, 0, 0, ip.to_bits()]),
            IpAddr::V6(ip) => {
                let o = ip.octets();
                let word = |i: usize| u32::from_be_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]);
                Self([word(0), word(4), word(8), word(12)])
            }
        }
    }
}

/// Protocol, family, and whether addresses are translated: tuples that differ in it have nothing
/// to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Kind {
    pub(crate) protocol: IpProtocol,
    pub(crate) v6: bool,
    pub(crate) translated: bool,
}

/// An address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Addr {
    pub(crate) ip: Ip,
    pub(crate) port: u16,
}

impl Addr {
    pub(crate) fn to_transport(self, v6: bool) -> TransportAddr {
        TransportAddr::new(self.ip.to_addr(v6), self.port)
    }
}

impl From<TransportAddr> for Addr {
    #[inline]
    fn from(addr: TransportAddr) -> Self {
        Self {
            ip: addr.ip.into(),
            port: addr.port,
        }
    }
}

/// No network: the destination is our own address.
pub(crate) const OURS: NetworkId = NetworkId(u32::MAX);

/// One direction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) from: NetworkId,
    pub(crate) to: NetworkId,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
}

impl Key {
    /// A packet whose addresses are translated.
    #[inline]
    pub(crate) fn translated(from: NetworkId, to: NetworkId, tuple: &Tuple) -> Self {
        Self::new(from, to, tuple, true)
    }

    /// A packet that passes as it is, in whichever direction.
    pub(crate) fn followed(from: NetworkId, to: NetworkId, tuple: &Tuple) -> Self {
        Self::new(from, to, tuple, false)
    }

    #[inline]
    fn new(from: NetworkId, to: NetworkId, tuple: &Tuple, translated: bool) -> Self {
        Self {
            kind: Kind {
                protocol: tuple.protocol,
                v6: tuple.src.ip.is_ipv6(),
                translated,
            },
            from,
            to,
            src: tuple.src.into(),
            dst: tuple.dst.into(),
        }
    }

    /// Its place in the index.
    #[inline]
    pub(crate) fn hash(&self, state: &FixedState) -> u32 {
        let (a, b) = (end_words(self.from, self.src), end_words(self.to, self.dst));
        // Both directions of what is not translated are one entry.
        let (a, b) = if self.kind.translated || a <= b {
            (a, b)
        } else {
            (b, a)
        };
        let kind = u64::from(self.kind.protocol.0)
            | u64::from(self.kind.v6) << 8
            | u64::from(self.kind.translated) << 9;
        fold(state.hash_one((a, b, kind)))
    }
}

#[inline]
fn end_words(network: NetworkId, addr: Addr) -> (u128, u64) {
    let [a, b, c, d] = addr.ip.0;
    let ip = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
    (ip, u64::from(network.0) << 16 | u64::from(addr.port))
}

/// A hash of anything rarer than a packet.
pub(crate) fn hash_of(state: &FixedState, value: &impl Hash) -> u32 {
    fold(state.hash_one(value))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "that is what folding is")]
const fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

/// An index entry: the hash beside the position, so that the table grows and compares without
/// going to the sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexEntry {
    pub(crate) hash: u32,
    pub(crate) at: u32,
}

impl IndexEntry {
    /// As hashbrown wants it: buckets by the low bits, tags by the high ones.
    #[inline]
    pub(crate) const fn spread(hash: u32) -> u64 {
        (hash as u64) << 32 | hash as u64
    }
}
