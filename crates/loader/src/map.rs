//! Maps in the kernel.

use crate::LoadError;
use crate::sys::{self, RawMap};
use bpf::{MapId, MapSpec, Program};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Flags of an update (`linux/bpf.h`).
const ANY: u64 = 0;
const NO_EXIST: u64 = 1;

/// A map: gone with the last descriptor and the last program that use it.
///
/// Its keys and values are types of the caller's, of the sizes that its [`MapSpec`] has; another size is a
/// mistake in the program and panics.
#[derive(Debug)]
pub struct Map {
    raw: RawMap,
    spec: MapSpec,
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl Map {
    /// Makes a map.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn create(spec: &MapSpec) -> Result<Self, LoadError> {
        let created = match RawMap::create(spec) {
            // Before 5.11 a map counts as locked memory, and EPERM may say that it is too much.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                sys::allow_locked_memory().and_then(|()| RawMap::create(spec))
            }
            created => created,
        };
        let raw = created.map_err(|error| LoadError::new("make a map", error))?;
        let spec = spec.clone();
        Ok(Self { raw, spec })
    }

    /// Returns the kind, sizes and room that it was made with.
    #[must_use]
    pub const fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn lookup<K, V>(&self, key: &K) -> Result<Option<V>, LoadError>
    where
        K: IntoBytes + Immutable,
        V: FromBytes + IntoBytes,
    {
        let mut value = V::new_zeroed();
        let found = self.raw.lookup(key.as_bytes(), value.as_mut_bytes());
        Ok(missing("look a key up", found)?.map(|()| value))
    }

    /// Gives a key its value, be it new or not.
    ///
    /// # Errors
    /// [`LoadError::Full`] when there is no room for another key.
    pub fn insert<K, V>(&self, key: &K, value: &V) -> Result<(), LoadError>
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        self.raw
            .update(key.as_bytes(), value.as_bytes(), ANY)
            .map_err(|error| LoadError::new("put a value into a map", error))
    }

    /// Gives a key its value if it has none; says whether it had none.
    ///
    /// # Errors
    /// As [`Map::insert`].
    pub fn insert_new<K, V>(&self, key: &K, value: &V) -> Result<bool, LoadError>
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        match self.raw.update(key, value, NO_EXIST) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(LoadError::new("put a value into a map", error)),
        }
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn remove<K: IntoBytes + Immutable>(&self, key: &K) -> Result<bool, LoadError> {
        let removed = self.raw.delete(key.as_bytes());
        Ok(missing("remove a key", removed)?.is_some())
    }

    /// A walk through all entries, some at a time. One that comes or goes meanwhile may be seen or not.
    #[must_use]
    pub const fn walk(&self) -> Batch<'_> {
        Batch::new(self, false)
    }

    /// The same, and each entry is removed as it is read: no count is lost between.
    #[must_use]
    pub const fn drain(&self) -> Batch<'_> {
        Batch::new(self, true)
    }
}

fn missing<T>(operation: &'static str, answer: io::Result<T>) -> Result<Option<T>, LoadError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(LoadError::new(operation, error)),
    }
}

/// A walk through a map in batches. Since 5.6.
#[derive(Debug)]
pub struct Batch<'m> {
    map: &'m Map,
    delete: bool,
    place: Option<Vec<u8>>,
    ended: bool,
}

impl<'m> Batch<'m> {
    const fn new(map: &'m Map, delete: bool) -> Self {
        Self {
            map,
            delete,
            place: None,
            ended: false,
        }
    }

    /// The next entries, about `room` of them; none when all were seen.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn next<K, V>(&mut self, room: usize) -> Result<Vec<(K, V)>, LoadError>
    where
        K: FromBytes,
        V: FromBytes,
    {
        let (key, value) = self.map.raw.sizes();
        assert_eq!((size_of::<K>(), size_of::<V>()), (key, value));
        let mut room = room.max(1);
        while !self.ended {
            let (mut keys, mut values) = (vec![0; key * room], vec![0; value * room]);
            let mut place = self.place.clone();
            let read = (self.map.raw).batch(self.delete, &mut place, &mut keys, &mut values);
            let (count, last) = match read {
                // A bucket of the hash has more entries than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room *= 2;
                    continue;
                }
                read => read.map_err(|error| LoadError::new("read a map", error))?,
            };
            (self.place, self.ended) = (place, last);
            if count > 0 {
                let entries = keys.chunks(key).zip(values.chunks(value)).take(count);
                return Ok(entries
                    .filter_map(|(key, value)| {
                        Some((
                            K::read_from_bytes(key).ok()?,
                            V::read_from_bytes(value).ok()?,
                        ))
                    })
                    .collect());
            }
        }
        Ok(Vec::new())
    }
}

/// The maps of a program, by its [`MapId`]s.
#[derive(Debug)]
pub struct Maps(Vec<Map>);

impl Maps {
    /// Makes all maps of a program.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn create(program: &Program) -> Result<Self, LoadError> {
        let maps = program.maps().iter().map(Map::create);
        Ok(Self(maps.collect::<Result<_, _>>()?))
    }
}

impl std::ops::Index<MapId> for Maps {
    type Output = Map;

    fn index(&self, map: MapId) -> &Map {
        &self.0[map.0]
    }
}
