//! Maps: by keys, in batches, by shared memory.

use super::{COUNT, counter, loaded};
use bpf::{MapKind, MapSpec, SkBuff};
use loader::{LoadError, Map, Words};
use std::collections::BTreeMap;

#[test]
fn a_map_has_what_was_put_there_until_it_is_full() {
    for kind in [MapKind::Hash, MapKind::HashOnDemand] {
        let map = Map::create(&MapSpec::hash::<u32, u64>("full", 2).of_kind(kind)).unwrap();
        assert!(map.insert_new(&1_u32, &10_u64).unwrap());
        assert!(!map.insert_new(&1_u32, &11_u64).unwrap());
        map.insert(&2_u32, &20_u64).unwrap();
        map.insert(&2_u32, &21_u64).unwrap();
        let found: [Option<u64>; 3] = [1_u32, 2, 3].map(|key| map.lookup(&key).unwrap());
        assert_eq!(found, [Some(10), Some(21), None]);
        assert!(matches!(
            map.insert(&3_u32, &30_u64),
            Err(LoadError::Full { .. })
        ));
        assert!(map.remove(&1_u32).unwrap() && !map.remove(&1_u32).unwrap());
        map.insert(&3_u32, &30_u64).unwrap();
    }
}

#[test]
fn a_walk_sees_all_and_a_drain_leaves_none() {
    let map = Map::create(&MapSpec::hash::<u32, u64>("walk", 1000)).unwrap();
    let all: BTreeMap<u32, u64> = (0..1000).map(|key| (key, u64::from(key) * 3)).collect();
    for (key, value) in &all {
        map.insert(key, value).unwrap();
    }
    // A batch of one has no room for a bucket with two: it grows.
    for room in [1, 64, 5000] {
        let (mut walk, mut seen) = (map.walk(), BTreeMap::new());
        loop {
            let batch: Vec<(u32, u64)> = walk.next(room).unwrap();
            if batch.is_empty() {
                break;
            }
            seen.extend(batch);
        }
        assert_eq!(seen, all);
    }
    let drained: Vec<(u32, u64)> = map.drain().next(5000).unwrap();
    assert_eq!(drained.into_iter().collect::<BTreeMap<_, _>>(), all);
    assert!(map.walk().next::<u32, u64>(10).unwrap().is_empty());
}

#[test]
fn a_word_is_shared_with_the_program() {
    let (program, maps) = loaded(&counter(0));
    let words = Words::open(&maps[COUNT]).unwrap();
    words.store(0, 41);
    program.test_run(&[0; 14], &SkBuff::default()).unwrap();
    assert_eq!(words.load(0), 42);
}
