//! IPv6 prefix translation (RFC 6296): a network's addresses and those the world knows them by
//! differ in the prefix, one to one.
//!
//! ```text
//!   inside   fd01:203:405:1::1234   <-->   2001:db8:1:d550::1234   outside
//! ```
//! Nothing is remembered of it, and no port changes: an endpoint is as reachable as one that is
//! routed. One more word changes so that the sum over the address stays (3.1), and with it every
//! checksum of every protocol, known or not, finished or not.
//!
//! Connections are followed all the same, for the rules, the quotas and whoever looks: by the inside
//! addresses, in whatever direction and from whatever side a packet comes. [`Prefixes::inner`] leads
//! there from what a packet says, [`Prefixes::shown`] back to what its receiver is to see.
//!
//! Plain values; safe to share.

use crate::routes::Routes;
use crate::{Translation, TransportAddr, Tuple};
use ipnet::{IpNet, Ipv6Net};
use pipeline::{DropReason, NetworkId};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use wire::checksum::Sum;

/// A network's prefix and the one that the world knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixPair {
    inside: Ipv6Net,
    outside: Ipv6Net,
    /// The number that is added to a word on the way out, modulo 65535.
    adjustment: u16,
}

/// Why two prefixes are no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// They differ in length.
    #[error("{outside} is no prefix for {inside}: both must have one length")]
    Length {
        /// The network's.
        inside: Ipv6Net,
        /// The world's.
        outside: Ipv6Net,
    },
    /// No whole word of 16 bits is left behind them to be adjusted.
    #[error(
        "{0} is too long to be translated: at most {max} bits are the prefix",
        max = PrefixPair::LONGEST
    )]
    TooLong(Ipv6Net),
}

/// Words of 16 bits.
const WORDS: usize = 8;
const ZERO: [u16; WORDS] = [0; WORDS];
/// The word that is adjusted behind a prefix that ends before it: the subnet's (RFC 6296, 3.4).
const SUBNET: usize = 3;
/// The first word of the interface identifier, from where one is adjusted otherwise (3.5).
const IDENTIFIER: usize = 4;

impl PrefixPair {
    /// The longest prefix that leaves a word to be adjusted.
    pub const LONGEST: u8 = 112;

    /// Pairs them.
    ///
    /// # Errors
    /// [`PrefixError`].
    pub fn new(inside: Ipv6Net, outside: Ipv6Net) -> Result<Self, PrefixError> {
        let (inside, outside) = (inside.trunc(), outside.trunc());
        if inside.prefix_len() != outside.prefix_len() {
            return Err(PrefixError::Length { inside, outside });
        }
        if inside.prefix_len() > Self::LONGEST {
            return Err(PrefixError::TooLong(inside));
        }
        let sum = |net: Ipv6Net| residue(Sum::of(&net.network().octets()).unfinished());
        let adjustment = (u32::from(sum(inside)) + 0xffff - u32::from(sum(outside))) % 0xffff;
        Ok(Self {
            inside,
            outside,
            adjustment: narrow(adjustment),
        })
    }

    /// The address that the world knows an inside one by; `None` of others, and of the few that
    /// have none: whose adjustable words are all ones, or whose interface identifier is zero (3.5).
    #[must_use]
    pub fn outward(&self, ip: Ipv6Addr) -> Option<Ipv6Addr> {
        exchange(ip, self.inside, self.outside, self.adjustment)
    }

    /// The inside address that the world knows as this one.
    #[must_use]
    pub fn inward(&self, ip: Ipv6Addr) -> Option<Ipv6Addr> {
        let back = narrow((0xffff - u32::from(self.adjustment)) % 0xffff);
        exchange(ip, self.outside, self.inside, back)
    }
}

fn exchange(ip: Ipv6Addr, from: Ipv6Net, to: Ipv6Net, adjustment: u16) -> Option<Ipv6Addr> {
    let mask = from.netmask().to_bits();
    if ip.to_bits() & mask != from.network().to_bits() {
        return None;
    }
    let bits = to.network().to_bits() | ip.to_bits() & !mask;
    let mut words = Ipv6Addr::from_bits(bits).segments();
    let choice = choice(usize::from(from.prefix_len()));
    // All ones would come out as zero, which means the same to a sum.
    let at = choice.clone().find(|at| words[*at] != u16::MAX)?;
    let anycast = |words: &[u16; WORDS]| {
        choice.end > IDENTIFIER && words[choice.clone()] == ZERO[choice.clone()]
    };
    if anycast(&words) {
        return None;
    }
    words[at] = narrow((u32::from(words[at]) + u32::from(adjustment)) % 0xffff);
    (!anycast(&words)).then(|| words.into())
}

