//! The committed corpus, replayed, and a little fuzzing around it that needs no fuzzer.

use clearway_fuzz::{TARGETS, seeds};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

#[test]
fn the_corpus_holds() {
    for (name, target) in TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(corpus(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no corpus for {name}");
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn the_corpus_has_every_seed() {
    for (target, _) in TARGETS {
        let seeds = seeds::of(target);
        assert!(!seeds.is_empty(), "no seeds for {target}");
        for (name, bytes) in seeds {
            let path = corpus(target).join(&name);
            let found = fs::read(&path).ok();
            assert!(
                found == Some(bytes),
                "{target}/{name}: `cargo run -p clearway-fuzz --example seeds` writes it"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_seeds_hold(
        which in any::<Index>(), changes in vec((any::<Index>(), any::<u8>()), 0..8), cut in any::<Option<Index>>(),
    ) {
        for (name, target) in TARGETS {
            let mut seeds = seeds::of(name);
            let (_, mut bytes) = seeds.swap_remove(which.index(seeds.len()));
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            target(&bytes);
        }
    }
}
