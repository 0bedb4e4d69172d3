//! Writes the seeds to `corpus/`, beside what fuzzers found.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, _) in clearway_fuzz::TARGETS {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        for (name, bytes) in clearway_fuzz::seeds::of(target) {
            fs::write(directory.join(name), bytes)?;
        }
    }
    Ok(())
}
