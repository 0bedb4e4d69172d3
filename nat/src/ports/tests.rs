use super::*;
use crate::table::Tables;
use proptest::prelude::*;
use std::collections::BTreeSet;

const RANGE: PortRange = PortRange::DYNAMIC;

#[test]
fn a_pool_gives_each_port_of_its_shard_and_range_once() {
    let mut pool = Pool::default();
    let which = (3, RANGE, Parity::As(1));
    let mut given = BTreeSet::new();
    while let Some(port) = pool.free(which, None, 77, |_| true) {
        assert!(given.insert(port));
        pool.set(port, Holder::Mapping(9));
    }
    let wanted: BTreeSet<u16> = RANGE
        .iter()
        .filter(|&port| Tables::of_port(port) == 3 && port % 2 == 1)
        .collect();
    assert_eq!(given, wanted);
    assert_eq!(
        pool.free((3, RANGE, Parity::Any), None, 0, |_| true)
            .map(|p| p % 2),
        Some(0)
    );
    assert_eq!(pool.free(which, Some(49_191), 5, |_| true), Some(49_191));
    pool.set(49_159, Holder::Free);
    assert_eq!(pool.free(which, None, 5, |_| true), Some(49_159));
}

#[test]
fn candidates_of_a_small_range_are_all_its_ports() {
    let range = PortRange::new(50_000, 50_999).unwrap();
    for (parity, odd) in [(Parity::Any, None), (Parity::As(50_000), Some(0))] {
        let found: Vec<u16> = Pool::candidates((5, range, parity), 1_234).collect();
        let unique: BTreeSet<u16> = found.iter().copied().collect();
        assert_eq!(found.len(), unique.len());
        let wanted: BTreeSet<u16> = (50_000..=50_999)
            .filter(|&port| Tables::of_port(port) == 5 && odd.is_none_or(|odd| port % 2 == odd))
            .collect();
        assert_eq!(unique, wanted);
    }
}

proptest! {
    #[test]
    fn holders_are_what_was_set(ports in proptest::collection::btree_map(any::<u16>(), 0..4u32, 0..200)) {
        let mut pools: Vec<Pool> = (0..16).map(|_| Pool::default()).collect();
        let holder = |n: u32| match NonZeroU32::new(n) {
            None => Holder::Free,
            Some(count) if n.is_multiple_of(2) => Holder::Shared(count),
            Some(_) => Holder::Mapping(n),
        };
        for (&port, &n) in &ports {
            pools[Tables::of_port(port)].set(port, holder(n));
        }
        for (&port, &n) in &ports {
            prop_assert_eq!(pools[Tables::of_port(port)].holder(port), holder(n));
        }
    }

    #[test]
    fn what_is_free_is_of_the_range(
        shard in 0..16usize, first in any::<u16>(), more in 0..2_000u16, start in any::<u32>(),
    ) {
        let range = PortRange::new(first, first.saturating_add(more)).unwrap();
        let pool = Pool::default();
        let found = pool.free((shard, range, Parity::Any), None, start, |_| true);
        let any = range.iter().any(|port| Tables::of_port(port) == shard);
        prop_assert_eq!(found.is_some(), any);
        if let Some(port) = found {
            prop_assert!(range.contains(port) && Tables::of_port(port) == shard);
        }
    }
}
