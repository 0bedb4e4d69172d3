//! Numbers that userspace and a program share without a call: a generation, a heartbeat.

use crate::sys::Mapping;
use crate::{LoadError, Map};
use bpf::MapKind;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

/// The memory of a mapped array as numbers of 64 bits, those of its first value first.
#[derive(Debug)]
pub struct Words {
    memory: Mapping,
}

const WORD: usize = size_of::<u64>();

impl Words {
    /// Maps the array's memory.
    ///
    /// # Errors
    /// The kernel's refusal.
    ///
    /// # Panics
    /// When the map is no [`MapKind::MappedArray`], or its values are no whole numbers.
    pub fn open(map: &Map) -> Result<Self, LoadError> {
        let spec = map.spec();
        assert!(
            spec.kind == MapKind::MappedArray && (spec.value as usize).is_multiple_of(WORD),
            "the map is a mapped array of numbers of 64 bits"
        );
        let bytes = spec.entries as usize * spec.value as usize;
        let memory = Mapping::new(map.as_fd(), 0, bytes, true)
            .map_err(|error| LoadError::new("map the memory of an array", error))?;
        Ok(Self { memory })
    }

    /// The number at `index`.
    ///
    /// # Panics
    /// When the array has no such number.
    #[must_use]
    pub fn load(&self, index: usize) -> u64 {
        self.memory.load64(index * WORD, Ordering::Acquire)
    }

    /// Sets it: whoever sees the new number sees all that was written before it.
    ///
    /// # Panics
    /// When the array has no such number.
    pub fn store(&self, index: usize, number: u64) {
        self.memory.store64(index * WORD, number, Ordering::Release);
    }
}
