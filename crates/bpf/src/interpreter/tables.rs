//! Maps in memory.

use crate::{MapKind, MapSpec};
use std::collections::BTreeMap;

/// Errors as helpers answer them.
pub(super) mod errno {
    pub(crate) const ENOENT: i64 = -2;
    pub(crate) const E2BIG: i64 = -7;
    pub(crate) const EAGAIN: i64 = -11;
    pub(crate) const ENOMEM: i64 = -12;
    pub(crate) const EFAULT: i64 = -14;
    pub(crate) const EEXIST: i64 = -17;
    pub(crate) const EINVAL: i64 = -22;
}

/// Flags of an update (`linux/bpf.h`).
const NO_EXIST: u64 = 1;
const EXIST: u64 = 2;
/// Before each record of a ring.
const RECORD_HEADER: usize = 8;

/// A map with what is in it. A value keeps its place when its key is removed, as under RCU.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) spec: MapSpec,
    keys: BTreeMap<Vec<u8>, usize>,
    values: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
    /// Bytes of a ring that are reserved and not read yet.
    taken: usize,
}

impl Table {
    pub(super) fn new(spec: &MapSpec) -> Self {
        let values = if spec.kind.is_array() {
            vec![vec![0; spec.value as usize]; spec.entries as usize]
        } else {
            Vec::new()
        };
        Self {
            spec: spec.clone(),
            keys: BTreeMap::new(),
            values,
            records: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        if self.spec.kind.is_array() {
            let index = u32::from_ne_bytes(key.try_into().ok()?) as usize;
            return (index < self.values.len()).then_some(index);
        }
        self.keys.get(key).copied()
    }

    pub(super) fn value(&self, place: usize) -> &[u8] {
        &self.values[place]
    }

    pub(super) fn value_mut(&mut self, place: usize) -> &mut [u8] {
        &mut self.values[place]
    }

    pub(super) fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<(), i64> {
        let fits = key.len() == self.spec.key as usize && value.len() == self.spec.value as usize;
        if flags > EXIST || !fits || self.spec.kind == MapKind::Ring {
            return Err(errno::EINVAL);
        }
        match self.find(key) {
            Some(_) if flags == NO_EXIST => Err(errno::EEXIST),
            Some(place) => {
                self.values[place].copy_from_slice(value);
                Ok(())
            }
            None if self.spec.kind.is_array() => Err(errno::E2BIG),
            None if flags == EXIST => Err(errno::ENOENT),
            None if self.keys.len() >= self.spec.entries as usize => Err(errno::E2BIG),
            None => {
                self.keys.insert(key.to_vec(), self.values.len());
                self.values.push(value.to_vec());
                Ok(())
            }
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), i64> {
        if self.spec.kind.is_array() {
            return Err(errno::EINVAL);
        }
        self.keys.remove(key).map(drop).ok_or(errno::ENOENT)
    }

    /// Takes room for a record; says whether there was any.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let room = (bytes + RECORD_HEADER).next_multiple_of(8);
        let free = (self.spec.entries as usize).saturating_sub(self.taken);
        // The kernel never fills the last byte.
        let fits = room < free;
        if fits {
            self.taken += room;
        }
        fits
    }

    pub(super) fn submit(&mut self, record: Vec<u8>) {
        self.records.push(record);
    }

    pub(super) fn drain(&mut self) -> Vec<Vec<u8>> {
        self.taken = 0;
        std::mem::take(&mut self.records)
    }
}
