//! Longest prefix match over few prefixes.
//!
//! A router of containers knows hundreds of subnets but few different lengths, so a table a length,
//! longest first, answers in as many hash lookups as there are lengths (mostly one). The keys
//! are configuration: nobody chooses them to collide.

use hashbrown::HashMap;
use ipnet::IpNet;
use std::net::IpAddr;

/// Prefixes, each leading to a `T`.
#[derive(Debug, Clone)]
pub(crate) struct Routes<T> {
    v4: Vec<(u8, HashMap<u32, T>)>,
    v6: Vec<(u8, HashMap<u128, T>)>,
}

impl<T: Copy> Routes<T> {
    /// The table of these routes; of two with one prefix the first counts.
    pub(crate) fn new(routes: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        let mut table = Self {
            v4: Vec::new(),
            v6: Vec::new(),
        };
        for (net, to) in routes {
            match net.trunc() {
                IpNet::V4(net) => {
                    insert(&mut table.v4, net.prefix_len(), net.network().to_bits(), to);
                }
                IpNet::V6(net) => {
                    insert(&mut table.v6, net.prefix_len(), net.network().to_bits(), to);
                }
            }
        }
        table
    }

    /// Returns where the longest prefix that holds `ip` leads.
    pub(crate) fn find(&self, ip: IpAddr) -> Option<T> {
        match ip {
            IpAddr::V4(ip) => self.v4.iter().find_map(|(len, table)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*len)).unwrap_or(0);
                table.get(&(ip.to_bits() & mask)).copied()
            }),
            IpAddr::V6(ip) => self.v6.iter().find_map(|(len, table)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*len)).unwrap_or(0);
                table.get(&(ip.to_bits() & mask)).copied()
            }),
        }
    }
}

fn insert<K: Eq + std::hash::Hash, T>(
    tables: &mut Vec<(u8, HashMap<K, T>)>,
    len: u8,
    key: K,
    to: T,
) {
    let at = match tables.binary_search_by(|(own, _)| len.cmp(own)) {
        Ok(at) => at,
        Err(at) => {
            tables.insert(at, (len, HashMap::new()));
            at
        }
    };
    tables[at].1.entry(key).or_insert(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_and_the_first_of_equals() {
        let table = Routes::new([
            (net("0.0.0.0/0"), 0),
            (net("10.0.0.0/8"), 1),
            (net("10.1.0.0/16"), 2),
            (net("10.1.2.3/32"), 3),
            (net("10.1.0.0/16"), 4),
            (net("::/0"), 5),
            (net("2001:db8::/64"), 6),
            (net("2001:db8::1/128"), 7),
        ]);
        for (ip, to) in [
            ("198.51.100.1", 0),
            ("10.2.0.1", 1),
            ("10.1.2.4", 2),
            ("10.1.2.3", 3),
            ("fe80::1", 5),
            ("2001:db8::2", 6),
            ("2001:db8::1", 7),
        ] {
            assert_eq!(table.find(ip.parse().unwrap()), Some(to), "{ip}");
        }
        assert_eq!(
            Routes::<u8>::new([]).find("10.0.0.1".parse().unwrap()),
            None
        );
    }

    proptest! {
        #[test]
        fn it_answers_as_a_walk_over_all_routes_does(
            routes in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..20),
            near in any::<prop::sample::Index>(),
            noise in 0u32..4,
        ) {
            let nets: Vec<_> = routes
                .iter()
                .map(|(ip, len)| ipnet::Ipv4Net::new((*ip).into(), *len).unwrap().trunc())
                .collect();
            let table = Routes::new(nets.iter().map(|n| (IpNet::V4(*n), *n)));
            let ip = nets.get(near.index(nets.len().max(1))).map_or(0, |n| n.network().to_bits()) ^ noise;
            let walked = nets
                .iter()
                .filter(|n| n.contains(&std::net::Ipv4Addr::from(ip)))
                .max_by_key(|n| n.prefix_len());
            prop_assert_eq!(table.find(IpAddr::V4(ip.into())), walked.copied());
        }
    }
}