/// The words of which the first that can be is adjusted.
fn choice(prefix: usize) -> Range<usize> {
    if prefix <= SUBNET * 16 {
        SUBNET..IDENTIFIER
    } else {
        prefix.div_ceil(16).max(IDENTIFIER)..WORDS
    }
}

/// All ones and zero are one to a sum.
const fn residue(sum: u16) -> u16 {
    if sum == u16::MAX { 0 } else { sum }
}

/// A remainder of 65535.
fn narrow(residue: u32) -> u16 {
    u16::try_from(residue).unwrap_or_default()
}

/// The pairs of all networks.
#[derive(Debug, Clone)]
pub(crate) struct Prefixes {
    pairs: Vec<(NetworkId, PrefixPair)>,
    inside: Routes<usize>,
    outside: Routes<usize>,
}

impl Prefixes {
    pub(crate) fn new(pairs: Vec<(NetworkId, PrefixPair)>) -> Self {
        let table = |prefix: fn(&PrefixPair) -> Ipv6Net| {
            let each = pairs.iter().enumerate();
            Routes::new(each.map(|(at, (_, pair))| (IpNet::V6(prefix(pair)), at)))
        };
        Self {
            inside: table(|pair| pair.inside),
            outside: table(|pair| pair.outside),
            pairs,
        }
    }

    /// Returns whose address this is to the world.
    pub(crate) fn network(&self, ip: IpAddr) -> Option<NetworkId> {
        self.outside.find(ip).map(|at| self.pairs[at].0)
    }

    /// The inside address where `ip` is the world's name for one, else itself. `None` where there
    /// is none for it.
    pub(crate) fn inner(&self, ip: IpAddr) -> Option<IpAddr> {
        let (IpAddr::V6(v6), Some(at)) = (ip, self.outside.find(ip)) else {
            return Some(ip);
        };
        self.pairs[at].1.inward(v6).map(IpAddr::V6)
    }

    /// The same of both ends.
    ///
    /// # Errors
    /// [`DropReason::Untranslatable`] where one has none.
    pub(crate) fn inner_tuple(&self, tuple: &Tuple) -> Result<Tuple, DropReason> {
        let end = |at: TransportAddr| renamed(at, self.inner(at.ip));
        Ok(Tuple {
            protocol: tuple.protocol,
            src: end(tuple.src)?,
            dst: end(tuple.dst)?,
        })
    }

    /// How `receiver` is to see a packet whose inside addresses are those of `inner`.
    ///
    /// # Errors
    /// [`DropReason::Untranslatable`] where one has no address outside.
    pub(crate) fn translation(
        &self,
        inner: &Tuple,
        receiver: IpAddr,
    ) -> Result<Translation, DropReason> {
        let end = |at: TransportAddr| renamed(at, self.shown(at.ip, receiver));
        Ok(Translation {
            src: end(inner.src)?,
            dst: end(inner.dst)?,
        })
    }

    /// How `receiver` is to see the inside address `ip`: its own as it is, another's as the world
    /// does. Both are inside addresses or those of the world.
    fn shown(&self, ip: IpAddr, receiver: IpAddr) -> Option<IpAddr> {
        let (IpAddr::V6(v6), Some(at)) = (ip, self.inside.find(ip)) else {
            return Some(ip);
        };
        if ip == receiver {
            return Some(ip);
        }
        self.pairs[at].1.outward(v6).map(IpAddr::V6)
    }
}

