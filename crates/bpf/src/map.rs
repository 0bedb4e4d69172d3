//! Maps: the tables that a program and userspace share.

/// A map of a program, by its place among the program's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub usize);

/// The kinds of map that programs here use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// Keys to values, all room taken at creation.
    Hash,
    /// The same, room taken as entries come.
    HashOnDemand,
    /// Values by number, all there from the start, all zero.
    Array,
    /// The same, and userspace maps its memory.
    MappedArray,
    /// Records from programs to userspace, in order. Since 5.8.
    Ring,
}

impl MapKind {
    /// Whether keys are numbers and all values are always there.
    #[must_use]
    pub const fn is_array(self) -> bool {
        match self {
            Self::Array | Self::MappedArray => true,
            Self::Hash | Self::HashOnDemand | Self::Ring => false,
        }
    }
}

/// A map to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSpec {
    /// Its name, in listings and in the kernel, which keeps 15 bytes of it.
    pub name: &'static str,
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Most entries; for a ring its bytes, a power of two and whole pages.
    pub entries: u32,
}

impl MapSpec {
    /// A table from `K` to `V`.
    #[must_use]
    pub const fn hash<K, V>(name: &'static str, entries: u32) -> Self {
        Self {
            name,
            kind: MapKind::Hash,
            key: bytes_of::<K>(),
            value: bytes_of::<V>(),
            entries,
        }
    }

    /// So many `V`.
    #[must_use]
    pub const fn array<V>(name: &'static str, entries: u32) -> Self {
        Self {
            name,
            kind: MapKind::Array,
            key: bytes_of::<u32>(),
            value: bytes_of::<V>(),
            entries,
        }
    }

    /// A ring of so many bytes.
    #[must_use]
    pub const fn ring(name: &'static str, bytes: u32) -> Self {
        Self {
            name,
            kind: MapKind::Ring,
            key: 0,
            value: 0,
            entries: bytes,
        }
    }

    /// The same of another kind.
    #[must_use]
    pub const fn of_kind(mut self, kind: MapKind) -> Self {
        self.kind = kind;
        self
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "asserted in the line above it"
)]
const fn bytes_of<T>() -> u32 {
    assert!(
        size_of::<T>() <= u16::MAX as usize,
        "keys and values are small"
    );
    size_of::<T>() as u32
}