fn renamed(at: TransportAddr, ip: Option<IpAddr>) -> Result<TransportAddr, DropReason> {
    ip.map(|ip| TransportAddr::new(ip, at.port))
        .ok_or(DropReason::Untranslatable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(inside: &str, outside: &str) -> PrefixPair {
        PrefixPair::new(inside.parse().unwrap(), outside.parse().unwrap()).unwrap()
    }

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn rfc_6296_3_1_and_3_4_the_example_of_the_rfc() {
        let pair = pair("fd01:203:405::/48", "2001:db8:1::/48");
        let (inside, outside) = (ip("fd01:203:405:1::1234"), ip("2001:db8:1:d550::1234"));
        assert_eq!(pair.outward(inside), Some(outside));
        assert_eq!(pair.inward(outside), Some(inside));
    }

    #[test]
    fn rfc_6296_3_4_the_subnet_of_all_ones_has_no_address_outside() {
        let pair = pair("fd01:203:405::/48", "2001:db8:1::/48");
        assert_eq!(pair.outward(ip("fd01:203:405:ffff::1")), None);
        assert_eq!(pair.inward(ip("2001:db8:1:ffff::1")), None);
    }

    #[test]
    fn rfc_6296_3_5_behind_a_longer_prefix_the_identifier_is_adjusted() {
        let pair = pair("fd01:203:405:7::/64", "2001:db8:1:2::/64");
        for (identifier, adjusted) in [
            ("0:0:0:1", 4),
            ("ffff:0:0:1", 5),
            ("ffff:ffff:0:1", 6),
            ("ffff:ffff:ffff:1", 7),
        ] {
            let inside = ip(&format!("fd01:203:405:7:{identifier}"));
            let outside = pair.outward(inside).unwrap();
            let differ = |at: &usize| inside.segments()[*at] != outside.segments()[*at];
            assert_eq!(
                outside.segments()[..4],
                ip("2001:db8:1:2::").segments()[..4]
            );
            assert_eq!((4..8).filter(differ).collect::<Vec<_>>(), [adjusted]);
            assert_eq!(pair.inward(outside), Some(inside), "{inside}");
        }
        assert_eq!(pair.outward(ip("fd01:203:405:7::")), None);
        assert_eq!(pair.outward(ip("fd01:203:405:7:ffff:ffff:ffff:ffff")), None);
    }

    #[test]
    fn what_is_outside_of_the_prefix_is_not_translated() {
        let pair = pair("fd01::/64", "2001:db8::/64");
        assert_eq!(pair.outward(ip("fd01:0:0:1::1")), None);
        assert_eq!(pair.inward(ip("fd01::1")), None);
    }

    #[test]
    fn prefixes_that_are_no_pair() {
        let new = |a: &str, b: &str| PrefixPair::new(a.parse().unwrap(), b.parse().unwrap());
        let length = new("fd01::/64", "2001:db8::/56").unwrap_err();
        assert_eq!(
            length.to_string(),
            "2001:db8::/56 is no prefix for fd01::/64: both must have one length"
        );
        let long = new("fd01::/120", "2001:db8::/120").unwrap_err();
        assert_eq!(
            long.to_string(),
            "fd01::/120 is too long to be translated: at most 112 bits are the prefix"
        );
    }

    #[test]
    fn everybody_but_the_receiver_is_seen_as_the_world_sees_it() {
        let (a, b) = (NetworkId(1), NetworkId(2));
        let prefixes = Prefixes::new(vec![
            (a, pair("fd01::/64", "2001:db8:1::/64")),
            (b, pair("fd02::/64", "2001:db8:2::/64")),
        ]);
        let [one, two, world] =
            ["fd01::5", "fd02::5", "2001:db8:9::1"].map(|text| IpAddr::V6(ip(text)));
        let outer = prefixes.shown(two, world).unwrap();
        assert_eq!(prefixes.network(outer), Some(b));
        assert_eq!(prefixes.inner(outer), Some(two));
        assert_eq!(prefixes.shown(two, one), Some(outer));
        assert_eq!(prefixes.shown(two, two), Some(two));
        assert_eq!(prefixes.shown(world, one), Some(world));
        assert_eq!(prefixes.inner(world), Some(world));
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(
            (prefixes.inner(v4), prefixes.shown(v4, one)),
            (Some(v4), Some(v4))
        );
    }

    proptest! {
        #[test]
        fn out_and_in_again_is_the_same_address_and_no_sum_changes(
            inside: u128, outside: u128, len in 1u8..=PrefixPair::LONGEST, host: u128,
        ) {
            let net = |bits: u128| Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap().trunc();
            let pair = PrefixPair::new(net(inside), net(outside)).unwrap();
            let mask = net(inside).netmask().to_bits();
            let ip = Ipv6Addr::from_bits(net(inside).network().to_bits() | host & !mask);
            let there = pair.outward(ip);
            prop_assume!(there.is_some());
            let there = there.unwrap();
            prop_assert!(net(outside).contains(&there));
            prop_assert_eq!(pair.inward(there), Some(ip));
            let sum = |ip: Ipv6Addr| residue(Sum::of(&ip.octets()).unfinished());
            prop_assert_eq!(sum(there), sum(ip));
        }
    }
}
